"""What was given: infusions, their correction, the end of a course, and the deviations that follow from the sums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

import audit.context
from casebook import selectors as casebook
from dosing import selectors
from dosing.actions.needs import done, lock_participants, need
from dosing.domain.administered import END_CAUSE_WORDS, EndCause
from dosing.domain.nomogram import plain
from dosing.models import Administration, CourseEnd, DoseWorksheet
from dosing.permissions import (
    Conflict,
    NotPossible,
    check_can_import_plan,
    check_can_record_administration,
)
from trials.actions import record_deviation, void_deviation
from trials.domain.answers import Answer
from trials.domain.conditions import evaluate, items_of
from trials.domain.definition import RemovalRule
from trials.domain.observations import labels
from trials.models import Deviation, Membership, Participant

LONGEST_INFUSION = timedelta(hours=48)
#: An infusion further than this from its planned amount says why.
REMARKABLE_DIFFERENCE = Decimal("0.10")
#: How a deviation without a rule of its own begins: recognised again when it is computed anew.
WITHOUT_RULE = "Cumulative dose outside the allowed bounds:"


@dataclass(frozen=True)
class InfusionRow:
    """One infusion of a file; a moment without a zone is in the site's time."""

    participant: Participant
    infusion: int
    started_at: datetime
    stopped_at: datetime
    dose_mg: Decimal
    product: str
    comment: str = ""
    batch: str = ""


# --- Recording ----------------------------------------------------------------------------------------------------


@transaction.atomic
def record_administration(
    *,
    participant: Participant,
    infusion: int,
    started_at: datetime,
    stopped_at: datetime,
    product: str,
    by: Membership,
    dose_mg: Decimal | None = None,
    volume_ml: Decimal | None = None,
    was_stopped_early: bool = False,
    batch: str = "",
    comment: str = "",
) -> Administration:
    """Record one infusion as it was given; of one that was stopped, the volume given tells the amount.

    The same infusion again is the row that there is; another one under its number is a Conflict. An amount further
    than 10 % from its planned day, a stop, and a dose without a release each need ``comment``.
    """
    check_can_record_administration(by, participant)
    participant = locked(participant)
    facts = _facts(
        participant, infusion, started_at, stopped_at, product, dose_mg, volume_ml, was_stopped_early, batch, comment
    )
    known = Administration.objects.filter(participant=participant, infusion=infusion, is_void=False).first()
    if known is not None:
        if all(getattr(known, name) == value for name, value in facts.items()):
            return known
        raise Conflict(
            f"Infusion {infusion} of {participant} is recorded already: {plain(known.dose_mg)} mg. Correct it, or "
            "record the next one."
        )
    if (ended := selectors.course_end(participant)) is not None:
        raise NotPossible(f"The course was declared ended on {ended.ended_on:%d-%b-%Y}. Take that back first.")
    _check_against_others(participant, facts)
    _check_comment(participant, infusion, facts)
    with audit.context.context(by=by):
        given = Administration.objects.create(participant=participant, infusion=infusion, **facts)
        _follow(participant)
    return given


@transaction.atomic
def correct_administration(
    *,
    administration: Administration,
    started_at: datetime,
    stopped_at: datetime,
    by: Membership,
    revision: int,
    reason: str,
    dose_mg: Decimal | None = None,
    volume_ml: Decimal | None = None,
    was_stopped_early: bool = False,
    batch: str = "",
    comment: str = "",
) -> Administration:
    """Correct an infusion; its product and number stay. ``revision`` is the one that was opened."""
    check_can_record_administration(by, administration.participant)
    participant = locked(administration.participant)
    given = Administration.objects.select_for_update().get(pk=administration.pk)
    if given.is_void:
        raise NotPossible("This infusion was recorded in error and does not count; record the right one.")
    facts = _facts(
        participant,
        given.infusion,
        started_at,
        stopped_at,
        given.product,
        dose_mg,
        volume_ml,
        was_stopped_early,
        batch,
        comment,
    )
    if all(getattr(given, name) == value for name, value in facts.items()):
        return given
    if revision != given.revision:
        raise Conflict(f"Infusion {given.infusion} was changed to {plain(given.dose_mg)} mg meanwhile. Look again.")
    if not reason.strip():
        raise ValidationError({"reason": "Say why the record of the infusion changes; it stands in the audit trail."})
    _check_against_others(participant, facts, besides=given.pk)
    _check_comment(participant, given.infusion, facts)
    with audit.context.context(by=by, reason=reason.strip()):
        for name, value in facts.items():
            setattr(given, name, value)
        given.revision += 1
        given.save(update_fields=[*facts, "revision"])
        _follow(participant)
    return given


@transaction.atomic
def void_administration(*, administration: Administration, by: Membership, reason: str) -> Administration:
    """Take back an infusion that was recorded in error; the row stays and no longer counts."""
    check_can_record_administration(by, administration.participant)
    if not reason.strip():
        raise ValidationError({"reason": "Say why the infusion was recorded in error."})
    participant = locked(administration.participant)
    given = Administration.objects.select_for_update().get(pk=administration.pk)
    if given.is_void:
        return given
    with audit.context.context(by=by, reason=reason.strip()):
        given.is_void = True
        given.revision += 1
        given.save(update_fields=["is_void", "revision"])
        _follow(participant)
    return given


@transaction.atomic
def end_course(*, participant: Participant, ended_on: date, cause: str, by: Membership, reason: str = "") -> CourseEnd:
    """Declare that no further dose is given, by one of the causes; the sum given is judged at once.

    The cause itself removes nobody from an analysis set. ``reason`` adds words to it, which another cause needs.
    """
    check_can_record_administration(by, participant)
    if cause not in list(EndCause):
        raise ValidationError({"cause": f"Choose one of {', '.join(EndCause)}."})
    if cause == EndCause.OTHER and not reason.strip():
        raise ValidationError({"reason": "Say what the other cause is."})
    if ended_on > timezone.localdate():
        raise ValidationError({"ended_on": "A course that has ended did so today or before."})
    participant = locked(participant)
    known = CourseEnd.objects.filter(participant=participant).first()
    facts = {"ended_on": ended_on, "cause": cause, "reason": reason.strip(), "is_void": False}
    if known is not None and all(getattr(known, name) == value for name, value in facts.items()):
        return known
    why = reason.strip() or END_CAUSE_WORDS[EndCause(cause)]
    with audit.context.context(by=by, reason=why):
        end, _ = CourseEnd.objects.update_or_create(participant=participant, defaults=facts)
        _follow(participant)
    return end


@transaction.atomic
def resume_course(*, participant: Participant, reason: str, by: Membership) -> None:
    """Take back that the course has ended."""
    check_can_record_administration(by, participant)
    if not reason.strip():
        raise ValidationError({"reason": "Say why the course goes on."})
    participant = locked(participant)
    end = selectors.course_end(participant)
    if end is None:
        return
    with audit.context.context(by=by, reason=reason.strip()):
        end.is_void = True
        end.save(update_fields=["is_void"])
        _follow(participant)


@transaction.atomic
def import_administrations(*, rows: Iterable[InfusionRow], by: Membership | None, reason: str = "Import") -> int:
    """Write the infusions of a file in bulk, all of them or none; returns how many were new.

    What is there and equal stays; what differs is a Conflict. The worksheets and deviations follow in the background.
    """
    rows = list(rows)
    people = {row.participant.pk: row.participant for row in rows}
    for participant in people.values():
        check_can_import_plan(by, participant)
    lock_participants(people)
    known = {
        (one.participant_id, one.infusion): one
        for one in Administration.objects.filter(participant__in=people, is_void=False)
    }
    fresh: list[Administration] = []
    for row in rows:
        zone = ZoneInfo(row.participant.site.time_zone)
        started, stopped = _in_zone(row.started_at, zone), _in_zone(row.stopped_at, zone)
        place = f"{row.participant}, infusion {row.infusion}"
        if row.dose_mg <= 0:
            raise ValidationError({"dose_mg": f"{place}: {row.dose_mg} mg is no dose."})
        if stopped <= started:
            raise ValidationError({"stopped_at": f"{place}: it stops before it starts."})
        standing = known.get((row.participant.pk, row.infusion))
        if standing is None:
            one = Administration(
                participant=row.participant,
                infusion=row.infusion,
                started_at=started,
                stopped_at=stopped,
                dose_mg=row.dose_mg,
                product=row.product,
                batch=row.batch,
                comment=row.comment,
                source="import",
            )
            known[row.participant.pk, row.infusion] = one
            fresh.append(one)
        elif (standing.started_at, standing.dose_mg) != (started, row.dose_mg):
            raise Conflict(
                f"{place} is recorded with {plain(standing.dose_mg)} mg at {standing.started_at:%d-%b-%Y %H:%M}."
            )
    with audit.context.context(by=by, reason=reason, source=audit.context.Source.IMPORT):
        Administration.objects.bulk_create(fresh, batch_size=1000)
        need(people)
    return len(fresh)


# --- What follows -------------------------------------------------------------------------------------------------


@transaction.atomic
def check_administered(*, participant: Participant) -> list[Deviation]:
    """Bring the computed deviations to what plan and doses say now; returns those that stand.

    The rules are those of the definition whose condition reads an item that follows from plan or doses; a protocol
    that sets bounds without such a rule gets a major deviation that removes nobody.
    """
    if not selectors.may_deviate(participant):
        return []
    facts = selectors.computed_items(participant)
    rules = [
        rule
        for rule in participant.protocol.eligibility.removal
        if rule.when is not None and any(address in facts for address in items_of(rule.when))
    ]
    today = timezone.localdate()
    stand = []
    if rules:
        values = {**casebook.item_values(participant), **facts}
        names = labels(participant.protocol)
        for rule in rules:
            assert rule.when is not None
            verdict = evaluate(rule.when, values, labels=names)
            stand.append(_settle(participant, rule, verdict.answer, verdict.sentence, today))
    if not any(_judges_ratio(participant, rule) for rule in rules):
        stand.append(_settle_without_rule(participant, today))
    return [one for one in stand if one is not None]


def _settle(
    participant: Participant, rule: RemovalRule, answer: Answer, sentence: str, today: date
) -> Deviation | None:
    standing = participant.deviations.filter(rule=rule.id, is_void=False).first()
    if standing is not None and standing.source != Deviation.Source.CALCULATION:
        return standing  # what a person or a file recorded under the rule is not touched
    if answer is Answer.YES:
        return record_deviation(
            participant=participant,
            rule=rule.id,
            description=_ratio_words(participant, today)
            if _judges_ratio(participant, rule)
            else f"{rule.text}: {sentence}",
            is_major=True,
            removes_from_efficacy=bool(rule.removed_from),
            occurred_on=_last_day_given(participant, today),
            by=None,
            source=Deviation.Source.CALCULATION,
        )
    if standing is not None:
        void_deviation(deviation=standing, by=None, reason=f"No longer found: {sentence}")
    return None


def _settle_without_rule(participant: Participant, today: date) -> Deviation | None:
    standing = participant.deviations.filter(
        rule="", is_void=False, source=Deviation.Source.CALCULATION, description__startswith=WITHOUT_RULE
    ).first()
    verdict = selectors.judged(participant, today)
    if verdict is None or not verdict.is_deviation:
        if standing is not None:
            void_deviation(deviation=standing, by=None, reason="No longer found: the sum lies within the bounds.")
        return None
    words = f"{WITHOUT_RULE} {_ratio_words(participant, today)}"
    if standing is not None and standing.description == words:
        return standing
    if standing is not None:
        void_deviation(deviation=standing, by=None, reason="The sum has changed.")
    return record_deviation(
        participant=participant,
        description=words,
        is_major=True,
        occurred_on=_last_day_given(participant, today),
        by=None,
        source=Deviation.Source.CALCULATION,
    )


def _judges_ratio(participant: Participant, rule: RemovalRule) -> bool:
    """Whether the rule reads the item that is computed as given over planned."""
    assert rule.when is not None
    addresses = set(items_of(rule.when))
    return any(
        f"{form.id}.{item.id}" in addresses and item.computed == "given_over_planned"
        for form in participant.protocol.forms
        for item in form.items
    )


def _ratio_words(participant: Participant, today: date) -> str:
    verdict = selectors.judged(participant, today)
    if verdict is None:
        return "Given dose outside the plan."
    end = selectors.course_end(participant)
    return (
        f"Given {plain(verdict.given_mg)} mg of {plain(verdict.planned_mg)} mg planned, {plain(verdict.percent)} %; "
        f"allowed {plain(100 * verdict.low)} to {plain(100 * verdict.high)} %."
        f"{f' Ended early: {end.cause_words}.' if end is not None else ''}"
    )


def _last_day_given(participant: Participant, today: date) -> date | None:
    last = Administration.objects.filter(participant=participant, is_void=False).order_by("-started_at").first()
    if last is None:
        return None
    zone = ZoneInfo(participant.site.time_zone)
    return min(last.started_at.astimezone(zone).date(), today)


def _follow(participant: Participant) -> None:
    """What a change of the given doses leads to, in the same transaction; what waits for a day is marked."""
    check_administered(participant=participant)
    plan = selectors.plan_of_record(participant)
    if plan is None or plan.method == "level_guided":
        # An infusion's amount and times are what a level is read by: the sweep, or a release, computes anew.
        need([participant.pk])
    elif plan.last_day_on is not None and plan.last_day_on >= timezone.localdate():
        done(participant, since=timezone.now(), next_on=plan.last_day_on + timedelta(days=1))


# --- What is refused ----------------------------------------------------------------------------------------------


def _facts(
    participant: Participant,
    infusion: int,
    started_at: datetime,
    stopped_at: datetime,
    product: str,
    dose_mg: Decimal | None,
    volume_ml: Decimal | None,
    was_stopped_early: bool,
    batch: str,
    comment: str,
) -> dict[str, object]:
    """The infusion as it is stored; raises ValidationError with every problem."""
    spec = selectors.dosing_of(participant)
    zone = ZoneInfo(participant.site.time_zone)
    started, stopped = _in_zone(started_at, zone), _in_zone(stopped_at, zone)
    problems: dict[str, str] = {}
    if not 1 <= infusion <= 99:
        problems["infusion"] = "Infusions are counted from 1 to 99. Give its number."
    if spec is not None and product != spec.product:
        problems["product"] = (
            f"The protocol gives {spec.product}, not {product or 'no product'}; products are never converted. "
            "Record another product as medication."
        )
    if stopped <= started:
        problems["stopped_at"] = "The infusion stops after it starts. Correct one of the two times."
    elif stopped - started > LONGEST_INFUSION:
        problems["stopped_at"] = "An infusion of more than 48 h: check the dates."
    if stopped > timezone.now() + timedelta(minutes=5):
        problems["stopped_at"] = "An infusion is recorded after it has ended. Correct the time, or wait."
    concentration = spec.rounding.concentration if spec is not None and spec.rounding else None
    if dose_mg is None and volume_ml is not None and concentration is not None:
        dose_mg = volume_ml * concentration
    if dose_mg is None:
        needed = "dose in mg, or the volume in mL" if concentration is not None else "dose in mg"
        problems["dose_mg"] = f"Give the {needed}."
    elif not dose_mg.is_finite() or dose_mg <= 0:
        problems["dose_mg"] = "A dose that was given is above 0 mg; one that was not given is not recorded. Correct it."
    elif dose_mg != dose_mg.quantize(Decimal("0.001")) or dose_mg > 5000:
        problems["dose_mg"] = "Give the dose in mg, up to 5000, with at most three decimals."
    elif volume_ml is not None and concentration is not None and volume_ml * concentration != dose_mg:
        problems["volume_ml"] = (
            f"{plain(volume_ml)} mL at {plain(concentration)} mg/mL are {plain(volume_ml * concentration)} mg, not "
            f"{plain(dose_mg)} mg. Correct one of them."
        )
    if volume_ml is not None and (not volume_ml.is_finite() or volume_ml <= 0 or volume_ml > 1000):
        problems["volume_ml"] = "Give the volume in mL, above 0 and up to 1000."
    if problems:
        raise ValidationError(problems)
    return {
        "started_at": started,
        "stopped_at": stopped,
        "dose_mg": dose_mg,
        "volume_ml": volume_ml,
        "was_stopped_early": was_stopped_early,
        "product": product,
        "batch": batch.strip(),
        "comment": comment.strip(),
    }


def _check_against_others(participant: Participant, facts: dict[str, object], *, besides: int | None = None) -> None:
    others = Administration.objects.filter(
        participant=participant,
        is_void=False,
        started_at__lt=facts["stopped_at"],
        stopped_at__gt=facts["started_at"],
    )
    if besides is not None:
        others = others.exclude(pk=besides)
    if (other := others.first()) is not None:
        sentence = f"Infusion {other.infusion} was running then. Correct the times of one of them."
        raise ValidationError({"started_at": sentence})


def _check_comment(participant: Participant, infusion: int, facts: dict[str, object]) -> None:
    """What is out of the ordinary says why."""
    if facts["comment"]:
        return
    plan = selectors.plan_of_record(participant)
    dose = facts["dose_mg"]
    assert isinstance(dose, Decimal)
    if facts["was_stopped_early"]:
        why = "The infusion was stopped early"
    elif plan is None:
        why = "There is no dose plan"
    elif plan.source == DoseWorksheet.Source.CALCULATION and selectors.release_of(plan) is None:
        why = "The dose was not released"
    else:
        days = plan.result["days"]
        if not 1 <= infusion <= len(days):
            why = f"The plan has no infusion {infusion}" if days else ""
        else:
            planned = Decimal(days[infusion - 1]["mg"])
            differs = abs(dose - planned) > REMARKABLE_DIFFERENCE * planned
            why = f"{plain(dose)} mg is more than 10 % from the planned {plain(planned)} mg" if differs else ""
    if why:
        raise ValidationError({"comment": f"{why}: say why this was given."})


def locked(participant: Participant) -> Participant:
    """One writer of a participant at a time: the lock that the casebook takes, too, when it writes a value."""
    return (
        Participant.objects.select_for_update(of=("self",), no_key=True)
        .select_related("site", "trial", "protocol_version__trial", "enrolment__enrolled_by")
        .get(pk=participant.pk)
    )


def _in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
