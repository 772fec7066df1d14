"""What every page of dosing does the same way: members only, and a 404 for what they do not see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ObjectDoesNotExist
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from trials import selectors as trials
from trials.models import Membership, Participant


class TrialRequest(HttpRequest):
    """A request under a trial's address: the middleware has found the membership that acts."""

    membership: Membership
    htmx: Any


def member_page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A page for members of the trial; what is not there for them is a 404, never a hint that it exists."""

    @login_required
    def page(request: TrialRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        kwargs.pop("trial")
        try:
            return view(request, *args, **kwargs)
        except ObjectDoesNotExist:
            raise Http404("There is no such record at the sites that you see.") from None

    page.__name__, page.__doc__ = view.__name__, view.__doc__
    return page


def participant_of(request: TrialRequest, pk: int) -> Participant:
    return trials.participant_for(request.membership, pk)


def dose_card(participant: Participant) -> str:
    return reverse("dosing:panel", kwargs={"trial": participant.trial.code, "participant": participant.pk})
