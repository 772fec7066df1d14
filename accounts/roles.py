"""What each role may do, as classes that an inspector can read.

A membership (``trials``) ties one user to one role in one trial, at one site or at all of them, from a date until a
date; it stores the role's ``key``. Nothing is allowed that is not listed here. Whether the *state* of a record allows
it as well is asked elsewhere, by each app's ``permissions``.

Two rules hold across the table, and ``tests/accounts/test_roles.py`` argues them:

* Only roles at a site enter or change what was observed at that site; sponsor, monitor and data management ask, by a
  data query (ICH E6(R3) 3.16.1(i), (j)).
* Nobody both drafts and approves the same kind of thing alone: a dosing table needs three people, and the actions that
  record each step compare the persons, not only the roles.
"""

from enum import Enum


class Permission(Enum):
    """One verb of the product. The value is the sentence that the role table and the help page print."""

    # Participants
    VIEW_PARTICIPANT = "See participants, their visits and what was recorded about them."
    SCREEN_PARTICIPANT = "Register a person for screening and give the participant code."
    RECORD_CONSENT = "Record which version of the consent form was signed, when, and a withdrawal of it."
    ASSESS_ELIGIBILITY = "Run the eligibility criteria against the recorded values."
    ANSWER_HUMAN_CRITERION = "Answer the criteria that need a clinical judgement."
    WAIVE_CRITERION = "Let a participant in although a criterion that may be waived is not met, with a reason."
    ENROL = "Enrol an eligible participant and, where the protocol allocates, draw the allocation."
    WITHDRAW_PARTICIPANT = "Record that a participant leaves treatment or the trial, when and why."
    VIEW_ALLOCATION = "See the group that a participant was allocated to."
    UNBLIND_PARTICIPANT = "Break the blind of one participant for a medical reason."

    # Observations
    RECORD_OBSERVATION = "Enter and correct values of visits, laboratory draws and clinical events."
    IMPORT_DATA = "Import laboratory files and registry extracts, after a dry run."
    RECORD_ADVERSE_EVENT = "Enter and correct adverse events and the report of a serious one."
    ASSESS_ADVERSE_EVENT = "Judge whether an adverse event is serious, expected and related to the treatment."
    RECORD_DEVIATION = "Record a deviation from the protocol."
    RAISE_DATA_QUERY = "Ask a question about a recorded value, and close it."
    ANSWER_DATA_QUERY = "Answer a question about a recorded value."
    VERIFY_SOURCE_DATA = "Mark a value, form or visit as compared with the source document."
    SIGN_CASEBOOK = "Sign that the recorded data are complete and true."
    LOCK_DATA = "Lock and unlock forms and casebooks."

    # Dosing
    VIEW_DOSE = "See dose worksheets, administrations and drug levels."
    COMPUTE_DOSE = "Compute a dose worksheet from the recorded values and the approved dosing table."
    CONFIRM_DOSE = "Confirm a computed dose as the second person."
    ENTER_DOSING_TABLE = "Enter a draft of a dosing table, a parameter set or an algorithm."
    VERIFY_DOSING_TABLE = "Enter a drafted dosing table a second time, independently, for comparison."
    APPROVE_DOSING_TABLE = (
        "Approve a verified dosing table, parameter set or algorithm for use, or take one out of use."
    )
    RECORD_ADMINISTRATION = "Record which dose was given, when, and why it differs from the worksheet."

    # Endpoints, gates and safety
    ADJUDICATE_ENDPOINT = "Decide an endpoint of a participant as an independent reader."
    DECIDE_GATE = "Record the decision of a stage gate: continue, stop or modify."
    SIGN_SAFETY_REVIEW = "Sign a periodic review of the safety data."
    RUN_ANALYSIS = "Run an analysis and freeze a data cut."

    # Looking and taking out
    VIEW_DASHBOARD = "See the trial dashboard: accrual, endpoints and safety with their denominators."
    EXPORT_DATA = "Export data sets with dictionary and checksum."
    EXPORT_IDENTIFYING_DATES = "Export what identifies a person as well, such as the date of birth."
    VIEW_AUDIT = "Read the audit trail and check its chain."

    # The trial itself
    DRAFT_PROTOCOL = "Load a new protocol version as a draft and see what it changes."
    PUBLISH_PROTOCOL = "Publish a drafted protocol version that somebody else drafted."
    MANAGE_MEMBERS = "Give, change and end memberships of the trial."
    MANAGE_SITES = "Open and close sites and record their approvals."

    @property
    def meaning(self) -> str:
        return str(self.value)


class Scope(Enum):
    """How far a membership reaches."""

    SITE = "one site"
    TRIAL = "all sites of the trial"


class Side(Enum):
    """On whose behalf a role acts. What was observed at a site belongs to the site."""

    SITE = "site"
    SPONSOR = "sponsor"
    INDEPENDENT = "independent"


# What everybody who looks after participants at a site reads.
_SITE_READING = frozenset({Permission.VIEW_PARTICIPANT, Permission.VIEW_DOSE, Permission.VIEW_DASHBOARD})


class Role:
    """What every role says of itself."""

    key: str
    display_name: str
    description: str
    scope: Scope
    side: Side
    permissions: frozenset[Permission]


class Coordinator(Role):
    key = "coordinator"
    display_name = "Coordinator"
    description = """Screens participants, records consent and eligibility facts, and enrols.
    Enters visits, laboratory values, adverse events and administered doses.
    Computes dose worksheets and answers data queries."""
    scope = Scope.SITE
    side = Side.SITE
    permissions = _SITE_READING | {
        Permission.SCREEN_PARTICIPANT,
        Permission.RECORD_CONSENT,
        Permission.ASSESS_ELIGIBILITY,
        Permission.ENROL,
        Permission.VIEW_ALLOCATION,
        Permission.RECORD_OBSERVATION,
        Permission.IMPORT_DATA,
        Permission.RECORD_ADVERSE_EVENT,
        Permission.RECORD_DEVIATION,
        Permission.ANSWER_DATA_QUERY,
        Permission.COMPUTE_DOSE,
        Permission.RECORD_ADMINISTRATION,
        Permission.EXPORT_DATA,
    }


class Investigator(Role):
    key = "investigator"
    display_name = "Investigator"
    description = """Answers for the participants of a site.
    Judges eligibility, waives where the protocol lets it, and confirms doses.
    Assesses adverse events, signs casebooks and may break a blind for a medical reason.
    Decides stage gates and signs safety reviews."""
    scope = Scope.SITE
    side = Side.SITE
    permissions = _SITE_READING | {
        Permission.SCREEN_PARTICIPANT,
        Permission.RECORD_CONSENT,
        Permission.ASSESS_ELIGIBILITY,
        Permission.ANSWER_HUMAN_CRITERION,
        Permission.WAIVE_CRITERION,
        Permission.ENROL,
        Permission.WITHDRAW_PARTICIPANT,
        Permission.VIEW_ALLOCATION,
        Permission.UNBLIND_PARTICIPANT,
        Permission.RECORD_OBSERVATION,
        Permission.RECORD_ADVERSE_EVENT,
        Permission.ASSESS_ADVERSE_EVENT,
        Permission.RECORD_DEVIATION,
        Permission.ANSWER_DATA_QUERY,
        Permission.SIGN_CASEBOOK,
        Permission.COMPUTE_DOSE,
        Permission.CONFIRM_DOSE,
        Permission.APPROVE_DOSING_TABLE,
        Permission.RECORD_ADMINISTRATION,
        Permission.ADJUDICATE_ENDPOINT,
        Permission.DECIDE_GATE,
        Permission.SIGN_SAFETY_REVIEW,
        Permission.EXPORT_DATA,
        Permission.VIEW_AUDIT,
    }


class Pharmacist(Role):
    key = "pharmacist"
    display_name = "Pharmacist"
    description = """Enters and verifies dosing tables.
    Computes and confirms dose worksheets and records what was given."""
    scope = Scope.SITE
    side = Side.SITE
    permissions = _SITE_READING | {
        Permission.VIEW_ALLOCATION,
        Permission.COMPUTE_DOSE,
        Permission.CONFIRM_DOSE,
        Permission.ENTER_DOSING_TABLE,
        Permission.VERIFY_DOSING_TABLE,
        Permission.RECORD_ADMINISTRATION,
        Permission.RECORD_DEVIATION,
        Permission.ANSWER_DATA_QUERY,
    }


class Monitor(Role):
    key = "monitor"
    display_name = "Monitor"
    description = """Compares recorded values with the source documents and raises data queries.
    Reads the audit trail and exports data sets. Enters and changes no value."""
    scope = Scope.TRIAL
    side = Side.SPONSOR
    permissions = frozenset(
        {
            Permission.VIEW_PARTICIPANT,
            Permission.VIEW_DOSE,
            Permission.VIEW_DASHBOARD,
            Permission.VERIFY_SOURCE_DATA,
            Permission.RAISE_DATA_QUERY,
            Permission.RECORD_DEVIATION,
            Permission.EXPORT_DATA,
            Permission.VIEW_AUDIT,
        }
    )


class DataManager(Role):
    key = "data_manager"
    display_name = "Data manager"
    description = """Keeps the data clean: raises data queries, locks, exports, drafts protocol versions.
    Enters and changes no value that a site entered."""
    scope = Scope.TRIAL
    side = Side.SPONSOR
    permissions = frozenset(
        {
            Permission.VIEW_PARTICIPANT,
            Permission.VIEW_DOSE,
            Permission.VIEW_DASHBOARD,
            Permission.RAISE_DATA_QUERY,
            Permission.LOCK_DATA,
            Permission.EXPORT_DATA,
            Permission.VIEW_AUDIT,
            Permission.DRAFT_PROTOCOL,
        }
    )


class Statistician(Role):
    key = "statistician"
    display_name = "Statistician"
    description = """Runs analyses on frozen data cuts, prepares stage gates and exports data sets."""
    scope = Scope.TRIAL
    side = Side.SPONSOR
    permissions = frozenset(
        {
            Permission.VIEW_PARTICIPANT,
            Permission.VIEW_DOSE,
            Permission.VIEW_DASHBOARD,
            Permission.RUN_ANALYSIS,
            Permission.EXPORT_DATA,
            Permission.EXPORT_IDENTIFYING_DATES,
        }
    )


class TrialManager(Role):
    key = "trial_manager"
    display_name = "Trial manager"
    description = """Acts for the sponsor: publishes protocol versions, manages members and sites.
    Enters no data and decides nothing about a participant."""
    scope = Scope.TRIAL
    side = Side.SPONSOR
    permissions = frozenset(
        {
            Permission.VIEW_PARTICIPANT,
            Permission.VIEW_DASHBOARD,
            Permission.RAISE_DATA_QUERY,
            Permission.VIEW_AUDIT,
            Permission.PUBLISH_PROTOCOL,
            Permission.MANAGE_MEMBERS,
            Permission.MANAGE_SITES,
        }
    )


class EndpointReader(Role):
    key = "endpoint_reader"
    display_name = "Endpoint reader"
    description = """Decides endpoints independently of the sites and of the other reader.
    Never sees the allocation."""
    scope = Scope.TRIAL
    side = Side.INDEPENDENT
    permissions = frozenset({Permission.VIEW_PARTICIPANT, Permission.ADJUDICATE_ENDPOINT})


class Inspector(Role):
    key = "inspector"
    display_name = "Inspector"
    description = """Reads everything that is recorded, including the audit trail, for as long as access is granted.
    Changes nothing."""
    scope = Scope.TRIAL
    side = Side.INDEPENDENT
    permissions = frozenset(
        {
            Permission.VIEW_PARTICIPANT,
            Permission.VIEW_ALLOCATION,
            Permission.VIEW_DOSE,
            Permission.VIEW_DASHBOARD,
            Permission.EXPORT_DATA,
            Permission.VIEW_AUDIT,
        }
    )


ROLES: dict[str, type[Role]] = {
    "coordinator": Coordinator,
    "investigator": Investigator,
    "pharmacist": Pharmacist,
    "monitor": Monitor,
    "data_manager": DataManager,
    "statistician": Statistician,
    "trial_manager": TrialManager,
    "endpoint_reader": EndpointReader,
    "inspector": Inspector,
}

ROLE_CHOICES = [(key, role.display_name) for key, role in ROLES.items()]

# Entering, changing or signing what was observed at a site: never a sponsor's verb.
SITE_DATA_PERMISSIONS = frozenset(
    {
        Permission.SCREEN_PARTICIPANT,
        Permission.RECORD_CONSENT,
        Permission.ASSESS_ELIGIBILITY,
        Permission.ANSWER_HUMAN_CRITERION,
        Permission.WAIVE_CRITERION,
        Permission.ENROL,
        Permission.WITHDRAW_PARTICIPANT,
        Permission.RECORD_OBSERVATION,
        Permission.IMPORT_DATA,
        Permission.RECORD_ADVERSE_EVENT,
        Permission.ASSESS_ADVERSE_EVENT,
        Permission.ANSWER_DATA_QUERY,
        Permission.SIGN_CASEBOOK,
        Permission.COMPUTE_DOSE,
        Permission.CONFIRM_DOSE,
        Permission.RECORD_ADMINISTRATION,
    }
)


def role_allows(key: str, permission: Permission) -> bool:
    """Whether the role called ``key`` holds ``permission``. An unknown role holds nothing.

    >>> role_allows("monitor", Permission.RECORD_OBSERVATION)
    False
    >>> role_allows("coordinator", Permission.RECORD_OBSERVATION)
    True
    """
    role = ROLES.get(key)
    return role is not None and permission in role.permissions
