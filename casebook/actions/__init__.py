"""The verbs of the casebook: the only writers of what was observed.

Each takes keyword arguments only, asks permission on its first line, and writes in one transaction that the audit trail
attributes to ``by``. What was typed is read by ``casebook.domain``; a :class:`Refused` carries every problem at once.
"""

from casebook.actions.enrolment import answer_criteria, check_eligibility, enrol_participant, waive_criterion
from casebook.actions.entries import FormRow, Refused, import_entries, reopen_entry, save_entry
from casebook.actions.events import correct_event, import_events, record_event, void_event
from casebook.actions.lab_imports import check_lab_file, discard_lab_import, write_lab_import
from casebook.actions.laboratory import correct_result, import_draws, record_draw
from casebook.permissions import Conflict

__all__ = [
    "Conflict",
    "FormRow",
    "Refused",
    "answer_criteria",
    "check_eligibility",
    "check_lab_file",
    "correct_event",
    "correct_result",
    "discard_lab_import",
    "enrol_participant",
    "import_draws",
    "import_entries",
    "import_events",
    "record_draw",
    "record_event",
    "reopen_entry",
    "save_entry",
    "void_event",
    "waive_criterion",
    "write_lab_import",
]
