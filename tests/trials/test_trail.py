"""The audit trail's viewer: what changed, who did it and why, as far as the reader's site and role reach."""

from __future__ import annotations

from datetime import date

import pytest
from django.test import Client

from tests.world import World
from trials import selectors

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def changed(world: World) -> World:
    """One participant at each site."""
    world.enrolled(by=world.bob)
    world.enrolled(by=world.carol)
    return world


def numbers(world: World, name: str, **wanted: object) -> set[str]:
    membership = world.members[name]
    lines = selectors.trail_lines(membership, selectors.trail(membership, **wanted))  # type: ignore[arg-type]
    return {str(line.participant) for line in lines if line.participant}


@pytest.mark.requirement("AT5b")
def test_the_monitor_sees_every_site(changed: World) -> None:
    assert numbers(changed, "dora") == {"P001", "P002"}


def test_an_investigator_sees_their_own(changed: World) -> None:
    assert numbers(changed, "alice") == {"P001"}
    assert numbers(changed, "ben") == {"P002"}


@pytest.mark.requirement("AT5b")
@pytest.mark.parametrize(
    "wanted, found",
    [
        ({"participant": "p002"}, {"P002"}),
        ({"who": "carol"}, {"P002"}),
        ({"since": date(2100, 1, 1)}, set()),
        ({"source": "import"}, set()),
    ],
)
def test_the_trail_is_narrowed(changed: World, wanted: dict[str, object], found: set[str]) -> None:
    assert numbers(changed, "dora", **wanted) == found


@pytest.mark.parametrize(
    "name, status",
    [("dora", 200), ("alice", 200), ("ivan", 200), ("quinn", 200), ("bob", 403), ("peter", 403)],
)
def test_who_may_read_it(changed: World, client: Client, name: str, status: int) -> None:
    client.force_login(changed.user(name))
    answer = client.get(f"/t/{changed.trial.code}/audit/")
    assert answer.status_code == status
    if status == 200:
        assert "P001" in answer.text and "new" in answer.text


def test_a_date_that_cannot_be_read_is_said_so(changed: World, client: Client) -> None:
    client.force_login(changed.user("dora"))
    assert "Write the date as 2026-11-05" in client.get(f"/t/{changed.trial.code}/audit/?since=soon").text


def test_a_change_shows_its_old_and_new_value(changed: World) -> None:
    line = next(
        line
        for line in selectors.trail_lines(changed.dora, selectors.trail(changed.dora, participant="P001"))
        if line.row.operation == "UPDATE" and any(name == "status" for name, *_ in line.fields)
    )
    assert ("status", "eligible", "enrolled") in line.fields
