"""Figures of people: what each is read from, that they add up to the tables beside them, and where marks lead."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from analysis.domain.consecutive_threshold import Status
from analysis.domain.dataset import Dataset, Subject
from analysis.domain.endpoint_answers import ANSWERS
from analysis.domain.endpoint_outcomes import Outcome
from analysis.domain.figures.boxes import Boxes
from analysis.domain.figures.swimmer import Swimmer
from analysis.domain.figures.transitions import Transitions
from analysis.domain.figures.waterfall import Waterfall
from analysis.domain.figures.waterfall import spec as waterfall_spec
from analysis.domain.plan import courses
from analysis.domain.plan.figures import curve_spec
from analysis.domain.plan.material import Course, Material
from analysis.domain.plan.methods import compute
from analysis.domain.plan.results import CurveData, Line, Result, as_plain, from_plain
from analysis.domain.records import Entered, Happened, Records
from analysis.formats.pictures import course_links
from analysis.reports import plan
from trials.domain.definition import AnalysisSpec
from trials.domain.documents import Picture
from trials.domain.partial_dates import PartialDate
from trials.domain.schedule import date_of_day, study_day
from trials.formats.definitions import read_definition
from trials.formats.documents import as_pdf

RELAX = read_definition(
    (Path(__file__).parents[2] / "trials" / "definitions" / "relax" / "v1.yaml").read_text(), file="relax"
)
ANCHOR = date(2020, 3, 2)


def on(day: int) -> str:
    return date_of_day(day, ANCHOR, 1).isoformat()


def staged(number: int, day: int, skin: int, lower_gut: int) -> Entered:
    stages = {"SKIN_STAGE": skin, "LIVER_STAGE": 0, "UPPER_GI_STAGE": 0, "LOWER_GI_STAGE": lower_gut}
    return Entered("GV", "", number, {"DATE": on(day), **{name: str(stage) for name, stage in stages.items()}}, number)


def recorded(
    participant: int,
    stages: dict[int, tuple[int, int]],
    *,
    doses: dict[int, str] | None = None,
    died: int | None = None,
    gvhd: str = "",
    seen: int | None = None,
) -> Records:
    """Somebody's stages (skin, lower gut) and steroid doses by study day, and the day of death or of the
    last contact."""
    happened = []
    if seen is not None:
        happened.append(Happened("last_contact", PartialDate.from_iso(on(seen)), seen, seen, row=899))
    if died is not None:
        happened.append(Happened("death", PartialDate.from_iso(on(died)), died, died, detail={}, row=900))
    if gvhd:
        known = PartialDate.from_iso(gvhd)
        first, last = (study_day(one, ANCHOR, 1) for one in (known.earliest, known.latest))
        happened.append(Happened("chronic_gvhd", known, first, last, "moderate", row=901))
    entries = {
        "GV": tuple(staged(n, day, *pair) for n, (day, pair) in enumerate(stages.items(), 1)),
        "ST": tuple(
            Entered("ST", "", n, {"DATE": on(day), "DOSE": dose}, n)
            for n, (day, dose) in enumerate((doses or {}).items(), 1)
        ),
    }
    return Records(participant, date(2021, 3, 1), ANCHOR, 1, events=tuple(happened), entries=entries)


#: Better from day 14 on; better on day 28 and dead on day 40; never seen again.
RESPONDS = recorded(
    1,
    {-1: (2, 2), 7: (2, 2), 14: (1, 0), 21: (0, 0), 28: (0, 0), 35: (0, 0), 42: (0, 0), 56: (0, 0), 70: (0, 0),
     77: (0, 0)},
    doses={1: "60", 7: "40", 28: "20"},
    gvhd="2020-08", seen=300,
)  # fmt: skip
DIES = recorded(2, {-1: (2, 2), 7: (3, 2), 14: (2, 2), 28: (1, 1)}, doses={1: "60", 28: "90"}, died=40)
LOST = recorded(3, {-1: (2, 0)}, doses={1: "80"}, seen=20)
EVERYBODY = (RESPONDS, DIES, LOST)


def material() -> Material:
    read = courses.reader(RELAX)
    names = ("orr_day_28", "orr_day_42", "orr_day_56", "steroid_reduction", "overall_survival")
    answers = {name: ANSWERS[RELAX.endpoint(name).method].prepared(RELAX, RELAX.endpoint(name)) for name in names}
    subjects = tuple(
        Subject(
            one.participant, f"01-00{one.participant}", "01", "xenopax", None, ANCHOR, frozenset({"all"}), {},
            {name: answer(one) for name, answer in answers.items()},
        )
        for one in EVERYBODY
    )  # fmt: skip
    dataset = Dataset("relax", "1.0", date(2021, 3, 1), 1, subjects)
    return Material(RELAX, dataset, (), {one.participant: read(one) for one in EVERYBODY})


def spec(name: str, **fields: Any) -> AnalysisSpec:
    return replace(next(one for one in RELAX.analyses if one.id == name), **fields)


def test_the_plan_of_relax_reads_stages_doses_and_events_of_its_own_people() -> None:
    asked = courses.reads(RELAX)
    assert {"GV", "ST", "RX2"} <= asked.forms and {"death", "relapse", "chronic_gvhd"} <= asked.events
    assert courses.sets_read(RELAX) == {"all"}
    bare = replace(RELAX, analyses=tuple(one for one in RELAX.analyses if one.id == "A1"))
    assert courses.sets_read(bare) == frozenset()


def test_the_states_of_a_course_follow_the_rule_of_the_endpoint() -> None:
    read = courses.reader(RELAX)
    assert read(RESPONDS).states["orr_day_28"] == {7: "NR", 14: "PR", 28: "CR", 42: "CR", 56: "CR"}
    assert read(DIES).states["orr_day_28"] == {7: "NR", 14: "NR", 28: "NR", 42: "dead", 56: "dead"}
    assert set(read(LOST).states["orr_day_28"].values()) == {"not_assessed"}
    assert read(replace(LOST, anchor_day=None)) == Course()


@pytest.mark.parametrize(
    "status, classification, evidence, died, state",
    [
        (Status.REACHED, "CR", True, None, "CR"),
        (Status.REACHED, "CR or PR", True, None, "PR"),
        (Status.REACHED, "CR", True, 28, "dead"),
        (Status.NOT_REACHED, "non-response", True, 29, "NR"),
        (Status.NOT_REACHED, "non-response", False, None, "not_assessed"),
        (Status.PENDING, "CR", True, None, "not_assessed"),
        (Status.INSUFFICIENT_DATA, "", False, None, "not_assessed"),
    ],
)
def test_the_state_on_a_day(status: Status, classification: str, evidence: bool, died: int | None, state: str) -> None:
    outcome = Outcome(status, "", classification=classification, evidence=("row",) if evidence else ())  # type: ignore[arg-type]
    assert courses.state_on(28, outcome, died) == state


@pytest.mark.requirement("FIG1")
def test_the_course_of_a_response_adds_up_to_everybody_and_to_the_endpoint() -> None:
    result = compute(material(), spec("A10"))
    (drawing,) = result.drawings
    assert isinstance(drawing.data, Transitions) and drawing.data.n == 3
    for row in result.tables[0].rows:
        assert sum(int(cell.text) for cell in row.cells[:6]) == 3
    last = result.tables[0].rows[3].cells[-1]
    assert (last.text, last.listing and last.listing.endpoint) == ("1 of 3 (33.3 %)", "orr_day_28")
    assert len(result.laws) == 3 and not result.broken_laws


def test_a_rate_that_is_not_that_of_the_endpoint_is_told() -> None:
    made = material()
    wrong = {**made.courses, 3: Course(states={"orr_day_28": {7: "NR", 14: "NR", 28: "CR", 42: "NR", 56: "NR"}})}
    (broken,) = compute(replace(made, courses=wrong), spec("A10")).broken_laws
    assert "day 28" in broken.name and broken.detail == "2 and 1 of 3"


@pytest.mark.requirement("FIG1")
def test_the_dose_by_day_is_in_quartiles_and_each_change_is_a_bar() -> None:
    result = compute(material(), spec("A11"))
    box, fall = (one.data for one in result.drawings)
    assert isinstance(box, Boxes) and [(one.day, one.n, one.median) for one in box.boxes] == [
        (1, 3, 60), (7, 1, 40), (28, 2, 55),
    ]  # fmt: skip
    assert isinstance(fall, Waterfall)
    assert [(bar.number, round(bar.change_percent), bar.response) for bar in fall.bars] == [
        ("01-002", 50, "NR"), ("01-001", -67, "CR"),
    ]  # fmt: skip
    assert fall.without_value == 1
    assert result.tables[0].rows[-1].cells[0].text == "1 of 2 (50.0 %)"


def test_a_lane_is_as_long_as_the_follow_up_with_the_first_event_of_each_kind() -> None:
    result = compute(material(), spec("A9"))
    (drawing,) = result.drawings
    assert isinstance(drawing.data, Swimmer)
    lanes = {lane.number: lane for lane in drawing.data.lanes}
    assert [(mark.kind, mark.day) for mark in lanes["01-002"].marks] == [("death", 39)]
    assert not lanes["01-002"].is_followed and lanes["01-002"].last_day == 39
    (mark,) = lanes["01-001"].marks
    assert (mark.kind, mark.day, mark.words) == ("chronic_gvhd", 152, "moderate, date known in part")


def test_more_lanes_than_fit_are_several_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courses, "MOST_LANES", 2)
    drawings = compute(material(), spec("A9")).drawings
    assert [one.title for one in drawings] == ["Follow-up and events, 1 to 2", "Follow-up and events, 3 to 3"]
    assert sum(len(one.data.lanes) for one in drawings if isinstance(one.data, Swimmer)) == 3


@pytest.mark.parametrize(
    "name, fields, why",
    [
        ("A10", {"endpoints": ("overall_survival",)}, "no response on a day"),
        ("A10", {"days": ()}, "names no days"),
        ("A11", {"endpoints": ("orr_day_28",)}, "reads no value by its day"),
        ("A11", {"days": (99,)}, "no value is recorded on any of the days 99"),
    ],
)
def test_what_cannot_be_drawn_says_why(name: str, fields: dict[str, Any], why: str) -> None:
    result = compute(material(), spec(name, **fields))
    assert why in result.refused and not result.drawings


@pytest.mark.parametrize("name", ["A9", "A10", "A11"])
def test_what_is_kept_of_a_run_is_read_as_it_was(name: str) -> None:
    result = compute(material(), spec(name))
    kept = json.loads(json.dumps(as_plain(result)))
    assert as_plain(from_plain(kept)) == as_plain(result)
    assert [type(one.data) for one in from_plain(kept).drawings] == [type(one.data) for one in result.drawings]


def test_a_run_of_before_there_were_drawings_is_still_read() -> None:
    line = Line("Everybody", ((0.0, 1.0, 1.0, 1.0),), ((0.0, 3, 0),), 3)
    curves = CurveData("Survival", "graft", True, (line,), "Kaplan-Meier")
    kept = as_plain(Result("A", "Survival", "Kaplan-Meier", curves=(curves,)))
    del kept["drawings"], kept["curves"][0]["lines"][0]["lost"]
    assert from_plain(kept).curves == (curves,) and from_plain(kept).drawings == ()


def test_a_curve_of_survival_shows_where_follow_up_ends() -> None:
    result = compute(material(), spec("A4"))
    (line,) = result.curves[0].lines
    assert line.lost == ((19.0, 1.0), (299.0, 0.5)), "one is lost before the death, one long after it"
    assert any(layer.get("name") == "lost" for layer in curve_spec(result.curves[0])["vconcat"][0]["layer"])


# The report -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("FIG1")
def test_the_report_draws_them_with_their_tables_and_leads_only_to_whom_one_may_see() -> None:
    made = material()
    results = [compute(made, spec(name)) for name in ("A9", "A10", "A11")]
    run: Any = SimpleNamespace(
        pk=1, as_of=date(2021, 3, 1), trial=SimpleNamespace(code="relax", title="RELAX"), reason="report",
        protocol_version=SimpleNamespace(protocol=RELAX, version="1.0"), requested_by=SimpleNamespace(user="rita"),
        requested_at=made.dataset.as_of, code_version="0", method_version="1", input_sha256="a", result_sha256="b",
    )  # fmt: skip
    links = course_links([1], "relax")
    own = reverse("analysis:profile", kwargs={"trial": "relax", "participant": 1})
    document = plan.document(run, results, links)
    figures = {block.name: block for block in document.blocks if isinstance(block, Picture)}
    assert set(figures) == {"A9-d0", "A10-d0", "A11-d0", "A11-d1"}
    for name, figure in figures.items():
        assert figure.table is not None and figure.table.rows, name
        assert "Data until 01-Mar-2021." in figure.caption and "Method:" in figure.caption, name
    for name in ("A9-d0", "A11-d1"):
        assert f'href="{own}"' in figures[name].svg and "/participants/2/" not in figures[name].svg
    assert "/participants/" not in str(plan.document(run, results).blocks)
    assert as_pdf(document).startswith(b"%PDF")


def test_below_a_curve_stand_those_at_risk_and_the_events_and_on_it_the_days_of_the_protocol() -> None:
    result = compute(material(), spec("A4", years=(), days=(28, 100)))
    parts = curve_spec(result.curves[0])["vconcat"]
    assert [part["title"]["text"] for part in parts[1:]] == ["At risk", "Events so far"]
    assert result.curves[0].marks == (27,), "the last day read is the end of the axis"
    rules = [layer for layer in parts[0]["layer"] if layer["mark"]["type"] == "rule"]
    assert [layer["data"]["values"] for layer in rules] == [[{"t": 27.0}]]


def test_a_bar_is_as_full_as_its_response_says() -> None:
    fall = compute(material(), spec("A11")).drawings[1].data
    assert isinstance(fall, Waterfall)
    (bars,) = [layer for layer in waterfall_spec(fall, {})["layer"] if layer["name"].startswith("bars")]
    assert bars["encoding"]["fillOpacity"]["scale"]["type"] == "ordinal"
