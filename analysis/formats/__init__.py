"""Results as pages show them: the figures of the dashboard and of a participant, and numbers in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from analysis.domain.consecutive_threshold import Rule
from analysis.domain.figures import consort, curves, incidence, stage_gate
from analysis.domain.proportions import Interval
from analysis.domain.simon import Inference
from trials.domain.definition import EndpointSpec, Free
from trials.domain.figures import percent
from trials.formats.figures import Figure, as_of_words, render


def incidence_figure(
    result: incidence.Incidence, *, set_label: str, competing: str, as_of: datetime, name: str = "incidence"
) -> Figure:
    """Cumulative incidence with its band, the numbers at risk and the events."""
    spec = incidence.spec(result)
    alt = "; ".join(f"{group.label}: {incidence.in_words(result, group)}" for group in result.groups)
    people = ", ".join(f"{group.label} n = {group.n}" for group in result.groups)
    caption = " ".join(
        part
        for part in (
            f"{people}{f', set “{set_label}”' if set_label else ''}.",
            alt + ".",
            f"Competing: {competing}." if competing else "",
            incidence.method(result),
            as_of_words(as_of),
        )
        if part
    )
    svg = render(spec, name=name, title=_("Cumulative incidence of %(what)s") % {"what": result.label}, description=alt)
    return Figure(svg, incidence.table(result), caption, alt, spec)


def curves_figure(result: curves.Curves, links: Mapping[int, str], *, as_of: datetime, name: str = "curves") -> Figure:
    """Everybody's values against the threshold; points lead to the participant."""
    spec = curves.spec(result, links)
    reached = sum(line.kind == "reached" for line in result.lines)
    alt = ngettext(
        "Values of %(n)d participant; %(reached)d reached the endpoint",
        "Values of %(n)d participants; %(reached)d reached the endpoint",
        len(result.lines),
    ) % {"n": len(result.lines), "reached": reached}
    caption = _(
        "%(alt)s. The rule: %(rule)s. Shaded: the days that count, 0 to %(last)d. Rings: the values that the endpoint "
        "rests on. A point leads to its participant. %(as_of)s"
    ) % {"alt": alt, "rule": result.rule, "last": result.last_day, "as_of": as_of_words(as_of)}
    svg = render(spec, name=name, title=f"{result.label} ({result.unit})", description=alt)
    return Figure(svg, curves.table(result, links), caption, alt, spec)


def curve_figure(result: curves.Curves, *, as_of: datetime, name: str = "own-curve") -> Figure:
    """The values of one participant against the threshold."""
    (line,) = result.lines
    alt = _("%(number)s: %(n)d values, endpoint %(status)s") % {
        "number": line.number,
        "n": len(line.points),
        "status": line.status.value.replace("_", " "),
    }
    caption = _("%(alt)s. The rule: %(rule)s by day %(last)d. Rings: the values that it rests on. %(as_of)s") % {
        "alt": alt,
        "rule": result.rule,
        "last": result.last_day,
        "as_of": as_of_words(as_of),
    }
    spec = curves.spec(result, {})
    svg = render(spec, name=name, title=f"{result.label}, {line.number}", description=alt)
    return Figure(svg, curves.table(result, {}), caption, alt, spec)


def stage_figure(
    result: stage_gate.StageGates, *, as_of: datetime, links: Mapping[int, str] | None = None, name: str = "stages"
) -> Figure:
    """The stages of the design against their boundaries; ``links`` leads to the page of a stage that has a snapshot."""
    spec = stage_gate.spec(result)
    alt = "; ".join(
        f"stage {s.stage}: {s.responders} of {s.decided}, {s.at_least} of {s.n} needed, {s.outlook}"
        for s in result.stages
    )
    caption = _("%(alt)s. Evaluable participants of all sites, in the order of their day 0. %(as_of)s") % {
        "alt": alt[:1].upper() + alt[1:],
        "as_of": as_of_words(as_of),
    }
    svg = render(spec, name=name, title=_("Stages of the design"), description=alt)
    return Figure(svg, stage_gate.table(result, links), caption, alt, spec)


def flow_figure(flow: consort.Flow, listing: str, *, as_of: datetime, at_site: str = "", name: str = "flow") -> Figure:
    """The trial profile: every count leads to the listing of those it counts (``at_site`` narrows its query)."""
    listing = f"{listing}?{at_site}"
    alt = "; ".join(f"{step.label} {step.count}" for step in flow.steps)
    drawn = consort.layout(flow)
    svg = render_to_string("analysis/consort.svg", {"layout": drawn, "listing": listing, "name": name, "alt": alt})
    caption = _("Trial profile after CONSORT. Each number leads to the participants it counts. %(as_of)s") % {
        "as_of": as_of_words(as_of)
    }
    return Figure(svg.strip(), consort.table(flow, listing), caption, alt)


# --- Numbers in words ---------------------------------------------------------------------------------------------


def proportion_words(count: int, n: int, interval: Interval) -> str:
    """A proportion with its exact interval, as the headline prints it."""
    return _("%(share)s, 95 %% CI %(lower).0f to %(upper).0f (Clopper-Pearson)") % {
        "share": percent(count / n),
        "lower": 100 * interval.lower,
        "upper": 100 * interval.upper,
    }


def design_based_words(inference: Inference, responders: int, n: int, *, is_final: bool) -> str:
    """The estimate that respects the stages of the design, by its name."""
    estimate = _(
        "Design-based estimate (UMVUE) %(estimate)s, 95 %% CI %(lower).0f to %(upper).0f (stage-wise exact), "
        "one-sided p %(p)s, on %(responders)d of %(n)d"
    ) % {
        "estimate": percent(inference.umvue, 1),
        "lower": 100 * inference.lower,
        "upper": 100 * inference.upper,
        "p": f"{inference.p_value:.4f}" if inference.p_value >= 0.0001 else "< 0.0001",
        "responders": responders,
        "n": n,
    }
    return estimate + ("." if is_final else _(", were the trial to end with them."))


def rule_words(rule: Rule, unit: str) -> str:
    """The rule of the endpoint as a sentence, with its parameters."""
    sign = {">=": _("at least"), ">": _("above")}[rule.operator]
    first = "" if rule.first_last_day == rule.confirm_last_day else _(", the first by day %d") % rule.first_last_day
    return _(
        "%(n)d measurements in a row %(sign)s %(threshold)s %(unit)s by day %(last)d%(first)s; "
        "the event is dated by the %(which)s of them"
    ) % {
        "n": rule.consecutive,
        "sign": sign,
        "threshold": f"{rule.threshold.normalize():f}",
        "unit": unit.replace("10^9", "× 10⁹"),
        "last": rule.confirm_last_day,
        "first": first,
        "which": _("last") if rule.event_day == "confirm" else _("first"),
    }


def parameter_words(endpoint: EndpointSpec) -> str:
    """The method and its parameters, one after the other, as the definition has them."""
    named = ", ".join(
        f"{name.replace('_', ' ')} {_said(value)}"
        for name, value in endpoint.parameters.items()
        if not isinstance(value, Mapping)
    )
    return f"{endpoint.method.replace('_', ' ')}; {named}" if named else endpoint.method.replace("_", " ")


def _said(value: Free) -> str:
    if isinstance(value, tuple | list):
        return " and ".join(str(one).replace("_", " ") for one in value)
    return {True: _("yes"), False: _("no")}.get(value, str(value)) if isinstance(value, bool) else str(value)


def evaluable_words(rule: Rule, competing: Sequence[str]) -> str:
    kinds = ", ".join(kind.replace("_", " ") for kind in competing)
    return _("no %(kinds)s before day %(day)d, and not removed for a major deviation; independent of the endpoint") % {
        "kinds": kinds,
        "day": rule.horizon_day,
    }


def pending_words(pending: int) -> str:
    if not pending:
        return ""
    return ngettext("%d endpoint pending", "%d endpoints pending", pending) % pending
