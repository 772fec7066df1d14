"""Enrolment: one lock, one number, one place; and the places themselves."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from audit import context
from trials.actions.schedule import plan_visits
from trials.actions.screening import check_birth_date, next_screening_number, numbered
from trials.announcements import participant_enrolled
from trials.domain.allocation import drawn_at
from trials.domain.definition import GroupKind, Protocol
from trials.domain.eligibility import Outcome
from trials.domain.lifecycle import ParticipantEvent, ParticipantState
from trials.models import (
    Allocation,
    AllocationList,
    EligibilityAssessment,
    Enrolment,
    EnrolmentCounter,
    Membership,
    Participant,
    Replacement,
    Site,
    Trial,
)
from trials.permissions import (
    NotPossible,
    check_can_enrol,
    check_can_import,
    check_can_replace,
    check_can_steer_enrolment,
    next_state,
)
from trials.selectors import (
    capacity,
    latest_assessment,
    own_groups,
    signed_consents,
    usable_version,
    with_shared,
)

RANDOMISED = "permuted_blocks"


@transaction.atomic
def enrol(
    *,
    participant: Participant,
    assessment: EligibilityAssessment,
    enrolled_on: date,
    by: Membership,
    group: str = "",
) -> Enrolment:
    """Enrol a participant on their latest assessment: number, group and visits, all or nothing; only ever once.

    The trial's counter is locked from before the places are counted until the transaction ends: two coordinators never
    take the same last place, nor the same number. ``group`` is asked for only where participants come as treated and
    the protocol has several groups. Raises NotPossible with the reason while something stands in the way.
    """
    check_can_enrol(by, participant)
    counter = EnrolmentCounter.objects.select_for_update().get(trial_id=participant.trial_id)
    locked = _locked(participant)
    if existing := Enrolment.objects.filter(participant=locked).first():
        return existing
    _check_assessment(locked, assessment)
    _check_day(locked, enrolled_on)
    state = next_state(locked, ParticipantEvent.ENROL)
    if not locked.site.is_open:
        raise NotPossible(f"Site {locked.site.code} is closed; nobody is enrolled there.")
    if refusal := capacity(locked.trial).refusal:
        raise NotPossible(refusal)
    with context.context(by=by):
        locked.group = _group_for(locked, counter, group)
        locked.number = _next_number(counter, locked.protocol)
        locked.status = state
        locked.save(update_fields=["group", "number", "status"])
        enrolment = Enrolment.objects.create(
            participant=locked, assessment=assessment, enrolled_on=enrolled_on, enrolled_by=by, source="user"
        )
        plan_visits(locked)
        participant_enrolled.send(sender=Participant, participant=locked)
    return enrolment


def _check_assessment(participant: Participant, assessment: EligibilityAssessment) -> None:
    latest = latest_assessment(participant)
    if latest is None or assessment.pk != latest.pk:
        raise NotPossible(f"The facts on {participant} have changed since this assessment. Assess eligibility again.")
    if assessment.protocol_version_id != participant.protocol_version_id:
        raise NotPossible(f"{participant} consented to {participant.protocol_version} since. Assess eligibility again.")
    if assessment.outcome != Outcome.ELIGIBLE:
        open_rows = [
            f"{row['id']}: {row['sentence']}"
            for row in assessment.criteria
            if row["stands_in_the_way"] or row["result"] == "unknown"
        ]
        raise NotPossible(f"{participant} cannot be enrolled. " + " ".join(open_rows))
    if participant.protocol.consent.required and not signed_consents(participant):
        raise NotPossible(f"{participant} has withdrawn consent and cannot be enrolled.")


def _check_day(participant: Participant, enrolled_on: date) -> None:
    if enrolled_on > timezone.localdate():
        raise ValidationError({"enrolled_on": "Nobody is enrolled on a day to come."})
    if enrolled_on < participant.screened_on:
        raise ValidationError(
            {"enrolled_on": f"The screening began on {participant.screened_on:%d-%b-%Y}; the enrolment follows it."}
        )


def _group_for(participant: Participant, counter: EnrolmentCounter, wanted: str) -> str:
    """The group the protocol's assignment gives; a randomised one is drawn from the concealed list and kept."""
    protocol = participant.protocol
    groups = [group.id for group in own_groups(protocol)]
    if protocol.assignment.method == RANDOMISED:
        if wanted:
            raise ValidationError({"group": "The group is drawn; nobody chooses it."})
        return _draw(participant, counter, protocol).group
    named = wanted or str(protocol.assignment.parameters.get("to", "")) or (groups[0] if len(groups) == 1 else "")
    if named not in groups:
        raise ValidationError({"group": f"Choose the group the participant was treated in: {', '.join(groups)}."})
    return named


def _draw(participant: Participant, counter: EnrolmentCounter, protocol: Protocol) -> Allocation:
    """The next entry of the trial's list. The counter's lock makes it nobody else's."""
    parameters = protocol.assignment.parameters
    seeded, _ = AllocationList.objects.get_or_create(
        trial_id=counter.trial_id, defaults={"seed": secrets.token_hex(32)}
    )
    drawn = drawn_at(
        Allocation.objects.filter(trial_id=counter.trial_id).count() + 1,
        seed=seeded.seed,
        groups=[group.id for group in own_groups(protocol)],
        ratio=_whole_numbers(parameters["ratio"]),
        blocks=_whole_numbers(parameters["blocks"]),
    )
    return Allocation.objects.create(
        participant=participant,
        trial_id=counter.trial_id,
        group=drawn.group,
        method=RANDOMISED,
        position=drawn.position,
        block=drawn.block,
        position_in_block=drawn.position_in_block,
    )


def _whole_numbers(parameter: object) -> tuple[int, ...]:
    assert isinstance(parameter, tuple)
    return tuple(int(str(number)) for number in parameter)


def _next_number(counter: EnrolmentCounter, protocol: Protocol) -> str:
    pattern = str(protocol.assignment.parameters.get("number_format", "P{n:03}"))
    while True:
        counter.last_participant_number += 1
        number = numbered(pattern, counter.last_participant_number)
        # A number that an import brought along is stepped over.
        if not Participant.objects.filter(trial_id=counter.trial_id, number=number).exists():
            break
    counter.save(update_fields=["last_participant_number"])
    return number


# --- Facts of the past --------------------------------------------------------------------------------------------


@transaction.atomic
def import_participant(
    *,
    trial: Trial,
    site: Site,
    screened_on: date,
    by: Membership | None,
    screening_number: str = "",
    number: str = "",
    group: str = "",
    birth_date: str = "",
    sex: str = "unknown",
    status: str = ParticipantState.SCREENING,
    failure_reason: str = "",
    is_external: bool = False,
    reason: str = "",
) -> Participant:
    """A participant as a file or a publication reports them; a screening number known already keeps its person."""
    check_can_import(by, trial, site)
    if site.trial_id != trial.pk:
        raise ValidationError({"site": f"{site} is no site of {trial.code}."})
    check_birth_date(birth_date, screened_on)
    version = usable_version(site, screened_on) or trial.active_version
    if group and group not in [one.id for one in version.protocol.groups]:
        known = ", ".join(one.id for one in version.protocol.groups)
        raise ValidationError({"group": f"The protocol has no group {group}. Known: {known}."})
    if screening_number:
        known_one = Participant.objects.filter(trial=trial, screening_number=screening_number).first()
        if known_one is not None:
            return known_one
    with context.context(by=by, reason=reason, source=context.Source.IMPORT):
        participant = Participant.objects.create(
            trial=trial,
            site=site,
            protocol_version=version,
            screening_number=screening_number or next_screening_number(trial, version.protocol),
            number=number,
            group=group,
            status=ParticipantState.EXTERNAL if is_external else ParticipantState(status),
            screened_on=screened_on,
            birth_date=birth_date,
            sex=sex,
            failure_reason=failure_reason,
            is_external=is_external,
        )
        if not is_external:
            plan_visits(participant)
    return participant


@dataclass(frozen=True)
class ControlRow:
    """One external control of a file."""

    site: Site
    number: str
    screened_on: date
    group: str
    screening_number: str = ""
    birth_date: str = ""
    sex: str = "unknown"


@transaction.atomic
def import_controls(
    *, trial: Trial, rows: Sequence[ControlRow], by: Membership | None, reason: str = ""
) -> dict[str, Participant]:
    """Many external controls in a few questions to the database; who is known by their number stays as they are.

    Returns all of ``rows`` by number. Raises ValidationError naming the row that does not fit, and writes nothing.
    """
    for site in {row.site for row in rows}:
        check_can_import(by, trial, site)
        if site.trial_id != trial.pk:
            raise ValidationError({"site": f"{site} is no site of {trial.code}."})
    active, has_one_version = trial.active_version, trial.versions.count() == 1
    external = {group.id for group in active.protocol.groups if group.kind is GroupKind.EXTERNAL}
    fresh = []
    numbers = [row.number for row in rows]
    standing = set(Participant.objects.filter(trial=trial, number__in=numbers).values_list("number", flat=True))
    for row in rows:
        check_birth_date(row.birth_date, row.screened_on)
        if row.group not in external:
            groups = ", ".join(sorted(external)) or "none"
            raise ValidationError({"group": f"{row.number}: {row.group} is no external group. Known: {groups}."})
        if row.number in standing:
            continue
        version = active if has_one_version else usable_version(row.site, row.screened_on) or active
        fresh.append(
            Participant(
                trial=trial,
                site=row.site,
                protocol_version=version,
                screening_number=row.screening_number or row.number,
                number=row.number,
                group=row.group,
                status=ParticipantState.EXTERNAL,
                screened_on=row.screened_on,
                birth_date=row.birth_date,
                sex=row.sex,
                is_external=True,
            )
        )
    with context.context(by=by, reason=reason, source=context.Source.IMPORT):
        Participant.objects.bulk_create(fresh, batch_size=1000)
    return {one.number: one for one in with_shared(Participant.objects.filter(trial=trial, number__in=numbers))}


@transaction.atomic
def import_enrolment(
    *,
    participant: Participant,
    enrolled_on: date,
    by: Membership | None,
    number: str = "",
    group: str = "",
    reason: str = "",
) -> Enrolment:
    """An enrolment of the past. Places are not asked for: it has happened. Announced like any other."""
    check_can_import(by, participant.trial, participant.site)
    counter = EnrolmentCounter.objects.select_for_update().get(trial_id=participant.trial_id)
    locked = _locked(participant)
    if existing := Enrolment.objects.filter(participant=locked).first():
        return existing
    if locked.is_external:
        raise NotPossible(f"{locked} is an external control; controls are never enrolled.")
    groups = [one.id for one in own_groups(locked.protocol)]
    with context.context(by=by, reason=reason, source=context.Source.IMPORT):
        locked.group = group or locked.group or (groups[0] if len(groups) == 1 else "")
        if locked.group not in groups:
            raise ValidationError({"group": f"Say which group: {', '.join(groups)}."})
        locked.number = number or locked.number or _next_number(counter, locked.protocol)
        if locked.status in (ParticipantState.SCREENING, ParticipantState.ELIGIBLE):
            locked.status = ParticipantState.ENROLLED
        locked.save(update_fields=["group", "number", "status"])
        enrolment = Enrolment.objects.create(
            participant=locked, enrolled_on=enrolled_on, enrolled_by=by, source="import"
        )
        plan_visits(locked)
        participant_enrolled.send(sender=Participant, participant=locked)
    return enrolment


# --- Places -------------------------------------------------------------------------------------------------------


@transaction.atomic
def open_replacement(*, participant: Participant, reason: str, by: Membership | None = None) -> Replacement:
    """Open one more place because the participant cannot be evaluated for the primary endpoint. One a participant."""
    check_can_replace(by, participant)
    if not reason.strip():
        raise ValidationError({"reason": "Say why the participant is replaced."})
    if not Enrolment.objects.filter(participant=participant).exists():
        raise NotPossible(f"{participant} is not enrolled; only an enrolled participant is replaced.")
    EnrolmentCounter.objects.select_for_update().get(trial_id=participant.trial_id)
    known = Replacement.objects.filter(participant=participant).first()
    if known is not None and known.is_open:
        return known
    with context.context(by=by, reason=reason, source=_source(by)):
        if known is None:
            return Replacement.objects.create(participant=participant, reason=reason)
        known.is_open, known.reason = True, reason
        known.save(update_fields=["is_open", "reason"])
    return known


@transaction.atomic
def close_replacement(
    *, participant: Participant, by: Membership | None = None, reason: str = ""
) -> Replacement | None:
    """Close the place again because the participant turned out to be evaluable. None where there was none."""
    check_can_replace(by, participant)
    EnrolmentCounter.objects.select_for_update().get(trial_id=participant.trial_id)
    known = Replacement.objects.filter(participant=participant, is_open=True).first()
    if known is None:
        return None
    with context.context(by=by, reason=reason or "The participant is evaluable.", source=_source(by)):
        known.is_open = False
        known.save(update_fields=["is_open"])
    return known


@transaction.atomic
def hold_enrolment(*, trial: Trial, because: str, by: Membership | None) -> EnrolmentCounter:
    """Let nobody be enrolled until released, for instance while a stage gate waits for its participants."""
    check_can_steer_enrolment(by, trial)
    if not because.strip():
        raise ValidationError({"because": "Say why enrolment waits; coordinators read this sentence."})
    return _steer(trial, by, because, held_because=because)


@transaction.atomic
def release_enrolment(*, trial: Trial, by: Membership | None, reason: str = "") -> EnrolmentCounter:
    check_can_steer_enrolment(by, trial)
    return _steer(trial, by, reason, held_because="")


@transaction.atomic
def open_stage(*, trial: Trial, stage: int, by: Membership | None, reason: str = "") -> EnrolmentCounter:
    """Open the places of a stage of the design; its gate was decided so."""
    check_can_steer_enrolment(by, trial)
    stages = len(trial.protocol.design.stages)
    if not 1 <= stage <= max(stages, 1):
        raise ValidationError({"stage": f"The design has {stages} stages."})
    return _steer(trial, by, reason, stage=stage)


@transaction.atomic
def close_accrual(*, trial: Trial, on: date, by: Membership | None, reason: str) -> EnrolmentCounter:
    """End accrual for good; nobody is enrolled after this."""
    check_can_steer_enrolment(by, trial)
    return _steer(trial, by, reason, closed_on=on)


def _steer(trial: Trial, by: Membership | None, reason: str, **facts: object) -> EnrolmentCounter:
    counter = EnrolmentCounter.objects.select_for_update().get(trial=trial)
    changed = [name for name, value in facts.items() if getattr(counter, name) != value]
    if not changed:
        return counter
    with context.context(by=by, reason=reason, source=_source(by)):
        for name in changed:
            setattr(counter, name, facts[name])
        counter.save(update_fields=changed)
    return counter


def _source(by: Membership | None) -> context.Source:
    return context.Source.CALCULATION if by is None else context.Source.USER


def _locked(participant: Participant) -> Participant:
    return (
        Participant.objects.select_for_update(of=("self",))
        .select_related("protocol_version__trial", "trial", "site")
        .get(pk=participant.pk)
    )
