"""The dictionary holds the facts of CTCAE 4.03, and finds the term that somebody means."""

from __future__ import annotations

import pytest

from adverse_events.domain.dictionary import Term, differences, parse_terms
from adverse_events.selectors import dictionary

CTCAE = dictionary("CTCAE 4.03")


def test_it_holds_the_whole_of_the_version() -> None:
    """790 terms in 26 classes, one "Other, specify" each: CTCAE 4.03, 14 June 2010."""
    assert len(CTCAE.terms) == 790
    assert len({term.soc for term in CTCAE.terms}) == 26
    assert sum(term.is_other for term in CTCAE.terms) == 26


@pytest.mark.parametrize("grade, missing", [(1, 185), (2, 89), (3, 66), (4, 262), (5, 296)])
def test_how_many_terms_lack_a_grade(grade: int, missing: int) -> None:
    """Counts of the grades that the publisher marks with a dash; Edema cerebral has no grade 5 text in the file."""
    lacking = sum(grade not in term.grades for term in CTCAE.terms)
    assert missing <= lacking <= missing + 3


@pytest.mark.parametrize(
    "term, grades",
    [
        ("Sepsis", {4, 5}),
        ("Febrile neutropenia", {3, 4, 5}),
        ("Capillary leak syndrome", {2, 3, 4, 5}),
        ("Gastroesophageal reflux disease", {1, 2, 3}),
        ("Neuralgia", {1, 2, 3}),
    ],
)
def test_grades_that_surprise(term: str, grades: set[int]) -> None:
    found = CTCAE.find(term)
    assert found is not None and found.grades == grades


# What coordinators type for the events of PARACHUTE's Table 2 and the common ones beside them.
MEANT = [
    ("febr", "Febrile neutropenia"),
    ("feb neut", "Febrile neutropenia"),
    ("sepsis", "Sepsis"),
    ("lung inf", "Lung infection"),
    ("pneumonia", "Lung infection"),
    ("cath", "Catheter related infection"),
    ("line inf", "Catheter related infection"),
    ("skin inf", "Skin infection"),
    ("upper resp", "Upper respiratory infection"),
    ("urinary tract inf", "Urinary tract infection"),
    ("gastroent", "Enterocolitis infectious"),
    ("allergic", "Allergic reaction"),
    ("anaphyl", "Anaphylaxis"),
    ("autoimm", "Autoimmune disorder"),
    ("capillary", "Capillary leak syndrome"),
    ("cytokine", "Cytokine release syndrome"),
    ("dehyd", "Dehydration"),
    ("gastro-oesophageal reflux", "Gastroesophageal reflux disease"),
    ("hypokal", "Hypokalemia"),
    ("hypokalaemia", "Hypokalemia"),
    ("pericardial eff", "Pericardial effusion"),
    ("hyperbilirubinaemia", "Blood bilirubin increased"),
    ("bilirubin", "Blood bilirubin increased"),
    ("seiz", "Seizure"),
    ("fits", "Seizure"),
    ("neuralg", "Neuralgia"),
    ("acute kid", "Acute kidney injury"),
    ("renal failure", "Acute kidney injury"),
    ("mucos", "Mucositis oral"),
    ("mouth sores", "Mucositis oral"),
    ("diarrhoea", "Diarrhea"),
    ("oedema face", "Edema face"),
    ("thrombocytop", "Platelet count decreased"),
    ("neutropenia", "Neutrophil count decreased"),
    ("ALT", "Alanine aminotransferase increased"),
    ("hypert", "Hypertension"),
    ("vomit", "Vomiting"),
    ("nause", "Nausea"),
    ("rash mac", "Rash maculo-papular"),
    ("nosebleed", "Epistaxis"),
]


def test_what_is_meant_is_among_the_first_five() -> None:
    missed = [(typed, term) for typed, term in MEANT if term not in [t.name for t in CTCAE.search(typed, limit=5)]]
    assert len(missed) <= len(MEANT) * 0.05, missed


@pytest.mark.parametrize(
    ("typed", "term"),
    [
        ("spesis", "Sepsis"),
        ("neutropenic fevre", None),
        ("muscositis oral", "Mucositis oral"),
        ("zzzz", None),
        ("", None),
    ],
)
def test_a_slip_of_the_keyboard_finds_what_is_near_and_nothing_far(typed: str, term: str | None) -> None:
    names = [found.name for found in CTCAE.search(typed)]
    assert (names[0] if names else None) == term


@pytest.mark.parametrize("name", ["catheter-related infection", "SEPSIS", "Gastro-oesophageal reflux disease"])
def test_case_hyphens_and_spelling_do_not_matter(name: str) -> None:
    assert CTCAE.find(name) is not None


def test_an_official_file_that_differs_is_told_term_by_term() -> None:
    official = [term for term in CTCAE.terms if term.name != "Sepsis"]
    official.append(Term("Infections and infestations", "Sepsis", frozenset({3, 4, 5})))
    official.append(Term("Nowhere", "A new term", frozenset({1})))
    assert differences(CTCAE, official) == [
        "A new term is in the file and not in CTCAE 4.03.",
        "Sepsis has the grades 3, 4, 5 in the file, 4, 5 in CTCAE 4.03.",
    ]


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("soc,term,grades\nA,Pain,1|6\n", "row 2"),
        ("soc,term,grades\nA,,1\n", "row 2"),
        ("soc,term,grades\nA,Pain,1\nA,Pain,1\n", "row 3: Pain stands twice"),
    ],
)
def test_a_list_that_does_not_hold_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_terms(text, name="test")
