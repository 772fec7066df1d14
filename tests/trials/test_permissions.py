"""Role × verb, whole: who may is let through, everybody else is refused and nothing is written.

The table says which permission guards which verb; who holds it is read from ``accounts.roles``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from django.core.exceptions import PermissionDenied

from accounts.roles import ROLES, Permission
from tests.world import ENROLLED_ON, PEOPLE, SCREENED_ON, World, facts, person
from trials import actions
from trials.models import Membership, Participant

pytestmark = pytest.mark.django_db

Act = Callable[[World, Membership], object]


def screened(world: World) -> Participant:
    return Participant.objects.get(status="screening")


def enrolled(world: World) -> Participant:
    return Participant.objects.get(status="enrolled")


def to_enrol(world: World) -> Participant:
    return Participant.objects.get(status="eligible")


#: Verb -> the permission that guards it, the verb, and further roles that the protocol's clause excludes.
VERBS: dict[str, tuple[Permission, Act]] = {
    "register": (
        Permission.SCREEN_PARTICIPANT,
        lambda w, by: actions.register_participant(
            trial=w.trial, site=w.site_a, birth_date="", sex="male", screened_on=SCREENED_ON, by=by
        ),
    ),
    "consent": (
        Permission.RECORD_CONSENT,
        lambda w, by: actions.record_consent(
            participant=screened(w), version="1.0", signed_on=ENROLLED_ON, signatory="parent", by=by
        ),
    ),
    "withdraw consent": (
        Permission.RECORD_CONSENT,
        lambda w, by: actions.withdraw_consent(
            consent=screened(w).consents.get(), withdrawn_on=ENROLLED_ON, reason="none given", by=by
        ),
    ),
    "answer a criterion": (
        Permission.ANSWER_HUMAN_CRITERION,
        lambda w, by: actions.answer_criterion(participant=screened(w), criterion="E1", answer="no", by=by),
    ),
    "waive a criterion": (
        Permission.WAIVE_CRITERION,
        lambda w, by: actions.waive_criterion(participant=screened(w), criterion="I2", reason="mild", by=by),
    ),
    "assess": (
        Permission.ASSESS_ELIGIBILITY,
        lambda w, by: actions.assess_eligibility(participant=screened(w), values=facts(), by=by),
    ),
    "fail screening": (
        Permission.SCREEN_PARTICIPANT,
        lambda w, by: actions.fail_screening(participant=screened(w), reason="withdrew", by=by),
    ),
    "enrol": (
        Permission.ENROL,
        lambda w, by: actions.enrol(
            participant=to_enrol(w), assessment=to_enrol(w).assessments.latest("pk"), enrolled_on=ENROLLED_ON, by=by
        ),
    ),
    "set the anchor": (
        Permission.RECORD_OBSERVATION,
        lambda w, by: actions.set_anchor(participant=enrolled(w), day=date(2025, 3, 31), reason="donor ill", by=by),
    ),
    "record a visit": (
        Permission.RECORD_OBSERVATION,
        lambda w, by: actions.record_visit(visit=enrolled(w).visits.get(code="W1"), done_on=date(2025, 3, 31), by=by),
    ),
    "miss a visit": (
        Permission.RECORD_OBSERVATION,
        lambda w, by: actions.miss_visit(visit=enrolled(w).visits.get(code="W1"), reason="holiday", by=by),
    ),
    "add a visit": (
        Permission.RECORD_OBSERVATION,
        lambda w, by: actions.add_unscheduled_visit(participant=enrolled(w), on=date(2025, 4, 2), by=by),
    ),
    "withdraw": (
        Permission.WITHDRAW_PARTICIPANT,
        lambda w, by: actions.withdraw_participant(participant=enrolled(w), on=ENROLLED_ON, reason="moved", by=by),
    ),
    "complete": (
        Permission.RECORD_OBSERVATION,
        lambda w, by: actions.complete_participant(participant=enrolled(w), by=by),
    ),
    "record a death": (
        Permission.RECORD_OBSERVATION,
        lambda w, by: actions.record_death(participant=enrolled(w), on=ENROLLED_ON, by=by),
    ),
    "record a deviation": (
        Permission.RECORD_DEVIATION,
        lambda w, by: actions.record_deviation(participant=enrolled(w), description="late", by=by),
    ),
    "void a deviation": (
        Permission.RECORD_DEVIATION,
        lambda w, by: actions.void_deviation(deviation=enrolled(w).deviations.get(), reason="an error", by=by),
    ),
    "hold enrolment": (
        Permission.DECIDE_GATE,
        lambda w, by: actions.hold_enrolment(trial=w.trial, because="the stage matures", by=by),
    ),
    "release enrolment": (Permission.DECIDE_GATE, lambda w, by: actions.release_enrolment(trial=w.trial, by=by)),
    "open a replacement": (
        Permission.DECIDE_GATE,
        lambda w, by: actions.open_replacement(participant=enrolled(w), reason="died early", by=by),
    ),
    "approve a site": (
        Permission.MANAGE_SITES,
        lambda w, by: actions.record_site_approval(
            site=w.site_a, version=w.version, approved_on=date(2024, 1, 1), by=by
        ),
    ),
    "close a site": (Permission.MANAGE_SITES, lambda w, by: actions.close_site(site=w.site_b, by=by, reason="audit")),
    "grant a membership": (
        Permission.MANAGE_MEMBERS,
        lambda w, by: actions.grant_membership(
            user=person("new"), trial=w.trial, role="monitor", by=by, reason="start"
        ),
    ),
    "end a membership": (
        Permission.MANAGE_MEMBERS,
        lambda w, by: actions.end_membership(membership=w.carol, on=date(2030, 1, 1), by=by, reason="leaves"),
    ),
    "publish": (
        Permission.PUBLISH_PROTOCOL,
        lambda w, by: actions.publish_protocol(text=w.version.source_text, file="larch.yaml", by=by, reason="again"),
    ),
}


@pytest.fixture
def peopled(world: World) -> World:
    """One participant in screening, one eligible and one enrolled at site A, with a deviation."""
    participant = world.enrolled()
    actions.record_deviation(participant=participant, description="visit elsewhere", by=world.alice)
    world.eligible()
    world.screened()
    return world


def test_each_role_has_somebody_in_the_world() -> None:
    assert {role for role, _ in PEOPLE.values()} == set(ROLES)


@pytest.mark.requirement("AC2")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", [name for name in PEOPLE if name not in ("ben", "carol")])
def test_each_role_and_each_verb(peopled: World, name: str, verb: str) -> None:
    permission, act = VERBS[verb]
    by = peopled.members[name]
    if by.may(permission):
        act(peopled, by)
    else:
        with pytest.raises(PermissionDenied, match="may not|Nobody"):
            act(peopled, by)


#: Verbs about one participant or one site: another site's members are refused, whatever their role.
OF_A_SITE = [
    verb
    for verb, (permission, _) in VERBS.items()
    if permission not in (Permission.MANAGE_SITES, Permission.MANAGE_MEMBERS, Permission.PUBLISH_PROTOCOL)
    and verb not in ("hold enrolment", "release enrolment")
]


@pytest.mark.parametrize("verb", OF_A_SITE)
@pytest.mark.parametrize("name", ["ben", "carol"])
def test_another_sites_members_are_refused(peopled: World, name: str, verb: str) -> None:
    with pytest.raises(PermissionDenied):
        VERBS[verb][1](peopled, peopled.members[name])


#: What a computation or the command line may do without anybody.
WITHOUT_A_PERSON = (
    "hold enrolment",
    "release enrolment",
    "open a replacement",
    "approve a site",
    "close a site",
    "grant a membership",
    "end a membership",
    "publish",
)


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_person_does_needs_a_person(peopled: World, verb: str) -> None:
    act = VERBS[verb][1]
    if verb in WITHOUT_A_PERSON:
        act(peopled, None)  # type: ignore[arg-type]
    else:
        with pytest.raises(PermissionDenied, match="without a membership"):
            act(peopled, None)  # type: ignore[arg-type]


def test_a_computation_records_and_voids_what_it_found(peopled: World) -> None:
    participant = enrolled(peopled)
    found = actions.record_deviation(
        participant=participant, rule="D1", description="given 84 % of the plan", is_major=True,
        removes_from_efficacy=True, by=None, source="calculation",
    )  # fmt: skip
    again = actions.record_deviation(
        participant=participant, rule="D1", description="given 86 % of the plan", is_major=True,
        removes_from_efficacy=True, by=None, source="calculation",
    )  # fmt: skip
    assert found.pk == again.pk
    assert again.description == "given 86 % of the plan"
    actions.void_deviation(deviation=again, by=None, reason="dose corrected")
    with pytest.raises(PermissionDenied):
        actions.void_deviation(
            deviation=participant.deviations.get(description="visit elsewhere"), by=None, reason="no"
        )


def test_a_rule_of_the_protocol_is_confirmed_by_the_role_it_names(peopled: World) -> None:
    deviation = actions.record_deviation(
        participant=enrolled(peopled), rule="D3", description="thawed", is_major=True, by=peopled.bob
    )
    with pytest.raises(PermissionDenied, match="Deviation D3 is decided by: investigator"):
        actions.confirm_deviation(deviation=deviation, is_confirmed=True, by=peopled.bob)
    assert actions.confirm_deviation(deviation=deviation, is_confirmed=True, by=peopled.alice).is_confirmed is True
