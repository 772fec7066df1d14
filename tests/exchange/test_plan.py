"""The statistical plan of PARACHUTE on its reconstruction, run by the product: what was printed comes out.

Printed: Lancet Haematol 2022; 9: e111-20. What differs, and why, is on the page of published and computed numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from analysis.actions import runs as actions
from analysis.domain.plan.results import Number, Result
from analysis.models import Run
from analysis.reports import plan
from analysis.selectors import runs as selectors
from tests.exchange.reconstructions import demonstrated
from trials.actions import grant_membership
from trials.formats.documents import as_pdf
from trials.models import Membership, Trial

AS_OF = date(2020, 12, 31)


@pytest.mark.django_db
def test_nothing_is_run_before_there_is_a_trial() -> None:
    # The mark also has the database made for this file, whose other tests share one world of their own.
    assert not Run.objects.exists()


@pytest.fixture(scope="module")
def run(django_db_setup: None, django_db_blocker: Any) -> Iterator[Run]:
    with demonstrated("parachute", django_db_blocker) as trial:
        asked = actions.run_analyses(trial=trial, by=a_statistician(trial), as_of=AS_OF, reason="reconciliation")
        assert actions.compute_run(run=asked.pk)
        yield Run.objects.select_related("trial", "protocol_version__trial", "requested_by__user").get(pk=asked.pk)


def a_statistician(trial: Trial) -> Membership:
    found = Membership.objects.filter(trial=trial, role="statistician", site=None).first()
    if found is None:
        user = Membership.objects.filter(trial=trial).select_related("user").first().user  # type: ignore[union-attr]
        found = grant_membership(
            user=user, trial=trial, role="statistician", site=None, valid_from=date(2015, 1, 1), by=None, reason="plan"
        )
    return found


@pytest.fixture
def results(run: Run, django_db_blocker: Any) -> Iterator[dict[str, Result]]:
    with django_db_blocker.unblock():
        yield {one.id: one for one in selectors.results_for(run.requested_by, run)}


def cell(result: Result, row: str, column: str, *, table: int = 0, nth: int = 0) -> Number:
    found = result.tables[table]
    line = [one for one in found.rows if one.label == row][nth]
    return line.cells[found.columns.index(column)]


OWN, CONTROLS = "Without major deviation", "Historical controls"


@pytest.mark.parametrize(
    "analysis, row, column, table, printed",
    [
        ("A1", "Evaluable", "Reached", 0, "41 of 51 (80.4 %)"),
        ("A1", "Evaluable", "Share", 0, "80.4 % (66.9 to 90.2)"),
        ("A1_stages", "First stage", "Value", 0, "15 of 19 (78.9 %)"),
        ("A1_stages", "Boundary at 51", "Value", 0, "37 of 51"),
        ("A3", "Test", "Participants", 0, "0.00030"),
        ("A4", CONTROLS, "Events", 0, "36"),
        ("A4", OWN, "Events", 0, "11"),
        ("A7", "Sex, n (%)", "p", 0, "0.32"),
        ("A7", "HLA match, n (%)", "p", 0, "0.24"),
        ("A7", "Diagnosis, n (%)", "p", 0, "0.0013"),
        ("A8", "All", "Grade 3", 0, "58 / 26"),
        ("A8", "All", "Grade 5", 0, "15 / 13"),
        ("A8", "All", "Any grade", 0, "86 / 51 (80 %)"),
    ],
)
def test_what_was_printed_comes_out(
    results: dict[str, Result], analysis: str, row: str, column: str, table: int, printed: str
) -> None:
    assert cell(results[analysis], row, column, table=table).text == printed


@pytest.mark.parametrize(
    "analysis, table, row, column, printed, within",
    [
        # printed as 81 % (71-92) and 66 % (57-76), p 0.11; 72 % (60-85) and 57 % (47-68), p 0.15
        ("A4", 0, OWN, "3 years", (0.81, 0.71, 0.92), 0.012),
        ("A4", 0, CONTROLS, "3 years", (0.66, 0.57, 0.76), 0.012),
        ("A4", 1, OWN, "3 years", (0.72, 0.60, 0.85), 0.012),
        ("A4", 1, CONTROLS, "3 years", (0.57, 0.47, 0.68), 0.012),
        # printed as 75 % (61-84) and 51 % (41-60)
        ("A3", 0, OWN, "day 103", (0.75, 0.61, 0.84), 0.025),
        ("A3", 0, CONTROLS, "day 103", (0.51, 0.41, 0.60), 0.025),
    ],
)
def test_what_was_printed_comes_out_within_what_a_reconstruction_can_hold(
    results: dict[str, Result], analysis: str, table: int, row: str, column: str,
    printed: tuple[float, float, float], within: float,
) -> None:  # fmt: skip
    found = cell(results[analysis], row, column, table=table)
    assert (found.value, found.lower, found.upper) == pytest.approx(printed, abs=within)


@pytest.mark.parametrize("table, printed", [(0, 0.11), (1, 0.15)])
def test_survival_is_compared_as_printed(results: dict[str, Result], table: int, printed: float) -> None:
    assert cell(results["A4"], "Test", "Participants", table=table).value == pytest.approx(printed, abs=0.015)


def test_the_controls_carry_their_warnings(results: dict[str, Result]) -> None:
    assert any(
        one.startswith("Not concurrent: Historical controls Apr 2004 to Mar 2012") for one in results["A4"].warnings
    )
    assert any("immortal-time" in one for one in results["PH1"].warnings)


def test_every_law_holds(results: dict[str, Result]) -> None:
    broken = [law for one in results.values() for law in one.broken_laws]
    assert not broken and sum(len(one.laws) for one in results.values()) > 20


def test_the_report_is_the_same_file(run: Run, results: dict[str, Result], django_db_blocker: Any) -> None:
    with django_db_blocker.unblock():
        document = plan.document(run, results.values())
        first = as_pdf(document)
        assert first == as_pdf(plan.document(run, results.values()))
    assert first.startswith(b"%PDF") and len(first) > 50_000
