"""The one way in which a form page of this floor asks, calls its action, and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from trials.models import Membership
from trials.permissions import NotPossible


class TrialRequest(HttpRequest):
    """A request under a trial's address: the middleware has found the membership that acts."""

    membership: Membership


def form_page(
    request: HttpRequest,
    form: Form,
    act: Callable[[dict[str, Any]], str],
    *,
    done: str,
    template: str = "trials/form.html",
    **page: Any,
) -> HttpResponse:
    """Show the form; posted, call ``act`` with what was typed, say its sentence and go to ``done``.

    What the action refuses stands in the form, beside what was typed: 422 for a field, 409 for the state of things.
    """
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                said = act(form.cleaned_data)
            except ValidationError as refused:
                add_errors(form, refused)
            except NotPossible as refused:
                form.add_error(None, str(refused))
                status = 409
            else:
                messages.success(request, said)
                return redirect(done)
    return render(request, template, {"form": form, "back": done, **page}, status=status)


def add_errors(form: Form, refused: ValidationError) -> None:
    """Put the sentences of a refusal at their fields; one of a field that the page does not have, above them."""
    if not hasattr(refused, "error_dict"):
        form.add_error(None, refused)
        return
    for name, errors in refused.error_dict.items():
        form.add_error(name if name in form.fields else None, errors)
