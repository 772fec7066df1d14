"""The rows of numbers that stand below a curve, each under its time."""

from __future__ import annotations

from collections.abc import Sequence

from trials.domain.figures import Spec, inline

WIDTH, HEIGHT, ROW_HEIGHT = 860, 290, 18
LABEL_WIDTH = 165


def numbers(rows: Sequence[dict[str, object]], labels: Sequence[str], x: Spec, *, title: str, field: str) -> Spec:
    """One line of text a group of ``labels``: the counts ``field`` of ``rows`` at the places of the axis ``x``.

    A row has ``group``, the field that ``x`` reads, and ``field``.
    """
    return {
        "width": WIDTH,
        "height": ROW_HEIGHT * len(labels),
        "title": {"text": title, "anchor": "start", "frame": "group", "fontSize": 12, "dx": -LABEL_WIDTH, "offset": 3},
        "data": inline(rows),
        "mark": {"type": "text", "aria": False},
        "encoding": {
            "x": {**x, "axis": None},
            "y": {
                "field": "group",
                "type": "nominal",
                "sort": list(labels),
                "axis": {
                    "title": None,
                    "labelAlign": "left",
                    "labelPadding": LABEL_WIDTH,
                    "labelLimit": LABEL_WIDTH - 25,
                    "domain": False,
                    "ticks": False,
                },
            },
            "text": {"field": field, "type": "quantitative"},
        },
    }
