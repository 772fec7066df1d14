"""The course of one participant: the page, and the page to print."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from analysis.formats.pictures import profile_figure
from analysis.reports import profile as report
from analysis.selectors import reads_independently
from analysis.views import TrialRequest
from trials.formats.documents import as_pdf
from trials.formats.figures import Figure
from trials.models import Participant
from trials.selectors import participant_for

#: How far the axis reaches, by the word in the address; None: to the last record.
REACHES: dict[str, int | None] = {"all": None, "100": 100, "365": 365}


def profile(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    """Everything recorded on one axis of days."""
    person = found_participant(request, participant)
    figure, nothing = _drawn(request, person)
    return render(
        request,
        "analysis/profile.html",
        {"participant": person, "figure": figure, "nothing": nothing, "reach": request.GET.get("to", "all")},
    )


def profile_pdf(request: TrialRequest, trial: str, participant: int) -> HttpResponse:
    """The same picture, to print."""
    person = found_participant(request, participant)
    figure, nothing = _drawn(request, person)
    title = _("Course of %(number)s") % {"number": person}
    document = report.as_document(figure, nothing, title, report.footer_of(person, timezone.now()))
    response = HttpResponse(as_pdf(document), content_type="application/pdf")
    response["Content-Disposition"] = f'attachment; filename="{trial}-{person}-profile.pdf"'
    return response


def found_participant(request: TrialRequest, participant: int) -> Participant:
    """The participant, where the membership sees them."""
    try:
        return participant_for(request.membership, participant)
    except Participant.DoesNotExist:
        raise Http404("No such participant at the sites that you see.") from None


def _drawn(request: TrialRequest, person: Participant) -> tuple[Figure | None, str]:
    """The figure, or the sentence why there is none."""
    if reads_independently(request.membership):
        return None, str(report.WITHHELD)
    reach = REACHES.get(request.GET.get("to", "all"))
    found = report.profile_of(request.membership, person, until_day=reach)
    if found is None:
        return None, str(report.NO_ANCHOR)
    if found.is_empty:
        return None, _("Nothing with a date is recorded here yet: no dose, result, event, form or visit.")
    return profile_figure(found, as_of=timezone.now()), ""
