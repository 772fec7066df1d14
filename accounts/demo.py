"""The practice accounts, listed on the login page while ``DEMO`` is on. The seeding command opens exactly these."""

from dataclasses import dataclass

from django.conf import settings

from accounts.models import User
from accounts.roles import ROLES


@dataclass(frozen=True)
class DemoAccount:
    username: str
    role_key: str
    site: str
    """The site's name within the trial, or "" for all sites."""
    look_at: str
    """What to look at first, as a short phrase."""

    @property
    def role(self):
        return ROLES[self.role_key]


DEMO_ACCOUNTS = (
    DemoAccount("coordinator", "coordinator", "A", "screen, enrol and enter visits"),
    DemoAccount("coordinator-b", "coordinator", "B", "the same at a second site, which sees nothing of site A"),
    DemoAccount("investigator", "investigator", "A", "judge eligibility, confirm doses, decide a stage gate"),
    DemoAccount("pharmacist", "pharmacist", "A", "dosing tables, dose worksheets and administrations"),
    DemoAccount("monitor", "monitor", "", "what changed since the last visit, results and exports"),
    DemoAccount("data-manager", "data_manager", "", "the audit trail and exports"),
    DemoAccount("statistician", "statistician", "", "endpoints, stage gates, figures and exports"),
    DemoAccount("trial-manager", "trial_manager", "", "protocol versions, members and sites"),
    DemoAccount("endpoint-reader", "endpoint_reader", "", "casebooks without groups and results"),
    DemoAccount("inspector", "inspector", "", "everything, read-only, with the audit trail"),
)


def accounts_to_offer() -> list[DemoAccount]:
    """The practice accounts that exist and may log in; none outside the demo.

    A deployment that is not a practice system must never print a way in.
    """
    if not settings.DEMO:
        return []
    known = set(
        User.objects.filter(username__in=[account.username for account in DEMO_ACCOUNTS], is_active=True).values_list(
            "username", flat=True
        )
    )
    return [account for account in DEMO_ACCOUNTS if account.username in known]
