"""What holds for every page: one strict policy, nothing inline, nothing from elsewhere, files as published."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from django.test import Client

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "object-src": "'none'",
}


def inline_code(markup: str) -> list[str]:
    """What a strict policy would block: styles, handlers and scripts that stand in the markup."""
    found = re.findall(
        r"<style\b|\sstyle\s*=|\son[a-z]+\s*=\s*[\"']|javascript:|hx-on|hx-vals=[\"']js:", markup, re.IGNORECASE
    )
    for attributes in re.findall(r"<script\b([^>]*)>", markup, re.IGNORECASE):
        if "src=" not in attributes and "application/json" not in attributes:
            found.append(f"<script{attributes}>")
    return found


@pytest.mark.parametrize(
    "markup", ['<p style="x">', "<style>", '<a onclick="x()">', "<script>x()</script>", '<a href="javascript:x">']
)
def test_the_search_for_inline_code_finds_it(markup):
    assert inline_code(markup)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_has_inline_code_or_outside_sources(template):
    markup = template.read_text()
    assert inline_code(markup) == []
    assert re.findall(r"(?:src|href)=[\"'](?:https?:)?//", markup) == []


@pytest.mark.requirement("SEC1")
@pytest.mark.django_db
@pytest.mark.parametrize(
    "path, status",
    [
        ("/", 200),
        ("/account/login/", 200),
        ("/account/keys/", 200),
        ("/account/", 302),
        ("/unreadable/", 400),
        ("/forbidden/", 403),
        ("/no/such/page/", 404),
        ("/broken/", 500),
    ],
)
def test_every_answer_carries_the_policy(path, status):
    response = Client(raise_request_exception=False).get(path)
    assert response.status_code == status
    directives = dict(part.strip().split(" ", 1) for part in response["Content-Security-Policy"].split(";"))
    assert directives == POLICY
    assert response["X-Content-Type-Options"] == "nosniff"
    if status >= 400:
        assert f"Error {status}" in response.content.decode()


@pytest.mark.django_db
def test_a_refusal_says_why():
    assert "A monitor may not enter values." in Client().get("/forbidden/").content.decode()


@pytest.mark.django_db
def test_a_form_without_its_token_is_refused_with_the_policy():
    response = Client(enforce_csrf_checks=True).post("/account/login/", {"login": "a", "password": "b"})
    assert response.status_code == 403
    assert "The form is too old" in response.content.decode()
    assert "default-src" in response["Content-Security-Policy"]


@pytest.mark.django_db
def test_htmx_is_configured_without_eval_and_without_history_of_patient_data(client):
    page = client.get("/").content.decode()
    config = json.loads(re.search(r"name=\"htmx-config\" content='([^']+)'", page)[1])
    assert config == {
        "includeIndicatorStyles": False,
        "allowEval": False,
        "allowScriptTags": False,
        "selfRequestsOnly": True,
        "historyCacheSize": 0,
        "responseHandling": [
            {"code": "204", "swap": False},
            {"code": "[23]..", "swap": True},
            {"code": "409|422", "swap": True},
            {"code": "[45]..", "swap": False, "error": True},
        ],
    }


class TestVendoredFiles:
    LOCK = json.loads((ROOT / "static/vendor.lock.json").read_text())["files"]

    def test_every_file_is_in_the_lock(self):
        there = {
            str(path.relative_to(ROOT / "static")) for path in (ROOT / "static/vendor").rglob("*") if path.is_file()
        }
        assert there == {entry["path"] for entry in self.LOCK}

    @pytest.mark.parametrize("entry", LOCK, ids=lambda entry: entry["name"])
    def test_each_file_is_what_the_lock_says(self, entry):
        content = (ROOT / "static" / entry["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert entry["version"] in entry["path"]
        assert entry["licence"]
        assert b"sourceMappingURL" not in content


def test_own_scripts_stay_small():
    import gzip

    scripts = b"".join((ROOT / "static" / name).read_bytes() for name in ("app.js", "figure.js", "theme.js"))
    assert len(gzip.compress(scripts)) <= 12 * 1024


def test_every_icon_used_is_in_the_sprite():
    known = set(re.findall(r'<symbol id="([^"]+)"', (ROOT / "static/icons.svg").read_text()))
    used = {name for path in TEMPLATES for name in re.findall(r"icons\.svg' %}#([\w-]+)", path.read_text())}
    assert used - {""} <= known


# --- Contrast ---------------------------------------------------------------------------------------------------------


def tokens(selector: str) -> dict[str, str]:
    css = (ROOT / "static/app.css").read_text()
    body = css[css.index(selector) :]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", body[: body.index("}")]))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two colours.

    >>> contrast("#000000", "#ffffff")
    21.0
    """

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXT_PAIRS = [
    *[
        (ink, ground)
        for ink in ("ink", "ink-soft", "accent", "orange", "red", "amber")
        for ground in ("surface", "page")
    ],
    *[("ink", ground) for ground in ("surface-sunk", "accent-soft", "red-soft", "amber-soft", "green-soft")],
    ("ink-soft", "surface-sunk"),
    ("accent", "accent-soft"),
    ("red", "red-soft"),
    ("amber", "amber-soft"),
    ("green", "green-soft"),
    ("violet", "violet-soft"),
    ("accent-ink", "accent"),
]


@pytest.mark.parametrize("theme", ['[data-bs-theme="light"]', '[data-bs-theme="dark"]'])
@pytest.mark.parametrize("ink, ground", TEXT_PAIRS)
def test_text_stands_out_from_its_ground(theme, ink, ground):
    colours = tokens(theme)
    assert contrast(colours[ink], colours[ground]) >= 4.5


@pytest.mark.parametrize("theme", ['[data-bs-theme="light"]', '[data-bs-theme="dark"]'])
@pytest.mark.parametrize("ground", ["surface", "page"])
@pytest.mark.parametrize("line", ["line-strong", "focus"])
def test_the_edge_of_a_control_and_the_focus_ring_stand_out(theme, line, ground):
    colours = tokens(theme)
    assert contrast(colours[line], colours[ground]) >= 3
