"""The timeline of a monitored target: its picture, its table, and the same in a sentence."""

from __future__ import annotations

from dosing.domain.monitoring import MARKS, picture, range_words
from dosing.domain.worksheet import moment_words
from dosing.selectors import Monitored
from trials.domain.figures import Table
from trials.formats.figures import Figure, render


def timeline(of: Monitored) -> Figure | None:
    """The figure of one target; None where no result can be drawn beside it."""
    drawn = [one for one in of.classed if one.place in MARKS and one.level.day is not None]
    if not drawn:
        return None
    target = of.target
    caption = f"{of.label} by study day; the band is the target, {range_words(target)}, both ends inside."
    alt = f"{of.label}: {of.inside} of {of.compared} results lie in {range_words(target)}."
    rows = tuple(
        (
            "" if one.level.day is None else str(one.level.day),
            moment_words(one.level.taken_at) if one.level.taken_at else "",
            one.level.words(),
            one.level.assay,
            str(one.place),
        )
        for one in of.classed
    )
    svg = render(picture(target, drawn), name=f"target-{target.id}", title=of.label, description=alt)
    return Figure(svg, Table(("Study day", "Taken", "Result", "Laboratory", "Target"), rows), caption, alt)
