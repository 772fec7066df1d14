"""Who may see, compute, verify, release and record doses, and who enters, verifies and approves their tables.

Each question returns None or raises a sentence that can be acted on.
"""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import PermissionDenied

from accounts.roles import Permission
from dosing.domain.states import TableEvent, TableStatus, can
from dosing.models import DoseWorksheet, DosingModel, DosingTable
from trials.domain.definition import Capture
from trials.models import Membership, Participant, Site, Trial
from trials.permissions import NotPossible, may, require, require_for
from trials.selectors import may_see_group


class Conflict(NotPossible):
    """Somebody else changed the record meanwhile; nothing was written."""


# --- Doses --------------------------------------------------------------------------------------------------------


def check_can_see_doses(by: Membership | None, participant: Participant) -> None:
    """The role may see doses; where doses would tell the group, it may see the group as well."""
    require_for(by, Permission.VIEW_DOSE, participant, doing="see doses")
    assert by is not None
    if not may_see_group(by, participant.protocol):
        raise PermissionDenied("Doses would tell the group of the participant, which your role may not know.")


def may_see_doses(by: Membership, participant: Participant) -> bool:
    return may(by, Permission.VIEW_DOSE, participant) and may_see_group(by, participant.protocol)


def check_can_compute(by: Membership | None, participant: Participant) -> None:
    """The system computes by itself (None); a person asks with their role."""
    if by is not None:
        require_for(by, Permission.COMPUTE_DOSE, participant, doing="compute a dose")
    if participant.protocol.dosing is None:
        raise NotPossible(f"{participant.trial} has no dosing rule; there is no dose to compute.")
    if participant.protocol.capture is Capture.RETROSPECTIVE:
        raise NotPossible("The records are of the past: given doses are recorded, and none is computed.")
    if participant.is_external or not hasattr(participant, "enrolment"):
        raise NotPossible(f"{participant} is not enrolled; a dose is computed from enrolment on.")


def check_can_verify(by: Membership | None, worksheet: DoseWorksheet) -> None:
    """The second person: not who proposed the dose."""
    require_for(by, Permission.CONFIRM_DOSE, worksheet.participant, doing="verify a dose")
    assert by is not None
    check_can_see_doses(by, worksheet.participant)
    if worksheet.proposed_by is not None and worksheet.proposed_by.user_id == by.user_id:
        raise PermissionDenied("You proposed this dose; another person has to verify it.")
    _check_standing(worksheet)


def check_can_release(by: Membership | None, worksheet: DoseWorksheet) -> None:
    require_for(by, Permission.CONFIRM_DOSE, worksheet.participant, doing="release a dose")
    assert by is not None
    check_can_see_doses(by, worksheet.participant)
    _check_standing(worksheet)


def _check_standing(worksheet: DoseWorksheet) -> None:
    if worksheet.is_refused:
        raise NotPossible("No dose was computed: there is nothing to verify. See the reasons on the dose card.")
    if worksheet.source != DoseWorksheet.Source.CALCULATION:
        raise NotPossible("An imported plan is a record of the past; it is not released here.")
    if not worksheet.is_current:
        raise NotPossible("This worksheet is no longer current: its inputs have changed. Verify the new one.")


def check_can_import_plan(by: Membership | None, participant: Participant) -> None:
    if by is not None:
        require_for(by, Permission.IMPORT_DATA, participant, doing="import doses")


def check_can_record_administration(by: Membership | None, participant: Participant) -> None:
    require_for(by, Permission.RECORD_ADMINISTRATION, participant, doing="record a given dose")
    if participant.protocol.dosing is None:
        raise NotPossible(f"{participant.trial} gives no study drug by a dosing rule.")
    if participant.is_external or not hasattr(participant, "enrolment"):
        raise NotPossible(f"{participant} is not enrolled; doses are recorded from enrolment on.")


def may_record_administration(by: Membership, participant: Participant) -> bool:
    return may(by, Permission.RECORD_ADMINISTRATION, participant) and hasattr(participant, "enrolment")


# --- Tables -------------------------------------------------------------------------------------------------------


def check_can_see_tables(by: Membership | None, trial: Trial) -> None:
    require(by, Permission.VIEW_DOSE, doing="see dosing tables", trial_id=trial.pk, site_matters=False)


def check_can_explore_tables(by: Membership | None, trial: Trial) -> None:
    """Derive a table and simulate a population: who enters tables or runs analyses, sees doses and is not blinded."""
    doing = "derive a dosing table"
    check_can_see_tables(by, trial)
    assert by is not None
    if not by.may(Permission.ENTER_DOSING_TABLE):
        require(by, Permission.RUN_ANALYSIS, doing=doing, trial_id=trial.pk, site_matters=False)
    if by.role in trial.protocol.blinded_roles:
        raise PermissionDenied("Your role is blinded in this trial; what a table gives would tell it the groups.")


def may_explore_tables(by: Membership, trial: Trial) -> bool:
    """Whether the link to the research page is shown."""
    return (
        by.may(Permission.VIEW_DOSE)
        and (by.may(Permission.ENTER_DOSING_TABLE) or by.may(Permission.RUN_ANALYSIS))
        and by.role not in trial.protocol.blinded_roles
    )


def check_can_enter_table(by: Membership | None, trial: Trial, *, is_synthetic: bool) -> None:
    """A person with the role; the command line only loads the demonstration (None)."""
    if by is None:
        check_synthetic_allowed(trial, is_synthetic=True)
        if not is_synthetic:
            raise PermissionDenied("The command line loads synthetic tables only; a real one is entered by people.")
    else:
        require(by, Permission.ENTER_DOSING_TABLE, doing="enter a dosing table", trial_id=trial.pk, site_matters=False)


def check_can_verify_table(by: Membership | None, table: DosingTable | DosingModel) -> None:
    doing = "enter a dosing table a second time"
    if not _is_command_line(by, table):
        require(by, Permission.VERIFY_DOSING_TABLE, doing=doing, trial_id=table.trial_id, site_matters=False)
        assert by is not None
        if table.entered_by is not None and table.entered_by.user_id == by.user_id:
            raise PermissionDenied("You entered this table; another person has to enter it a second time.")
    if not can(table.status, TableEvent.VERIFY):
        raise NotPossible(f"{table} is {table.status.lower()} already; only a draft is verified.")


def check_can_approve_table(by: Membership | None, table: DosingTable | DosingModel) -> None:
    """The third person: neither who entered nor who verified it."""
    if not _is_command_line(by, table):
        require(
            by,
            Permission.APPROVE_DOSING_TABLE,
            doing="approve a dosing table",
            trial_id=table.trial_id,
            site_matters=False,
        )
        assert by is not None
        hands = {one.user_id for one in (table.entered_by, table.verified_by) if one is not None}
        if by.user_id in hands:
            raise PermissionDenied("You entered or verified this table; another person has to approve it.")
    if not can(table.status, TableEvent.APPROVE):
        raise NotPossible(f"{table} is {table.status.lower()}; a table is approved after it was verified.")
    check_synthetic_allowed(table.trial, is_synthetic=table.is_synthetic)


def check_can_retire_table(by: Membership | None, table: DosingTable | DosingModel) -> None:
    """Who may approve, also who entered or verified it: to stop using something needs no second opinion."""
    doing = "take a dosing table out of use"
    require(by, Permission.APPROVE_DOSING_TABLE, doing=doing, trial_id=table.trial_id, site_matters=False)
    if not can(table.status, TableEvent.RETIRE):
        raise NotPossible(f"{table} is {table.status.lower()} already; no dose is computed with it.")


def check_can_put_into_force(by: Membership | None, table: DosingTable, site: Site) -> None:
    """At one site: who may approve the table, and reaches the site; never who entered or verified it."""
    doing = "put a dosing table into force at a site"
    require(by, Permission.APPROVE_DOSING_TABLE, doing=doing, trial_id=table.trial_id, site_matters=False)
    assert by is not None
    if site.trial_id != table.trial_id or not by.covers(site.pk):
        raise PermissionDenied("You put a table into force at the sites that you see.")
    hands = {one.user_id for one in (table.entered_by, table.verified_by) if one is not None}
    if by.user_id in hands:
        raise PermissionDenied("You entered or verified this table; another person has to put it into force.")
    if table.status != TableStatus.ACTIVE:
        raise NotPossible(f"{table} is {table.status.lower()}; only the table in force in the trial is put into force.")
    check_synthetic_allowed(table.trial, is_synthetic=table.is_synthetic)


def check_synthetic_allowed(trial: Trial, *, is_synthetic: bool) -> None:
    """An invented table computes nothing for a real person, whatever the settings say."""
    if is_synthetic and not synthetic_allowed(trial):
        why = "the trial has real participants" if not trial.fictitious else "ALLOW_SYNTHETIC_DOSING is not set"
        raise NotPossible(f"A synthetic table or model computes no dose here: {why}.")


def synthetic_allowed(trial: Trial) -> bool:
    return bool(settings.ALLOW_SYNTHETIC_DOSING) and trial.fictitious


def _is_command_line(by: Membership | None, table: DosingTable | DosingModel) -> bool:
    """Without a person, only a synthetic table that the command line entered goes on."""
    return by is None and table.is_synthetic and table.entered_by is None
