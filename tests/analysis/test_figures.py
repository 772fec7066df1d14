"""Figures as data and as pictures: what they show, and what must never be in them."""

from __future__ import annotations

import json
import multiprocessing
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from analysis import formats
from analysis.domain.consecutive_threshold import Status
from analysis.domain.figures import consort, curves, incidence, stage_gate
from trials.domain.figures import Cell, Spec
from trials.formats.figures import Figure, render

AS_OF = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LABELS = {"individualised": "Individualised", "historical": "Historical"}


def parachute() -> incidence.Incidence:
    """58 and 100 participants, of whom 43 and 52 reach the endpoint: Lancet Haematol 2022; 9: e111-20."""
    rng = np.random.default_rng(1)
    subjects = []
    for group, n, events, competing in (("individualised", 58, 43, 9), ("historical", 100, 52, 30)):
        for number in range(n):
            cause = 1 if number < events else 2 if number < events + competing else 0
            day = 103 if cause == 0 else int(rng.integers(14, 100))
            subjects.append(incidence.Subject(number, group, day, cause))
    found = incidence.incidence(
        subjects, LABELS, label="CD4 immune reconstitution", origin="graft infusion", horizon_day=100, last_day=103
    )
    assert found is not None
    return found


def cd4(n: int = 3) -> curves.Curves:
    def points(*series: tuple[int, float, bool]) -> tuple[curves.Point, ...]:
        return tuple(curves.Point(day, value, f"{value:g} 10^9/L", qualifies) for day, value, qualifies in series)

    lines = [
        curves.Line(1, "P001", Status.REACHED, points((20, 0.03, False), (40, 0.06, True), (54, 0.07, True))),
        curves.Line(2, "P002", Status.NOT_REACHED, points((21, 0.01, False), (98, 0.0, False))),
        curves.Line(3, "P003", Status.COMPETING, points((14, 0.02, False))),
    ]
    return curves.Curves("CD4 T cells", "graft infusion", "10^9/L", 0.05, ">=", 103, tuple(lines[:n]))


def stages() -> stage_gate.StageGates:
    return stage_gate.StageGates(
        (
            stage_gate.StageCount(1, 19, 13, 19, 15, "decided", "continue"),
            stage_gate.StageCount(2, 53, 38, 30, 24, "waiting"),
        )
    )


def named(spec: Spec, layer: str) -> list[dict[str, Any]]:
    """The rows of the layers of that name."""
    return [row for part in spec["layer"] if part.get("name", "").startswith(layer) for row in part["data"]["values"]]


LINKS = {1: "/t/larch/participants/1/", 2: "/t/larch/participants/2/"}


def pictures() -> dict[str, Figure]:
    return {
        "incidence": formats.incidence_figure(parachute(), set_label="Full", competing="death", as_of=AS_OF),
        "curves": formats.curves_figure(cd4(), LINKS, as_of=AS_OF),
        "stages": formats.stage_figure(stages(), as_of=AS_OF),
    }


# --- What they show -----------------------------------------------------------------------------------------------


def test_incidence_reproduces_the_published_shares() -> None:
    """Lancet Haematol 2022; 9: e111-20, Figure 3: 75 % of 58 (43) against 51 % of 100 (52), p = 0.00030.

    Without censoring before the horizon the estimate is the share: 74.1 % and 52.0 %.
    """
    result = parachute()
    at = [float(group.curve.at(100).estimate) for group in result.groups]
    assert at == pytest.approx([43 / 58, 52 / 100])
    assert [group.n for group in result.groups] == [58, 100]
    assert result.test is not None and result.test.p_value < 0.01
    caption = pictures()["incidence"].caption
    for part in (
        "Individualised n = 58",
        "Historical n = 100",
        "74 % by day 100",
        "Gray's test: p",
        "log(-log F)",
        "Competing: death",
        "set “Full”",
        "Data as of 20-Nov-2026 12:00 UTC.",
    ):
        assert part in caption


def test_the_numbers_under_the_curve_are_those_of_the_estimate() -> None:
    result = parachute()
    table = incidence.table(result)
    rows = {(row[0], row[1]): row for row in table.rows}
    assert rows["Individualised", 0][2:5] == (58, 0, 0)
    assert rows["Individualised", 100][3:6] == (43, 9, "74.1 %")
    assert rows["Historical", 100][3:6] == (52, 30, "52.0 %")
    drawn = [row for part in incidence.spec(result)["vconcat"][1:2] for row in part["data"]["values"]]
    assert [row["at_risk"] for row in drawn if row["group"] == "Individualised"] == [
        rows["Individualised", day][2] for day in result.ticks
    ]


def test_nobody_to_count_is_no_figure_and_one_group_has_no_test() -> None:
    assert incidence.incidence([], LABELS, label="x", origin="day 0", horizon_day=100, last_day=103) is None
    one = incidence.incidence(
        [incidence.Subject(1, "historical", 30, 1)], LABELS, label="x", origin="day 0", horizon_day=100, last_day=103
    )
    assert one is not None and one.test is None
    assert "Gray's test" not in incidence.method(one)


@pytest.mark.parametrize(
    "began",
    [
        [incidence.Subject(1, "individualised", 0, 0), incidence.Subject(2, "historical", 30, 1)],
        [incidence.Subject(1, "individualised", 35, 1), incidence.Subject(2, "historical", 35, 1)],
        [incidence.Subject(1, "individualised", 35, 0), incidence.Subject(2, "historical", 35, 0)],
    ],
)
def test_groups_that_cannot_be_compared_yet_are_drawn_and_not_tested(began: list[incidence.Subject]) -> None:
    found = incidence.incidence(
        began,
        LABELS,
        label="x",
        origin="day 0",
        horizon_day=100,
        last_day=103,
    )
    assert found is not None and len(found.groups) == 2 and found.test is None
    assert render(incidence.spec(found), name="x", title="x", description="x").startswith("<svg")


def test_the_curve_of_values_rings_the_two_that_count_and_prints_the_operator() -> None:
    spec = curves.spec(cd4(), LINKS)
    ringed = named(spec, "rings")
    assert [(row["number"], row["day"]) for row in ringed] == [("P001", 40), ("P001", 54)]
    assert cd4().rule == "≥ 0.05 × 10⁹/L"
    assert spec["layer"][2]["encoding"]["y"]["scale"]["type"] == "log"
    styles = spec["layer"][2]["encoding"]["strokeDash"]["scale"]
    assert dict(zip(styles["domain"], map(tuple, styles["range"]), strict=True)) == {
        "reached": (1, 0),
        "not reached": (5, 3),
        "pending or another end": (2, 2),
    }
    drawn = [row["value"] for row in spec["layer"][2]["data"]["values"]]
    assert min(drawn) == 0.005  # a value of zero has a place on a logarithmic axis


def test_who_may_not_be_seen_is_not_linked() -> None:
    svg = pictures()["curves"].svg
    assert 'href="/t/larch/participants/1/"' in svg
    assert "/t/larch/participants/3/" not in svg
    assert curves.table(cd4(), LINKS).rows[2][0] == Cell("P003", "")


def test_very_many_values_are_drawn_as_lines_with_the_points_that_decided() -> None:
    line = cd4().lines[0]
    many = curves.Curves("CD4", "graft infusion", "10^9/L", 0.05, ">=", 103, (line,) * 200)
    spec = curves.spec(many, {})
    assert named(spec, "points") == []
    assert len(named(spec, "rings")) == 400


@pytest.mark.parametrize(
    "decided, responders, outlook",
    [
        (10, 5, "still possible: 8 more of the next 9"),
        (18, 13, "boundary met"),
        (19, 12, "boundary out of reach"),
        (17, 10, "boundary out of reach"),
    ],
)
def test_a_stage_says_whether_its_boundary_can_still_be_met(decided: int, responders: int, outlook: str) -> None:
    assert stage_gate.StageCount(1, 19, 13, decided, responders, "waiting").outlook == outlook


def test_the_flow_of_parachute() -> None:
    """Lancet Haematol 2022; 9: e111-20, Figure 1: 68, 64, 58, 51."""
    flow = consort.Flow(
        (
            consort.Step("assessed", "Assessed for eligibility", 68),
            consort.Step("safety", "Enrolled", 64, (consort.Reason("failed", "Screening failed", 4),)),
            consort.Step("full", "Without major deviation", 58, (consort.Reason("D1", "Dose outside 90-110 %", 6),)),
            consort.Step(
                "evaluable",
                "Evaluable",
                51,
                (consort.Reason("death", "Death before day 100", 6), consort.Reason("relapse", "Relapse", 1)),
            ),
        ),
        (consort.Beside("historical", "Historical controls", 100),),
    )
    figure = formats.flow_figure(flow, "/t/larch/endpoints/", as_of=AS_OF)
    assert figure.alt == "Assessed for eligibility 68; Enrolled 64; Without major deviation 58; Evaluable 51"
    assert 'href="/t/larch/endpoints/?left=evaluable&amp;why=death"' in figure.svg
    assert Cell("51", "/t/larch/endpoints/?set=evaluable", is_count=True) in [row[1] for row in figure.table.rows]
    drawn = consort.layout(flow)
    for place, box in enumerate(drawn.boxes):
        for other in drawn.boxes[place + 1 :]:
            apart = (
                box.x + box.width <= other.x
                or other.x + other.width <= box.x
                or box.y + box.height <= other.y
                or other.y + other.height <= box.y
            )
            assert apart, f"{box.texts[0].words} lies on {other.texts[0].words}"


def test_a_flow_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(ValueError, match="counted twice or not at all"):
        consort.Flow((consort.Step("a", "A", 10), consort.Step("b", "B", 8, (consort.Reason("x", "X", 1),))))


# --- What is never in them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["incidence", "curves", "stages"])
def test_a_picture_keeps_the_policy_of_the_page(name: str) -> None:
    svg = pictures()[name].svg
    assert "style=" not in svg and "<style" not in svg and "<script" not in svg
    hosts = set(re.findall(r"https?://[^\"'\s<)]+", svg))
    assert hosts == {"http://www.w3.org/2000/svg"}
    assert re.match(r'<svg[^>]* role="graphics-document" aria-roledescription="chart"', svg)
    assert f'<title id="{name}-title">' in svg and f'<desc id="{name}-desc">' in svg


def test_ids_of_two_pictures_never_meet() -> None:
    ids = [
        re.findall(r'\bid="([^"]+)"', render(stage_gate.spec(stages()), name=n, title="t", description="d"))
        for n in ("one", "two")
    ]
    assert ids[0] and not set(ids[0]) & set(ids[1])
    for name, found in zip(("one", "two"), ids, strict=True):
        svg = render(stage_gate.spec(stages()), name=name, title="t", description="d")
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(found)


def every_value(spec: object) -> list[tuple[str, object]]:
    if isinstance(spec, dict):
        return [pair for key, value in spec.items() for pair in [(key, value), *every_value(value)]]
    return [pair for value in spec for pair in every_value(value)] if isinstance(spec, list) else []


@pytest.mark.parametrize("spec", [incidence.spec(parachute()), curves.spec(cd4(), LINKS), stage_gate.spec(stages())])
def test_a_specification_is_plain_data_with_nothing_to_load(spec: Spec) -> None:
    assert json.loads(json.dumps(spec)) == json.loads(json.dumps(spec))
    keys = [key for key, _ in every_value(spec)]
    assert "url" not in keys and "blend" not in keys


@pytest.mark.parametrize("spec", [incidence.spec(parachute()), curves.spec(cd4(), LINKS), stage_gate.spec(stages())])
def test_every_mark_says_what_it_is_or_is_silent(spec: Spec) -> None:
    def marks(part: dict[str, Any]) -> list[dict[str, Any]]:
        inner = [one for key in ("layer", "vconcat") for child in part.get(key, []) for one in marks(child)]
        return ([part] if "mark" in part else []) + inner

    for part in marks(spec):
        assert part["mark"].get("aria") is False or "description" in part["encoding"], part["mark"]


def test_the_same_data_are_the_same_picture_byte_for_byte() -> None:
    from django.core.cache import cache

    first = pictures()
    cache.clear()
    assert {name: figure.svg for name, figure in pictures().items()} == {n: f.svg for n, f in first.items()}


def _draw_in_a_child(answer: Any) -> None:
    answer.put(render(stage_gate.spec(stages()), name="child", title="t", description="d")[:4])


def test_a_process_that_was_forked_before_any_picture_draws() -> None:
    """As gunicorn and Celery do it: the master never draws. A spawned one keeps this test's drawing out of it."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    master = context.Process(target=_fork_and_draw, args=(answer,))
    master.start()
    try:
        assert answer.get(timeout=60) == "<svg"
    finally:
        master.join(10)
        if master.is_alive():
            master.kill()


def _fork_and_draw(answer: Any) -> None:
    import os

    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    child = multiprocessing.get_context("fork").Process(target=_draw_in_a_child, args=(answer,))
    child.start()
    child.join(50)
    if child.is_alive():
        child.kill()


def test_the_threshold_is_written_as_the_protocol_writes_it() -> None:
    from analysis.domain.consecutive_threshold import Rule

    rule = Rule(threshold=Decimal("0.050"))
    assert formats.rule_words(rule, "10^9/L") == (
        "2 measurements in a row at least 0.05 × 10⁹/L by day 103; the event is dated by the last of them"
    )


def test_the_events_under_the_curve_never_exceed_those_there_are() -> None:
    """Few events, many days to read them on: days without an event add none."""
    found = incidence.incidence(
        [incidence.Subject(n, "historical", day, cause) for n, (day, cause) in enumerate([(35, 1), (35, 1), (98, 0)])],
        LABELS, label="x", origin="day 0", horizon_day=100, last_day=103,
    )  # fmt: skip
    assert found is not None
    assert [row[3] for row in incidence.table(found).rows] == [0, 0, 2, 2, 2, 2]
    below = incidence.spec(found)["vconcat"][2]["data"]["values"]
    assert [row["events"] for row in below] == [0, 0, 2, 2, 2, 2]
