"""Reads of the casebook: what is known of a participant, and bulk rows for computations and exports.

What a page reads goes through ``.visible_to(membership)``; what a computation reads (``item_values``, ``lab_series``,
``events_of_trial``) is whole, because a dose or an endpoint is the same whoever asks for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.roles import Permission
from audit.models import FieldChange
from casebook.domain import lab_files
from casebook.domain.answers import YES_NO_WORDS, FormAnswer, Moment, observed
from casebook.domain.clinical_events import EventKind, details_of
from casebook.domain.entries import EntryStatus, PlaceStatus, place_status
from casebook.domain.places import GIVEN, entry_forms, is_typed, sex_code
from casebook.domain.results import unusual
from casebook.models import ClinicalEvent, FormEntry, LabDraw, LabImport, LabResult
from trials.domain.answers import Answer as Truth
from trials.domain.calculations import calculate
from trials.domain.conditions import MISSING, Observed
from trials.domain.consent import SignedConsent, consent_verdict
from trials.domain.definition import CheckBy, Form, ItemType, Protocol
from trials.domain.derived import reads, with_derived
from trials.domain.lifecycle import ParticipantState
from trials.domain.observations import NO, YES
from trials.domain.partial_dates import PartialDate
from trials.domain.schedule import study_day
from trials.formats.definitions import CALCULATIONS
from trials.models import CriterionAnswer, Membership, Participant, ProtocolVersion, Trial, Visit
from trials.permissions import may
from trials.selectors import latest_assessment, planned_visits_of, signed_consents, signed_consents_of

# --- Plain rows, in bulk ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LabPoint:
    """One result with a value, in the canonical unit; ``as_written`` and ``unit_as_written`` are the laboratory's."""

    result_id: int
    participant_id: int
    address: str
    sampled_at: datetime
    sampled_on: date
    has_time: bool
    laboratory: str
    specimen: str
    value: Decimal
    unit: str
    qualifier: str
    as_written: str
    unit_as_written: str
    lower_limit: Decimal | None
    upper_limit: Decimal | None
    lloq: Decimal | None


@dataclass(frozen=True, slots=True)
class EventPoint:
    """One clinical event that counts; ``occurred`` is ISO 8601, partial where only that is known."""

    event_id: int
    participant_id: int
    kind: str
    occurred: str
    grade: str
    detail: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One form entry with its answers as stored: item id → ``{value, unit?, qualifier?, missing_reason?}``."""

    entry_id: int
    participant_id: int
    visit_code: str
    form: str
    repeat: int
    status: str
    observed_on: date | None
    answers: Mapping[str, Mapping[str, str]]
    changed_at: datetime


def lab_series(trial: Trial, address: str, *, participants: Collection[int] | None = None) -> Iterator[LabPoint]:
    """Every result of one analyte that has a value, by participant and time of sampling."""
    results = LabResult.objects.filter(draw__participant__trial=trial, analyte=address, value__isnull=False)
    if participants is not None:
        results = results.filter(draw__participant__in=participants)
    return _points(results)


def results_of_trial(
    trial: Trial,
    *,
    participants: Collection[int] | None = None,
    addresses: Collection[str] | None = None,
    undetected: bool = False,
) -> Iterator[LabPoint]:
    """Every result of the trial that has a value, by participant, time of sampling and analyte.

    ``undetected``: with those in which the assay found nothing and gave no number; their value is 0, qualifier "nd".
    """
    results = LabResult.objects.filter(draw__participant__trial=trial)
    results = results.exclude(value__isnull=True, qualifier="") if undetected else results.filter(value__isnull=False)
    if participants is not None:
        results = results.filter(draw__participant__in=participants)
    if addresses is not None:
        results = results.filter(analyte__in=addresses)
    if not undetected:
        return _points(results)
    return (point if point.value is not None else replace(point, value=Decimal(0)) for point in _points(results))


def _points(results: QuerySet[LabResult]) -> Iterator[LabPoint]:
    rows = results.order_by("draw__participant_id", "draw__sampled_at", "analyte", "pk").values_list(
        "pk",
        "draw__participant_id",
        "analyte",
        "draw__sampled_at",
        "draw__sampled_on",
        "draw__has_time",
        "draw__laboratory",
        "draw__specimen",
        "value",
        "unit",
        "qualifier",
        "value_as_written",
        "unit_as_written",
        "lower_limit",
        "upper_limit",
        "lloq",
    )
    # Rows without a value were left out by whoever asks.
    return (LabPoint(*row) for row in rows.iterator(chunk_size=2000))  # type: ignore[arg-type]


def events_of_trial(
    trial: Trial, *, participants: Collection[int] | None = None, kinds: Collection[str] | None = None
) -> Iterator[EventPoint]:
    """Every clinical event that counts, by participant and date."""
    events = ClinicalEvent.objects.filter(participant__trial=trial, is_void=False)
    if participants is not None:
        events = events.filter(participant__in=participants)
    if kinds is not None:
        events = events.filter(kind__in=kinds)
    rows = events.order_by("participant_id", "occurred", "pk").values_list(
        "pk", "participant_id", "kind", "occurred", "grade", "detail", "note"
    )
    return (EventPoint(*row) for row in rows.iterator(chunk_size=2000))


def entries_of_trial(
    trial: Trial,
    *,
    form: str | None = None,
    forms: Collection[str] | None = None,
    participants: Collection[int] | None = None,
) -> Iterator[EntryRow]:
    """Every form entry (of one form, or of several), by participant, form, visit and repeat."""
    entries = FormEntry.objects.filter(participant__trial=trial)
    if form is not None:
        entries = entries.filter(form=form)
    if forms is not None:
        entries = entries.filter(form__in=forms)
    if participants is not None:
        entries = entries.filter(participant__in=participants)
    rows = entries.order_by("participant_id", "form", "visit_id", "repeat").values_list(
        "pk",
        "participant_id",
        "visit__code",
        "form",
        "repeat",
        "status",
        "observed_on",
        "answers",
        "changed_at",
    )
    for pk, participant, visit, *rest in rows.iterator(chunk_size=2000):
        yield EntryRow(pk, participant, visit or "", *rest)


def latest_result(participant: Participant, address: str, before: datetime | None = None) -> LabPoint | None:
    """The last result of an analyte that has a value, sampled before the moment ``before`` where one is given.

    A sample known by its day only counts as before when that whole day is.
    """
    results = LabResult.objects.filter(draw__participant=participant, analyte=address, value__isnull=False)
    if before is not None:
        results = results.filter(
            Q(draw__has_time=True, draw__sampled_at__lt=before)
            | Q(draw__has_time=False, draw__sampled_at__lte=before - timedelta(days=1))
        )
    points = list(_points(results.filter(pk__in=results.order_by("-draw__sampled_at", "-pk").values("pk")[:1])))
    return points[0] if points else None


# --- What is known of a participant -------------------------------------------------------------------------------


def item_values(participant: Participant) -> dict[str, Observed]:
    """Every item and analyte as rules see it: the latest answer of each, derived items applied, absent ones missing.

    The latest answer counts even where it says that there is no value: an earlier value never stands in for it.
    """
    return _known(participant, participant.protocol, _held(participant))


def values_in_bulk(
    trial: Trial, *, participants: Collection[int], addresses: Collection[str]
) -> Iterator[tuple[int, dict[str, Observed]]]:
    """``item_values`` of many participants for some addresses: one query a kind of record, never one a person.

    Only what ``addresses`` rest on is read, each by the version its participant is bound to.
    """
    people = Participant.objects.filter(trial=trial, pk__in=participants).select_related("site").order_by("pk")
    versions: dict[int, list[Participant]] = defaultdict(list)
    for participant in people:
        versions[participant.protocol_version_id].append(participant)
    known = ProtocolVersion.objects.select_related("trial").in_bulk(versions)
    for pk, own in versions.items():
        protocol = known[pk].protocol
        rests_on = frozenset[str]().union(*(reads(protocol, address) for address in addresses))
        held = _held_by(trial, protocol, [one.pk for one in own], rests_on)
        for participant in own:
            participant.protocol_version = known[pk]
            found = _known(participant, protocol, held.get(participant.pk, _Held()))
            yield participant.pk, {address: found.get(address, MISSING) for address in addresses}


def values_beside(participant: Participant, form: str, entry_id: int | None) -> dict[str, Observed]:
    """``item_values`` without one entry of ``form``: what the skip logic of that entry may lean on."""
    return _known(participant, participant.protocol, _held(participant), without=entry_id)


def item_series(participant: Participant, address: str) -> list[Observed]:
    """Every answer of one item of the forms, in the order of the days they were observed on; undated ones first."""
    protocol = participant.protocol
    form_id, _, name = address.partition(".")
    item = protocol.item(address)
    series = []
    for entry in _in_order(_entries(participant).filter(form=form_id)):
        stored = entry.answers.get(name)
        if stored is not None:
            series.append(
                observed(
                    item, FormAnswer.from_stored(stored), source=_source(entry, protocol), observed_on=entry.observed_on
                )
            )
    return series


@dataclass(frozen=True)
class _Held:
    """The records of one participant that values come from."""

    entries: Sequence[FormEntry] = ()
    results: Sequence[LabResult] = ()
    events: Sequence[EventPoint] = ()
    consents: Sequence[SignedConsent] = ()


def _held(participant: Participant) -> _Held:
    has_events = any(form.id == "CE" and form.repeating for form in participant.protocol.forms)
    return _Held(
        list(_entries(participant)),
        list(_results(LabResult.objects.filter(draw__participant=participant))),
        list(events_of_trial(participant.trial, participants=[participant.pk])) if has_events else (),
        signed_consents(participant),
    )


def _held_by(
    trial: Trial, protocol: Protocol, participants: Collection[int], addresses: Collection[str]
) -> dict[int, _Held]:
    """What participants of one protocol version hold of the forms, analytes, events and consents in ``addresses``."""
    forms = {address.partition(".")[0] for address in addresses}
    analytes = {f"{one.form}.{one.id}" for one in protocol.analytes}
    asked = {address.removesuffix("_LLN").removesuffix("_ULN") for address in addresses}
    entries: dict[int, list[FormEntry]] = defaultdict(list)
    for entry in FormEntry.objects.filter(participant__in=participants, form__in=forms).select_related("visit"):
        entries[entry.participant_id].append(entry)
    results: dict[int, list[LabResult]] = defaultdict(list)
    if wanted := analytes & asked:
        for result in _results(LabResult.objects.filter(draw__participant__in=participants, analyte__in=wanted)):
            results[result.draw.participant_id].append(result)
    events: dict[int, list[EventPoint]] = defaultdict(list)
    if "CE" in forms:
        for event in events_of_trial(trial, participants=participants):
            events[event.participant_id].append(event)
    consents = signed_consents_of(participants) if "IC" in forms else {}
    return {
        pk: _Held(entries.get(pk, ()), results.get(pk, ()), events.get(pk, ()), consents.get(pk, ()))
        for pk in participants
    }


def _known(
    participant: Participant, protocol: Protocol, held: _Held, *, without: int | None = None
) -> dict[str, Observed]:
    values: dict[str, Observed] = dict.fromkeys(protocol.addresses(), MISSING)
    values |= _given(participant, protocol, held.consents)
    rows: dict[str, list[dict[str, Observed]]] = {form.id: [] for form in protocol.forms if form.repeating}
    forms = {form.id: form for form in protocol.forms}
    for entry in _in_order(held.entries):
        form = forms.get(entry.form)
        if form is None or entry.pk == without:
            continue
        seen = _entry_values(entry, form, protocol)
        if form.repeating:
            rows[form.id].append(seen)
        else:
            # Entries come in the order of their days, so that the latest answer stays.
            values |= seen
    _add_results(participant, protocol, held.results, values, rows)
    _add_events(held.events, rows)
    known = with_derived(protocol, values, rows)
    if any(item.computed == "consent_valid" for form in protocol.forms for item in form.items):
        known |= _consent_validity(participant, protocol, held.consents, known)
        known = with_derived(protocol, known, rows)
    return known


def _entries(participant: Participant) -> QuerySet[FormEntry]:
    return FormEntry.objects.filter(participant=participant).select_related("visit")


def _in_order(entries: Iterable[FormEntry]) -> list[FormEntry]:
    def place(entry: FormEntry) -> tuple[date, int]:
        visit = entry.visit
        planned = (visit.done_on or visit.planned_date or visit.earliest_date) if visit else None
        return entry.observed_on or planned or date.min, entry.pk

    return sorted(entries, key=place)


def _source(entry: FormEntry, protocol: Protocol) -> str:
    label = next((form.label for form in protocol.forms if form.id == entry.form), entry.form)
    return f"{label}, {entry.visit.code}" if entry.visit else label


def _entry_values(entry: FormEntry, form: Form, protocol: Protocol) -> dict[str, Observed]:
    source = _source(entry, protocol)
    seen = {}
    for item in form.items:
        stored = entry.answers.get(item.id)
        if stored is not None and is_typed(form, item):
            answer = FormAnswer.from_stored(stored)
            seen[f"{form.id}.{item.id}"] = observed(item, answer, source=source, observed_on=entry.observed_on)
    return seen | calculate(form, seen, CALCULATIONS)


def _given(participant: Participant, protocol: Protocol, consents: Sequence[SignedConsent]) -> dict[str, Observed]:
    """What registration and consent hold."""
    first = next(iter(consents), None)
    birth = PartialDate.from_iso(participant.birth_date) if participant.birth_date else None
    facts: dict[str, object] = {
        "DM.BIRTH_DATE": (birth.exact or birth) if birth else None,
        "DM.SEX": participant.sex if participant.sex != "unknown" else None,
        "DM.SCREENED_ON": participant.screened_on,
        "IC.DATE": first.signed_on if first else None,
        "IC.VERSION": first.version if first else None,
        "IC.SIGNATORY": ", ".join(first.signatories) if first else None,
    }
    known = {}
    for address, fact in facts.items():
        try:
            item = protocol.item(address)
        except KeyError:
            continue
        if address == "DM.SEX" and item.type is ItemType.CODE and fact is not None:
            fact = sex_code(item, str(fact))
        seen_on = first.signed_on if first and address.startswith("IC.") else participant.screened_on
        known[address] = Observed(fact, GIVEN[address], seen_on if fact is not None else None)  # type: ignore[arg-type]
    return known


def _consent_validity(
    participant: Participant, protocol: Protocol, consents: Sequence[SignedConsent], values: Mapping[str, Observed]
) -> dict[str, Observed]:
    verdict = consent_verdict(protocol.consent, consents, site=participant.site.code, values=values)
    word = {Truth.YES: YES, Truth.NO: NO, Truth.UNKNOWN: None}[verdict.answer]
    return {
        f"{form.id}.{item.id}": Observed(word, verdict.sentence)
        for form in protocol.forms
        for item in form.items
        if item.computed == "consent_valid"
    }


def _results(results: QuerySet[LabResult]) -> QuerySet[LabResult]:
    return results.select_related("draw").order_by("draw__sampled_at", "draw_id", "pk")


def _add_results(
    participant: Participant,
    protocol: Protocol,
    results: Iterable[LabResult],
    values: dict[str, Observed],
    rows: dict[str, list[dict[str, Observed]]],
) -> None:
    """The latest result of each analyte with its limits; a row for each draw where a repeating form holds analytes."""
    zone = ZoneInfo(participant.site.time_zone)
    draws: dict[tuple[str, int], dict[str, Observed]] = {}
    for result in results:
        draw, form_id = result.draw, result.analyte.partition(".")[0]
        moment = draw.sampled_at.astimezone(zone).replace(tzinfo=None) if draw.has_time else draw.sampled_on
        source = f"laboratory, {PartialDate.from_date(draw.sampled_on).display()}"
        seen = Observed(result.value, source, moment, result.qualifier, result.unit)
        facts = {result.analyte: seen}
        for suffix, limit in (("LLN", result.lower_limit), ("ULN", result.upper_limit)):
            facts[f"{result.analyte}_{suffix}"] = Observed(limit, source, moment, unit=result.unit)
        values |= facts
        draws.setdefault((form_id, draw.pk), {}).update(facts)
        for form in protocol.forms:
            if form.id == form_id:
                for item in form.items:
                    if item.type in (ItemType.DATE, ItemType.DATETIME, ItemType.PARTIAL_DATE):
                        draws[form_id, draw.pk][f"{form_id}.{item.id}"] = Observed(moment, source, moment)
    for (form_id, _), facts in draws.items():
        if form_id in rows:
            rows[form_id].append(facts)


def _add_events(events: Iterable[EventPoint], rows: dict[str, list[dict[str, Observed]]]) -> None:
    """Clinical events as rows of the form CE, as far as a definition's rules ask of them."""
    if "CE" not in rows:
        return
    for event in events:
        occurred = PartialDate.from_iso(event.occurred)
        rows["CE"].append(
            {
                "CE.KIND": Observed(event.kind, "clinical event", occurred.exact),
                "CE.DATE": Observed(occurred.exact or occurred, "clinical event", occurred.exact),
            }
        )


def moment_for(participant: Participant, visit: Visit | None = None) -> Moment:
    """What a date typed for the participant may lean on; today is that of the site."""
    today = timezone.now().astimezone(ZoneInfo(participant.site.time_zone)).date()
    return Moment(
        today=today,
        visit_date=(visit.done_on or visit.planned_date) if visit else None,
        anchor_date=participant.anchor_date,
        first_day=participant.protocol.anchor.first_day,
    )


# --- What pages read ----------------------------------------------------------------------------------------------


def entry_for(membership: Membership, pk: int) -> FormEntry:
    """The entry, as far as the membership sees it; FormEntry.DoesNotExist otherwise."""
    return FormEntry.objects.visible_to(membership).select_related("participant__site", "visit").get(pk=pk)


def entries_of(participant: Participant) -> QuerySet[FormEntry]:
    """The entries of one participant, by form, visit and repeat."""
    return _entries(participant).order_by("form", "visit_id", "repeat")


def entry_at(participant: Participant, form: str, visit: Visit | None, repeat: int) -> FormEntry | None:
    return (
        FormEntry.objects.filter(participant=participant, form=form, visit=visit, repeat=repeat)
        .select_related("visit")
        .first()
    )


def repeats_of(participant: Participant, form: str, visit: Visit | None) -> list[FormEntry]:
    return list(FormEntry.objects.filter(participant=participant, form=form, visit=visit).order_by("repeat"))


def draws_of(participant: Participant) -> QuerySet[LabDraw]:
    """The draws with their results, the latest first."""
    return (
        LabDraw.objects.filter(participant=participant)
        .select_related("visit")
        .prefetch_related("results")
        .order_by("-sampled_at", "-pk")
    )


def draw_for(membership: Membership, pk: int) -> LabDraw:
    return LabDraw.objects.visible_to(membership).select_related("participant__site", "visit").get(pk=pk)


def result_for(membership: Membership, pk: int) -> LabResult:
    """The result, as far as the membership sees its participant; LabResult.DoesNotExist otherwise."""
    visible = LabDraw.objects.visible_to(membership)
    return LabResult.objects.filter(draw__in=visible).select_related("draw__participant__site").get(pk=pk)


def clinical_events_of(participant: Participant) -> QuerySet[ClinicalEvent]:
    """All of them, void ones too, by date."""
    return ClinicalEvent.objects.filter(participant=participant).order_by("occurred", "pk")


def clinical_event_for(membership: Membership, pk: int) -> ClinicalEvent:
    return ClinicalEvent.objects.visible_to(membership).select_related("participant").get(pk=pk)


def lab_imports(membership: Membership) -> QuerySet[LabImport]:
    return LabImport.objects.visible_to(membership).select_related("uploaded_by__user").order_by("-pk")


def lab_import_for(membership: Membership, pk: int) -> LabImport:
    return LabImport.objects.visible_to(membership).select_related("uploaded_by__user", "trial").get(pk=pk)


def has_died(participant: Participant) -> bool:
    return ClinicalEvent.objects.filter(participant=participant, kind=EventKind.DEATH, is_void=False).exists()


@dataclass(frozen=True)
class Place:
    """One cell of the casebook: a form at a visit, or a form kept for the participant."""

    form: Form
    visit: Visit | None
    status: PlaceStatus
    entries: int


@dataclass(frozen=True)
class CasebookRow:
    """One visit with the cells of its forms; a cell is None where the form is not asked at that visit."""

    visit: Visit
    day: int | None
    is_out_of_window: bool
    cells: tuple[Place | None, ...]


@dataclass(frozen=True)
class CasebookGrid:
    """Visits by forms, the forms kept for the participant, and the repeating logs."""

    forms: tuple[Form, ...]
    rows: tuple[CasebookRow, ...]
    kept_once: tuple[Place, ...]
    logs: tuple[Place, ...]


def casebook_grid(participant: Participant, today: date) -> CasebookGrid:
    """Which forms are asked where, and how far each has come."""
    protocol = participant.protocol
    forms_at = forms_by_visit(participant)
    asked = [
        form
        for form in entry_forms(protocol)
        if not form.groups or not participant.group or participant.group in form.groups
    ]
    entries: dict[tuple[str, int | None], list[FormEntry]] = defaultdict(list)
    for entry in FormEntry.objects.filter(participant=participant).only("form", "visit_id", "status"):
        entries[entry.form, entry.visit_id].append(entry)
    visits = list(participant.visits.all())
    # An anchor that is not known yet leaves the protocol's order, in which the rows were made.
    visits.sort(key=lambda visit: (visit.done_on or visit.planned_date or visit.earliest_date or date.max, visit.pk))
    at_visits = [
        form
        for form in asked
        if not form.per_participant
        and (any(form.id in codes for codes in forms_at.values()) or any((form.id, v.pk) in entries for v in visits))
    ]

    def place(form: Form, visit: Visit | None) -> Place:
        found = entries[form.id, visit.pk if visit else None]
        worst = EntryStatus.IN_PROGRESS if any(e.status == EntryStatus.IN_PROGRESS for e in found) else None
        status = worst or (EntryStatus.COMPLETE if found else None)
        due = visit is None or visit.earliest_date is None or visit.earliest_date <= today
        overdue = bool(visit and visit.latest_date and visit.latest_date < today)
        if form.repeating and not found:
            return Place(form, visit, PlaceStatus.NOT_APPLICABLE, 0)
        missed = visit is not None and visit.status == Visit.Status.MISSED
        # Without an anchor nothing is due yet, except what is kept once: screening fills it in.
        due = due and (visit is None or visit.planned_date is not None or visit.earliest_date is not None)
        shown = place_status(status, is_due=due, is_overdue=overdue, is_missed=missed)
        return Place(form, visit, shown, len(found))

    rows = []
    for visit in visits:
        wanted = forms_at.get(visit.code, frozenset())
        cells = tuple(
            place(form, visit) if form.id in wanted or (form.id, visit.pk) in entries else None for form in at_visits
        )
        if any(cells):
            day = visit.day
            if visit.done_on is not None and participant.anchor_date is not None:
                day = study_day(visit.done_on, participant.anchor_date, protocol.anchor.first_day)
            outside = bool(
                visit.done_on
                and visit.earliest_date
                and visit.latest_date
                and not visit.earliest_date <= visit.done_on <= visit.latest_date
            )
            rows.append(CasebookRow(visit, day, outside, cells))
    once = [form for form in asked if form.per_participant]
    logs = [form for form in asked if form.repeating and form not in at_visits and not form.per_participant]
    return CasebookGrid(
        tuple(at_visits),
        tuple(rows),
        tuple(place(form, None) for form in once),
        tuple(place(form, None) for form in logs),
    )


def forms_by_visit(participant: Participant) -> dict[str, frozenset[str]]:
    """Visit code → ids of the forms the protocol asks there."""
    # The forms do not depend on the date; any date spares the question for the participant's own.
    planned = planned_visits_of(participant, participant.screened_on)
    return {visit.code: frozenset(visit.forms) for visit in planned}


#: Whose casebook is no work of today: what is missing there is looked at when the data are cleaned.
NOT_FOLLOWED = ("screen_failed", "completed", "withdrawn", "died", "lost", "external")


@dataclass(frozen=True)
class OpenWork:
    """What is to be done in the casebooks a membership reaches."""

    in_progress: tuple[FormEntry, ...]
    due: tuple[tuple[Visit, str], ...]
    unwritten_imports: tuple[LabImport, ...]


def open_work(membership: Membership, today: date, *, limit: int = 200) -> OpenWork:
    """Forms in progress, forms due at visits whose window is open, and imports that were checked and not written.

    Nothing for a role that enters no values.
    """
    if not membership.may(Permission.RECORD_OBSERVATION):
        return OpenWork((), (), ())
    entries = (
        FormEntry.objects.visible_to(membership)
        .filter(status=EntryStatus.IN_PROGRESS)
        .exclude(participant__status__in=NOT_FOLLOWED)
        .select_related("participant", "visit")
        .order_by("changed_at")[:limit]
    )
    due: list[tuple[Visit, str]] = []
    participants = Participant.objects.visible_to(membership)
    visits = (
        Visit.objects.filter(
            participant__in=participants,
            status__in=(Visit.Status.PLANNED, Visit.Status.DONE),
            earliest_date__lte=today,
            latest_date__gte=today,
        )
        .exclude(participant__status__in=NOT_FOLLOWED)
        .select_related("participant__protocol_version__trial", "participant__site")
        .order_by("latest_date", "participant_id")
    )
    begun = set(FormEntry.objects.filter(visit__in=visits).values_list("visit_id", "form"))
    forms_of: dict[tuple[int, str], dict[str, frozenset[str]]] = {}
    for visit in visits:
        kind = (visit.participant.protocol_version_id, visit.participant.group)
        if kind not in forms_of:
            forms_of[kind] = forms_by_visit(visit.participant)
        codes = forms_of[kind]
        due += [
            (visit, form.id)
            for form in entry_forms(visit.participant.protocol)
            if form.id in codes.get(visit.code, ())
            and not (form.repeating or form.per_participant)
            and (visit.pk, form.id) not in begun
        ]
    imports = LabImport.objects.visible_to(membership).filter(state=LabImport.State.CHECKED).order_by("pk")[:limit]
    return OpenWork(tuple(entries), tuple(due[:limit]), tuple(imports))


@dataclass(frozen=True)
class CriterionRow:
    """One criterion on the page: what the latest assessment says of it, and what a person may answer."""

    id: str
    kind: str
    text: str
    result: str
    sentence: str
    value: str
    source: str
    stands_in_the_way: bool
    can_answer: bool
    can_waive: bool
    answer: str
    comment: str
    answered_by: str


def human_answers(participant: Participant) -> dict[str, CriterionAnswer]:
    """The latest human answer of each criterion."""
    rows = CriterionAnswer.objects.filter(participant=participant).select_related("answered_by__user").order_by("pk")
    return {row.criterion: row for row in rows}


def criterion_rows(participant: Participant, membership: Membership) -> list[CriterionRow]:
    """Every criterion, in the order of the protocol, with the latest assessment's word on it."""
    assessment = latest_assessment(participant)
    judged = {row["id"]: row for row in assessment.criteria} if assessment else {}
    answers = human_answers(participant)
    eligibility = participant.protocol.eligibility
    specs = {one.id: ("include", one) for one in eligibility.include}
    specs |= {one.id: ("exclude", one) for one in eligibility.exclude}
    screening = participant.status in (ParticipantState.SCREENING, ParticipantState.ELIGIBLE)
    rows = []
    for name in (*(key for key in judged if key not in specs), *specs):
        kind, spec = specs.get(name, (judged.get(name, {}).get("kind", "include"), None))
        said, human = judged.get(name, {}), answers.get(name)
        by_hand = spec is not None and spec.check is not CheckBy.AUTO
        in_the_way = bool(said.get("stands_in_the_way"))
        rows.append(
            CriterionRow(
                id=name,
                kind=kind,
                text=spec.text if spec else said.get("text", ""),
                result=said.get("result", ""),
                sentence=said.get("sentence", ""),
                value=said.get("value") or "",
                source=said.get("source", ""),
                stands_in_the_way=in_the_way,
                can_answer=screening
                and by_hand
                and may(membership, Permission.ANSWER_HUMAN_CRITERION, participant)
                and spec is not None
                and membership.role in spec.answered_by
                and said.get("result") != "not_applicable",
                can_waive=screening
                and in_the_way
                and spec is not None
                and membership.role in spec.waivable_by
                and may(membership, Permission.WAIVE_CRITERION, participant),
                answer=human.answer if human else "",
                comment=human.comment if human else "",
                answered_by=str(human.answered_by.user) if human else "",
            )
        )
    return rows


@dataclass(frozen=True)
class HistoryRow:
    """One change of one answer, from the audit trail."""

    at: datetime
    user: str
    role: str
    source: str
    reason: str
    field: str
    label: str
    old: str
    new: str


def entry_history(entry: FormEntry, item: str = "") -> list[HistoryRow]:
    """Who changed which answer when and why, the latest first; of one item where it is named."""
    changes = FieldChange.objects.filter(table_name="casebook_formentry", row_id=str(entry.pk)).order_by("-trail_id")
    wanted = f"answers.{item}" if item else ""
    form = next((one for one in entry.participant.protocol.forms if one.id == entry.form), None)
    named = {f"answers.{one.id}": one.label for one in form.items} if form else {}
    named["status"] = "Form"
    return [
        _history(change, named.get(change.field, change.field))
        for change in changes
        if (change.field == wanted if wanted else change.field in named)
    ]


def result_history(result: LabResult) -> list[HistoryRow]:
    """What the result was before, the latest change first."""
    named = {
        "value_as_written": "Value",
        "unit_as_written": "Unit",
        "missing_reason": "No value",
        "lower_limit": "Lower limit",
        "upper_limit": "Upper limit",
        "lloq_as_written": "Limit of quantification",
    }
    changes = FieldChange.objects.filter(table_name="casebook_labresult", row_id=str(result.pk)).order_by("-trail_id")
    rows = [_history(change, named[change.field]) for change in changes if change.field in named]
    return [row for row in rows if row.old or row.new]


def event_history(event: ClinicalEvent) -> list[HistoryRow]:
    named = {"occurred": "Date", "grade": "Grade", "detail": "Details", "note": "Note", "is_void": "Void"}
    changes = FieldChange.objects.filter(table_name="casebook_clinicalevent", row_id=str(event.pk)).order_by(
        "-trail_id"
    )
    return [_history(change, named[change.field]) for change in changes if change.field in named]


def _history(change: FieldChange, label: str) -> HistoryRow:
    return HistoryRow(
        change.at,
        change.user_name,
        change.role,
        change.source,
        change.reason,
        change.field,
        label,
        _said(change.old_value),
        _said(change.new_value),
    )


def _said(stored: object) -> str:
    """A stored answer in words."""
    if stored is None:
        return ""
    if isinstance(stored, dict):
        if "value" in stored:
            answer = FormAnswer.from_stored(stored)
            return f"{answer.as_typed} {answer.unit}".strip()
        return ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in stored.items())
    return str(stored).replace("_", " ")


@dataclass(frozen=True)
class EventRow:
    """A clinical event as the list shows it."""

    event: ClinicalEvent
    label: str
    occurred: str
    study_day: int | None
    detail: str


def event_rows(participant: Participant) -> list[EventRow]:
    """The participant's events by date, with study days where the day is known."""
    anchor, first_day = participant.anchor_date, participant.protocol.anchor.first_day
    rows = []
    for event in clinical_events_of(participant):
        kind, occurred = EventKind(event.kind), PartialDate.from_iso(event.occurred)
        items = {item.id: item for item in details_of(kind)}
        said = []
        for name, value in event.detail.items():
            item = items.get(name)
            words = next((code.label for code in item.codes if code.value == value), value) if item else value
            if item and item.type is ItemType.YES_NO_UNKNOWN:
                words = YES_NO_WORDS.get(value, value)
            said.append(f"{item.label if item else name}: {words}")
        day = study_day(occurred.exact, anchor, first_day) if occurred.exact and anchor else None
        rows.append(EventRow(event, kind.label, occurred.display(), day, "; ".join(said)))
    return rows


def questions_on(draw: LabDraw) -> list[str]:
    """What is unusual about the results of a draw; they are kept."""
    protocol = draw.participant.protocol
    sentences: list[str] = []
    for result in draw.results.filter(value__isnull=False):
        assert result.value is not None
        analyte = protocol.analyte(result.analyte)
        sentences += unusual(analyte, result.value, result.qualifier, result.lloq)
    return sentences


def lab_template(trial: Trial) -> str:
    """A laboratory file to fill in, with the protocol's first analyte of an assay (or its first one) as example."""
    analytes = trial.protocol.analytes
    shown = next((one for one in analytes if one.form == "PC" and one.per_assay), analytes[0] if analytes else None)
    return lab_files.template(f"{shown.form}.{shown.id}" if shown else "", shown.canonical_unit if shown else "")


def laboratories(membership: Membership) -> list[str]:
    """The laboratories named so far, as far as the membership sees."""
    names = LabDraw.objects.visible_to(membership).exclude(laboratory="").values_list("laboratory", flat=True)
    return sorted(set(names.distinct()))


@dataclass(frozen=True)
class CasebookSummary:
    """The casebook in short."""

    counts: tuple[tuple[PlaceStatus, int], ...]
    kept_once: tuple[Place, ...]
    draws: tuple[LabDraw, ...]
    draw_count: int
    events: tuple[EventRow, ...]
    outcome: str


def casebook_summary(participant: Participant, today: date) -> CasebookSummary:
    grid = casebook_grid(participant, today)
    places = [cell for row in grid.rows for cell in row.cells if cell is not None] + list(grid.kept_once)
    counted = [(status, sum(place.status is status for place in places)) for status in PlaceStatus]
    assessment = latest_assessment(participant)
    return CasebookSummary(
        tuple((status, count) for status, count in counted if count and status is not PlaceStatus.NOT_APPLICABLE),
        grid.kept_once,
        tuple(draws_of(participant)[:3]),
        LabDraw.objects.filter(participant=participant).count(),
        tuple(row for row in event_rows(participant) if not row.event.is_void)[-5:],
        assessment.get_outcome_display() if assessment else "",
    )


# --- Everything that was recorded, for exports --------------------------------------------------------------------


@dataclass(frozen=True)
class RecordedResult:
    """One result as it stands, with a value or the reason why there is none."""

    result_id: int
    participant_id: int
    visit_code: str
    sampled_at: datetime
    sampled_on: date
    has_time: bool
    laboratory: str
    specimen: str
    address: str
    as_written: str
    qualifier: str
    unit_as_written: str
    value: Decimal | None
    unit: str
    lower_limit: Decimal | None
    upper_limit: Decimal | None
    lloq: Decimal | None
    lloq_as_written: str
    missing_reason: str
    revision: int
    recorded_at: datetime
    changed_at: datetime


@dataclass(frozen=True)
class RecordedEvent:
    """One clinical event as it stands, void ones too."""

    event_id: int
    participant_id: int
    kind: str
    occurred: str
    grade: str
    detail: Mapping[str, str]
    note: str
    is_void: bool
    revision: int
    recorded_at: datetime
    changed_at: datetime


@dataclass(frozen=True)
class RecordedEntry:
    """One form entry as it stands."""

    entry_id: int
    participant_id: int
    visit_code: str
    repeat: int
    status: str
    observed_on: date | None
    answers: Mapping[str, Mapping[str, str]]
    revision: int
    completed_at: datetime | None
    created_at: datetime
    changed_at: datetime


def recorded_results(participants: QuerySet[Participant]) -> tuple[int, Iterator[RecordedResult]]:
    """How many results ``participants`` have, and each of them by participant, time of sampling and analyte."""
    results = LabResult.objects.filter(draw__participant__in=participants)
    rows = results.order_by("draw__participant_id", "draw__sampled_at", "draw_id", "analyte").values_list(
        "pk",
        "draw__participant_id",
        Coalesce("draw__visit__code", Value("")),
        "draw__sampled_at",
        "draw__sampled_on",
        "draw__has_time",
        "draw__laboratory",
        "draw__specimen",
        "analyte",
        "value_as_written",
        "qualifier",
        "unit_as_written",
        "value",
        "unit",
        "lower_limit",
        "upper_limit",
        "lloq",
        "lloq_as_written",
        "missing_reason",
        "revision",
        "recorded_at",
        "changed_at",
    )
    return results.count(), (RecordedResult(*row) for row in rows.iterator(chunk_size=2000))


def recorded_events(participants: QuerySet[Participant]) -> Iterator[RecordedEvent]:
    """The clinical events of ``participants``, by participant and date."""
    rows = (
        ClinicalEvent.objects.filter(participant__in=participants)
        .order_by("participant_id", "occurred", "pk")
        .values_list(
            "pk",
            "participant_id",
            "kind",
            "occurred",
            "grade",
            "detail",
            "note",
            "is_void",
            "revision",
            "recorded_at",
            "changed_at",
        )
    )
    return (RecordedEvent(*row) for row in rows.iterator(chunk_size=2000))


def recorded_entries(participants: QuerySet[Participant], form: str) -> Iterator[RecordedEntry]:
    """The entries of one form of ``participants``, by participant, visit and repeat."""
    rows = (
        FormEntry.objects.filter(participant__in=participants, form=form)
        .order_by("participant_id", "visit_id", "repeat")
        .values_list(
            "pk",
            "participant_id",
            Coalesce("visit__code", Value("")),
            "repeat",
            "status",
            "observed_on",
            "answers",
            "revision",
            "completed_at",
            "created_at",
            "changed_at",
        )
    )
    return (RecordedEntry(*row) for row in rows.iterator(chunk_size=2000))
