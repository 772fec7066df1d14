"""What every page of adverse events does the same way: members only, and a sentence where something is not possible."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render

from trials.permissions import NotPossible
from trials.views.pages import TrialRequest


def member_page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A page for members who are logged in; what the state of things does not allow is a 409 that says why."""

    @login_required
    @wraps(view)
    def answer(request: TrialRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except NotPossible as refused:
            return render(request, "adverse_events/refused.html", {"sentence": str(refused)}, status=409)

    return answer
