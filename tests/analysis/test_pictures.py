"""The figures that tests of survival, response, doses and enrolment meet: what each shows, as data and as a picture."""

from __future__ import annotations

import csv
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.domain.figures import accrual, boxes, profile, survival, swimmer, transitions, waterfall
from analysis.formats import pictures as formats
from trials.domain.figures import Cell, Spec
from trials.formats.figures import Figure

AS_OF = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LINKS = {1: "/t/larch/participants/1/"}
PARACHUTE = Path(__file__).parents[2] / "exchange" / "reconstructions" / "parachute"


def parts_of(spec: Spec) -> list[dict[str, Any]]:
    """Every part of a specification that draws a mark."""
    inner = [one for key in ("layer", "vconcat", "concat") for child in spec.get(key, []) for one in parts_of(child)]
    inner += [one for key in ("vconcat", "concat") if isinstance(spec.get(key), dict) for one in parts_of(spec[key])]
    return ([spec] if "mark" in spec else []) + inner


def named(spec: Spec, name: str) -> list[dict[str, Any]]:
    """The rows of the parts whose name begins so."""
    return [row for part in parts_of(spec) if part.get("name", "").startswith(name) for row in part["data"]["values"]]


# --- Survival -----------------------------------------------------------------------------------------------------


def overall_survival() -> survival.Survival:
    """Deaths and last contacts of the 58 and the 100 of PARACHUTE, as the reconstruction has them."""
    rows = list(csv.DictReader((PARACHUTE / "events.csv").open()))
    died = {row["subject"]: row["event_date"] for row in rows if row["event_type"] == "death"}
    seen = {row["subject"]: row["event_date"] for row in rows if row["event_type"] == "last_contact"}
    subjects = []
    for number, row in enumerate(csv.DictReader((PARACHUTE / "transplants.csv").open())):
        known = died.get(row["subject"]) or seen.get(row["subject"])
        if known is None or (row["arm"] == "study" and row["in_analysis_set"] != "yes"):
            continue
        days = (date.fromisoformat(known) - date.fromisoformat(row["hsct_datetime"][:10])).days
        group = "individualised" if row["arm"] == "study" else "historical"
        subjects.append(survival.Subject(number, group, days, row["subject"] in died))
    found = survival.survival(
        subjects,
        {"individualised": "Individualised ATG", "historical": "Historical controls"},
        label="Overall survival",
        origin="graft infusion",
        last_day=1826,
        read_at_days=(1096,),
    )
    assert found is not None
    return found


def test_three_years_of_survival_are_the_published_ones() -> None:
    """Lancet Haematol 2022; 9: e111-20, Results: 81 % (71-92) against 66 % (57-76) at 3 years, p = 0.11."""
    result = overall_survival()
    assert [group.n for group in result.groups] == [58, 100]
    words = [survival.in_words(result, group) for group in result.groups]
    assert words == [
        "80.9 % at 36 months (95 % CI 71.4 to 91.7)",
        "66.1 % at 36 months (95 % CI 57.3 to 76.2)",
    ]
    assert result.test is not None and round(result.test.p_value, 2) == 0.11
    caption = formats.survival_figure(result, set_label="Full", as_of=AS_OF).caption
    for part in (
        "Individualised ATG n = 58",
        "set “Full”",
        words[0],
        "Kaplan-Meier",
        "Log-rank test: p = 0.11",
        "UTC.",
    ):
        assert part in caption


#: Kleinbaum & Klein, Survival Analysis, chapter 2: remission on 6-MP, weeks.
WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
RELAPSED = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]


def six_mp() -> survival.Survival:
    rows = [survival.Subject(n, "mp", t, bool(e)) for n, (t, e) in enumerate(zip(WEEKS, RELAPSED, strict=True))]
    found = survival.survival(rows, {"mp": "6-MP"}, label="Remission", origin="remission")
    assert found is not None
    return found


def test_every_loss_has_a_stroke_on_the_curve_and_every_time_its_number_at_risk() -> None:
    result = six_mp()
    spec = survival.spec(result)
    strokes = named(spec, "lost")
    assert [row["time"] for row in strokes] == [6, 9, 10, 11, 17, 19, 20, 25, 32, 34, 35]
    assert strokes[0]["estimate"] == pytest.approx(0.8571, abs=1e-4)
    assert "day 32: follow-up of 2 ends" in strokes[8]["words"]
    below = spec["vconcat"][1]["data"]["values"]
    assert [row["at_risk"] for row in below] == [21, 15, 8, 4]
    table = survival.table(result)
    assert [row[2] for row in table.rows] == [21, 15, 8, 4]
    assert table.rows[1][3:6] == (5, 3, "75.3 %")
    assert result.test is None and "Log-rank" not in survival.method(result)


def test_a_curve_ends_with_who_was_followed() -> None:
    result = survival.survival(
        [survival.Subject(1, "a", 100, False), survival.Subject(2, "a", 50, True)],
        {"a": "A"}, label="Survival", origin="day 0", last_day=731, read_at_days=(731,),
    )  # fmt: skip
    assert result is not None and result.unit == "month"
    assert survival.in_words(result, result.groups[0]) == "nobody was followed to 24 months"
    assert max(row["time"] for row in named(survival.spec(result), "curve")) == pytest.approx(100 / (365.25 / 12), 1e-3)
    assert survival.table(result).rows[-1][5] == "not known"


def test_a_curve_that_came_to_nought_is_drawn() -> None:
    result = survival.survival(
        [survival.Subject(1, "a", 10, True)], {"a": "A"}, label="S", origin="day 0", last_day=30, read_at_days=(30,)
    )
    assert result is not None
    assert survival.in_words(result, result.groups[0]).startswith("0.0 % at day 30")
    assert "NaN" not in formats.survival_figure(result, as_of=AS_OF).svg


def test_nobody_is_no_curve() -> None:
    assert survival.survival([], {"a": "A"}, label="S", origin="day 0") is None


# --- Swimmer ------------------------------------------------------------------------------------------------------

LANES = [
    swimmer.Lane(
        1, "P001", 400, (swimmer.Mark("neutrophil_engraftment", 20), swimmer.Mark("acute_gvhd", 35, "grade II"))
    ),
    swimmer.Lane(2, "P002", 90, (swimmer.Mark("relapse", 60), swimmer.Mark("death", 90)), is_followed=False),
    swimmer.Lane(3, "P003", 200),
]


@pytest.mark.parametrize(
    "sort, order",
    [
        ("follow_up", ["P001", "P003", "P002"]),
        ("number", ["P001", "P002", "P003"]),
        ("first_event", ["P001", "P002", "P003"]),
    ],
)
def test_lanes_stand_in_the_order_asked_for(sort: str, order: list[str]) -> None:
    result = swimmer.swimmer(reversed(LANES), origin="graft infusion", sort=sort)
    assert result is not None
    assert [lane.number for lane in result.lanes] == order
    assert parts_of(swimmer.spec(result, LINKS))[0]["encoding"]["y"]["sort"] == order


def test_a_lane_is_as_long_as_the_follow_up_and_each_kind_has_a_shape_of_its_own() -> None:
    result = swimmer.swimmer(LANES, origin="graft infusion", most=2)
    assert result is not None and (len(result.lanes), result.of) == (2, 3)
    assert "2 of 3 participants" in formats.swimmer_figure(result, LINKS, as_of=AS_OF).caption
    whole = swimmer.swimmer(LANES, origin="graft infusion")
    assert whole is not None
    spec = swimmer.spec(whole, LINKS)
    assert {row["number"]: row["to"] for row in named(spec, "bars")} == {"P001": 400, "P002": 90, "P003": 200}
    assert [row["number"] for row in named(spec, "goes_on")] == ["P001", "P003"]
    assert "P001: acute GVHD grade II, day 35" in [row["words"] for row in named(spec, "marks")]
    looks = [(colour, shape) for _, colour, shape in swimmer.KINDS.values()]
    assert len(set(looks)) == len(looks)


@pytest.mark.parametrize(
    "lanes, sort, names",
    [
        ([], "height", "sort is 'height'"),
        ([swimmer.Lane(1, "P001", -1)], "number", "last_day of P001"),
        ([swimmer.Lane(1, "P001", 5, (swimmer.Mark("party", 3),))], "number", "kind of a mark of P001"),
    ],
)
def test_a_swimmer_plot_refuses_by_name(lanes: list[swimmer.Lane], sort: str, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        swimmer.swimmer(lanes, origin="x", sort=sort)


# --- Waterfall ----------------------------------------------------------------------------------------------------

BARS = [
    waterfall.Bar(1, "P001", 60, 30, "CR"),
    waterfall.Bar(2, "P002", 40, 50, "NR"),
    waterfall.Bar(3, "P003", 80, 80, "PR"),
    waterfall.Bar(4, "P004", 60, 0, ""),
]


def fall() -> waterfall.Waterfall:
    found = waterfall.waterfall(BARS, label="steroid dose", unit="mg/day", from_day=1, to_day=28, without_value=2)
    assert found is not None
    return found


def test_bars_fall_from_the_largest_rise_to_the_largest_fall() -> None:
    result = fall()
    assert [(bar.number, bar.change_percent) for bar in result.bars] == [
        ("P002", 25), ("P003", 0), ("P001", -50), ("P004", -100),
    ]  # fmt: skip
    assert waterfall.in_words(result) == (
        "Of 4: 2 fell, 1 stayed, 1 rose; complete response 1, partial response 1, no response 1, not known 1"
    )
    caption = formats.waterfall_figure(result, LINKS, as_of=AS_OF).caption
    assert "2 without a value on day 1 or day 28 are not drawn" in caption
    looks = [(colour, full, shape) for _, colour, full, shape in waterfall.RESPONSES.values()]
    assert len({shape for _, _, shape in looks}) == len(looks), "shapes tell the responses apart without colour"


@pytest.mark.parametrize("before", [0.0, -5.0, float("nan")])
def test_a_change_of_nothing_is_refused(before: float) -> None:
    with pytest.raises(ValueError, match="before of P009"):
        waterfall.waterfall([waterfall.Bar(9, "P009", before, 3)], label="x", unit="mg", from_day=1, to_day=2)
    with pytest.raises(ValueError, match="response of P009"):
        waterfall.waterfall([waterfall.Bar(9, "P009", 1, 3, "maybe")], label="x", unit="mg", from_day=1, to_day=2)


# --- Transitions --------------------------------------------------------------------------------------------------


def relax_days() -> transitions.Transitions:
    """172 participants of whom 111, 119 and 131 respond on days 28, 42 and 56: the published shares of RELAX.

    64.5 %, 69.2 % and 76.2 %. How they pass between the days is made up here.
    """
    responding = {28: 111, 42: 119, 56: 131}
    rest = ["NR" if n < 160 else "dead" for n in range(172)]
    courses = [
        transitions.Course(n, ("start", *("CR" if n < count else rest[n] for count in responding.values())))
        for n in range(172)
    ]
    found = transitions.transitions(courses, (1, *responding), label="Response", origin="first dose")
    assert found is not None
    return found


def test_the_shares_of_a_day_are_those_of_its_table() -> None:
    result = relax_days()
    rows = {row[0]: row for row in transitions.table(result).rows}
    assert [rows[day][-1] for day in (28, 42, 56)] == ["64.5 %", "69.2 %", "76.2 %"]
    assert "Day 28: 64.5 % respond" in formats.transitions_figure(result, as_of=AS_OF).caption


courses = st.lists(
    st.lists(st.sampled_from(["CR", "PR", "NR", "not_assessed", "dead"]), min_size=4, max_size=4).map(
        lambda states: tuple("dead" if "dead" in states[: n + 1] else state for n, state in enumerate(states))
    ),
    min_size=1,
    max_size=60,
)


@given(courses)
def test_boxes_and_ribbons_add_up_to_everybody(states: list[tuple[str, ...]]) -> None:
    people = [transitions.Course(n, one) for n, one in enumerate(states)]
    result = transitions.transitions(people, (7, 14, 28, 56), label="Response", origin="first dose")
    assert result is not None
    table = transitions.table(result)
    for row in table.rows:
        assert sum(row[1:-2]) == row[-2] == len(people)  # type: ignore[arg-type]
    for place in range(3):
        ribbons = [ribbon for ribbon in result.ribbons if ribbon.place == place]
        for state in transitions.STATES:
            assert sum(r.count for r in ribbons if r.before == state) == result.counts[place].get(state, 0)
            assert sum(r.count for r in ribbons if r.after == state) == result.counts[place + 1].get(state, 0)
    drawn = transitions.layout(result)
    assert all(node.y >= 0 and node.y + node.height <= drawn.height + 0.1 for node in drawn.nodes)
    assert len(drawn.nodes) == sum(len(counts) for counts in result.counts)
    assert len(drawn.paths) == len(transitions.passage_table(result).rows)


def test_the_counts_in_the_picture_are_those_of_the_table() -> None:
    svg = formats.transitions_figure(relax_days(), as_of=AS_OF, name="flow").svg
    assert 'aria-label="day 28: complete response 111 of 172"' in svg
    assert 'aria-label="day 28 to 42: complete response to complete response 111"' in svg
    assert "CR 111" in svg and 'id="flow-hatch"' in svg


@pytest.mark.parametrize(
    "states, names",
    [(("CR",), "are 1, for 2 days"), (("CR", "cured"), "'cured'"), (("dead", "CR"), "go on after death")],
)
def test_a_course_that_cannot_be_is_refused(states: tuple[str, ...], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        transitions.transitions([transitions.Course(1, states)], (1, 2), label="x", origin="y")


# --- Boxes --------------------------------------------------------------------------------------------------------


def test_a_box_is_rs_boxplot_of_the_values() -> None:
    """R 4.3: quantile(c(1:9, 30)) gives 3.25, 5.5, 7.75; boxplot.stats leaves 30 outside."""
    result = boxes.boxes({7: [*range(1, 10), 30], 1: [60], 14: []}, label="dose", unit="mg", origin="day 1", of=10)
    assert result is not None
    assert [(box.day, box.n) for box in result.boxes] == [(1, 1), (7, 10)]
    box = result.boxes[1]
    assert (box.lower_quartile, box.median, box.upper_quartile) == (3.25, 5.5, 7.75)
    assert (box.lower_whisker, box.upper_whisker, box.alone) == (1, 9, (30,))
    spec = boxes.spec(result)
    assert [row["day"] for row in named(spec, "boxes")] == ["day 1|n = 1", "day 7|n = 10"]
    assert [row["value"] for row in named(spec, "alone")] == [30]
    assert "n = 10" in formats.boxes_figure(result, as_of=AS_OF).svg


@pytest.mark.parametrize("values", [[float("nan")], [1.0, 2.0]])
def test_boxes_refuse_what_is_no_number_and_who_is_too_many(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values of day 3"):
        boxes.boxes({3: values}, label="x", unit="mg", origin="y", of=1)


# --- Enrolment ----------------------------------------------------------------------------------------------------


def enrolled() -> accrual.Accrual:
    first = date(2026, 1, 5)
    people = [accrual.Enrolled("AB"[n % 2], first + timedelta(days=10 * n)) for n in range(30)]
    found = accrual.accrual(
        people, until=date(2026, 11, 20), planned=324, plan_from=date(2026, 1, 1), plan_until=date(2028, 12, 31)
    )
    assert found is not None
    return found


def test_enrolment_stands_against_the_plan_of_nct07648992() -> None:
    """324 participants are planned (registry entry NCT07648992)."""
    result = enrolled()
    assert result.total == 30
    spec = accrual.spec(result)
    assert named(spec, "enrolled")[-1]["n"] == 30
    assert [row["n"] for row in named(spec, "plan") if "day" in row and "Plan" in row["words"]] == [0, 324]
    assert {len(named(spec, f"site {site}")) > 1 for site in "AB"} == {True}
    table = accrual.table(result)
    assert table.columns == ("Month", "A", "B", "All so far")
    assert table.rows[0] == ("Jan 2026", 2, 1, 3) and table.rows[-1][-1] == 30 and len(table.rows) == 11
    assert formats.accrual_figure(result, as_of=AS_OF).caption.startswith("30 of 324 enrolled, ")


def test_the_pace_tells_when_the_number_is_reached_and_is_silent_where_it_cannot() -> None:
    result = enrolled()
    assert result.a_month == pytest.approx(7 / 91 * 365.25 / 12)
    assert result.full_on is not None and result.full_on.year == 2037
    stopped = accrual.accrual([accrual.Enrolled("A", date(2020, 1, 1))], until=date(2026, 1, 1), planned=2)
    assert stopped is not None and stopped.full_on is None
    assert "at that pace" not in accrual.in_words(stopped)
    assert accrual.accrual([], until=date(2026, 1, 1), planned=2) is None
    with pytest.raises(ValueError, match="after until"):
        accrual.accrual([accrual.Enrolled("A", date(2027, 1, 1))], until=date(2026, 1, 1), planned=2)


# --- One participant ----------------------------------------------------------------------------------------------


def course() -> profile.Profile:
    return profile.profile(
        "P001",
        origin="graft infusion",
        first_day=-20,
        last_day=120,
        lanes=(
            profile.Lane("Visits", (profile.Mark(0, "day 0, done", tone="soft", url="/t/larch/visit/"),)),
            profile.Lane(
                "Adverse events",
                (
                    profile.Mark(-40, "Fever, grade 2", "2", "warn", until=-30),
                    profile.Mark(
                        60, "Lung infection, grade 3", "3", "warn", until=200, url="/t/larch/adverse-events/1/"
                    ),
                ),
            ),
            profile.Lane("Relapse", (profile.Mark(300, "relapse"),)),
        ),
        tracks=(
            profile.Track("Thymoglobulin", "mg", (profile.Spot(-9, 55, "55 mg"),), is_dose=True),
            profile.Track(
                "CD4 T cells",
                "10^9/L",
                (profile.Spot(14, 0.002, "0.002 10^9/L", "/t/larch/r/1/"), profile.Spot(90, 0.4, "0.4 10^9/L")),
            ),
            profile.Track("Later", "", (profile.Spot(400, 1, "1"),)),
        ),
    )


def test_a_profile_keeps_what_lies_in_its_days_and_each_mark_leads_to_its_form() -> None:
    result = course()
    assert [lane.label for lane in result.lanes] == ["Visits", "Adverse events"]
    assert [one.label for one in result.tracks] == ["Thymoglobulin", "CD4 T cells"]
    assert result.tracks[1].is_logarithmic and not result.tracks[0].is_logarithmic
    figure = formats.profile_figure(result, as_of=AS_OF)
    for url in ("/t/larch/visit/", "/t/larch/adverse-events/1/", "/t/larch/r/1/"):
        assert f'href="{url}"' in figure.svg
    assert ("0", Cell("Visits: day 0, done", "/t/larch/visit/")) in figure.table.rows
    assert (
        "60 to 200",
        Cell("Adverse events: Lung infection, grade 3", "/t/larch/adverse-events/1/"),
    ) in figure.table.rows
    names = [part["name"] for part in parts_of(profile.spec(result)) if "name" in part]
    assert len(names) == len(set(names)), "two layers of one name would share their axis"


def test_a_profile_without_days_is_refused() -> None:
    with pytest.raises(ValueError, match="last_day is 3"):
        profile.profile("P001", origin="x", lanes=(), tracks=(), first_day=3, last_day=3)


# --- What is never in them ----------------------------------------------------------------------------------------


def pictures() -> dict[str, Figure]:
    swim = swimmer.swimmer(LANES, origin="graft infusion")
    box = boxes.boxes({1: [60, 50], 7: [40]}, label="dose", unit="mg", origin="day 1", of=2)
    assert swim is not None and box is not None
    return {
        "survival": formats.survival_figure(six_mp(), as_of=AS_OF),
        "swimmer": formats.swimmer_figure(swim, LINKS, as_of=AS_OF),
        "waterfall": formats.waterfall_figure(fall(), LINKS, as_of=AS_OF),
        "transitions": formats.transitions_figure(relax_days(), as_of=AS_OF),
        "boxes": formats.boxes_figure(box, as_of=AS_OF),
        "accrual": formats.accrual_figure(enrolled(), as_of=AS_OF),
        "profile": formats.profile_figure(course(), as_of=AS_OF),
    }


NAMES = ["survival", "swimmer", "waterfall", "transitions", "boxes", "accrual", "profile"]


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_keeps_the_policy_of_the_page(name: str) -> None:
    figure = pictures()[name]
    svg = figure.svg
    assert "style=" not in svg and "<style" not in svg and "<script" not in svg
    assert set(re.findall(r"https?://[^\"'\s<)]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert f'<title id="{name}-title">' in svg and f'<desc id="{name}-desc">' in svg
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    assert ids and all(one.startswith(f"{name}-") for one in ids)
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= ids
    assert min((float(size) for size in re.findall(r'font-size="([\d.]+)', svg)), default=12) >= 12
    assert figure.table.rows and "Data as of 20-Nov-2026 12:00 UTC." in figure.caption


@pytest.mark.parametrize("name", [name for name in NAMES if name != "transitions"])
def test_every_mark_says_what_it_is_or_is_silent_and_nothing_is_loaded(name: str) -> None:
    spec = pictures()[name].spec
    assert spec is not None
    for part in parts_of(spec):
        assert part["mark"].get("aria") is False or "description" in part["encoding"], part["mark"]
        assert set(part.get("data", {"values": 0})) == {"values"}
        assert "blend" not in part["mark"]


def test_who_may_not_be_seen_is_not_linked() -> None:
    assert set(re.findall(r'<a[^>]* href="([^"]+)"', pictures()["swimmer"].svg)) == {LINKS[1]}
    assert set(re.findall(r'<a[^>]* href="([^"]+)"', pictures()["waterfall"].svg)) == {LINKS[1]}


def test_the_same_data_are_the_same_picture_byte_for_byte() -> None:
    from django.core.cache import cache

    first = {name: figure.svg for name, figure in pictures().items()}
    cache.clear()
    assert {name: figure.svg for name, figure in pictures().items()} == first
