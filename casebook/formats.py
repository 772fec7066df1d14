"""From a laboratory file to what it would change: the dry run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cached_property
from zoneinfo import ZoneInfo

from django.utils import timezone

from accounts.roles import Permission
from casebook.domain.lab_files import MAX_REJECTIONS, LabFileRefused, LabFileRow, Rejection, read_lab_file
from casebook.domain.numbers import plain
from casebook.domain.results import ReadResult, ResultRefused, Written, read_result
from casebook.models import LabDraw, LabResult
from trials.domain.definition import Analyte, Protocol
from trials.domain.lifecycle import ParticipantState
from trials.domain.partial_dates import DateEntryError, enter_date, enter_datetime
from trials.models import Membership, Participant
from trials.permissions import may

SPECIMEN = "blood"


@dataclass(frozen=True)
class Change:
    """One row of the file that would write something; ``result`` is the row it would change, if there is one."""

    row: int
    participant: Participant
    sampled_at: datetime
    sampled_on: date
    has_time: bool
    laboratory: str
    specimen: str
    label: str
    read: ReadResult
    draw: LabDraw | None
    result: LabResult | None

    @property
    def draw_key(self) -> tuple[object, ...]:
        return (self.participant.pk, self.sampled_at, self.laboratory, self.specimen)

    @property
    def old(self) -> str:
        if self.result is None:
            return ""
        was = f"{self.result.value_as_written or self.result.missing_reason} {self.result.unit_as_written}".strip()
        return _with_limit(was, self.result.lloq_as_written)

    @property
    def in_computations(self) -> str:
        return f"{self.read.qualifier}{plain(self.read.value)} {self.read.unit}" if self.read.value is not None else ""

    @property
    def new(self) -> str:
        found = f"{self.read.value_as_written or self.read.missing_reason} {self.read.unit_as_written}".strip()
        # A limit that the file does not name stays as it is recorded.
        kept = self.result.lloq_as_written if self.result is not None else ""
        return _with_limit(found, self.read.lloq_as_written or kept)


def _with_limit(said: str, lloq: str) -> str:
    return f"{said} (LLOQ {lloq})" if lloq else said


@dataclass(frozen=True)
class LabPlan:
    """What a file would change now."""

    new: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()
    same: int = 0
    rejections: tuple[Rejection, ...] = ()

    @property
    def questions(self) -> tuple[tuple[int, str], ...]:
        """Row and sentence of every value that is kept and unusual."""
        return tuple((row.row, question) for row in (*self.new, *self.changed) for question in row.read.questions)

    def report(self) -> dict[str, object]:
        """The counts and the first rejections, as they are kept and sent."""
        return {
            "new": len(self.new),
            "changed": len(self.changed),
            "same": self.same,
            "rejected": len(self.rejections),
            "rejections": [[one.row, one.column, one.reason] for one in self.rejections[:MAX_REJECTIONS]],
        }

    @cached_property
    def sha256(self) -> str:
        """The digest of everything a person confirms: which rows are new, which change from what to what."""
        facts = [
            [[row.row, row.participant.pk, row.read.address, row.old, row.new] for row in part]
            for part in (self.new, self.changed)
        ]
        text = json.dumps([*facts, self.same, [[r.row, r.column, r.reason] for r in self.rejections]])
        return hashlib.sha256(text.encode()).hexdigest()


def plan_of(content: bytes, *, laboratory: str, membership: Membership) -> LabPlan:
    """Work out what the file would change, as far as the membership reaches; writes nothing."""
    try:
        file = read_lab_file(content)
    except LabFileRefused as refused:
        return LabPlan(rejections=(refused.rejection,))
    people = _people(membership, {row.participant for row in file.rows})
    known = _known(people.values())
    new: list[Change] = []
    changed: list[Change] = []
    rejections = list(file.rejections)
    bad_rows = {one.row for one in rejections}
    names: dict[int, Mapping[str, Analyte]] = {}
    seen: dict[tuple[object, ...], int] = {}
    same = 0
    for row in file.rows:
        if row.row in bad_rows:
            continue
        found = _read_row(row, people, names, membership, file.headings, laboratory)
        if isinstance(found, Rejection):
            rejections.append(found)
            continue
        key = (*found.draw_key, found.read.address)
        if key in seen:
            where = f"{found.label} of {found.participant} at this time stands on row {seen[key]} already. Keep one."
            rejections.append(Rejection(row.row, file.headings["analyte"], where))
            continue
        seen[key] = row.row
        draw = known.get(found.draw_key)
        result = next((one for one in draw.results.all() if one.analyte == found.read.address), None) if draw else None
        placed = Change(**{**found.__dict__, "draw": draw, "result": result})
        if result is None:
            new.append(placed)
        elif _is_same(result, found.read):
            same += 1
        else:
            changed.append(placed)
    return LabPlan(tuple(new), tuple(changed), same, tuple(sorted(rejections, key=lambda one: one.row)))


def participants_in(content: bytes, membership: Membership) -> tuple[int, ...]:
    """The keys of the participants a file is about, as far as the membership sees them, in order."""
    try:
        codes = {row.participant for row in read_lab_file(content).rows}
    except LabFileRefused:
        return ()
    return tuple(sorted({one.pk for one in _people(membership, codes).values()}))


def _people(membership: Membership, codes: set[str]) -> dict[str, Participant]:
    """The participants the membership sees, by number and by screening number."""
    visible = (
        Participant.objects.visible_to(membership)
        .select_related("site", "protocol_version__trial", "trial")
        .prefetch_related("visits")
    )
    people = {one.screening_number: one for one in visible.filter(screening_number__in=codes)}
    return people | {one.number: one for one in visible.filter(number__in=codes)}


def _known(people: object) -> dict[tuple[object, ...], LabDraw]:
    ids = {one.pk for one in people}  # type: ignore[attr-defined]
    draws = LabDraw.objects.filter(participant__in=ids).prefetch_related("results")
    return {(draw.participant_id, draw.sampled_at, draw.laboratory, draw.specimen): draw for draw in draws}


def _read_row(
    row: LabFileRow,
    people: Mapping[str, Participant],
    names: dict[int, Mapping[str, Analyte]],
    membership: Membership,
    headings: Mapping[str, str],
    laboratory: str,
) -> Change | Rejection:
    participant = people.get(row.participant)
    if participant is None:
        return Rejection(
            row.row,
            headings["participant"],
            f"“{row.participant}” is no participant that you can see. Use the screening or participant number.",
        )
    if not may(membership, Permission.RECORD_OBSERVATION, participant):
        return Rejection(
            row.row, headings["participant"], f"You may not enter values for {participant}. Take the row out."
        )
    if participant.status == ParticipantState.SCREEN_FAILED:
        return Rejection(
            row.row, headings["participant"], f"{participant} failed screening. Reopen the screening first."
        )
    if participant.protocol_version_id not in names:
        names[participant.protocol_version_id] = _analytes(participant.protocol)
    analyte = names[participant.protocol_version_id].get(row.analyte.upper())
    if analyte is None:
        ids = ", ".join(one.id for one in participant.protocol.analytes)
        known = f"Use one of {ids}." if len(ids) <= 400 else "Use the id that the definition gives it."
        return Rejection(row.row, headings["analyte"], f"The protocol has no analyte “{row.analyte}”. {known}")
    if analyte.form == "PC" and analyte.per_assay and not (row.laboratory or laboratory):
        # A level without its assay can be compared with nothing: it is refused, not kept for a guess.
        sentence = f"{analyte.label} belongs to an assay: name the laboratory in the file, or beside it."
        return Rejection(row.row, headings.get("laboratory", headings["analyte"]), sentence)
    zone = ZoneInfo(participant.site.time_zone)
    try:
        moment, has_time = _moment(row.sampled_at, zone)
    except DateEntryError as error:
        return Rejection(row.row, headings["sampled_at"], str(error))
    if moment > timezone.now():
        return Rejection(row.row, headings["sampled_at"], "The sample lies in the future. Correct the date.")
    try:
        read = read_result(analyte, Written(row.value, row.unit, row.lower_limit, row.upper_limit, row.lloq))
    except ResultRefused as refused:
        return Rejection(row.row, headings.get(refused.column, headings["value"]), str(refused))
    return Change(
        row=row.row,
        participant=participant,
        sampled_at=moment,
        sampled_on=moment.astimezone(zone).date(),
        has_time=has_time,
        laboratory=row.laboratory or laboratory,
        specimen=row.specimen or SPECIMEN,
        label=analyte.label,
        read=read,
        draw=None,
        result=None,
    )


def _analytes(protocol: Protocol) -> Mapping[str, Analyte]:
    """By address, id and label, in capitals; an id that two analytes share names neither."""
    named: dict[str, Analyte] = {}
    shared: set[str] = set()
    for analyte in protocol.analytes:
        for name in {analyte.id.upper(), analyte.label.upper()}:
            if name in named:
                shared.add(name)
            named[name] = analyte
    for name in shared:
        del named[name]
    return named | {f"{analyte.form}.{analyte.id}".upper(): analyte for analyte in protocol.analytes}


def _moment(text: str, zone: ZoneInfo) -> tuple[datetime, bool]:
    """The moment of sampling in the site's time, and whether its time of day is known."""
    try:
        exact = datetime.fromisoformat(text)
        if len(text) > 10:
            return (exact if exact.tzinfo else exact.replace(tzinfo=zone)), True
    except ValueError:
        pass
    today = timezone.now().astimezone(zone).date()
    if ":" in text:
        return enter_datetime(text, today=today).replace(tzinfo=zone), True
    day = enter_date(text, today=today)
    if day.exact is None:
        raise DateEntryError(f"“{text}” has no day. Write 2026-11-12 or 2026-11-12 14:05.")
    return datetime.combine(day.exact, time.min, tzinfo=zone), False


def entered_moment(participant: Participant, text: str) -> datetime | date:
    """When a sample was taken, as typed: a date with a time, or the day alone where only that is known.

    Raises DateEntryError.
    """
    zone = ZoneInfo(participant.site.time_zone)
    if not text.strip():
        raise DateEntryError("Type when the sample was taken, such as 12nov26 08:30, or the day alone.")
    today, anchor = timezone.now().astimezone(zone).date(), participant.anchor_date
    if ":" in text:
        return enter_datetime(text, today=today, anchor_date=anchor)
    first_day = participant.protocol.anchor.first_day
    day = enter_date(text, today=today, anchor_date=anchor, first_day=first_day)
    if day.exact is None:
        raise DateEntryError(f"“{text.strip()}” has no day. Type the whole date of the sample.")
    return day.exact


def _is_same(result: LabResult, read: ReadResult) -> bool:
    """Whether the file says what is recorded; limits that the file does not have are not compared."""
    written = (read.value_as_written, read.unit_as_written, read.missing_reason, read.value)
    if (result.value_as_written, result.unit_as_written, result.missing_reason, result.value) != written:
        return False
    return all(
        new is None or new == old
        for new, old in (
            (read.lower_limit, result.lower_limit),
            (read.upper_limit, result.upper_limit),
            (read.lloq, result.lloq),
        )
    )
