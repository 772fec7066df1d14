"""The small world of the tests, made by actions only.

::

    larch (one arm, two stages of 4 and 12)
    ├── site A, Alpha Hospital   Alice investigates · Bob coordinates · Peter is the pharmacist
    ├── site B, Beta Hospital    Carol coordinates  · Ben investigates
    └── all sites                Dora monitors · Quinn manages data · Rita is the statistician
                                 Tessa manages the trial · Erin reads endpoints · Ivan inspects

The fixture ``world`` (tests/conftest.py) builds it. Alice, Bob and Peter see site A only, Carol and Ben site B only.
Nobody is enrolled yet; ``world.screened()``, ``world.eligible()`` and ``world.enrolled()`` make participants.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from django.utils import timezone

from accounts.models import User
from accounts.signing import Proof
from trials import actions
from trials.domain.conditions import Observed
from trials.models import EligibilityAssessment, Enrolment, Membership, Participant, ProtocolVersion, Site, Trial

DEFINITIONS = Path(__file__).parent / "definitions"
PASSWORD = "quiet larch needles"

#: Who holds which role where; None is all sites.
PEOPLE = {
    "alice": ("investigator", "A"),
    "bob": ("coordinator", "A"),
    "peter": ("pharmacist", "A"),
    "ben": ("investigator", "B"),
    "carol": ("coordinator", "B"),
    "dora": ("monitor", None),
    "quinn": ("data_manager", None),
    "rita": ("statistician", None),
    "tessa": ("trial_manager", None),
    "erin": ("endpoint_reader", None),
    "ivan": ("inspector", None),
}
SINCE = date(2024, 1, 1)
SCREENED_ON = date(2025, 3, 3)
ENROLLED_ON = date(2025, 3, 10)
GRAFT_ON = date(2025, 3, 24)


def definition(name: str = "larch") -> str:
    """The text of a definition of the tests."""
    return (DEFINITIONS / f"{name}.yaml").read_text()


@dataclass
class World:
    """One trial and its people; a person is an attribute: ``world.alice`` is her membership."""

    version: ProtocolVersion
    members: dict[str, Membership]
    sites: dict[str, Site]

    def __getattr__(self, name: str) -> Membership:
        try:
            return self.__dict__["members"][name]
        except KeyError:
            raise AttributeError(f"Nobody called {name} lives here: {', '.join(PEOPLE)}.") from None

    @property
    def trial(self) -> Trial:
        return self.version.trial

    @property
    def site_a(self) -> Site:
        return self.sites["A"]

    @property
    def site_b(self) -> Site:
        return self.sites["B"]

    def user(self, name: str) -> User:
        return self.members[name].user

    def screened(self, *, by: Membership | None = None, birth_date: str = "2015-06-01") -> Participant:
        """A child in screening at the site of ``by`` (Bob), who has consented; eligibility is not assessed yet."""
        by = by or self.bob
        assert by.site is not None
        participant = actions.register_participant(
            trial=self.trial, site=by.site, birth_date=birth_date, sex="female", screened_on=SCREENED_ON, by=by
        )
        actions.record_consent(participant=participant, version="1.0", signed_on=SCREENED_ON, signatory="parent", by=by)
        return participant

    def assessed(self, participant: Participant, *, performance: int | None = 90) -> EligibilityAssessment:
        """An assessment on the facts of a healthy benign case; ``performance`` None leaves one criterion open."""
        investigator = self.alice if participant.site.code == "A" else self.ben
        actions.answer_criterion(participant=participant, criterion="E1", answer="no", by=investigator)
        return actions.assess_eligibility(
            participant=participant, values=facts(performance=performance), by=investigator
        )

    def eligible(self, *, by: Membership | None = None) -> tuple[Participant, EligibilityAssessment]:
        """A participant and the assessment that lets them in."""
        participant = self.screened(by=by)
        return participant, self.assessed(participant)

    def enrolled(self, *, by: Membership | None = None, graft_on: date | None = GRAFT_ON) -> Participant:
        """An enrolled participant, with the graft on ``graft_on`` (None: not known yet)."""
        by = by or self.bob
        participant, assessment = self.eligible(by=by)
        enrolment: Enrolment = actions.enrol(
            participant=participant, assessment=assessment, enrolled_on=ENROLLED_ON, by=by
        )
        if graft_on is not None:
            actions.set_anchor(participant=enrolment.participant, day=graft_on, by=by)
        return Participant.objects.select_related("site", "trial", "protocol_version__trial").get(pk=participant.pk)


def facts(*, performance: int | None = 90, age: int | None = 9) -> dict[str, Observed]:
    """What the casebook would say of a child with a benign disease."""
    known = {"DM.AGE": age, "QS.PERFORMANCE": performance, "DX.GROUP": "benign"}
    return {
        address: Observed(value, source=address.partition(".")[0], observed_on=SCREENED_ON)
        for address, value in known.items()
        if value is not None
    }


def proof(by: Membership) -> Proof:
    """As if ``by`` had just given username and password; the pages' own way is in tests/analysis/test_signing.py."""
    return Proof(by.user_id, ("username", "password"), timezone.now())


def signing(name: str) -> dict[str, str]:
    """What a page asks of whoever signs for the first time in a login."""
    return {"username": name, "password": PASSWORD}


def person(name: str) -> User:
    """The account of somebody of the world."""
    return User.objects.create_user(
        username=name, email=f"{name}@larch.test", password=PASSWORD, display_name=name.capitalize()
    )


def build_world(*, kind: str = Trial.Kind.PRACTICE, text: str | None = None) -> World:
    """The world from nothing: publish, approve the sites, give the memberships."""
    version = actions.publish_protocol(
        text=text or definition(), file="tests/definitions/larch.yaml", kind=kind, by=None, reason="first version"
    )
    sites = {site.code: site for site in version.trial.sites.all()}
    for site in sites.values():
        actions.record_site_approval(site=site, version=version, approved_on=SINCE, by=None)
    members = {
        name: actions.grant_membership(
            user=person(name),
            trial=version.trial,
            role=role,
            site=sites[site] if site else None,
            valid_from=SINCE,
            by=None,
            reason="start of the trial",
        )
        for name, (role, site) in PEOPLE.items()
    }
    return World(version=version, members=members, sites=sites)
