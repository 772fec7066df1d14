"""The table of adverse events: Table 2 of PARACHUTE cell by cell, and the laws of counting events and participants."""

from __future__ import annotations

import csv
import re
from collections import Counter
from datetime import date
from html import unescape
from itertools import cycle
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from adverse_events import actions, selectors
from adverse_events.domain.reporting import Report
from adverse_events.domain.tables import CountedEvent, EventTable, event_table
from audit.context import Source
from tests.world import World, person
from trials import actions as trials
from trials.models import Membership, Participant, Trial

ROOT = Path(__file__).resolve().parents[2]
GRADES = (3, 4, 5)
#: Enrolled in PARACHUTE: all of them report adverse events, those of the efficacy sets or not.
ENROLLED = 64


def published() -> list[dict[str, str]]:
    with (ROOT / "tests/golden/parachute_table_2.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


TABLE_2 = published()
SUMS = {
    "Infectious": (32, 2, 7),
    "Immune system disorders": (7, 6, 5),
    "Benign, malignant, and unspecified neoplasms": (1, 3, 2),
    "Gastro-intestinal": (8, 0, 1),
    "Metabolism and nutrition": (0, 1, 0),
    "Cardiac disorders": (3, 0, 0),
    "Hepatobiliary disorders": (3, 0, 0),
    "Respiratory, thoracic, and mediastinal disorders": (2, 0, 0),
    "Nervous system disorders": (2, 0, 0),
    "Renal and urinary disorders": (0, 1, 0),
}


@pytest.fixture
def parachute(db: None) -> World:
    """PARACHUTE's own definition with 64 participants and the events of Table 2, recorded as an import records them.

    Who had which event is not published; here each event falls to the next participant in turn, and nobody dies twice.
    """
    text = (ROOT / "trials/definitions/parachute/v1.yaml").read_text()
    version = trials.publish_protocol(
        text=text, file="parachute/v1.yaml", kind=Trial.Kind.PRACTICE, by=None, reason="first version"
    )
    site = version.trial.sites.order_by("code")[0]
    trials.record_site_approval(site=site, version=version, approved_on=date(2015, 1, 1), by=None)
    people = []
    for number in range(1, ENROLLED + 1):
        participant = trials.import_participant(
            trial=version.trial, site=site, screened_on=date(2016, 1, 4), screening_number=f"S{number:03d}", by=None
        )
        trials.import_enrolment(
            participant=participant, enrolled_on=date(2016, 1, 11), by=None, number=f"P{number:03d}"
        )
        people.append(Participant.objects.select_related("site", "protocol_version__trial").get(pk=participant.pk))
    turn = cycle(people)
    for row in TABLE_2:
        for grade in GRADES:
            for _ in range(int(row[f"grade{grade}"])):
                actions.record_adverse_event(
                    participant=next(turn),
                    report=Report(
                        verbatim=row["reported_term"],
                        term=row["ctcae_v4_term"],
                        other_specify=row["reported_term"] if row["ctcae_v4_term"].endswith("specify") else "",
                        grade=grade,
                        started="2016",
                        outcome="fatal" if grade == 5 else "unknown",
                    ),
                    by=None,
                    source=Source.IMPORT,
                )
    return World(version=version, members={}, sites={site.code: site})


def monitor(world: World) -> Membership:
    return trials.grant_membership(
        user=person("dora"),
        trial=world.trial,
        role="monitor",
        site=None,
        valid_from=date(2015, 1, 1),
        by=None,
        reason="start of the trial",
    )


@pytest.mark.requirement("AE2")
def test_table_2_comes_out_cell_by_cell(parachute: World) -> None:
    membership = monitor(parachute)
    table = selectors.table(membership, selectors.adverse_events(membership))
    counted = {
        (section.heading, row.label): tuple(cell.events for cell in row.cells)
        for section in table.sections
        for row in section.rows
    }
    assert counted == {
        (row["report_category"], row["reported_term"]): tuple(int(row[f"grade{grade}"]) for grade in GRADES)
        for row in TABLE_2
    }
    assert {section.heading: tuple(cell.events for cell in section.sum.cells) for section in table.sections} == SUMS
    assert [section.heading for section in table.sections] == list(SUMS)
    assert tuple(cell.events for cell in table.total.cells) == (58, 13, 15)
    assert table.total.total.events == 86
    assert (table.participants, table.total.total.participants) == (64, 64)


@pytest.mark.urls("tests.adverse_events.urls")
def test_every_number_of_the_page_leads_to_a_listing_of_that_length(parachute: World) -> None:
    client = Client()
    client.force_login(monitor(parachute).user, backend="django.contrib.auth.backends.ModelBackend")
    html = client.get(reverse("adverse_events:table", kwargs={"trial": "parachute"})).content.decode()
    links = re.findall(r'<a href="([^"]+)"><span class="visually-hidden">(events|participants): </span>(\d+)</a>', html)
    assert len(links) > 150
    sample = links[::7] + links[-8:]
    for link, what, number in sample:
        listing = client.get(unescape(link)).content.decode()
        assert re.search(rf"<strong>{number} events?</strong>", listing), link
        if what == "participants":
            assert re.search(rf"in {number} participants?\b", listing), link
    assert {what for _, what, _ in sample} == {"events", "participants"}


def test_those_out_of_the_efficacy_sets_stay_in_the_table(world: World) -> None:
    event = Report(verbatim="Sepsis", term="Sepsis", grade=4, started="2025-04-02", outcome="recovered")
    participant = world.enrolled()
    actions.record_adverse_event(participant=participant, report=event, by=world.bob)
    world.enrolled()
    trials.record_deviation(
        participant=participant, description="graft changed", is_major=True, removes_from_efficacy=True, by=world.alice
    )
    table = selectors.table(world.dora, selectors.adverse_events(world.dora))
    assert (table.participants, table.total.total.events, table.total.total.participants) == (2, 1, 1)


def test_a_site_sees_its_own_denominator_and_what_is_void_does_not_count(world: World) -> None:
    report = Report(verbatim="Sepsis", term="Sepsis", grade=4, started="2025-04-02", outcome="recovered")
    wrong = actions.record_adverse_event(participant=world.enrolled(), report=report, by=world.bob)
    actions.void_adverse_event(event=wrong, reason="other patient", by=world.bob)
    actions.record_adverse_event(participant=world.enrolled(by=world.carol), report=report, by=world.carol)
    for membership, counted in ((world.bob, (1, 0)), (world.carol, (1, 1)), (world.dora, (2, 1))):
        table = selectors.table(membership, selectors.adverse_events(membership))
        assert (table.participants, table.total.total.events) == counted


# --- The laws -----------------------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.builds(
        CountedEvent,
        participant_id=st.integers(1, 12),
        category=st.sampled_from(["infectious", "immune", "Ear and labyrinth disorders"]),
        label=st.sampled_from(["Sepsis", "Allergic reaction", "Tinnitus"]),
        grade=st.sampled_from(GRADES),
    ),
    max_size=60,
)
HEADINGS = [("immune", "Immune"), ("infectious", "Infectious"), ("renal", "Renal")]


def made(events: list[CountedEvent], participants: int = 12) -> EventTable:
    return event_table(events, headings=HEADINGS, grades=GRADES, participants=participants)


@given(EVENTS)
def test_the_table_is_what_one_counts_by_hand(events: list[CountedEvent]) -> None:
    table = made(events)
    for section in table.sections:
        for row in section.rows:
            own = [event for event in events if (event.category, event.label) == (section.category, row.label)]
            for cell in row.cells:
                worst = [
                    person
                    for person in range(1, 13)
                    if max((e.grade for e in own if e.participant_id == person), default=0) == cell.grade
                ]
                assert cell.events == sum(event.grade == cell.grade for event in own)
                assert cell.participants == len(worst)


@given(EVENTS)
def test_events_add_up_and_participants_count_once(events: list[CountedEvent]) -> None:
    table = made(events)
    for place, grade in enumerate(GRADES):
        assert sum(s.sum.cells[place].events for s in table.sections) == table.total.cells[place].events
        assert table.total.cells[place].events == Counter(event.grade for event in events)[grade]
    assert table.total.total.participants == len({event.participant_id for event in events})
    for row in [table.total, *(s.sum for s in table.sections), *(row for s in table.sections for row in s.rows)]:
        assert sum(cell.participants for cell in row.cells) == row.total.participants <= row.total.events
        assert row.total.participants <= table.participants


def test_headings_come_in_the_order_of_the_definition_then_by_name() -> None:
    events = [
        CountedEvent(1, "Vascular disorders", "Hypotension", 3),
        CountedEvent(1, "infectious", "Sepsis", 4),
        CountedEvent(2, "Ear and labyrinth disorders", "Tinnitus", 3),
        CountedEvent(2, "immune", "Allergic reaction", 3),
    ]
    headings = [section.heading for section in made(events).sections]
    assert headings == ["Immune", "Infectious", "Ear and labyrinth disorders", "Vascular disorders"]


@pytest.mark.parametrize(
    ("event", "participants", "sentence"),
    [
        (CountedEvent(1, "immune", "Allergic reaction", 2), 12, "no column"),
        (CountedEvent(1, "immune", "Allergic reaction", 3), 0, "of 0 observed"),
    ],
)
def test_what_cannot_be_counted_is_refused(event: CountedEvent, participants: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        made([event], participants)
