"""Every page of the account, light and dark, wide and at 320 px: WCAG 2.2 AA, and no sideways scrolling."""

import pytest

from tests.browser.watch import axe_violations

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

BEFORE_LOGIN = ["/account/login/", "/account/password/reset/", "/account/signup/", "/account/keys/", "/no/such/page/"]
AFTER_LOGIN = [
    "/components/",
    "/account/",
    "/account/roles/",
    "/account/password/change/",
    "/account/2fa/",
    "/account/2fa/totp/activate/",
    "/account/sessions/",
    "/account/email/",
    "/account/logout/",
]


@pytest.fixture(params=["light", "dark"])
def browser_context_args(browser_context_args, request):
    return {**browser_context_args, "color_scheme": request.param}


@pytest.mark.requirement("UX2")
@pytest.mark.parametrize("width", [1280, 320])
def test_pages_break_no_rule(page, client, alice, live_server, settings, width):
    settings.DEMO = True
    page.set_viewport_size({"width": width, "height": 800})
    broken = {}

    def look(path):
        page.goto(path)
        sideways = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        found = axe_violations(page) + ([f"{sideways} px sideways"] if sideways > 0 else [])
        if found:
            broken[path] = found

    for path in BEFORE_LOGIN:
        look(path)
    client.force_login(alice)
    page.context.add_cookies(
        [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}]
    )
    for path in AFTER_LOGIN:
        look(path)
    assert broken == {}
