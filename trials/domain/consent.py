"""Whether a signed consent counts: the right document, at this site, signed by everyone who must, in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from .answers import Answer
from .conditions import Values, evaluate
from .definition import Consent


@dataclass(frozen=True)
class SignedConsent:
    """A consent as it was recorded."""

    version: str
    signed_on: date
    signatories: tuple[str, ...]


@dataclass(frozen=True)
class ConsentVerdict:
    """The answer and the sentence that explains it."""

    answer: Answer
    sentence: str


def consent_verdict(
    consent: Consent,
    signed: Sequence[SignedConsent],
    *,
    site: str,
    values: Values,
    first_procedure_on: date | None = None,
) -> ConsentVerdict:
    """Whether the earliest signed consent counts for a participant of ``site``.

    No record is *not known*, never *no*; who must sign may depend on ``values`` (the age) and be not known either.
    """
    if not consent.required:
        return ConsentVerdict(Answer.YES, "Consent was waived for this trial.")
    if not signed:
        return ConsentVerdict(Answer.UNKNOWN, "No signed consent is recorded.")
    first = min(signed, key=lambda one: one.signed_on)
    version = next((one for one in consent.versions if one.version == first.version), None)
    if version is None or (version.sites and site not in version.sites):
        return ConsentVerdict(Answer.NO, f"Consent version {first.version} is not approved at {site}.")
    if first.signed_on < version.valid_from or (version.valid_until and first.signed_on > version.valid_until):
        return ConsentVerdict(Answer.NO, f"Consent version {first.version} was not in force on {first.signed_on}.")
    if first_procedure_on is not None and first.signed_on > first_procedure_on:
        return ConsentVerdict(Answer.NO, f"Consent was signed after the first trial procedure on {first_procedure_on}.")
    for rule in consent.signatories:
        applies = Answer.YES if rule.when is None else evaluate(rule.when, values).answer
        if applies is Answer.UNKNOWN:
            return ConsentVerdict(Answer.UNKNOWN, f"Who must sign is not known: {', '.join(rule.signatories)}?")
        if applies is Answer.YES:
            absent = [name for name in rule.signatories if name not in first.signatories]
            enough = len(rule.signatories) if rule.minimum is None else rule.minimum
            if len(rule.signatories) - len(absent) < enough:
                return ConsentVerdict(Answer.NO, f"A signature is missing: {', '.join(absent)}.")
            break
    return ConsentVerdict(Answer.YES, f"Consent version {first.version} signed on {first.signed_on}.")
