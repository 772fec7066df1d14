"""Which membership acts: found from the trial that the address names, never from what the browser says of itself."""

from __future__ import annotations

from collections.abc import Callable

from django.http import Http404, HttpRequest, HttpResponse

from trials import selectors


class MembershipMiddleware:
    """Set ``request.membership`` for every address under a trial; 404 where the user has none there today.

    A user with several roles in a trial acts in the one chosen last (``session["membership"]``), or the first.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.membership = None  # type: ignore[attr-defined]
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: object, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        code = kwargs.get("trial")
        if code is None or not request.user.is_authenticated:
            return
        membership = selectors.membership_for(
            user=request.user, trial_code=str(code), chosen=request.session.get("membership")
        )
        if membership is None:
            raise Http404("No such trial, or you are not a member of it today.")
        request.membership = membership  # type: ignore[attr-defined]
