"""The course of one participant on one axis of days: what was given, measured, found and reported (ux S17).

Read from what the member may see: doses and drug levels only where they would not tell a hidden group, forms and visits
of single groups neither. What a lane or a track is found by is the definition: its analytes, its dated logs, and the
organ stages of acute GVHD; never the name of a trial.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adverse_events import selectors as adverse_events
from analysis.domain import acute_gvhd
from analysis.domain.figures.profile import Lane, Mark, Profile, Spot, Track, profile
from analysis.selectors import origin_of, reads_independently
from casebook import selectors as casebook
from casebook.domain.clinical_events import EventKind
from casebook.domain.places import KEPT_ELSEWHERE
from dosing.permissions import may_see_doses
from dosing.selectors import records as dosing
from trials.domain.definition import Form, Item
from trials.domain.documents import Document, Notice, Picture
from trials.domain.partial_dates import PartialDate
from trials.domain.schedule import study_day
from trials.formats.figures import Figure
from trials.models import Membership, Participant
from trials.selectors import may_see_group

#: The counts that are drawn, where the definition has them; viral loads and drug levels are all drawn.
COUNTS = ("LB.ANC", "LB.ALC", "LB.PLT", "LB.CD4")
VIRAL, LEVELS = "VL", "PC"
#: The items of an assessment of acute GVHD, in the order skin, liver, upper and lower gut.
STAGES = ("SKIN_STAGE", "LIVER_STAGE", "UPPER_GI_STAGE", "LOWER_GI_STAGE")
ENDS = ("STOP", "END")
_TONES = {EventKind.DEATH: "end", EventKind.LAST_CONTACT: "soft"}


def is_graded(form: Form) -> bool:
    """Whether a form holds the organ stages that acute GVHD is graded by."""
    return set(STAGES) <= {item.id for item in form.items}


class Course:
    """One participant's days, and the addresses of what was recorded."""

    def __init__(self, participant: Participant, anchor: date) -> None:
        self.participant, self.anchor = participant, anchor
        self.protocol = participant.protocol
        self.zone = ZoneInfo(participant.site.time_zone)

    def day(self, on: date) -> int:
        return study_day(on, self.anchor, self.protocol.anchor.first_day)

    def spanned(self, iso: str, until: str = "") -> tuple[int, int | None] | None:
        """The first day of a date, and the last day where it lasted or is known in part only."""
        if not iso:
            return None
        begun = PartialDate.from_iso(iso[:10])
        last = PartialDate.from_iso(until[:10]).latest if until else begun.latest
        return self.day(begun.earliest), self.day(last) if last > begun.earliest else None

    def url(self, name: str, **more: object) -> str:
        code = self.participant.trial.code
        return reverse(name, kwargs={"trial": code, "participant": self.participant.pk, **more})

    def entry_url(self, entry: casebook.EntryRow) -> str:
        where = {"form": entry.form} | ({"visit": entry.visit_code} if entry.visit_code else {})
        page = self.url("casebook:visit_entry" if entry.visit_code else "casebook:entry", **where)
        return f"{page}?repeat={entry.repeat}" if entry.repeat > 1 else page


def profile_of(membership: Membership, participant: Participant, *, until_day: int | None = None) -> Profile | None:
    """The course of the participant as the membership may see it; None while the day of the anchor is not known.

    ``until_day`` cuts it; None: to the last day that anything was recorded of.
    """
    anchor = participant.anchor_date
    if anchor is None:
        return None
    course = Course(participant, anchor)
    sees_group = may_see_group(membership, participant.protocol)
    sees_doses = may_see_doses(membership, participant)
    tracks, lanes = logs(course, sees_group)
    if sees_doses:
        tracks = [*_doses(course), *tracks]
    tracks += list(_results(course, with_levels=sees_doses))
    lanes = [*_events(course), *lanes, _adverse(course, membership)]
    if sees_group or not any(visit.groups for visit in course.protocol.schedule):
        lanes.append(_visits(course))
    days = [mark.until or mark.day for lane in lanes for mark in lane.marks]
    days += [mark.day for lane in lanes for mark in lane.marks] + [spot.day for one in tracks for spot in one.spots]
    first = min([*days, course.protocol.anchor.first_day]) - 1
    last = max([*days, first + 1]) + 1
    if until_day is not None:
        last = max(min(last, until_day), first + 1)
    return profile(
        str(participant),
        origin=origin_of(course.protocol),
        lanes=tuple(lanes),
        tracks=tuple(tracks),
        first_day=first,
        last_day=last,
    )


WITHHELD = gettext_lazy("The course shows computed grades, which are hidden from independent readers.")
NO_ANCHOR = gettext_lazy("The day that the days count from is not recorded yet, so that nothing can stand on a day.")


def as_rows(membership: Membership, participant: Participant) -> dict[str, object]:
    """The course as data: its rows, or the sentence why there are none."""
    found = None if reads_independently(membership) else profile_of(membership, participant)
    why = "" if found else WITHHELD if reads_independently(membership) else NO_ANCHOR
    return {
        "number": str(participant),
        "origin": origin_of(participant.protocol),
        "withheld": str(why),
        "marks": rows_of(found) if found else [],
    }


def rows_of(found: Profile) -> list[dict[str, object]]:
    """Every mark and value of a course as a row, in the order of its day."""
    rows: list[dict[str, object]] = [
        {"track": lane.label, "unit": "", "day": mark.day, "until": mark.until, "value": None, "words": mark.words,
         "url": mark.url}
        for lane in found.lanes
        for mark in lane.marks
    ]  # fmt: skip
    rows += [
        {"track": track.label, "unit": track.unit, "day": spot.day, "until": None, "value": spot.value,
         "words": spot.words, "url": spot.url}
        for track in found.tracks
        for spot in track.spots
    ]  # fmt: skip
    return sorted(rows, key=_place)


def _place(row: Mapping[str, object]) -> tuple[int, str]:
    day = row["day"]
    assert isinstance(day, int)
    return day, str(row["track"])


def as_document(figure: Figure | None, nothing: str, title: str, footer: str) -> Document:
    """The picture on a page to print, or the sentence why there is none; its table stays in the page on the screen."""
    block = Picture(figure.svg, figure.alt, figure.caption, name="profile") if figure else Notice(nothing)
    return Document(title=title, blocks=(block,), footer=footer)


def footer_of(participant: Participant, as_of: datetime) -> str:
    return f"{participant.trial.code} · {participant} · data as of {as_of:%d-%b-%Y %H:%M} UTC"


# --- What was given and measured ----------------------------------------------------------------------------------


def _doses(course: Course) -> list[Track]:
    url = course.url("dosing:panel")
    spots = []
    for one in dosing.administrations_of(course.participant).filter(is_void=False):
        day = course.day(one.started_at.astimezone(course.zone).date())
        spots.append(Spot(day, float(one.dose_mg), f"day {day}, {one.dose_mg.normalize():f} mg", url))
    return [Track(_("Doses given"), "mg", tuple(spots), is_dose=True)] if spots else []


def _results(course: Course, *, with_levels: bool) -> Iterator[Track]:
    analytes = {f"{one.form}.{one.id}": one for one in course.protocol.analytes}
    wanted = [one for one in COUNTS if one in analytes]
    wanted += [
        address for address, one in analytes.items() if one.form == VIRAL or (with_levels and one.form == LEVELS)
    ]
    found: dict[str, list[Spot]] = defaultdict(list)
    points = casebook.results_of_trial(course.participant.trial, participants=[course.participant.pk], addresses=wanted)
    for point in points:
        day = course.day(point.sampled_on)
        words = f"day {day}, {point.qualifier}{point.value.normalize():f} {point.unit}"
        url = course.url("casebook:result", result=point.result_id)
        found[point.address].append(Spot(day, float(point.value), words, url))
    for address in wanted:
        if found[address]:
            yield Track(analytes[address].label, analytes[address].canonical_unit, tuple(found[address]))


# --- What was found and reported ----------------------------------------------------------------------------------


def _events(course: Course) -> list[Lane]:
    marks: dict[str, list[Mark]] = defaultdict(list)
    for event in casebook.events_of_trial(course.participant.trial, participants=[course.participant.pk]):
        kind = EventKind(event.kind)
        when = course.spanned(event.occurred)
        assert when is not None, "an event has a date"
        known = PartialDate.from_iso(event.occurred)
        what = " ".join(filter(None, (kind.label, event.grade)))
        words = f"{what}, {_when(when)} ({known.display()})"
        gvhd = kind in (EventKind.ACUTE_GVHD, EventKind.CHRONIC_GVHD)
        lane = kind.label if gvhd else _("clinical events")
        tone = _TONES.get(kind, "warn" if gvhd or kind in (EventKind.RELAPSE, EventKind.GRAFT_FAILURE) else "plain")
        url = course.url("casebook:event", event=event.event_id)
        marks[lane].append(Mark(when[0], words, event.grade if gvhd else "", tone, when[1], url))
    return [Lane(name[:1].upper() + name[1:], tuple(found)) for name, found in sorted(marks.items())]


def logs(course: Course, sees_group: bool) -> tuple[list[Track], list[Lane]]:
    """The assessments of acute GVHD and the dated logs; a log of doses in numbers is a track."""
    forms = {form.id: form for form in course.protocol.forms if _is_drawn(course, form, sees_group)}
    marks: dict[str, list[Mark]] = defaultdict(list)
    spots: dict[str, list[Spot]] = defaultdict(list)
    entries = casebook.entries_of_trial(
        course.participant.trial, forms=list(forms), participants=[course.participant.pk]
    )
    for entry in entries:
        form = forms[entry.form]
        said = {name: str(answer["value"]) for name, answer in entry.answers.items() if answer.get("value", "") != ""}
        began = said.get(form.order_by or "DATE", "") or (entry.observed_on.isoformat() if entry.observed_on else "")
        when = course.spanned(began, next((said[end] for end in ENDS if end in said), ""))
        if when is None:
            continue
        url = course.entry_url(entry)
        if is_graded(form):
            words, text = graded(said)
            marks[_("Acute GVHD, stages")].append(Mark(when[0], f"{words}, {_when(when)}", text, "warn", url=url))
            continue
        dose, value = _dose_of(form), _number(said.get("DOSE", ""))
        if dose is not None and value is not None:
            words = f"{_when(when)}, {value:g} {dose.unit}"
            spots[form.id].append(Spot(when[0], value, words, url))
            continue
        label = _("Systemic steroids") if said.get("SYSTEMIC_STEROID") == "Y" else form.label
        marks[label].append(Mark(when[0], f"{_in_words(form, said)}, {_when(when)}", "", "plain", when[1], url))
    tracks = []
    for name, found in spots.items():
        dose = _dose_of(forms[name])
        tracks.append(Track(forms[name].label, dose.unit if dose else "", tuple(found), is_dose=True))
    return tracks, [Lane(name, tuple(found)) for name, found in marks.items()]


def _is_drawn(course: Course, form: Form, sees_group: bool) -> bool:
    if form.id in KEPT_ELSEWHERE or (form.groups and not sees_group):
        return False
    return is_graded(form) or (form.repeating and bool(form.order_by))


def _dose_of(form: Form) -> Item | None:
    return next((item for item in form.items if item.id == "DOSE" and item.unit), None)


def _number(text: str) -> float | None:
    try:
        return float(Decimal(text))
    except InvalidOperation:
        return None


def graded(said: Mapping[str, str]) -> tuple[str, str]:
    """The stages and the MAGIC grade in words; an organ that was not staged leaves limits, never 0."""
    staged = [int(said[name]) if said.get(name, "").isdigit() else None for name in STAGES]
    limits = acute_gvhd.grade(acute_gvhd.SYSTEMS["magic"], acute_gvhd.OrganStages.of(*staged)).limits
    low, high = acute_gvhd.GRADE_NAMES[limits.low], acute_gvhd.GRADE_NAMES[limits.high]
    text = low if limits.is_known else f"{low}-{high}"
    organs = zip(("skin", "liver", "upper gut", "lower gut"), staged, strict=True)
    stages = ", ".join(f"{organ} {'not known' if stage is None else stage}" for organ, stage in organs)
    return f"{stages}; MAGIC grade {text}", text


def _in_words(form: Form, said: Mapping[str, str]) -> str:
    """The coded and short answers of a row, dates apart: they are on the axis."""
    words = []
    for item in form.items:
        value = said.get(item.id, "")
        if not value or item.identifying or item.id in (form.order_by, *ENDS) or value in ("Y", "N", "U"):
            continue
        words.append(next((code.label for code in item.codes if code.value == value), value))
    return ", ".join(words[:4]) or form.label


def _when(when: tuple[int, int | None]) -> str:
    return f"day {when[0]}" if when[1] is None else f"day {when[0]} to {when[1]}"


def _adverse(course: Course, membership: Membership) -> Lane:
    rows = adverse_events.adverse_events(membership).filter(participant=course.participant, is_void=False)
    marks = []
    for row in rows:
        when = course.spanned(row.started, row.ended)
        if when is None:
            continue
        words = f"{row.term}, grade {row.grade}, {_when(when)}"
        if row.is_serious:
            words += ", serious"
        url = reverse("adverse_events:event", kwargs={"trial": course.participant.trial.code, "event": row.pk})
        tone = "warn" if row.is_serious else "plain"
        marks.append(Mark(when[0], words, str(row.grade), tone, when[1], url))
    return Lane(_("Adverse events"), tuple(sorted(marks, key=lambda mark: mark.day)))


def _visits(course: Course) -> Lane:
    url = course.url("trials:participant")
    visits = course.participant.visits.all()
    days = [(course.day(visit.done_on), visit.label) for visit in visits if visit.done_on is not None]
    return Lane(_("Visits"), tuple(Mark(day, f"{label}, day {day}", "", "soft", url=url) for day, label in days))
