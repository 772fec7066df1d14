"""The stage gate: PARACHUTE's design, and what holds a gate back."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import product

import pytest

from analysis.domain.consecutive_threshold import Status
from analysis.domain.gates import TRANSITIONS, Count, GateEvent, GateState, Seat, Stage, after, simon_two_stage

PARACHUTE = (Stage(19, 13), Stage(53, 38))
REACHED, NOT, PENDING = Status.REACHED, Status.NOT_REACHED, Status.PENDING


def seats(*outcomes: tuple[Status, bool | None]) -> list[Seat]:
    return [
        Seat(n, f"P{n:03}", date(2016, 1, 1) + timedelta(days=n), status, evaluable)
        for n, (status, evaluable) in enumerate(outcomes, start=1)
    ]


def stage1(these: list[Seat], **kwargs: object) -> Count:
    return simon_two_stage(PARACHUTE, Decimal("0.6"), stage=1, seats=these, accrual_closed=False, **kwargs)


@pytest.mark.requirement("GAT1")
@pytest.mark.parametrize("responders, proposal", [(0, "stop"), (12, "stop"), (13, "continue"), (15, "continue")])
def test_stage_one_of_parachute(responders: int, proposal: str) -> None:
    count = stage1(seats(*[(REACHED, True)] * responders, *[(NOT, True)] * (19 - responders)))
    assert (count.is_complete, count.responders, count.boundary, count.proposal) == (True, responders, 13, proposal)


def test_published_15_of_19() -> None:
    """Lancet Haematol 2022; 9: e111-20, Results: 15 of the first 19, at least 13 needed."""
    count = stage1(seats(*[(REACHED, True)] * 15, *[(NOT, True)] * 4))
    assert count.sentence == "15 of 19 evaluable participants reached the endpoint; going on needs at least 13."


def test_who_is_not_evaluable_is_passed_over() -> None:
    these = seats((REACHED, False), *[(REACHED, True)] * 19, (NOT, True))
    assert [seat.number for seat in stage1(these).seats][:2] == ["P002", "P003"]


def test_somebody_still_followed_among_the_first_nineteen_holds_the_gate() -> None:
    these = seats((PENDING, None), *[(REACHED, True)] * 19)
    count = stage1(these)
    assert not count.is_complete
    assert count.sentence == "18 of 19 are decided; 1 more are being followed."


def test_somebody_still_followed_after_them_does_not() -> None:
    assert stage1(seats(*[(REACHED, True)] * 19, (PENDING, None))).is_complete


def test_want_of_data_counts_as_not_reached_and_is_named() -> None:
    count = stage1(seats(*[(REACHED, True)] * 18, (Status.INSUFFICIENT_DATA, True)))
    assert (count.responders, [seat.number for seat in count.unresolved]) == (18, ["P019"])
    assert "P019" in count.sentence


@pytest.mark.requirement("GAT1")
@pytest.mark.parametrize(
    "responders, boundary, proposal",
    [(41, 37, "success"), (37, 37, "success"), (36, 37, "stop")],
)
def test_the_final_analysis_at_51_instead_of_53(responders: int, boundary: int, proposal: str) -> None:
    these = seats(*[(REACHED, True)] * responders, *[(NOT, True)] * (51 - responders))
    count = simon_two_stage(PARACHUTE, Decimal("0.6"), stage=2, seats=these, accrual_closed=True, stage1_responders=15)
    assert (count.is_complete, count.evaluable, count.boundary, count.proposal) == (True, 51, boundary, proposal)


def test_before_accrual_closes_the_final_analysis_waits_for_all_53() -> None:
    these = seats(*[(REACHED, True)] * 51)
    count = simon_two_stage(PARACHUTE, Decimal("0.6"), stage=2, seats=these, accrual_closed=False, stage1_responders=15)
    assert not count.is_complete


def test_at_the_planned_number_the_design_s_own_boundary_holds() -> None:
    these = seats(*[(REACHED, True)] * 38, *[(NOT, True)] * 15)
    count = simon_two_stage(PARACHUTE, Decimal("0.6"), stage=2, seats=these, accrual_closed=False, stage1_responders=15)
    assert (count.boundary, count.proposal) == (38, "success")


@pytest.mark.parametrize("state, event", list(product(GateState, GateEvent)))
def test_every_pair_of_state_and_event(state: GateState, event: GateEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert after(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(ValueError, match=f"{state} cannot {event}"):
            after(state, event)
