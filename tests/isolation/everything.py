"""One of everything: what a site has when every kind of record was made there once, by the people of the world.

The tests of isolation ask for these records by address; the API's tests fill their addresses with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from adverse_events import actions as adverse_events
from adverse_events.domain.reporting import Report
from analysis import actions as analysis
from casebook import actions as casebook
from casebook.domain.results import Written
from dosing import actions as dosing
from exchange import actions as exchange
from tests.dosing.dose_world import FIRST_DOSE_ON, SAMPLED_AT, TABLES, WEIGHED_ON
from tests.dosing.levels import SET_TEXT
from tests.world import SINCE, World, person
from trials import actions as trials
from trials.models import Membership, Participant

DESCRIPTION = (TABLES / "demo_not_for_clinical_use.yaml").read_text()
CELLS = (TABLES / "demo_not_for_clinical_use.csv").read_text()
AS_OF = date(2025, 9, 1)


@dataclass(frozen=True)
class Everything:
    """Keys of the records of one site by their names in addresses; ``floor.name`` where two floors share a name."""

    participant: Participant
    screened: Participant
    keys: dict[str, Any] = field(default_factory=dict)

    @property
    def codes(self) -> set[str]:
        """What must never be read at another site: numbers and screening numbers."""
        return {
            code for one in (self.participant, self.screened) for code in (one.number, one.screening_number) if code
        }


def with_table(world: World) -> int:
    """A dosing table in force, made by three people."""
    paula = trials.grant_membership(
        user=person(f"paula-{world.trial.code}"),
        trial=world.trial,
        role="pharmacist",
        site=world.site_a,
        valid_from=SINCE,
        by=None,
        reason="start of the trial",
    )
    table = dosing.enter_table(
        trial=world.trial, description=DESCRIPTION, cells=CELLS, code="larch", by=world.peter, reason="first table"
    )
    table = dosing.verify_table(table=table, cells=CELLS, by=paula)
    return dosing.approve_table(table=table, by=world.alice, reason="Approved for practice.").pk


def with_model(world: World) -> int:
    """A parameter set in force, made by the same three people."""
    paula = world.trial.memberships.get(user__username=f"paula-{world.trial.code}")
    model = dosing.enter_model(trial=world.trial, content=SET_TEXT, by=world.peter, reason="first set")
    model = dosing.verify_model(model=model, content=SET_TEXT, by=paula)
    return dosing.approve_model(model=model, by=world.alice, reason="Approved for practice.").pk


def everything_at(world: World, by: Membership, investigator: Membership) -> Everything:
    """One of everything at the site of ``by``, who coordinates there."""
    participant, screened = world.enrolled(by=by), world.screened(by=by)
    consent = participant.consents.get()
    visit = participant.visits.get(code="W1")
    weighed = trials.add_unscheduled_visit(participant=participant, on=WEIGHED_ON, by=by)
    entry = casebook.save_entry(
        participant=participant, form="VS", visit=weighed, answers={"WEIGHT": "23.4"}, complete=True, by=by
    )
    revision = participant.entries.filter(form="TX").values_list("revision", flat=True).first()
    casebook.save_entry(
        participant=participant, form="TX", answers={"SOURCE": "bone_marrow"}, revision=revision, reason="known", by=by
    )
    draw = casebook.record_draw(
        participant=participant,
        sampled_at=SAMPLED_AT,
        laboratory="Central",
        values={"LB.ALC": Written("0.8", "10^9/L"), "LB.CD4": Written("52", "cells/µL")},
        by=by,
    )
    for day in (date(2025, 5, 5), date(2025, 5, 19)):
        casebook.record_draw(
            participant=participant,
            sampled_at=day,
            laboratory="Central",
            values={"LB.CD4": Written("60", "cells/µL")},
            by=by,
        )
    clinical_event = casebook.record_event(participant=participant, kind="relapse", occurred="may 2025", by=by)
    content = f"participant,sampled_at,analyte,value,unit\n{participant},2025-04-02,ALT,31,U/L\n".encode()
    lab_import = casebook.check_lab_file(content=content, file_name="labs.csv", by=by)
    event = adverse_events.record_adverse_event(
        participant=participant,
        report=Report(
            verbatim="cough",
            term="Lung infection",
            grade=3,
            started="2025-04",
            outcome="recovered",
            relations={"thymoglobulin": "possible"},
        ),
        by=by,
    )
    deviation = trials.record_deviation(
        participant=participant, description="dose late", is_major=False, occurred_on=None, by=investigator
    )
    worksheet = dosing.compute_worksheet(participant=participant)
    given = dosing.record_administration(
        participant=participant,
        infusion=1,
        started_at=datetime.combine(FIRST_DOSE_ON, time(8), UTC),
        stopped_at=datetime.combine(FIRST_DOSE_ON, time(16), UTC),
        product="thymoglobulin",
        dose_mg=Decimal("55"),
        comment="given before the release was recorded",
        by=by,
    )
    analysis.adjudicate(participants=[participant.pk], as_of=AS_OF)
    job = exchange.request_export(trial=world.trial, datasets=["participants"], variant="statistical", by=by)
    return Everything(
        participant=participant,
        screened=screened,
        keys={
            "participant": participant.pk,
            "consent": consent.pk,
            "visit": visit.pk,
            "deviation": deviation.pk,
            "entry": entry.pk,
            "result": draw.results.get(analyte="LB.CD4").pk,
            "casebook.event": clinical_event.pk,
            "lab_import": lab_import.pk,
            "adverse_events.event": event.pk,
            "worksheet": worksheet.pk,
            "administration": given.pk,
            "key": job.key,
        },
    )
