"""Who may take data in and out. Each function returns, or raises with a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import PermissionDenied
from django.utils import timezone

from accounts.roles import Permission
from exchange.models import ExportJob, JobState
from trials.models import Membership, Trial
from trials.permissions import NotPossible, require


def check_can_import_extract(by: Membership, trial: Trial) -> None:
    require(by, Permission.IMPORT_DATA, doing="import an extract", trial_id=trial.pk, site_matters=False)
    if by.site_id is not None:
        raise NotPossible("An extract holds participants of every site; a membership of all sites imports it.")


def check_can_export(by: Membership, trial: Trial, needs: Mapping[str, Permission]) -> None:
    """Asking for an export: the verb itself, then what each data set (by its label) needs beside it."""
    require(by, Permission.EXPORT_DATA, doing="export data", trial_id=trial.pk, site_matters=False)
    for label, permission in needs.items():
        require(by, permission, doing=f"export {label.lower()}", trial_id=trial.pk, site_matters=False)


def check_can_download(by: Membership, job: ExportJob) -> None:
    require(by, Permission.EXPORT_DATA, doing="download an export", trial_id=job.trial_id, site_matters=False)
    if not ExportJob.objects.visible_to(by).filter(pk=job.pk).exists():
        raise PermissionDenied("This export holds data of other sites, or data that your role may not take out.")
    if job.state == JobState.FAILED:
        raise NotPossible(f"There is no file: {job.failure}")
    if job.state != JobState.DONE:
        raise NotPossible("The export is not ready yet; its page says how far it is.")
    if job.removed_at is not None or (job.expires_at is not None and job.expires_at <= timezone.now()):
        raise NotPossible(
            f"The file was kept until {job.expires_at:%d-%b-%Y %H:%M} UTC. Ask for the same export again; "
            "while the data have not changed, it is the same file."
        )
