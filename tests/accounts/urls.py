"""The account's own pages, a start page, pages that fail, and one page with every component."""

from types import SimpleNamespace

from django import forms
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import engines
from django.urls import include, path


def home(request: HttpRequest) -> HttpResponse:
    return render(request, "base.html")


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a fault of ours")


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied("A monitor may not enter values.")


def unreadable(request: HttpRequest) -> HttpResponse:
    raise BadRequest


class Baseline(forms.Form):
    use_required_attribute = False
    weight_kg = forms.DecimalField(
        label="Body weight", help_text="On day −10 or later, without shoes.", widget=forms.TextInput
    )
    alc_1e9_per_l = forms.DecimalField(label="Absolute lymphocyte count", required=False)
    source = forms.ChoiceField(label="Graft source", choices=[("bm", "bone marrow"), ("cb", "cord blood")])
    sex = forms.ChoiceField(label="Sex", choices=[("f", "female"), ("m", "male")], widget=forms.RadioSelect)
    seen = forms.BooleanField(label="Source document seen", required=False)


MARK = '<a href="#{0}" aria-label="participant 01-00{0}, day 4{0}"><circle cx="{0}0" cy="20" r="5" fill="#00588f"/></a>'
SVG = (
    '<svg role="graphics-document" aria-roledescription="chart" viewBox="0 0 100 40" width="100" height="40">'
    "<title>CD4</title><desc>Three participants</desc>" + "".join(MARK.format(i) for i in (1, 2, 3)) + "</svg>"
)
COMPONENTS = """{% extends "base.html" %}
{% block title %}Components{% endblock %}{% block heading %}Components{% endblock %}
{% block breadcrumbs %}<li><a href="/">Start</a></li>{% endblock %}
{% block content %}
{% include "components/banner.html" with kind="warning" title="2 visits" text=late url="/late" action="Show" only %}
{% include "components/stat.html" with label="Reached" value=41 of=51 note="80 %" url="/reached" only %}
{% include "components/stat.html" with label="Open SAEs" value=0 of=0 only %}
{% include "components/stat.html" with label="Median" value=None only %}
{% include "components/status_legend.html" %}
{% include "components/definition_list.html" with facts=facts only %}
{% include "components/empty.html" with text="No adverse events." url="/add" action="Record one" only %}
{% include "components/error_summary.html" with form=form only %}
<form method="post" data-entry>{% csrf_token %}
{% include "components/form_field.html" with field=form.weight_kg unit="kg" range="3 to 150" last="61.0" only %}
{% include "components/form_field.html" with field=form.alc_1e9_per_l unit="×10⁹/L" warning="Half of yesterday." only %}
{% include "components/form_field.html" with field=form.source only %}
{% include "components/form_field.html" with field=form.sex only %}
{% include "components/form_field.html" with field=form.seen only %}
<button type="submit" class="btn btn-primary" data-complete>Mark complete</button></form>
<form method="post" data-guard>{% csrf_token %}
<div class="grid-scroll" tabindex="0" role="region" aria-label="Labs"><table class="data-table lab-grid" data-grid>
<caption>Labs</caption>
<thead><tr><th scope="col">Analyte</th><th scope="col">Day 1</th><th scope="col">Day 2</th></tr></thead>
<tbody>{% for a in "abc" %}<tr><th scope="row">{{ a }}</th><td><input name="{{ a }}1" aria-label="{{ a }} day 1"></td>
<td><input name="{{ a }}2" aria-label="{{ a }} day 2"></td></tr>{% endfor %}</tbody></table></div></form>
{% include "components/figure.html" with figure=figure id="cd4" title="CD4" only %}
{% include "components/pagination.html" with page=page noun="participants" %}
{% include "components/panel.html" with url="/doses/" title="Doses" id="doses" only %}
{% endblock %}"""


def components(request: HttpRequest) -> HttpResponse:
    form = Baseline(request.POST) if request.method == "POST" else Baseline()
    table = SimpleNamespace(columns=["Day", "At risk"], rows=[[41, 3], [42, SimpleNamespace(url="/r", text="2")]])
    context = {
        "form": form,
        "facts": [("Code", "01-003"), ("Weight", None), ("Visit", "Week 4", "/v")],
        "figure": SimpleNamespace(svg=SVG, caption="n = 3", table=table),
        "late": "are <late>.",
        "page": Paginator(range(120), 50).page(int(request.GET.get("page", 2))),
    }
    return HttpResponse(engines["django"].from_string(COMPONENTS).render(context, request))


def doses(request: HttpRequest) -> HttpResponse:
    return HttpResponse('<div class="card-block"><h2>Doses</h2><p>37.5 mg</p></div>')


urlpatterns = [
    path("doses/", doses),
    path("components/", components),
    path("", home, name="home"),
    path("broken/", broken),
    path("forbidden/", forbidden),
    path("unreadable/", unreadable),
    path("account/", include("accounts.urls")),
    path("account/", include("allauth.urls")),
]
