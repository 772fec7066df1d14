"""Results as pictures: each with the number of people, the method and the moment of the data in its caption."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from analysis.domain.figures import accrual, boxes, profile, survival, swimmer, transitions, waterfall
from trials.formats.figures import Figure, as_of_words, render


def course_links(participants: Iterable[int], trial: str) -> dict[int, str]:
    """The courses of participants whom the reader may see: where the marks of people lead."""
    return {pk: reverse("analysis:profile", kwargs={"trial": trial, "participant": pk}) for pk in participants}


def survival_figure(result: survival.Survival, *, set_label: str = "", as_of: date, name: str = "survival") -> Figure:
    """Kaplan-Meier curves with their bands, the losses and the numbers at risk."""
    alt = "; ".join(f"{group.label}: {survival.in_words(result, group)}" for group in result.groups)
    people = ", ".join(f"{group.label} n = {group.n}" for group in result.groups)
    medians = "; ".join(f"{group.label}: {survival.median_words(result, group)}" for group in result.groups)
    caption = _("%(people)s%(set)s. %(alt)s. %(medians)s. Strokes: follow-up ends. %(method)s %(as_of)s") % {
        "people": people,
        "set": _(", set “%s”") % set_label if set_label else "",
        "alt": alt,
        "medians": medians,
        "method": survival.method(result),
        "as_of": as_of_words(as_of),
    }
    spec = survival.spec(result)
    return Figure(
        render(spec, name=name, title=result.label, description=alt), survival.table(result), caption, alt, spec
    )


def swimmer_figure(result: swimmer.Swimmer, links: Mapping[int, str], *, as_of: date, name: str = "swimmer") -> Figure:
    """One lane a participant; a lane leads to its participant."""
    shown, events = len(result.lanes), sum(len(lane.marks) for lane in result.lanes)
    alt = _("%(shown)d of %(of)d participants, %(events)d events") % {"shown": shown, "of": result.of, "events": events}
    caption = _(
        "%(alt)s; in the order of %(sort)s. A lane is as long as the follow-up; an arrow head: it goes on. A lane "
        "leads to its participant. %(as_of)s"
    ) % {"alt": alt, "sort": swimmer.SORTS[result.sort], "as_of": as_of_words(as_of)}
    spec = swimmer.spec(result, links)
    svg = render(spec, name=name, title=_("Follow-up and events"), description=alt)
    return Figure(svg, swimmer.table(result, links), caption, alt, spec)


def waterfall_figure(
    result: waterfall.Waterfall, links: Mapping[int, str], *, as_of: date, name: str = "waterfall"
) -> Figure:
    """The change of a value by participant, with the response."""
    alt = waterfall.in_words(result)
    caption = _(
        "%(alt)s. %(without)d without a value on day %(first)d or day %(last)d are not drawn. A bar leads to its "
        "participant. %(as_of)s"
    ) % {
        "alt": alt,
        "without": result.without_value,
        "first": result.from_day,
        "last": result.to_day,
        "as_of": as_of_words(as_of),
    }
    spec = waterfall.spec(result, links)
    svg = render(spec, name=name, title=_("Change of %s") % result.label, description=alt)
    return Figure(svg, waterfall.table(result, links), caption, alt, spec)


def transitions_figure(
    result: transitions.Transitions, *, set_label: str = "", as_of: date, name: str = "transitions"
) -> Figure:
    """How participants pass between the states of a response from day to day."""
    alt = transitions.in_words(result)
    caption = _("n = %(n)d%(set)s. %(alt)s; over everybody, the dead and those not assessed included. %(as_of)s") % {
        "n": result.n,
        "set": _(", set “%s”") % set_label if set_label else "",
        "alt": alt[:1].upper() + alt[1:],
        "as_of": as_of_words(as_of),
    }
    drawn = {"layout": transitions.layout(result), "name": name, "title": result.label, "alt": alt}
    svg = render_to_string("analysis/transitions.svg", drawn).strip()
    return Figure(svg, transitions.table(result), caption, alt)


def boxes_figure(result: boxes.Boxes, *, as_of: date, name: str = "boxes") -> Figure:
    """A value by day."""
    alt = "; ".join(boxes.in_words(result, box) for box in result.boxes)
    caption = _(
        "%(of)d participants; n under a box counts those with a value. Box: quartiles (type 7) and median; whiskers: "
        "the last values within 1.5 heights of the box; points: beyond them. %(as_of)s"
    ) % {"of": result.of, "as_of": as_of_words(as_of)}
    spec = boxes.spec(result)
    svg = render(spec, name=name, title=_("%(what)s by day") % {"what": result.label}, description=alt)
    return Figure(svg, boxes.table(result), caption, alt, spec)


def accrual_figure(result: accrual.Accrual, *, as_of: date, name: str = "accrual") -> Figure:
    """Enrolment so far against the number planned, in all and by site."""
    alt = accrual.in_words(result)
    plan = (
        _("The plan: %(n)d between %(first)s and %(last)s.")
        % {"n": result.planned, "first": f"{result.plan_from:%d-%b-%Y}", "last": f"{result.plan_until:%d-%b-%Y}"}
        if result.planned is not None and result.plan_from and result.plan_until
        else ""
    )
    caption = " ".join(part for part in (f"{alt}.", plan, as_of_words(as_of)) if part)
    spec = accrual.spec(result)
    svg = render(spec, name=name, title=_("Enrolment against the plan"), description=alt)
    return Figure(svg, accrual.table(result), caption, alt, spec)


def profile_figure(result: profile.Profile, *, as_of: date, name: str = "profile") -> Figure:
    """One participant on one axis of days; a mark leads to the form it was recorded on."""
    alt = profile.in_words(result)
    caption = _(
        "%(number)s, day %(first)d to %(last)d after %(origin)s. %(alt)s. A mark leads to its form. %(as_of)s"
    ) % {
        "number": result.number,
        "first": result.first_day,
        "last": result.last_day,
        "origin": result.origin,
        "alt": alt,
        "as_of": as_of_words(as_of),
    }
    spec = profile.spec(result)
    svg = render(spec, name=name, title=_("Course of %s") % result.number, description=alt)
    return Figure(svg, profile.table(result), caption, alt, spec)
