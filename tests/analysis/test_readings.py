"""Two people read a case without seeing each other; a third settles a difference; nobody changes a vote."""

from __future__ import annotations

from itertools import product

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse

from accounts.models import User
from analysis import actions
from analysis.domain.readings import TRANSITIONS, Case, CaseEvent, CaseState, Vote, case_on
from analysis.models import Reading
from analysis.permissions import CannotRead
from analysis.selectors import readings
from casebook import actions as casebook
from tests.analysis.test_adjudication import REACHED, measured
from tests.world import PASSWORD, PEOPLE, World, proof, signing
from trials import actions as trials
from trials.models import Membership, Participant

ENDPOINT = "cd4_reconstitution"
YES, NO = "reached", "not_reached"


# --- The rules ----------------------------------------------------------------------------------------------------


def votes(*answers: str, on: str = "x") -> list[Vote]:
    return [Vote(reader, reader, answer, on) for reader, answer in enumerate(answers, start=1)]


@pytest.mark.parametrize(
    ("answers", "state", "answer"),
    [
        ((), "open", ""),
        ((YES,), "one_read", ""),
        ((YES, YES), "agreed", YES),
        ((YES, NO), "discordant", ""),
        ((YES, NO, NO), "settled", NO),
        ((YES, NO, "not_decidable"), "settled", "not_decidable"),
    ],
)
def test_what_the_votes_make_of_a_case(answers: tuple[str, ...], state: str, answer: str) -> None:
    case = Case(tuple(votes(*answers)))
    assert (case.state.value, case.answer) == (state, answer)


def test_every_state_and_event_is_listed_or_cannot_happen() -> None:
    possible = set(TRANSITIONS)
    assert {(s, e) for s, e in product(CaseState, CaseEvent)} - possible == {
        (CaseState.OPEN, CaseEvent.OTHER_VOTE),
        *product((CaseState.AGREED, CaseState.SETTLED), (CaseEvent.SAME_VOTE, CaseEvent.OTHER_VOTE)),
    }
    assert all(TRANSITIONS[s, CaseEvent.DATA_CHANGED] is CaseState.OPEN for s in CaseState)


def test_votes_on_other_data_do_not_count() -> None:
    old, new = votes(YES, YES, on="old"), votes(NO, on="new")
    assert case_on([*old, *new], "new").state is CaseState.ONE_READ
    assert case_on([*old, *new], "old").state is CaseState.AGREED


@pytest.mark.parametrize(
    ("answers", "reader", "sees_votes", "sees_rule"),
    [
        ((), 1, False, False),
        ((YES,), 1, False, True),  # the own vote is shown by another way
        ((YES,), 2, False, False),
        ((YES, NO), 1, True, True),
        ((YES, NO), 3, True, False),  # the third reader decides between two answers, not between them and the rule
        ((YES, YES), 3, True, True),
    ],
)
def test_who_sees_what_and_when(answers: tuple[str, ...], reader: int, sees_votes: bool, sees_rule: bool) -> None:
    case = Case(tuple(votes(*answers)))
    assert (case.shows_votes_to(reader), case.shows_proposal_to(reader)) == (sees_votes, sees_rule)


# --- The product --------------------------------------------------------------------------------------------------


def reader(world: World, name: str) -> Membership:
    """Another endpoint reader beside Erin."""
    user = User.objects.create_user(username=name, email=f"{name}@test.example", password=PASSWORD)
    return trials.grant_membership(
        user=user, trial=world.trial, role="endpoint_reader", site=None, valid_from=world.erin.valid_from, by=None,
        reason="second reader",
    )  # fmt: skip


@pytest.fixture
def case(world: World) -> Participant:
    participant = world.enrolled()
    measured(world, participant, *REACHED)
    actions.adjudicate(participants=[participant.pk])
    return participant


def vote(participant: Participant, by: Membership, answer: str, comment: str = "") -> Reading:
    now = readings.case_of(participant, ENDPOINT)
    return actions.record_reading(
        participant=participant,
        endpoint=ENDPOINT,
        answer=answer,
        seen=now.evidence_sha256,
        settles=now.case.to_settle,
        by=by,
        proof=proof(by),
        comment=comment,
    )


pytestmark = pytest.mark.django_db


def test_two_agree(world: World, case: Participant) -> None:
    fred = reader(world, "fred")
    assert vote(case, world.erin, YES).position == 1
    assert vote(case, fred, YES).position == 2
    now = readings.case_of(case, ENDPOINT).case
    assert (now.state, now.answer) == (CaseState.AGREED, YES)
    with pytest.raises(CannotRead, match="closed"):
        vote(case, reader(world, "gina"), NO)


@pytest.mark.requirement("END3")
def test_a_third_settles_a_difference_and_says_why(world: World, case: Participant) -> None:
    fred, gina = reader(world, "fred"), reader(world, "gina")
    vote(case, world.erin, YES)
    vote(case, fred, NO)
    with pytest.raises(ValidationError, match="Say why"):
        vote(case, gina, NO)
    settled = vote(case, gina, NO, "The second value is of another laboratory.")
    assert (settled.position, settled.signature.meaning) == (3, "reading that settles a difference")
    assert readings.case_of(case, ENDPOINT).case.answer == NO


def test_nobody_votes_twice_and_no_vote_changes(world: World, case: Participant) -> None:
    first = vote(case, world.erin, YES)
    with pytest.raises(CannotRead, match="have read this case"):
        vote(case, world.erin, NO)
    with pytest.raises(DatabaseError), transaction.atomic():
        Reading.objects.filter(pk=first.pk).update(answer=NO)
    with pytest.raises(DatabaseError), transaction.atomic():
        first.delete()


def test_data_that_changed_while_reading_are_refused_and_read_anew(world: World, case: Participant) -> None:
    seen = readings.case_of(case, ENDPOINT).evidence_sha256
    vote(case, world.erin, YES)
    casebook.record_event(participant=case, kind="relapse", occurred="may 2025", by=world.bob)
    with pytest.raises(CannotRead, match="changed while you were reading"):
        actions.record_reading(
            participant=case,
            endpoint=ENDPOINT,
            answer=YES,
            seen=seen,
            by=(fred := reader(world, "fred")),
            proof=proof(fred),
        )
    assert readings.case_of(case, ENDPOINT).case.state is CaseState.OPEN
    assert vote(case, world.erin, NO).position == 1


def test_an_independent_answer_never_settles_what_its_reader_has_not_seen(world: World, case: Participant) -> None:
    """Gina opened the case when nobody had read it; Erin and Fred differ meanwhile."""
    seen = readings.case_of(case, ENDPOINT).evidence_sha256
    vote(case, world.erin, YES)
    vote(case, reader(world, "fred"), NO)
    gina = reader(world, "gina")
    with pytest.raises(CannotRead, match="your answer would settle it"):
        actions.record_reading(
            participant=case, endpoint=ENDPOINT, answer=YES, seen=seen, by=gina, proof=proof(gina), comment="Clear."
        )
    assert vote(case, gina, YES, "Clear.").position == 3


def test_no_answer_that_is_not_on_the_list(world: World, case: Participant) -> None:
    with pytest.raises(ValidationError, match="Choose one of"):
        vote(case, world.erin, "perhaps")
    assert not Reading.objects.exists()


@pytest.mark.parametrize("name", PEOPLE)
def test_only_independent_readers_vote(world: World, case: Participant, name: str) -> None:
    by = getattr(world, name)
    if name == "erin":
        vote(case, by, YES)
    else:
        with pytest.raises((PermissionDenied, CannotRead)):
            vote(case, by, YES)
        assert not Reading.objects.exists()


@pytest.mark.requirement("END3")
def test_the_second_reader_learns_nothing_of_the_first(world: World, case: Participant, client: Client) -> None:
    """Queue, case, panel, worklist and the participant's page: neither the vote nor that there is one, nor the rule."""
    fred = reader(world, "fred")
    client.force_login(fred.user)
    where = {"trial": world.trial.code, "participant": case.pk}
    addresses = [
        reverse("analysis:readings", kwargs={"trial": world.trial.code}),
        reverse("analysis:case", kwargs={**where, "endpoint": ENDPOINT}),
        reverse("analysis:panel", kwargs=where),
        reverse("analysis:worklist", kwargs={"trial": world.trial.code}),
        reverse("trials:participant", kwargs=where),
    ]

    def pages() -> list[str]:
        texts = []
        for address in addresses:
            answer = client.get(address)
            assert answer.status_code == 200, address
            text = answer.content.decode()
            start = text.find("<main")  # the token against forged requests differs from page to page
            texts.append("".join(line for line in text[start:].splitlines() if "csrf" not in line))
        return texts

    before = pages()
    vote(case, world.erin, NO, "Erin's own words")
    assert pages() == before
    assert not any("The rule" in page or "own words" in page for page in pages())


def test_after_the_own_vote_the_rule_is_shown_and_after_both_the_other_vote(
    world: World, case: Participant, client: Client
) -> None:
    fred = reader(world, "fred")
    address = reverse("analysis:case", kwargs={"trial": world.trial.code, "participant": case.pk, "endpoint": ENDPOINT})
    client.force_login(fred.user)
    assert "The rule" not in client.get(address).content.decode()
    seen = readings.case_of(case, ENDPOINT).evidence_sha256
    assert (
        client.post(address, {"answer": NO, "seen": seen, "comment": "Not for me.", **signing("fred")}).status_code
        == 302
    )
    text = client.get(address).content.decode()
    assert "The rule" in text and "Not for me." in text
    vote(case, world.erin, YES, "Two in a row.")
    assert "Two in a row." in client.get(address).content.decode()


@pytest.mark.parametrize("sent", [{}, {"answer": "perhaps"}, {"answer": YES, "comment": "x" * 3000}])
def test_a_page_refuses_what_is_no_reading(
    world: World, case: Participant, client: Client, sent: dict[str, str]
) -> None:
    client.force_login(world.erin.user)
    address = reverse("analysis:case", kwargs={"trial": world.trial.code, "participant": case.pk, "endpoint": ENDPOINT})
    seen = readings.case_of(case, ENDPOINT).evidence_sha256
    assert client.post(address, {"seen": seen, **sent, **signing("erin")}).status_code == 422
    assert client.post(address, {"seen": "0" * 64, "answer": YES, **signing("erin")}).status_code == 409
    assert not Reading.objects.exists()


def test_after_a_refusal_the_page_can_be_signed_as_it_stands(world: World, case: Participant, client: Client) -> None:
    client.force_login(world.erin.user)
    address = reverse("analysis:case", kwargs={"trial": world.trial.code, "participant": case.pk, "endpoint": ENDPOINT})
    refused = client.post(address, {"seen": "0" * 64, "answer": YES, **signing("erin")})
    now = readings.case_of(case, ENDPOINT).evidence_sha256
    assert refused.status_code == 409 and f'value="{now}"' in refused.content.decode()


def test_agreement_is_listed_with_every_difference(world: World, case: Participant, client: Client) -> None:
    fred = reader(world, "fred")
    vote(case, world.erin, NO)
    vote(case, fred, NO)
    (found,) = readings.agreement(world.dora)
    assert (found.read, found.agreement.agreed, found.discordant) == (1, 1, ())
    assert [row[1:] for row in found.against_rule] == [(str(case), "Not reached", "reached")]
    client.force_login(world.dora.user)
    text = client.get(reverse("analysis:agreement", kwargs={"trial": world.trial.code})).content.decode()
    assert "1 of 1" in text and "readers: Not reached; rule: reached" in text
