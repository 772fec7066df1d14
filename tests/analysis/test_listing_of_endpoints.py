"""A listing has the people that a number counts, for endpoints that are not adjudicated as well."""

from __future__ import annotations

import pytest

from analysis import datasets, selectors
from analysis.domain.endpoint_answers import ANSWERS
from tests.analysis.test_adjudication import happened, on_day
from tests.world import World

pytestmark = pytest.mark.django_db


def test_every_endpoint_of_the_definition_lists_whom_the_data_set_counts(world: World) -> None:
    for day in (None, 60):
        participant = world.enrolled(graft_on=on_day(0))
        if day is not None:
            happened(world, participant, "relapse", on_day(day).isoformat())
            happened(world, participant, "death", on_day(day + 20).isoformat())
    counted = datasets.dataset(world.trial)
    secondary = [
        one
        for one in world.trial.protocol.endpoints
        if one.method in ANSWERS and one not in selectors.adjudicated(world.trial.protocol)
    ]
    assert secondary, "the definition of the tests has endpoints besides the primary one"
    listed_at_all = 0
    for endpoint in secondary:
        people = selectors.population(world.dora, endpoint_id=endpoint.id)
        for status in ("reached", "competing", "not_reached", "pending", "insufficient_data"):
            listed = {row.person.participant for row in selectors.listing(people, status=status)}
            expected = {s.participant for s in counted.subjects if s.outcomes[endpoint.id].status == status}
            assert listed == expected, (endpoint.id, status)
            listed_at_all += len(listed)
    assert listed_at_all == 2 * len(secondary)
