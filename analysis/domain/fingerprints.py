"""One name for the same inputs: the hash of their canonical JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any


def canonical(value: object) -> str:
    """JSON with sorted keys; dates in ISO 8601, decimals as their shortest text (``0.050`` is ``0.05``)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def fingerprint(inputs: Mapping[str, object]) -> str:
    """SHA-256 of :func:`canonical`, in hexadecimal.

    >>> fingerprint({"a": Decimal("0.050")}) == fingerprint({"a": Decimal("0.05")})
    True
    """
    return hashlib.sha256(canonical(inputs).encode()).hexdigest()


def plain(value: object) -> Any:
    """``value`` as JSON holds it: what is stored beside the hash is what was hashed."""
    return json.loads(canonical(value))


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no canonical form")
