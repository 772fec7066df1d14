"""A trial as data: the frozen dataclasses that one definition file is read into.

The file says *what* the protocol says; *how* is a tested function elsewhere, named by ``method``.
Each field carries one sentence of help, from which the reference page of the language is generated
(:mod:`trials.domain.reference`), and the reader, the stored form and the differences between two versions
all follow these classes (:mod:`trials.domain.language`): a new field is written here and nowhere else.

Every clause may carry ``source`` (page or section) and ``assumed`` (the protocol is silent, the value is ours).
The address of an item is ``FORM.ITEM``; of a laboratory analyte ``LB.CD4``, with ``LB.CD4_LLN`` and ``LB.CD4_ULN``
for the limits of the laboratory on that date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from .conditions import Condition

Scalar = str | int | Decimal | bool | None
#: What a method may be told: scalars, lists and mappings of them.
Free = Scalar | tuple["Free", ...] | Mapping[str, "Free"]


@dataclass(frozen=True)
class Key:
    """The name of a field in the file, where its own name would be a Python word."""

    name: str


class Rest:
    """Marks the one mapping that takes the keys no other field claims: the parameters of a method."""


REST = Rest()


class Capture(StrEnum):
    PROSPECTIVE = "prospective"
    RETROSPECTIVE = "retrospective"


class GroupKind(StrEnum):
    ARM = "arm"
    COHORT = "cohort"
    EXTERNAL = "external"


class ItemType(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    DATE = "date"
    PARTIAL_DATE = "partial_date"
    DATETIME = "datetime"
    CODE = "code"
    YES_NO_UNKNOWN = "yes_no_unknown"


class CheckBy(StrEnum):
    """Who decides a criterion: the item, a human, or the item first and then a human."""

    AUTO = "auto"
    HUMAN = "human"
    AUTO_HUMAN = "auto_human"


class Severity(StrEnum):
    HARD = "hard"
    SOFT = "soft"


class PredictorKind(StrEnum):
    """How a value of a participant enters a table or a model."""

    CONTINUOUS = "continuous"
    CATEGORIES = "categories"
    CUT = "cut"


class EndpointRole(StrEnum):
    PRIMARY = "primary"
    SECONDARY = "secondary"
    EXPLORATORY = "exploratory"


class Match(StrEnum):
    """How closely a term printed in a report equals a term of the dictionary."""

    EXACT = "exact"
    SPELLING = "spelling"
    NEAR = "near"
    OTHER = "other"


class DerivedFunction(StrEnum):
    COMPLETED_YEARS = "completed_years"
    YEARS_BETWEEN = "years_between"
    DAYS_BETWEEN = "days_between"
    FIRST = "first"
    LAST = "last"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    COUNT = "count"
    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True, kw_only=True)
class Clause:
    """What every clause may say about itself."""

    source: Annotated[str, "Where the protocol says so: page, section or table."] = ""
    assumed: Annotated[bool, "The protocol is silent; the value is a default to be signed."] = False
    note: Annotated[str, "A remark for the reader of the file."] = ""


@dataclass(frozen=True, kw_only=True)
class Anchor(Clause):
    """The event that days are counted from."""

    event: Annotated[str, "Name of the event, such as `transplant`."]
    item: Annotated[str, "Address of the item that holds its date."] = ""
    label: Annotated[str, "The words a reader sees for it, such as `graft infusion`."] = ""
    first_day: Annotated[int, "Day number of the event itself: 0, or 1 when there is no day 0."]
    earliest_day: Annotated[
        int | None,
        "First day on which a visit may be planned; without it no visit may lie before the anchor.",
    ] = None


@dataclass(frozen=True, kw_only=True)
class Group(Clause):
    """One arm, cohort or set of external controls."""

    id: Annotated[str, "Name of the group."]
    label: Annotated[str, "The words a reader sees."]
    kind: Annotated[GroupKind, "`arm`, `cohort` or `external`."]
    planned: Annotated[int | None, "Planned number of participants."] = None


@dataclass(frozen=True, kw_only=True)
class Assignment(Clause):
    """How a participant comes into a group; the method's own parameters stand beside `method`."""

    method: Annotated[str, "`single_arm`, `permuted_blocks` or `as_treated`."]
    parameters: Annotated[Mapping[str, Free], "Parameters of the method.", REST] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Review(Clause):
    """How many people read the same record independently."""

    readers: Annotated[int, "Number of independent readers."] = 1
    forms: Annotated[tuple[str, ...], "Forms that are read by each of them."] = ()
    third_reader_decides: Annotated[bool, "A third reader settles a difference."] = False


@dataclass(frozen=True, kw_only=True)
class Stage(Clause):
    """One stage of a staged design, counted in evaluable participants at its end (cumulative)."""

    n: Annotated[int, "Evaluable participants at the end of the stage."]
    continue_if_at_least: Annotated[int | None, "Responders needed to go on."] = None
    succeed_if_at_least: Annotated[int | None, "Responders needed to call the treatment worthwhile."] = None


@dataclass(frozen=True, kw_only=True)
class Design(Clause):
    """What the trial was sized for and when it stops."""

    method: Annotated[str, "`simon_two_stage`, `single_proportion`, `two_group_superiority`, ..."]
    endpoint: Annotated[str, "Id of the endpoint that decides."] = ""
    analysis_set: Annotated[str, "Id of the analysis set that is counted."] = ""
    null: Annotated[Decimal | None, "Response rate not worth pursuing, 0 to 1."] = None
    alternative: Annotated[Decimal | None, "Response rate hoped for, 0 to 1."] = None
    alpha: Annotated[Decimal | None, "Type I error."] = None
    power: Annotated[Decimal | None, "Power."] = None
    sides: Annotated[int | None, "1 or 2 sided."] = None
    planned: Annotated[int | None, "Planned number of participants."] = None
    stages: Annotated[tuple[Stage, ...], "Stages in order, each with a cumulative number."] = ()
    hold_enrolment: Annotated[bool, "Enrolment pauses while a stage matures."] = False
    safety_review_required: Annotated[bool, "A gate opens only with a signed safety review."] = False
    parameters: Annotated[Mapping[str, Free], "Parameters of the method.", REST] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SiteSpec(Clause):
    """One hospital."""

    code: Annotated[str, "Short code, unique in the trial."]
    name: Annotated[str, "Name of the hospital."]
    timezone: Annotated[str, "IANA time zone, such as `Europe/Amsterdam`."]
    country: Annotated[str, "ISO 3166 alpha-2 code."]
    enrols: Annotated[bool, "False for a site that only holds historical records."] = True


@dataclass(frozen=True, kw_only=True)
class ConsentVersion(Clause):
    """One approved consent document and when it may be signed."""

    version: Annotated[str, "Version printed on the document."]
    valid_from: Annotated[date, "First day on which it may be signed."]
    valid_until: Annotated[date | None, "Last day; empty while it is in force."] = None
    sites: Annotated[tuple[str, ...], "Site codes; empty means every site."] = ()


@dataclass(frozen=True, kw_only=True)
class SignatoryRule(Clause):
    """Who must sign, for the participants that `when` describes."""

    signatories: Annotated[tuple[str, ...], "Every one of them signs."]
    minimum: Annotated[int | None, "Smallest number of signatures; empty means one of each."] = None
    when: Annotated[Condition | None, "For whom the rule holds; empty means for everyone."] = None


@dataclass(frozen=True, kw_only=True)
class Consent(Clause):
    """Which consent counts."""

    required: Annotated[bool, "False where a waiver of consent was granted."] = True
    versions: Annotated[tuple[ConsentVersion, ...], "Approved documents."] = ()
    signatories: Annotated[tuple[SignatoryRule, ...], "Who signs; the first rule that applies counts."] = ()


@dataclass(frozen=True, kw_only=True)
class Code(Clause):
    """One answer of a coded item."""

    value: Annotated[str, "Stored value."]
    label: Annotated[str, "The words a reader sees."]
    unknown: Annotated[bool, "This answer means *not known*: rules treat it as missing."] = False


@dataclass(frozen=True, kw_only=True)
class Item(Clause):
    """One question of a form."""

    id: Annotated[str, "Capital letters, digits and `_`; the address is `FORM.ITEM`."]
    label: Annotated[str, "The question as it is asked."]
    type: Annotated[ItemType, "Kind of answer."]
    unit: Annotated[str, "Canonical unit of a number."] = ""
    accepted_units: Annotated[tuple[str, ...], "Other units it may be written in."] = ()
    codes: Annotated[tuple[Code, ...], "Answers of a `code` item."] = ()
    minimum: Annotated[Decimal | None, "Below this the value is refused."] = None
    maximum: Annotated[Decimal | None, "Above this the value is refused."] = None
    soft_minimum: Annotated[Decimal | None, "Below this the value is questioned."] = None
    soft_maximum: Annotated[Decimal | None, "Above this the value is questioned."] = None
    decimals: Annotated[int | None, "Decimal places accepted."] = None
    max_length: Annotated[int | None, "Longest text accepted."] = None
    required: Annotated[
        bool,
        "Must be answered, or given a missing reason, for the form to be complete.",
    ] = False
    visible_when: Annotated[Condition | None, "Asked only when this holds."] = None
    missing_reasons: Annotated[tuple[str, ...], "Reasons accepted instead of an answer."] = ("ND", "NA", "UNK")
    computed: Annotated[str, "Not typed: `derived` (section `derived`) or the name of a calculation."] = ""
    computed_from: Annotated[
        Mapping[str, str], "Argument of the calculation, and the item of the same form that gives it."
    ] = field(default_factory=dict)
    identifying: Annotated[bool, "Identifies a person: left out of exports."] = False
    help: Annotated[str, "One sentence under the question."] = ""


@dataclass(frozen=True, kw_only=True)
class Form(Clause):
    """One case report form."""

    id: Annotated[str, "Capital letters, digits and `_`."]
    label: Annotated[str, "Title of the form."]
    repeating: Annotated[bool, "Several rows per visit or per participant (medication, events)."] = False
    per_participant: Annotated[bool, "Kept once for the participant rather than at each visit."] = False
    order_by: Annotated[str, "Id of the date item that orders the rows of a repeating form."] = ""
    groups: Annotated[tuple[str, ...], "Groups it is asked of; empty means all."] = ()
    items: Annotated[tuple[Item, ...], "Questions in order."]


@dataclass(frozen=True, kw_only=True)
class Analyte(Clause):
    """One laboratory quantity, entered in the result grid rather than in a form."""

    id: Annotated[str, "Short name, such as `CD4`."]
    label: Annotated[str, "The words a reader sees."]
    form: Annotated[str, "Prefix of its address: `LB`, `VL` (viral load) or `PC` (drug level)."] = "LB"
    canonical_unit: Annotated[str, "Unit it is stored and computed in."]
    accepted_units: Annotated[tuple[str, ...], "Other units a laboratory may report."] = ()
    decimals: Annotated[int | None, "Decimal places accepted in the canonical unit."] = None
    plausible_low: Annotated[Decimal | None, "Below this the value is questioned (canonical unit)."] = None
    plausible_high: Annotated[Decimal | None, "Above this the value is questioned (canonical unit)."] = None
    unit_check_above: Annotated[Decimal | None, "Above this the unit is asked again (canonical unit)."] = None
    lloq: Annotated[Decimal | None, "Lower limit of quantification, where one assay is fixed."] = None
    per_assay: Annotated[bool, "Values of different assays or specimens are never compared."] = False
    max_per_day: Annotated[int | None, "Most samples expected on one date."] = None


@dataclass(frozen=True, kw_only=True)
class Panel(Clause):
    """Analytes that are entered together, a column each, in the grid of results."""

    id: Annotated[str, "Name of the panel."]
    label: Annotated[str, "The words a reader sees."]
    analytes: Annotated[tuple[str, ...], "Addresses in the order of the laboratory report."]


@dataclass(frozen=True, kw_only=True)
class Every:
    """An interval; exactly one of the three."""

    days: Annotated[int | None, "Days."] = None
    weeks: Annotated[int | None, "Weeks."] = None
    months: Annotated[int | None, "Months of 30.4375 days, rounded to whole days from the anchor."] = None


@dataclass(frozen=True, kw_only=True)
class VisitSpec(Clause):
    """One visit, or a series of them (`every`)."""

    code: Annotated[str, "Unique code; in a series with `{n}` (running number) or `{day}`."]
    label: Annotated[str, "The words a reader sees; may hold `{n}` and `{day}`."]
    day: Annotated[int | None, "Planned day."] = None
    from_day: Annotated[int | None, "First day of a range or series.", Key("from")] = None
    to_day: Annotated[int | None, "Last day of a range or series.", Key("to")] = None
    every: Annotated[Every | None, "Interval of a series."] = None
    number_from: Annotated[int, "First running number `{n}` of a series."] = 1
    number_step: Annotated[int, "Step of the running number."] = 1
    window_before: Annotated[int, "Days before the planned day that still count."] = 0
    window_after: Annotated[int, "Days after the planned day that still count."] = 0
    unscheduled: Annotated[bool, "May happen on any day, any number of times."] = False
    series: Annotated[str, "Windows must not overlap inside one series."] = "visits"
    overlap_allowed: Annotated[bool, "Windows may overlap; needs `overlap_reason`."] = False
    overlap_reason: Annotated[str, "Why windows may overlap."] = ""
    groups: Annotated[tuple[str, ...], "Groups that have the visit; empty means all."] = ()
    forms: Annotated[tuple[str, ...], "Forms due at the visit."] = ()
    panels: Annotated[tuple[str, ...], "Panels due at the visit."] = ()
    analytes: Annotated[tuple[str, ...], "Further single analytes due at the visit."] = ()


@dataclass(frozen=True, kw_only=True)
class Sampling(Clause):
    """Sampling that goes on between visits."""

    id: Annotated[str, "Name."]
    label: Annotated[str, "The words a reader sees."]
    panels: Annotated[tuple[str, ...], "Panels that are sampled."] = ()
    every_days: Annotated[int | None, "Days between samples."] = None
    per_week: Annotated[int | None, "Samples a week."] = None
    from_day: Annotated[int | None, "First day.", Key("from")] = None
    to_day: Annotated[int | None, "Last day.", Key("to")] = None
    until: Annotated[str, "The event that ends it earlier, in words."] = ""
    max_gap_days: Annotated[int | None, "A longer gap raises a flag."] = None


@dataclass(frozen=True, kw_only=True)
class ConditionExample:
    """Values and the answer a rule must give for them; a rule whose example fails does not load."""

    given: Annotated[Mapping[str, Free], "Address and value; an address left out is missing."] = field(
        default_factory=dict
    )
    then: Annotated[str, "`yes`, `no` or `unknown`."]


@dataclass(frozen=True, kw_only=True)
class Criterion(Clause):
    """One criterion; an inclusion must be met, an exclusion must not be met."""

    id: Annotated[str, "Id as in the protocol, unique over inclusion, exclusion and removal."]
    text: Annotated[str, "The criterion in words."]
    check: Annotated[CheckBy, "`auto`, `human` or `auto_human`."] = CheckBy.AUTO
    when: Annotated[Condition | None, "The rule; required for `auto` and `auto_human`."] = None
    applies_when: Annotated[Condition | None, "Outside this the criterion is not applicable."] = None
    waivable_by: Annotated[tuple[str, ...], "Roles that may waive it, with a reason."] = ()
    answered_by: Annotated[tuple[str, ...], "Roles that answer it by hand."] = ("investigator",)
    max_age_days: Annotated[int | None, "Oldest value that still counts at sign-off."] = None
    examples: Annotated[tuple[ConditionExample, ...], "Values and the answer of `when`."] = ()


@dataclass(frozen=True, kw_only=True)
class RemovalRule(Clause):
    """A major protocol deviation after enrolment and what it takes the participant out of."""

    id: Annotated[str, "Id as in the protocol."]
    text: Annotated[str, "The rule in words."]
    check: Annotated[CheckBy, "Who decides."]
    when: Annotated[Condition | None, "The rule, where items decide."] = None
    removed_from: Annotated[tuple[str, ...], "Analysis sets the participant leaves."]
    decided_by: Annotated[tuple[str, ...], "Roles that confirm it."] = ("investigator",)
    examples: Annotated[tuple[ConditionExample, ...], "Values and the answer of `when`."] = ()


@dataclass(frozen=True, kw_only=True)
class Eligibility(Clause):
    """Who may take part."""

    include: Annotated[tuple[Criterion, ...], "Every one must be met."] = ()
    exclude: Annotated[tuple[Criterion, ...], "None may be met."] = ()
    removal: Annotated[tuple[RemovalRule, ...], "Reasons for leaving analysis sets after enrolment."] = ()
    screen_failure_reasons: Annotated[tuple[Code, ...], "Reasons offered when a screening fails."] = ()


@dataclass(frozen=True, kw_only=True)
class Derived(Clause):
    """A value computed from other items by one of a closed set of functions; missing input gives unknown."""

    id: Annotated[str, "Address of the computed item."]
    function: Annotated[DerivedFunction, "The function."]
    item: Annotated[str, "Item that is read: in rows for `first`, `last`, `maximum`, `count`, ..."] = ""
    from_item: Annotated[str, "Earlier date of `completed_years`, `years_between` and `days_between`.", Key("from")] = (
        ""
    )
    to_item: Annotated[str, "Later date of `completed_years`, `years_between` and `days_between`.", Key("to")] = ""
    by: Annotated[str, "Date item that orders the rows of `first` and `last`."] = ""
    before: Annotated[str, "Only rows whose `by` date is before this item's date."] = ""
    where: Annotated[Condition | None, "Only rows for which this holds."] = None
    otherwise: Annotated[str, "Item whose value stands where the function gives none."] = ""


@dataclass(frozen=True, kw_only=True)
class EditCheck(Clause):
    """A question raised on entered data: it fires when `when` is *yes*, never on missing data."""

    id: Annotated[str, "Unique id."]
    item: Annotated[str, "Address the question is put on."]
    when: Annotated[Condition, "The problem."]
    message: Annotated[str, "Sentence the site reads: the place, the rule and the way out."]
    severity: Annotated[Severity, "`hard` opens a data query, `soft` asks for a confirmation."] = Severity.SOFT
    examples: Annotated[tuple[ConditionExample, ...], "Values and the answer of `when`."] = ()


@dataclass(frozen=True, kw_only=True)
class ReportCategory(Clause):
    """One heading of the trial's table of adverse events."""

    id: Annotated[str, "Name."]
    label: Annotated[str, "Heading as printed."]
    socs: Annotated[tuple[str, ...], "System organ classes that fall under it by default."] = ()


@dataclass(frozen=True, kw_only=True)
class ReportTerm(Clause):
    """A term printed in the trial's report, the dictionary term it is coded to, and its heading."""

    reported: Annotated[str, "Term as reported."]
    term: Annotated[str, "Term of the dictionary."]
    category: Annotated[str, "Id of the report category."]
    match: Annotated[Match, "How closely the two agree."] = Match.EXACT


@dataclass(frozen=True, kw_only=True)
class CategoryOverride(Clause):
    """A dictionary term reported under another heading than that of its system organ class."""

    term: Annotated[str, "Term of the dictionary."]
    category: Annotated[str, "Id of the report category."]


@dataclass(frozen=True, kw_only=True)
class AdverseEvents(Clause):
    """Which adverse events are collected, and how they are reported."""

    dictionary: Annotated[str, "`CTCAE`."] = "CTCAE"
    version: Annotated[str, "Version of the dictionary."] = ""
    minimum_grade: Annotated[int, "Lower grades are refused with the reason."] = 1
    grade_required: Annotated[bool, "A grade must be given."] = True
    collected_from: Annotated[tuple[str, ...], "Analysis sets whose participants report events."] = ()
    from_event: Annotated[str, "What starts the collection.", Key("from")] = ""
    until_event: Annotated[str, "What ends it.", Key("until")] = ""
    reference_document: Annotated[str, "Document that decides what is expected."] = ""
    products: Annotated[tuple[str, ...], "Products a causal relation is asked for."] = ()
    no_fitting_term: Annotated[Mapping[str, Free], "Grade and its wording where no term fits."] = field(
        default_factory=dict
    )
    categories: Annotated[tuple[ReportCategory, ...], "Headings of the report."] = ()
    overrides: Annotated[tuple[CategoryOverride, ...], "Terms under another heading than their class."] = ()
    report_terms: Annotated[tuple[ReportTerm, ...], "Terms printed in the report and how they are coded."] = ()


@dataclass(frozen=True, kw_only=True)
class Covariate(Clause):
    """An input of the dose."""

    id: Annotated[str, "Name with its unit as last word: `weight_kg`, `alc_1e9_per_l`, `graft`."]
    item: Annotated[str, "Address it is read from."]
    max_age_hours: Annotated[int | None, "Oldest value accepted before the first dose."] = None
    before_first_dose: Annotated[bool, "Must be taken before the first dose."] = False


@dataclass(frozen=True, kw_only=True)
class Deviation(Clause):
    """Bounds of given over planned dose; both ends inclusive."""

    low: Annotated[Decimal, "Lowest ratio that is no deviation."]
    high: Annotated[Decimal, "Highest ratio that is no deviation."]


@dataclass(frozen=True, kw_only=True)
class DoseBounds(Clause):
    """What a table or an algorithm may never leave."""

    total_low: Annotated[Decimal | None, "Smallest total dose per kg."] = None
    total_high: Annotated[Decimal | None, "Largest total dose per kg."] = None
    days_low: Annotated[int | None, "Fewest dosing days."] = None
    days_high: Annotated[int | None, "Most dosing days."] = None
    unit: Annotated[str, "Unit of the totals."] = "mg/kg"


@dataclass(frozen=True, kw_only=True)
class Rounding(Clause):
    """How a computed dose becomes a volume."""

    concentration: Annotated[Decimal, "Drug per volume."]
    concentration_unit: Annotated[str, "Unit of the concentration."] = "mg/mL"
    volume_step: Annotated[Decimal, "Smallest step of the syringe or pump."]
    volume_unit: Annotated[str, "Unit of the step."] = "mL"
    vial: Annotated[Decimal | None, "Drug in one vial."] = None
    whole_vials: Annotated[bool, "Round to whole vials."] = False


@dataclass(frozen=True, kw_only=True)
class AppliesWhen(Clause):
    """For whom the dosing rule was made: asked before a dose is shown, and printed on the dose card."""

    id: Annotated[str, "Name."]
    text: Annotated[str, "What must hold, in words."]
    when: Annotated[Condition, "The rule."]
    otherwise: Annotated[
        str, "`stop`, `warning`, or the name of the parameter that says which; what is not known is not met."
    ] = "stop"


@dataclass(frozen=True, kw_only=True)
class Statement(Clause):
    """What one source says."""

    says: Annotated[str, "Its words, in short."]


@dataclass(frozen=True, kw_only=True)
class Disagreement(Clause):
    """Sources that contradict each other: all of them stand on the dose card, and none is chosen."""

    id: Annotated[str, "Name."]
    about: Annotated[str, "What they disagree on."]
    statements: Annotated[tuple[Statement, ...], "What each of them says."]


@dataclass(frozen=True, kw_only=True)
class DosingSpec(Clause):
    """How the dose is found; `by_group` nests one specification per group."""

    method: Annotated[str, "`nomogram`, `fixed_per_kg`, `level_guided`, `by_group`, ..."]
    product: Annotated[str, "Product; a hard key, never converted into another."] = ""
    covariates: Annotated[tuple[Covariate, ...], "Inputs of the dose."] = ()
    start_day: Annotated[int | None, "Day of the first dose."] = None
    days: Annotated[tuple[int, ...], "Dosing days where they are fixed."] = ()
    deviation: Annotated[Deviation | None, "Given over planned dose."] = None
    bounds: Annotated[DoseBounds | None, "Limits of the dose."] = None
    rounding: Annotated[Rounding | None, "From milligrams to millilitres."] = None
    by_group: Annotated[Mapping[str, DosingSpec], "Group id and its own specification."] = field(default_factory=dict)
    applicability: Annotated[tuple[AppliesWhen, ...], "For whom the rule was made."] = ()
    disagreements: Annotated[tuple[Disagreement, ...], "What the sources of the rule contradict each other on."] = ()
    assumed_parameters: Annotated[tuple[str, ...], "Parameters the protocol is silent on."] = ()
    parameters: Annotated[Mapping[str, Free], "Parameters of the method.", REST] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Target(Clause):
    """A target of drug monitoring; every field is part of its identity."""

    id: Annotated[str, "Name."]
    analyte: Annotated[str, "Address of the analyte."]
    quantity: Annotated[str, "`trough`, `auc`, ..."]
    window: Annotated[str, "`total`, `pre`, `post`, `course`, `trough`."]
    low: Annotated[Decimal | None, "Lower end, inclusive."] = None
    high: Annotated[Decimal | None, "Upper end, inclusive."] = None
    unit: Annotated[str, "Unit; never converted into that of another assay."]
    assay: Annotated[str, "Assay the numbers belong to."] = ""
    population: Annotated[str, "Patients it was found in."] = ""
    product: Annotated[str, "Product it was found with."] = ""


@dataclass(frozen=True, kw_only=True)
class AnalysisSet(Clause):
    """Who is counted."""

    id: Annotated[str, "Name."]
    label: Annotated[str, "The words a reader sees."]
    method: Annotated[
        str,
        "`screened`, `enrolled`, `not_removed`, `no_event_before`, `first_evaluable`, `external`, ...",
    ]
    base: Annotated[str, "The set it narrows.", Key("of")] = ""
    groups: Annotated[
        tuple[str, ...],
        "Groups it is restricted to; empty means all that are not external.",
    ] = ()
    published: Annotated[int | None, "Number printed by the source, for reconciliation."] = None
    parameters: Annotated[Mapping[str, Free], "Parameters of the method.", REST] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EndpointSpec(Clause):
    """One endpoint; the method's own parameters stand beside `method`."""

    id: Annotated[str, "Name."]
    label: Annotated[str, "The words a reader sees."]
    role: Annotated[EndpointRole, "`primary`, `secondary` or `exploratory`."]
    method: Annotated[str, "Name of the tested function that decides it."]
    analysis_set: Annotated[str, "Id of the analysis set it is reported for."] = ""
    item: Annotated[str, "Address of the item or analyte it rests on."] = ""
    unit: Annotated[str, "Unit of the thresholds."] = ""
    competing: Annotated[tuple[str, ...], "Events that make it impossible."] = ()
    verified: Annotated[bool, "False while the rule is from memory and must be signed."] = True
    assumed_parameters: Annotated[tuple[str, ...], "Parameters the protocol is silent on."] = ()
    examples: Annotated[
        tuple[Mapping[str, Free], ...],
        "`given` and `then`; a failing example refuses the file.",
    ] = ()
    parameters: Annotated[Mapping[str, Free], "Parameters of the method.", REST] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PredictorCategory(Clause):
    """Answers of an item that a table or a model counts as one category."""

    label: Annotated[str, "The words a reader sees."]
    values: Annotated[tuple[str, ...], "Answers of the item that fall into it."]


@dataclass(frozen=True, kw_only=True)
class Predictor(Clause):
    """A value of each participant that tables describe and models adjust for."""

    id: Annotated[str, "Name."]
    label: Annotated[str, "The words a reader sees, with the unit."]
    item: Annotated[str, "Address of the item it is read from."]
    kind: Annotated[PredictorKind, "`continuous`, `categories`, or `cut`: at least `at_least` against below it."] = (
        PredictorKind.CATEGORIES
    )
    categories: Annotated[tuple[PredictorCategory, ...], "Categories; empty means each answer of the item."] = ()
    reference: Annotated[str, "Label of the category that the others are compared with; empty means the first."] = ""
    at_least: Annotated[Decimal | None, "Where `cut` divides."] = None


@dataclass(frozen=True, kw_only=True)
class AnalysisSpec(Clause):
    """One analysis of the statistical plan; the method's own parameters stand beside `method`."""

    id: Annotated[str, "Name, such as `A1`."]
    label: Annotated[str, "The words a reader sees."]
    method: Annotated[str, "Name of the tested function that computes it."]
    endpoints: Annotated[tuple[str, ...], "Ids of the endpoints, each analysed by itself."] = ()
    analysis_sets: Annotated[tuple[str, ...], "Ids of the sets whose members are analysed, together."] = ()
    groups: Annotated[tuple[str, ...], "Groups it is restricted to; empty means all of the sets."] = ()
    by: Annotated[str, "What is compared: `analysis_set`, `group`, or the address of an item; empty means nothing."] = (
        ""
    )
    reference: Annotated[str, "The set, group or answer that the others are compared with; empty: the last."] = ""
    predictors: Annotated[tuple[str, ...], "Ids of the predictors, in the order of the table."] = ()
    strata: Annotated[tuple[str, ...], "Addresses of items within whose answers a test or a model compares."] = ()
    days: Annotated[tuple[int, ...], "Days of the schedule at which a curve is read."] = ()
    years: Annotated[tuple[Decimal, ...], "Years of 365.25 days at which a curve is read."] = ()
    level: Annotated[Decimal, "Level of the confidence intervals."] = Decimal("0.95")
    enter_below: Annotated[
        Decimal | None, "A predictor enters the multivariable model when its univariable p value is below this."
    ] = None
    figures: Annotated[
        tuple[str, ...],
        "Figures of the report: `curves`, `forest`, `balance`, `boxes`, `waterfall`, `transitions`, `swimmer`.",
    ] = ()
    assumed_parameters: Annotated[tuple[str, ...], "Parameters the protocol is silent on."] = ()
    parameters: Annotated[Mapping[str, Free], "Parameters of the method.", REST] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reading(Clause):
    """A contradiction or silence of the source, and the reading this file takes."""

    id: Annotated[str, "Name."]
    says: Annotated[str, "What the source says, or does not say."]
    default: Annotated[str, "The reading taken."]
    sensitivity: Annotated[str, "The other reading, reported beside it."] = ""


@dataclass(frozen=True, kw_only=True)
class Protocol(Clause):
    """One version of one trial."""

    trial: Annotated[str, "Short name: lower case letters, digits, `_` and `-`."]
    title: Annotated[str, "Title."]
    version: Annotated[str, 'Version of the definition, quoted: `"1.0"`.']
    registry: Annotated[str, "Registry number."] = ""
    capture: Annotated[Capture, "`prospective` or `retrospective`."]
    blinded_roles: Annotated[tuple[str, ...], "Roles that must not see the group."] = ()
    anchor: Annotated[Anchor, "The event days are counted from."]
    groups: Annotated[tuple[Group, ...], "Arms, cohorts and external controls."]
    assignment: Annotated[Assignment, "How a participant comes into a group."]
    review: Annotated[Review, "Independent readers."] = field(default_factory=Review)
    design: Annotated[Design, "Sizing and stopping."]
    sites: Annotated[tuple[SiteSpec, ...], "Hospitals."]
    consent: Annotated[Consent, "Which consent counts."] = field(default_factory=Consent)
    forms: Annotated[tuple[Form, ...], "Case report forms."]
    analytes: Annotated[tuple[Analyte, ...], "Laboratory quantities."] = ()
    panels: Annotated[tuple[Panel, ...], "Analytes that are entered together."] = ()
    derived: Annotated[tuple[Derived, ...], "Computed items."] = ()
    checks: Annotated[tuple[EditCheck, ...], "Questions raised on entered data."] = ()
    eligibility: Annotated[Eligibility, "Who may take part."]
    schedule: Annotated[tuple[VisitSpec, ...], "Visits."]
    sampling: Annotated[tuple[Sampling, ...], "Sampling between visits."] = ()
    dosing: Annotated[DosingSpec | None, "How the dose is found."] = None
    targets: Annotated[tuple[Target, ...], "Targets of drug monitoring."] = ()
    adverse_events: Annotated[AdverseEvents, "Collection and reporting of adverse events."] = field(
        default_factory=AdverseEvents
    )
    analysis_sets: Annotated[tuple[AnalysisSet, ...], "Who is counted."] = ()
    endpoints: Annotated[tuple[EndpointSpec, ...], "Endpoints."]
    predictors: Annotated[tuple[Predictor, ...], "Values that tables describe and models adjust for."] = ()
    analyses: Annotated[tuple[AnalysisSpec, ...], "The statistical plan."] = ()
    readings: Annotated[tuple[Reading, ...], "Contradictions and silences of the source."] = ()

    def form(self, form_id: str) -> Form:
        """The form with this id; KeyError names the forms there are."""
        for form in self.forms:
            if form.id == form_id:
                return form
        raise KeyError(
            f"no form {form_id!r} in {self.trial} {self.version}; forms are {', '.join(f.id for f in self.forms)}"
        )

    def item(self, address: str) -> Item:
        """The item at ``FORM.ITEM``; KeyError names the address."""
        form_id, _, item_id = address.partition(".")
        for item in self.form(form_id).items:
            if item.id == item_id:
                return item
        raise KeyError(f"no item {address!r} in {self.trial} {self.version}")

    def analyte(self, address: str) -> Analyte:
        """The analyte at ``LB.CD4``; KeyError names the address."""
        for analyte in self.analytes:
            if f"{analyte.form}.{analyte.id}" == address:
                return analyte
        raise KeyError(f"no analyte {address!r} in {self.trial} {self.version}")

    def endpoint(self, endpoint_id: str) -> EndpointSpec:
        """The endpoint with this id; KeyError names it."""
        for endpoint in self.endpoints:
            if endpoint.id == endpoint_id:
                return endpoint
        raise KeyError(f"no endpoint {endpoint_id!r} in {self.trial} {self.version}")

    def addresses(self) -> Iterator[str]:
        """Every address a rule may name: items, analytes and the analytes' reference limits."""
        for form in self.forms:
            for item in form.items:
                yield f"{form.id}.{item.id}"
        for analyte in self.analytes:
            address = f"{analyte.form}.{analyte.id}"
            yield from (address, f"{address}_LLN", f"{address}_ULN")
