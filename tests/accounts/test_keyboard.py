"""Without a mouse, in a real browser: entry, paste, figures, login, the end of a session."""

import re

import pytest
from playwright.sync_api import expect

from tests.accounts.conftest import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def focus(page) -> str:
    return page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()")


def press(page, *keys: str) -> list[str]:
    """Press the keys one by one; return where the focus was after each."""
    where = []
    for key in keys:
        page.keyboard.press(key)
        where.append(focus(page))
    return where


@pytest.mark.requirement("UX1")
def test_enter_goes_down_the_form_and_never_sends_it(page):
    page.goto("/components/")
    page.focus("[name=weight_kg]")
    assert press(page, "Enter", "Enter", "Enter", "Enter", "Enter") == [
        "alc_1e9_per_l",
        "source",
        "sex",
        "seen",
        "Mark complete",
    ]
    assert page.url.endswith("/components/")
    expect(page.locator("[data-error-summary]")).to_have_count(0)
    page.focus("[name=alc_1e9_per_l]")
    assert press(page, "Shift+Enter", "ArrowDown", "ArrowUp") == ["weight_kg", "alc_1e9_per_l", "weight_kg"]


def test_ctrl_enter_completes_and_the_first_thing_read_is_what_is_wrong(page):
    page.goto("/components/")
    page.fill("[name=weight_kg]", "heavy")
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-error-summary]")).to_be_focused()


def test_a_grid_is_filled_down_its_columns(page):
    page.goto("/components/")
    page.focus("[name=a1]")
    assert press(page, "Enter", "Enter", "Enter", "ArrowUp") == ["b1", "c1", "a2", "c1"]


PASTE = """(text) => {
  const data = new DataTransfer();
  data.setData("text/plain", text);
  const options = {clipboardData: data, bubbles: true, cancelable: true};
  document.activeElement.dispatchEvent(new ClipboardEvent("paste", options));
}"""


@pytest.mark.parametrize(
    "text, first, then",
    [
        ("1\t2\n3\t4\n", "a1", {"a1": "1", "a2": "2", "b1": "3", "b2": "4", "c1": ""}),
        ("1\r\n2\r\n", "b2", {"b2": "1", "c2": "2", "b1": ""}),
        ("1\t2\t3\n", "a1", {"a1": "", "a2": ""}),  # too wide: nothing at all
        ("1\n2\n3\n", "b1", {"b1": "", "c1": ""}),  # too long: nothing at all
    ],
)
def test_a_block_is_pasted_whole_or_not_at_all(page, text, first, then):
    page.goto("/components/")
    page.focus(f"[name={first}]")
    page.evaluate(PASTE, text)
    assert {name: page.input_value(f"[name={name}]") for name in then} == then
    said = page.locator("#messages").inner_text()
    assert ("Nothing was pasted" in said) == (not any(then.values()))


def test_a_figure_is_one_tab_stop_and_says_its_marks(page):
    page.goto("/components/")
    assert page.locator("#cd4 svg a[tabindex='0']").count() == 1
    page.focus("#cd4 svg a[tabindex='0']")
    for key, words in [("ArrowRight", "01-002, day 42"), ("End", "01-003, day 43"), ("Home", "01-001, day 41")]:
        page.keyboard.press(key)
        expect(page.locator("#cd4 [data-readout]")).to_contain_text(words)
    page.keyboard.press("Tab")
    assert focus(page) == "Table of this figure"


def test_a_panel_is_fetched_when_it_is_seen(page):
    page.goto("/components/")
    page.locator("#doses").scroll_into_view_if_needed()
    expect(page.locator("#doses p")).to_have_text("37.5 mg")


def test_login_theme_and_menu_without_a_mouse(page, alice):
    page.goto("/account/login/?next=/account/keys/")
    page.focus("#id_login")
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Keys")
    page.focus("details[data-menu] > summary")
    page.keyboard.press("Enter")
    page.focus("button[value=dark]")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.focus("details[data-menu] > summary")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("details[data-menu]")).not_to_have_attribute("open", re.compile(".*"))
    assert focus(page) == "Alice Investigator"


def test_before_the_session_ends_one_key_stays(page, alice, settings, client, live_server):
    settings.SESSION_IDLE_S = 100  # inside the two minutes of warning from the start
    sign_in(page, client, alice, live_server.url)
    page.goto("/components/")
    page.evaluate("window.kept = 1")
    expect(page.locator("#session-dialog")).to_be_visible()
    expect(page.locator("[data-session-stay]")).to_be_focused()
    settings.SESSION_IDLE_S = 1800
    page.keyboard.press("Enter")
    expect(page.locator("#session-dialog")).not_to_be_visible()
    assert page.evaluate("window.kept") == 1


def test_after_it_ended_what_was_typed_can_be_sent_after_a_new_login(page, alice, settings, client, live_server):
    sign_in(page, client, alice, live_server.url)
    page.goto("/components/")
    page.fill("[name=weight_kg]", "61.5")
    before = page.input_value("[name=csrfmiddlewaretoken] >> nth=-1")
    page.context.clear_cookies()
    settings.SESSION_IDLE_S = 1800
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("[data-session-login]")).to_be_visible()
    with page.expect_popup() as opened:
        page.keyboard.press("Enter")
    again = opened.value
    again.fill("#id_login", "alice")
    again.fill("#id_password", PASSWORD)
    again.keyboard.press("Enter")
    again.wait_for_url(live_server.url + "/")
    again.close()
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator("#session-dialog")).not_to_be_visible()
    assert page.input_value("[name=weight_kg]") == "61.5"
    assert page.input_value("[name=csrfmiddlewaretoken] >> nth=-1") != before
    page.focus("[name=weight_kg]")
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-error-summary]")).to_contain_text("Sex")
    assert page.input_value("[name=weight_kg]") == "61.5"


def sign_in(page, client, user, address) -> None:
    client.force_login(user)
    name, value = "sessionid", client.cookies["sessionid"].value
    page.context.add_cookies([{"name": name, "value": value, "url": address}])
