"""The small world with a dosing table in force, and people whose covariates are known.

The graft is planned for 24-Mar-2025, so that day -9 is 15-Mar-2025; site A is in Amsterdam.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from casebook import actions as casebook
from casebook.domain.results import Written
from dosing import actions
from dosing.models import DosingTable
from tests.world import SINCE, World, person
from trials import actions as trials
from trials.models import Membership, Participant

TABLES = Path(__file__).resolve().parents[2] / "dosing" / "tables"
DESCRIPTION = (TABLES / "demo_not_for_clinical_use.yaml").read_text()
CELLS = (TABLES / "demo_not_for_clinical_use.csv").read_text()
FIRST_DOSE_ON = date(2025, 3, 15)
SAMPLED_AT = datetime(2025, 3, 14, 8, 0)  # noqa: DTZ001  (the site's time)
WEIGHED_ON = date(2025, 3, 13)


def member(world: World, name: str, role: str, site: str | None = "A") -> Membership:
    """One more person of the world."""
    member = trials.grant_membership(
        user=person(name),
        trial=world.trial,
        role=role,
        site=world.sites[site] if site else None,
        valid_from=SINCE,
        by=None,
        reason="start of the trial",
    )
    world.members[name] = member
    return member


def with_table(world: World) -> DosingTable:
    """The demonstration table in force under the code that larch looks up: Peter, Paula, Alice."""
    paula = member(world, "paula", "pharmacist")
    table = actions.enter_table(
        trial=world.trial, description=DESCRIPTION, cells=CELLS, code="larch", by=world.peter, reason="first table"
    )
    table = actions.verify_table(table=table, cells=CELLS, by=paula)
    return actions.approve_table(table=table, by=world.alice, reason="I approve this table for practice.")


def weigh(world: World, participant: Participant, kg: str, on: date = WEIGHED_ON, by: Membership | None = None) -> None:
    """A weight, as a visit of its own."""
    visit = trials.add_unscheduled_visit(participant=participant, on=on, by=by or world.bob)
    casebook.save_entry(participant=participant, form="VS", answers={"WEIGHT": kg}, by=by or world.bob, visit=visit)


def count(
    world: World, participant: Participant, alc: str, at: datetime | date = SAMPLED_AT, unit: str = "10^9/L"
) -> None:
    """A lymphocyte count."""
    casebook.record_draw(
        participant=participant, sampled_at=at, laboratory="A", values={"LB.ALC": Written(alc, unit)}, by=world.bob
    )


def graft(world: World, participant: Participant, source: str = "bone_marrow") -> None:
    revision = participant.entries.filter(form="TX").values_list("revision", flat=True).first()
    casebook.save_entry(
        participant=participant,
        form="TX",
        answers={"SOURCE": source},
        by=world.bob,
        revision=revision,
        reason="changed",
    )


def ready(
    world: World, *, kg: str | None = "23.4", alc: str | None = "0.8", source: str | None = "bone_marrow"
) -> Participant:
    """An enrolled child with the covariates that are given."""
    participant = world.enrolled()
    if source is not None:
        graft(world, participant, source)
    if kg is not None:
        weigh(world, participant, kg)
    if alc is not None:
        count(world, participant, alc)
    return fresh(participant)


def fresh(participant: Participant) -> Participant:
    return Participant.objects.select_related("site", "trial", "protocol_version__trial", "enrolment").get(
        pk=participant.pk
    )
