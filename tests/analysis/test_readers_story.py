"""Two readers and the one who settles, as they live it in a browser, by keyboard; then what became of it for others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from analysis import actions
from analysis.models import Reading
from tests.analysis.test_adjudication import NOT_REACHED, REACHED, measured
from tests.analysis.test_readings import NO, YES, reader, vote
from tests.browser.test_whole_story import keyed, pressed
from tests.browser.watch import axe_violations
from tests.world import PASSWORD, World
from trials.models import Membership, Participant

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

RULE = "2 in a row"


def cases(world: World, fred: Membership) -> Participant:
    """Three cases: one that both called reached, one that both called not reached, and one that nobody has read."""
    people = [world.enrolled() for _ in range(3)]
    for person, series in zip(people, (REACHED, NOT_REACHED, REACHED), strict=True):
        measured(world, person, *series)
    actions.adjudicate(participants=[person.pk for person in people])
    for person, answer in zip(people, (YES, NO), strict=False):
        vote(person, world.erin, answer)
        vote(person, fred, answer)
    return people[-1]


def sound(page: Page, name: str) -> None:
    """The page, wide and as on a telephone, light and dark, fits its window and has no accessibility violation."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width in (1280, 400):
            page.set_viewport_size({"width": width, "height": 900})
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{name} at {width} px is {overflow} px too wide"
        assert axe_violations(page) == [], f"{name}, {scheme}"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})


def opened(page: Page, participant: Participant, waiting: str) -> None:
    """From the home page to the case, by its links."""
    page.goto("/")
    pressed(page, "link", "Cases for independent reading")
    expect(page.get_by_role("row").filter(has_text=str(participant))).to_contain_text(waiting)
    pressed(page, "link", str(participant))
    expect(page.get_by_role("heading", name="Evidence")).to_be_visible()


def signed(page: Page, name: str, key: str, comment: str, label: str = "Comment (optional)") -> None:
    """A digit, the comment, name and password: the field of the answer has the focus, Enter and Tab lead on."""
    expect(page.get_by_role("radio", name="Reached", exact=True)).to_be_focused()
    page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.get_by_label(label, exact=True)).to_be_focused()
    page.keyboard.type(comment)
    page.keyboard.press("Tab")
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Your reading is signed. It stays as it is.")).to_be_visible()


@pytest.mark.requirement("END3")
@pytest.mark.requirement("ES2")
def test_two_read_without_each_other_and_without_the_rule_and_a_third_settles(
    world: World, page: Page, sign_in: Callable[..., None]
) -> None:
    fred, gina = reader(world, "fred"), reader(world, "gina")
    participant = cases(world, fred)

    # Erin has all evidence on one page and nothing that could lead her; a wrong password keeps what she typed.
    sign_in(world.user("erin"))
    opened(page, participant, "to read")
    evidence = page.locator("section", has=page.get_by_role("heading", name="Evidence")).inner_text()
    assert "0.05" in evidence and "0.06" in evidence
    assert RULE not in page.content() and page.get_by_role("heading", name="Readings").count() == 0
    assert page.get_by_role("link", name="Dashboard").count() == 0  # it would be refused
    sound(page, "the case")
    page.keyboard.press("1")
    keyed(page, "Comment", "Both values stand.")
    keyed(page, "Your username", "erin")
    keyed(page, "Your password", "not the right one")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("This is not your password.").first).to_be_visible()
    expect(page.locator("[data-error-summary]")).to_be_focused()
    sound(page, "the refusal")
    assert not Reading.objects.filter(participant=participant).exists()
    expect(page.get_by_role("radio", name="Reached", exact=True)).to_be_checked()
    keyed(page, "Your password", PASSWORD)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Your reading is signed. It stays as it is.")).to_be_visible()
    expect(page.get_by_text("Both values stand.")).to_be_visible()
    expect(page.get_by_text("Signed by Erin, Endpoint reader")).to_be_visible()
    expect(page.get_by_text(RULE)).to_be_visible()  # hers is given: the rule cannot lead her any more
    sound(page, "the signed reading")

    # Fred meets the case as she met it: what she said is nowhere in what his browser receives.
    page.context.clear_cookies()
    sign_in(fred.user)
    opened(page, participant, "to read")
    received = page.content()
    for hidden in ("Both values stand.", "Erin", RULE, "Reader 1"):
        assert hidden not in received, f"{hidden} is shown to the second reader"
    assert page.locator("section", has=page.get_by_role("heading", name="Evidence")).inner_text() == evidence
    signed(page, "fred", "2", "The second value is of another laboratory.")
    expect(page.get_by_text("Both values stand.")).to_be_visible()

    # Gina settles: she sees both answers, neither name, and not the rule.
    page.context.clear_cookies()
    sign_in(gina.user)
    opened(page, participant, "to settle")
    expect(page.get_by_text("Reader 1: Reached")).to_contain_text("Both values stand.")
    expect(page.get_by_text("Reader 2: Not reached")).to_contain_text("The second value is of another laboratory.")
    received = page.content()
    for hidden in ("Erin", "Fred", "erin", "fred", RULE):
        assert hidden not in received, f"{hidden} is shown to the reader who settles"
    sound(page, "the difference")
    signed(page, "gina", "2", "It does not count.", label="Why")
    expect(page.get_by_text("Settled: Not reached")).to_be_visible()
    expect(page.get_by_text(RULE)).to_be_visible()
    for name in ("Erin", "fred", "gina"):
        expect(page.get_by_text(f"Signed by {name}")).to_be_visible()
    sound(page, "the settled case")
    assert list(
        Reading.objects.filter(participant=participant).order_by("position").values_list("reader__user", "answer")
    ) == [(world.erin.user_id, YES), (fred.user_id, NO), (gina.user_id, NO)]

    # Dora reads how well they agree, from the dashboard: 2 of 3; by chance 4/9; kappa (2/3 - 4/9) / (5/9) = 0.4.
    page.context.clear_cookies()
    sign_in(world.user("dora"))
    page.goto(reverse("analysis:dashboard", kwargs={"trial": world.trial.code}))
    pressed(page, "link", "Agreement of the independent readers")
    expect(page.get_by_text("3 of 3 cases have two readings")).to_be_visible()
    expect(page.get_by_text("2 of 3", exact=True)).to_be_visible()
    expect(page.get_by_text("0.40 (95 % CI")).to_be_visible()
    expect(page.get_by_text(f"{participant}: Reached / Not reached; settled: Not reached")).to_be_visible()
    expect(page.get_by_text("readers: Not reached; rule: reached")).to_be_visible()
    sound(page, "the agreement")
