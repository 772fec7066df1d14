"""Who may take data in and out. Each function returns, or raises with a sentence."""

from __future__ import annotations

from accounts.roles import Permission
from trials.models import Membership, Trial
from trials.permissions import NotPossible, require


def check_can_import_extract(by: Membership, trial: Trial) -> None:
    require(by, Permission.IMPORT_DATA, doing="import an extract", trial_id=trial.pk, site_matters=False)
    if by.site_id is not None:
        raise NotPossible("An extract holds participants of every site; a membership of all sites imports it.")
