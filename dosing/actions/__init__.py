"""The verbs of dosing: the only writers of tables, worksheets and given doses.

Each takes keyword arguments only, asks permission on its first line, and writes in one transaction that the audit trail
attributes to ``by``; ``by=None`` is the system, an import or the command line.
"""

from dosing.actions.administrations import (
    InfusionRow,
    check_administered,
    correct_administration,
    end_course,
    import_administrations,
    record_administration,
    resume_course,
    void_administration,
)
from dosing.actions.cards import take_card
from dosing.actions.models import approve_model, enter_model, retire_model, verify_model
from dosing.actions.needs import need
from dosing.actions.tables import (
    TableDiffers,
    approve_table,
    enter_table,
    findings_for,
    put_into_force,
    retire_table,
    verify_table,
)
from dosing.actions.worksheets import (
    RELEASE_MEANING,
    bring_up_to_date,
    compute_worksheet,
    import_plan_of_record,
    release_worksheet,
    verify_worksheet,
)
from dosing.permissions import Conflict

__all__ = [
    "RELEASE_MEANING",
    "Conflict",
    "InfusionRow",
    "TableDiffers",
    "approve_model",
    "approve_table",
    "bring_up_to_date",
    "check_administered",
    "compute_worksheet",
    "correct_administration",
    "end_course",
    "enter_model",
    "enter_table",
    "findings_for",
    "import_administrations",
    "import_plan_of_record",
    "need",
    "put_into_force",
    "record_administration",
    "release_worksheet",
    "resume_course",
    "retire_model",
    "retire_table",
    "take_card",
    "verify_model",
    "verify_table",
    "verify_worksheet",
    "void_administration",
]
