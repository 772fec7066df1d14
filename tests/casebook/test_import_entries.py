"""Many forms of a file: read as if typed, whole or not at all, once."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from casebook import actions
from casebook.actions import FormRow, Refused
from casebook.models import FormEntry
from tests.world import World
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db


def test_forms_are_written_once_and_a_change_is_a_version(world: World) -> None:
    participant = world.enrolled()

    def imported(weight: str) -> int:
        rows = [FormRow(participant, "VS", {"WEIGHT": weight}, "BL")]
        return actions.import_entries(rows=rows, by=world.bob, reason="file")

    assert [imported("12.5"), imported("12.5"), imported("13")] == [1, 0, 1]
    entry = FormEntry.objects.get(participant=participant, form="VS")
    assert (entry.revision, entry.answers["WEIGHT"]["value"]) == (2, "13")


def test_a_row_that_cannot_be_kept_is_named_and_nothing_is_written(world: World) -> None:
    participant = world.enrolled()
    good = FormRow(participant, "VS", {"WEIGHT": "12.5"}, "BL")
    before = FormEntry.objects.count()
    for bad, error in (
        (FormRow(participant, "CM", {"NONSENSE": "1"}), Refused),
        (FormRow(participant, "VS", {"WEIGHT": "12.5"}, "NEVER"), NotPossible),
        (FormRow(participant, "VS", {"WEIGHT": "12.5"}, "BL", 2), NotPossible),
        (good, Refused),  # the same place twice
    ):
        with pytest.raises(error):
            actions.import_entries(rows=[good, bad], by=world.bob)
    assert FormEntry.objects.count() == before


def test_who_may_not_record_may_not_import(world: World) -> None:
    participant = world.enrolled()
    with pytest.raises(PermissionDenied):
        actions.import_entries(rows=[FormRow(participant, "VS", {"WEIGHT": "12.5"}, "BL")], by=world.rita)
    assert not FormEntry.objects.filter(participant=participant, form="VS").exists()
