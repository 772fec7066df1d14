"""The figures of a proposal from levels, from what was stored with it."""

from __future__ import annotations

from django.utils.translation import gettext as _

from dosing.domain.figures import pk_curve, proposed
from dosing.models import DoseWorksheet
from dosing.selectors import dosing_of, proposed_course
from trials.formats.figures import Figure, render


def stored_proposal(worksheet: DoseWorksheet | None) -> proposed.Proposed | None:
    """The bar; None where nothing is proposed, or the algorithm predicts no exposure in total."""
    one = ((worksheet.result.get("guided") or {}) if worksheet is not None else {}).get("proposal")
    if worksheet is None or not one or not one.get("steps") or one["target"]["window"] != "total":
        return None
    steps, to_date = one["steps"], one["to_date"]
    parts = [
        proposed.Part("given doses, until the next infusion", to_date),
        proposed.Part("given doses, still to come", steps[0] - to_date),
    ]
    days = worksheet.inputs["guide"]["open_days"]
    for day, before, after in zip(days, steps, steps[1:], strict=False):
        parts.append(proposed.Part(f"dose of day {day}, {one['mg_each']} mg", after - before))
    return proposed.Proposed(
        parts=tuple(parts),
        low=float(one["target"]["low"]),
        high=float(one["target"]["high"]),
        interval=(one["interval"][0], one["interval"][1]),
        unit=one["target"]["unit"],
    )


def proposal_figure(worksheet: DoseWorksheet | None) -> Figure | None:
    """The bar with its words and its table."""
    of = stored_proposal(worksheet)
    if of is None:
        return None
    alt = "; ".join(f"{part.label}: {part.value:.1f}" for part in of.parts)
    caption = _(
        "%(parts)s. In total %(total).1f %(unit)s, %(verdict)s (%(low)g to %(high)g, the band). The line below is the "
        "90 %% interval. Each open dose is counted after those before it."
    ) % {
        "parts": alt[:1].upper() + alt[1:],
        "total": of.total,
        "unit": of.unit,
        "verdict": of.verdict,
        "low": of.low,
        "high": of.high,
    }
    spec = proposed.spec(of)
    svg = render(spec, name="proposal", title=_("Exposure with the proposed dose"), description=alt)
    return Figure(svg, proposed.table(of), caption, alt, spec)


def proposed_curve_figure(worksheet: DoseWorksheet) -> Figure | None:
    """Concentration over time at the proposed dose, with the infusions and the levels that it rests on."""
    course, spec = proposed_course(worksheet), dosing_of(worksheet.participant)
    if course is None or spec is None:
        return None
    curve = pk_curve.PkCurve(
        drug=spec.product,
        unit=course.unit,
        area_unit=course.area_unit,
        days=course.days,
        central=course.central,
        low=(),
        high=(),
        doses=course.doses,
        samples=course.samples,
        areas=course.areas,
        level=0.90,
        notice=course.set_status,
    )
    alt = "; ".join(pk_curve.area_words(curve, area) for area in curve.areas)
    at = _("at its recorded time") if course.graft_has_time else _("taken as 12:00, its time is not recorded")
    caption = _(
        "%(alt)s. Bars: infusions, filled where given, dashed where proposed. Hatched: before the graft (%(at)s); "
        "solid: after it. Dots: the levels. Model %(name)s (%(status)s)."
    ) % {
        "alt": alt[:1].upper() + alt[1:],
        "at": at,
        "name": course.set_name,
        "status": course.set_status,
    }
    svg = render(
        pk_curve.spec(curve), name="proposed-curve", title=_("Concentration with the proposed dose"), description=alt
    )
    return Figure(svg, pk_curve.table(curve, every_days=7), caption, alt, pk_curve.spec(curve))
