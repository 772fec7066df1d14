"""Parameter sets and level-guided algorithms as files: read whole or refused with every place that is wrong.

The canonical form is what is hashed and kept: texts as written, numbers as plain decimals. Nothing of a file is code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from trials.domain import nodes

from .level_guided import Algorithm, LevelBand, LevelModel
from .nomogram import plain, sha256
from .population import PARAMETER_NAMES, PopulationModel
from .table_files import MAX_TEXT, TableError, TableErrors

PARAMETERS = "parameters"
ALGORITHMS = ("map", "table")
#: The status of a file that may be used for patients: the words of its source, said by who enters it.
VERIFIED = ("verified", "sponsor")
#: What a model may ask for of a person, in words.
COVARIATES = {"weight_kg": "body weight", "alc_1e9_per_l": "lymphocyte count"}

TEXTS = ("kind", "code", "title", "product", "status", "source_citation")
FREE_TEXTS = ("licence_note", "population")
SET_TEXTS = ("analyte", "assay", "level_unit")
ALGORITHM_TEXTS = ("target", "assay", "level_unit", "below_limit", "fallback")
ALGORITHM_NUMBERS = (
    "fixed_mg_per_kg",
    "lowest_mg_per_kg",
    "highest_mg_per_kg",
    "highest_change",
    "round_to_mg",
    "at_least_levels",
    "highest_level",
)

Content = dict[str, object]


@dataclass(frozen=True)
class ModelFile:
    """A file that was read: its canonical ``content`` and what a list shows of it."""

    kind: str
    code: str
    title: str
    product: str
    is_synthetic: bool
    source_citation: str
    licence_note: str
    content: Content


def parse_model(text: str) -> ModelFile:
    """A parameter set or an algorithm from its YAML text; raises TableErrors with every line that is wrong."""
    if len(text) > MAX_TEXT or "\x00" in text:
        raise TableErrors([TableError(1, "the text is too long or no text", "Check that this is the right file.")])
    try:
        node = nodes.from_text(text.lstrip("\ufeff"))
    except nodes.Refused as refused:
        raise TableErrors([TableError(refused.line, refused.rule, refused.remedy)]) from None
    if not isinstance(node, nodes.Table):
        raise TableErrors([TableError(1, "not a dosing model", "Start with `kind:`, `code:`, `title:`.")])
    reader = _Reader(node)
    content = reader.whole()
    if reader.errors:
        raise TableErrors(reader.errors)
    return ModelFile(
        kind=str(content["kind"]),
        code=str(content["code"]),
        title=str(content["title"]),
        product=str(content["product"]),
        is_synthetic=bool(content["synthetic"]),
        source_citation=str(content["source_citation"]),
        licence_note=str(content.get("licence_note", "")),
        content=content,
    )


def differing(one: Mapping[str, object], other: Mapping[str, object]) -> tuple[tuple[str, str, str], ...]:
    """Every place at which two canonical contents differ: place, first, second."""
    before, after = flat(one), flat(other)
    places = dict.fromkeys([*before, *after])
    return tuple(
        (place, before.get(place, ""), after.get(place, ""))
        for place in places
        if before.get(place, "") != after.get(place, "")
    )


def flat(content: object, place: str = "") -> dict[str, str]:
    """A canonical content line by line: ``parameters.cl.typical`` → ``0.48``."""
    if isinstance(content, Mapping):
        found: dict[str, str] = {}
        for key, value in content.items():
            found |= flat(value, f"{place}.{key}" if place else str(key))
        return found
    if isinstance(content, list):
        found = {}
        for count, value in enumerate(content, start=1):
            found |= flat(value, f"{place}[{count}]")
        return found
    return {place: str(content)}


def to_model(content: Mapping[str, object], name: str) -> LevelModel:
    """The parameter set of a canonical content."""
    data = {key: _floats(content[key]) for key in ("parameters", "residual")}
    return LevelModel(
        name=name,
        sha256=sha256(content),
        population=PopulationModel.from_dict({**data, "status": content["status"]}),
        product=str(content["product"]),
        analyte=str(content["analyte"]),
        level_unit=str(content["level_unit"]),
        assay=str(content["assay"]),
        amount_per_mg=float(str(content["amount_per_mg"])),
        is_verified=str(content["status"]) in VERIFIED,
        is_synthetic=bool(content["synthetic"]),
    )


def to_algorithm(content: Mapping[str, object], name: str) -> Algorithm:
    """The algorithm of a canonical content."""
    number = {key: Decimal(str(content[key])) for key in ALGORITHM_NUMBERS}
    bands = content.get("bands") or []
    assert isinstance(bands, list)
    return Algorithm(
        name=name,
        sha256=sha256(content),
        kind=str(content["kind"]),
        product=str(content["product"]),
        target=str(content["target"]),
        fixed_mg_per_kg=number["fixed_mg_per_kg"],
        lowest_mg_per_kg=number["lowest_mg_per_kg"],
        highest_mg_per_kg=number["highest_mg_per_kg"],
        highest_change=number["highest_change"],
        round_to_mg=number["round_to_mg"],
        at_least_levels=int(number["at_least_levels"]),
        highest_level=number["highest_level"],
        level_unit=str(content["level_unit"]),
        assay=str(content["assay"]),
        is_verified=str(content["status"]) in VERIFIED,
        is_synthetic=bool(content["synthetic"]),
        parameter_set=str(content.get("parameter_set", "")),
        bands=tuple(
            LevelBand(
                Decimal(band["low"]), Decimal(band["high"]) if band.get("high") else None, Decimal(band["mg_per_kg"])
            )
            for band in bands
        ),
    )


def _floats(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _floats(one) for key, one in value.items()}
    return float(str(value))


class _Reader:
    """Reads one file and collects what is wrong with it."""

    def __init__(self, node: nodes.Table) -> None:
        self.node = node
        self.errors = [TableError(line, f"`{key}` is given twice", "Keep one.") for key, line in node.duplicates]

    def report(self, line: int, rule: str, remedy: str) -> None:
        self.errors.append(TableError(line, rule, remedy))

    def whole(self) -> Content:
        content: Content = {key: self.text(key) for key in TEXTS}
        content |= {key: self.text(key, required=False) for key in FREE_TEXTS}
        content["synthetic"] = self.yes_or_no("synthetic")
        kind = content["kind"]
        if kind == PARAMETERS:
            content |= self.parameter_set()
        elif kind in ALGORITHMS:
            content |= self.algorithm(str(kind))
        elif kind:
            self.report(self.node.line_of("kind"), f"kind {kind} is not known", "Write parameters, map or table.")
        known = {*TEXTS, *FREE_TEXTS, "synthetic", *content}
        for key in self.node.entries:
            if key not in known:
                self.report(self.node.line_of(key), f"a file of this kind has no `{key}`", "Remove it.")
        return content

    def parameter_set(self) -> Content:
        content: Content = {key: self.text(key) for key in SET_TEXTS}
        if str(content["level_unit"]).count("/") != 1 or not str(content["level_unit"]).endswith("/mL"):
            self.report(
                self.node.line_of("level_unit"), "level_unit is no concentration in mL", "Write such as UE/mL or mg/mL."
            )
        content["amount_per_mg"] = self.number(self.node, "amount_per_mg", above=Decimal(0))
        parameters = self.table(self.node, "parameters", PARAMETER_NAMES)
        content["parameters"] = {name: self.parameter(parameters, name) for name in PARAMETER_NAMES if parameters}
        residual = self.table(self.node, "residual", ("proportional_variance", "additive_variance"))
        if residual is not None:
            names = ("proportional_variance", "additive_variance")
            numbers = {name: self.number(residual, name, above=None) for name in names}
            content["residual"] = numbers
            if set(numbers.values()) == {"0"}:
                self.report(residual.line, "both residual variances are 0", "Give at least one.")
        if parameters is not None and not any(
            isinstance(one, nodes.Table) and "omega2" in one.entries for one in parameters.entries.values()
        ):
            self.report(parameters.line, "no parameter has an omega2", "Without one there is nothing to estimate.")
        return content

    def parameter(self, parameters: nodes.Table, name: str) -> Content:
        node = parameters.entries.get(name)
        if not isinstance(node, nodes.Table):
            if node is not None:
                self.report(node.line, f"parameters.{name} is not a list of values", "Write {typical: 0.5}.")
            return {}
        content: Content = {"typical": self.number(node, "typical", above=Decimal(0), place=f"parameters.{name}.")}
        for key, value in node.entries.items():
            if key == "omega2":
                content[key] = self.number(node, key, above=Decimal(0), place=f"parameters.{name}.")
            elif key in COVARIATES and isinstance(value, nodes.Table):
                place = f"parameters.{name}.{key}."
                content[key] = {
                    "reference": self.number(value, "reference", above=Decimal(0), place=place),
                    "exponent": self.number(value, "exponent", above=None, lowest=Decimal(-5), place=place),
                }
            elif key != "typical":
                rule = f"parameters.{name} has no `{key}`"
                self.report(value.line, rule, f"Known: typical, omega2, {', '.join(COVARIATES)}.")
        return content

    def algorithm(self, kind: str) -> Content:
        content: Content = {key: self.text(key) for key in ALGORITHM_TEXTS}
        numbers = {key: self.number(self.node, key, above=Decimal(0)) for key in ALGORITHM_NUMBERS}
        content |= numbers
        if content["below_limit"] not in ("", "exclude"):
            self.report(
                self.node.line_of("below_limit"),
                "levels below the limit can only be excluded in this version",
                "Write below_limit: exclude.",
            )
        if content["fallback"] not in ("", "fixed_dose"):
            self.report(self.node.line_of("fallback"), "the fallback is not known", "Write fallback: fixed_dose.")
        if all(numbers.values()):
            value = {key: Decimal(one) for key, one in numbers.items()}
            if not value["lowest_mg_per_kg"] <= value["fixed_mg_per_kg"] <= value["highest_mg_per_kg"]:
                self.report(
                    self.node.line_of("fixed_mg_per_kg"),
                    "the fixed dose lies outside lowest to highest",
                    "Correct one of the three.",
                )
            if value["highest_change"] >= 1:
                rule = "highest_change is a share of the fixed dose below 1"
                self.report(self.node.line_of("highest_change"), rule, "Write such as 0.5.")
            if value["at_least_levels"] != value["at_least_levels"].to_integral_value():
                self.report(self.node.line_of("at_least_levels"), "at_least_levels is no whole number", "Write 2.")
        if kind == "map":
            content["parameter_set"] = self.text("parameter_set")
        else:
            content["bands"] = self.bands()
        return content

    def bands(self) -> list[Content]:
        """Bands that tile from 0 upward without gap or overlap; the last one has no end."""
        node = self.node.entries.get("bands")
        rows = node.entries if isinstance(node, nodes.Listing) else ()
        if not rows:
            self.report(self.node.line_of("bands"), "`bands` is missing or no list", "Give low, high and mg_per_kg.")
        bands: list[Content] = []
        edge = "0"
        for count, row in enumerate(rows, start=1):
            if not isinstance(row, nodes.Table):
                self.report(row.line, f"bands[{count}] is not a list of values", "Give low, high and mg_per_kg.")
                continue
            place = f"bands[{count}]."
            band: Content = {
                "low": self.number(row, "low", above=None, place=place),
                "mg_per_kg": self.number(row, "mg_per_kg", above=Decimal(0), place=place),
            }
            is_last = count == len(rows)
            if "high" in row.entries:
                band["high"] = self.number(row, "high", above=Decimal(0), place=place)
            if is_last is ("high" in row.entries):
                self.report(row.line, f"bands[{count}]: the last band, and only that, has no `high`", "Correct it.")
            if band["low"] != edge:
                self.report(row.line, f"bands[{count}] begins at {band['low']}, not at {edge}", "Leave no gap.")
            edge = str(band.get("high", ""))
            bands.append(band)
        return bands

    def text(self, key: str, *, required: bool = True) -> str:
        found = self.node.entries.get(key)
        if found is None or (isinstance(found, nodes.Leaf) and not found.text.strip()):
            if required:
                self.report(self.node.line_of(key), f"`{key}` is missing", f"Add `{key}:`.")
            return ""
        if not isinstance(found, nodes.Leaf) or len(found.text) > 2000:
            self.report(self.node.line_of(key), f"`{key}` is not one text", "Write it on one line.")
            return ""
        if key == "code" and (len(found.text) > 60 or not found.text.replace("_", "").replace("-", "").isalnum()):
            self.report(found.line, f"code “{found.text[:60]}” is no name", "Letters, digits, - and _ only.")
        return found.text.strip()

    def yes_or_no(self, key: str) -> bool:
        found = self.node.entries.get(key)
        word = found.text.lower() if isinstance(found, nodes.Leaf) else ""
        if word not in ("true", "false"):
            self.report(self.node.line_of(key), f"`{key}` is neither true nor false", f"Write `{key}: false`.")
        return word == "true"

    def table(self, node: nodes.Table, key: str, names: tuple[str, ...]) -> nodes.Table | None:
        found = node.entries.get(key)
        if not isinstance(found, nodes.Table):
            self.report(node.line_of(key), f"`{key}` is missing or no list of names", f"Give {', '.join(names)}.")
            return None
        for name in names:
            if name not in found.entries:
                self.report(found.line, f"{key}.{name} is missing", f"Add `{name}:`.")
        for name in found.entries:
            if name not in names:
                self.report(found.line_of(name), f"{key} has no `{name}`", f"Known: {', '.join(names)}.")
        return found

    def number(
        self,
        node: nodes.Table,
        key: str,
        *,
        above: Decimal | None,
        lowest: Decimal = Decimal(0),
        place: str = "",
    ) -> str:
        found = node.entries.get(key)
        text = found.text if isinstance(found, nodes.Leaf) else ""
        try:
            value = Decimal(text) if text and len(text) <= 14 else Decimal("NaN")
        except InvalidOperation:
            value = Decimal("NaN")
        line = node.line_of(key)
        if not value.is_finite():
            said = "is missing" if found is None else f"is “{text[:30]}”, no number"
            self.report(line, f"{place}{key} {said}", "Write a plain number such as 0.5.")
            return ""
        if (above is not None and value <= above) or value < lowest or value > 10**6:
            self.report(line, f"{place}{key} is {text}, out of range", "Check number and unit.")
            return ""
        return plain(value)
