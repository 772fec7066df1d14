"""The definition language: what loads, what is refused with which line and remedy, what is stored and compared."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path

import pytest

from trials.domain import language, reference
from trials.domain.definition import CheckBy, GroupKind
from trials.domain.language import DefinitionErrors, MethodSpec
from trials.domain.reading import field_rules

DEFINITIONS = Path(__file__).parents[2] / "trials" / "definitions"
SHIPPED = ("parachute", "nct07648992", "relax")

# A fourth trial that no code knows: one arm, another Simon design, another CD4 threshold.
FOURTH_TRIAL = """\
trial: fourth
title: A fourth trial
version: "1.0"
capture: prospective
anchor: {event: transplant, item: TX.DATE, first_day: 0, earliest_day: -9}
groups:
  - {id: treated, label: Treated, kind: arm, planned: 43}
assignment: {method: single_arm, to: treated}
design:
  method: simon_two_stage
  endpoint: cd4_200
  "null": 0.20
  alternative: 0.40
  alpha: 0.05
  power: 0.80
  stages:
    - {n: 13, continue_if_at_least: 4}
    - {n: 43, succeed_if_at_least: 13}
sites:
  - {code: A, name: Hospital A, timezone: Europe/Amsterdam, country: NL}
consent: {required: false, source: "section 3"}
forms:
  - id: DM
    label: Demography
    items:
      - {id: AGE, label: Age, type: integer, unit: years}
      - {id: SEX, label: Sex, type: code, codes: [{value: M, label: male}, {value: F, label: female}]}
  - id: TX
    label: Transplant
    items:
      - {id: DATE, label: Graft, type: date}
  - id: CM
    label: Medication
    repeating: true
    order_by: START
    items:
      - {id: START, label: Start, type: date}
      - {id: DRUG, label: Drug, type: text}
analytes:
  - {id: CD4, label: CD4, canonical_unit: 10^9/L, accepted_units: [cells/µL]}
panels:
  - {id: subsets, label: Subsets, analytes: [LB.CD4]}
eligibility:
  include:
    - id: I1
      text: Adults
      when: {item: DM.AGE, ge: 18}
      examples: [{given: {DM.AGE: 18}, then: "yes"}]
schedule:
  - {code: DOSE, label: Dose, day: -9, forms: [DM]}
  - {code: "W{n}", label: "Week {n}", every: {weeks: 1}, from: 7, to: 98, window_before: 3, window_after: 3,
     panels: [subsets]}
analysis_sets:
  - {id: all, label: All, method: enrolled}
endpoints:
  - id: cd4_200
    label: CD4 above 200
    role: primary
    method: consecutive_threshold
    analysis_set: all
    item: LB.CD4
    unit: 10^9/L
    threshold: 0.20
    consecutive: 2
    examples:
      - {given: [[20, 0.25], [27, 0.21]], then: reached}
"""


def errors_of(text: str, **checks: object) -> list[language.DefinitionError]:
    with pytest.raises(DefinitionErrors) as caught:
        language.parse(text, file="v1.yaml", **checks)  # type: ignore[arg-type]
    return list(caught.value.errors)


def changed(old: str, new: str) -> str:
    assert FOURTH_TRIAL.count(old) == 1, f"{old!r} must stand once in the fourth trial"
    return FOURTH_TRIAL.replace(old, new)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_definition_loads_and_survives_storage(name: str) -> None:
    file = DEFINITIONS / name / "v1.yaml"
    protocol = language.parse(file.read_text(), file=str(file))
    stored = json.loads(language.canonical_json(protocol))
    assert language.from_data(stored) == protocol
    assert language.sha256(language.from_data(stored)) == language.sha256(protocol)
    assert protocol.trial == name


@pytest.mark.requirement("DEF2")
def test_a_fourth_trial_needs_a_file_only() -> None:
    protocol = language.parse(FOURTH_TRIAL, file="v1.yaml")
    assert [stage.n for stage in protocol.design.stages] == [13, 43]
    assert protocol.endpoint("cd4_200").parameters["threshold"] == Decimal("0.20")
    assert protocol.groups[0].kind is GroupKind.ARM
    assert language.from_data(json.loads(language.canonical_json(protocol))) == protocol


def test_parachute_carries_the_printed_design() -> None:
    """Lancet Haematol 2022; 9: e111-20, Statistical analysis."""
    file = DEFINITIONS / "parachute" / "v1.yaml"
    protocol = language.parse(file.read_text(), file=str(file))
    first, second = protocol.design.stages
    assert (protocol.design.null, protocol.design.alternative) == (Decimal("0.60"), Decimal("0.80"))
    assert (first.n, first.continue_if_at_least, second.n, second.succeed_if_at_least) == (19, 13, 53, 38)
    assert len(protocol.adverse_events.report_terms) == 40
    assert [one.published for one in protocol.analysis_sets[:4]] == [68, 64, 58, 51]
    assert {c.id: c.check for c in protocol.eligibility.exclude}["E2"] is CheckBy.AUTO_HUMAN
    # Whatever a primary endpoint assumes must be known to those who approve the version.
    assert "endpoints[cd4_reconstitution].event_day" in {
        one.path for one in language.assumptions(protocol) if one.primary
    }


@pytest.mark.requirement("DEF1")
@pytest.mark.parametrize(
    ("old", "new", "line_holds", "rule", "remedy"),
    [
        ("{item: DM.AGE, ge: 18}", "{item: DM.AGE, gte: 18}", "gte: 18", "unknown operator `gte`", "`ge`"),
        ("{item: DM.AGE, ge: 18}", "{item: DM.AGE, '>=': 18}", "'>='", "unknown operator `>=`", "`ge`"),
        ("{item: DM.AGE, ge: 18}", "{item: DM.AGES, ge: 18}", "DM.AGES", "no form has the item `DM.AGES`", "`DM.AGE`"),
        ("{item: DM.AGE, ge: 18}", "{item: DN.AGE, ge: 18}", "DN.AGE", "there is no form `DN`", "`DM`"),
        ("{item: DM.AGE, ge: 18}", "{item: DM.AGE, ge: adult}", "ge: adult", "is no number", "without quotes"),
        ("{item: DM.AGE, ge: 18}", "{item: DM.SEX, ge: M}", "ge: M", "cannot order the code item", "eq, ne, in"),
        ("{item: DM.AGE, ge: 18}", "{item: DM.SEX, eq: female}", "eq: female", "is no code of `DM.SEX`", "Known here"),
        ("{item: DM.AGE, ge: 18}", "{item: CM.START, ge: 2020-01-01}", "CM.START", "repeating form CM", "`derived`"),
        ("{item: DM.AGE, ge: 18}", "{item: DM.AGE, ge: 18, lt: 65}", "lt: 65", "exactly one operator", "`all`"),
        ("{item: DM.AGE, ge: 18}", "{all: []}", "all: []", "needs a list of conditions", "all: ["),
        ("day: -9, forms: [DM]", "day: -10, forms: [DM]", "day: -10", "before the anchor", "anchor.earliest_day"),
        ("day: -9, forms: [DM]", "day: -9, forms: [DX]", "forms: [DX]", "there is no form `DX`", "`DM`"),
        (
            "window_before: 3, window_after: 3",
            "window_before: 4, window_after: 3",
            "window_before: 4",
            "overlaps",
            "series",
        ),
        ("code: DOSE, label: Dose", "code: W1, label: Dose", "Week {n}", "duplicate visit `W1`", "another name"),
        ('then: "yes"}]', 'then: "no"}]', 'then: "no"', "the example says no, the rule gives yes", "DM.AGE is 18"),
        (
            "    - id: I1",
            "    - {id: I1, text: Again, check: human}\n    - id: I1",
            "- id: I1",
            "duplicate criterion `I1`",
            "name",
        ),
        ("trial: fourth", "trial: fourth\ntrial: fifth", "trial: fifth", "`trial` is written twice", "Keep one"),
        ("title: A fourth trial", "titel: A fourth trial", "titel", "unknown key `titel`", "`title`"),
        ("role: primary", "role: main", "role: main", "`main` is not one of primary", "Known here"),
        (
            "canonical_unit: 10^9/L",
            "canonical_unit: 10^7/L",
            "10^7/L",
            "the unit `10^7/L` is not known",
            "Did you mean",
        ),
        ("accepted_units: [cells/µL]", "accepted_units: [mg/dL]", "mg/dL", "cannot be converted", "can be converted"),
        ("{n: 43, succeed", "{n: 12, succeed", "n: 12", "stage 2 ends at 12", "cumulative"),
        ("analysis_set: all", "analysis_set: every", "analysis_set: every", "no analysis set `every`", "`all`"),
        ("to: treated", "to: treatd", "to: treatd", "no group `treatd`", "`treated`"),
        (
            "type: code, codes: [{value: M, label: male}, {value: F, label: female}]",
            "type: code",
            "type: code",
            "has no codes",
            "Add codes",
        ),
        ("every: {weeks: 1}", "every: {weeks: 0}", "weeks: 0", "one positive number", "every:"),
        ('code: "W{n}"', "code: W", "code: W", "one code", "{n}"),
    ],
)
def test_mistake_is_named_with_its_line_and_the_way_out(
    old: str, new: str, line_holds: str, rule: str, remedy: str
) -> None:
    text = changed(old, new)
    found = [error for error in errors_of(text) if rule in error.rule]
    assert found, [str(error) for error in errors_of(text)]
    assert line_holds in text.splitlines()[found[0].line - 1]
    assert remedy in found[0].remedy
    assert found[0].file == "v1.yaml"


@pytest.mark.requirement("DEF1")
def test_all_errors_are_collected_at_once() -> None:
    text = changed("{item: DM.AGE, ge: 18}", "{item: DM.AGE, above: 18}").replace("country: NL", "country: Holland")
    rules = [error.rule for error in errors_of(text.replace("capture: prospective", "capture: live"))]
    assert len(rules) == 3
    assert ["live" in rules[0], "Holland" in rules[1], "above" in rules[2]] == [True, True, True]


def test_no_day_zero_when_the_first_day_is_one() -> None:
    text = FOURTH_TRIAL.replace("first_day: 0", "first_day: 1").replace("day: -9, forms", "day: 0, forms")
    assert "day 0 does not exist" in errors_of(text)[0].rule


def test_a_visit_before_the_anchor_must_be_allowed() -> None:
    found = errors_of(changed(", earliest_day: -9}", "}"))
    assert "day -9 is before the anchor" in found[0].rule


def test_windows_may_overlap_only_with_a_reason() -> None:
    wide = "window_before: 9, window_after: 9, overlap_allowed: true"
    silent = changed("window_before: 3, window_after: 3", wide)
    assert "nothing says why" in errors_of(silent)[0].rule
    said = silent.replace(wide, wide + ", overlap_reason: nearest visit counts")
    assert language.parse(said, file="v1.yaml").schedule[1].overlap_allowed


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: " + "x" * (10 * 1024 * 1024), "10.0 MiB"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "anchors (&) and aliases (*)"),
        ("a: *missing", "anchors (&) and aliases (*)"),
        ("a: !!python/object/apply:os.system [ls]", "the tag"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested deeper"),
        ("a: [" + "1," * 100_000 + "1]", "more than 60,000"),
        ("a: 1\n---\nb: 2", "second document"),
        ("a: [1, 2", "not valid YAML"),
        ("a: \x07", "control character"),
        ("? [a]\n: b", "a key must be a word"),
        ("", "empty"),
        ("- a", "expected a mapping"),
    ],
)
def test_hostile_text_is_refused_quickly(text: str, rule: str) -> None:
    begun = time.perf_counter()
    found = errors_of(text)
    assert rule in found[0].rule
    assert found[0].line >= 1
    assert time.perf_counter() - begun < 10


def test_methods_and_their_parameters_are_checked_by_those_who_have_them() -> None:
    known = {
        "design": {"simon_two_stage": MethodSpec()},
        "endpoint": {
            "consecutive_threshold": MethodSpec(frozenset({"threshold", "operator"}), frozenset({"consecutive"}))
        },
    }
    (error,) = errors_of(FOURTH_TRIAL, known_methods=known)
    assert "needs `operator`" in error.rule
    text = changed("threshold: 0.20", "treshold: 0.20\n    operator: '>='")
    missing, misspelt = errors_of(text, known_methods=known)
    assert "needs `threshold`" in missing.rule
    assert "no parameter `treshold`" in misspelt.rule
    assert "`threshold`" in misspelt.remedy
    text = changed("method: simon_two_stage", "method: simon_three_stage")
    assert "no design method `simon_three_stage`" in errors_of(text, known_methods=known)[0].rule


def test_an_example_of_an_endpoint_that_fails_refuses_the_file() -> None:
    def above_threshold(endpoint: object, example: object) -> str | None:
        threshold = endpoint.parameters["threshold"]  # type: ignore[attr-defined]
        reached = all(value >= threshold for _, value in example["given"])  # type: ignore[index]
        got = "reached" if reached else "not_reached"
        return None if got == example["then"] else f"gives {got}"  # type: ignore[index]

    checks = {"consecutive_threshold": above_threshold}
    language.parse(FOURTH_TRIAL, file="v1.yaml", check_examples=checks)  # type: ignore[arg-type]
    text = changed("[27, 0.21]", "[27, 0.19]")
    (error,) = errors_of(text, check_examples=checks)
    assert "the example fails: gives not_reached" in error.rule
    assert "0.19" in text.splitlines()[error.line - 1]


def test_differences_name_the_clause_by_its_id() -> None:
    old = language.parse(FOURTH_TRIAL, file="v1.yaml")
    new = language.parse(
        changed("{item: DM.AGE, ge: 18}", "{item: DM.AGE, ge: 16}").replace("threshold: 0.20", "threshold: 0.25"),
        file="v2.yaml",
    )
    assert language.diff(old, old) == ()
    assert [(one.path, one.old, one.new) for one in language.diff(old, new)] == [
        ("eligibility.include[I1].when.ge", 18, 16),
        ("endpoints[cd4_200].threshold", {"decimal": "0.20"}, {"decimal": "0.25"}),
    ]


def test_added_and_removed_clauses_are_differences() -> None:
    old = language.parse(FOURTH_TRIAL, file="v1.yaml")
    text = changed("sites:\n", "sites:\n  - {code: B, name: Hospital B, timezone: Europe/Amsterdam, country: NL}\n")
    (added,) = language.diff(old, language.parse(text, file="v2.yaml"))
    assert (added.path, added.old) == ("sites[B]", None)
    (removed,) = language.diff(language.parse(text, file="v2.yaml"), old)
    assert (removed.path, removed.new) == ("sites[B]", None)


def test_words_that_yaml_would_take_for_truth_stay_words() -> None:
    text = changed("{value: F, label: female}", "{value: no, label: Norway}")
    assert language.parse(text, file="v1.yaml").item("DM.SEX").codes[1].value == "no"


def test_reference_page_names_every_key_and_operator() -> None:
    page = reference.page()
    for clause in reference.clauses():
        for rule in field_rules(clause):
            if not rule.rest:
                assert f"| `{rule.key}` |" in page, (clause, rule.key)
            assert rule.help, (clause, rule.name)
    for word in ("not_in", "present", "completed_years", "all", "minus"):
        assert f"`{word}`" in page


@pytest.mark.parametrize("line", range(len(FOURTH_TRIAL.splitlines())))
def test_any_damaged_line_is_refused_with_a_place_or_loads_whole(line: int) -> None:
    """No damage to a file may end in anything but a protocol or a list of errors that say where and what to do."""
    lines = FOURTH_TRIAL.splitlines()
    key = lines[line].partition(":")[0]
    for damaged in ([], [f"{key}: null"], [f"{key}: {{item: 1, when: [{{}}]}}"], [f"{key}: [[]]"]):
        text = "\n".join(lines[:line] + damaged + lines[line + 1 :])
        try:
            protocol = language.parse(text, file="v1.yaml")
        except DefinitionErrors as refused:
            assert all(error.rule and error.remedy and error.line >= 1 for error in refused.errors)
        else:
            assert language.from_data(json.loads(language.canonical_json(protocol))) == protocol
