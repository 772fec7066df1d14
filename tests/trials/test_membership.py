"""Memberships: from a day until a day, at a site or at all, ended and never deleted."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone

from tests.world import SINCE, World, person
from trials import actions, selectors
from trials.models import Membership
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db


def test_a_membership_holds_from_a_day_until_a_day(world: World) -> None:
    user = person("temp")
    today = timezone.localdate()
    actions.grant_membership(
        user=user, trial=world.trial, role="coordinator", site=world.site_a, valid_from=today - timedelta(days=9),
        valid_until=today - timedelta(days=1), by=world.tessa, reason="holiday cover",
    )  # fmt: skip
    assert not selectors.memberships_of(user)
    actions.grant_membership(
        user=user,
        trial=world.trial,
        role="monitor",
        valid_from=today + timedelta(days=1),
        by=world.tessa,
        reason="next",
    )
    assert not selectors.memberships_of(user)
    held = actions.grant_membership(
        user=user, trial=world.trial, role="coordinator", site=world.site_b, by=world.tessa, reason="back"
    )
    assert selectors.memberships_of(user) == [held]


def test_a_membership_that_has_ended_does_nothing_even_when_still_at_hand(world: World) -> None:
    bob = world.bob
    yesterday = timezone.localdate() - timedelta(days=1)
    actions.end_membership(membership=bob, on=yesterday, by=world.tessa, reason="left the hospital")
    with pytest.raises(PermissionDenied, match="does not hold today"):
        world.screened(by=bob)
    assert Membership.objects.filter(pk=bob.pk, valid_until=yesterday).exists()
    with pytest.raises(NotPossible, match="grant a new one"):
        actions.end_membership(membership=bob, on=yesterday, by=world.tessa, reason="again")


def test_the_same_membership_again_is_the_one_there_is(world: World) -> None:
    again = actions.grant_membership(
        user=world.user("bob"), trial=world.trial, role="coordinator", site=world.site_a, by=world.tessa, reason="again"
    )
    assert again == world.bob


def test_nobody_gives_or_ends_a_membership_of_their_own(world: World) -> None:
    with pytest.raises(PermissionDenied, match="of their own"):
        actions.grant_membership(
            user=world.user("tessa"), trial=world.trial, role="investigator", by=world.tessa, reason="why not"
        )
    with pytest.raises(PermissionDenied, match="of their own"):
        actions.end_membership(membership=world.tessa, on=timezone.localdate(), by=world.tessa, reason="done")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"role": "king"}, "There is no role “king”"),
        ({"valid_until": SINCE - timedelta(days=1), "valid_from": SINCE}, "would end before it begins"),
    ],
)
def test_a_membership_that_cannot_be_is_refused(world: World, changed: dict[str, object], said: str) -> None:
    given = {"user": person("new"), "trial": world.trial, "role": "monitor", "reason": "start"}
    with pytest.raises(ValidationError, match=said):
        actions.grant_membership(by=world.tessa, **{**given, **changed})  # type: ignore[arg-type]


def test_a_deactivated_account_gets_no_membership(world: World) -> None:
    from accounts.actions import deactivate_account

    user = deactivate_account(user=person("gone"))
    with pytest.raises(ValidationError, match="is deactivated"):
        actions.grant_membership(user=user, trial=world.trial, role="monitor", by=world.tessa, reason="start")


@pytest.mark.requirement("AC3")
def test_the_list_of_members_says_who_had_which_right_when(world: World) -> None:
    actions.end_membership(membership=world.bob, on=date(2025, 1, 1), by=world.tessa, reason="left")
    rows = [(row.user.username, row.valid_until) for row in selectors.members_of(world.trial)]
    assert ("bob", date(2025, 1, 1)) in rows
    assert rows[-1][0] == "bob"  # past ones last
    assert len(rows) == 11


def test_who_holds_two_roles_acts_in_the_first_or_in_the_one_chosen(world: World) -> None:
    second = actions.grant_membership(
        user=world.user("bob"), trial=world.trial, role="inspector", by=world.tessa, reason="also inspects"
    )
    user = world.user("bob")
    assert selectors.membership_for(user=user, trial_code="larch") == world.bob
    assert selectors.membership_for(user=user, trial_code="larch", chosen=second.pk) == second
    assert selectors.membership_for(user=user, trial_code="larch", chosen=world.alice.pk) == world.bob
    assert selectors.membership_for(user=user, trial_code="elsewhere") is None
