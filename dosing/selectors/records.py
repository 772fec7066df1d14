"""Worksheets, given doses and what follows from both; what is to be done about them.

What a page reads goes through ``.visible_to(membership)``; what a computation reads is whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.utils import timezone

from casebook import selectors as casebook
from casebook.domain.answers import FormAnswer, observed
from dosing.domain.administered import Administered, administered
from dosing.domain.states import WorksheetStatus, worksheet_status
from dosing.domain.worksheet import WEIGHT, listed_days
from dosing.models import Administration, CourseEnd, DoseNeed, DoseRelease, DoseVerification, DoseWorksheet
from dosing.selectors.questions import dosing_of, versions_that_dose
from trials.domain.conditions import Observed, Value
from trials.domain.derived import derive
from trials.models import Deviation, Membership, Participant, Trial
from trials.selectors import may_see_group

DEFAULT_LOW, DEFAULT_HIGH = Decimal("0.90"), Decimal("1.10")

# --- Worksheets ---------------------------------------------------------------------------------------------------


def worksheets_of(participant: Participant) -> QuerySet[DoseWorksheet]:
    """All of them, the latest first."""
    return (
        DoseWorksheet.objects.filter(participant=participant)
        .select_related("table", "proposed_by__user", "protocol_version__trial", "release__released_by__user")
        .prefetch_related(
            Prefetch("verifications", DoseVerification.objects.select_related("verified_by__user").order_by("pk"))
        )
        .order_by("-pk")
    )


def _versions_hidden_from(membership: Membership) -> list[int]:
    """Versions whose groups the membership may not know: doses would tell them."""
    versions = membership.trial.versions.select_related("trial")
    return [version.pk for version in versions if not may_see_group(membership, version.protocol)]


def worksheets(membership: Membership) -> QuerySet[DoseWorksheet]:
    """The worksheets that the membership may see."""
    rows = (
        DoseWorksheet.objects.visible_to(membership)
        .select_related("participant__site", "participant__protocol_version__trial", "table", "release")
        .order_by("participant__number", "-pk")
    )
    hidden = [
        version.pk for version in membership.trial.versions.all() if not may_see_group(membership, version.protocol)
    ]
    return rows.exclude(participant__protocol_version__in=hidden)


def worksheets_with_infusions(membership: Membership) -> QuerySet[DoseWorksheet]:
    """The same with what their states follow from: ``participant.counted_infusions`` and the verifications."""
    counted = Administration.objects.filter(is_void=False).select_related("participant__site").order_by("infusion")
    return worksheets(membership).prefetch_related(
        Prefetch("participant__administrations", counted, to_attr="counted_infusions"), "verifications"
    )


def worksheet_for(membership: Membership, pk: int) -> DoseWorksheet:
    return (
        DoseWorksheet.objects.visible_to(membership)
        .select_related(
            "participant__site",
            "participant__trial",
            "participant__protocol_version__trial",
            "participant__enrolment",
            "proposed_by",
            "table",
        )
        .get(pk=pk)
    )


def current_worksheet(participant: Participant) -> DoseWorksheet | None:
    """What was computed last from the facts."""
    rows = DoseWorksheet.objects.filter(participant=participant, is_current=True)
    return rows.filter(source=DoseWorksheet.Source.CALCULATION).first()


def plan_of_record(participant: Participant) -> DoseWorksheet | None:
    """The plan that what is given is compared with; None while there is none."""
    return DoseWorksheet.objects.filter(participant=participant, is_current=True, is_plan_of_record=True).first()


def is_open_proposal(worksheet: DoseWorksheet, given: Iterable[Administration]) -> bool:
    """Whether the worksheet was made for the open days of a level-guided course, and none of those has begun."""
    zone = ZoneInfo(worksheet.participant.site.time_zone)
    return _is_open(worksheet, {one.started_at.astimezone(zone).date() for one in given})


def _is_open(worksheet: DoseWorksheet, given_on: Collection[date]) -> bool:
    # Made after the first infusion, it is about the open days: from levels, or fixed again where a level was withdrawn.
    is_about_them = worksheet.method == "level_guided" and worksheet.inputs.get("first_dose_at")
    if worksheet.is_refused or not (worksheet.result.get("guided") or is_about_them):
        return False
    spec = dosing_of(worksheet.participant)
    open_days = listed_days(spec, "adjust_on") if spec is not None else ()
    opened = {date.fromisoformat(day["on"]) for day in worksheet.result["days"] if day["day"] in open_days}
    return not opened & set(given_on)


def agreed_verification(worksheet: DoseWorksheet) -> DoseVerification | None:
    return next((one for one in worksheet.verifications.all() if one.agrees), None)


def release_of(worksheet: DoseWorksheet) -> DoseRelease | None:
    return getattr(worksheet, "release", None)


def status_of(worksheet: DoseWorksheet, given: Collection[Administration] | None = None) -> WorksheetStatus:
    """The worksheet's state; ``given`` are the participant's infusions that count, where they are known already."""
    if given is None:
        given = list(administrations_of(worksheet.participant).filter(is_void=False))
    return worksheet_status(
        is_current=worksheet.is_current,
        is_imported=worksheet.source == DoseWorksheet.Source.IMPORT,
        is_refused=worksheet.is_refused,
        is_verified=agreed_verification(worksheet) is not None,
        is_released=release_of(worksheet) is not None,
        has_begun=bool(given) and not is_open_proposal(worksheet, given),
    )


# --- What was given -----------------------------------------------------------------------------------------------


def administrations_of(participant: Participant) -> QuerySet[Administration]:
    """All of them, void ones too, by infusion."""
    return Administration.objects.filter(participant=participant).order_by("infusion", "pk")


def administrations(membership: Membership) -> QuerySet[Administration]:
    rows = (
        Administration.objects.visible_to(membership)
        .select_related("participant__site")
        .order_by("participant__number", "infusion", "pk")
    )
    hidden = [
        version.pk for version in membership.trial.versions.all() if not may_see_group(membership, version.protocol)
    ]
    return rows.exclude(participant__protocol_version__in=hidden)


def administration_for(membership: Membership, pk: int) -> Administration:
    return (
        Administration.objects.visible_to(membership)
        .select_related(
            "participant__site",
            "participant__trial",
            "participant__protocol_version__trial",
            "participant__enrolment",
        )
        .get(pk=pk)
    )


def course_end(participant: Participant) -> CourseEnd | None:
    return CourseEnd.objects.filter(participant=participant, is_void=False).first()


def judged(participant: Participant, today: date) -> Administered | None:
    """What was given against the plan of record, as of ``today``; None without a plan."""
    plan = plan_of_record(participant)
    given = list(administrations_of(participant).filter(is_void=False).values_list("dose_mg", flat=True))
    return judge(participant, plan, given, today)


def judge(
    participant: Participant, plan: DoseWorksheet | None, given: Collection[Decimal], today: date
) -> Administered | None:
    if plan is None or plan.planned_mg is None or plan.last_day_on is None:
        return None
    low, high = ratio_bounds(participant)
    return administered(
        planned_mg=plan.planned_mg,
        given_mg=given,
        low=low,
        high=high,
        last_planned_day=plan.last_day_on,
        today=today,
        is_ended=course_end(participant) is not None,
    )


def may_deviate(participant: Participant) -> bool:
    """Whether the computed rules can say anything: something was given or ended, imported, or found before.

    Until then a changed fact makes a new plan, and no deviation from one.
    """
    return (
        Administration.objects.filter(participant=participant, is_void=False).exists()
        or course_end(participant) is not None
        or participant.deviations.filter(source=Deviation.Source.CALCULATION, is_void=False).exists()
        or DoseWorksheet.objects.filter(
            participant=participant, is_current=True, source=DoseWorksheet.Source.IMPORT
        ).exists()
    )


def ratio_bounds(participant: Participant) -> tuple[Decimal, Decimal]:
    """Given over planned that is no deviation, both ends inside."""
    spec = dosing_of(participant)
    bounds = spec.deviation if spec is not None else None
    return (bounds.low, bounds.high) if bounds is not None else (DEFAULT_LOW, DEFAULT_HIGH)


@dataclass(frozen=True)
class Given:
    """The cumulative dose of one participant, per kg of the plan's weight, and over the plan; None without a plan.

    ``first_on`` is the calendar date of the first infusion at the site.
    """

    mg: Decimal
    first_on: date
    mg_per_kg: Decimal | None
    over_planned: Decimal | None


def given_by_participant(trial: Trial) -> dict[int, Given]:
    """What each participant of the trial was given, in bulk."""
    plans = {
        plan.participant_id: plan
        for plan in DoseWorksheet.objects.filter(participant__trial=trial, is_current=True, is_plan_of_record=True)
    }
    sums: dict[int, Decimal] = defaultdict(Decimal)
    firsts: dict[int, date] = {}
    rows = Administration.objects.filter(participant__trial=trial, is_void=False).order_by("started_at")
    for participant, mg, started_at, zone in rows.values_list(
        "participant_id", "dose_mg", "started_at", "participant__site__time_zone"
    ):
        sums[participant] += mg
        firsts.setdefault(participant, started_at.astimezone(ZoneInfo(zone)).date())
    found = {}
    for participant, mg in sums.items():
        plan = plans.get(participant)
        weight = input_of(plan, WEIGHT) if plan else None
        per_kg = mg / Decimal(weight) if weight and Decimal(weight) else None
        found[participant] = Given(
            mg, firsts[participant], per_kg, mg / plan.planned_mg if plan and plan.planned_mg else None
        )
    return found


def input_of(worksheet: DoseWorksheet, name: str) -> str:
    """One covariate of a stored worksheet as text; empty where it had none."""
    for one in worksheet.inputs.get("covariates", ()):
        if one["id"] == name:
            return str(one["value"]) if one["value"] is not None else ""
    return ""


# --- For rules of the definition ----------------------------------------------------------------------------------


def computed_items(participant: Participant, today: date | None = None) -> dict[str, Observed]:
    """The items of the definition that follow from plan and doses, where it has them; not known while provisional.

    An item is recognised by what it says it is computed from (``dose_worksheet``, ``given_over_planned``), and those
    over given doses by the rows of the form ``EX``.
    """
    today = today or timezone.now().astimezone(ZoneInfo(participant.site.time_zone)).date()
    protocol, plan = participant.protocol, plan_of_record(participant)
    given = list(administrations_of(participant).filter(is_void=False))
    verdict = judge(participant, plan, [one.dose_mg for one in given], today)
    known: dict[str, Observed] = {}
    facts: dict[str, Value] = {}
    if plan is not None:
        facts = {
            "SOURCE": plan.graft_source or None,
            "TOTAL_MG_PER_KG": plan.total_mg_per_kg,
            "DAYS": Decimal(plan.n_days) if plan.n_days else None,
        }
    for form in protocol.forms:
        for item in form.items:
            address = f"{form.id}.{item.id}"
            if form.repeating:
                continue
            if item.computed == "given_over_planned":
                ratio = verdict.ratio if verdict is not None and verdict.is_final else None
                known[address] = Observed(ratio, "given doses", unit=item.unit)
            elif item.computed == "dose_worksheet":
                known[address] = Observed(facts.get(item.id), str(plan) if plan else "dose plan", unit=item.unit)
    return _with_derived(participant, known, _infusion_rows(participant, given))


def _infusion_rows(participant: Participant, given: list[Administration]) -> list[dict[str, Observed]]:
    zone = ZoneInfo(participant.site.time_zone)
    rows = []
    for one in given:
        started, stopped = (moment.astimezone(zone).replace(tzinfo=None) for moment in (one.started_at, one.stopped_at))
        source = f"infusion {one.infusion}"
        rows.append(
            {
                "EX.START": Observed(started, source, started),
                "EX.STOP": Observed(stopped, source, started),
                "EX.DOSE": Observed(one.dose_mg, source, started, unit="mg"),
                "EX.PRODUCT": Observed(one.product, source, started),
            }
        )
    return rows


def _with_derived(
    participant: Participant, known: dict[str, Observed], infusions: list[dict[str, Observed]]
) -> dict[str, Observed]:
    """The derived items that rest on given doses, and those that rest on them in turn."""
    protocol = participant.protocol
    rows: dict[str, list[dict[str, Observed]]] = {"EX": infusions}
    values: Mapping[str, Observed] | None = None
    computed_forms = {address.partition(".")[0] for address in known}
    for spec in protocol.derived:
        form = spec.item.partition(".")[0]
        if form != "EX" and spec.id.partition(".")[0] not in computed_forms:
            continue
        if form and form not in rows:
            rows[form] = list(_form_rows(participant, form))
        if values is None:
            values = casebook.item_values(participant)
        known[spec.id] = derive(spec, {**values, **known}, rows)
    return known


def _form_rows(participant: Participant, form_id: str) -> Iterator[dict[str, Observed]]:
    form = participant.protocol.form(form_id)
    items = {item.id: item for item in form.items}
    for entry in casebook.entries_of_trial(participant.trial, form=form_id, participants=[participant.pk]):
        yield {
            f"{form_id}.{name}": observed(items[name], FormAnswer.from_stored(stored), source=form.label)
            for name, stored in entry.answers.items()
            if name in items
        }


# --- Work to be done ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WaitingDose:
    """A dose that waits for a person, and the first of its days that nothing was given on yet."""

    worksheet: DoseWorksheet
    on: date
    is_first: bool


@dataclass(frozen=True)
class OpenWork:
    """What is to be done about doses in the reach of a membership."""

    to_verify: tuple[WaitingDose, ...]
    to_release: tuple[WaitingDose, ...]
    due_today: tuple[tuple[DoseWorksheet, int], ...]
    refused: tuple[DoseWorksheet, ...]


def open_work(membership: Membership, today: date) -> OpenWork:
    """Doses to verify and to release, infusions due on ``today``, and worksheets that could not be computed."""
    rows = (
        worksheets(membership)
        .filter(is_current=True, source=DoseWorksheet.Source.CALCULATION, participant__status="enrolled")
        .exclude(
            Exists(
                DoseWorksheet.objects.filter(
                    participant=OuterRef("participant"), is_current=True, source=DoseWorksheet.Source.IMPORT
                )
            )
        )
        .prefetch_related("verifications")
    )
    ended = set(
        CourseEnd.objects.filter(is_void=False, participant__trial=membership.trial).values_list(
            "participant_id", flat=True
        )
    )
    given: dict[int, set[date]] = defaultdict(set)
    for infusion in (
        Administration.objects.visible_to(membership).filter(is_void=False).select_related("participant__site")
    ):
        zone = ZoneInfo(infusion.participant.site.time_zone)
        given[infusion.participant_id].add(infusion.started_at.astimezone(zone).date())
    to_verify: list[WaitingDose] = []
    to_release: list[WaitingDose] = []
    refused: list[DoseWorksheet] = []
    due: list[tuple[DoseWorksheet, int]] = []
    for row in rows:
        if row.participant_id in ended:
            continue
        if row.is_refused:
            if not given[row.participant_id]:
                refused.append(row)
            continue
        if release_of(row) is None:
            if not given[row.participant_id] or _is_open(row, given[row.participant_id]):
                waiting = _waiting(row, given[row.participant_id])
                (to_release if agreed_verification(row) else to_verify).append(waiting)
            continue
        for number, day in enumerate(row.result["days"], start=1):
            on = date.fromisoformat(day["on"])
            if on <= today and on not in given[row.participant_id] and today <= (row.last_day_on or on):
                due.append((row, number))
    return OpenWork(tuple(to_verify), tuple(to_release), tuple(due), tuple(refused))


def _waiting(worksheet: DoseWorksheet, given_on: Collection[date]) -> WaitingDose:
    days = [date.fromisoformat(day["on"]) for day in worksheet.result["days"]]
    on = next((day for day in days if day not in given_on), days[-1])
    return WaitingDose(worksheet, on, is_first=on == days[0])


def is_marked(participant: int, today: date) -> bool:
    """Whether something is asked for of the participant's dose that is due by today."""
    return DoseNeed.objects.filter(participant=participant, due_on__lte=today).exists()


def needing_work(today: date, *, limit: int = 200) -> list[int]:
    """Participants whose inputs are newer than what was computed, or whose course is over by today, oldest first;
    and the enrolled ones for whom nothing was computed yet."""
    marked = list(DoseNeed.objects.filter(due_on__lte=today).order_by("since").values_list("pk", flat=True)[:limit])
    versions = versions_that_dose()
    without = (
        Participant.objects.filter(is_external=False, protocol_version__in=versions)
        .enrolled()
        .exclude(
            Exists(
                DoseWorksheet.objects.filter(
                    participant=OuterRef("pk"), is_current=True, source=DoseWorksheet.Source.CALCULATION
                )
            )
        )
        .exclude(pk__in=marked)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    return marked + list(without[: limit - len(marked)])
