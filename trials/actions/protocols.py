"""Publishing a protocol version, and from when each site may use it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from audit import context
from trials.announcements import protocol_published
from trials.domain import language
from trials.domain.definition import Protocol
from trials.domain.lifecycle import VersionEvent, VersionState, after
from trials.formats.definitions import read_definition
from trials.models import EnrolmentCounter, Membership, ProtocolVersion, Site, SiteApproval, Trial
from trials.permissions import NotPossible, check_can_manage_sites, check_can_publish


@transaction.atomic
def publish_protocol(
    *,
    text: str,
    file: str,
    by: Membership | None,
    reason: str,
    kind: str | None = None,
    code: str = "",
) -> ProtocolVersion:
    """Check a definition's text and make it the active version of its trial; the trial is opened by its first version.

    ``code`` publishes the text under another trial's name (a practice trial on the same protocol). The same text again
    returns the version that there is. Raises DefinitionErrors for a text that does not hold, NotPossible for another
    content under a version number that is taken.
    """
    protocol = read_definition(text, file=file)
    if code:
        protocol = replace(protocol, trial=code)
    trial = Trial.objects.select_for_update().filter(code=protocol.trial).first()
    check_can_publish(by, trial)
    if trial is not None and kind is not None and kind != trial.kind:
        raise NotPossible(
            f"{trial.code} is a trial “{trial.get_kind_display()}”; that does not change. Publish without --kind."
        )
    with context.context(by=by, reason=reason):
        if trial is None:
            trial = Trial.objects.create(code=protocol.trial, title=protocol.title, kind=kind or Trial.Kind.CONDUCT)
            EnrolmentCounter.objects.create(trial=trial)
        sha256 = language.sha256(protocol)
        known = trial.versions.filter(version=protocol.version).first()
        if known is not None:
            if known.sha256 != sha256:
                raise NotPossible(
                    f"{trial.code} {known.version} is published with other content, and a published version never "
                    "changes. Give the amendment a new version number."
                )
            return known
        version = _activate(trial, protocol, text, sha256)
        _keep_sites(trial, protocol)
        if trial.title != protocol.title:
            trial.title = protocol.title
            trial.save(update_fields=["title"])
    protocol_published.send(sender=ProtocolVersion, version=version)
    return version


def _activate(trial: Trial, protocol: Protocol, text: str, sha256: str) -> ProtocolVersion:
    """The new version, active; the one before it superseded. The steps are those of the state table."""
    for former in trial.versions.filter(status=VersionState.ACTIVE):
        former.status = after(VersionState(former.status), VersionEvent.SUPERSEDE)
        former.save(update_fields=["status"])
    status = after(after(VersionState.DRAFT, VersionEvent.APPROVE), VersionEvent.ACTIVATE)
    return ProtocolVersion.objects.create(
        trial=trial,
        version=protocol.version,
        status=status,
        source_text=text,
        definition=language.to_data(protocol),
        sha256=sha256,
        activated_at=timezone.now(),
    )


def _keep_sites(trial: Trial, protocol: Protocol) -> None:
    """The sites of the definition; one that a later version no longer names stays as it is."""
    for spec in protocol.sites:
        site = Site.objects.filter(trial=trial, code=spec.code).first()
        if site is None:
            Site.objects.create(
                trial=trial, code=spec.code, name=spec.name, time_zone=spec.timezone, is_open=spec.enrols
            )
        elif (site.name, site.time_zone) != (spec.name, spec.timezone):
            site.name, site.time_zone = spec.name, spec.timezone
            site.save(update_fields=["name", "time_zone"])


@transaction.atomic
def record_site_approval(
    *, site: Site, version: ProtocolVersion, approved_on: date, by: Membership | None, reason: str = ""
) -> SiteApproval:
    """Record from when the site's ethics committee lets it use the version. Recorded once."""
    check_can_manage_sites(by, site.trial)
    if version.trial_id != site.trial_id:
        raise ValidationError({"version": f"{version} is no version of {site.trial.code}."})
    if approved_on > timezone.localdate():
        raise ValidationError({"approved_on": "An approval lies in the past; record it when it has been given."})
    known = SiteApproval.objects.filter(site=site, protocol_version=version).first()
    if known is not None:
        if known.approved_on != approved_on:
            raise NotPossible(f"The approval of {version} at {site} is recorded for {known.approved_on:%d-%b-%Y}.")
        return known
    with context.context(by=by, reason=reason):
        return SiteApproval.objects.create(
            site=site, protocol_version=version, trial_id=site.trial_id, approved_on=approved_on
        )


@transaction.atomic
def close_site(*, site: Site, by: Membership | None, reason: str) -> Site:
    """End screening and enrolment at the site; its participants are followed up as before."""
    return _open_or_close(site, is_open=False, by=by, reason=reason)


@transaction.atomic
def reopen_site(*, site: Site, by: Membership | None, reason: str) -> Site:
    return _open_or_close(site, is_open=True, by=by, reason=reason)


def _open_or_close(site: Site, *, is_open: bool, by: Membership | None, reason: str) -> Site:
    check_can_manage_sites(by, site.trial)
    if not reason.strip():
        raise ValidationError({"reason": "Give the reason; it stands in the audit trail."})
    with context.context(by=by, reason=reason):
        site.is_open = is_open
        site.save(update_fields=["is_open"])
    return site
