"""Who may enter and change what was observed. Each question returns None or raises a sentence that can be acted on."""

from __future__ import annotations

from accounts.roles import Permission
from casebook.domain.places import KEPT_ELSEWHERE
from casebook.models import LabImport
from trials.domain.definition import Form
from trials.domain.lifecycle import ParticipantState
from trials.models import Membership, Participant, Trial, Visit
from trials.permissions import NotPossible, may, require, require_for


class Conflict(NotPossible):
    """Somebody else changed the record meanwhile, or it is there already with other content; nothing was written."""


def check_can_record(
    by: Membership | None, participant: Participant, *, what: str = "enter values", is_import: bool = False
) -> None:
    """Entering and correcting values of forms, draws and clinical events: the roles at the participant's site.

    The command line (None) writes only what it imports from a file.
    """
    if by is not None or not is_import:
        require_for(by, Permission.RECORD_OBSERVATION, participant, doing=what)
    if participant.status == ParticipantState.SCREEN_FAILED:
        raise NotPossible(f"{participant} failed screening. Reopen the screening before values are entered.")


def check_can_save_form(
    by: Membership | None, participant: Participant, form: Form, visit: Visit | None, *, is_import: bool = False
) -> None:
    check_can_record(by, participant, what=f"fill in the form {form.label}", is_import=is_import)
    if form.id in KEPT_ELSEWHERE:
        raise NotPossible(f"{form.label} is not filled in here: {KEPT_ELSEWHERE[form.id]}")
    if visit is not None and visit.participant_id != participant.pk:
        raise NotPossible(f"Visit {visit.code} is not one of {participant}.")
    if form.per_participant and visit is not None:
        raise NotPossible(f"{form.label} is kept once for the participant, not at visit {visit.code}.")
    if form.groups and participant.group and participant.group not in form.groups:
        raise NotPossible(f"{form.label} is asked of other groups than that of {participant}.")


def check_can_import_labs(by: Membership | None, trial: Trial) -> None:
    """Uploading a laboratory file; each of its participants has to lie within the membership's sites as well."""
    require(by, Permission.IMPORT_DATA, doing="import laboratory files", trial_id=trial.pk, site_matters=False)


def check_can_write_import(by: Membership | None, lab_import: LabImport) -> None:
    check_can_import_labs(by, lab_import.trial)
    if lab_import.state != LabImport.State.CHECKED:
        raise NotPossible(
            f"{lab_import.file_name} is {lab_import.get_state_display()} already. Upload it again to check it."
        )


def may_record(by: Membership, participant: Participant) -> bool:
    """What a page shows an entry for."""
    return may(by, Permission.RECORD_OBSERVATION, participant) and participant.status != ParticipantState.SCREEN_FAILED


def may_import(by: Membership) -> bool:
    return by.may(Permission.IMPORT_DATA)
