"""The publisher's table is loaded when it agrees with everything that is known of the dictionary, and not otherwise."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from openpyxl import Workbook

from adverse_events import selectors
from adverse_events.domain.dictionary import Dictionary, Term
from adverse_events.domain.wording import read_wordings
from adverse_events.models import TermWording
from adverse_events.selectors import dictionary

HEAD = ["soc", "term", "meddra_code", "definition", "grade1", "grade2", "grade3", "grade4", "grade5"]
#: Blank in the publisher's table of 4.03.
BLANK = {"Lymph node pain", "Obesity", "Edema cerebral"}


def official() -> list[list[str]]:
    """A table as the publisher makes one, with invented wording for the facts that are shipped."""
    rows = [list(HEAD)]
    for term in dictionary("CTCAE 4.03").terms:
        grades = [f"wording {grade}, as invented" if grade in term.grades else "-" for grade in range(1, 6)]
        if term.name in BLANK:
            grades[4] = ""
        rows.append([term.soc, term.name, "10000000", "" if term.is_other else f"What {term.name} is.", *grades])
    return rows


def saved(folder: Path, rows: list[list[str]], kind: str = "csv") -> Path:
    file = folder / f"official.{kind}"
    if kind == "xlsx":
        book = Workbook()
        for row in rows:
            book.worksheets[0].append([cell or None for cell in row])
        book.save(file)
    else:
        text = io.StringIO()
        csv.writer(text, delimiter=";" if kind == "semicolon" else ",").writerows(rows)
        file.write_bytes(text.getvalue().encode("utf-8-sig"))
    return file


def load(file: Path, name: str = "CTCAE 4.03") -> str:
    out = io.StringIO()
    call_command("load_dictionary_wording", str(file), dictionary=name, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["csv", "semicolon", "xlsx"])
def test_the_publishers_table_is_loaded(tmp_path: Path, kind: str) -> None:
    said = load(saved(tmp_path, official(), kind))
    assert "790 terms in 26 classes are loaded" in said
    assert said.count("Note: ") == 3
    assert "Edema cerebral, grade 5: the cell is blank. The grade is accepted" in said
    sepsis = selectors.wording("CTCAE 4.03", "Sepsis")
    assert sepsis is not None
    assert sepsis.grades == {"4": "wording 4, as invented", "5": "wording 5, as invented"}
    assert sepsis.definition == "What Sepsis is."


@pytest.mark.django_db
def test_loading_again_replaces_what_was_loaded(tmp_path: Path) -> None:
    rows = official()
    load(saved(tmp_path, rows))
    rows[1][3] = "Said better."
    load(saved(tmp_path, rows))
    assert TermWording.objects.count() == 790
    assert TermWording.objects.filter(definition="Said better.").count() == 1


def without_last(rows: list[list[str]]) -> None:
    rows.pop()


def sepsis_of(rows: list[list[str]]) -> list[str]:
    return next(row for row in rows if row[1] == "Sepsis")


def sepsis_with_grade_3(rows: list[list[str]]) -> None:
    sepsis_of(rows)[6] = "wording"


def sepsis_elsewhere(rows: list[list[str]]) -> None:
    sepsis_of(rows)[0] = "Vascular disorders"


def sepsis_misspelt(rows: list[list[str]]) -> None:
    sepsis_of(rows)[1] = "Spesis"


def sepsis_twice(rows: list[list[str]]) -> None:
    rows[-1] = sepsis_of(rows)


def class_misspelt(rows: list[list[str]]) -> None:
    sepsis_of(rows)[0] = "Infections"


def no_term(rows: list[list[str]]) -> None:
    sepsis_of(rows)[1] = ""


def no_grades(rows: list[list[str]]) -> None:
    sepsis_of(rows)[4:] = ["-"] * 5


def no_column(rows: list[list[str]]) -> None:
    rows[0][8] = "fifth"


def nothing(rows: list[list[str]]) -> None:
    rows.clear()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("damage", "complaints"),
    [
        (without_last, ["The file has 789 terms; CTCAE 4.03 has 790.", "is not in the file."]),
        (sepsis_with_grade_3, ["Sepsis has the grades 3, 4, 5 in the file, 4, 5 in CTCAE 4.03."]),
        (sepsis_elsewhere, ["Sepsis stands under Vascular disorders in the file"]),
        (sepsis_misspelt, ["Sepsis is not in the file.", "Spesis is in the file and not in CTCAE 4.03."]),
        (sepsis_twice, ["Sepsis stands 2 times in the file."]),
        (class_misspelt, ["The file has 27 system organ classes; CTCAE 4.03 has 26."]),
        (no_term, ["has no class or no term", "Sepsis is not in the file."]),
        (no_grades, ["has no grade at all"]),
        (no_column, ["The first row names no column grade5."]),
        (nothing, ["The file is empty."]),
    ],
)
def test_every_difference_is_told_and_nothing_is_loaded(
    tmp_path: Path, damage: Callable[[list[list[str]]], None], complaints: list[str]
) -> None:
    load(saved(tmp_path, official()))
    before = set(TermWording.objects.values_list("pk", flat=True))
    rows = official()
    damage(rows)
    with pytest.raises(CommandError) as refused:
        load(saved(tmp_path, rows))
    for complaint in complaints:
        assert complaint in str(refused.value)
    assert "nothing was loaded" in str(refused.value)
    assert set(TermWording.objects.values_list("pk", flat=True)) == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PK\x03\x04 no workbook", "is no XLSX workbook"),
        ("soc,term\nd\xe9j\xe0,vu".encode("latin-1"), "Save it as CSV UTF-8"),
        (b'soc,term\n"open', "is no CSV table"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_a_sentence(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    file = tmp_path / "table"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError, match=sentence):
        load(file)


@pytest.mark.django_db
def test_a_version_that_is_not_shipped_is_coded_to_once_it_is_loaded(tmp_path: Path) -> None:
    """837 terms in 26 classes: CTCAE 5.0 (2017). The terms here are invented; their number is not."""
    rows = [["CTCAE Term", "MedDRA SOC", "Definition", *(f"Grade {n}" for n in range(1, 6)), "CTCAE v5.0 Change"]]
    rows += [[f"Term {n}", f"Class {n % 26}", "-", "mild", "-", "severe", "-", "-", "new"] for n in range(837)]
    file = saved(tmp_path, rows)
    with pytest.raises(selectors.NoDictionary, match="load_dictionary_wording"):
        dictionary("CTCAE 5.0")
    assert "837 terms in 26 classes are loaded" in load(file, "CTCAE 5.0")
    found = dictionary("CTCAE 5.0").find("term 7")
    assert found is not None
    assert found.grades == {1, 3}
    with pytest.raises(CommandError, match="The file has 836 terms; CTCAE 5.0 has 837"):
        load(saved(tmp_path, rows[:-1]), "CTCAE 5.0")


@pytest.mark.parametrize(
    "head",
    [
        HEAD,
        ["CTCAE v4.0 SOC", "CTCAE v4.0 Term", "MedDRA v12.0 Code", "CTCAE v4.0 AE Term Definition"]
        + [f"Grade {n}" for n in range(1, 6)],
    ],
)
def test_the_columns_are_known_under_the_publishers_names_too(head: list[str]) -> None:
    shipped = Dictionary("small", (Term("Blood", "Anemia", frozenset({3, 4})),))
    table = read_wordings(
        [head, ["Blood", "Anemia", "1", "Too  little", "-", "\N{EN DASH}", "bad", "worse", " "], [""] * 9],
        name="small",
        shipped=shipped,
    )
    assert table.complaints == ()
    assert [(one.definition, one.grades) for one in table.wordings] == [("Too little", {3: "bad", 4: "worse"})]
