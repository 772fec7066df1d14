"""The whole story in a real browser, by keyboard; every main page in both themes; and the same work without scripts."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from adverse_events.models import AdverseEvent
from analysis import actions as analysis
from casebook.models import FormEntry, LabDraw
from dosing.models import DoseWorksheet
from exchange.models import ExportJob
from tests.browser.watch import Watch, axe_violations
from tests.isolation.everything import Everything, everything_at, with_table
from tests.world import PASSWORD, World
from trials.models import Enrolment, Participant

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: Compressed by gzip, as they are served; of the styles, Bootstrap is 30 KB.
HTML_KB, PICTURES_KB, SCRIPTS_KB, STYLES_KB, REQUESTS, NODES = 30, 60, 60, 40, 14, 6_000
WITH_PICTURES = {
    "analysis:dashboard",
    "analysis:gate",
    "analysis:profile",
    "casebook:casebook",
    "adverse_events:table",
    "trials:participants",
}


def at(name: str, **keys: Any) -> str:
    return reverse(name, kwargs={"trial": "larch", **keys})


# --- The story ------------------------------------------------------------------------------------------------------


def keyed(page: Page, label: str, text: str) -> None:
    """Go to the field called ``label`` and type, as one does who does not look for the mouse."""
    page.get_by_label(label, exact=False).first.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def pressed(page: Page, role: Any, name: str) -> None:
    """Press Enter on the link or button of that name."""
    page.get_by_role(role, name=name, exact=True).first.focus()
    page.keyboard.press("Enter")


def test_from_screening_to_the_dose_and_from_a_number_to_those_it_counts(
    page: Page, world: World, sign_in: Callable[..., None], celery_worker_process: Callable[..., Any]
) -> None:
    with_table(world)
    celery_worker_process()

    # Bob screens a child.
    sign_in(world.user("bob"))
    page.goto(at("trials:register"))
    keyed(page, "Date of birth", "2015-06-01")
    page.locator("[name=sex][value=female]").focus()
    page.keyboard.press("Space")
    keyed(page, "Screening began on", "03-Mar-2025")
    pressed(page, "button", "Register")
    expect(page.get_by_text("is registered for screening")).to_be_visible()
    child = Participant.objects.get()

    # Consent, and what eligibility and the dose rest on.
    pressed(page, "link", "Record consent")
    keyed(page, "Signed on", "03-Mar-2025")
    page.get_by_label("parent").first.focus()
    page.keyboard.press("Space")
    pressed(page, "button", "Record consent")
    expect(page.get_by_text("Consent version 1.0 is recorded.")).to_be_visible()
    page.goto(at("trials:anchor", participant=child.pk))
    keyed(page, "Date", "24-Mar-2025")
    pressed(page, "button", "Record the date")
    expect(page.get_by_text("the visits are planned from it")).to_be_visible()
    page.goto(at("trials:visit_done", participant=child.pk, visit=child.visits.get(code="BL").pk))
    keyed(page, "Took place on", "13-Mar-2025")
    pressed(page, "button", "Record the visit")
    expect(page.get_by_text("inside its window")).to_be_visible()
    for form, answers, visit in (
        ("DX", {"GROUP": "benign"}, ""),
        ("TX", {"SOURCE": "bone_marrow"}, ""),
        ("QS", {"PERFORMANCE": "90"}, "SCR"),
        ("VS", {"WEIGHT": "23.4"}, "BL"),
    ):
        keys = {"participant": child.pk, "form": form}
        page.goto(at("casebook:visit_entry", visit=visit, **keys) if visit else at("casebook:entry", **keys))
        for item, answer in answers.items():
            choice = page.locator(f"#row-{item} input[type=radio][value='{answer}']")
            if choice.count():
                choice.first.focus()
                page.keyboard.press("Space")
            else:
                page.locator(f"#row-{item} input[type=text]").focus()
                page.keyboard.type(answer)
        page.keyboard.press("Control+Enter")
        expect(page.get_by_text(" is complete.")).to_be_visible()
    page.goto(at("casebook:labs", participant=child.pk))
    keyed(page, "Sampled", "14-Mar-2025 08:00")
    page.locator("#f-LB-ALC").focus()
    page.keyboard.type("0.8")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("1 results of 14-Mar-2025 are saved.")).to_be_visible()

    # Alice judges; Bob enrols.
    page.context.clear_cookies()
    sign_in(world.user("alice"))
    page.goto(at("casebook:eligibility", participant=child.pk))
    page.locator("[name='answer:E1']").first.focus()
    page.keyboard.press("2")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Assessed: eligible")).to_be_visible()
    page.context.clear_cookies()
    sign_in(world.user("bob"))
    page.goto(at("trials:participant", participant=child.pk))
    pressed(page, "link", "Enrol")
    keyed(page, "Enrolled on", "10-Mar-2025")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("The participant is enrolled.")).to_be_visible()
    assert Enrolment.objects.filter(participant=child).count() == 1

    # The worker computes the dose; the page shows it when it is opened again.
    dose = page.locator("#panel-dosing")
    for _ in range(30):
        page.reload()
        page.wait_for_load_state("networkidle")
        if DoseWorksheet.objects.filter(participant=child, is_current=True).exists():
            break
        page.wait_for_timeout(1_000)
    page.reload()
    expect(dose.get_by_text("7 mg/kg over 3 days from 15-Mar-2025")).to_be_visible()

    # A column of the grid.
    page.goto(at("casebook:labs", participant=child.pk))
    keyed(page, "Sampled", "21-Apr-2025")
    page.locator("#f-LB-CD4").focus()
    page.keyboard.type("0.06")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("1 results of 21-Apr-2025 are saved.")).to_be_visible()
    assert LabDraw.objects.filter(participant=child).count() == 2

    # Alice goes from a number to those it counts.
    page.context.clear_cookies()
    sign_in(world.user("alice"))
    page.goto(at("analysis:dashboard"))
    number = page.locator(".stat", has_text="Enrolled")
    expect(number.locator(".stat-value")).to_contain_text("1")
    number.get_by_role("link", name="Enrolled").focus()
    page.keyboard.press("Enter")
    expect(page.locator("main tbody tr")).to_have_count(1)
    expect(page.locator("main tbody")).to_contain_text(str(Participant.objects.get()))


# --- Every main page, in both themes --------------------------------------------------------------------------------


@pytest.fixture
def at_a(world: World) -> Everything:
    """One of everything at site A."""
    with_table(world)
    made = everything_at(world, world.bob, world.alice)
    analysis.refresh_gates(trial=world.trial)
    return made


def main_pages(at_a: Everything, role: str) -> dict[str, str]:
    of = {"participant": at_a.participant.pk}
    pages = {
        "home": reverse("home"),
        "trials:overview": at("trials:overview"),
        "trials:participants": at("trials:participants"),
        "trials:participant": at("trials:participant", **of),
        "trials:deviations": at("trials:deviations"),
        "trials:protocol": at("trials:protocol"),
        "trials:members": at("trials:members"),
        "casebook:casebook": at("casebook:casebook", **of),
        "casebook:entry": at("casebook:entry", form="DX", **of),
        "casebook:labs": at("casebook:labs", **of),
        "casebook:result": at("casebook:result", result=at_a.keys["result"], **of),
        "casebook:events": at("casebook:events", **of),
        "casebook:eligibility": at("casebook:eligibility", participant=at_a.screened.pk),
        "casebook:lab_imports": at("casebook:lab_imports"),
        "dosing:panel": at("dosing:panel", **of),
        "dosing:tables": at("dosing:tables"),
        "adverse_events:list": at("adverse_events:list"),
        "adverse_events:table": at("adverse_events:table"),
        "adverse_events:event": at("adverse_events:event", event=at_a.keys["adverse_events.event"]),
        "analysis:dashboard": at("analysis:dashboard"),
        "analysis:adjudications": at("analysis:adjudications"),
        "analysis:gate": at("analysis:gate", stage=1),
        "exchange:exports": at("exchange:exports"),
        "accounts:roles": reverse("accounts:roles"),
    }
    if role != "monitor":
        pages["trials:register"] = at("trials:register")
        pages["adverse_events:new"] = at("adverse_events:new", **of)
        pages["dosing:record"] = at("dosing:record", **of)
    return pages


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bob", "alice", "dora"])
def test_every_main_page_in_both_themes(
    page: Page, context: BrowserContext, world: World, at_a: Everything, watch: Watch, sign_in: Any, name: str
) -> None:
    """axe 0, content security policy 0, other hosts 0, console errors 0, and the budgets of weight."""
    sign_in(world.user(name))
    told: list[str] = []
    answers: list[Any] = []
    page.on("console", lambda message: told.append(f"{page.url}: {message.text}") if _is_bad(message) else None)
    page.on("response", lambda answer: answers.append(answer))
    wrong: list[str] = []
    for route, address in main_pages(at_a, world.members[name].role).items():
        answers.clear()
        page.goto(address, wait_until="networkidle")
        wrong += [f"{route}: {excess}" for excess in over_budget(page, route, list(answers))]
        for theme in ("light", "dark"):
            page.evaluate("theme => document.documentElement.setAttribute('data-bs-theme', theme)", theme)
            wrong += [f"{route}, {theme}: {violation}" for violation in axe_violations(page)]
    assert wrong == [], "\n".join(wrong)
    assert told == []
    watch.check(page)


def _is_bad(message: ConsoleMessage) -> bool:
    return message.type in ("error", "warning")


def over_budget(page: Page, route: str, answers: list[Any]) -> list[str]:
    """What one page weighs beyond its budget: compressed document, scripts and styles, requests, elements."""
    weight = {"document": 0, "script": 0, "stylesheet": 0}
    requests = 0
    for answer in answers:
        kind = answer.request.resource_type
        if kind in weight and answer.status == 200:
            weight[kind] += len(gzip.compress(answer.body(), 6))
        requests += not answer.request.headers.get("hx-request")
    limits = {
        "document": PICTURES_KB if route in WITH_PICTURES else HTML_KB,
        "script": SCRIPTS_KB,
        "stylesheet": STYLES_KB,
    }
    found = [
        f"{kind} {size / 1024:.1f} KB of {limits[kind]}" for kind, size in weight.items() if size > limits[kind] * 1024
    ]
    if requests > REQUESTS:
        found.append(f"{requests} requests of {REQUESTS}")
    nodes = page.evaluate("document.getElementsByTagName('*').length")
    return found + ([f"{nodes} elements of {NODES}"] if nodes > NODES else [])


# --- Without scripts ------------------------------------------------------------------------------------------------


def test_the_daily_work_is_done_without_scripts(
    browser: Browser, browser_context_args: dict[str, Any], world: World, at_a: Everything
) -> None:
    """Login, a form, a column of results, an adverse event and an export."""
    context = browser.new_context(**browser_context_args, java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(10_000)
    child = at_a.participant

    page.goto(at("casebook:entry", participant=child.pk, form="DX"))
    page.get_by_label("Username").fill("bob")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.locator("#row-GROUP input[value=benign]").check()
    page.get_by_role("button", name="Mark complete").click()
    expect(page.get_by_text("Diagnosis is complete.")).to_be_visible()
    assert FormEntry.objects.get(participant=child, form="DX").answers["GROUP"] == {"value": "benign"}

    page.goto(at("casebook:labs", participant=child.pk))
    page.fill("#f-sampled_at", "28-Apr-2025")
    page.fill("#f-LB-CD4", "0.07")
    page.locator("main form button[data-complete]").click()
    expect(page.get_by_text("1 results of 28-Apr-2025 are saved.")).to_be_visible()
    assert LabDraw.objects.filter(participant=child, sampled_on=date(2025, 4, 28)).exists()

    page.goto(at("adverse_events:new", participant=child.pk))
    page.locator("[name=verbatim]").fill("fever and cough")
    page.locator("[name=term]").fill("Lung infection")
    page.locator("[name=grade][value='3']").check()
    page.locator("[name=is_serious][value=no]").check()
    page.locator("[name=started]").fill("28-Apr-2025")
    count = AdverseEvent.objects.count()
    outcome = page.locator("select[name=outcome]")
    outcome.select_option("recovered") if outcome.count() else page.locator("[name=outcome][value=recovered]").check()
    page.locator("[name=ended]").fill("05-May-2025")
    page.get_by_role("button", name="Record", exact=False).first.click()
    expect(page.get_by_text("is recorded: Lung infection")).to_be_visible()
    assert AdverseEvent.objects.count() == count + 1

    page.goto(at("exchange:exports"))
    page.get_by_label("Participants", exact=False).first.check()
    jobs = ExportJob.objects.count()
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.get_by_text("The export is on its way.")).to_be_visible()
    assert ExportJob.objects.count() == jobs + 1
    context.close()
