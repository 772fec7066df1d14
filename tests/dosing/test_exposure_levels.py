"""The exposure of a participant from measured levels: what is drawn, what is used, what is said of the rest."""

from __future__ import annotations

import pytest

from dosing import actions, selectors
from dosing.reports.exposure import curve_figure
from tests.dosing.dose_world import fresh
from tests.dosing.levels import at
from tests.dosing.test_exposure_pages import client_of, page_of
from tests.dosing.test_levels import approved, begun, guided, level, proposed
from tests.world import World

__all__ = ["guided"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.dosing.urls")]


@pytest.mark.requirement("DOS6")
def test_the_estimate_from_levels_is_the_one_that_the_dose_was_proposed_by(guided: World) -> None:
    worksheet = proposed(guided)
    found = selectors.exposure_of(fresh(worksheet.participant))
    assert found.predicted is not None and found.levels.estimate is not None
    assert found.levels.used == 2 and found.levels.unused == ()
    proposal = worksheet.result["guided"]["proposal"]
    assert dict(found.levels.estimate.etas) == pytest.approx(proposal["etas"], abs=1e-6)
    # The planned infusions run for eight hours here and as the last one did there: a total hardly feels it.
    assert found.predicted.total.value == pytest.approx(proposal["at_proposed"], rel=0.02)
    assert [one.is_inside for one in found.targets] == [True]
    assert found.levels.estimate.mainly_population
    figure = curve_figure(found)
    assert figure is not None and "3.4 UE/mL of 20-Mar-2025 08:00" in figure.svg


@pytest.mark.requirement("DOS6")
def test_the_page_says_what_the_levels_say_and_how_little(guided: World) -> None:
    participant = proposed(guided).participant
    body = client_of(guided.alice).get(page_of(participant, "?show=1")).content.decode()
    for said in ("The levels say little about", "Shrinkage", "without a model", "interval of the estimate", "inside"):
        assert said in body, said
    assert "style=" not in body


def test_a_level_that_cannot_be_used_is_named_and_never_taken_as_zero(guided: World) -> None:
    approved(guided)
    participant = begun(guided)
    level(guided, participant, "3.4", at(20, 8))
    level(guided, participant, "<0.1", at(21, 8))
    level(guided, participant, "5", at(20, 12))
    level(guided, participant, "6", at(21, 9), assay="Dutch assay")
    level(guided, participant, "7", at(21, 10).date())
    actions.bring_up_to_date(participant=fresh(participant))
    levels = selectors.exposure_of(fresh(participant)).levels
    assert levels.used == 1 and levels.measured is None
    said = "\n".join(levels.unused)
    for reason in ("never taken as 0", "during an infusion", "never converted", "a day and no time"):
        assert reason in said
    assert [(one.value, one.is_below_limit) for one in levels.samples] == [(3.4, False), (5.0, False), (0.1, True)]
