"""One participant on one axis of days: what was given, measured, found and reported, one track below the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trials.domain.figures import (
    BLUE,
    GREY,
    INK,
    LINK_HOST,
    ORANGE,
    PALE,
    Cell,
    Spec,
    Table,
    framed,
    inline,
    unit_words,
)

WIDTH, LANE, TRACK = 760, 24, 74
LABELS = 150
#: How a lane's marks look: colour and shape. In grey print the shape and the name of the lane tell.
TONES = {
    "plain": (BLUE, "circle"),
    "warn": (ORANGE, "diamond"),
    "end": (INK, "cross"),
    "soft": (GREY, "square"),
}


@dataclass(frozen=True)
class Mark:
    """One thing on its day; ``until`` where it lasted. ``text`` stands beside it (a grade), ``words`` say it all.

    ``url`` leads to the form it was recorded on.
    """

    day: int
    words: str
    text: str = ""
    tone: str = "plain"
    until: int | None = None
    url: str = ""


@dataclass(frozen=True)
class Lane:
    """One kind of thing."""

    label: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Spot:
    """One value on its day."""

    day: int
    value: float
    words: str
    url: str = ""


@dataclass(frozen=True)
class Track:
    """The values of one item: joined by a line, or (``is_dose``) a bar each from nought. ``highest`` ends the axis."""

    label: str
    unit: str
    spots: tuple[Spot, ...]
    is_dose: bool = False
    highest: int | None = None

    @property
    def is_logarithmic(self) -> bool:
        """Values that span two decades and more are read on a logarithmic axis."""
        values = [spot.value for spot in self.spots]
        return not self.is_dose and min(values) > 0 and max(values) >= 100 * min(values)


@dataclass(frozen=True)
class Profile:
    """Everything of one participant between ``first_day`` and ``last_day``; days count from ``origin``."""

    number: str
    origin: str
    first_day: int
    last_day: int
    lanes: tuple[Lane, ...]
    tracks: tuple[Track, ...]

    @property
    def is_empty(self) -> bool:
        return not any(lane.marks for lane in self.lanes) and not self.tracks


def profile(
    number: str, *, origin: str, lanes: tuple[Lane, ...], tracks: tuple[Track, ...], first_day: int, last_day: int
) -> Profile:
    """The lanes and tracks that have something between the two days, cut to them.

    Raises ValueError where the last day is not after the first, and for a tone that there is not.
    """
    if last_day <= first_day:
        raise ValueError(f"last_day is {last_day}, not after first_day, {first_day}")
    for lane in lanes:
        for mark in lane.marks:
            if mark.tone not in TONES:
                raise ValueError(f"tone of “{mark.words}” is {mark.tone!r}; known are {', '.join(TONES)}")

    def seen(day: int, until: int | None = None) -> bool:
        return day <= last_day and (until if until is not None else day) >= first_day

    kept = tuple(Lane(lane.label, tuple(mark for mark in lane.marks if seen(mark.day, mark.until))) for lane in lanes)
    measured = tuple(replace(one, spots=tuple(spot for spot in one.spots if seen(spot.day))) for one in tracks)
    return Profile(
        number,
        origin,
        first_day,
        last_day,
        tuple(lane for lane in kept if lane.marks),
        tuple(one for one in measured if one.spots),
    )


def spec(result: Profile) -> Spec:
    """The lanes of what happened over the tracks of what was measured; the axis of days is one."""
    x = {
        "type": "quantitative",
        "scale": {"domain": [result.first_day, result.last_day], "nice": False},
    }
    parts = [_lanes(result, x)] if result.lanes else []
    parts += [_track(one, x, place) for place, one in enumerate(result.tracks)]
    for part in parts[:-1]:
        _axis(part, {"labels": False, "ticks": False, "title": None, "gridColor": PALE, "tickCount": 8})
    if parts:
        title = f"Day after {result.origin}"
        _axis(parts[-1], {"title": title, "gridColor": PALE, "tickCount": 8})
    return framed(vconcat=parts, spacing=10, resolve={"scale": {"x": "shared"}})


def _axis(part: Spec, axis: Spec) -> None:
    part["layer"][0]["encoding"]["x"]["axis"] = axis


def _zero(x: Spec) -> Spec:
    """The line of the anchor."""
    return {
        "data": inline([{"day": 0}]),
        "mark": {"type": "rule", "color": GREY, "strokeDash": [2, 3], "aria": False},
        "encoding": {"x": {**x, "field": "day"}},
    }


def _href(rows: list[dict[str, object]]) -> list[tuple[bool, list[dict[str, object]]]]:
    """Rows with an address, and those without: the converter gives an address to every mark of a layer with links."""
    parts = [(linked, [row for row in rows if ("href" in row) is linked]) for linked in (True, False)]
    return [(linked, part) for linked, part in parts if part]


def _described(linked: bool) -> Spec:
    said: Spec = {"description": {"field": "words", "type": "nominal"}}
    return {**said, "href": {"field": "href", "type": "nominal"}} if linked else said


def _lanes(result: Profile, x: Spec) -> Spec:
    y = {
        "field": "lane",
        "type": "nominal",
        "sort": [lane.label for lane in result.lanes],
        "axis": {"title": None, "domain": False, "ticks": False, "labelPadding": 8, "labelLimit": LABELS},
    }
    rows = []
    for lane in result.lanes:
        for mark in lane.marks:
            row: dict[str, object] = {
                "lane": lane.label,
                "day": max(mark.day, result.first_day),
                "until": mark.day if mark.until is None else min(mark.until, result.last_day),
                "is_span": mark.until is not None,
                "text": mark.text,
                "tone": mark.tone,
                "words": f"{lane.label}: {mark.words}",
            }
            if mark.url:
                row["href"] = LINK_HOST + mark.url
            rows.append(row)
    colour = {"domain": list(TONES), "range": [tone for tone, _ in TONES.values()]}
    shape = {"domain": list(TONES), "range": [form for _, form in TONES.values()]}
    layers: list[Spec] = [_zero(x)]
    spans = [row for row in rows if row["is_span"]]
    for linked, part in _href(spans):
        layers.append(
            {
                "name": "spans" if linked else "spans_unlinked",
                "data": inline(part),
                "mark": {"type": "bar", "height": 10, "opacity": 0.45},
                "encoding": {
                    "x": {**x, "field": "day"},
                    "x2": {"field": "until"},
                    "y": y,
                    "color": {"field": "tone", "type": "nominal", "scale": colour, "legend": None},
                    **_described(linked),
                },
            }
        )
    for linked, part in _href(rows):
        layers.append(
            {
                "name": "marks" if linked else "marks_unlinked",
                "data": inline(part),
                "mark": {"type": "point", "filled": True, "size": 75, "opacity": 1},
                "encoding": {
                    "x": {**x, "field": "day"},
                    "y": y,
                    "color": {"field": "tone", "type": "nominal", "scale": colour, "legend": None},
                    "shape": {"field": "tone", "type": "nominal", "scale": shape, "legend": None},
                    **_described(linked),
                },
            }
        )
    written = [row for row in rows if row["text"]]
    if written:
        layers.append(
            {
                "name": "words",
                "data": inline([{key: row[key] for key in ("lane", "day", "text")} for row in written]),
                "mark": {"type": "text", "align": "left", "dx": 7, "aria": False},
                "encoding": {"x": {**x, "field": "day"}, "y": y, "text": {"field": "text"}},
            }
        )
    return {"width": WIDTH, "height": LANE * len(result.lanes), "layer": layers}


def _track(track: Track, x: Spec, place: int) -> Spec:
    # Names are unique in a specification: two layers of one name would share their axis.
    title = f"{track.label} ({unit_words(track.unit)})" if track.unit else track.label
    rows = []
    for spot in track.spots:
        row: dict[str, object] = {"day": spot.day, "value": spot.value, "words": f"{track.label}: {spot.words}"}
        if spot.url:
            row["href"] = LINK_HOST + spot.url
        rows.append(row)
    scale: Spec = {"type": "log"} if track.is_logarithmic else {"zero": True}
    if track.highest is not None:
        scale = {"domain": [0, track.highest]}
    y = {
        "field": "value",
        "type": "quantitative",
        "scale": scale,
        "axis": {"title": None, "tickCount": 3, "format": "~r", "grid": False},
    }
    layers: list[Spec] = [_zero(x)]
    if not track.is_dose:
        layers.append(
            {
                "name": f"line_{place}",
                "data": inline([{key: row[key] for key in ("day", "value")} for row in rows]),
                "mark": {"type": "line", "color": BLUE, "strokeWidth": 1.25, "opacity": 0.7, "aria": False},
                "encoding": {"x": {**x, "field": "day"}, "y": y},
            }
        )
    mark: Spec = (
        {"type": "bar", "orient": "vertical", "size": 4, "color": BLUE}
        if track.is_dose
        else {"type": "point", "filled": True, "size": 36, "color": BLUE, "opacity": 1}
    )
    for linked, part in _href(rows):
        layers.append(
            {
                "name": f"spots_{place}" if linked else f"spots_{place}_unlinked",
                "data": inline(part),
                "mark": mark,
                "encoding": {"x": {**x, "field": "day"}, "y": y, **_described(linked)},
            }
        )
    heading = {"text": title, "anchor": "start", "frame": "group", "fontSize": 12, "fontWeight": "normal", "offset": 4}
    return {"width": WIDTH, "height": TRACK, "title": heading, "layer": layers}


def in_words(result: Profile) -> str:
    """How much of what is shown."""
    lanes = [f"{lane.label} {len(lane.marks)}" for lane in result.lanes]
    tracks = [f"{one.label} {len(one.spots)}" for one in result.tracks]
    return "; ".join([*lanes, *tracks]) or "nothing recorded"


def table(result: Profile) -> Table:
    """Everything in the order of its day."""
    rows: list[tuple[int, str, Cell]] = []
    for lane in result.lanes:
        for mark in lane.marks:
            day = mark.day if mark.until is None or mark.until == mark.day else f"{mark.day} to {mark.until}"
            rows.append((mark.day, str(day), Cell(f"{lane.label}: {mark.words}", mark.url)))
    for track in result.tracks:
        rows += [(spot.day, str(spot.day), Cell(f"{track.label}: {spot.words}", spot.url)) for spot in track.spots]
    rows.sort(key=lambda row: (row[0], row[2].text))
    return Table(("Day", "What"), tuple((day, cell) for _, day, cell in rows))
