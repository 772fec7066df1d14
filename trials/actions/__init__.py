"""The verbs of the trials floor: the only writers of its tables.

Each takes keyword arguments only, asks permission on its first line, and writes in one transaction that the audit trail
attributes to ``by``. ``by=None`` is the command line or a computation; what a person does needs their membership.
"""

from trials.actions.deviations import confirm_deviation, record_deviation, void_deviation
from trials.actions.enrolment import (
    ControlRow,
    close_accrual,
    close_replacement,
    enrol,
    hold_enrolment,
    import_controls,
    import_enrolment,
    import_participant,
    open_replacement,
    open_stage,
    release_enrolment,
)
from trials.actions.follow_up import (
    complete_participant,
    lose_participant,
    record_death,
    resume_follow_up,
    withdraw_participant,
)
from trials.actions.people import end_membership, grant_membership
from trials.actions.protocols import close_site, publish_protocol, record_site_approval, reopen_site
from trials.actions.schedule import (
    add_unscheduled_visit,
    import_anchors_of_controls,
    import_visits,
    miss_visit,
    record_visit,
    set_anchor,
)
from trials.actions.screening import (
    answer_criterion,
    assess_eligibility,
    fail_screening,
    record_consent,
    register_participant,
    reopen_screening,
    waive_criterion,
    withdraw_consent,
)
from trials.actions.signatures import record_failed_signature, sign

__all__ = [
    "add_unscheduled_visit",
    "answer_criterion",
    "assess_eligibility",
    "close_accrual",
    "close_replacement",
    "close_site",
    "complete_participant",
    "confirm_deviation",
    "end_membership",
    "enrol",
    "fail_screening",
    "grant_membership",
    "hold_enrolment",
    "ControlRow",
    "import_anchors_of_controls",
    "import_controls",
    "import_enrolment",
    "import_participant",
    "import_visits",
    "lose_participant",
    "miss_visit",
    "open_replacement",
    "open_stage",
    "publish_protocol",
    "record_consent",
    "record_death",
    "record_deviation",
    "record_failed_signature",
    "record_site_approval",
    "record_visit",
    "register_participant",
    "release_enrolment",
    "reopen_screening",
    "reopen_site",
    "resume_follow_up",
    "set_anchor",
    "sign",
    "void_deviation",
    "waive_criterion",
    "withdraw_consent",
    "withdraw_participant",
]
