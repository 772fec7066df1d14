"""Every address × every role × own and foreign records: nobody reads or changes what is not theirs.

The addresses are taken from the URL configuration itself; the table ROUTES says who may read and who may write at each.
An address that is not in the table fails the test: add a line for it.
"""

from __future__ import annotations

import io
import re
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from accounts.roles import Permission as May
from accounts.roles import role_allows
from analysis import actions as analysis
from analysis.actions import runs
from casebook import actions as casebook
from exchange import actions as exchange
from exchange import selectors as exports
from tests.isolation.everything import Everything, everything_at, with_model, with_table
from tests.world import PEOPLE, SINCE, World, definition, person
from trials import actions as trials
from trials.models import Enrolment, Membership, Trial

pytestmark = pytest.mark.django_db

MEMBER = "every member of the trial"
NOBODY = "nobody: there is no such method"
#: One permission of several is enough.
EXPLORERS = frozenset({May.ENTER_DOSING_TABLE, May.RUN_ANALYSIS})
Who = May | frozenset[May] | str

#: Who may read (GET) and who may write (POST, for the API PUT where there is no POST).
ROUTES: dict[str, tuple[Who, Who]] = {
    # trials: pages
    "trials:overview": (MEMBER, MEMBER),
    "trials:trail": (May.VIEW_AUDIT, May.VIEW_AUDIT),
    "trials:go": (MEMBER, MEMBER),
    "trials:worklist": (MEMBER, MEMBER),
    "trials:participants": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "trials:register": (May.SCREEN_PARTICIPANT, May.SCREEN_PARTICIPANT),
    "trials:participant": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "trials:consent": (May.RECORD_CONSENT, May.RECORD_CONSENT),
    "trials:withdraw_consent": (May.RECORD_CONSENT, May.RECORD_CONSENT),
    "trials:anchor": (May.RECORD_OBSERVATION, May.RECORD_OBSERVATION),
    "trials:unscheduled_visit": (May.RECORD_OBSERVATION, May.RECORD_OBSERVATION),
    "trials:visit_done": (May.RECORD_OBSERVATION, May.RECORD_OBSERVATION),
    "trials:visit_missed": (May.RECORD_OBSERVATION, May.RECORD_OBSERVATION),
    "trials:fail_screening": (May.SCREEN_PARTICIPANT, May.SCREEN_PARTICIPANT),
    "trials:withdraw": (May.WITHDRAW_PARTICIPANT, May.WITHDRAW_PARTICIPANT),
    "trials:record_deviation": (May.RECORD_DEVIATION, May.RECORD_DEVIATION),
    "trials:change_status": (May.RECORD_OBSERVATION, May.RECORD_OBSERVATION),
    "trials:deviations": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "trials:decide_deviation": (May.RECORD_DEVIATION, May.RECORD_DEVIATION),
    "trials:void_deviation": (May.RECORD_DEVIATION, May.RECORD_DEVIATION),
    "trials:protocol": (MEMBER, MEMBER),
    "trials:protocol_version": (MEMBER, MEMBER),
    "trials:approve_site": (May.MANAGE_SITES, May.MANAGE_SITES),
    "trials:switch_site": (May.MANAGE_SITES, May.MANAGE_SITES),
    "trials:members": (MEMBER, MEMBER),
    "trials:grant_membership": (May.MANAGE_MEMBERS, May.MANAGE_MEMBERS),
    "trials:end_membership": (May.MANAGE_MEMBERS, May.MANAGE_MEMBERS),
    # trials: API
    "trials_api:sites": (May.VIEW_PARTICIPANT, NOBODY),
    "trials_api:participants": (May.VIEW_PARTICIPANT, May.SCREEN_PARTICIPANT),
    "trials_api:participant": (May.VIEW_PARTICIPANT, NOBODY),
    "trials_api:assessments": (May.VIEW_PARTICIPANT, NOBODY),
    "trials_api:consents": (May.VIEW_PARTICIPANT, May.RECORD_CONSENT),
    "trials_api:visits": (May.VIEW_PARTICIPANT, NOBODY),
    "trials_api:visit": (NOBODY, May.RECORD_OBSERVATION),
    "trials_api:anchor": (NOBODY, May.RECORD_OBSERVATION),
    "trials_api:participant_deviations": (NOBODY, May.RECORD_DEVIATION),
    "trials_api:deviations": (May.VIEW_PARTICIPANT, NOBODY),
    "trials_api:deviation_decision": (NOBODY, May.RECORD_DEVIATION),
    # casebook: pages
    "casebook:casebook": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "casebook:panel": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "casebook:entry": (May.VIEW_PARTICIPANT, May.RECORD_OBSERVATION),
    "casebook:fields": (NOBODY, May.VIEW_PARTICIPANT),
    "casebook:visit_entry": (May.VIEW_PARTICIPANT, May.RECORD_OBSERVATION),
    "casebook:visit_fields": (NOBODY, May.VIEW_PARTICIPANT),
    "casebook:history": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "casebook:reopen": (NOBODY, May.RECORD_OBSERVATION),
    "casebook:labs": (May.VIEW_PARTICIPANT, May.RECORD_OBSERVATION),
    "casebook:result": (May.VIEW_PARTICIPANT, May.RECORD_OBSERVATION),
    "casebook:events": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "casebook:new_event": (May.VIEW_PARTICIPANT, May.RECORD_OBSERVATION),
    "casebook:event": (May.VIEW_PARTICIPANT, May.RECORD_OBSERVATION),
    "casebook:void_event": (NOBODY, May.RECORD_OBSERVATION),
    "casebook:eligibility": (May.VIEW_PARTICIPANT, May.ASSESS_ELIGIBILITY),
    "casebook:waive": (NOBODY, May.WAIVE_CRITERION),
    "casebook:enrol": (May.VIEW_PARTICIPANT, May.ENROL),
    "casebook:lab_imports": (May.VIEW_PARTICIPANT, May.IMPORT_DATA),
    "casebook:lab_import": (May.VIEW_PARTICIPANT, May.IMPORT_DATA),
    "casebook:lab_template": (MEMBER, MEMBER),
    "casebook:rejections": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "casebook:worklist": (MEMBER, MEMBER),
    # casebook: API
    "casebook_api:draws": (May.VIEW_PARTICIPANT, May.RECORD_OBSERVATION),
    "casebook_api:result": (May.VIEW_PARTICIPANT, May.RECORD_OBSERVATION),
    "casebook_api:events": (May.VIEW_PARTICIPANT, May.RECORD_OBSERVATION),
    "casebook_api:event": (May.VIEW_PARTICIPANT, May.RECORD_OBSERVATION),
    "casebook_api:void_event": (NOBODY, May.RECORD_OBSERVATION),
    "casebook_api:entries": (May.VIEW_PARTICIPANT, NOBODY),
    "casebook_api:save_entry": (NOBODY, May.RECORD_OBSERVATION),
    "casebook_api:entry": (May.VIEW_PARTICIPANT, NOBODY),
    "casebook_api:eligibility": (May.VIEW_PARTICIPANT, May.ASSESS_ELIGIBILITY),
    "casebook_api:lab_imports": (May.VIEW_PARTICIPANT, May.IMPORT_DATA),
    "casebook_api:lab_import": (May.VIEW_PARTICIPANT, May.IMPORT_DATA),
    # dosing
    "dosing:panel": (May.VIEW_DOSE, May.VIEW_DOSE),
    "dosing:card_file": (May.VIEW_DOSE, May.VIEW_DOSE),
    "dosing:monitoring": (May.VIEW_DOSE, May.VIEW_DOSE),
    "dosing:exposure": (May.VIEW_DOSE, May.VIEW_DOSE),
    "dosing:compute": (MEMBER, May.COMPUTE_DOSE),
    "dosing:record": (May.RECORD_ADMINISTRATION, May.RECORD_ADMINISTRATION),
    "dosing:end_course": (May.RECORD_ADMINISTRATION, May.RECORD_ADMINISTRATION),
    "dosing:resume_course": (May.RECORD_ADMINISTRATION, May.RECORD_ADMINISTRATION),
    "dosing:worklist": (MEMBER, MEMBER),
    "dosing:verify": (May.CONFIRM_DOSE, May.CONFIRM_DOSE),
    "dosing:release": (May.CONFIRM_DOSE, May.CONFIRM_DOSE),
    "dosing:correct": (May.RECORD_ADMINISTRATION, May.RECORD_ADMINISTRATION),
    "dosing:void": (May.RECORD_ADMINISTRATION, May.RECORD_ADMINISTRATION),
    "dosing:models": (May.VIEW_DOSE, May.VIEW_DOSE),
    "dosing:enter_model": (May.ENTER_DOSING_TABLE, May.ENTER_DOSING_TABLE),
    "dosing:model": (May.VIEW_DOSE, May.VIEW_DOSE),
    "dosing:verify_model": (May.VERIFY_DOSING_TABLE, May.VERIFY_DOSING_TABLE),
    "dosing:approve_model": (May.APPROVE_DOSING_TABLE, May.APPROVE_DOSING_TABLE),
    "dosing:retire_model": (May.APPROVE_DOSING_TABLE, May.APPROVE_DOSING_TABLE),
    "dosing:tables": (May.VIEW_DOSE, May.VIEW_DOSE),
    "dosing:research": (EXPLORERS, EXPLORERS),
    "dosing:enter_table": (May.ENTER_DOSING_TABLE, May.ENTER_DOSING_TABLE),
    "dosing:table": (May.VIEW_DOSE, May.VIEW_DOSE),
    "dosing:verify_table": (May.VERIFY_DOSING_TABLE, May.VERIFY_DOSING_TABLE),
    "dosing:approve_table": (May.APPROVE_DOSING_TABLE, May.APPROVE_DOSING_TABLE),
    "dosing:retire_table": (May.APPROVE_DOSING_TABLE, May.APPROVE_DOSING_TABLE),
    "dosing:put_into_force": (May.APPROVE_DOSING_TABLE, May.APPROVE_DOSING_TABLE),
    "dosing_api:worksheets": (May.VIEW_DOSE, NOBODY),
    "dosing_api:administrations": (May.VIEW_DOSE, NOBODY),
    "dosing_api:record_administration": (NOBODY, May.RECORD_ADMINISTRATION),
    "dosing_api:tables": (May.VIEW_DOSE, NOBODY),
    "dosing_api:table": (May.VIEW_DOSE, NOBODY),
    "dosing_api:models": (May.VIEW_DOSE, NOBODY),
    "dosing_api:model": (May.VIEW_DOSE, NOBODY),
    "dosing_api:exposure": (May.VIEW_DOSE, NOBODY),
    # adverse events
    "adverse_events:list": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "adverse_events:table": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "adverse_events:worklist": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "adverse_events:terms": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "adverse_events:event": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "adverse_events:correct": (May.RECORD_ADVERSE_EVENT, May.RECORD_ADVERSE_EVENT),
    "adverse_events:void": (May.RECORD_ADVERSE_EVENT, May.RECORD_ADVERSE_EVENT),
    "adverse_events:new": (May.RECORD_ADVERSE_EVENT, May.RECORD_ADVERSE_EVENT),
    "adverse_events:panel": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "adverse_events:sheet": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "adverse_events:echo": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "adverse_events_api:list": (May.VIEW_PARTICIPANT, NOBODY),
    "adverse_events_api:terms": (May.VIEW_PARTICIPANT, NOBODY),
    "adverse_events_api:grades": (May.VIEW_PARTICIPANT, NOBODY),
    "adverse_events_api:table": (May.VIEW_PARTICIPANT, NOBODY),
    "adverse_events_api:event": (May.VIEW_PARTICIPANT, May.RECORD_ADVERSE_EVENT),
    "adverse_events_api:void": (NOBODY, May.RECORD_ADVERSE_EVENT),
    "adverse_events_api:new": (NOBODY, May.RECORD_ADVERSE_EVENT),
    # endpoints and gates
    "analysis:dashboard": (May.VIEW_DASHBOARD, May.VIEW_DASHBOARD),
    "analysis:adjudications": (May.VIEW_DASHBOARD, May.VIEW_DASHBOARD),
    "analysis:reconciliation": (May.VIEW_DASHBOARD, May.VIEW_DASHBOARD),
    "analysis:reconciliation_pdf": (May.VIEW_DASHBOARD, May.VIEW_DASHBOARD),
    "analysis:worklist": (MEMBER, MEMBER),
    "analysis:panel": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "analysis:profile": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "analysis:profile_pdf": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "analysis:gvhd": (May.VIEW_PARTICIPANT, May.RECORD_OBSERVATION),
    "analysis:gvhd_grade": (May.VIEW_PARTICIPANT, May.VIEW_PARTICIPANT),
    "analysis:runs": (May.VIEW_DASHBOARD, May.RUN_ANALYSIS),
    "analysis:run": (May.VIEW_DASHBOARD, May.VIEW_DASHBOARD),
    "analysis:run_pdf": (May.VIEW_DASHBOARD, May.VIEW_DASHBOARD),
    "analysis:run_numbers": (May.VIEW_DASHBOARD, May.VIEW_DASHBOARD),
    "analysis_api:profile": (May.VIEW_PARTICIPANT, NOBODY),
    "analysis_api:analyses": (May.VIEW_DASHBOARD, May.RUN_ANALYSIS),
    "analysis_api:analysis": (May.VIEW_DASHBOARD, NOBODY),
    "analysis:gate": (May.VIEW_DASHBOARD, May.VIEW_DASHBOARD),
    "analysis:readings": (May.ADJUDICATE_ENDPOINT, May.ADJUDICATE_ENDPOINT),
    "analysis:case": (May.ADJUDICATE_ENDPOINT, May.ADJUDICATE_ENDPOINT),
    "analysis:agreement": (May.VIEW_DASHBOARD, May.VIEW_DASHBOARD),
    "analysis:gate_packet": (May.VIEW_DASHBOARD, May.VIEW_DASHBOARD),
    "analysis:gate_packet_pdf": (May.VIEW_DASHBOARD, May.VIEW_DASHBOARD),
    "analysis:decide_gate": (NOBODY, May.DECIDE_GATE),
    "analysis:sign_safety_review": (NOBODY, May.SIGN_SAFETY_REVIEW),
    "analysis:renew_gate": (NOBODY, May.DECIDE_GATE),
    "analysis_api:endpoints": (May.VIEW_DASHBOARD, NOBODY),
    "analysis_api:gates": (May.VIEW_DASHBOARD, NOBODY),
    "analysis_api:gate": (May.VIEW_DASHBOARD, NOBODY),
    "analysis_api:gate_decision": (NOBODY, May.DECIDE_GATE),
    "analysis_api:gate_safety_review": (NOBODY, May.SIGN_SAFETY_REVIEW),
    "analysis_api:gate_renewal": (NOBODY, May.DECIDE_GATE),
    "analysis_api:sets": (May.VIEW_DASHBOARD, NOBODY),
    # exports
    "exchange:exports": (MEMBER, May.EXPORT_DATA),
    "exchange:export": (May.EXPORT_DATA, NOBODY),
    "exchange:download": (May.EXPORT_DATA, NOBODY),
    "exchange_api:exports": (MEMBER, May.EXPORT_DATA),
    "exchange_api:export": (May.EXPORT_DATA, NOBODY),
    "exchange_api:download": (May.EXPORT_DATA, NOBODY),
}

#: Addresses above the trials: one's own account, nothing of a participant. Whether a visitor is asked to log in first;
#: the others are the ways in, or (allauth's) answer a visitor with a redirect of their own.
ABOVE_TRIALS: dict[str, bool] = {
    "home": True,
    "go": True,
    "membership": True,
    "schema": True,
    "accounts:profile": True,
    "accounts:theme": False,
    "accounts:session": False,
    "accounts:keys": False,
    "accounts:roles": True,
    "account_login": False,
    "account_logout": False,
    "account_inactive": False,
    "account_signup": False,
    "account_reauthenticate": True,
    "account_email": True,
    "account_email_verification_sent": False,
    "account_change_password": True,
    "account_set_password": True,
    "account_reset_password": False,
    "account_confirm_login_code": False,
    "account_confirm_email": False,
    "account_reset_password_from_key_done": False,
    "account_reset_password_from_key": False,
    "account_reset_password_done": False,
    "mfa_index": True,
    "mfa_authenticate": False,
    "mfa_reauthenticate": True,
    "mfa_activate_totp": True,
    "mfa_deactivate_totp": True,
    "mfa_view_recovery_codes": True,
    "mfa_generate_recovery_codes": True,
    "mfa_download_recovery_codes": True,
    "mfa_list_webauthn": True,
    "mfa_add_webauthn": True,
    "mfa_reauthenticate_webauthn": True,
    "mfa_remove_webauthn": True,
    "mfa_edit_webauthn": True,
    "mfa_login_webauthn": False,
    "usersessions_list": True,
}

#: Keys that name a record of one participant or of one site's work; the others belong to the trial as a whole.
OF_A_SITE = {"participant", "consent", "visit", "deviation", "entry", "result", "event", "lab_import", "worksheet"}
OF_A_SITE |= {"administration", "key"}
#: Numbers of all sites together: a membership of one site does not find them.
OF_ALL_SITES = {"analysis:run", "analysis:run_pdf", "analysis:run_numbers", "analysis_api:analysis"}
#: Asked by PUT: there is no POST.
BY_PUT = {
    "trials_api:visit",
    "trials_api:anchor",
    "trials_api:deviation_decision",
    "casebook_api:result",
    "casebook_api:event",
    "casebook_api:save_entry",
    "adverse_events_api:event",
}
#: What has to be said in the query for the address to name something.
QUERY = {"adverse_events_api:grades": "?term=Lung+infection"}
#: Reached only by persons other than the first: who entered the table, who proposed the dose.
SECOND_PERSON = {"dosing:verify_table", "dosing:verify_model"}
#: Words of the protocol that stand in addresses.
WORDS = {"endpoint": "cd4_reconstitution", "form": "VS", "kind": "relapse", "criterion": "I2", "verb": "complete"}
#: Where another visit or person is needed than the first of the kind.
SCREENED = {"trials:fail_screening", "casebook:waive", "casebook:eligibility"}

DONE = {200, 201, 202, 204, 302, 400, 409, 422}


def routes() -> Iterator[tuple[str, URLPattern, set[str]]]:
    """Every address of the URL configuration: name, pattern and the names of its parts."""

    def walk(resolver: URLResolver, spaces: tuple[str, ...], parts: set[str]) -> Iterator[Any]:
        for pattern in resolver.url_patterns:
            names = parts | set(pattern.pattern.converters) | set(pattern.pattern.regex.groupindex)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern, (*spaces, pattern.namespace) if pattern.namespace else spaces, names)
            else:
                yield ":".join((*spaces, pattern.name or str(pattern.pattern))), pattern, names

    yield from walk(get_resolver(), (), set())


PARTS = {name: parts for name, _, parts in routes()}


@dataclass
class Place:
    """One trial with one of everything at site A and at site B."""

    world: World
    a: Everything
    b: Everything
    table: int
    model: int
    run: int

    def key(self, name: str, route: str, at: Everything) -> Any:
        """What stands for the part ``name`` of the address ``route``."""
        floor = route.partition(":")[0].removesuffix("_api")
        if name == "trial":
            return self.world.trial.code
        if name in WORDS:
            return WORDS[name]
        if name == "participant" and route in SCREENED:
            return at.screened.pk
        if name == "visit" and route in ("casebook:visit_entry", "casebook:visit_fields"):
            return "W1"
        whole = {
            "version": self.world.version.pk,
            "site": self.world.site_a.pk,
            "member": self.world.alice.pk,
            "stage": 1,
            "table": self.table,
            "model": self.model,
            "run": self.run,
        }
        if name in whole:
            return whole[name]
        found = at.keys.get(f"{floor}.{name}", at.keys.get(name))
        assert found is not None, (
            f"{route}: nothing is known to stand for <{name}>. Make such a record in tests/isolation/everything.py and "
            "name its key there, or add the word to WORDS."
        )
        return found

    def address(self, route: str, at: Everything, **instead: Any) -> str:
        keys = {name: self.key(name, route, at) for name in PARTS[route]} | instead
        query = f"?q={at.participant}" if route == "trials:go" else QUERY.get(route, "")
        return reverse(route, kwargs=keys) + query


@pytest.fixture
def larch(world: World) -> Place:
    table = with_table(world)
    at_a, at_b = everything_at(world, world.bob, world.alice), everything_at(world, world.carol, world.ben)
    run = runs.run_analyses(trial=world.trial, by=world.rita, reason="first report").pk
    assert runs.compute_run(run=run)
    place = Place(world, at_a, at_b, table, with_model(world), run)
    analysis.refresh_gates(trial=world.trial)
    return place


def ask(client: Client, method: str, address: str) -> HttpResponseBase:
    """One request, empty where it writes; its effects are taken back."""
    body: dict[str, Any] = {}
    if address.startswith("/api/") and method != "GET" and "/lab-imports/" not in address:
        body = {"data": {}, "content_type": "application/json"}
    with transaction.atomic():
        answer: HttpResponseBase = getattr(client, method.lower())(address, **body)
        transaction.set_rollback(True)
    return answer


def doors(route: str) -> tuple[tuple[str, Who], tuple[str, Who]]:
    """The two ways to ask at ``route``, with who may."""
    read, write = ROUTES[route]
    return ("GET", read), ("PUT" if route in BY_PUT else "POST", write)


def may_be_there(route: str) -> Who:
    """Who is let in at all: where there is one method only, who may use that."""
    read, write = ROUTES[route]
    return write if read == NOBODY else read


def is_let_in(role: str, who: Who) -> bool:
    if isinstance(who, frozenset):
        return any(role_allows(role, one) for one in who)
    return who == MEMBER or (isinstance(who, May) and role_allows(role, who))


def client_of(user: Any) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


# --- The table ----------------------------------------------------------------------------------------------------


def test_every_address_is_known() -> None:
    unknown = sorted(set(PARTS) - set(ROUTES) - set(ABOVE_TRIALS))
    assert not unknown, (
        f"Not in the table: {', '.join(unknown)}. Add to ROUTES who may read and write there, so that it is asked as "
        "every role; or to ABOVE_TRIALS where it shows one's own account only."
    )
    gone = sorted((set(ROUTES) | set(ABOVE_TRIALS)) - set(PARTS))
    assert not gone, f"In the table, but no longer an address: {', '.join(gone)}."
    assert all("trial" in PARTS[route] for route in ROUTES)
    assert not any("trial" in PARTS[route] for route in ABOVE_TRIALS)


# --- Own records: who may, and who may not ------------------------------------------------------------------------


@pytest.mark.slow
def test_each_role_reads_and_writes_what_the_table_says(larch: Place) -> None:
    wrong = []
    for name in PEOPLE:
        if name == "ben":  # the same role as Alice's
            continue
        member = larch.world.members[name]
        client = client_of(member.user)
        at = larch.b if member.site_id == larch.world.site_b.pk else larch.a
        for route in ROUTES:
            for method, who in doors(route):
                status = ask(client, method, larch.address(route, at)).status_code
                if who == NOBODY:
                    right = status == 405 or (status == 403 and not is_let_in(member.role, may_be_there(route)))
                elif is_let_in(member.role, who) and route in OF_ALL_SITES and member.site_id is not None:
                    right = status == 404
                elif not is_let_in(member.role, who):
                    # An export that one may not ask for is not there at all.
                    right = status == (404 if "key" in PARTS[route] else 403)
                else:
                    right = status in DONE or (status == 403 and route in SECOND_PERSON)
                if not right:
                    wrong.append(f"{method} {route} as {name}, {member.role}, who may: {who}: {status}")
    assert wrong == [], "\n".join(wrong)


# --- Foreign records: as if there were none -----------------------------------------------------------------------


def spruce() -> tuple[World, Everything]:
    """Another trial with people of its own and one of everything."""
    text = definition().replace("trial: larch", "trial: spruce")
    version = trials.publish_protocol(
        text=text, file="tests/definitions/spruce.yaml", kind=Trial.Kind.PRACTICE, by=None, reason="first version"
    )
    sites = {site.code: site for site in version.trial.sites.all()}
    trials.record_site_approval(site=sites["A"], version=version, approved_on=SINCE, by=None)
    members = {
        name: trials.grant_membership(
            user=person(f"{name}-of-spruce"),
            trial=version.trial,
            role=role,
            site=sites["A"],
            valid_from=SINCE,
            by=None,
            reason="start of the trial",
        )
        for name, role in {"alice": "investigator", "bob": "coordinator", "peter": "pharmacist"}.items()
    }
    world = World(version=version, members=members, sites=sites)
    return world, everything_at(world, world.bob, world.alice)


NOWHERE = dict.fromkeys(OF_A_SITE, 999999999) | {"key": uuid.UUID(int=1)}


def test_records_of_another_site_and_of_another_trial_are_not_there(larch: Place) -> None:
    """The answer is the one that a record gets that does not exist: nobody learns that it does."""
    elsewhere, of_spruce = spruce()
    there = Place(elsewhere, of_spruce, of_spruce, larch.table, larch.model, larch.run)
    askers: list[tuple[str, Everything, list[tuple[str, Place, Everything]]]] = [
        ("alice", larch.a, [("site B", larch, larch.b), ("another trial", there, of_spruce)]),
        ("bob", larch.a, [("site B", larch, larch.b)]),
        ("carol", larch.b, [("site A", larch, larch.a)]),
        ("peter", larch.a, [("site B", larch, larch.b)]),
        ("dora", larch.a, [("another trial", there, of_spruce)]),
    ]
    leaks = []
    for name, own, foreign in askers:
        member = larch.world.members[name]
        client = client_of(member.user)
        for route in ROUTES:
            named = [
                part for part in sorted(PARTS[route] & OF_A_SITE) if not isinstance(larch.key(part, route, own), str)
            ]
            for method, who in doors(route):
                if not named or who == NOBODY:
                    continue
                # All of the address, and the record alone below a participant of one's own.
                alone = [part for part in named if part != "participant"]
                for changed in [named] if alone in ([], named) else [named, alone]:
                    none = {part: NOWHERE[part] for part in changed}
                    expected = ask(client, method, larch.address(route, own, **none)).status_code
                    if expected != 404 and not (expected == 403 and not is_let_in(member.role, who)):
                        leaks.append(f"{method} {route} as {name}, {changed} of nothing: {expected}")
                    for where, place, at in foreign:
                        keys = {part: place.key(part, route, at) for part in changed}
                        status = ask(client, method, larch.address(route, own, **keys)).status_code
                        if status != expected:
                            leaks.append(f"{method} {route} as {name}, {changed} of {where}: {status}, not {expected}")
    assert leaks == [], "\n".join(leaks)


def test_a_trial_that_one_is_no_member_of_is_not_there(larch: Place) -> None:
    stranger, visitor = client_of(person("stranger")), Client(raise_request_exception=False)
    wrong = []
    for route in ROUTES:
        address = larch.address(route, larch.a)
        for method, who in doors(route):
            if (status := ask(stranger, method, address).status_code) != 404:
                wrong.append(f"{method} {route} as somebody without a membership: {status}")
            answer = ask(visitor, method, address)
            if address.startswith("/api/"):
                right = answer.status_code in (401, 403) or (answer.status_code == 405 and who == NOBODY)
            else:
                right = answer.status_code == 405 and who == NOBODY
                right = right or answer.status_code == 302 and answer["Location"].startswith(reverse("account_login"))
            if not right:
                wrong.append(f"{method} {route} as a visitor: {answer.status_code}")
    assert wrong == [], "\n".join(wrong)


def test_a_membership_that_has_ended_or_not_begun_opens_nothing(larch: Place) -> None:
    client = client_of(larch.world.user("bob"))
    today = timezone.localdate()
    for until, since in ((today - timedelta(days=1), SINCE), (None, today + timedelta(days=1))):
        Membership.objects.filter(pk=larch.world.bob.pk).update(valid_from=since, valid_until=until)
        found = [route for route in ROUTES if ask(client, "GET", larch.address(route, larch.a)).status_code != 404]
        assert found == []


def test_one_s_own_account_is_asked_for_by_name_only(larch: Place) -> None:
    visitor, stranger = Client(raise_request_exception=False), client_of(person("stranger"))
    for code in larch.a.codes | larch.b.codes:
        assert ask(stranger, "GET", f"{reverse('go')}?q={code}").status_code == 404
    for route, asks_to_log_in in ABOVE_TRIALS.items():
        keys = {"key": "none", "uidb36": "1", "pk": 1}
        address = reverse(route, kwargs={name: keys[name] for name in PARTS[route]})
        answer = ask(visitor, "GET", address)
        assert answer.status_code < 500, route
        if asks_to_log_in and answer.status_code not in (401, 403, 405):
            assert answer.status_code == 302 and answer["Location"].startswith(reverse("account_login")), route
        assert ask(stranger, "GET", address).status_code < 500, route


# --- What is in the answers ---------------------------------------------------------------------------------------


def body_of(answer: HttpResponseBase) -> str:
    return b"".join(answer).decode(errors="replace")  # type: ignore[arg-type]


def test_no_answer_to_site_a_names_a_participant_of_site_b(larch: Place) -> None:
    """Every page and list that is not of one record, with searches for what is foreign; what each holds is read."""
    assert larch.b.codes and not larch.a.codes & larch.b.codes
    foreign = re.compile("|".join(rf"(?<![\w]){re.escape(code)}(?![\w])" for code in larch.b.codes))
    leaks, read = [], 0
    for name in ("alice", "bob", "peter"):
        client = client_of(larch.world.user(name))
        pages = [larch.address(route, larch.a) for route in ROUTES if ROUTES[route][0] != NOBODY]
        pages.append(reverse("home"))
        for code in larch.b.codes:
            trial = {"trial": larch.world.trial.code}
            for route in ("trials:participants", "trials_api:participants", "trials:go", "adverse_events:list"):
                pages.append(f"{reverse(route, kwargs=trial)}?q={code}&participant={code}")
            pages.append(f"{reverse('go')}?q={code}")
        for page in pages:
            answer = ask(client, "GET", page)
            asked = page.partition("?")[2]
            found = [hit for hit in foreign.findall(body_of(answer)) if hit not in asked]
            leaks += [f"{page} as {name}: {hit}" for hit in found]
            read += answer.status_code == 200
    assert leaks == [], "\n".join(leaks)
    assert read > 150
    everything = body_of(
        ask(client_of(larch.world.user("dora")), "GET", reverse("trials:participants", args=["larch"]))
    )
    assert foreign.search(everything), "the search would not have seen a leak"


def test_a_search_for_a_foreign_code_finds_nothing(larch: Place) -> None:
    bob = client_of(larch.world.user("bob"))
    for code in larch.b.codes:
        assert ask(bob, "GET", reverse("go") + f"?q={code}").status_code == 404
        found = ask(bob, "GET", reverse("trials_api:participants", args=["larch"]) + f"?q={code}").json()
        assert found["results"] == []


@pytest.mark.django_db(transaction=True)
def test_an_export_of_site_a_holds_nobody_of_site_b(larch: Place, settings: Any, tmp_path: Path) -> None:
    settings.EXPORT_DIR = tmp_path
    names = [one.id for one in exports.datasets_for(larch.world.bob)]
    job = exchange.request_export(trial=larch.world.trial, datasets=names, variant="statistical", by=larch.world.bob)
    exchange.run_export(job=job.pk)
    answer = ask(client_of(larch.world.user("bob")), "GET", reverse("exchange:download", args=["larch", job.key]))
    with zipfile.ZipFile(io.BytesIO(b"".join(answer))) as archive:  # type: ignore[arg-type]
        text = "\n".join(archive.read(name).decode("utf-8-sig") for name in archive.namelist())
    assert all(code in text for code in larch.a.codes)
    assert not [code for code in larch.b.codes if re.search(rf"(?<!\w){re.escape(code)}(?!\w)", text)]


def test_a_page_sent_twice_enrols_once(larch: Place) -> None:
    """Twice the same click: one enrolment, which both answers lead to."""
    world = larch.world
    child, _ = world.eligible()
    bob = client_of(world.user("bob"))
    sent = {"enrolled_on": "10-mar-2025"}
    address = reverse("casebook:enrol", args=["larch", child.pk])
    casebook.save_entry(
        participant=child,
        form="QS",
        visit=child.visits.filter(code="SCR").first(),
        answers={"PERFORMANCE": "90"},
        by=world.bob,
    )
    casebook.save_entry(participant=child, form="DX", answers={"GROUP": "benign"}, by=world.bob)
    first, second = bob.post(address, sent), bob.post(address, sent)
    assert (first.status_code, second.status_code) == (302, 302)
    assert first["Location"] == second["Location"]
    assert Enrolment.objects.filter(participant=child).count() == 1
