"""Which membership acts: found from the trial that the address names, never from what the browser says of itself."""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from trials import selectors
from trials.permissions import NotPossible


class MembershipMiddleware:
    """Set ``request.membership`` for every address under a trial; 404 where the user has none there today.

    A user with several roles in a trial acts in the one chosen last (``session["membership"]``), or the first.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.membership = None  # type: ignore[attr-defined]
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """What the state of things does not allow is a page that says why, with 409, wherever it was asked."""
        if isinstance(error, NotPossible):
            return render(request, "409.html", {"sentence": str(error)}, status=409)
        return None

    def process_view(
        self, request: HttpRequest, view: object, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        if "%00" in request.META.get("QUERY_STRING", ""):
            raise BadRequest("No text holds the character NUL.")  # the database could not even be asked for it
        code = kwargs.get("trial")
        if code is None or not request.user.is_authenticated:
            return
        membership = selectors.membership_for(
            user=request.user, trial_code=str(code), chosen=request.session.get("membership")
        )
        if membership is None:
            raise Http404("No such trial, or you are not a member of it today.")
        request.membership = membership  # type: ignore[attr-defined]
