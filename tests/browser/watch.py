"""A real browser over the real application, watched: every test fails on what a user would not be told.

At the end of EVERY browser test the page must be free of accessibility violations (axe-core, WCAG 2.2 AA), and during
the whole test no page may have met the content security policy, raised a script error, asked another host for anything
or received a server error. A test that provokes one of these says so: ``watch.expect_failed("503")``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Request, Response

from config.embedded import browser

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

LAUNCH = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Reported to Python at once: what a page kept for itself would be gone with the next page.
TELL_VIOLATIONS = """
window.__csp = [];
document.addEventListener('securitypolicyviolation', event => {
  const told = event.effectiveDirective + ' ' + event.blockedURI;
  window.__csp.push(told);
  window.tellCspViolation(told);
});
"""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    program = browser.find()
    if program is None:
        pytest.fail("No Chromium was found. `make test` installs it, or says the one line to type.")
    return {**browser_type_launch_args, "executable_path": str(program), "args": LAUNCH}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any], live_server: Any) -> dict[str, Any]:
    """Addresses without a host are those of the live server."""
    size = {"width": 1280, "height": 900}
    return {**browser_context_args, "base_url": live_server.url, "viewport": size, "reduced_motion": "reduce"}


def axe_violations(page: Page) -> list[str]:
    """What axe-core finds on ``page``, one line a place: the rule, the element, what to do."""
    page.evaluate(AXE.read_text())  # by evaluate, which the content security policy lets pass
    found = page.evaluate("async rules => (await axe.run(document, {runOnly: rules})).violations", AXE_RULES)
    return [
        f"{violation['id']}: {node['html']} ({node['failureSummary'].splitlines()[-1].strip()})"
        for violation in found
        for node in violation["nodes"]
    ]


@dataclass
class Watch:
    """What went wrong in one test's pages."""

    home: str
    csp: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect_failed(self, status: str) -> None:
        """Say that answers with this status are what the test is about."""
        self.expected.append(status)

    def of(self, context: BrowserContext) -> None:
        """Watch every page of ``context``; a test that opens a second context calls this itself."""
        context.expose_binding("tellCspViolation", lambda source, told: self.csp.append(told))
        context.add_init_script(TELL_VIOLATIONS)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("request", self._asked)
        context.on("response", self._answered)

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https") and not request.url.startswith(self.home):
            self.foreign.append(request.url)

    def _answered(self, response: Response) -> None:
        if response.status >= 500 and str(response.status) not in self.expected:
            self.failed.append(f"{response.status} {response.url}")

    def check(self, page: Page) -> None:
        """Fail with everything that went wrong so far, and with what axe finds on ``page`` as it is now."""
        assert self.csp == [], "the content security policy was met"
        assert self.errors == [], "a script failed"
        assert self.foreign == [], "another host was asked"
        assert self.failed == [], "the server failed"
        if page.url.startswith(("http:", "https:")):
            assert axe_violations(page) == [], f"accessibility of {page.url}"


@pytest.fixture
def watch(live_server: Any, context: BrowserContext) -> Watch:
    """The watch over this test's pages; every browser test has it."""
    watch = Watch(home=live_server.url)
    watch.of(context)
    return watch


@pytest.fixture
def page(watch: Watch, page: Page, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page over ``live_server``, checked when the test is over."""
    page.set_default_timeout(10_000)
    yield page
    if not getattr(request.node, "failed_already", False) and not page.is_closed():
        watch.check(page)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.failed:
        item.failed_already = True  # type: ignore[attr-defined]  # one reason at a time
    return report


@pytest.fixture
def sign_in(live_server: Any, context: BrowserContext) -> Callable[..., None]:
    """Log a user in without the login page: ``sign_in(user)``, or ``sign_in(user, another_context)``."""
    from django.conf import settings
    from django.test import Client

    def sign_in(user: Any, where: BrowserContext = context) -> None:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        key = client.cookies[settings.SESSION_COOKIE_NAME].value
        where.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": key, "url": live_server.url}])

    return sign_in
