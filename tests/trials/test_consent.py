"""Consent: the right document, signed in time by who must; an amendment binds by being consented to."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from tests.world import ENROLLED_ON, SCREENED_ON, World, definition, person
from trials import actions, selectors
from trials.models import Participant
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db

#: The amendment: another version, another consent, one visit more.
SECOND = (
    definition()
    .replace('version: "1.0"\n', 'version: "2.0"\n', 1)
    .replace('    - {version: "1.0", valid_from: 2024-01-01}', '    - {version: "2.0", valid_from: 2025-01-01}')
    .replace("  - {code: UNS,", "  - {code: M6, label: Month 6, day: 182, window_after: 14}\n  - {code: UNS,")
)  # fmt: skip


def test_the_same_consent_is_recorded_once(world: World) -> None:
    participant = world.screened()
    again = actions.record_consent(
        participant=participant, version="1.0", signed_on=SCREENED_ON, signatory="parent", by=world.bob
    )
    assert participant.consents.get() == again
    with pytest.raises(NotPossible, match="recorded as signed by parent"):
        actions.record_consent(
            participant=participant, version="1.0", signed_on=SCREENED_ON, signatory="participant", by=world.bob
        )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": "9"}, "Consent version 9 is not approved at A. Known: 1.0."),
        ({"signed_on": date(2023, 12, 31)}, "may be signed from 01-Jan-2024"),
        ({"signed_on": timezone.localdate() + timedelta(days=1)}, "a day to come"),
        ({"signatory": " "}, "Say who signed"),
    ],
)
def test_a_consent_that_cannot_be_is_refused(world: World, changed: dict[str, object], said: str) -> None:
    participant = world.screened()
    given = {"version": "1.0", "signed_on": ENROLLED_ON, "signatory": ["parent", "participant"]}
    with pytest.raises(ValidationError, match=said):
        actions.record_consent(participant=participant, by=world.bob, **{**given, **changed})  # type: ignore[arg-type]
    assert participant.consents.count() == 1


def test_without_consent_nobody_is_eligible(world: World) -> None:
    participant = actions.register_participant(
        trial=world.trial, site=world.site_a, birth_date="2015", sex="male", screened_on=SCREENED_ON, by=world.bob
    )
    assessment = world.assessed(participant)
    assert assessment.outcome == "unknown"
    assert assessment.criteria[0]["sentence"] == "No signed consent is recorded."


def test_a_protocol_with_a_criterion_on_its_consent_is_asked_once() -> None:
    text = (Path(actions.__file__).parents[1] / "definitions" / "parachute" / "v1.yaml").read_text()
    version = actions.publish_protocol(text=text, file="v1.yaml", kind="practice", by=None, reason="first version")
    site = version.trial.sites.get(code="PMC")
    on = date(2016, 3, 1)
    actions.record_site_approval(site=site, version=version, approved_on=on, by=None)
    by = actions.grant_membership(
        user=person("iris"), trial=version.trial, role="investigator", site=site, valid_from=on, by=None, reason="start"
    )
    participant = actions.register_participant(
        trial=version.trial, site=site, birth_date="2010", sex="female", screened_on=on, by=by
    )
    assessment = actions.assess_eligibility(participant=participant, values={}, by=by)
    ids = [row["id"] for row in assessment.criteria]
    assert "I8" in ids
    assert "CONSENT" not in ids


def test_a_withdrawal_is_recorded_once_and_nothing_is_erased(world: World) -> None:
    participant = world.screened()
    consent = participant.consents.get()
    for on, reason, said in [
        (date(2025, 3, 1), "x", "was signed on 03-Mar-2025"),
        (timezone.localdate() + timedelta(days=1), "x", "still to come"),
        (ENROLLED_ON, "", "none was given"),
    ]:
        with pytest.raises(ValidationError, match=said):
            actions.withdraw_consent(consent=consent, withdrawn_on=on, reason=reason, by=world.bob)
    actions.withdraw_consent(consent=consent, withdrawn_on=ENROLLED_ON, reason="none given", by=world.bob)
    with pytest.raises(NotPossible, match="was withdrawn on 10-Mar-2025"):
        actions.withdraw_consent(consent=consent, withdrawn_on=ENROLLED_ON, reason="x", by=world.bob)
    assert participant.consents.count() == 1
    assert not selectors.signed_consents(participant)


@pytest.mark.requirement("RL1")
def test_an_amendment_reaches_a_site_after_its_approval_and_a_participant_by_consent(world: World) -> None:
    participant = world.enrolled()
    second = actions.publish_protocol(text=SECOND, file="larch-2.yaml", by=None, reason="amendment 1")
    with pytest.raises(ValidationError, match="Consent version 2.0 is not approved at A"):
        actions.record_consent(
            participant=participant, version="2.0", signed_on=ENROLLED_ON, signatory="parent", by=world.bob
        )
    assert selectors.usable_version(world.site_a, timezone.localdate()) == world.version
    actions.record_site_approval(site=world.site_a, version=second, approved_on=date(2025, 3, 1), by=world.tessa)
    assert selectors.usable_version(world.site_a, timezone.localdate()) == second
    assert selectors.usable_version(world.site_b, timezone.localdate()) == world.version
    assert world.screened(by=world.carol).protocol_version == world.version
    assert not participant.visits.filter(code="M6").exists()
    actions.record_consent(
        participant=participant, version="2.0", signed_on=ENROLLED_ON, signatory="parent", by=world.bob
    )
    bound = Participant.objects.get(pk=participant.pk)
    assert bound.protocol_version == second
    assert bound.visits.get(code="M6").planned_date == date(2025, 9, 22)
