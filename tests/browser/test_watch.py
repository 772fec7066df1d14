"""The watch itself: it sees what it is there to see."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.watch import AXE, Watch, axe_violations

pytestmark = pytest.mark.browser

GOOD = "<!doctype html><html lang=en><title>Good</title><main><h1>Good</h1></main></html>"


@pytest.fixture
def serve(page: Page, live_server: Any) -> Any:
    """Serve one page as text under the application's own address."""

    def serve(
        html: str, policy: str = "default-src 'self'; script-src 'self' 'unsafe-inline'", status: int = 200
    ) -> None:
        address = f"{live_server.url}/as-given"
        page.route(
            address,
            lambda route: route.fulfill(
                status=status, body=html, content_type="text/html", headers={"Content-Security-Policy": policy}
            ),
        )
        page.goto(address)

    return serve


def test_a_good_page_passes(serve: Any, page: Page, watch: Watch) -> None:
    serve(GOOD)
    watch.check(page)


def test_an_inline_script_against_the_policy_is_seen_even_after_the_page_is_left(
    serve: Any, page: Page, watch: Watch
) -> None:
    serve(GOOD.replace("<main>", "<main><script>1</script>"), policy="default-src 'self'")
    page.wait_for_timeout(200)
    page.goto("about:blank")
    assert watch.csp == ["script-src-elem inline"]
    watch.csp.clear()


def test_a_picture_without_a_text_is_seen(serve: Any, page: Page) -> None:
    serve(GOOD.replace("<h1>", '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><h1>'), policy="img-src data:")
    assert [line.split(":")[0] for line in axe_violations(page)] == ["image-alt"]
    page.goto("about:blank")


def test_a_script_error_and_another_host_and_a_server_error_are_seen(serve: Any, page: Page, watch: Watch) -> None:
    foreign = "https://elsewhere.example/x.js"
    page.context.route(foreign, lambda route: route.fulfill(status=503, body=""))
    serve(GOOD.replace("<main>", f"<main><script>missing()</script><script src={foreign}></script>"), policy="")
    page.wait_for_timeout(200)
    assert any("missing is not defined" in error for error in watch.errors)
    assert watch.foreign == [foreign]
    assert watch.failed == [f"503 {foreign}"]
    for seen in (watch.errors, watch.foreign, watch.failed):
        seen.clear()


def test_the_accessibility_checker_is_the_file_its_readme_names() -> None:
    readme = (Path(AXE).parent / "README.md").read_text()
    stated = re.search(r"sha256: `([0-9a-f]{64})`", readme)
    assert stated
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == stated[1]
