"""Figures as pages and reports show them: a specification becomes SVG, with its caption, its table and its words.

The converter holds threads: it is never used in a process that forks afterwards (``config.warmup`` starts it in each
process that serves). Its answer is kept by the hash of everything it depends on.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from importlib.metadata import version

import vl_convert
from django.core.cache import cache
from django.utils.translation import gettext as _

from trials.domain.figures import LINK_HOST, Spec, Table

VL_VERSION = "6.4"
CONVERTER = version("vl-convert-python")
#: A day: a figure of the same data is the same picture.
KEPT_S = 24 * 60 * 60


@dataclass(frozen=True)
class Figure:
    """A picture, and all that says the same in words: ``alt`` in a sentence, ``caption`` how it was made, ``table``."""

    svg: str
    table: Table
    caption: str
    alt: str
    spec: Spec | None = None


def render(spec: Spec, *, name: str, title: str, description: str) -> str:
    """The SVG of ``spec``, ready to stand in a page: ids of its own, named, links within this site, no style.

    ``name`` is unique on the page and becomes the prefix of every id.
    """
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    asked = json.dumps([text, name, title, description, CONVERTER, VL_VERSION, _SHAPE])
    key = f"figure:{hashlib.sha256(asked.encode()).hexdigest()}"
    svg: str | None = cache.get(key)
    if svg is None:
        raw = vl_convert.vegalite_to_svg(text, vl_version=VL_VERSION, allowed_base_urls=[])
        svg = _in_page(raw, name, title, description)
        cache.set(key, svg, KEPT_S)
    return svg


#: Changed with what ``_in_page`` does, so that no picture of an earlier form is served.
_SHAPE = 1


def _in_page(svg: str, name: str, title: str, description: str) -> str:
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    # The converter writes links under their older name, which HTML knows as well; the plain one is shorter.
    svg = svg.replace(" xlink:href=", " href=").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    svg = svg.replace(f'href="{LINK_HOST}/', 'href="/').replace(' target="_blank"', "")
    opening = re.match(r"<svg[^>]*>", svg)
    assert opening is not None, "the converter answered no SVG"
    head = opening[0].removesuffix(">")
    head = re.sub(r' (?:role|aria-\w+)="[^"]*"', "", head)
    named = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    role = f' role="graphics-document" aria-roledescription="chart" aria-labelledby="{name}-title {name}-desc">'
    return head + role + named + svg[opening.end() :]


def as_of_words(as_of: date) -> str:
    """The moment of the data; of a cut, its last day."""
    if not isinstance(as_of, datetime):
        return _("Data until %(day)s.") % {"day": f"{as_of:%d-%b-%Y}"}
    return _("Data as of %(moment)s UTC.") % {"moment": f"{as_of:%d-%b-%Y %H:%M}"}
