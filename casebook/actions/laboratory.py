"""Laboratory draws and their results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils import timezone

import audit.context
from casebook.actions.entries import Refused, lock_all, locked
from casebook.announcements import observation_recorded
from casebook.domain.answers import Problem
from casebook.domain.results import ReadResult, ResultRefused, VisitWindow, Written, read_result, visit_of_draw
from casebook.models import LabDraw, LabResult
from casebook.permissions import Conflict, check_can_record
from trials.domain.definition import Protocol
from trials.models import Membership, Participant, Visit
from trials.selectors import planned_visits_of

MAX_NAME = 40


@dataclass(frozen=True)
class DrawRow:
    """One draw of a file; ``sampled_at`` without a zone is in the site's time, a date where only that is known."""

    participant: Participant
    sampled_at: datetime | date
    values: Mapping[str, Written]
    laboratory: str = ""
    specimen: str = "blood"


@transaction.atomic
def record_draw(
    *,
    participant: Participant,
    sampled_at: datetime | date,
    values: Mapping[str, Written],
    by: Membership | None,
    laboratory: str = "",
    specimen: str = "blood",
    source: audit.context.Source = audit.context.Source.USER,
) -> LabDraw:
    """Record the results of one sampling, all of them or none.

    A draw is known by participant, moment, laboratory and specimen: the same draw again adds results that it did not
    have, changes nothing where they are equal, and is a Conflict where they differ (correct_result changes a value).
    Raises Refused with a problem an analyte.
    """
    check_can_record(by, participant, what="enter laboratory results", is_import=source is audit.context.Source.IMPORT)
    locked(participant)
    moment, has_time = site_moment(participant, sampled_at)
    _check_draw(moment, laboratory, specimen)
    read = _read_all(participant.protocol, values)
    draw = LabDraw.objects.filter(
        participant=participant, sampled_at=moment, laboratory=laboratory.strip(), specimen=specimen.strip()
    ).first()
    known = {result.analyte: result for result in draw.results.all()} if draw else {}
    other = [address for address in read if address in known and not is_same(known[address], read[address])]
    if other:
        raise Conflict(
            f"This draw of {moment.astimezone(_zone(participant)):%d-%b-%Y %H:%M} is recorded with another value of "
            f"{', '.join(other)}. Correct the result instead."
        )
    fresh = {address: one for address, one in read.items() if address not in known}
    if draw is not None and not fresh:
        return draw
    with audit.context.context(by=by, source=source):
        if draw is None:
            draw = LabDraw(
                participant=participant,
                sampled_at=moment,
                sampled_on=moment.astimezone(_zone(participant)).date(),
                has_time=has_time,
                laboratory=laboratory.strip(),
                specimen=specimen.strip(),
            )
        draw.visit = _visit_of(participant, draw.sampled_on, {*known, *fresh})
        draw.save()
        LabResult.objects.bulk_create(as_result(draw, one) for one in fresh.values())
        observation_recorded.send(sender=LabDraw, participant_ids=(participant.pk,))
    return draw


@transaction.atomic
def correct_result(
    *,
    result: LabResult,
    text: str,
    unit: str,
    by: Membership,
    reason: str,
    revision: int,
    lower_limit: str | None = None,
    upper_limit: str | None = None,
    lloq: str | None = None,
) -> LabResult:
    """Correct a result; the value that it had stays in the audit trail, with ``reason``. Limits left out stay.

    An empty ``lloq`` takes the limit of quantification away.
    """
    check_can_record(by, result.draw.participant, what="correct a laboratory result")
    locked(result.draw.participant)
    result = LabResult.objects.select_related("draw__participant").get(pk=result.pk)
    analyte = result.draw.participant.protocol.analyte(result.analyte)
    try:
        read = read_result(analyte, Written(text, unit, lower_limit or "", upper_limit or "", lloq or ""))
    except ResultRefused as refused:
        raise Refused((Problem(result.analyte, str(refused)),)) from None
    is_limit_same = lloq is None or (result.lloq, result.lloq_as_written) == (read.lloq, read.lloq_as_written)
    if is_limit_same and is_same(result, read, limits=lower_limit is not None or upper_limit is not None):
        return result
    if revision != result.revision:
        raise Conflict(
            f"{analyte.label} was changed to {result.value_as_written or result.missing_reason} "
            f"{result.unit_as_written} meanwhile. Compare, and correct it again if it is still wrong."
        )
    if not reason.strip():
        raise Refused((Problem("reason", "Say why the result changes; it stands in the audit trail."),))
    with audit.context.context(by=by, reason=reason.strip()):
        change(result, read, lower=lower_limit is not None, upper=upper_limit is not None, lloq=lloq is not None)
        result.save()
        observation_recorded.send(sender=LabResult, participant_ids=(result.draw.participant_id,))
    return result


@transaction.atomic
def import_draws(*, rows: Iterable[DrawRow], by: Membership | None, reason: str = "Import") -> int:
    """Write many draws of a file in one transaction and in bulk, read as if typed; returns how many results were new.

    What is there already and equal stays; what differs is a Conflict. Raises Refused naming the first draw that cannot
    be kept; nothing is written then.
    """
    by_participant: dict[int, list[DrawRow]] = {}
    for row in rows:
        by_participant.setdefault(row.participant.pk, []).append(row)
    lock_all(by_participant)
    draws: list[LabDraw] = []
    results: list[LabResult] = []
    for pk, own in by_participant.items():
        participant = own[0].participant
        check_can_record(by, participant, what="import laboratory results", is_import=True)
        windows = windows_of(participant)
        visits = {visit.code: visit for visit in participant.visits.all()}
        known = {
            (draw.sampled_at, draw.laboratory, draw.specimen): draw
            for draw in LabDraw.objects.filter(participant_id=pk).prefetch_related("results")
        }
        zone = _zone(participant)
        for row in own:
            moment, has_time = site_moment(participant, row.sampled_at)
            try:
                _check_draw(moment, row.laboratory, row.specimen)
                read = _read_all(participant.protocol, row.values)
            except Refused as refused:
                sentences = "; ".join(problem.sentence for problem in refused.problems)
                raise Refused((Problem(str(participant), f"{participant} {row.sampled_at}: {sentences}"),)) from None
            key = (moment, row.laboratory.strip(), row.specimen.strip())
            draw = known.get(key)
            had = {one.analyte: one for one in draw.results.all()} if draw is not None and draw.pk else {}
            for address, one in read.items():
                if address in had and not is_same(had[address], one):
                    raise Conflict(f"{participant} {row.sampled_at}: {address} is recorded with another value.")
            if draw is None:
                day = moment.astimezone(zone).date()
                code = visit_of_draw(day, read, windows)
                draw = LabDraw(
                    participant=participant,
                    visit=visits.get(code) if code else None,
                    sampled_at=moment,
                    sampled_on=day,
                    has_time=has_time,
                    laboratory=key[1],
                    specimen=key[2],
                )
                draws.append(draw)
                known[key] = draw
            results += [as_result(draw, one) for address, one in read.items() if address not in had]
    with audit.context.context(by=by, reason=reason, source=audit.context.Source.IMPORT):
        LabDraw.objects.bulk_create(draws, batch_size=1000)
        LabResult.objects.bulk_create(results, batch_size=1000)
        if results:
            observation_recorded.send(sender=LabDraw, participant_ids=tuple(sorted(by_participant)))
    return len(results)


def on_anchor_moved(*, participant: Participant, **_: object) -> None:
    """Bring the visits of the draws to what the windows say now, in the transaction that moved the anchor."""
    draws = list(LabDraw.objects.filter(participant=participant).prefetch_related("results"))
    if not draws:
        return
    windows = windows_of(participant)
    visits = {visit.code: visit.pk for visit in participant.visits.all()}
    for draw in draws:
        code = visit_of_draw(draw.sampled_on, [result.analyte for result in draw.results.all()], windows)
        visit_id = visits.get(code) if code else None
        if draw.visit_id != visit_id:
            LabDraw.objects.filter(pk=draw.pk).update(visit_id=visit_id)


# --- Parts that the import of files shares ------------------------------------------------------------------------


def site_moment(participant: Participant, sampled_at: datetime | date) -> tuple[datetime, bool]:
    """The moment in UTC terms, and whether its time is known; a time without a zone is the site's."""
    if isinstance(sampled_at, datetime):
        return (sampled_at if sampled_at.tzinfo else sampled_at.replace(tzinfo=_zone(participant))), True
    return datetime.combine(sampled_at, time.min, tzinfo=_zone(participant)), False


def is_same(result: LabResult, read: ReadResult, *, limits: bool = True) -> bool:
    """Whether the row says what was read; limits that were not written are not compared."""
    same = (result.value, result.qualifier, result.unit_as_written, result.missing_reason) == (
        read.value,
        read.qualifier,
        read.unit_as_written,
        read.missing_reason,
    ) and result.value_as_written == read.value_as_written
    if not limits:
        return same
    return same and all(
        new is None or old == new
        for old, new in (
            (result.lower_limit, read.lower_limit),
            (result.upper_limit, read.upper_limit),
            (result.lloq, read.lloq),
        )
    )


def as_result(draw: LabDraw, read: ReadResult) -> LabResult:
    return LabResult(
        draw=draw,
        analyte=read.address,
        value_as_written=read.value_as_written,
        qualifier=read.qualifier,
        unit_as_written=read.unit_as_written,
        value=read.value,
        unit=read.unit,
        lower_limit=read.lower_limit,
        upper_limit=read.upper_limit,
        lloq=read.lloq,
        lloq_as_written=read.lloq_as_written,
        missing_reason=read.missing_reason,
    )


def change(result: LabResult, read: ReadResult, *, lower: bool, upper: bool, lloq: bool) -> None:
    """Put what was read into the row, which keeps the limits that were not written; the caller saves it."""
    result.value_as_written, result.qualifier = read.value_as_written, read.qualifier
    result.unit_as_written, result.value, result.unit = read.unit_as_written, read.value, read.unit
    result.missing_reason = read.missing_reason
    if lower:
        result.lower_limit = read.lower_limit
    if upper:
        result.upper_limit = read.upper_limit
    if lloq:
        result.lloq, result.lloq_as_written = read.lloq, read.lloq_as_written
    result.revision += 1
    result.changed_at = timezone.now()


def windows_of(participant: Participant) -> tuple[VisitWindow, ...]:
    """The windows of the participant's visits as they stand, with the analytes the protocol wants at each."""
    wanted = {visit.code: visit for visit in planned_visits_of(participant)}
    return tuple(
        VisitWindow(
            visit.code,
            visit.earliest_date,
            visit.latest_date,
            visit.planned_date,
            frozenset(wanted[visit.code].analytes) if visit.code in wanted else frozenset(),
        )
        for visit in participant.visits.all()
    )


def _visit_of(participant: Participant, sampled_on: date, addresses: Iterable[str]) -> Visit | None:
    code = visit_of_draw(sampled_on, addresses, windows_of(participant))
    return participant.visits.filter(code=code).first() if code else None


def _zone(participant: Participant) -> ZoneInfo:
    return ZoneInfo(participant.site.time_zone)


def _check_draw(moment: datetime, laboratory: str, specimen: str) -> None:
    problems = []
    if moment > timezone.now():
        problems.append(Problem("sampled_at", "The sample lies in the future; record it when it has been taken."))
    for name, text in (("laboratory", laboratory), ("specimen", specimen)):
        if len(text.strip()) > MAX_NAME:
            problems.append(Problem(name, f"The name of the {name} has more than {MAX_NAME} characters. Shorten it."))
    if not specimen.strip():
        problems.append(Problem("specimen", "Say what was sampled, such as blood."))
    if problems:
        raise Refused(tuple(problems))


def _read_all(protocol: Protocol, values: Mapping[str, Written]) -> dict[str, ReadResult]:
    problems, read = [], {}
    for address, written in values.items():
        try:
            read[address] = read_result(protocol.analyte(address), written)
        except KeyError:
            problems.append(Problem(address, f"The protocol has no analyte {address}."))
        except ResultRefused as refused:
            problems.append(Problem(address, str(refused)))
    if not values:
        problems.append(Problem("", "No result was entered. Type at least one value, or ND where it was not done."))
    if problems:
        raise Refused(tuple(problems))
    return read
