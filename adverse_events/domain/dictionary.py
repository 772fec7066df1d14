"""A dictionary of adverse-event terms: which grades each term has, and how a term is found from what was typed."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

# British spellings that a European site types, and the American ones the dictionary is written in.
_SPELLINGS = (
    ("haem", "hem"),
    ("oesoph", "esoph"),
    ("oedema", "edema"),
    ("anaem", "anem"),
    ("diarrhoea", "diarrhea"),
    ("leukaem", "leukem"),
    ("ischaem", "ischem"),
    ("calcaem", "calcem"),
    ("kalaem", "kalem"),
    ("natraem", "natrem"),
    ("glycaem", "glycem"),
    ("magnesaem", "magnesem"),
    ("albuminaem", "albuminem"),
    ("dyspnoea", "dyspnea"),
    ("tumour", "tumor"),
    ("anaest", "anest"),
    ("paraest", "parest"),
    ("gynaec", "gynec"),
    ("faec", "fec"),
    ("foet", "fet"),
)
# Everyday words for terms whose name does not hold them.
_SYNONYMS: Mapping[str, str] = {
    "low platelets": "Platelet count decreased",
    "thrombocytopenia": "Platelet count decreased",
    "neutropenia": "Neutrophil count decreased",
    "lymphopenia": "Lymphocyte count decreased",
    "leukopenia": "White blood cell decreased",
    "hyperbilirubinemia": "Blood bilirubin increased",
    "jaundice": "Blood bilirubin increased",
    "alat": "Alanine aminotransferase increased",
    "alt": "Alanine aminotransferase increased",
    "asat": "Aspartate aminotransferase increased",
    "ast": "Aspartate aminotransferase increased",
    "renal failure": "Acute kidney injury",
    "kidney failure": "Acute kidney injury",
    "pneumonia": "Lung infection",
    "line infection": "Catheter related infection",
    "gastroenteritis": "Enterocolitis infectious",
    "high blood pressure": "Hypertension",
    "low blood pressure": "Hypotension",
    "fits": "Seizure",
    "convulsion": "Seizure",
    "mouth sores": "Mucositis oral",
    "stomatitis": "Mucositis oral",
    "nosebleed": "Epistaxis",
    "hives": "Urticaria",
    "shortness of breath": "Dyspnea",
    "tiredness": "Fatigue",
    "loss of appetite": "Anorexia",
}


@dataclass(frozen=True)
class Term:
    """One term of the dictionary, with the grades that exist for it."""

    soc: str
    name: str
    grades: frozenset[int]

    @property
    def is_other(self) -> bool:
        """Whether it is a class's "Other, specify", which needs the words of what happened."""
        return self.name.endswith("Other, specify")

    @property
    def grades_listed(self) -> str:
        """The grades there are: ``3, 4, 5``."""
        return _listed(self.grades)


@dataclass(frozen=True)
class Dictionary:
    """Every term of one version."""

    name: str
    terms: tuple[Term, ...] = field(repr=False)

    @cached_property
    def _by_name(self) -> Mapping[str, Term]:
        return {normalised(term.name): term for term in self.terms}

    @cached_property
    def _searchable(self) -> tuple[tuple[str, Term], ...]:
        return tuple((normalised(term.name), term) for term in self.terms)

    def find(self, name: str) -> Term | None:
        """The term of this name, whatever its case, hyphens and spelling (British or American)."""
        return self._by_name.get(normalised(name))

    def search(self, typed: str, *, limit: int = 8) -> tuple[Term, ...]:
        """The terms nearest to what was typed, best first: its start, then the start of each word, then anywhere.

        "Other, specify" comes last unless it is typed. What is found nowhere is taken for a slip of the keyboard.
        """
        words = normalised(typed).split()
        if not words:
            return ()
        whole = " ".join(words)
        hits: list[tuple[int, int, int, str, Term]] = []
        for text, term in self._searchable:
            rank = _rank(whole, words, text)
            if rank is not None:
                hits.append((int(term.is_other and "other" not in words), rank, len(text), text, term))
        synonyms = [_SYNONYMS[key] for key in sorted(_SYNONYMS) if key.startswith(whole)]
        meant = [known for name in synonyms if (known := self.find(name)) is not None]
        ordered = [*meant, *(hit[-1] for hit in sorted(hits, key=lambda hit: hit[:4]))]
        if not ordered:
            near = difflib.get_close_matches(whole, self._by_name, n=limit, cutoff=0.7)
            ordered = [self._by_name[name] for name in near]
        return tuple(dict.fromkeys(ordered))[:limit]


def normalised(text: str) -> str:
    """One form for every way of writing a term: lower case, one spelling, words parted by one space.

    It is compared, never shown: both spellings of a word become the shorter of the two.

    >>> normalised("Gastro-oesophageal  reflux") == normalised("gastroesophageal reflux")
    True
    """
    plain = text.lower().replace("gastro-oe", "gastrooe")
    for british, american in _SPELLINGS:
        while british in plain:  # "gastrooesophageal" holds it twice, one inside the other
            plain = plain.replace(british, american)
    return " ".join(re.findall(r"[a-z0-9]+", plain))


def parse_terms(text: str, *, name: str) -> Dictionary:
    """Read ``soc,term,grades`` with grades as ``3|4|5``; ValueError names the row that does not hold."""
    terms: list[Term] = []
    seen: set[str] = set()
    for number, row in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        if not row.get("term") or not row.get("soc") or not re.fullmatch(r"[1-5](\|[1-5])*", row.get("grades") or ""):
            raise ValueError(f"{name}, row {number}: a term needs its class, its name and its grades (such as 3|4|5).")
        if row["term"] in seen:
            raise ValueError(f"{name}, row {number}: {row['term']} stands twice.")
        seen.add(row["term"])
        terms.append(Term(row["soc"], row["term"], frozenset(int(grade) for grade in row["grades"].split("|"))))
    return Dictionary(name, tuple(terms))


def differences(shipped: Dictionary, official: Iterable[Term]) -> list[str]:
    """Each way in which an official file differs from the list of facts that is shipped, one sentence each."""
    theirs = {term.name: term for term in official}
    ours = {term.name: term for term in shipped.terms}
    sentences = [f"{name} is not in the file." for name in ours if name not in theirs]
    sentences += [f"{name} is in the file and not in {shipped.name}." for name in theirs if name not in ours]
    for name, term in theirs.items():
        known = ours.get(name)
        if known is not None and known.grades != term.grades:
            sentences.append(
                f"{name} has the grades {_listed(term.grades)} in the file, {_listed(known.grades)} in {shipped.name}."
            )
        if known is not None and known.soc != term.soc:
            sentences.append(f"{name} stands under {term.soc} in the file and under {known.soc} in {shipped.name}.")
    return sentences


def _listed(grades: frozenset[int]) -> str:
    return ", ".join(str(grade) for grade in sorted(grades))


def _rank(whole: str, words: list[str], text: str) -> int | None:
    if text == whole:
        return 0
    if text.startswith(whole):
        return 1
    starts = text.split()
    if all(any(start.startswith(word) for start in starts) for word in words):
        return 2
    if all(word in text for word in words):
        return 3
    return None
