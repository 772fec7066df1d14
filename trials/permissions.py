"""Who may do what in a trial. Each question returns None or raises a sentence that the reader can act on.

A role holds a permission (``accounts.roles``); a membership holds the role in one trial, at one site or at all of them,
for a time. Whether the state of a record allows the verb is asked here as well (:class:`NotPossible`).
"""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.utils import timezone

from accounts.roles import ROLES, Permission
from accounts.signing import Proof
from trials.domain import lifecycle
from trials.domain.definition import Criterion, RemovalRule
from trials.models import Consent, Deviation, Membership, Participant, Site, Trial, Visit


class NotPossible(Exception):
    """The state of things does not allow the act now, whoever asks; the message says why and what to do instead."""


def require(
    by: Membership | None,
    permission: Permission,
    *,
    doing: str,
    trial_id: int,
    site_id: int | None = None,
    site_matters: bool = True,
) -> None:
    """Raise PermissionDenied unless ``by`` holds ``permission`` in the trial, today, at the site."""
    if by is None:
        raise PermissionDenied(f"Nobody may {doing} without a membership: this is done by a person, not by the system.")
    role = ROLES[by.role].display_name.lower()
    if by.trial_id != trial_id:
        raise PermissionDenied(f"Your membership as {role} is of another trial; you may not {doing} here.")
    today = timezone.localdate()
    if by.valid_from > today or (by.valid_until is not None and by.valid_until < today):
        raise PermissionDenied(f"Your membership as {role} does not hold today; you may not {doing}.")
    if not by.may(permission):
        holders = ", ".join(other.display_name.lower() for other in ROLES.values() if permission in other.permissions)
        raise PermissionDenied(f"A {role} may not {doing}. Ask: {holders}.")
    if site_matters and by.site_id is not None and by.site_id != site_id:
        raise PermissionDenied(f"Your membership as {role} is of another site; you may not {doing} there.")


def require_for(by: Membership | None, permission: Permission, participant: Participant, *, doing: str) -> None:
    """``require`` for one participant: their trial and their site."""
    require(by, permission, doing=doing, trial_id=participant.trial_id, site_id=participant.site_id)


def may(by: Membership, permission: Permission, participant: Participant) -> bool:
    """Whether ``require_for`` would let the act pass: what a page shows a button for."""
    return by.trial_id == participant.trial_id and by.covers(participant.site_id) and by.may(permission)


def next_state(participant: Participant, event: lifecycle.ParticipantEvent) -> lifecycle.ParticipantState:
    """The participant's state after ``event``; NotPossible says what is possible instead."""
    try:
        return lifecycle.after(lifecycle.ParticipantState(participant.status), event)
    except lifecycle.IllegalTransition as error:
        raise NotPossible(f"{participant}: {error}") from None


# --- Screening ----------------------------------------------------------------------------------------------------


def check_can_register(by: Membership | None, site: Site) -> None:
    require(
        by,
        Permission.SCREEN_PARTICIPANT,
        doing="register a person for screening",
        trial_id=site.trial_id,
        site_id=site.pk,
    )
    if not site.is_open:
        raise NotPossible(f"Site {site.code} is closed; nobody is screened there.")


def check_can_record_consent(by: Membership | None, participant: Participant) -> None:
    require_for(by, Permission.RECORD_CONSENT, participant, doing="record consent")


def check_can_withdraw_consent(by: Membership | None, consent: Consent) -> None:
    require_for(by, Permission.RECORD_CONSENT, consent.participant, doing="record a withdrawal of consent")


def check_can_answer(by: Membership | None, participant: Participant, criterion: Criterion) -> None:
    require_for(by, Permission.ANSWER_HUMAN_CRITERION, participant, doing="answer a criterion")
    assert by is not None
    if by.role not in criterion.answered_by:
        raise PermissionDenied(
            f"Criterion {criterion.id} is answered by: {_roles(criterion.answered_by)}; not by your role."
        )
    _check_screened(participant, "Criteria are answered")


def check_can_waive(by: Membership | None, participant: Participant, criterion: Criterion) -> None:
    require_for(by, Permission.WAIVE_CRITERION, participant, doing="waive a criterion")
    assert by is not None
    if by.role not in criterion.waivable_by:
        allowed = _roles(criterion.waivable_by) or "nobody"
        raise PermissionDenied(f"Criterion {criterion.id} may be waived by: {allowed}.")
    _check_screened(participant, "Criteria are waived")


def check_can_assess(by: Membership | None, participant: Participant) -> None:
    require_for(by, Permission.ASSESS_ELIGIBILITY, participant, doing="assess eligibility")
    _check_screened(participant, "Eligibility is assessed")


def check_can_fail_screening(by: Membership | None, participant: Participant) -> None:
    require_for(by, Permission.SCREEN_PARTICIPANT, participant, doing="record a screening failure")


def check_can_reopen_screening(by: Membership | None, participant: Participant) -> None:
    require_for(by, Permission.SCREEN_PARTICIPANT, participant, doing="reopen a screening")


# --- Enrolment ----------------------------------------------------------------------------------------------------


def check_can_enrol(by: Membership | None, participant: Participant) -> None:
    require_for(by, Permission.ENROL, participant, doing="enrol a participant")


def check_can_steer_enrolment(by: Membership | None, trial: Trial) -> None:
    """Hold, release, open a stage, end accrual: a gate by itself (None), or a person who may decide gates."""
    if by is not None:
        require(
            by,
            Permission.DECIDE_GATE,
            doing="hold or release enrolment",
            trial_id=trial.pk,
            site_matters=False,
        )


def check_can_replace(by: Membership | None, participant: Participant) -> None:
    """Replacement follows from the computed evaluability (None); a person may correct it with the gate's permission."""
    if by is not None:
        require_for(by, Permission.DECIDE_GATE, participant, doing="open or close a place for replacement")


# --- In the trial -------------------------------------------------------------------------------------------------


def check_can_end_follow_up(by: Membership | None, participant: Participant) -> None:
    require_for(by, Permission.RECORD_OBSERVATION, participant, doing="record the end of follow-up")


def check_can_withdraw(by: Membership | None, participant: Participant) -> None:
    require_for(by, Permission.WITHDRAW_PARTICIPANT, participant, doing="record a withdrawal")


def check_can_set_anchor(by: Membership | None, participant: Participant) -> None:
    event = participant.protocol.anchor.label or participant.protocol.anchor.event
    require_for(by, Permission.RECORD_OBSERVATION, participant, doing=f"record the date of {event}")
    if participant.status == lifecycle.ParticipantState.SCREEN_FAILED:
        raise NotPossible(f"{participant} failed screening; reopen the screening before a date is planned.")


def check_can_record_visit(by: Membership | None, visit: Visit) -> None:
    require_for(by, Permission.RECORD_OBSERVATION, visit.participant, doing="record a visit")
    if visit.participant.status == lifecycle.ParticipantState.SCREEN_FAILED:
        raise NotPossible(f"{visit.participant} failed screening; there are no visits to record.")


def check_can_add_visit(by: Membership | None, participant: Participant) -> None:
    require_for(by, Permission.RECORD_OBSERVATION, participant, doing="add a visit")


def check_can_record_deviation(by: Membership | None, participant: Participant, source: str) -> None:
    if by is None and source in (Deviation.Source.CALCULATION, Deviation.Source.IMPORT):
        return
    require_for(by, Permission.RECORD_DEVIATION, participant, doing="record a deviation")


def check_can_confirm_deviation(by: Membership | None, deviation: Deviation, rule: RemovalRule | None) -> None:
    require_for(by, Permission.RECORD_DEVIATION, deviation.participant, doing="confirm a deviation")
    assert by is not None
    if rule is not None and by.role not in rule.decided_by:
        raise PermissionDenied(f"Deviation {rule.id} is decided by: {_roles(rule.decided_by)}; not by your role.")
    if deviation.is_void:
        raise NotPossible("This deviation is void: what was computed then is no longer so.")


def check_can_void_deviation(by: Membership | None, deviation: Deviation) -> None:
    if by is not None or deviation.source != Deviation.Source.CALCULATION:
        require_for(by, Permission.RECORD_DEVIATION, deviation.participant, doing="void a deviation")


# --- The trial itself ---------------------------------------------------------------------------------------------


def check_can_publish(by: Membership | None, trial: Trial | None) -> None:
    """The command line publishes (None); a person does so in a trial that there is already."""
    if by is not None:
        require(
            by,
            Permission.PUBLISH_PROTOCOL,
            doing="publish a protocol version",
            trial_id=trial.pk if trial else 0,
            site_matters=False,
        )


def check_can_manage_members(by: Membership | None, trial: Trial, user_id: int) -> None:
    """The command line appoints the first members (None); nobody changes their own memberships."""
    if by is None:
        return
    require(by, Permission.MANAGE_MEMBERS, doing="manage members", trial_id=trial.pk, site_matters=False)
    if by.user_id == user_id:
        raise PermissionDenied("Nobody gives or ends a membership of their own. Ask another trial manager.")


def check_can_manage_sites(by: Membership | None, trial: Trial) -> None:
    if by is not None:
        require(by, Permission.MANAGE_SITES, doing="manage sites", trial_id=trial.pk, site_matters=False)


def check_is_proved(by: Membership | None, proof: Proof) -> None:
    """A signature is of the person who showed who they are, and of nobody else."""
    if by is None or proof.user_id != by.user_id:
        raise PermissionDenied("A signature needs the password or code of the person who signs.")


def check_can_import(by: Membership | None, trial: Trial, site: Site) -> None:
    if by is not None:
        require(by, Permission.IMPORT_DATA, doing="import participants", trial_id=trial.pk, site_id=site.pk)


def _check_screened(participant: Participant, what: str) -> None:
    if participant.status not in (lifecycle.ParticipantState.SCREENING, lifecycle.ParticipantState.ELIGIBLE):
        words = participant.status.replace("_", " ")
        raise NotPossible(f"{what} during screening; {participant} is {words}.")


def _roles(keys: tuple[str, ...]) -> str:
    return ", ".join(ROLES[key].display_name.lower() if key in ROLES else key for key in keys)
