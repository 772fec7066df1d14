"""What the pages show: the dose card, the next infusion of the plan, and the review of a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.utils import timezone

from accounts.roles import Permission
from dosing.domain.administered import Administered
from dosing.domain.heat_map import HeatMap, heat_map
from dosing.domain.model_files import differing, flat
from dosing.domain.nomogram import Cell, Table
from dosing.domain.table_rules import RULES, Difference, Finding, differences, validate
from dosing.models import (
    Administration,
    CourseEnd,
    DoseNeed,
    DoseRelease,
    DoseVerification,
    DoseWorksheet,
    DosingModel,
    DosingTable,
)
from dosing.selectors.questions import (
    active_model,
    active_table,
    bounds_for,
    content_of,
    dosing_of,
    entered_by,
    expects_dose,
    is_intact,
)
from dosing.selectors.records import (
    administrations_of,
    agreed_verification,
    course_end,
    is_open_proposal,
    judged,
    plan_of_record,
    release_of,
    worksheets_of,
)
from trials.domain.definition import CheckBy, ItemType
from trials.models import Deviation, Membership, Participant
from trials.permissions import may
from trials.selectors import removal_rule


@dataclass(frozen=True)
class InfusionLine:
    """One row of the card: what was planned for a day, and what was given."""

    number: int
    day: int | None
    on: date | None
    planned_mg: Decimal | None
    planned_ml: Decimal | None
    vials: int | None
    waste_mg: Decimal | None
    given: Administration | None
    is_due: bool = False


@dataclass(frozen=True)
class Scale:
    """The bar of given over planned, in the units of its drawing (0 to 300 for 0 to 150 %)."""

    low: Decimal
    width: Decimal
    at: Decimal
    low_percent: Decimal
    high_percent: Decimal


@dataclass(frozen=True)
class DoseCard:
    """Everything on the dose card of a participant, for one membership."""

    worksheet: DoseWorksheet | None
    plan: DoseWorksheet | None
    imported: DoseWorksheet | None
    is_expected: bool
    is_awaited: bool
    is_hidden: bool
    verification: DoseVerification | None
    refuted: DoseVerification | None
    release: DoseRelease | None
    may_verify: bool
    may_release: bool
    heat_map: HeatMap | None
    lines: tuple[InfusionLine, ...]
    vials: int | None
    waste_mg: Decimal | None
    verdict: Administered | None
    scale: Scale | None
    end: CourseEnd | None
    deviations: tuple[Deviation, ...]
    awaiting: frozenset[int]
    earlier: tuple[DoseWorksheet, ...]
    has_begun: bool
    #: Whether the worksheet is one that a person has to verify or release before it may be given.
    is_open: bool

    @property
    def remarks(self) -> list[str]:
        """The warnings of the worksheet, without those that the part on the levels tells with their way out."""
        if self.worksheet is None:
            return []
        result = self.worksheet.result
        is_told = (result.get("guided") or {"proposal": True})["proposal"] is None
        told = ("fallback", "no_") if is_told else ()
        return [one["sentence"] for one in result["warnings"] if not one["code"].startswith(told)]

    @property
    def asked(self) -> list[str]:
        """What the second person enters, without its values."""
        return [str(one["label"]) for one in self.worksheet.inputs["covariates"]] if self.worksheet else []

    @property
    def has_volumes(self) -> bool:
        """Whether the protocol states a concentration, so that a dose is a volume and vials as well."""
        return any(line.planned_ml is not None for line in self.lines)


def dose_card(participant: Participant, membership: Membership, today: date, *, looks: bool = False) -> DoseCard:
    """The card as the membership sees it.

    Who could still verify the dose does not see its inputs, so that the second entry is a second one; ``looks`` shows
    them all the same.
    """
    rows = list(worksheets_of(participant))
    current = [row for row in rows if row.is_current]
    worksheet = next((row for row in current if row.source == DoseWorksheet.Source.CALCULATION), None)
    imported = next((row for row in current if row.source == DoseWorksheet.Source.IMPORT), None)
    plan = next((row for row in current if row.is_plan_of_record), None)
    given = list(administrations_of(participant).filter(is_void=False))
    agreed = agreed_verification(worksheet) if worksheet else None
    released = release_of(worksheet) if worksheet else None
    stands = (
        worksheet is not None
        and not worksheet.is_refused
        and (not given or is_open_proposal(worksheet, given))
        and imported is None
    )
    is_second = (
        stands
        and worksheet is not None
        and may(membership, Permission.CONFIRM_DOSE, participant)
        and (worksheet.proposed_by is None or worksheet.proposed_by.user_id != membership.user_id)
    )
    may_verify = (
        is_second
        and agreed is None
        and worksheet is not None
        and membership.user_id not in entered_by(participant, worksheet)
    )
    verdict = judged(participant, today)
    deviations = tuple(participant.deviations.filter(is_void=False).order_by("rule", "pk"))
    shown = plan or worksheet
    lines = _lines(shown, given, today) if shown is not None and not shown.is_refused else _given_only(given)
    waste = [line.waste_mg for line in lines if line.waste_mg is not None]
    refuted = None
    if worksheet is not None and agreed is None:
        refuted = next((one for one in reversed(worksheet.verifications.all()) if not one.agrees), None)
    return DoseCard(
        worksheet=worksheet,
        plan=plan,
        imported=imported,
        is_expected=expects_dose(participant),
        is_awaited=_is_awaited(participant, worksheet, today),
        is_hidden=may_verify and not looks,
        verification=agreed,
        refuted=refuted,
        release=released,
        may_verify=may_verify,
        may_release=is_second
        and agreed is not None
        and released is None
        and agreed.verified_by.user_id == membership.user_id,
        heat_map=_ringed(worksheet) if worksheet is not None else None,
        lines=lines,
        vials=sum(line.vials for line in lines if line.vials) or None,
        waste_mg=sum(waste, Decimal(0)) if waste else None,
        verdict=verdict,
        scale=_scale(verdict) if verdict is not None and given else None,
        end=course_end(participant),
        deviations=deviations,
        awaiting=frozenset(one.pk for one in deviations if _awaits_a_person(participant, one)),
        earlier=tuple(row for row in rows if not row.is_current),
        has_begun=bool(given),
        is_open=stands and released is None,
    )


def _awaits_a_person(participant: Participant, deviation: Deviation) -> bool:
    """Whether the rule of the deviation asks a person, who did not answer yet."""
    rule = removal_rule(participant, deviation.rule) if deviation.rule else None
    return rule is not None and rule.check is not CheckBy.AUTO and deviation.is_confirmed is None


def _is_awaited(participant: Participant, worksheet: DoseWorksheet | None, today: date) -> bool:
    """Whether a worksheet is on its way: none yet, or facts newer than the one that there is."""
    if not expects_dose(participant):
        return False
    return worksheet is None or DoseNeed.objects.filter(participant=participant, due_on__lte=today).exists()


def _lines(plan: DoseWorksheet, given: list[Administration], today: date) -> tuple[InfusionLine, ...]:
    by_number = {one.infusion: one for one in given}
    lines = []
    for number, day in enumerate(plan.result["days"], start=1):
        on = date.fromisoformat(day["on"])
        lines.append(
            InfusionLine(
                number,
                day["day"],
                on,
                Decimal(day["mg"]),
                _decimal(day["ml"]),
                day["vials"],
                _decimal(day["waste_mg"]),
                by_number.pop(number, None),
                is_due=on == today,
            )
        )
    return (*lines, *_given_only(list(by_number.values())))


def _given_only(given: list[Administration]) -> tuple[InfusionLine, ...]:
    return tuple(InfusionLine(one.infusion, None, None, None, None, None, None, one) for one in given)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _scale(verdict: Administered) -> Scale:
    whole = Decimal(200)  # the length of 100 %
    at = (min(verdict.ratio, Decimal("1.5")) * whole).quantize(Decimal("0.1"))
    return Scale(verdict.low * whole, (verdict.high - verdict.low) * whole, at, 100 * verdict.low, 100 * verdict.high)


def _ringed(worksheet: DoseWorksheet) -> HeatMap | None:
    """The table that the dose was looked up in, with the cell that was found."""
    marked = worksheet.result.get("cell")
    if worksheet.table is None or not marked:
        return None
    table = content_of(worksheet.table)
    weight, alc, source = marked
    cell = next(
        (one for one in table.of(source) if one.weight_lo == Decimal(weight) and one.alc_lo == Decimal(alc)), None
    )
    return heat_map(table, source, ringed=cell)


@dataclass(frozen=True)
class NextInfusion:
    """What the form of an infusion starts with."""

    number: int
    mg: Decimal | None
    starts: datetime | None
    on: date | None
    day: int | None


def next_infusion(participant: Participant) -> NextInfusion:
    """The first infusion that is not recorded yet, with the amount of the plan.

    A dose that nobody released is not filled in: it must not be given yet, and who may still verify it has not seen it.
    """
    taken = set(administrations_of(participant).filter(is_void=False).values_list("infusion", flat=True))
    number = next(one for one in range(1, len(taken) + 2) if one not in taken)
    plan = plan_of_record(participant)
    days = plan.result["days"] if plan is not None else []
    if number > len(days):
        return NextInfusion(number, None, None, None, None)
    day = days[number - 1]
    on = date.fromisoformat(day["on"])
    today = timezone.now().astimezone(ZoneInfo(participant.site.time_zone)).date()
    starts = datetime.combine(on, time(10)) if on <= today else None
    may_be_given = plan is not None and (plan.source == DoseWorksheet.Source.IMPORT or release_of(plan) is not None)
    return NextInfusion(number, Decimal(day["mg"]) if may_be_given else None, starts, on, day["day"])


def graft_choices(participant: Participant) -> list[tuple[str, str]]:
    """The graft sources of the definition, in its words."""
    spec = dosing_of(participant)
    for covariate in spec.covariates if spec is not None else ():
        try:
            item = participant.protocol.item(covariate.item)
        except KeyError:
            continue
        if item.type is ItemType.CODE:
            return [(code.value, code.label) for code in item.codes if not code.unknown]
    return []


# --- The review of a parameter set or an algorithm ----------------------------------------------------------------


@dataclass(frozen=True)
class ModelReview:
    """What an approver looks at: every value by its place, and what differs from the one in force."""

    values: tuple[tuple[str, str], ...]
    is_intact: bool
    active: DosingModel | None
    differences: tuple[tuple[str, str, str], ...]


def model_review(row: DosingModel) -> ModelReview:
    active = active_model(row.trial, row.code)
    other = active if active is not None and active.pk != row.pk else None
    shown = {"title", "code", "product", "source_citation", "licence_note"}
    return ModelReview(
        values=tuple((place, value) for place, value in flat(row.content).items() if place not in shown and value),
        is_intact=is_intact(row),
        active=other,
        differences=differing(other.content, row.content) if other is not None else (),
    )


# --- The review of a table ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RuleLine:
    number: int
    text: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Review:
    """What an approver looks at."""

    content: Table
    is_intact: bool
    rules: tuple[RuleLine, ...]
    maps: tuple[HeatMap, ...]
    active: DosingTable | None
    differences: tuple[Difference, ...]
    is_named: bool


def review_of(row: DosingTable) -> Review:
    """The five rules, the picture of each graft source, and what differs from the table in force."""
    content = content_of(row)
    limits = bounds_for(row.trial, row.code)
    findings = validate(content, bounds=limits[0], required_sources=limits[1]) if limits is not None else ()
    active = active_table(row.trial, row.code)
    other = content_of(active) if active is not None and active.pk != row.pk else None
    changed: list[Cell] = []
    if other is not None:
        before = {cell.key: cell for cell in other.cells}
        changed = [cell for cell in content.cells if before.get(cell.key) != cell]
    return Review(
        content=content,
        is_intact=is_intact(row),
        rules=tuple(
            RuleLine(number, text, tuple(one for one in findings if one.rule == number))
            for number, text in RULES.items()
        ),
        maps=tuple(heat_map(content, source, changed=changed) for source in content.sources),
        active=active if other is not None else None,
        differences=differences(other, content) if other is not None else (),
        is_named=limits is not None,
    )
