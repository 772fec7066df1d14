"""What can be exported: each data set as tables of typed columns, streamed row by row from the database.

Every table begins with the keys ``study``, ``site`` and ``subject`` and has a fixed order of columns and rows. What a
membership reaches (its site) is asked in the query; what it may not see (groups, what identifies a person) is a mark on
the column, which ``codebook.within`` takes out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import F, Func, OuterRef, Q, QuerySet, Subquery, TextField, Value

from accounts.roles import Permission
from adverse_events.domain.reporting import OUTCOME_WORDS, RELATIONS, SERIOUS_CRITERIA
from adverse_events.models import AdverseEvent
from analysis import datasets as analysis
from analysis.domain.analysis_sets import items_read, lineage
from analysis.domain.consecutive_threshold import Status
from analysis.domain.dataset import Dataset as AnalysisDataset
from analysis.domain.dataset import Subject as AnalysisSubject
from analysis.domain.endpoint_answers import ANSWERS
from analysis.models import Adjudication, Gate
from audit.models import FieldChange, TrailRow
from casebook import selectors as casebook
from casebook.domain.answers import YES_NO_WORDS, FormAnswer, observed
from casebook.domain.clinical_events import DETAILS, GRADES, EventKind
from casebook.domain.places import GIVEN, entry_forms, typed_items
from dosing import selectors as dosing
from dosing.domain.administered import END_CAUSE_WORDS, EndCause
from dosing.domain.monitoring import Level, classify
from dosing.models import Administration, CourseEnd, DoseWorksheet
from exchange.domain import nonmem as nm
from exchange.domain.codebook import (
    MISSING_CODES,
    NOT_IN_VERSION,
    Cell,
    CodeList,
    Column,
    ColumnType,
    Row,
    Table,
)
from trials.domain.conditions import Observed, items_of
from trials.domain.definition import Analyte, EndpointSpec, Form, Item, ItemType, Protocol
from trials.domain.partial_dates import PartialDate, completed_years
from trials.domain.schedule import study_day
from trials.models import (
    Anchor,
    Consent,
    Deviation,
    EligibilityAssessment,
    Participant,
    ProtocolVersion,
    Trial,
    Visit,
)
from trials.selectors import TABLES_THAT_TELL_THE_GROUP

CHUNK = 2000

DATE, DATETIME = ColumnType.DATE, ColumnType.DATETIME
INTEGER, NUMBER, YES_NO = ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.YES_NO

KEYS = (
    Column("study", "Code of the trial"),
    Column("site", "Code of the site"),
    Column("subject", "Number of the participant; before enrolment the screening number"),
)
MISSING = CodeList("missing", tuple(MISSING_CODES.items()))
YES_NO_UNKNOWN = CodeList("yes_no_unknown", tuple(YES_NO_WORDS.items()))


# --- Whom it is about ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """What every table needs to know of a participant."""

    keys: tuple[str, str, str]
    anchor: date | None
    first_day: int
    version_id: int
    zone: ZoneInfo

    def day(self, on: date | None) -> int | None:
        """The study day of a date; None where one of the two is not known."""
        if on is None or self.anchor is None:
            return None
        return study_day(on, self.anchor, self.first_day)

    def day_of_text(self, iso: str) -> int | None:
        """The study day of a date that may be known in part; None unless the day is known."""
        return self.day(PartialDate.from_iso(iso).exact) if iso else None


@dataclass(frozen=True)
class Extent:
    """How far an export reaches: a trial or one site of it, up to one row of its trail; and what its reader may see."""

    trial: Trial
    site_id: int | None
    last_change: int
    groups: bool
    identifying: bool
    #: When the last change in the data was written; None where there are no data, or nobody asks.
    as_of: datetime | None = None

    @property
    def participants(self) -> QuerySet[Participant]:
        own = Participant.objects.filter(trial=self.trial)
        return own if self.site_id is None else own.filter(site_id=self.site_id)

    @cached_property
    def subjects(self) -> Mapping[int, Subject]:
        """Every participant by id: read once, a few hundred bytes each."""
        day_0 = Anchor.objects.filter(participant=OuterRef("pk")).order_by("-revision").values("day")[:1]
        rows = self.participants.annotate(day_0=Subquery(day_0)).values_list(
            "pk", "number", "screening_number", "protocol_version_id", "site__code", "site__time_zone", "day_0"
        )
        return {
            pk: Subject(
                (self.trial.code, site, number or screening_number),
                anchor,
                self.protocols[version].anchor.first_day,
                version,
                ZoneInfo(zone),
            )
            for pk, number, screening_number, version, site, zone, anchor in rows.order_by("pk")
        }

    @cached_property
    def protocols(self) -> Mapping[int, Protocol]:
        """The definitions that participants are bound to, and the active one, the oldest first."""
        versions = ProtocolVersion.objects.filter(trial=self.trial).order_by("pk")
        used = versions.filter(Q(status="ACTIVE") | Q(participants__in=self.participants)).distinct()
        return {version.pk: version.protocol for version in used}

    @cached_property
    def version_names(self) -> Mapping[int, str]:
        return dict(ProtocolVersion.objects.filter(trial=self.trial).values_list("pk", "version"))

    @cached_property
    def analysis(self) -> AnalysisDataset:
        """What analyses compute from, on the data until the day of the last change: with no day of its own, an export
        of the same data is the same file tomorrow.

        Of everybody, because a set may hold the first so many of the trial; what leaves is for the table to narrow.
        The day is the latest one at any site of the extent: what was written this morning in Shanghai counts.
        """
        zones = {subject.zone for subject in self.subjects.values()}
        days = [self.as_of.astimezone(zone).date() for zone in zones] if self.as_of else []
        return analysis.dataset(self.trial, as_of=max(days, default=None))


@dataclass(frozen=True)
class Dataset:
    """One thing that can be asked for: a table, or (the forms) several."""

    id: str
    label: str
    description: str
    tables: Callable[[Extent], list[Table]]
    needs: Permission = Permission.VIEW_PARTICIPANT
    tells_group: bool = False


Fetch = Callable[[], tuple[int | None, Iterator[Row]]]


def _streamed(rows: QuerySet[Any, Any], make: Callable[..., Row]) -> Fetch:
    """Rows of a query in its order, each made into a row of the table, fetched by a cursor of the server."""

    def fetch() -> tuple[int | None, Iterator[Row]]:
        return rows.count(), (make(*row) for row in rows.iterator(chunk_size=CHUNK))

    return fetch


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


# --- Participants -------------------------------------------------------------------------------------------------


def participants(extent: Extent) -> list[Table]:
    anchors = Anchor.objects.filter(participant=OuterRef("pk")).order_by("-revision")
    labels = {group.id: group.label for protocol in extent.protocols.values() for group in protocol.groups}
    event = extent.trial.protocol.anchor.label or extent.trial.protocol.anchor.event
    rows = (
        extent.participants.annotate(is_actual=Subquery(anchors.values("is_actual")[:1]))
        .order_by("pk")
        .values_list(
            "pk",
            "screening_number",
            "status",
            "group",
            "is_external",
            "sex",
            "birth_date",
            "screened_on",
            "enrolment__enrolled_on",
            "enrolment__source",
            "is_actual",
            "failure_reason",
            "replacement__reason",
            "created_at",
        )
    )

    def make(
        pk: int,
        screening_number: str,
        status: str,
        group: str,
        is_external: bool,
        sex: str,
        birth_date: str,
        screened_on: date,
        enrolled_on: date | None,
        source: str | None,
        is_actual: bool | None,
        failure_reason: str,
        replacement: str | None,
        created_at: datetime,
    ) -> Row:
        subject = extent.subjects[pk]
        return (
            *subject.keys,
            screening_number,
            extent.version_names[subject.version_id],
            status,
            group,
            labels.get(group, ""),
            is_external,
            sex,
            birth_date,
            _age(birth_date, screened_on),
            screened_on,
            subject.day(screened_on),
            enrolled_on,
            subject.day(enrolled_on),
            source,
            subject.anchor,
            is_actual,
            failure_reason,
            replacement,
            created_at,
        )

    columns = (
        *KEYS,
        Column("screening_number", "Number given at screening"),
        Column("protocol_version", "Protocol version that the participant is bound to"),
        Column("status", "State in the trial"),
        Column("group", "Group", codes=_groups(extent), tells_group=True),
        Column("group_label", "Group in words", tells_group=True),
        Column("is_external", "External control, never in the trial's flow", YES_NO),
        Column("sex", "Sex", source="DM.SEX"),
        Column("birth_date", "Date of birth", ColumnType.PARTIAL_DATE, source=_given("birth date"), identifying=True),
        Column("age_at_screening", "Age at screening in completed years", INTEGER, unit="years"),
        Column("screened_on", "Date of screening", DATE),
        Column("screened_day", "Study day of screening", INTEGER),
        Column("enrolled_on", "Date of enrolment", DATE),
        Column("enrolled_day", "Study day of enrolment", INTEGER),
        Column("enrolment_source", "Enrolled here (user) or imported"),
        Column("anchor_date", f"Date that study days count from: {event}", DATE),
        Column("anchor_is_actual", "Whether that date is the actual one; else it is planned", YES_NO),
        Column("screen_failure_reason", "Why screening failed"),
        Column("replacement_reason", "Why the participant's place was opened again"),
        Column("recorded_at", "When the participant was registered", DATETIME),
    )
    return [Table("participants", "Participants, one row each", columns, _streamed(rows, make))]


def _given(fact: str) -> str:
    return next(address for address, words in GIVEN.items() if words == fact)


def _age(birth_date: str, on: date) -> int | None:
    """Completed years; None where the date of birth is not known to the day and the missing part decides."""
    if not birth_date:
        return None
    birth = PartialDate.from_iso(birth_date)
    youngest, oldest = completed_years(birth.latest, on), completed_years(birth.earliest, on)
    return youngest if youngest == oldest else None


def consents(extent: Extent) -> list[Table]:
    rows = (
        Consent.objects.filter(participant__in=extent.participants)
        .order_by("participant_id", "signed_on", "pk")
        .values_list("participant_id", "version", "signed_on", "signatory", "withdrawn_on", "withdrawal_reason")
    )

    def make(
        pk: int, version: str, signed_on: date, signatory: str, withdrawn_on: date | None, withdrawal_reason: str
    ) -> Row:
        subject = extent.subjects[pk]
        return (
            *subject.keys,
            version,
            signed_on,
            subject.day(signed_on),
            signatory,
            withdrawn_on,
            subject.day(withdrawn_on),
            withdrawal_reason,
        )

    columns = (
        *KEYS,
        Column("consent_version", "Version of the consent document", source="IC.VERSION"),
        Column("signed_on", "Date of signature", DATE, source="IC.DATE"),
        Column("signed_day", "Study day of signature", INTEGER),
        Column("signatory", "Who signed", source="IC.SIGNATORY"),
        Column("withdrawn_on", "Date of withdrawal", DATE),
        Column("withdrawn_day", "Study day of withdrawal", INTEGER),
        Column("withdrawal_reason", "Why it was withdrawn"),
    )
    return [Table("consents", "Consents, one row a signed document", columns, _streamed(rows, make))]


def eligibility(extent: Extent) -> list[Table]:
    latest = EligibilityAssessment.objects.filter(participant=OuterRef("participant")).order_by("-pk").values("pk")[:1]
    assessments = (
        EligibilityAssessment.objects.filter(participant__in=extent.participants, pk=Subquery(latest))
        .order_by("participant_id")
        .values_list("participant_id", "protocol_version_id", "outcome", "criteria", "assessed_at")
    )

    told = ("id", "kind", "text", "result", "stands_in_the_way", "value", "unit", "observed_on", "source", "sentence")

    def fetch() -> tuple[int | None, Iterator[Row]]:
        return None, (
            (
                *extent.subjects[pk].keys,
                extent.version_names[version],
                assessed_at,
                outcome,
                *(verdict.get(name) for name in told),
            )
            for pk, version, outcome, verdicts, assessed_at in assessments.iterator(chunk_size=CHUNK)
            for verdict in verdicts
        )

    identify = _criteria_identify(extent)
    columns = (
        *KEYS,
        Column("protocol_version", "Protocol version whose criteria were asked"),
        Column("assessed_at", "When the assessment was made", DATETIME),
        Column("outcome", "Outcome of the whole assessment"),
        Column("criterion", "Id of the criterion"),
        Column("kind", "To be met to take part (include) or not to be met (exclude)"),
        Column("text", "Criterion as worded"),
        Column("result", "What the facts say of the criterion"),
        Column("stands_in_the_way", "Whether it keeps the participant out", YES_NO),
        Column("value", "Value that decided it, in words", identifying=identify),
        Column("unit", "Unit of the value"),
        Column("observed_on", "Date of the value"),
        Column("source", "Where the value comes from"),
        Column("explanation", "The decision in a sentence", identifying=identify),
    )
    return [Table("eligibility", "Criteria of the latest assessment, one row each", columns, fetch)]


def _criteria_identify(extent: Extent) -> bool:
    """Whether a criterion asks an item that identifies a person, so that its value and sentence may do so too."""
    for protocol in extent.protocols.values():
        identifying = {f"{form.id}.{item.id}" for form in protocol.forms for item in form.items if item.identifying}
        for criterion in (*protocol.eligibility.include, *protocol.eligibility.exclude):
            conditions = [one for one in (criterion.when, criterion.applies_when) if one is not None]
            if any(identifying & set(items_of(condition)) for condition in conditions):
                return True
    return False


def visits(extent: Extent) -> list[Table]:
    common = _visits_of_every_group(extent)
    rows = (
        Visit.objects.filter(participant__in=extent.participants)
        .order_by("participant_id", "pk")
        .values_list(
            "participant_id",
            "code",
            "label",
            "day",
            "planned_date",
            "earliest_date",
            "latest_date",
            "status",
            "done_on",
            "missed_reason",
        )
    )

    def make(
        pk: int,
        code: str,
        label: str,
        day: int | None,
        planned: date | None,
        earliest: date | None,
        latest: date | None,
        status: str,
        done_on: date | None,
        missed_reason: str,
    ) -> Row:
        subject = extent.subjects[pk]
        done_day = subject.day(done_on)
        in_window = None if done_on is None or earliest is None or latest is None else earliest <= done_on <= latest
        facts = (planned, earliest, latest, status, done_on, done_day, in_window, missed_reason)
        return (*subject.keys, code, label, day, *facts)

    columns = (
        *KEYS,
        Column("visit", "Code of the visit"),
        Column("visit_label", "Visit in words"),
        Column("planned_day", "Study day of the protocol", INTEGER),
        Column("planned_date", "Planned date", DATE),
        Column("earliest_date", "First day of the window", DATE),
        Column("latest_date", "Last day of the window", DATE),
        Column("status", "Planned, done or missed"),
        Column("done_on", "Date of the visit", DATE),
        Column("done_day", "Study day of the visit", INTEGER),
        Column("in_window", "Whether it took place within its window", YES_NO),
        Column("missed_reason", "Why it did not take place"),
    )
    label = "Visits, planned and done"
    return [Table("visits", label, columns, _streamed(rows, make), tells_group=not common)]


def _visits_of_every_group(extent: Extent) -> bool:
    """Whether no visit is one of some groups only, so that a list of visits tells nobody's group."""
    return not any(visit.groups for protocol in extent.protocols.values() for visit in protocol.schedule)


# --- Casebook -----------------------------------------------------------------------------------------------------


def entries(extent: Extent) -> list[Table]:
    """One table a form, in the order of the newest definition; its columns are those of every version in use."""
    forms: dict[str, dict[int, Form]] = {}
    for version, protocol in reversed(list(extent.protocols.items())):
        for form in entry_forms(protocol):
            forms.setdefault(form.id, {})[version] = form
    return [_form_table(extent, versions) for versions in forms.values()]


def _form_table(extent: Extent, versions: Mapping[int, Form]) -> Table:
    newest = next(iter(versions.values()))
    items: dict[str, dict[int, Item]] = {}
    for version, form in versions.items():
        for item in typed_items(form):
            items.setdefault(item.id, {})[version] = item
    columns = [
        *KEYS,
        Column("visit", "Code of the visit; empty for a form that is kept once"),
        Column("form_repeat", "Running number of the row within visit and form", INTEGER),
        Column("entry_id", "Row id, stable between exports", INTEGER),
        Column("form_status", "In progress or complete"),
        Column("observed_on", "Date of the observation", DATE),
        Column("observed_day", "Study day of the observation", INTEGER),
    ]
    cells: list[Callable[[Subject, FormAnswer], Row]] = []
    for of_versions in items.values():
        made, cell = _item_columns(newest.id, of_versions, extent)
        columns += made
        cells.append(cell)
    columns += [
        Column("revision", "How many times the entry was saved", INTEGER),
        Column("completed_at", "When it was first completed", DATETIME),
        Column("recorded_at", "When it was first saved", DATETIME),
        Column("changed_at", "When it was last changed", DATETIME),
    ]
    absent = FormAnswer(missing_reason=NOT_IN_VERSION)
    unanswered = FormAnswer()

    def make(entry: casebook.RecordedEntry) -> Row:
        subject = extent.subjects[entry.participant_id]
        row: list[Cell] = [
            *subject.keys,
            entry.visit_code,
            entry.repeat,
            entry.entry_id,
            entry.status,
            entry.observed_on,
            subject.day(entry.observed_on),
        ]
        for (name, of_versions), cell in zip(items.items(), cells, strict=True):
            stored = entry.answers.get(name)
            if stored is not None:
                answer = FormAnswer.from_stored(stored)
            else:
                answer = unanswered if subject.version_id in of_versions else absent
            row += cell(subject, answer)
        row += [entry.revision, entry.completed_at, entry.created_at, entry.changed_at]
        return row

    def fetch() -> tuple[int | None, Iterator[Row]]:
        return None, map(make, casebook.recorded_entries(extent.participants, newest.id))

    of_some_groups = any(form.groups for form in versions.values())
    name = f"form_{newest.id.lower()}"
    return Table(name, f"Form: {newest.label}", tuple(columns), fetch, tells_group=of_some_groups)


def _item_columns(
    form: str, versions: Mapping[int, Item], extent: Extent
) -> tuple[list[Column], Callable[[Subject, FormAnswer], Row]]:
    """The columns of one item, and what an answer puts into them: value, then label, unit or day, then why not."""
    item = next(iter(versions.values()))
    name, address = item.id, f"{form}.{item.id}"
    identifying = any(one.identifying for one in versions.values())
    in_versions = ", ".join(extent.version_names[version] for version in sorted(versions))

    def column(suffix: str, words: str, kind: ColumnType = ColumnType.TEXT, **more: object) -> Column:
        label = f"{item.label}{words}"
        about = {"source": address, "versions": in_versions, "identifying": identifying}
        return Column(f"{name}{suffix}", label, kind, **{**about, **more})  # type: ignore[arg-type]

    missing = column("_miss", ": why there is no value", codes=MISSING)
    if item.type in (ItemType.CODE, ItemType.YES_NO_UNKNOWN):
        labels = dict(YES_NO_WORDS)
        codes = YES_NO_UNKNOWN
        if item.type is ItemType.CODE:
            # Of two versions that word a code differently, the newer one stands.
            labels = {c.value: c.label for one in reversed(list(versions.values())) for c in one.codes}
            codes = CodeList(address, tuple(labels.items()))
        columns = [column("", "", codes=codes), column("_label", ", in words"), missing]
        return columns, lambda _, answer: (answer.value, labels.get(answer.value, ""), answer.missing_reason)
    if item.type in (ItemType.NUMBER, ItemType.INTEGER):
        kind = NUMBER if item.type is ItemType.NUMBER else INTEGER
        columns = [column("", ", as written", kind, unit="" if item.accepted_units else item.unit)]
        columns += [column("_qualifier", ": below (<) or above (>) the value")]
        if not item.accepted_units:
            return [*columns, missing], lambda _, answer: (answer.value, answer.qualifier, answer.missing_reason)
        columns += [
            column("_unit", ", unit as written"),
            column("_canonical", f", in {item.unit}", kind, unit=item.unit),
        ]

        def measured(_: Subject, answer: FormAnswer) -> Row:
            canonical = observed(item, answer).value
            return answer.value, answer.qualifier, answer.unit, canonical, answer.missing_reason  # type: ignore[return-value]

        return [*columns, missing], measured
    if item.type is ItemType.PARTIAL_DATE:
        columns = [column("", "", ColumnType.PARTIAL_DATE), column("_precision", ": known to the")]
        columns += [column("_day", ", study day", INTEGER), missing]
        return columns, lambda subject, answer: (
            answer.value,
            _precision(answer.value),
            subject.day_of_text(answer.value),
            answer.missing_reason,
        )
    if item.type in (ItemType.DATE, ItemType.DATETIME):
        # A moment of a form is one of the site's clock, as it was written.
        kind = DATE if item.type is ItemType.DATE else ColumnType.TEXT
        words = "" if item.type is ItemType.DATE else ", in the site's time"
        columns = [column("", words, kind), column("_day", ", study day", INTEGER), missing]
        return columns, lambda subject, answer: (
            answer.value,
            subject.day_of_text(answer.value[:10]),
            answer.missing_reason,
        )
    return [column("", ""), missing], lambda _, answer: (answer.value, answer.missing_reason)


def _precision(iso: str) -> str:
    return str(PartialDate.from_iso(iso).precision) if iso else ""


def lab_results(extent: Extent) -> list[Table]:
    labels = {
        f"{analyte.form}.{analyte.id}": analyte.label
        for protocol in extent.protocols.values()
        for analyte in protocol.analytes
    }

    def make(result: casebook.RecordedResult) -> Row:
        subject = extent.subjects[result.participant_id]
        local = result.sampled_at.astimezone(subject.zone)
        return (
            *subject.keys,
            result.visit_code,
            result.result_id,
            result.sampled_on,
            f"{local:%H:%M}" if result.has_time else None,
            result.sampled_at if result.has_time else None,
            subject.day(result.sampled_on),
            result.laboratory,
            result.specimen,
            result.address,
            labels.get(result.address, ""),
            result.as_written,
            result.qualifier,
            result.unit_as_written,
            result.value,
            result.unit,
            result.lower_limit,
            result.upper_limit,
            result.lloq,
            result.lloq_as_written,
            result.missing_reason,
            result.revision,
            result.recorded_at,
            result.changed_at,
        )

    def fetch() -> tuple[int | None, Iterator[Row]]:
        expected, rows = casebook.recorded_results(extent.participants)
        return expected, map(make, rows)

    columns = (
        *KEYS,
        Column("visit", "Code of the visit in whose window the sample lies"),
        Column("result_id", "Row id, stable between exports", INTEGER),
        Column("sampled_on", "Date of sampling at the site", DATE),
        Column("sampled_time", "Time of sampling at the site; empty where only the day is known"),
        Column("sampled_at", "Moment of sampling; empty where only the day is known", DATETIME),
        Column("sampled_day", "Study day of sampling", INTEGER),
        Column("laboratory", "Laboratory"),
        Column("specimen", "What was sampled"),
        Column("analyte", "Address of the analyte", codes=CodeList("analyte", tuple(labels.items()))),
        Column("analyte_label", "Analyte in words"),
        Column("value_as_written", "Value as the laboratory wrote it"),
        Column("qualifier", "Below (<) or above (>) the value"),
        Column("unit_as_written", "Unit as the laboratory wrote it"),
        Column("value", "Value in the canonical unit", NUMBER),
        Column("unit", "Canonical unit"),
        Column("lower_limit", "Lower limit of normal of the laboratory, canonical unit", NUMBER),
        Column("upper_limit", "Upper limit of normal of the laboratory, canonical unit", NUMBER),
        Column("lloq", "Lower limit of quantification of the assay, canonical unit", NUMBER),
        Column("lloq_as_written", "Lower limit of quantification, unit as written"),
        Column("value_miss", "Why there is no value", codes=MISSING),
        Column("revision", "How many times the result was written", INTEGER),
        Column("recorded_at", "When it was recorded", DATETIME),
        Column("changed_at", "When it was last changed", DATETIME),
    )
    return [Table("lab_results", "Laboratory results, one row each", columns, fetch)]


def clinical_events(extent: Extent) -> list[Table]:
    kinds = {kind.value: kind.label for kind in EventKind}
    details = {item.id: item for items in DETAILS.values() for item in items}

    def make(event: casebook.RecordedEvent) -> Row:
        subject = extent.subjects[event.participant_id]
        return (
            *subject.keys,
            event.event_id,
            event.kind,
            kinds.get(event.kind, ""),
            event.occurred,
            _precision(event.occurred),
            subject.day_of_text(event.occurred),
            event.grade,
            *(event.detail.get(name, "") for name in details),
            event.note,
            event.is_void,
            event.revision,
            event.recorded_at,
            event.changed_at,
        )

    def fetch() -> tuple[int | None, Iterator[Row]]:
        return None, map(make, casebook.recorded_events(extent.participants))

    grades = "; ".join(f"{kind.label}: {', '.join(values)}" for kind, values in GRADES.items())
    columns = (
        *KEYS,
        Column("event_id", "Row id, stable between exports", INTEGER),
        Column("kind", "What happened", codes=CodeList("event_kind", tuple(kinds.items()))),
        Column("kind_label", "What happened, in words"),
        Column("occurred", "Date, in part where only that is known", ColumnType.PARTIAL_DATE),
        Column("occurred_precision", "The date is known to the"),
        Column("occurred_day", "Study day, where the date is known to the day", INTEGER),
        Column("grade", f"Grade ({grades})"),
        *(
            Column(
                f"detail_{name}",
                item.label,
                codes=YES_NO_UNKNOWN
                if item.type is ItemType.YES_NO_UNKNOWN
                else CodeList(f"event_{name}", tuple((c.value, c.label) for c in item.codes))
                if item.codes
                else None,
            )
            for name, item in details.items()
        ),
        Column("note", "Note"),
        Column("is_void", "Recorded in error: kept, and not counted", YES_NO),
        Column("revision", "How many times it was written", INTEGER),
        Column("recorded_at", "When it was recorded", DATETIME),
        Column("changed_at", "When it was last changed", DATETIME),
    )
    return [Table("clinical_events", "Clinical events that endpoints stand on", columns, fetch)]


# --- Safety and doses ---------------------------------------------------------------------------------------------


def adverse_events(extent: Extent) -> list[Table]:
    products = list(
        dict.fromkeys(p for protocol in extent.protocols.values() for p in protocol.adverse_events.products)
    )
    rows = (
        AdverseEvent.objects.filter(participant__in=extent.participants)
        .order_by("participant_id", "number")
        .values_list(
            "participant_id",
            "number",
            "external_id",
            "verbatim",
            "dictionary",
            "term",
            "soc",
            "other_specify",
            "category",
            "grade",
            "started",
            "ended",
            "is_ongoing",
            "is_serious",
            "serious_criteria",
            "relations",
            "outcome",
            "organism",
            "suspect_product",
            "note",
            "is_void",
            "revision",
            "recorded_at",
            "changed_at",
        )
    )

    def make(pk: int, *facts: Any) -> Row:
        subject = extent.subjects[pk]
        coded, (started, ended, is_ongoing, is_serious, criteria, relations), rest = facts[:9], facts[9:15], facts[15:]
        return (
            *subject.keys,
            *coded,
            started,
            _precision(started),
            subject.day_of_text(started),
            ended,
            _precision(ended),
            subject.day_of_text(ended),
            is_ongoing,
            is_serious,
            ";".join(criteria),
            *(relations.get(product, "") for product in products),
            *rest,
        )

    relation = CodeList("relation", tuple(RELATIONS.items()))
    columns = (
        *KEYS,
        Column("number", "Running number within the participant", INTEGER),
        Column("external_id", "Number where it was imported from"),
        Column("verbatim", "Event as reported"),
        Column("dictionary", "Dictionary and version of the term"),
        Column("term", "Term of the dictionary"),
        Column("soc", "System organ class"),
        Column("other_specify", "What happened, where the term is 'other'"),
        Column("category", "Heading of the report"),
        Column("grade", "Worst grade", INTEGER),
        Column("started", "Start, in part where only that is known", ColumnType.PARTIAL_DATE),
        Column("started_precision", "The start is known to the"),
        Column("started_day", "Study day of the start", INTEGER),
        Column("ended", "End, in part where only that is known", ColumnType.PARTIAL_DATE),
        Column("ended_precision", "The end is known to the"),
        Column("ended_day", "Study day of the end", INTEGER),
        Column("is_ongoing", "Goes on", YES_NO),
        Column("is_serious", "Serious; empty: not known", YES_NO),
        Column(
            "serious_criteria",
            "Criteria of seriousness, separated by ;",
            codes=CodeList("serious_criteria", tuple(SERIOUS_CRITERIA.items())),
        ),
        *(Column(f"relation_{product}", f"Relation to {product}", codes=relation) for product in products),
        Column("outcome", "Outcome", codes=CodeList("outcome", tuple(OUTCOME_WORDS.items()))),
        Column("organism", "Organism"),
        Column("suspect_product", "Suspect product"),
        Column("note", "Note"),
        Column("is_void", "Recorded in error: kept, and not counted", YES_NO),
        Column("revision", "How many times it was written", INTEGER),
        Column("recorded_at", "When it was recorded", DATETIME),
        Column("changed_at", "When it was last changed", DATETIME),
    )
    return [Table("adverse_events", "Adverse events, one row an episode", columns, _streamed(rows, make))]


def doses(extent: Extent) -> list[Table]:
    rows = (
        DoseWorksheet.objects.filter(participant__in=extent.participants)
        .order_by("participant_id", "pk")
        .values_list(
            "participant_id",
            "pk",
            "source",
            "is_plan_of_record",
            "is_current",
            "is_refused",
            "is_synthetic",
            "method",
            "method_version",
            "protocol_version_id",
            "code_version",
            "table__code",
            "table__version",
            "total_mg_per_kg",
            "total_mg",
            "inputs",
            "result",
            "input_sha256",
            "reason",
            "created_at",
        )
    )

    def make(pk: int, *facts: Cell) -> Row:
        told, version, ran_with = facts[:8], facts[8], facts[9:14]
        inputs, result, rest = facts[14], facts[15], facts[16:]
        keys = extent.subjects[pk].keys
        return (*keys, *told, extent.version_names[int(str(version))], *ran_with, _json(inputs), _json(result), *rest)

    columns = (
        *KEYS,
        Column("worksheet_id", "Row id, stable between exports", INTEGER),
        Column("source", "Computed here or imported"),
        Column("is_plan_of_record", "The plan that what was given is compared with", YES_NO),
        Column("is_current", "No later worksheet of the same source stands in its place", YES_NO),
        Column("is_refused", "No dose could be computed; the result says why", YES_NO),
        Column("is_synthetic", "Computed from a table that is not for clinical use", YES_NO),
        Column("method", "Method"),
        Column("method_version", "Version of the method"),
        Column("protocol_version", "Protocol version"),
        Column("code_version", "Version of the software that computed it"),
        Column("dosing_table", "Dosing table"),
        Column("dosing_table_version", "Version of the dosing table", INTEGER),
        Column("total_mg_per_kg", "Total dose per kilogram", NUMBER, unit="mg/kg"),
        Column("total_mg", "Total dose, rounded plan", NUMBER, unit="mg"),
        Column("inputs", "Covariates with value, unit, moment and source", ColumnType.JSON),
        Column("result", "Days, look-up trace and warnings, or the refusals", ColumnType.JSON),
        Column("input_sha256", "Hash of the inputs"),
        Column("reason", "Why it was computed again"),
        Column("recorded_at", "When it was computed", DATETIME),
    )
    label = "Dose worksheets, superseded ones too"
    return [Table("doses", label, columns, _streamed(rows, make), tells_group=True)]


def administrations(extent: Extent) -> list[Table]:
    rows = (
        Administration.objects.filter(participant__in=extent.participants)
        .order_by("participant_id", "infusion")
        .values_list(
            "participant_id",
            "infusion",
            "started_at",
            "stopped_at",
            "dose_mg",
            "product",
            "batch",
            "comment",
            "revision",
            "recorded_at",
        )
    )

    def make(pk: int, infusion: int, started_at: datetime, *rest: Cell) -> Row:
        subject = extent.subjects[pk]
        started_on = started_at.astimezone(subject.zone).date()
        return (*subject.keys, infusion, started_on, subject.day(started_on), started_at, *rest)

    columns = (
        *KEYS,
        Column("infusion", "Running number of the infusion", INTEGER),
        Column("started_on", "Date at the site", DATE),
        Column("started_day", "Study day", INTEGER),
        Column("started_at", "Start", DATETIME),
        Column("stopped_at", "End", DATETIME),
        Column("dose_mg", "Dose given", NUMBER, unit="mg"),
        Column("product", "Product"),
        Column("batch", "Batch"),
        Column("comment", "Comment"),
        Column("revision", "How many times it was written", INTEGER),
        Column("recorded_at", "When it was recorded", DATETIME),
    )
    return [Table("administrations", "Infusions as they were given", columns, _streamed(rows, make), tells_group=True)]


def course_ends(extent: Extent) -> list[Table]:
    rows = (
        CourseEnd.objects.filter(participant__in=extent.participants, is_void=False)
        .order_by("participant_id")
        .values_list("participant_id", "ended_on", "cause", "reason", "recorded_at")
    )

    def make(pk: int, ended_on: date, *rest: Cell) -> Row:
        subject = extent.subjects[pk]
        return (*subject.keys, ended_on, subject.day(ended_on), *rest)

    columns = (
        *KEYS,
        Column("ended_on", "Day from which no further dose is given", DATE),
        Column("ended_day", "Study day", INTEGER),
        Column(
            "cause", "Why", codes=CodeList("end_cause", tuple((str(one), END_CAUSE_WORDS[one]) for one in EndCause))
        ),
        Column("reason", "What was added to it"),
        Column("recorded_at", "When it was recorded", DATETIME),
    )
    label = "Courses that ended before their plan; a cause removes nobody from an analysis set"
    return [Table("course_ends", label, columns, _streamed(rows, make), tells_group=True)]


#: What the README says of the numeric files.
NONMEM_NOTES = (
    "Numeric, for NONMEM and its kin: no text, a dot is null, lines end with CR LF; skip the first line by IGNORE=@.",
    "Take them from the variant 'statistical': the spreadsheet variant begins with a byte-order mark.",
    "They have no keys: ID is explained in nonmem.csv. One file holds one analyte, unit, assay and product.",
    "TIME is in hours from the start of a participant's first infusion, from exact moments. A level whose time of day",
    "is not known is left out and counted in nonmem.csv. An interrupted infusion is several records.",
    "Who was given no infusion has no clock, and stands in no file.",
    "BLQ: DV is null, MDV is 1, LLOQ is the limit; a number below LLOQ, and 'not detected' with a limit, are BLQ too.",
    "LLOQ is that of the level, else of the protocol. Above the upper limit: DV is null, MDV is 1, BLQ is 2.",
    "Weight and lymphocytes are those of the record's date or the latest before it; WTLOCF and ALCLOCF say which.",
)


NONMEM_MAP_NOTES = (
    "The numeric files of 'NONMEM files' with columns for the estimate from each participant's levels (maximum a",
    "posteriori), the same on every record of a participant; a dot where there is none, and nonmem_map.csv says why.",
    "It is computed anew from all usable levels by the parameter set in force. The proposal that stands, with the",
    "levels of its time, is in nonmem_map.csv. An estimate from few levels is mainly the population's value; see SHR..",
    "Exposures are of the infusions given, to day 60, in the unit of DV x day.",
    *NONMEM_NOTES,
)


@dataclass(frozen=True)
class _LevelFile:
    """What one numeric file is of."""

    analyte: str
    unit: str
    assay: str
    product: str


@dataclass(frozen=True)
class _Levels:
    """What the numeric files hold: infusions and levels by participant, and how many levels they leave out."""

    given: Mapping[int, list[nm.Dose]]
    levels: Mapping[_LevelFile, Mapping[int, list[nm.Sample]]]
    left_out: Mapping[int, Counter[str]]

    @cached_property
    def ids(self) -> dict[int, int]:
        return {pk: number for number, pk in enumerate(sorted(self.given), start=1)}

    @cached_property
    def files(self) -> list[_LevelFile]:
        return sorted(self.levels, key=lambda one: (one.analyte, one.assay, one.unit, one.product))

    def names(self, pk: int, stem: str) -> str:
        return ";".join(f"{stem}_{n}.csv" for n, one in enumerate(self.files, start=1) if pk in self.levels[one])

    def why_in_none(self, pk: int) -> str:
        products = {dose.product for dose in self.given[pk]}
        return f"more than one product: {', '.join(sorted(products))}" if len(products) > 1 else ""


def nonmem(extent: Extent) -> list[Table]:
    """Doses, levels and covariates as numeric files, and the map from their ID to the participants, apart."""
    found = _levels_of(extent)
    return [_level_map(extent, found), *_level_tables(extent, found)]


def nonmem_map(extent: Extent) -> list[Table]:
    """The same files with what the levels of each participant say of them, and what that rests on, apart."""
    found = _levels_of(extent)
    known: dict[int, dosing.EstimatedFromLevels] = {}

    def estimates(pks: Sequence[int]) -> Mapping[int, dosing.EstimatedFromLevels]:
        # An estimate takes a tenth of a second, and both files ask for it.
        rows = extent.participants.filter(pk__in=[pk for pk in pks if pk not in known])
        for participant in rows.select_related("protocol_version__trial", "trial", "site"):
            known[participant.pk] = dosing.estimated_from_levels(participant)
        return known

    return [_estimate_map(extent, found, estimates), *_level_tables(extent, found, estimates)]


_Estimates = Callable[[Sequence[int]], Mapping[int, "dosing.EstimatedFromLevels"]]


def _levels_of(extent: Extent) -> _Levels:
    given: dict[int, list[nm.Dose]] = {}
    zones = {pk: subject.zone for pk, subject in extent.subjects.items()}
    rows = Administration.objects.filter(participant__in=extent.participants, is_void=False)
    for pk, started, stopped, mg, product in rows.order_by("participant_id", "started_at").values_list(
        "participant_id", "started_at", "stopped_at", "dose_mg", "product"
    ):
        zone = zones[pk]
        given.setdefault(pk, []).append(nm.Dose(started.astimezone(zone), stopped.astimezone(zone), mg, product))
    levels: dict[_LevelFile, dict[int, list[nm.Sample]]] = {}
    left_out: dict[int, Counter[str]] = {}
    analytes = _level_analytes(extent)
    for address, analyte in analytes.items():
        points = casebook.results_of_trial(
            extent.trial, participants=list(extent.subjects), addresses=[address], undetected=True
        )
        for point in points:
            pk = point.participant_id
            lloq = point.lloq if point.lloq is not None else analyte.lloq
            why = "time" if not point.has_time else "limit" if point.qualifier == "nd" and lloq is None else ""
            if why:
                left_out.setdefault(pk, Counter())[why] += 1
                continue
            products = {dose.product for dose in given.get(pk, ())}
            if len(products) != 1:
                continue
            at = point.sampled_at.astimezone(zones[pk])
            unit = point.unit or analyte.canonical_unit
            sample = nm.Sample(at, point.value, unit, address, point.laboratory, point.qualifier, lloq)
            file = _LevelFile(address, unit, point.laboratory, products.pop())
            levels.setdefault(file, {}).setdefault(pk, []).append(sample)
    if not levels:  # the columns are told even where there is nothing to tell of anybody yet
        levels = {
            _LevelFile(address, analyte.canonical_unit, "", extent.trial.protocol.dosing.product): {}
            for address, analyte in analytes.items()
            if extent.trial.protocol.dosing is not None
        }
    return _Levels(given, levels, left_out)


def _level_analytes(extent: Extent) -> dict[str, Analyte]:
    """The drug levels of each definition that follow an assay: concentrations, not exposures that rest on them."""
    return {
        f"{analyte.form}.{analyte.id}": analyte
        for protocol in extent.protocols.values()
        for analyte in protocol.analytes
        if analyte.form == "PC" and analyte.per_assay and "·" not in analyte.canonical_unit
    }


def _level_map(extent: Extent, found: _Levels) -> Table:
    def row(pk: int) -> Row:
        counts = found.left_out.get(pk, Counter())
        names, why = found.names(pk, "nonmem"), found.why_in_none(pk)
        return (*extent.subjects[pk].keys, found.ids[pk], names, counts["time"], counts["limit"], why)

    columns = (
        *KEYS,
        Column("ID", "Number in the numeric files", INTEGER),
        Column("files", "Numeric files that hold levels of the participant, separated by ;"),
        Column("levels_without_time", "Levels left out because only their day is known", INTEGER),
        Column("levels_without_limit", "Levels “not detected” left out because no limit is known", INTEGER),
        Column("left_out", "Why the participant stands in no file"),
    )

    def fetch() -> tuple[int | None, Iterator[Row]]:
        return len(found.ids), (row(pk) for pk in found.ids)

    label = "Whom the ID of the numeric files means"
    return Table("nonmem", label, columns, fetch, tells_group=True, notes=NONMEM_NOTES)


def _estimate_map(extent: Extent, found: _Levels, estimates: _Estimates) -> Table:
    """What the estimate of each ID rests on, and the proposal that stands or was released beside it."""

    def row(pk: int) -> Row:
        one = estimates([pk])[pk]
        model, standing = one.parameters, one.standing
        proposal = standing.result["guided"]["proposal"] if standing is not None else {}
        release = dosing.release_of(standing) if standing is not None else None
        return (
            *extent.subjects[pk].keys,
            found.ids[pk],
            found.names(pk, "nonmem_map"),
            found.why_in_none(pk) or one.why_not,
            model.id if model is not None else "",
            model.sha256 if model is not None else "",
            model.area_unit if model is not None else "",
            one.estimate.method if one.estimate is not None else "",
            one.estimate.status if one.estimate is not None else "",
            one.estimate.samples if one.estimate is not None else 0,
            "; ".join(one.unused),
            standing.pk if standing is not None else None,
            release.released_at if release is not None else None,
            proposal.get("levels_used"),
            _eight(proposal.get("at_proposed")),
            _json({name: str(_eight(value)) for name, value in proposal.get("etas", {}).items()}) if proposal else "",
        )

    columns = (
        *KEYS,
        Column("ID", "Number in the numeric files", INTEGER),
        Column("files", "Numeric files that hold levels of the participant, separated by ;"),
        Column("no_estimate", "Why there is no estimate"),
        Column("parameter_set", "Parameter set in force, with its version"),
        Column("parameter_set_sha256", "Hash of the parameter set"),
        Column("area_unit", "Unit of AUCPRE, AUCPOST and AUCTOT"),
        Column("method", "How the estimate was made, and what became of levels below the limit"),
        Column("status", "Status of the parameter set, in its own words"),
        Column("levels_used", "Levels that the estimate rests on", INTEGER),
        Column("levels_not_used", "Each level that it leaves out, with the reason"),
        Column("proposal_id", "Dose worksheet whose proposal from levels stands", INTEGER),
        Column("proposal_released_at", "When that proposal was released; empty where it was not", DATETIME),
        Column("proposal_levels_used", "Levels that the proposal rested on", INTEGER),
        Column("proposal_exposure", "Exposure expected at the proposed dose, with the doses open then", NUMBER),
        Column("proposal_etas", "Random effects that the proposal rested on", ColumnType.JSON),
    )

    def fetch() -> tuple[int | None, Iterator[Row]]:
        return len(found.ids), (row(pk) for pk in found.ids)

    label = "What the estimates of the numeric files rest on, and the proposals beside them"
    return Table("nonmem_map", label, columns, fetch, tells_group=True, notes=NONMEM_MAP_NOTES)


def _eight(value: float | None) -> Decimal | None:
    return None if value is None else nm.significant(value)


def _level_tables(extent: Extent, found: _Levels, estimates: _Estimates | None = None) -> list[Table]:
    """A numeric file for each analyte, unit, assay and product, with the columns of ``estimates`` where given."""
    stem, notes = ("nonmem_map", NONMEM_MAP_NOTES) if estimates is not None else ("nonmem", NONMEM_NOTES)
    codes = _covariate_codes(extent)
    columns = tuple(
        replace(column, codes=codes[column.name]) if column.name in codes else column
        for column in nm.columns(with_estimates=estimates is not None)
    )

    def table(place: int, file: _LevelFile) -> Table:
        samples = found.levels[file]
        label = f"{file.analyte} in {file.unit}, assay {file.assay or 'not named'}, after {file.product}; numeric"

        def fetch() -> tuple[int | None, Iterator[Row]]:
            people = _level_people(extent, sorted(samples), codes)
            known = estimates(sorted(samples)) if estimates is not None else {}
            return None, nm.records(
                (
                    replace(
                        person,
                        id=found.ids[pk],
                        doses=found.given[pk],
                        samples=samples[pk],
                        estimates=_estimates_in(file, known[pk]) if pk in known else {},
                    )
                    for pk, person in people.items()
                ),
                with_estimates=estimates is not None,
            )

        return Table(f"{stem}_{place}", label, columns, fetch, tells_group=True, notes=notes)

    return [table(place, file) for place, file in enumerate(found.files, start=1)]


def _estimates_in(file: _LevelFile, one: dosing.EstimatedFromLevels) -> dict[str, Decimal]:
    """The columns of an estimate, in the file of its own analyte, unit and assay only: elsewhere they mean nothing."""
    model, estimate = one.parameters, one.estimate
    if model is None or estimate is None:
        return {}
    if (model.analyte, model.level_unit, model.assay) != (file.analyte, file.unit, file.assay):
        return {}
    values: dict[str, float | None] = {"AUCPRE": one.pre, "AUCPOST": one.post, "AUCTOT": one.total}
    for name, value in one.individual.items():
        values[f"I{name.upper()}"] = value
        values[f"ETA{name.upper()}"] = estimate.etas.get(name)
        values[f"SHR{name.upper()}"] = estimate.shrinkage.get(name)
    values |= {"UPERMG": model.amount_per_mg, "NLEVELS": estimate.samples, "MODELV": model.version}
    return {name: nm.significant(value) for name, value in values.items() if value is not None}


#: Column: covariate of the dosing rule, or address of the casebook, whose codes are numbered in it.
_CONDITIONING = "CO.INTENSITY"


def _covariate_codes(extent: Extent) -> dict[str, CodeList]:
    """The numbers of coded covariates: the first code of the newest definition is 1."""
    protocol = extent.trial.protocol
    lists: dict[str, tuple[tuple[str, str], ...]] = {"SEX": (("male", "male"), ("female", "female"))}
    for name, address in (("GRAFT", _covariate_item(protocol, "graft")), ("COND", _CONDITIONING)):
        try:
            item = protocol.item(address)
        except KeyError:
            continue
        lists[name] = tuple((code.value, code.label) for code in item.codes)
    return {
        name: CodeList(f"nonmem {name}", tuple((str(place), label) for place, (_, label) in enumerate(codes, start=1)))
        for name, codes in lists.items()
    }


def _covariate_item(protocol: Protocol, name: str) -> str:
    dosing = protocol.dosing
    specs = [dosing, *dosing.by_group.values()] if dosing is not None else []
    return next((one.item for spec in specs for one in spec.covariates if one.id == name), "")


def _level_people(extent: Extent, pks: list[int], codes: Mapping[str, CodeList]) -> dict[int, nm.Person]:
    """What the covariates of these participants are; read one participant at a time, few have levels."""
    people = {}
    for participant in extent.participants.filter(pk__in=pks).select_related("protocol_version__trial", "trial"):
        protocol, subject = extent.protocols[participant.protocol_version_id], extent.subjects[participant.pk]
        birth = PartialDate.from_iso(participant.birth_date).exact if participant.birth_date else None
        graft_at = _answers(participant, protocol, protocol.anchor.item)[-1:]
        moment = graft_at[0].value if graft_at else None
        people[participant.pk] = nm.Person(
            id=0,
            doses=(),
            samples=(),
            weight_kg=_series(extent, participant, protocol, "weight_kg"),
            alc_1e9_per_l=_series(extent, participant, protocol, "alc_1e9_per_l"),
            birth=birth,
            sex={"male": 1, "female": 2}.get(participant.sex),
            graft=_code(participant, protocol, _covariate_item(protocol, "graft")),
            conditioning=_code(participant, protocol, _CONDITIONING),
            graft_at=moment.replace(tzinfo=subject.zone) if isinstance(moment, datetime) else None,
            anchor=subject.anchor,
            first_day=subject.first_day,
        )
    return people


def _answers(participant: Participant, protocol: Protocol, address: str) -> list[Observed]:
    try:
        protocol.item(address)
    except KeyError:
        return []
    return casebook.item_series(participant, address)


def _code(participant: Participant, protocol: Protocol, address: str) -> int | None:
    answers = _answers(participant, protocol, address)
    if not answers:
        return None
    values = [code.value for code in protocol.item(address).codes]
    last = str(answers[-1].value)
    return values.index(last) + 1 if last in values else None


def _series(extent: Extent, participant: Participant, protocol: Protocol, name: str) -> tuple[nm.Covariate, ...]:
    """A covariate of the dosing rule over time; one with a qualifier is no number, and is not there."""
    address = _covariate_item(protocol, name)
    if any(f"{analyte.form}.{analyte.id}" == address for analyte in protocol.analytes):
        points = casebook.lab_series(extent.trial, address, participants=[participant.pk])
        return tuple(nm.Covariate(one.sampled_on, one.value) for one in points if not one.qualifier)
    return tuple(
        nm.Covariate(
            one.observed_on if not isinstance(one.observed_on, datetime) else one.observed_on.date(), one.value
        )
        for one in _answers(participant, protocol, address)
        if isinstance(one.value, Decimal) and one.observed_on is not None and not one.qualifier
    )


def _date(moment: date | datetime) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def monitored_levels(extent: Extent) -> list[Table]:
    """Each result of a monitored target with where it lies."""

    def rows() -> Iterator[Row]:
        targets = {target.id: target for protocol in extent.protocols.values() for target in protocol.targets}
        for target in targets.values():
            for point in casebook.lab_series(extent.trial, target.analyte, participants=list(extent.subjects)):
                subject = extent.subjects[point.participant_id]
                assay, qualifier = point.laboratory, point.qualifier
                found = classify(target, Level(point.address, point.value, point.unit, assay, qualifier))
                yield (
                    *subject.keys,
                    target.id,
                    point.result_id,
                    point.sampled_on,
                    subject.day(point.sampled_on),
                    point.sampled_at if point.has_time else None,
                    point.address,
                    qualifier,
                    point.value,
                    point.unit,
                    assay,
                    target.quantity,
                    target.window,
                    target.low,
                    target.high,
                    target.unit,
                    target.assay,
                    str(found.place),
                    found.sentence,
                )

    columns = (
        *KEYS,
        Column("target", "Monitored target of the protocol"),
        Column("result_id", "Row id, stable between exports", INTEGER),
        Column("sampled_on", "Date of sampling at the site", DATE),
        Column("sampled_day", "Study day of sampling", INTEGER),
        Column("sampled_at", "Moment of sampling; empty where only the day is known", DATETIME),
        Column("analyte", "Address of the analyte"),
        Column("qualifier", "Below (<) or above (>) the value"),
        Column("value", "Value in the canonical unit", NUMBER),
        Column("unit", "Canonical unit"),
        Column("assay", "Laboratory, which stands for the assay"),
        Column("quantity", "Quantity of the target: trough, auc"),
        Column("window", "Window of the target"),
        Column("target_low", "Lower end, inside the target", NUMBER),
        Column("target_high", "Upper end, inside the target", NUMBER),
        Column("target_unit", "Unit of the target; results of another unit are not compared"),
        Column("target_assay", "Assay of the target; local: that of any laboratory of the site"),
        Column("place", "below, in, above, not known (a limit that does not settle it), or not comparable"),
        Column("explanation", "The same in a sentence"),
    )
    label = "Drug levels against the monitored targets"
    return [Table("monitored_levels", label, columns, lambda: (None, rows()), tells_group=True)]


def deviations(extent: Extent) -> list[Table]:
    rows = (
        Deviation.objects.filter(participant__in=extent.participants)
        .order_by("participant_id", "pk")
        .values_list(
            "participant_id",
            "pk",
            "rule",
            "occurred_on",
            "description",
            "is_major",
            "removes_from_efficacy",
            "is_confirmed",
            "is_void",
            "source",
            "recorded_at",
        )
    )

    def make(pk: int, deviation: int, rule: str, occurred_on: date | None, *rest: Cell) -> Row:
        subject = extent.subjects[pk]
        return (*subject.keys, deviation, rule, occurred_on, subject.day(occurred_on), *rest)

    rules = {rule.id: rule.text for protocol in extent.protocols.values() for rule in protocol.eligibility.removal}
    columns = (
        *KEYS,
        Column("deviation_id", "Row id, stable between exports", INTEGER),
        Column("rule", "Rule of the protocol", codes=CodeList("removal_rule", tuple(rules.items()))),
        Column("occurred_on", "Date", DATE),
        Column("occurred_day", "Study day", INTEGER),
        Column("description", "What happened"),
        Column("is_major", "Major", YES_NO),
        Column("removes_from_efficacy", "Takes the participant out of the efficacy sets", YES_NO),
        Column("is_confirmed", "A person's answer where the rule asks for one; empty: not asked yet", YES_NO),
        Column("is_void", "Found by computation and no longer so", YES_NO),
        Column("source", "Recorded by a person, found by computation, or imported"),
        Column("recorded_at", "When it was recorded", DATETIME),
    )
    return [Table("deviations", "Deviations from the protocol", columns, _streamed(rows, make))]


# --- What analyses compute from -----------------------------------------------------------------------------------

ANALYSIS_NOTES = (
    "Computed when the export is made, by the protocol version in force, on the data until the day of the last change.",
    "A set says no for whom it does not count, and for whom it is not known yet whether it does.",
    "Endpoints are answered for who is enrolled and for external controls; for others their cells are empty.",
)
_KINDS = CodeList("subject_kind", (("own", "Participant of the trial"), ("external", "External control")))
_CAUSES = CodeList("event_kind", (("event", "The event"), ("competing", "A competing event that came first")))
_STATUSES = CodeList("endpoint_status", tuple((one.value, one.value.replace("_", " ")) for one in Status))


def _groups(extent: Extent) -> CodeList:
    labels = {group.id: group.label for protocol in extent.protocols.values() for group in protocol.groups}
    return CodeList("group", tuple(labels.items()))


def subjects(extent: Extent) -> list[Table]:
    protocol = extent.trial.protocol
    sets = [one.id for one in protocol.analysis_sets]
    endpoints = _answered(protocol)

    def fetch() -> tuple[int | None, Iterator[Row]]:
        return len(extent.subjects), map(make, _reached_by(extent))

    def make(one: AnalysisSubject) -> Row:
        row: list[Cell] = [
            *extent.subjects[one.participant].keys,
            "external" if one.is_external else "own",
            one.group,
            one.anchor_day,
            *(each in one.sets for each in sets),
        ]
        for endpoint in endpoints:
            outcome = one.outcomes.get(endpoint.id)
            row += (
                [
                    outcome.status.value,
                    outcome.event_day,
                    outcome.competing_kind,
                    outcome.competing_day,
                    outcome.censored_day,
                    outcome.verified,
                ]
                if outcome
                else [None] * 6
            )
        return row

    columns = [
        *KEYS,
        Column("kind", "Of the trial, or an external control", codes=_KINDS),
        Column(
            "group",
            "Group",
            codes=_groups(extent),
            tells_group=True,
        ),
        Column("anchor_date", "Date that study days count from", DATE),
    ]
    for each in protocol.analysis_sets:
        telling = _set_tells_group(protocol, each.id)
        columns.append(Column(f"set_{each.id}", f"Counted in the set: {each.label}", YES_NO, tells_group=telling))
    for endpoint in endpoints:
        of, words, telling = endpoint.id, endpoint.label, _endpoint_tells_group(protocol, endpoint)
        columns += [
            Column(f"{of}_status", f"{words}: status", codes=_STATUSES, tells_group=telling),
            Column(f"{of}_event_day", f"{words}: study day of the event", INTEGER, tells_group=telling),
            Column(f"{of}_competing_kind", f"{words}: which competing event came first", tells_group=telling),
            Column(f"{of}_competing_day", f"{words}: study day of that event", INTEGER, tells_group=telling),
            Column(
                f"{of}_censored_day", f"{words}: last study day known to be free of it", INTEGER, tells_group=telling
            ),
            Column(f"{of}_verified", f"{words}: rule confirmed against its source", YES_NO, tells_group=telling),
        ]
    label = "Everybody as the analyses count them, one row each"
    return [Table("subjects", label, tuple(columns), fetch, notes=ANALYSIS_NOTES)]


def events(extent: Extent) -> list[Table]:
    protocol = extent.trial.protocol
    # A row cannot be taken out by a mark on a column: an endpoint that tells the group is not in the file at all.
    shown = [one for one in _answered(protocol) if extent.groups or not _endpoint_tells_group(protocol, one)]

    def fetch() -> tuple[int | None, Iterator[Row]]:
        return None, (row for one in _reached_by(extent) for row in rows_of(one))

    def rows_of(one: AnalysisSubject) -> Iterator[Row]:
        for endpoint in shown:
            outcome = one.outcomes.get(endpoint.id)
            if outcome is None or outcome.status not in (Status.REACHED, Status.COMPETING):
                continue
            is_event = outcome.status is Status.REACHED
            day = outcome.event_day if is_event else outcome.competing_day
            yield (
                *extent.subjects[one.participant].keys,
                endpoint.id,
                "event" if is_event else "competing",
                "" if is_event else outcome.competing_kind,
                day,
                outcome.classification,
                outcome.verified,
                outcome.sentence,
            )

    columns = (
        *KEYS,
        Column("endpoint", "Endpoint", codes=CodeList("event_endpoint", tuple((e.id, e.label) for e in shown))),
        Column("kind", "The event, or a competing event that came first", codes=_CAUSES),
        Column("competing_kind", "Which competing event it is"),
        Column("event_day", "Study day", INTEGER),
        Column("classification", "Kind or grade of the event, where the method names one"),
        Column("verified", "Rule of the endpoint confirmed against its source", YES_NO),
        Column("evidence", "The sentence that says what the answer rests on"),
    )
    label = "Events of the endpoints, one row a participant and endpoint"
    return [Table("events", label, columns, fetch, notes=ANALYSIS_NOTES)]


def _reached_by(extent: Extent) -> list[AnalysisSubject]:
    """The subjects of the analysis data set within the extent, in the order of the other tables."""
    own = [one for one in extent.analysis.subjects if one.participant in extent.subjects]
    return sorted(own, key=lambda one: one.participant)


def _answered(protocol: Protocol) -> list[EndpointSpec]:
    return [one for one in protocol.endpoints if one.method in ANSWERS]


def _set_tells_group(protocol: Protocol, of: str) -> bool:
    """Whether membership says something of the group: by its groups, by a form of some groups, or by what is computed.

    What is computed may rest on doses, which a reader who may not see the groups does not get either.
    """
    chain = lineage(protocol.analysis_sets, of)
    forms = {form.id: form for form in protocol.forms}
    for address in items_read(chain):
        form, _, item = address.partition(".")
        if form in forms and (forms[form].groups or any(i.id == item and i.computed for i in forms[form].items)):
            return True
    return any(each.groups for each in chain)


def _endpoint_tells_group(protocol: Protocol, endpoint: EndpointSpec) -> bool:
    """Whether the endpoint reads a form that only some groups have, so that being answered tells the group."""
    of_some = {form.id for form in protocol.forms if form.groups}
    return bool(of_some & ANSWERS[endpoint.method].reads(endpoint).forms)


# --- What was decided ---------------------------------------------------------------------------------------------


def adjudications(extent: Extent) -> list[Table]:
    rows = (
        Adjudication.objects.current()
        .filter(participant__in=extent.participants)
        .order_by("participant_id", "endpoint")
        .values_list(
            "participant_id",
            "endpoint",
            "status",
            "event_day",
            "event_date",
            "competing_kind",
            "is_evaluable",
            "evidence",
            "parameters",
            "method",
            "method_version",
            "protocol_version_id",
            "code_version",
            "input_sha256",
            "created_at",
        )
    )

    def make(pk: int, *facts: Cell) -> Row:
        decided, evidence, parameters = facts[:6], facts[6], facts[7]
        version = extent.version_names[int(str(facts[10]))]
        return (
            *extent.subjects[pk].keys,
            *decided,
            _json(evidence),
            _json(parameters),
            *facts[8:10],
            version,
            *facts[11:],
        )

    endpoints = {e.id: e.label for protocol in extent.protocols.values() for e in protocol.endpoints}
    columns = (
        *KEYS,
        Column("endpoint", "Endpoint", codes=CodeList("endpoint", tuple(endpoints.items()))),
        Column("status", "Reached, not reached, competing, pending, or insufficient data"),
        Column("event_day", "Study day of the event", INTEGER),
        Column("event_date", "Date of the event", DATE),
        Column("competing_kind", "Which competing event came first"),
        Column("is_evaluable", "Evaluable for the endpoint; empty: not known yet", YES_NO),
        Column("evidence", "Rows it rests on, flags, and the sentence that says why", ColumnType.JSON),
        Column("parameters", "Parameters of the method", ColumnType.JSON),
        Column("method", "Method"),
        Column("method_version", "Version of the method"),
        Column("protocol_version", "Protocol version"),
        Column("code_version", "Version of the software that decided it"),
        Column("input_sha256", "Hash of the inputs"),
        Column("recorded_at", "When it was decided", DATETIME),
    )
    return [Table("adjudications", "Endpoints as they stand, one row each", columns, _streamed(rows, make))]


def gates(extent: Extent) -> list[Table]:
    rows = (
        Gate.objects.filter(trial=extent.trial)
        .order_by("stage")
        .values_list(
            "stage",
            "state",
            "protocol_version_id",
            "responders",
            "evaluable",
            "boundary",
            "proposal",
            "proposed_at",
            "safety_reviewed_by__user__username",
            "safety_reviewed_at",
            "safety_review",
            "decision",
            "decided_by__user__username",
            "decided_at",
            "decision_reason",
            "snapshot_sha256",
            "method_version",
            "code_version",
        )
    )

    def make(stage: int, state: str, version: int, *rest: Cell) -> Row:
        # A gate is one of the whole trial: of no site and no participant.
        return (extent.trial.code, "", "", stage, state, extent.version_names[version], *rest)

    columns = (
        *KEYS,
        Column("stage", "Stage of the design", INTEGER),
        Column("state", "Waiting, proposed or decided"),
        Column("protocol_version", "Protocol version"),
        Column("responders", "Responders in the snapshot", INTEGER),
        Column("evaluable", "Evaluable participants in the snapshot", INTEGER),
        Column("boundary", "Responders needed to go on", INTEGER),
        Column("proposal", "What the design proposes"),
        Column("proposed_at", "When the snapshot was taken", DATETIME),
        Column("safety_reviewed_by", "Who signed the safety review"),
        Column("safety_reviewed_at", "When", DATETIME),
        Column("safety_review", "Safety review"),
        Column("decision", "Decision"),
        Column("decided_by", "Who decided"),
        Column("decided_at", "When", DATETIME),
        Column("decision_reason", "Why"),
        Column("snapshot_sha256", "Hash of the snapshot"),
        Column("method_version", "Version of the method"),
        Column("code_version", "Version of the software"),
    )
    return [Table("gates", "Stage gates of the trial", columns, _streamed(rows, make))]


# --- The trail ----------------------------------------------------------------------------------------------------


def changes(extent: Extent) -> QuerySet[FieldChange]:
    """The field changes within the extent, without those whose values the reader may not have."""
    found = FieldChange.objects.filter(chain=f"trial:{extent.trial.pk}", trail_id__lte=extent.last_change)
    if extent.site_id is not None:
        found = found.filter(participant_id__in=extent.participants.values("pk"))
    if not extent.groups:
        found = found.exclude(table_name__in=TABLES_THAT_TELL_THE_GROUP).exclude(
            table_name="trials_participant", field="group"
        )
        if not _visits_of_every_group(extent):
            found = found.exclude(table_name="trials_visit")
        if any(form.groups for protocol in extent.protocols.values() for form in protocol.forms):
            found = found.exclude(table_name="casebook_formentry")
    if not extent.identifying:
        items = {
            f"answers.{item.id}"
            for protocol in extent.protocols.values()
            for form in protocol.forms
            for item in form.items
            if item.identifying
        }
        found = found.exclude(table_name="trials_participant", field="birth_date")
        found = found.exclude(table_name="casebook_formentry", field__in=items)
        if _criteria_identify(extent):
            found = found.exclude(table_name="trials_eligibilityassessment", field="criteria")
    return found


def audit_trail(extent: Extent) -> list[Table]:
    of_trial = (extent.trial.code, "", "")
    rows = (
        changes(extent)
        .order_by("trail_id", "field")
        .annotate(moment=_utc("at"), old=_as_text("old_value"), new=_as_text("new_value"))
        .values_list(
            "participant_id",
            "trail_id",
            "moment",
            "user_name",
            "role",
            "site",
            "source",
            "reason",
            "operation",
            "table_name",
            "row_id",
            "field",
            "old",
            "new",
        )
    )

    def make(pk: int | None, *facts: Cell) -> Row:
        subject = extent.subjects.get(pk) if pk is not None else None
        return (*(subject.keys if subject else of_trial), *facts)

    def fetch() -> tuple[int | None, Iterator[Row]]:
        # Counting fields would open every row of the trail once more; about twelve change with a row.
        changed = TrailRow.objects.filter(chain=f"trial:{extent.trial.pk}", pk__lte=extent.last_change).count()
        return changed * 12, (make(*row) for row in rows.iterator(chunk_size=CHUNK))

    columns = (
        *KEYS,
        Column("trail_id", "Row of the audit trail; several fields may change in one", INTEGER),
        Column("at", "When", DATETIME),
        Column("user", "Who"),
        Column("role", "In which role"),
        Column("user_site", "Site of that role; empty: all sites"),
        Column("source", "Entry by a person, import, calculation, API or system"),
        Column("reason", "Why"),
        Column("operation", "INSERT, UPDATE or DELETE"),
        Column("table", "Table"),
        Column("row_id", "Row of the table"),
        Column("field", "Field; answers.ITEM for an answer of a form"),
        Column("old_value", "Value before"),
        Column("new_value", "Value after"),
    )
    return [Table("audit_trail", "Audit trail, one row a changed field", columns, fetch)]


# A trail has a row for each field of each insert: the database writes these texts in half the time.


def _as_text(name: str) -> Func:
    """A value of the trail as text: text as it is, everything else as JSON."""
    return Func(F(name), Value("{}"), template="(%(expressions)s)", arg_joiner=" #>> ", output_field=TextField())


def _utc(name: str) -> Func:
    """A moment as ``delimited.written`` writes it."""
    template = "to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    return Func(F(name), template=template, output_field=TextField())


# --- All of them --------------------------------------------------------------------------------------------------

DATASETS: Mapping[str, Dataset] = {
    dataset.id: dataset
    for dataset in (
        Dataset("participants", "Participants", "status, dates, sex, age", participants),
        Dataset("consents", "Consents", "documents signed and withdrawn", consents),
        Dataset("eligibility", "Eligibility", "each criterion of the latest assessment", eligibility),
        Dataset("visits", "Visits", "planned, done and missed, with windows", visits),
        Dataset("entries", "Forms", "one file a form", entries),
        Dataset("lab_results", "Laboratory results", "as written and in the canonical unit", lab_results),
        Dataset("clinical_events", "Clinical events", "death, relapse, graft failure, GVHD …", clinical_events),
        Dataset("adverse_events", "Adverse events", "coded terms, grades, relations", adverse_events),
        Dataset("doses", "Dose worksheets", "plans and refusals", doses, Permission.VIEW_DOSE, tells_group=True),
        Dataset("administrations", "Administrations", "infusions given", administrations, Permission.VIEW_DOSE, True),
        Dataset(
            "course_ends",
            "Courses ended early",
            "day and coded cause",
            course_ends,
            Permission.VIEW_DOSE,
            tells_group=True,
        ),
        Dataset(
            "monitored_levels",
            "Monitored levels",
            "drug levels against the targets of the protocol",
            monitored_levels,
            Permission.VIEW_DOSE,
            tells_group=True,
        ),
        Dataset(
            "nonmem",
            "NONMEM files",
            "doses, levels and covariates as numbers, and whom each ID means",
            nonmem,
            Permission.VIEW_DOSE,
            tells_group=True,
        ),
        Dataset(
            "nonmem_map",
            "NONMEM files with estimates",
            "the same with the estimate from each participant's levels, and what it rests on",
            nonmem_map,
            Permission.VIEW_DOSE,
            tells_group=True,
        ),
        Dataset("deviations", "Deviations", "departures from the protocol", deviations),
        Dataset("adjudications", "Adjudications", "endpoints as they stand", adjudications, Permission.VIEW_DASHBOARD),
        Dataset(
            "subjects",
            "Analysis: participants",
            "analysis sets and the answer of every endpoint, one row each",
            subjects,
            Permission.VIEW_DASHBOARD,
        ),
        Dataset(
            "events",
            "Analysis: events",
            "each event or competing event of an endpoint, with what it rests on",
            events,
            Permission.VIEW_DASHBOARD,
        ),
        Dataset("gates", "Stage gates", "counts, proposals, decisions", gates, Permission.VIEW_DASHBOARD),
        Dataset(
            "audit_trail", "Audit trail", "every changed field: who, when, why", audit_trail, Permission.VIEW_AUDIT
        ),
    )
}
