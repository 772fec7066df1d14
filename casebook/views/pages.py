"""What every page of the casebook does the same way: find the participant, and answer what an action refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest, ObjectDoesNotExist, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from casebook.domain.answers import Problem
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


def address(name: str, participant: Participant, **kwargs: Any) -> str:
    code = participant.trial.code
    return reverse(f"casebook:{name}", kwargs={"trial": code, "participant": participant.pk, **kwargs})


def revision_of(request: TrialRequest) -> int:
    """The version that the sent page was read at; 0 for a new record."""
    sent = request.POST.get("revision") or "0"
    if not (sent.isascii() and sent.isdigit() and len(sent) < 10):
        raise BadRequest("The page was not sent as it was served: its revision is not a number. Open it again.")
    return int(sent)


def problems_of(refused: ValidationError) -> list[Problem]:
    """Every sentence of a refusal, by the field it concerns; '' above the form."""
    problems = getattr(refused, "problems", None)
    if problems is not None:
        return list(problems)
    if hasattr(refused, "error_dict"):
        return [Problem(name, text) for name, texts in refused.message_dict.items() for text in texts]
    return [Problem("", text) for text in refused.messages]


def show(
    request: HttpRequest, template: str, participant: Participant | None, status: int = 200, **page: Any
) -> HttpResponse:
    return render(request, template, {"participant": participant, **page}, status=status)
