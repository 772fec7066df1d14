"""How the API says no: every refusal of an action is a sentence under a status that tells what kind it is."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import exceptions, status, views
from rest_framework.response import Response

from trials.permissions import NotPossible


class Conflict(exceptions.APIException):
    """The state of things does not allow the act now."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """400 with the field for input, 403 for the role, 404 for what is not seen, 409 for the state of things."""
    if isinstance(error, ValidationError):
        detail = error.message_dict if hasattr(error, "error_dict") else {"detail": error.messages}
        error = exceptions.ValidationError(detail)
    elif isinstance(error, NotPossible):
        error = Conflict(str(error))
    return views.exception_handler(error, context)
