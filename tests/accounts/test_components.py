"""The parts every page is made of, as markup."""

import re

import pytest

pytestmark = pytest.mark.django_db


@pytest.fixture
def html(client) -> str:
    return re.sub(r"\s+", " ", client.get("/components/?site=A").content.decode())


@pytest.mark.parametrize(
    "markup",
    [
        '<div class="stat leads"> <span class="stat-label"><a class="stat-link" href="/reached" data-count="41">'
        'Reached</a></span> <span class="stat-value">41<span class="stat-of"> of 51</span></span>',
        '<span class="stat-value">0<span class="stat-of"> of 0</span></span>',
        '<span class="stat-value">not known</span>',
        "<strong>2 visits</strong> are &lt;late&gt;. <a href",
        '<dt>Weight</dt><dd><span class="soft">not known</span></dd>',
        '<dt>Visit</dt><dd><a href="/v">Week 4</a></dd>',
        "51–100 of 120 participants",
        '<td class="num"><a href="/r">2</a></td>',
    ],
)
def test_what_is_printed(html, markup):
    assert markup in html


def test_paging_keeps_the_filter(html):
    assert re.search(r'rel="next" href="\?site=A(&amp;|&)page=3"', html)


def test_every_status_has_a_glyph_of_its_own_and_a_word(html):
    legend = re.search(r'<ul class="legend".*?</ul>', html)[0]
    states = re.findall(r'aria-hidden="true">(.)</span><span>([\w ]+)</span>', legend)
    assert len(states) == 11
    assert len({glyph for glyph, _ in states}) == 11
    assert len({word for _, word in states}) == 11


def test_a_control_is_tied_to_its_label_and_its_help(html):
    assert '<label for="id_weight_kg">Body weight</label>' in html
    control = re.search(r'<input[^>]*name="weight_kg"[^>]*>', html)[0]
    assert 'aria-describedby="id_weight_kg_helptext"' in control
    assert 'id="id_weight_kg_helptext"' in html
    assert "Absolute lymphocyte count <span class=" in html, "what is optional says so"


def test_the_error_summary_names_and_links_each_field(client):
    html = client.post("/components/", {"weight_kg": "heavy", "source": "bm"}).content.decode()
    assert "2 things need attention" in html
    links = dict(re.findall(r'<a href="#(\w+)">(.+?)</a>', html))
    assert links["id_weight_kg"] == "Body weight: Enter a number."
    assert all(f'id="{target}"' in html for target in links)
    assert 'aria-invalid="true"' in re.search(r'<input[^>]*name="weight_kg"[^>]*>', html)[0]


def test_without_anything_wrong_there_is_no_summary(html):
    assert "need attention" not in html
