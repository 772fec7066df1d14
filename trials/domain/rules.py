"""What a definition must satisfy beyond its grammar: references, units, windows, designs, examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from . import derived, observations, schedule, units
from .answers import Answer
from .conditions import ORDERING, Condition, Observed, Offset, Operator, Reference, Test, evaluate, items_of
from .definition import (
    AnalysisSpec,
    CheckBy,
    ConditionExample,
    DerivedFunction,
    DosingSpec,
    EndpointRole,
    EndpointSpec,
    Free,
    Item,
    ItemType,
    Predictor,
    PredictorKind,
    Protocol,
)
from .reading import Path, Reader, suggestion

NUMERIC = frozenset({ItemType.NUMBER, ItemType.INTEGER})
DATED = frozenset({ItemType.DATE, ItemType.PARTIAL_DATE, ItemType.DATETIME})
MAX_CODE_LENGTH = 32
MAX_VISITS = 1000


@dataclass(frozen=True)
class MethodSpec:
    """The parameters a method knows; the upper floors supply one for each of their functions."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    #: Fields of the clause itself that this method cannot do without.
    needs: frozenset[str] = frozenset()


#: Kind of method (`assignment`, `design`, `dosing`, `endpoint`, `analysis_set`, `calculation`, `role`) → its names.
KnownMethods = Mapping[str, Mapping[str, MethodSpec]]
#: Runs one example of an endpoint; returns None when it comes out as written, otherwise a sentence.
ExampleCheck = Callable[[EndpointSpec, Mapping[str, Free]], str | None]


class Rules:
    """Checks one protocol; every finding is reported to the reader, at the line of its clause."""

    def __init__(
        self,
        protocol: Protocol,
        reader: Reader,
        known_methods: KnownMethods,
        check_examples: Mapping[str, ExampleCheck],
    ) -> None:
        self.protocol = protocol
        self.reader = reader
        self.known_methods = known_methods
        self.check_examples = check_examples
        self.items: dict[str, Item] = {
            f"{form.id}.{item.id}": item for form in protocol.forms for item in form.items if form.id and item.id
        }
        self.analytes = {f"{analyte.form}.{analyte.id}": analyte for analyte in protocol.analytes}
        self.addresses = set(protocol.addresses())
        self.repeating = {form.id for form in protocol.forms if form.repeating}

    def check(self) -> None:
        """Every rule, in the order of the file."""
        self.identity()
        self.forms()
        self.laboratory()
        self.derivations()
        self.edit_checks()
        self.eligibility()
        self.visits()
        self.design()
        self.dosing()
        self.adverse_events()
        self.sets_and_endpoints()
        self.analyses()

    # Reporting

    def report(self, path: Path, rule: str, remedy: str) -> None:
        """A finding, unless the clause could not be read in the first place."""
        if not self.reader.is_faulty(path):
            self.reader.report(path, rule, remedy)

    def unique(self, names: Iterable[tuple[str, Path]], what: str) -> None:
        seen: dict[str, Path] = {}
        for name, path in names:
            if name and name in seen:
                first = self.reader.line(seen[name])
                self.report(
                    path, f"duplicate {what} `{name}`, first used on line {first}", "Give one of the two another name."
                )
            seen.setdefault(name, path)

    def refers(self, name: str, known: Iterable[str], path: Path, what: str) -> None:
        names = sorted(known)
        if name not in names:
            self.report(path, f"there is no {what} `{name}`", suggestion(name, names))

    def address(self, name: str, path: Path, *, kinds: Iterable[ItemType] = ()) -> None:
        """An address that some form or the laboratory has, of one of these kinds."""
        if name not in self.addresses:
            form, _, item = name.partition(".")
            forms = {address.partition(".")[0] for address in self.addresses}
            if not item:
                self.report(path, f"`{name}` is not an address", "Write FORM.ITEM.")
            elif form not in forms:
                self.report(
                    path, f"no form has the item `{name}`: there is no form `{form}`", suggestion(form, sorted(forms))
                )
            else:
                near = sorted(address for address in self.addresses if address.startswith(f"{form}."))
                self.report(path, f"no form has the item `{name}`", suggestion(name, near))
            return
        allowed = tuple(kinds)
        if allowed and self.kind(name) not in allowed:
            self.report(path, f"`{name}` is a {self.kind(name)} item", f"Name one of type {', '.join(allowed)}.")

    def kind(self, address: str) -> ItemType:
        return self.items[address].type if address in self.items else ItemType.NUMBER

    def method(self, kind: str, name: str, parameters: Mapping[str, Free], path: Path, at: Path | None = None) -> None:
        """A method the upper floors have, with the parameters it knows."""
        if kind not in self.known_methods:
            return
        methods = self.known_methods[kind]
        if name not in methods:
            self.report(
                at or (*path, "method"), f"there is no {kind} method `{name}`", suggestion(name, sorted(methods))
            )
            return
        spec = methods[name]
        for key in parameters:
            if key not in spec.required | spec.optional:
                hint = suggestion(key, sorted(spec.required | spec.optional))
                self.report((*path, key), f"the {kind} method `{name}` has no parameter `{key}`", hint)
        for key in sorted(spec.required - set(parameters)):
            self.report(path, f"the {kind} method `{name}` needs `{key}`", f"Add `{key}`.")

    def roles(self, names: Sequence[str], path: Path) -> None:
        for index, name in enumerate(names):
            self.method("role", name, {}, (*path, index), at=(*path, index))

    # Conditions

    def condition(self, condition: Condition | None, path: Path, *, row_of: str = "") -> None:
        """References and types of a condition; ``row_of`` is the repeating form whose row it may read."""
        if condition is None:
            return
        for at, leaf in self.reader.tests.items():
            if at[: len(path)] == path:
                self._leaf(leaf, at, row_of)

    def _leaf(self, leaf: Test, path: Path, row_of: str) -> None:
        names = [(leaf.item, (*path, "item"))]
        if leaf.of is not None:
            names.append((leaf.of, (*path, "of")))
        if isinstance(leaf.value, Reference):
            names.append((leaf.value.item, (*path, str(leaf.op), "item")))
        for name, at in names:
            self.address(name, at)
            form = name.partition(".")[0]
            if form in self.repeating and form != row_of and name in self.addresses:
                remedy = "Read it through `derived`, for example function: last."
                self.report(at, f"`{name}` is in the repeating form {form}: which row is meant?", remedy)
        if leaf.item in self.addresses:
            self._operand(leaf, path)

    def _operand(self, leaf: Test, path: Path) -> None:
        kind, at = self.kind(leaf.item), (*path, str(leaf.op))
        if leaf.op in ORDERING and kind not in NUMERIC | DATED:
            self.report(at, f"`{leaf.op}` cannot order the {kind} item `{leaf.item}`", "Use eq, ne, in or not_in.")
            return
        if isinstance(leaf.value, Reference):
            if leaf.value.item in self.addresses:
                self._comparable(leaf.item, leaf.value, at)
            return
        if leaf.op is Operator.PRESENT:
            return
        for literal in leaf.value if isinstance(leaf.value, tuple) else (leaf.value,):
            self._literal(leaf.item, kind, literal, at)

    def _comparable(self, item: str, reference: Reference, path: Path) -> None:
        left, right = self.kind(item), self.kind(reference.item)
        groups = [NUMERIC, DATED, frozenset({left})]
        if right not in next(group for group in groups if left in group):
            self.report(
                path,
                f"`{item}` ({left}) cannot be compared with `{reference.item}` ({right})",
                "Compare like with like.",
            )
        elif reference.offset != Offset() and left not in DATED:
            self.report(path, "plus and minus move dates only", "Use `of` for a multiple of a number.")

    def _literal(self, item: str, kind: ItemType, literal: object, path: Path) -> None:
        if kind in NUMERIC and not isinstance(literal, int | Decimal):
            self.report(path, f"`{literal}` is no number, but `{item}` is one", "Write a number without quotes.")
        elif kind in DATED:
            try:
                observations.typed(Item(id="D", label="", type=ItemType.PARTIAL_DATE), literal)
            except ValueError:
                self.report(path, f"`{literal}` is no date, but `{item}` is one", "Write 2016-03-01.")
        elif kind is ItemType.YES_NO_UNKNOWN and str(literal) not in (observations.YES, observations.NO):
            self.report(path, f"`{literal}` is no answer of `{item}`", "Compare with Y or N; U counts as missing.")
        elif kind is ItemType.CODE:
            codes = [code.value for code in self.items[item].codes]
            if str(literal) not in codes:
                self.report(path, f"`{literal}` is no code of `{item}`", suggestion(str(literal), codes))

    def examples(self, condition: Condition | None, examples: Sequence[ConditionExample], path: Path) -> None:
        """Each example must come out as it says."""
        for index, example in enumerate(examples):
            at = (*path, "examples", index)
            if example.then not in list(Answer):
                options = [str(answer) for answer in Answer]
                self.report((*at, "then"), f"`{example.then}` is no answer", f"Write one of {', '.join(options)}.")
                continue
            if condition is None:
                self.report(at, "an example needs a rule", "Add `when`, or remove the examples.")
                continue
            if self.reader.is_faulty_within((*path, "when")) or self.reader.is_faulty_within(at):
                continue
            values = self._example_values(condition, example, at)
            if values is None:
                continue
            verdict = evaluate(condition, values)
            if verdict.answer != example.then:
                remedy = f"Correct the rule or the example. {verdict.sentence}"
                self.report(at, f"the example says {example.then}, the rule gives {verdict.answer}", remedy)

    def _example_values(
        self, condition: Condition, example: ConditionExample, path: Path
    ) -> dict[str, Observed] | None:
        """The values of an example, or None when one of them is not what the rule reads."""
        values: dict[str, Observed] = {}
        for address, raw in example.given.items():
            at = (*path, "given", address)
            if address not in items_of(condition):
                self.report(at, f"the rule does not read `{address}`", "Remove it from the example.")
            elif address in self.addresses:
                try:
                    values[address] = observations.observe(self.protocol, address, raw)
                except (ValueError, ArithmeticError):
                    self.report(at, f"`{raw}` is no value of `{address}`", "Write a value of the item's type.")
        return None if self.reader.is_faulty_within(path) else values

    # Sections

    def identity(self) -> None:
        protocol = self.protocol
        if not re.fullmatch(r"[a-z][a-z0-9_-]{1,39}", protocol.trial):
            self.report(
                ("trial",), f"`{protocol.trial}` cannot name a trial", "Use lower case letters, digits, `_` and `-`."
            )
        if not re.fullmatch(r"\d{1,3}\.\d{1,3}", protocol.version):
            self.report(("version",), f"`{protocol.version}` is not a version", 'Write a quoted number such as "1.0".')
        if protocol.anchor.first_day not in (0, 1):
            self.report(
                ("anchor", "first_day"), "the first day is 0 or 1", "Write first_day: 0, or 1 when there is no day 0."
            )
        if protocol.anchor.item:
            self.address(protocol.anchor.item, ("anchor", "item"), kinds=DATED)
        groups = [group.id for group in protocol.groups]
        self.unique(((one.id, ("groups", index, "id")) for index, one in enumerate(protocol.groups)), "group")
        self.unique(((one.code, ("sites", index, "code")) for index, one in enumerate(protocol.sites)), "site")
        for index, site in enumerate(protocol.sites):
            if not re.fullmatch(r"[A-Za-z_]+(/[A-Za-z0-9_+-]+)*", site.timezone):
                self.report(
                    ("sites", index, "timezone"), f"`{site.timezone}` is no time zone", "Write Europe/Amsterdam."
                )
            if not re.fullmatch(r"[A-Z]{2}", site.country):
                self.report(
                    ("sites", index, "country"),
                    f"`{site.country}` is no country code",
                    "Write two capitals, such as NL.",
                )
        if not protocol.groups:
            self.report(("groups",), "a trial has at least one group", "Add a group.")
        if not protocol.sites:
            self.report(("sites",), "a trial has at least one site", "Add a site.")
        assignment = protocol.assignment
        self.method("assignment", assignment.method, assignment.parameters, ("assignment",))
        if isinstance(to := assignment.parameters.get("to"), str):
            self.refers(to, groups, ("assignment", "to"), "group")
        self.roles(protocol.blinded_roles, ("blinded_roles",))
        self.consent()
        for index, form in enumerate(protocol.review.forms):
            self.refers(form, self.form_ids(), ("review", "forms", index), "form")

    def consent(self) -> None:
        consent, sites = self.protocol.consent, [site.code for site in self.protocol.sites]
        versions = (
            (f"{one.version} {site}".strip(), ("consent", "versions", index, "version"))
            for index, one in enumerate(consent.versions)
            for site in one.sites or ("",)
        )
        self.unique(versions, "consent version")
        for index, one in enumerate(consent.versions):
            for place, site in enumerate(one.sites):
                self.refers(site, sites, ("consent", "versions", index, "sites", place), "site")
            if one.valid_until is not None and one.valid_until < one.valid_from:
                self.report(
                    ("consent", "versions", index), "it ends before it begins", "Correct valid_from or valid_until."
                )
        if consent.required and not consent.versions:
            self.report(
                ("consent",), "no consent document is listed", "Add versions, or required: false with a source."
            )
        for index, rule in enumerate(consent.signatories):
            self.condition(rule.when, ("consent", "signatories", index, "when"))

    def form_ids(self) -> list[str]:
        return [form.id for form in self.protocol.forms]

    def forms(self) -> None:
        protocol = self.protocol
        self.unique(((form.id, ("forms", index, "id")) for index, form in enumerate(protocol.forms)), "form")
        groups = [group.id for group in protocol.groups]
        for index, form in enumerate(protocol.forms):
            at: Path = ("forms", index)
            self.unique(((item.id, (*at, "items", place, "id")) for place, item in enumerate(form.items)), "item")
            self._name(form.id, (*at, "id"))
            for place, group in enumerate(form.groups):
                self.refers(group, groups, (*at, "groups", place), "group")
            if form.order_by:
                self.address(f"{form.id}.{form.order_by}", (*at, "order_by"), kinds=DATED)
            siblings = [item.id for item in form.items if not item.computed]
            for place, item in enumerate(form.items):
                self._item(form.id, item, (*at, "items", place), siblings)

    def _name(self, name: str, path: Path) -> None:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,39}", name):
            self.report(path, f"`{name}` cannot be an id", "Use capital letters, digits and `_`, a letter first.")

    def _item(self, form: str, item: Item, path: Path, siblings: Sequence[str]) -> None:
        self._name(item.id, (*path, "id"))
        if item.type is ItemType.CODE and not item.codes:
            self.report(path, f"the code item `{item.id}` has no codes", "Add codes: [{value: ..., label: ...}].")
        if item.type is not ItemType.CODE and item.codes:
            self.report((*path, "codes"), f"codes on a {item.type} item", "Write type: code.")
        self.unique(((code.value, (*path, "codes", place, "value")) for place, code in enumerate(item.codes)), "code")
        numbers = ("unit", "minimum", "maximum", "soft_minimum", "soft_maximum", "decimals", "accepted_units")
        if item.type not in NUMERIC:
            for name in numbers:
                if getattr(item, name) not in (None, "", ()):
                    self.report((*path, name), f"`{name}` on a {item.type} item", "Only numbers have it.")
        limits = [item.minimum, item.soft_minimum, item.soft_maximum, item.maximum]
        known = [limit for limit in limits if limit is not None]
        if known != sorted(known):
            rule = "limits are out of order: minimum, soft_minimum, soft_maximum, maximum must not fall"
            self.report(path, rule, "Correct the limit that is out of place.")
        self._units(item.unit, item.accepted_units, item.id, path, "unit")
        self.condition(item.visible_when, (*path, "visible_when"), row_of=form)
        if item.visible_when is not None and f"{form}.{item.id}" in items_of(item.visible_when):
            self.report(
                (*path, "visible_when"), "an item cannot decide whether it is asked itself", "Name another item."
            )
        address = f"{form}.{item.id}"
        if item.computed == "derived" and address not in {spec.id for spec in self.protocol.derived}:
            self.report(
                (*path, "computed"), f"`{address}` has no entry in `derived`", f"Add id: {address} to `derived`."
            )
        if item.computed not in ("", "derived"):
            self.method("calculation", item.computed, item.computed_from, path, at=(*path, "computed"))
        for argument, source in item.computed_from.items():
            self.refers(source, siblings, (*path, "computed_from", argument), f"item of {form}")

    def _units(self, unit: str, accepted: Sequence[str], analyte: str, path: Path, key: str) -> None:
        if unit and not units.is_known(unit):
            known = [name for family in units.FAMILIES.values() for name in family]
            self.report((*path, key), f"the unit `{unit}` is not known", suggestion(unit, known))
            return
        for place, other in enumerate(accepted):
            try:
                units.convert(Decimal(1), unit=other, to=unit, analyte=analyte)
            except units.UnitError as error:
                self.report(
                    (*path, "accepted_units", place), str(error).rstrip("."), "List units that can be converted."
                )

    def laboratory(self) -> None:
        protocol = self.protocol
        names = ((f"{one.form}.{one.id}", ("analytes", index, "id")) for index, one in enumerate(protocol.analytes))
        self.unique(names, "analyte")
        for index, analyte in enumerate(protocol.analytes):
            at: Path = ("analytes", index)
            self._name(analyte.id, (*at, "id"))
            address = f"{analyte.form}.{analyte.id}"
            for name in (address, f"{address}_LLN", f"{address}_ULN"):
                if name in self.items:
                    self.report((*at, "id"), f"`{name}` is an item of a form as well", "Keep one of the two.")
            # Results of different assays stay in the unit of their assay: nothing is converted, only known.
            convertible = () if analyte.per_assay else analyte.accepted_units
            self._units(analyte.canonical_unit, convertible, analyte.id, at, "canonical_unit")
            low, high = analyte.plausible_low, analyte.plausible_high
            if low is not None and high is not None and low >= high:
                self.report(at, "plausible_low is not below plausible_high", "Correct one of the two.")
        self.unique(((panel.id, ("panels", index, "id")) for index, panel in enumerate(protocol.panels)), "panel")
        for index, panel in enumerate(protocol.panels):
            for place, address in enumerate(panel.analytes):
                self.refers(address, self.analytes, ("panels", index, "analytes", place), "analyte")
        panels = [panel.id for panel in protocol.panels]
        self.unique(((one.id, ("sampling", index, "id")) for index, one in enumerate(protocol.sampling)), "sampling")
        for index, sampling in enumerate(protocol.sampling):
            for place, panel_id in enumerate(sampling.panels):
                self.refers(panel_id, panels, ("sampling", index, "panels", place), "panel")
        for index, target in enumerate(protocol.targets):
            self.address(target.analyte, ("targets", index, "analyte"))
        self.unique(((one.id, ("targets", index, "id")) for index, one in enumerate(protocol.targets)), "target")

    def derivations(self) -> None:
        computed: set[str] = set()
        every = [spec.id for spec in self.protocol.derived]
        self.unique(
            ((spec.id, ("derived", index, "id")) for index, spec in enumerate(self.protocol.derived)), "derived item"
        )
        for index, spec in enumerate(self.protocol.derived):
            at: Path = ("derived", index)
            self.address(spec.id, (*at, "id"))
            if spec.id in self.items and self.items[spec.id].computed != "derived":
                self.report((*at, "id"), f"`{spec.id}` is typed by hand", "Write computed: derived on the item.")
            over_rows = spec.function in derived.OVER_ROWS
            read = {"item": spec.item} if over_rows else {"from": spec.from_item, "to": spec.to_item}
            for key, name in read.items():
                if not name:
                    self.report(at, f"{spec.function} needs `{key}`", f"Add `{key}`: an address.")
                    continue
                self.address(name, (*at, key), kinds=() if over_rows else DATED)
                if name in every and name not in computed:
                    self.report((*at, key), f"`{name}` is computed later, or by itself", "Put it first.")
            form = spec.item.partition(".")[0]
            if over_rows and spec.item in self.addresses and form not in self.repeating:
                self.report((*at, "item"), f"{form} is not a repeating form", "Name an item of a repeating form.")
            if spec.function in (DerivedFunction.FIRST, DerivedFunction.LAST) and not spec.by:
                self.report(at, f"{spec.function} needs `by`", "Add `by`: the date item that orders the rows.")
            if spec.before and not spec.by:
                self.report(at, "`before` needs `by`", "Add `by`: the date item of the row.")
            for key, name in (("by", spec.by), ("before", spec.before)):
                if name:
                    self.address(name, (*at, key), kinds=DATED)
            if spec.otherwise:
                self.address(spec.otherwise, (*at, "otherwise"))
                if spec.otherwise.partition(".")[0] in self.repeating:
                    self.report((*at, "otherwise"), "a row cannot stand in", "Name an item that is kept once.")
            self.condition(spec.where, (*at, "where"), row_of=form)
            computed.add(spec.id)

    def edit_checks(self) -> None:
        self.unique(((one.id, ("checks", index, "id")) for index, one in enumerate(self.protocol.checks)), "check")
        for index, check in enumerate(self.protocol.checks):
            at: Path = ("checks", index)
            self.address(check.item, (*at, "item"))
            self.condition(check.when, (*at, "when"), row_of=check.item.partition(".")[0])
            self.examples(check.when, check.examples, at)

    def eligibility(self) -> None:
        eligibility = self.protocol.eligibility
        sections = (("include", eligibility.include), ("exclude", eligibility.exclude))
        ids = [(c.id, ("eligibility", name, i, "id")) for name, part in sections for i, c in enumerate(part)]
        ids += [(rule.id, ("eligibility", "removal", i, "id")) for i, rule in enumerate(eligibility.removal)]
        self.unique(ids, "criterion")
        for name, criteria in sections:
            for index, criterion in enumerate(criteria):
                at: Path = ("eligibility", name, index)
                if criterion.check is not CheckBy.HUMAN and criterion.when is None:
                    self.report(
                        at,
                        f"criterion {criterion.id} is checked by an item but has no rule",
                        "Add `when`, or check: human.",
                    )
                if criterion.check is CheckBy.HUMAN and criterion.when is not None:
                    self.report((*at, "when"), "a rule on a criterion that a human answers", "Write check: auto_human.")
                if not criterion.answered_by:
                    self.report((*at, "answered_by"), "somebody must be able to answer it", "Name a role.")
                self.condition(criterion.when, (*at, "when"))
                self.condition(criterion.applies_when, (*at, "applies_when"))
                self.roles(criterion.waivable_by, (*at, "waivable_by"))
                self.roles(criterion.answered_by, (*at, "answered_by"))
                self.examples(criterion.when, criterion.examples, at)
        sets = [one.id for one in self.protocol.analysis_sets]
        for index, rule in enumerate(eligibility.removal):
            at = ("eligibility", "removal", index)
            if rule.check is CheckBy.AUTO and rule.when is None:
                self.report(at, f"rule {rule.id} is checked by an item but has no rule", "Add `when`, or check: human.")
            self.condition(rule.when, (*at, "when"))
            self.roles(rule.decided_by, (*at, "decided_by"))
            self.examples(rule.when, rule.examples, at)
            for place, name in enumerate(rule.removed_from):
                self.refers(name, sets, (*at, "removed_from", place), "analysis set")
        reasons = enumerate(eligibility.screen_failure_reasons)
        self.unique(
            ((one.value, ("eligibility", "screen_failure_reasons", i, "value")) for i, one in reasons), "reason"
        )

    def visits(self) -> None:
        protocol = self.protocol
        panels, groups = [panel.id for panel in protocol.panels], [group.id for group in protocol.groups]
        forms, planned = self.form_ids(), []
        for index, spec in enumerate(protocol.schedule):
            at: Path = ("schedule", index)
            for key, names, known in (
                ("forms", spec.forms, forms),
                ("panels", spec.panels, panels),
                ("groups", spec.groups, groups),
            ):
                for place, name in enumerate(names):
                    self.refers(name, known, (*at, key, place), key[:-1])
            for place, name in enumerate(spec.analytes):
                self.refers(name, self.analytes, (*at, "analytes", place), "analyte")
            if spec.overlap_allowed and not spec.overlap_reason:
                self.report(
                    (*at, "overlap_allowed"), "windows may overlap, but nothing says why", "Add overlap_reason."
                )
            if self._days_make_sense(index) and not self.reader.is_faulty(at):
                planned += [(visit, at) for visit in schedule.expanded(spec, protocol, None)]
        self.unique(((visit.code, (*at, "code")) for visit, at in planned), "visit")
        for visit, at in planned:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", visit.code) or len(visit.code) > MAX_CODE_LENGTH:
                self.report(
                    (*at, "code"), f"`{visit.code}` cannot be a visit code", "Use letters, digits, `_` and `-`."
                )
        self._windows(planned)
        if not protocol.schedule:
            self.report(("schedule",), "a trial has at least one visit", "Add a visit.")

    def _days_make_sense(self, index: int) -> bool:
        """Whether the days of one clause can be placed; findings are reported."""
        spec, anchor, at = self.protocol.schedule[index], self.protocol.anchor, ("schedule", index)
        before = len(self.reader.errors)
        if spec.unscheduled:
            if any(value is not None for value in (spec.day, spec.from_day, spec.to_day, spec.every)):
                self.report(at, "an unscheduled visit has no day", "Remove `day`, `from`, `to` and `every`.")
            return len(self.reader.errors) == before
        if spec.every is not None:
            intervals = [value for value in (spec.every.days, spec.every.weeks, spec.every.months) if value is not None]
            if len(intervals) != 1 or intervals[0] < 1:
                self.report(
                    (*at, "every"),
                    "an interval is one positive number of days, weeks or months",
                    "Write every: {days: 7}.",
                )
            if "{n}" not in spec.code and "{day}" not in spec.code:
                self.report((*at, "code"), "every visit of a series would have one code", "Put {n} or {day} in it.")
        if spec.day is None and (spec.from_day is None or spec.to_day is None):
            what = "`every` needs `from` and `to`" if spec.every else "a visit needs `day`, or `from` and `to`"
            self.report(at, what, "See the section on visits of the reference page.")
        if spec.day is not None and (spec.from_day is not None or spec.to_day is not None or spec.every):
            self.report((*at, "day"), "`day` stands beside `from`, `to` or `every`", "Keep one of the two.")
        if spec.from_day is not None and spec.to_day is not None and spec.from_day > spec.to_day:
            self.report((*at, "to"), f"`to` (day {spec.to_day}) is before `from` (day {spec.from_day})", "Swap them.")
        if spec.window_before < 0 or spec.window_after < 0:
            self.report(at, "a window is not negative", "Write the days as positive numbers.")
        earliest = anchor.first_day if anchor.earliest_day is None else anchor.earliest_day
        for key, day in (("day", spec.day), ("from", spec.from_day), ("to", spec.to_day)):
            if day is None:
                continue
            if 0 <= day < anchor.first_day:
                remedy = f"The anchor is day {anchor.first_day}; the day before it is -1."
                self.report((*at, key), f"day {day} does not exist when the first day is {anchor.first_day}", remedy)
            elif day < earliest:
                remedy = f"Move the visit, or set anchor.earliest_day to {day} or before."
                self.report(
                    (*at, key), f"day {day} is before the anchor and before day {earliest}, the first allowed", remedy
                )
        return len(self.reader.errors) == before

    def _windows(self, planned: Sequence[tuple[schedule.PlannedVisit, Path]]) -> None:
        """Inside one series no day may belong to two visits, unless one of them says why it may."""
        if len(planned) > MAX_VISITS:
            self.report(("schedule",), f"{len(planned)} visits are planned", f"A schedule has at most {MAX_VISITS}.")
            return
        by_series: dict[str, list[tuple[schedule.PlannedVisit, Path]]] = {}
        for visit, at in planned:
            if not visit.unscheduled and not visit.overlap_allowed:
                by_series.setdefault(visit.series, []).append((visit, at))
        for visits in by_series.values():
            ordered = sorted(visits, key=lambda pair: (pair[0].earliest_day or 0, pair[0].latest_day or 0))
            for place, (second, at) in enumerate(ordered):
                first = next((one for one, _ in ordered[:place] if _share_a_day(one, second)), None)
                if first is not None:
                    rule = f"the window of {_window_words(second)} overlaps that of {_window_words(first)}"
                    self.report(
                        at, rule, "Narrow a window, use another `series`, or write overlap_allowed with its reason."
                    )

    def design(self) -> None:
        design, at = self.protocol.design, ("design",)
        self.method("design", design.method, design.parameters, at)
        if design.endpoint:
            self.refers(design.endpoint, [one.id for one in self.protocol.endpoints], (*at, "endpoint"), "endpoint")
        if design.analysis_set:
            sets = [one.id for one in self.protocol.analysis_sets]
            self.refers(design.analysis_set, sets, (*at, "analysis_set"), "analysis set")
        for key in ("null", "alternative", "alpha", "power"):
            value = getattr(design, key)
            if value is not None and not 0 < value < 1:
                self.report((*at, key), f"{value} is not between 0 and 1", "Write a proportion such as 0.60.")
        if design.sides not in (None, 1, 2):
            self.report((*at, "sides"), "a test has 1 or 2 sides", "Write 1 or 2.")
        previous = 0
        for index, stage in enumerate(design.stages):
            here: Path = (*at, "stages", index)
            if stage.n <= previous:
                rule = f"stage {index + 1} ends at {stage.n}, not after the {previous} of the stage before"
                self.report((*here, "n"), rule, "Numbers are cumulative: write the total at the end of the stage.")
            for key in ("continue_if_at_least", "succeed_if_at_least"):
                boundary = getattr(stage, key)
                if boundary is not None and not 0 <= boundary <= stage.n:
                    self.report((*here, key), f"{boundary} of {stage.n} is impossible", "Write a number up to n.")
            last = index == len(design.stages) - 1
            needed = "succeed_if_at_least" if last else "continue_if_at_least"
            if getattr(stage, needed) is None:
                self.report(here, f"stage {index + 1} has no boundary", f"Add {needed}.")
            previous = stage.n

    def dosing(self) -> None:
        if self.protocol.dosing is not None:
            self._dosing(self.protocol.dosing, ("dosing",))

    def _dosing(self, spec: DosingSpec, path: Path) -> None:
        self.method("dosing", spec.method, spec.parameters, path)
        self.unique(((one.id, (*path, "covariates", i, "id")) for i, one in enumerate(spec.covariates)), "covariate")
        for index, covariate in enumerate(spec.covariates):
            self.address(covariate.item, (*path, "covariates", index, "item"))
        if spec.deviation is not None and not 0 < spec.deviation.low <= 1 <= spec.deviation.high:
            self.report((*path, "deviation"), "bounds of given over planned enclose 1", "Write low: 0.90, high: 1.10.")
        self.unique(((one.id, (*path, "applicability", i, "id")) for i, one in enumerate(spec.applicability)), "check")
        for index, check in enumerate(spec.applicability):
            at = (*path, "applicability", index)
            self.condition(check.when, (*at, "when"))
            if check.otherwise not in ("stop", "warning"):
                self.refers(check.otherwise, spec.parameters, (*at, "otherwise"), "parameter")
        for index, one in enumerate(spec.disagreements):
            if len(one.statements) < 2:
                self.report((*path, "disagreements", index), "one source alone does not disagree", "Add the other.")
        self._assumed(spec.assumed_parameters, spec.parameters, path)
        groups = [group.id for group in self.protocol.groups]
        if spec.method == "by_group" and not spec.by_group:
            self.report(path, "by_group needs a specification for each group", "Add by_group: {group: {method: ...}}.")
        for group, inner in spec.by_group.items():
            self.refers(group, groups, (*path, "by_group", group), "group")
            self._dosing(inner, (*path, "by_group", group))

    def _assumed(self, names: Sequence[str], parameters: Mapping[str, Free], path: Path) -> None:
        for index, name in enumerate(names):
            self.refers(name, parameters, (*path, "assumed_parameters", index), "parameter")

    def adverse_events(self) -> None:
        spec, at = self.protocol.adverse_events, ("adverse_events",)
        if not 1 <= spec.minimum_grade <= 5:
            self.report((*at, "minimum_grade"), "a grade is 1 to 5", "Write the lowest grade that is collected.")
        categories = [category.id for category in spec.categories]
        self.unique(((one.id, (*at, "categories", i, "id")) for i, one in enumerate(spec.categories)), "category")
        socs = [
            (soc, (*at, "categories", i, "socs", place))
            for i, one in enumerate(spec.categories)
            for place, soc in enumerate(one.socs)
        ]
        self.unique(socs, "system organ class")
        for index, override in enumerate(spec.overrides):
            self.refers(override.category, categories, (*at, "overrides", index, "category"), "category")
        self.unique(
            ((one.term, (*at, "overrides", i, "term")) for i, one in enumerate(spec.overrides)), "overridden term"
        )
        for index, term in enumerate(spec.report_terms):
            self.refers(term.category, categories, (*at, "report_terms", index, "category"), "category")
        self.unique(
            ((one.reported, (*at, "report_terms", i, "reported")) for i, one in enumerate(spec.report_terms)), "term"
        )
        sets = [one.id for one in self.protocol.analysis_sets]
        for index, name in enumerate(spec.collected_from):
            self.refers(name, sets, (*at, "collected_from", index), "analysis set")

    def sets_and_endpoints(self) -> None:
        protocol = self.protocol
        sets, groups = [one.id for one in protocol.analysis_sets], [group.id for group in protocol.groups]
        self.unique(
            ((one.id, ("analysis_sets", i, "id")) for i, one in enumerate(protocol.analysis_sets)), "analysis set"
        )
        for index, one in enumerate(protocol.analysis_sets):
            at: Path = ("analysis_sets", index)
            self.method("analysis_set", one.method, one.parameters, at)
            if one.base:
                self.refers(one.base, sets[:index], (*at, "of"), "earlier analysis set")
            for place, group in enumerate(one.groups):
                self.refers(group, groups, (*at, "groups", place), "group")
        self.unique(((one.id, ("endpoints", i, "id")) for i, one in enumerate(protocol.endpoints)), "endpoint")
        if not any(endpoint.role is EndpointRole.PRIMARY for endpoint in protocol.endpoints):
            self.report(("endpoints",), "no endpoint is primary", "Write role: primary on the one that decides.")
        for index, endpoint in enumerate(protocol.endpoints):
            at = ("endpoints", index)
            self.method("endpoint", endpoint.method, endpoint.parameters, at)
            if endpoint.analysis_set:
                self.refers(endpoint.analysis_set, sets, (*at, "analysis_set"), "analysis set")
            if endpoint.item:
                self.address(endpoint.item, (*at, "item"))
            if endpoint.unit and not units.is_known(endpoint.unit):
                self._units(endpoint.unit, (), "", at, "unit")
            self._assumed(endpoint.assumed_parameters, endpoint.parameters, at)
            self._endpoint_examples(endpoint, at)

    def analyses(self) -> None:
        """The statistical plan: every endpoint, set, group, item and method it names is there."""
        protocol = self.protocol
        self.unique(((one.id, ("predictors", i, "id")) for i, one in enumerate(protocol.predictors)), "predictor")
        for index, predictor in enumerate(protocol.predictors):
            self._predictor(predictor, ("predictors", index))
        self.unique(((one.id, ("analyses", i, "id")) for i, one in enumerate(protocol.analyses)), "analysis")
        known = (
            ("endpoints", [one.id for one in protocol.endpoints], "endpoint"),
            ("analysis_sets", [one.id for one in protocol.analysis_sets], "analysis set"),
            ("groups", [one.id for one in protocol.groups], "group"),
            ("predictors", [one.id for one in protocol.predictors], "predictor"),
            ("figures", list(self.known_methods["figure"]) if "figure" in self.known_methods else None, "figure"),
        )
        for index, analysis in enumerate(protocol.analyses):
            at: Path = ("analyses", index)
            self.method("analysis", analysis.method, analysis.parameters, at)
            spec = self.known_methods.get("analysis", {}).get(analysis.method, MethodSpec())
            for name in sorted(spec.needs):
                if getattr(analysis, name) in ((), "", None):
                    self.report(at, f"the analysis method `{analysis.method}` needs `{name}`", f"Add {name}.")
            for key, names, what in known:
                for place, name in enumerate(getattr(analysis, key)):
                    if names is not None:
                        self.refers(name, names, (*at, key, place), what)
            if analysis.by not in ("", "analysis_set", "group"):
                self.address(analysis.by, (*at, "by"))
            if analysis.reference:
                self.refers(analysis.reference, self._compared(analysis), (*at, "reference"), "group compared")
            for place, address in enumerate(analysis.strata):
                self.address(address, (*at, "strata", place))
            for key in ("level", "enter_below"):
                value = getattr(analysis, key)
                if value is not None and not 0 < value < 1:
                    self.report((*at, key), f"{value} is not between 0 and 1", "Write 0.95 for 95 %.")
            self._assumed(analysis.assumed_parameters, analysis.parameters, at)

    def _compared(self, analysis: AnalysisSpec) -> list[str]:
        """What the analysis compares, as far as the file says it."""
        if analysis.by == "analysis_set":
            return list(analysis.analysis_sets)
        if analysis.by == "group":
            return [group.id for group in self.protocol.groups]
        codes = self.items[analysis.by].codes if analysis.by in self.items else ()
        return [code.value for code in codes if not code.unknown] or [analysis.reference]

    def _predictor(self, predictor: Predictor, at: Path) -> None:
        self.address(predictor.item, (*at, "item"))
        if (predictor.kind is PredictorKind.CUT) is not (predictor.at_least is not None):
            self.report(at, "a cut is a predictor with `at_least`", "Write kind: cut together with at_least.")
        codes = self.items[predictor.item].codes if predictor.item in self.items else ()
        answers = [code.value for code in codes]
        seen: dict[str, str] = {}
        for place, category in enumerate(predictor.categories):
            for number, value in enumerate(category.values):
                here = (*at, "categories", place, "values", number)
                if answers:
                    self.refers(value, answers, here, f"answer of {predictor.item}")
                if value in seen:
                    self.report(here, f"`{value}` is in “{seen[value]}” already", "Name it in one category.")
                seen[value] = category.label
        if predictor.reference:
            labels = [category.label for category in predictor.categories] or [code.label for code in codes]
            if labels:
                self.refers(predictor.reference, labels, (*at, "reference"), "category")

    def _endpoint_examples(self, endpoint: EndpointSpec, path: Path) -> None:
        check = self.check_examples.get(endpoint.method)
        for index, example in enumerate(endpoint.examples):
            at = (*path, "examples", index)
            if not {"given", "then"} <= set(example):
                self.report(at, "an example has `given` and `then`", "Write {given: ..., then: ...}.")
            elif check is not None and (complaint := check(endpoint, example)) is not None:
                self.report(at, f"the example fails: {complaint}", "Correct the endpoint or the example.")


def _share_a_day(first: schedule.PlannedVisit, second: schedule.PlannedVisit) -> bool:
    """Whether the later of two windows begins before the earlier has ended, for a group that has both visits."""
    same_people = not first.groups or not second.groups or set(first.groups) & set(second.groups)
    return bool(same_people) and (second.earliest_day or 0) <= (first.latest_day or 0)


def _window_words(visit: schedule.PlannedVisit) -> str:
    return f"{visit.code} (days {visit.earliest_day} to {visit.latest_day})"
