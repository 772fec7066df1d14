"""Every published definition names only methods that this floor knows, with parameters that they can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, connections

from analysis.domain.consecutive_threshold import Rule, example_fails
from analysis.domain.endpoint_methods import ENDPOINT_METHODS
from trials.domain.definition import EndpointSpec, Free
from trials.models import ProtocolVersion


def consecutive_threshold_example(endpoint: EndpointSpec, example: Mapping[str, Free]) -> str | None:
    """Run one example of the definition; None where it comes out as written, otherwise the sentence that says how."""
    try:
        rule = Rule.from_parameters(endpoint.parameters)
        given = [(pair[0], pair[1]) for pair in example["given"]]  # type: ignore[index, union-attr]
        return example_fails(rule, given, str(example["then"])) or None
    except (KeyError, TypeError, IndexError):
        return "an example needs `given: [[day, value], ...]` and `then: reached` or another status"
    except (ValueError, ArithmeticError) as error:
        return str(error)


@register(Tags.database)
def definitions_can_be_analysed(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """An active definition with an endpoint method that this version of Canopy does not have stops the start."""
    messages: list[CheckMessage] = []
    for alias in databases or []:
        try:
            if ProtocolVersion._meta.db_table not in connections[alias].introspection.table_names():
                continue
            versions = list(ProtocolVersion.objects.using(alias).filter(status="ACTIVE").select_related("trial"))
        except DatabaseError:
            continue  # not migrated yet
        for version in versions:
            messages += [
                Error(
                    f"{version}: endpoint {endpoint.id} names the method {endpoint.method!r}, which is not known.",
                    hint=f"Known: {', '.join(ENDPOINT_METHODS)}. Run the version of Canopy it was published with.",
                    id="analysis.E001",
                )
                for endpoint in version.protocol.endpoints
                if endpoint.method not in ENDPOINT_METHODS
            ]
    return messages
