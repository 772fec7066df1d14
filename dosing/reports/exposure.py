"""The exposure of a participant as its page shows it: the figure, its table, and the same in a sentence."""

from __future__ import annotations

from django.utils.translation import gettext as _

from dosing.domain.figures import pk_curve
from dosing.selectors import ParticipantExposure
from trials.formats.figures import Figure, render


def curve_figure(found: ParticipantExposure, *, name: str = "pk-curve") -> Figure | None:
    """The figure; None where there is no prediction."""
    predicted, parameters = found.predicted, found.parameters
    if predicted is None or parameters is None:
        return None
    targets: dict[str, tuple[float | None, float | None]] = {}
    for line in found.targets:
        if not line.why_not:
            low, high = line.target.low, line.target.high
            targets[line.target.window] = (
                float(low) if low is not None else None,
                float(high) if high is not None else None,
            )
    curve = pk_curve.PkCurve(
        drug=found.drug,
        unit=parameters.level_unit,
        area_unit=parameters.area_unit,
        days=tuple(predicted.times_day.tolist()),
        central=tuple(predicted.concentration.tolist()),
        low=tuple(predicted.concentration_low.tolist()),
        high=tuple(predicted.concentration_high.tolist()),
        doses=found.doses,
        samples=found.levels.samples,
        areas=tuple(
            pk_curve.Area(window, part.value, part.low, part.high, targets.get(window))
            for window, part in (("pre", predicted.pre), ("post", predicted.post), ("total", predicted.total))
        ),
        level=predicted.level,
        notice=parameters.model.status,
    )
    alt = "; ".join(pk_curve.area_words(curve, area) for area in curve.areas)
    caption = _(
        "%(alt)s. Bars: infusions, filled where given, dashed where planned. Hatched: before the graft; solid: after "
        "it; dashed lines: the interval, the %(basis)s. Model %(id)s (%(status)s); %(draws)d draws, seed %(seed)d. "
        "%(planned)s"
    ) % {
        "alt": alt[:1].upper() + alt[1:],
        "id": parameters.id,
        "status": parameters.model.status,
        "basis": predicted.basis,
        "draws": predicted.draws,
        "seed": predicted.seed,
        "planned": found.planned_words,
    }
    if found.levels.samples:
        caption += " " + _("Dots and triangles: measured levels; a triangle stands at the limit of quantification.")
    title = _("Predicted concentration of %(drug)s") % {"drug": found.drug}
    spec = pk_curve.spec(curve)
    svg = render(spec, name=name, title=title, description=alt)
    return Figure(svg, pk_curve.table(curve), caption, alt, spec)
