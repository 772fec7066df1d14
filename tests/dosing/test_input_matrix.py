"""What must never lead to a dose, through the product's own actions: entry, file, infusion, worksheet, release.

Each case names the place, the rule and the way out that its refusal has to say. Where an entry is refused, not one row
of the database changes; where it is kept and cannot be used, it stays as it was written and no dose follows from it.
The pure functions have their own matrix (test_bad_inputs.py, test_level_guided.py); this one is of the whole way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction

from casebook import actions as casebook
from casebook.domain.results import Written
from casebook.formats import entered_moment
from casebook.models import FormEntry, LabDraw, LabResult
from dosing import actions
from dosing.models import (
    Administration,
    DoseRelease,
    DoseVerification,
    DoseWorksheet,
    DosingModel,
    DosingTable,
)
from tests.dosing.dose_world import (
    CELLS,
    DESCRIPTION,
    SAMPLED_AT,
    WEIGHED_ON,
    count,
    fresh,
    graft,
    member,
    ready,
    weigh,
    with_table,
)
from tests.dosing.levels import ALGORITHM_TEXT, ASSAY, SET_TEXT, at
from tests.dosing.test_levels import approved, begun, build_guided, level
from tests.world import ENROLLED_ON, GRAFT_ON, World
from trials import actions as trials
from trials.domain.partial_dates import DateEntryError
from trials.models import Participant, Visit
from trials.permissions import NotPossible

D = Decimal
pytestmark = pytest.mark.django_db
REFUSALS = (ValidationError, NotPossible, PermissionDenied, DateEntryError)
FUTURE, FUTURE_AT = date(2099, 1, 1), datetime(2099, 1, 1, 8)  # noqa: DTZ001  (the site's time)
HEAD = "participant,sampled_at,analyte,value,unit,laboratory,lloq"
#: Everything that an entry could have changed half.
TABLES = (
    Visit,
    FormEntry,
    LabDraw,
    LabResult,
    Administration,
    DosingTable,
    DosingModel,
    DoseWorksheet,
    DoseVerification,
    DoseRelease,
)


@dataclass
class Scene:
    """A world, and one participant in it who has all that a dose needs; a case adds what is wrong."""

    world: World
    participant: Participant

    # --- Covariates

    def weighs(self, text: str, unit: str = "kg") -> None:
        """A weight typed over the one that is there, in the form of its visit."""
        entry = self.participant.entries.get(form="VS")
        casebook.save_entry(
            participant=self.participant,
            form="VS",
            answers={"WEIGHT": text},
            units={"WEIGHT": unit},
            visit=self.participant.visits.get(done_on=WEIGHED_ON),
            revision=entry.revision,
            reason="as on the chart",
            by=self.world.bob,
        )

    def counts(self, text: str, unit: str = "10^9/L", when: datetime | date | str = SAMPLED_AT) -> None:
        """A lymphocyte count typed for a draw of another laboratory."""
        moment = entered_moment(self.participant, when) if isinstance(when, str) else when
        values = {"LB.ALC": Written(text, unit)}
        casebook.record_draw(
            participant=self.participant, sampled_at=moment, laboratory="B", values=values, by=self.world.bob
        )

    def grafts(self, source: str = "cord_blood") -> None:
        graft(self.world, self.participant, source)

    # --- Infusions

    def infuses(self, **changes: Any) -> None:
        """The infusion of the first day, with something changed."""
        facts: dict[str, Any] = {
            "infusion": 1,
            "started_at": at(15, 10),
            "stopped_at": at(15, 14),
            "product": "thymoglobulin",
            "dose_mg": D("54.5"),
            "comment": "given without a release",
            **changes,
        }
        actions.record_administration(participant=self.participant, by=self.world.bob, **facts)

    def takes_back(self, number: int = 2) -> None:
        self.gives("6.1")
        given = self.participant.administrations.get(infusion=number)
        actions.void_administration(administration=given, by=self.world.bob, reason="of another participant")

    # --- Worksheet, second entry, release

    def worksheet(self) -> DoseWorksheet:
        found = actions.bring_up_to_date(participant=fresh(self.participant))
        assert found is not None
        return found

    def verifies(self, by: str = "peter", **typed: str) -> None:
        right = {"weight_kg": "23.4", "alc_1e9_per_l": "0.8", "graft": "bone_marrow"}
        sheet = self.worksheet()
        actions.verify_worksheet(worksheet=sheet, typed={**right, **typed}, by=self.world.members[by])

    def releases(self) -> None:
        """The latest worksheet that was shown, whatever has changed since."""
        sheet = DoseWorksheet.objects.filter(participant=self.participant).latest("pk")
        actions.release_worksheet(worksheet=sheet, by=self.world.peter, reason="in order")

    # --- Tables and models

    def enters(self, cells: str = CELLS, **changes: str) -> DosingTable:
        description = DESCRIPTION
        for key, value in changes.items():
            description = description.replace(f"{key}: thymoglobulin", f"{key}: {value}")
        trial = self.world.trial
        return actions.enter_table(
            trial=trial, description=description, cells=cells, code="larch", by=self.world.peter, reason="first"
        )

    def approves(self, sites: str = "", **changes: str) -> None:
        """A table in force, of another product or at other sites."""
        table = actions.verify_table(table=self.enters(**changes), cells=CELLS, by=self.second_pharmacist())
        where = [self.world.sites[code] for code in sites] or None
        by = self.world.ben if sites == "B" else self.world.alice
        actions.approve_table(table=table, by=by, reason="for practice", sites=where)

    def models(self, *, algorithm: str = ALGORITHM_TEXT, change: tuple[str, str] = ("", "")) -> None:
        """A parameter set in force, and an algorithm with something changed."""
        for text in filter(None, (SET_TEXT, algorithm.replace(*change) if change[0] else algorithm)):
            row = actions.enter_model(trial=self.world.trial, content=text, by=self.world.peter, reason="practice")
            row = actions.verify_model(model=row, content=text, by=self.second_pharmacist())
            actions.approve_model(model=row, by=self.world.alice, reason="for practice")

    def second_pharmacist(self) -> Any:
        return self.world.members.get("paula") or member(self.world, "paula", "pharmacist")

    # --- Levels

    def gives(self, text: str, **changes: Any) -> None:
        """A level typed for the second day, with something changed."""
        facts: dict[str, Any] = {"unit": "UE/mL", "when": at(21, 8), "assay": ASSAY, "lloq": "", **changes}
        when = facts["when"]
        casebook.record_draw(
            participant=self.participant,
            sampled_at=entered_moment(self.participant, when) if isinstance(when, str) else when,
            laboratory=facts["assay"],
            specimen=facts.get("specimen", "blood"),
            values={"PC.ATG_ACTIVE": Written(text, facts["unit"], lloq=facts["lloq"])},
            by=self.world.bob,
        )


def nothing(scene: Scene) -> None:
    """There is nothing to do first."""


@dataclass(frozen=True)
class Case:
    """One bad input: what is done, and what its refusal says. ``first`` is done before, and is in order.

    ``recomputes``: the refusal leaves a new worksheet behind, which is what it says.
    """

    name: str
    do: Callable[[Scene], object]
    place: str
    rule: str
    way_out: str
    first: Callable[[Scene], object] = nothing
    recomputes: bool = False


def rows_of() -> dict[str, list[dict[str, Any]]]:
    """Every row that the cases could touch, with all its columns."""
    return {model.__name__: list(model._default_manager.order_by("pk").values()) for model in TABLES}


# --- Typed, and refused where it is typed -------------------------------------------------------------------------

SHEET: Callable[[Scene], object] = Scene.worksheet
GIVEN: Callable[[Scene], object] = Scene.infuses
SHOWN, CHANGED, WAY = "This worksheet", "inputs have changed", "Verify the new one"
GAP = "\n".join(CELLS.splitlines()[:-1])

TYPED = [
    Case("weight in words", lambda s: s.weighs("heavy"), "WEIGHT", "“heavy” is not a number", "such as 12.5"),
    Case("weight of zero", lambda s: s.weighs("0"), "WEIGHT", "allowed range, 1.5 to 200 kg", "Check value and unit"),
    Case("weight below zero", lambda s: s.weighs("-23.4"), "WEIGHT", "below the allowed range", "Check value and unit"),
    Case(
        "grams for kilograms", lambda s: s.weighs("23400"), "WEIGHT", "above the allowed range", "Check value and unit"
    ),
    Case("weight in pounds", lambda s: s.weighs("52", "lb"), "WEIGHT", "“lb” is not accepted", "Use kg, g"),
    Case("weight of two marks", lambda s: s.weighs("1,023.4"), "WEIGHT", "a comma and a point", "one decimal mark"),
    Case("weight of 23,400", lambda s: s.weighs("23,400"), "WEIGHT", "as 23.400 or as 23400", "one of the two"),
    Case("weight with its unit", lambda s: s.weighs("23.4 kg"), "WEIGHT", "more than a number", "the digits alone"),
    Case(
        "weight of a day to come", lambda s: weigh(s.world, s.participant, "23", FUTURE), "on", "in the past", "Correct"
    ),
    Case("count of 800", lambda s: s.counts("800"), "LB.ALC", "not possible in this unit", "report it in cells/µL?"),
    Case("count below zero", lambda s: s.counts("-0.8"), "LB.ALC", "is below zero", "Check the value"),
    Case("count in words", lambda s: s.counts("low"), "LB.ALC", "is not a number", "such as 12.5"),
    Case("count without unit", lambda s: s.counts("0.8", ""), "LB.ALC", "has no unit", "Give one of 10^9/L"),
    Case(
        "count as a mass", lambda s: s.counts("0.8", "mg/L"), "LB.ALC", "is not accepted here", "Use 10^9/L, cells/µL"
    ),
    Case("count to come", lambda s: s.counts("0.8", when=FUTURE), "sampled_at", "in the future", "record it when"),
    Case("count at 29:55", lambda s: s.counts("0.8", when="14mar25 29:55"), "29:55", "has no time of day", "such as"),
    Case("count of 31 February", lambda s: s.counts("0.8", when="31feb25"), "31feb25", "not a day", "Correct the date"),
    Case("count of 03/04", lambda s: s.counts("0.8", when="03/04/2025"), "03/04/2025", "in two ways", "Choose one"),
    Case(
        "count of a month", lambda s: s.counts("0.8", when="mar 2025"), "mar 2025", "has no day", "Type the whole date"
    ),
    Case(
        "the count twice", lambda s: count(s.world, s.participant, "9"), "LB.ALC", "another value", "Correct the result"
    ),
    Case(
        "graft of no code", lambda s: graft(s.world, s.participant, "x"), "SOURCE", "not one of its answers", "Choose"
    ),
    Case(
        "dose of another product",
        lambda s: s.infuses(product="grafalon"),
        "product",
        "never converted",
        "as medication",
    ),
    Case("dose of zero", lambda s: s.infuses(dose_mg=D(0)), "dose_mg", "above 0 mg", "Correct it"),
    Case("dose below zero", lambda s: s.infuses(dose_mg=D("-54.5")), "dose_mg", "above 0 mg", "Correct it"),
    Case("dose without end", lambda s: s.infuses(dose_mg=D("Infinity")), "dose_mg", "above 0 mg", "Correct it"),
    Case(
        "dose of a thousandfold", lambda s: s.infuses(dose_mg=D(54500)), "dose_mg", "up to 5000", "Give the dose in mg"
    ),
    Case("dose not told", lambda s: s.infuses(dose_mg=None), "dose_mg", "dose in mg", "or the volume in mL"),
    Case("dose and volume", lambda s: s.infuses(volume_ml=D(20)), "volume_ml", "are 100 mg, not 54.5", "Correct one"),
    Case(
        "infusion of no time", lambda s: s.infuses(stopped_at=at(15, 10)), "stopped_at", "stops after", "Correct one of"
    ),
    Case("infusion of three days", lambda s: s.infuses(stopped_at=at(18, 10)), "stopped_at", "48 h", "check the dates"),
    Case("infusion to come", lambda s: s.infuses(stopped_at=FUTURE_AT), "stopped_at", "after it has ended", "or wait"),
    Case("infusion number 0", lambda s: s.infuses(infusion=0), "infusion", "counted from 1", "Give its number"),
    Case("infusion of no plan", lambda s: s.infuses(comment=""), "comment", "no dose plan", "say why this was given"),
    Case("infusion of no release", lambda s: s.infuses(comment=""), "comment", "was not released", "say why", SHEET),
    Case(
        "infusion twice", lambda s: s.infuses(dose_mg=D(50)), "Infusion 1", "recorded already", "Correct it, or", GIVEN
    ),
    Case(
        "two at once",
        lambda s: s.infuses(infusion=2),
        "started_at",
        "Infusion 1 was running",
        "Correct the times",
        GIVEN,
    ),
    Case("no second weight", lambda s: s.verifies(weight_kg=""), "weight_kg", "Enter", "from the source", SHEET),
    Case(
        "second count in words",
        lambda s: s.verifies(alc_1e9_per_l="x"),
        "alc_1e9_per_l",
        "not a number",
        "Write",
        SHEET,
    ),
    Case(
        "second entry by a coordinator", lambda s: s.verifies(by="bob"), "coordinator", "may not verify", "Ask:", SHEET
    ),
    Case("no second entry", lambda s: s.releases(), "The dose", "was not verified", "a second person enters", SHEET),
    Case(
        "a changed weight", lambda s: s.releases(), SHOWN, CHANGED, WAY, lambda s: (s.verifies(), s.weighs("24")), True
    ),
    Case("a changed graft", lambda s: s.releases(), SHOWN, CHANGED, WAY, lambda s: (s.verifies(), s.grafts()), True),
    Case("a table with a gap", lambda s: s.enters(GAP), "cells", "a gap: no cell", "Add the cell"),
]
TYPED_LEVELS = [
    Case("level in words", lambda s: s.gives("high"), "PC.ATG_ACTIVE", "is not a number", "such as 12.5"),
    Case("level below zero", lambda s: s.gives("-6.1"), "PC.ATG_ACTIVE", "is below zero", "Check the value"),
    Case(
        "the other unit",
        lambda s: s.gives("6.1", unit="AU/mL"),
        "PC.ATG_ACTIVE",
        "“AU/mL” is not accepted",
        "Use UE/mL",
    ),
    Case(
        "level as a mass",
        lambda s: s.gives("6", unit="mg/L"),
        "PC.ATG_ACTIVE",
        "cannot be converted",
        "reported in UE/mL",
    ),
    Case("level without unit", lambda s: s.gives("6.1", unit=""), "PC.ATG_ACTIVE", "has no unit", "Give one of UE/mL"),
    Case("level of 1,234", lambda s: s.gives("1,234"), "PC.ATG_ACTIVE", "as 1.234 or as 1234", "one of the two"),
    Case("level of 14 digits", lambda s: s.gives("6" * 14), "PC.ATG_ACTIVE", "more than 12 digits", "Check the value"),
    Case("below no limit", lambda s: s.gives("<LLOQ"), "PC.ATG_ACTIVE", "does not name it", "such as <0.5"),
    Case(
        "below no limit, in words", lambda s: s.gives("below LOQ"), "PC.ATG_ACTIVE", "does not name it", "such as <0.5"
    ),
    Case(
        "below two limits",
        lambda s: s.gives("<0.5", lloq="0.4"),
        "PC.ATG_ACTIVE",
        "two limits",
        "or leave the limit out",
    ),
    Case("limit of zero", lambda s: s.gives("6.1", lloq="0"), "PC.ATG_ACTIVE", "no number above 0", "Check the limit"),
    Case("limit in words", lambda s: s.gives("6.1", lloq="low"), "PC.ATG_ACTIVE", "is not a number", "such as 12.5"),
    Case(
        "limit without unit", lambda s: s.gives("nd.", lloq="1", unit=""), "PC.ATG_ACTIVE", "has no unit", "Give one of"
    ),
    Case("level to come", lambda s: s.gives("6.1", when=FUTURE_AT), "sampled_at", "in the future", "record it when"),
    Case("level at no time", lambda s: s.gives("6.1", when=" "), "sample", "when the sample was taken", "such as"),
    Case("level at 25:00", lambda s: s.gives("6.1", when="21mar25 25:00"), "25:00", "has no time of day", "such as"),
    Case(
        "the level twice",
        lambda s: s.gives("3.5", when=at(20, 8)),
        "PC.ATG_ACTIVE",
        "another value",
        "Correct the result",
    ),
    Case("long laboratory", lambda s: s.gives("6.1", assay="x" * 41), "laboratory", "more than 40", "Shorten it"),
]

# --- Kept as written, and no dose follows -------------------------------------------------------------------------


def bare(scene: Scene, **known: Any) -> None:
    """Another participant of the scene, who lacks something."""
    scene.participant = ready(scene.world, **known)


def weighed(scene: Scene, on: date) -> None:
    bare(scene, kg=None)
    weigh(scene.world, scene.participant, "23.4", on)


def counted(scene: Scene, when: datetime | date, text: str = "0.8") -> None:
    bare(scene, alc=None)
    count(scene.world, scene.participant, text, when)


def begun_without(scene: Scene, of: str) -> None:
    """The only value of a covariate is of after the first infusion."""
    bare(scene, **{of: None})
    scene.infuses()
    if of == "alc":
        count(scene.world, scene.participant, "0.8", at(15, 11))
    else:
        weigh(scene.world, scene.participant, "23.4", date(2025, 3, 16))


def grown_up(scene: Scene) -> None:
    world = scene.world
    participant = world.screened(birth_date="2007-03-15")
    enrolment = trials.enrol(
        participant=participant, assessment=world.assessed(participant), enrolled_on=ENROLLED_ON, by=world.bob
    )
    trials.set_anchor(participant=enrolment.participant, day=GRAFT_ON, by=world.bob)
    scene.participant = fresh(participant)
    graft(world, participant)
    weigh(world, participant, "60")
    count(world, participant, "0.8")


def unplanned(scene: Scene) -> None:
    scene.participant = scene.world.enrolled(graft_on=None)


def unweighed(scene: Scene) -> None:
    scene.participant = scene.world.enrolled()


def postponed(scene: Scene) -> None:
    trials.set_anchor(participant=scene.participant, day=date(2025, 4, 7), by=scene.world.bob, reason="postponed")


OUTSIDE, EXTRAPOLATED = "lies outside the table larch, which covers 3 to 120 kg", "Check the values and their units"
WEIGHT, COUNT = "Actual body weight", "Lymphocytes"
KEPT = [
    Case("no weight", lambda s: bare(s, kg=None), WEIGHT, "is not recorded", "Record actual body weight with its date"),
    Case("no count", lambda s: bare(s, alc=None), COUNT, "is not recorded", "Record lymphocytes with its date"),
    Case(
        "no graft source", lambda s: bare(s, source=None), "graft source", "is not known", "Record the stem-cell source"
    ),
    Case("weight not done", lambda s: s.weighs("ND"), WEIGHT, "is not recorded", "Record"),
    Case("count not done", lambda s: counted(s, at(14, 8), "ND"), COUNT, "is not recorded", "Record"),
    Case(
        "weight of four days before",
        lambda s: weighed(s, date(2025, 3, 11)),
        WEIGHT,
        "older than 72 h",
        "Take it again",
    ),
    Case(
        "weight of a month before", lambda s: weighed(s, date(2025, 2, 13)), WEIGHT, "older than 72 h", "Take it again"
    ),
    Case("count of two days before", lambda s: counted(s, at(13, 8)), COUNT, "older than 24 h", "Take it again"),
    Case(
        "count of a year before", lambda s: counted(s, date(2024, 3, 14)), COUNT, "older than 24 h", "not before 14-Mar"
    ),
    Case("count of the day after", lambda s: counted(s, at(16, 8)), COUNT, "after the first dose", "from before"),
    Case(
        "weight of the day after",
        lambda s: weighed(s, date(2025, 3, 16)),
        WEIGHT,
        "after the first dose",
        "from before",
    ),
    Case("count after the infusion", lambda s: begun_without(s, "alc"), COUNT, "after the first dose", "from before"),
    Case("weight after the infusion", lambda s: begun_without(s, "kg"), WEIGHT, "after the first dose", "from before"),
    Case(
        "count of two cells", lambda s: counted(s, at(14, 8), "<0.6"), "ALC <0.6", "in 2 cells of the table", "repeated"
    ),
    Case("count above a limit", lambda s: counted(s, at(14, 8), ">5"), COUNT, ">5 10^9/L", "Have it measured again"),
    Case("weight below a limit", lambda s: s.weighs("<23.4"), WEIGHT, "<23.4 kg", "Have it measured again"),
    Case("too light", lambda s: s.weighs("2.99"), "2.99 kg", OUTSIDE, EXTRAPOLATED),
    Case("too heavy", lambda s: s.weighs("120.01"), "120.01 kg", OUTSIDE, EXTRAPOLATED),
    Case("pounds of an adult for kilograms", lambda s: s.weighs("160"), "160 kg", OUTSIDE, EXTRAPOLATED),
    Case("graft not known", lambda s: s.grafts("UNK"), "graft source", "is not known", "Record the stem-cell source"),
    Case("no day of the graft", lambda s: unplanned(s), "graft infusion", "is not known", "Record the planned date"),
    Case("graft postponed", lambda s: postponed(s), COUNT, "planned for 29-Mar-2025", "not before 28-Mar-2025"),
    Case("an adult", lambda s: grown_up(s), "The age", "0 to below 18 years", "The physician doses"),
]
#: In a world without a table in force.
WITHOUT_TABLE = [
    Case("no table", lambda s: None, "table “larch”", "not loaded and approved", "Enter, verify and approve it"),
    Case(
        "a table that nobody verified",
        lambda s: s.enters(),
        "table “larch”",
        "not loaded and approved",
        "Enter, verify",
    ),
    Case(
        "a table of another product",
        lambda s: s.approves(product="grafalon"),
        "The table",
        "is for grafalon",
        "Approve the table",
    ),
    Case(
        "a table of the other site", lambda s: s.approves(sites="B"), "site A", "not yet put into force", "puts it into"
    ),
]
SECOND, MAGNITUDE = "6.1 UE/mL of 21-Mar-2025 08:00", "knows levels above 0 up to 200 UE/mL"
TO_NA = "to NA, with the reason, and record it at its right time"
ASSAYS, NO_TIME = "sponsor v1 of “Chinese programme”", "has a day and no time"
KEPT_LEVELS = [
    Case("no second level", lambda s: None, "day -3 and -2", "of 2 levels are there", "with all of them"),
    Case(
        "below the limit", lambda s: s.gives("<0.1"), "<0.1 UE/mL of 21-Mar-2025 08:00", "1 of 2 levels", "Record the"
    ),
    Case(
        "below its limit", lambda s: s.gives("0.3", lloq="0.5"), "0.3 UE/mL (limit 0.5)", "1 of 2 levels", "Record the"
    ),
    Case(
        "nothing found",
        lambda s: s.gives("not detected", lloq="0.5"),
        "(limit 0.5 UE/mL)",
        "1 of 2 levels",
        "Record the",
    ),
    Case(
        "nothing found, no limit",
        lambda s: s.gives("not detected"),
        "“not detected”",
        "has no limit",
        "Record the limit",
    ),
    Case("above a limit", lambda s: s.gives(">100"), ">100 UE/mL of 21-Mar", "no exact number", "Ask the laboratory"),
    Case("at most", lambda s: s.gives("<=6.1"), "<=6.1 UE/mL of 21-Mar", "no exact number", "Ask the laboratory"),
    Case("zero", lambda s: s.gives("0"), "0 UE/mL of 21-Mar-2025", MAGNITUDE, "Check value and unit"),
    Case("a thousandfold", lambda s: s.gives("6100"), "6100 UE/mL of 21-Mar-2025", MAGNITUDE, "Check value and unit"),
    Case(
        "just above the highest", lambda s: s.gives("200.1"), "200.1 UE/mL of 21-Mar", MAGNITUDE, "Check value and unit"
    ),
    Case(
        "another assay", lambda s: s.gives("6.1", assay="Dutch assay"), SECOND, ASSAYS, "record the level of the right"
    ),
    Case("no assay", lambda s: s.gives("6.1", assay=""), SECOND, "“not named”", "record the level of the right"),
    Case(
        "an assay in other letters", lambda s: s.gives("6.1", assay="chinese programme"), SECOND, ASSAYS, "right assay"
    ),
    Case(
        "a day only",
        lambda s: s.gives("6.1", when=date(2025, 3, 21)),
        "21-Mar-2025",
        NO_TIME,
        "record it with its time",
    ),
    Case(
        "before the first dose", lambda s: s.gives("6.1", when=at(19, 9)), "19-Mar-2025 09:00", "before the first", "NA"
    ),
    Case(
        "a month before", lambda s: s.gives("6.1", when="19feb25 08:00"), "19-Feb-2025 08:00", "before the first", "NA"
    ),
    Case(
        "during the first infusion", lambda s: s.gives("6.1", when=at(19, 12)), "19-Mar-2025 12:00", "of day -5", "NA"
    ),
    Case("during the second", lambda s: s.gives("6.1", when=at(20, 15, 59)), "20-Mar-2025 15:59", "of day -4", TO_NA),
    Case(
        "two of one moment", lambda s: s.gives("3.9", when=at(20, 8), specimen="serum"), "3.9 UE/mL", "Two levels", "NA"
    ),
    Case(
        "an infusion taken back",
        lambda s: s.takes_back(),
        "day -4",
        "no recorded start and stop",
        "Record the infusion",
    ),
]
#: In a world without an algorithm in force; the last two are of the whole rule, not of a level.
NO_ALGORITHM, PRODUCT = "is not approved here", ("product: rabbit_atg", "product: grafalon")
WITHOUT_ALGORITHM = [
    Case("no algorithm", lambda s: None, "“sponsor”", NO_ALGORITHM, "Record the levels and the doses"),
    Case("a set and no algorithm", lambda s: s.models(algorithm=""), "“sponsor”", NO_ALGORITHM, "Record the levels"),
    Case(
        "an algorithm of another product",
        lambda s: s.models(change=PRODUCT),
        "sponsor v1",
        "is for grafalon",
        "Approve an",
    ),
    Case("no weight", lambda s: (s.models(), unweighed(s)), WEIGHT, "is not recorded", "Record actual body weight"),
]

# --- In a file ----------------------------------------------------------------------------------------------------

#: Rows below a good one, which is not written either; ``place`` is row and column.
GOOD = "{n},2025-03-20 08:00,ATG_ACTIVE,4.4,UE/mL,Chinese programme B,0.1"
FILES = {
    "a number that nobody has": "P999,2025-03-21 08:00,ATG_ACTIVE,6,UE/mL,A,",
    "a participant of the other site": "{other},2025-03-21 08:00,ATG_ACTIVE,6,UE/mL,A,",
    "no participant": ",2025-03-21 08:00,ATG_ACTIVE,6,UE/mL,A,",
    "no such analyte": "{n},2025-03-21 08:00,ATG_TOTAL,6,UE/mL,A,",
    "the unit of the other assay": "{n},2025-03-21 08:00,ATG_ACTIVE,6,AU/mL,A,",
    "no unit": "{n},2025-03-21 08:00,ATG_ACTIVE,6,,A,",
    "no assay": "{n},2025-03-21 08:00,ATG_ACTIVE,6,UE/mL,,",
    "words": "{n},2025-03-21 08:00,ATG_ACTIVE,high,UE/mL,A,",
    "below zero": "{n},2025-03-21 08:00,ATG_ACTIVE,-6,UE/mL,A,",
    "below no limit": "{n},2025-03-21 08:00,ATG_ACTIVE,BLQ,UE/mL,A,",
    "two limits": "{n},2025-03-21 08:00,ATG_ACTIVE,<0.5,UE/mL,A,0.4",
    "a limit in words": "{n},2025-03-21 08:00,ATG_ACTIVE,6,UE/mL,A,low",
    "no such hour": "{n},2025-03-21 28:00,ATG_ACTIVE,6,UE/mL,A,",
    "no such day": "{n},2025-02-31,ATG_ACTIVE,6,UE/mL,A,",
    "a day to come": "{n},2099-03-21 08:00,ATG_ACTIVE,6,UE/mL,A,",
    "the level twice": "{n},2025-03-20 08:00,ATG_ACTIVE,3.9,UE/mL,Chinese programme B,",
    "a cell too many": "{n},2025-03-21 08:00,ATG_ACTIVE,6,UE/mL,A,,",
    "a quote left open": '{n},"2025-03-21,ATG_ACTIVE,6,UE/mL,A,',
}
FILE_CASES = [
    Case("a number that nobody has", nothing, "3 participant", "no participant", "Use the"),
    Case("a participant of the other site", nothing, "3 participant", "no participant", "Use"),
    Case("no participant", nothing, "3 participant", "empty", "Fill it in"),
    Case("no such analyte", nothing, "3 analyte", "no analyte “ATG_TOTAL”", "Use one of ALC, CD4"),
    Case("the unit of the other assay", nothing, "3 unit", "not accepted", "Use UE/mL"),
    Case("no unit", nothing, "3 unit", "has no unit", "Give one of UE/mL"),
    Case("no assay", nothing, "3 laboratory", "belongs to an assay", "name the laboratory"),
    Case("words", nothing, "3 value", "not a number", "such as 12.5"),
    Case("below zero", nothing, "3 value", "below zero", "Check the value"),
    Case("below no limit", nothing, "3 value", "does not name it", "such as <0.5"),
    Case("two limits", nothing, "3 lloq", "two limits", "leave the limit out"),
    Case("a limit in words", nothing, "3 lloq", "not a number", "such as 12.5"),
    Case("no such hour", nothing, "3 sampled_at", "28:00", "Type the date and the time"),
    Case("no such day", nothing, "3 sampled_at", "not a day", "Correct the date"),
    Case("a day to come", nothing, "3 sampled_at", "in the future", "Correct the date"),
    Case("the level twice", nothing, "3 analyte", "row 2 already", "Keep one"),
    Case("a cell too many", nothing, "3 ", "8 cells and the header 7", "Check delimiters"),
    Case("a quote left open", nothing, "3 ", "never closed", "Correct"),
]

# --- The way through ----------------------------------------------------------------------------------------------


@contextmanager
def undone() -> Iterator[None]:
    """What happens inside is taken back at the end, so that one world serves every case."""
    with transaction.atomic():
        try:
            yield
        finally:
            transaction.set_rollback(True)


def said_by(refusal: BaseException) -> tuple[str, str]:
    """The places that a refusal names, and all its sentences."""
    if isinstance(refusal, ValidationError) and hasattr(refusal, "error_dict"):
        by_place = refusal.message_dict
        return " ".join(by_place), " ".join(sentence for sentences in by_place.values() for sentence in sentences)
    said = " ".join(refusal.messages) if isinstance(refusal, ValidationError) else str(refusal)
    return said, said


def wrong_with(case: Case, scene: Scene, check: Callable[[Case, Scene], None]) -> str:
    """What is wrong with one case, taken back afterwards; empty where it is as it has to be."""
    with undone():
        try:
            check(case, scene)
        except AssertionError as problem:
            return f"{case.name}: {problem}"
    return ""


def is_refused_where_it_is_typed(case: Case, scene: Scene) -> None:
    case.first(scene)
    before, released = rows_of(), DoseRelease.objects.count()
    try:
        case.do(scene)
    except REFUSALS as refusal:
        places, said = said_by(refusal)
    else:
        raise AssertionError("it was kept")
    assert case.place in places and case.rule in said and case.way_out in said, f"{places}: {said}"
    after = rows_of()
    changed = [name for name, rows in after.items() if rows != before[name]]
    assert changed == (["DoseWorksheet"] if case.recomputes else []), f"something of it was written: {changed}"
    assert DoseRelease.objects.count() == released, "a dose was released"


def no_dose_follows(case: Case, scene: Scene) -> None:
    case.do(scene)
    kept = rows_of()
    sheet = scene.worksheet()
    said = [f"{one['sentence']} {one['way_out']}" for one in sheet.result["refusals"]]
    assert any(case.place in one and case.rule in one and case.way_out in one for one in said), said
    assert sheet.is_refused and sheet.result["days"] == [] and sheet.result.get("total_mg_per_kg") is None
    _check_facts_are_kept(kept)


def no_proposal_follows(case: Case, scene: Scene) -> None:
    case.do(scene)
    kept = rows_of()
    sheet = scene.worksheet()
    said = [one["sentence"] for one in sheet.result["warnings"]]
    assert not (sheet.result.get("guided") or {}).get("proposal"), "a dose was proposed"
    assert any(case.place in one and case.rule in one and case.way_out in one for one in said), said
    assert [day["mg"] for day in sheet.result["days"]] == ["150"] * 4, "the fixed dose, and no other"
    _check_facts_are_kept(kept)


def _check_facts_are_kept(kept: dict[str, list[dict[str, Any]]]) -> None:
    now = rows_of()
    changed = [name for name, rows in kept.items() if now[name] != rows]
    assert set(changed) <= {"DoseWorksheet"}, f"a fact was changed: {changed}"


def no_row_is_written(case: Case, scene: Scene) -> None:
    other = scene.world.screened(by=scene.world.carol)
    before = rows_of()
    row = FILES[case.name].format(n=scene.participant.number, other=other.screening_number)
    content = "\n".join([HEAD, GOOD.format(n=scene.participant.number), row]).encode()
    found = casebook.check_lab_file(content=content, file_name="levels.csv", by=scene.world.bob)
    ((at_row, column, reason), *more) = found.report["rejections"]
    assert more == [] and f"{at_row} {column}" == case.place, found.report["rejections"]
    assert case.rule in reason and case.way_out in reason, reason
    with pytest.raises(NotPossible, match="Correct them and upload it again; nothing was written"):
        casebook.write_lab_import(lab_import=found, by=scene.world.bob, shown=found.plan_sha256)
    now = rows_of()
    assert all(now[name] == rows for name, rows in before.items()), "half of the file was written"


def all_right(cases: Iterable[Case], check: Callable[[Case, Scene], None], world: World, who: Participant) -> None:
    # Whom a case adds to the world is gone with it.
    found = [wrong_with(case, Scene(replace(world, members={**world.members}), fresh(who)), check) for case in cases]
    assert not any(found), "\n".join(filter(None, found))


@pytest.fixture
def with_levels() -> Scene:
    """The guided world, with the fixed doses of two days given and the first level there."""
    world = build_guided()
    approved(world)
    participant = begun(world)
    level(world, participant, "3.4", at(20, 8))
    return Scene(world, participant)


@pytest.mark.requirement("DOS17")
def test_what_is_typed_wrong_is_refused_and_nothing_of_it_is_written(world: World) -> None:
    with_table(world)
    all_right(TYPED, is_refused_where_it_is_typed, world, ready(world))


@pytest.mark.requirement("DOS17")
def test_a_level_that_is_typed_wrong_is_refused_and_nothing_of_it_is_written(with_levels: Scene) -> None:
    all_right(TYPED_LEVELS, is_refused_where_it_is_typed, with_levels.world, with_levels.participant)


@pytest.mark.requirement("DOS17")
def test_what_is_kept_and_cannot_be_used_leads_to_no_dose(world: World) -> None:
    child = ready(world)
    all_right(WITHOUT_TABLE, no_dose_follows, world, child)
    with_table(world)
    assert Scene(world, child).worksheet().result["days"], "in order, there is a dose"
    all_right(KEPT, no_dose_follows, world, child)


@pytest.mark.requirement("DOS17")
def test_a_level_that_is_kept_and_cannot_be_used_leads_to_no_proposal(with_levels: Scene) -> None:
    all_right(KEPT_LEVELS, no_proposal_follows, with_levels.world, with_levels.participant)
    with undone():
        with_levels.gives("6.1")
        assert with_levels.worksheet().result["guided"]["proposal"], "in order, there is a proposal"


@pytest.mark.requirement("DOS17")
@pytest.mark.parametrize(
    ("wrong", "changes"),
    [("6.1", {"when": at(20, 12)}), ("6.1", {"when": date(2025, 3, 21)}), ("6.1", {"assay": "Dutch assay"})],
)
def test_the_way_out_of_a_wrong_time_or_assay_leads_to_a_proposal(
    with_levels: Scene, wrong: str, changes: dict[str, Any]
) -> None:
    with_levels.gives(wrong, **changes)
    assert with_levels.worksheet().result["guided"]["proposal"] is None
    result = LabResult.objects.latest("pk")
    casebook.correct_result(
        result=result, text="NA", unit="", by=with_levels.world.bob, reason="written at the wrong time", revision=1
    )
    with_levels.gives("6.1")
    assert with_levels.worksheet().result["guided"]["proposal"]["levels_used"] == 2


@pytest.mark.requirement("DOS17")
def test_without_an_algorithm_that_fits_there_is_no_dose() -> None:
    world = build_guided()
    participant = world.enrolled()
    weigh(world, participant, "60")
    all_right(WITHOUT_ALGORITHM, no_dose_follows, world, participant)


@pytest.mark.requirement("DOS17")
def test_a_file_with_one_bad_row_is_not_written_at_all(with_levels: Scene) -> None:
    all_right(FILE_CASES, no_row_is_written, with_levels.world, with_levels.participant)


@pytest.mark.requirement("DOS17")
def test_the_matrix_has_more_than_sixty_inputs_of_both_kinds_of_dosing() -> None:
    nomogram, levels = [*TYPED, *KEPT, *WITHOUT_TABLE], [*TYPED_LEVELS, *KEPT_LEVELS, *WITHOUT_ALGORITHM, *FILE_CASES]
    assert len(nomogram) >= 60 and len(levels) >= 60
    for cases in (TYPED, KEPT, WITHOUT_TABLE, TYPED_LEVELS, KEPT_LEVELS, WITHOUT_ALGORITHM, FILE_CASES):
        assert len({case.name for case in cases}) == len(cases), "each case has its own name"
    # Each says where, what, and what to do: an empty text would ask for nothing.
    assert all(case.place and case.rule and case.way_out for case in (*nomogram, *levels))
