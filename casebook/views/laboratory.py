"""The grid of laboratory results, one result with its history, and files of results."""

from __future__ import annotations

import csv

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from casebook import actions, forms, selectors
from casebook.domain.answers import Problem
from casebook.domain.lab_files import COLUMNS, MAX_ROWS, REQUIRED, too_large
from casebook.domain.results import Written
from casebook.formats import entered_moment, plan_of
from casebook.permissions import Conflict, check_can_import_labs, check_can_record, may_import, may_record
from casebook.views.pages import TrialRequest, address, member_page, participant_of, problems_of, revision_of, show
from trials.domain.partial_dates import DateEntryError
from trials.models import Participant
from trials.permissions import NotPossible

ROWS_SHOWN = 200


@member_page
def labs(request: TrialRequest, participant: int) -> HttpResponse:
    """The last four draws and a new column."""
    subject = participant_of(request, participant)
    if request.method != "POST":
        return _grid(request, subject)
    check_can_record(request.membership, subject)
    posted = request.POST.dict()
    typed = {name[6:]: str(text).strip() for name, text in posted.items() if name.startswith("value:")}
    units = {name[5:]: str(text) for name, text in posted.items() if name.startswith("unit:")}
    lloqs = {name[5:]: str(text).strip() for name, text in posted.items() if name.startswith("lloq:")}
    values = {
        name: Written(typed.get(name, ""), units.get(name, ""), lloq=lloqs.get(name, ""))
        for name in typed
        if typed[name] or lloqs.get(name)
    }
    kept = {"typed": typed, "units": units, "lloqs": lloqs}
    try:
        sampled_at = entered_moment(subject, request.POST.get("sampled_at", ""))
        draw = actions.record_draw(
            participant=subject,
            sampled_at=sampled_at,
            values=values,
            laboratory=request.POST.get("laboratory", ""),
            by=request.membership,
        )
    except DateEntryError as error:
        problems = [Problem("sampled_at", str(error))]
        return _grid(request, subject, **kept, problems=problems, status=422)
    except ValidationError as refused:
        return _grid(request, subject, **kept, problems=problems_of(refused), status=422)
    except NotPossible as refused:
        problems = [Problem("", str(refused))]
        return _grid(request, subject, **kept, problems=problems, status=409)
    messages.success(
        request,
        _("%(n)s results of %(day)s are saved.") % {"n": len(values), "day": draw.sampled_on.strftime("%d-%b-%Y")},
    )
    for sentence in selectors.questions_on(draw):
        messages.warning(request, sentence)
    return redirect(request.get_full_path())


@member_page
def result(request: TrialRequest, participant: int, result: int) -> HttpResponse:
    """One result: what it was, and its correction with a reason."""
    subject = participant_of(request, participant)
    found = selectors.result_for(request.membership, result)
    if found.draw.participant_id != subject.pk:
        raise Http404("No such result of this participant.")
    status, problems = 200, []
    if request.method == "POST":
        try:
            actions.correct_result(
                result=found,
                text=request.POST.get("value", ""),
                unit=request.POST.get("unit", ""),
                lloq=request.POST.get("lloq"),
                reason=request.POST.get("reason", ""),
                revision=revision_of(request),
                by=request.membership,
            )
        except ValidationError as refused:
            status, problems = 422, problems_of(refused)
        except NotPossible as refused:
            status, problems = 409, [Problem("", str(refused))]
        else:
            messages.success(request, _("The result is corrected; what it was stays in its history."))
            return redirect(address("labs", subject))
    analyte = subject.protocol.analyte(found.analyte)
    return show(
        request,
        "casebook/result.html",
        subject,
        result=found,
        analyte=analyte,
        units=tuple(
            dict.fromkeys(
                (found.unit_as_written or analyte.canonical_unit, analyte.canonical_unit, *analyte.accepted_units)
            )
        ),
        rows=selectors.result_history(found),
        problems=[one.sentence for one in problems],
        typed=request.POST,
        can_type=may_record(request.membership, subject),
        status=status,
    )


@member_page
def lab_imports(request: TrialRequest) -> HttpResponse:
    """The files uploaded so far, and the upload of another, which ends in its dry run."""
    status, problems = 200, []
    if request.method == "POST":
        check_can_import_labs(request.membership, request.membership.trial)
        file = request.FILES.get("file")
        sentence = _("Choose a file.") if file is None else too_large(file.size or 0)
        if sentence:
            status, problems = 422, [sentence]
        elif file is not None:
            try:
                found = actions.check_lab_file(
                    content=file.read(),
                    file_name=file.name or "",
                    laboratory=request.POST.get("laboratory", ""),
                    by=request.membership,
                )
            except ValidationError as refused:
                status, problems = 422, [one.sentence for one in problems_of(refused)]
            else:
                return redirect("casebook:lab_import", trial=request.membership.trial.code, lab_import=found.pk)
    return render(
        request,
        "casebook/lab_imports.html",
        {
            "page": Paginator(selectors.lab_imports(request.membership), 50).get_page(request.GET.get("page")),
            "problems": problems,
            "laboratory": request.POST.get("laboratory", ""),
            "may_import": may_import(request.membership),
            "required": REQUIRED,
            "optional": [name for name in COLUMNS if name not in REQUIRED],
            "max_rows": MAX_ROWS,
        },
        status=status,
    )


@member_page
def lab_import(request: TrialRequest, lab_import: int) -> HttpResponse:
    """The dry run of a file: new, changed, the same, rejected; and its confirmation."""
    found = selectors.lab_import_for(request.membership, lab_import)
    status, problems = 200, []
    if request.method == "POST":
        try:
            if request.POST.get("action") == "discard":
                actions.discard_lab_import(lab_import=found, by=request.membership)
            else:
                actions.write_lab_import(
                    lab_import=found,
                    shown=request.POST.get("shown", ""),
                    reason=request.POST.get("reason", ""),
                    by=request.membership,
                )
        except ValidationError as refused:
            status, problems = 422, [one.sentence for one in problems_of(refused)]
        except Conflict as conflict:
            status, problems = 409, [str(conflict)]
        except NotPossible as refused:
            status, problems = 409, [str(refused)]
        else:
            return redirect(request.path)
    plan = None
    if found.state == found.State.CHECKED:
        plan = plan_of(bytes(found.content), laboratory=found.laboratory, membership=request.membership)
    return render(
        request,
        "casebook/lab_import.html",
        {
            "lab_import": found,
            "plan": plan,
            "new_rows": plan.new[:ROWS_SHOWN] if plan else (),
            "changed_rows": plan.changed[:ROWS_SHOWN] if plan else (),
            "rejections": plan.rejections[:ROWS_SHOWN] if plan else (),
            "questions": plan.questions[:ROWS_SHOWN] if plan else (),
            "rows_shown": ROWS_SHOWN,
            "problems": problems,
            "may_import": may_import(request.membership),
        },
        status=status,
    )


@member_page
def lab_template(request: TrialRequest) -> HttpResponse:
    """A laboratory file to fill in: every column, and two rows that show how results are written."""
    response = HttpResponse(selectors.lab_template(request.membership.trial), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="laboratory-template.csv"'
    return response


@member_page
def rejections(request: TrialRequest, lab_import: int) -> HttpResponse:
    """The rejected rows as CSV: row, column, reason."""
    found = selectors.lab_import_for(request.membership, lab_import)
    plan = plan_of(bytes(found.content), laboratory=found.laboratory, membership=request.membership)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="rejected-{found.pk}.csv"'
    writer = csv.writer(response)
    writer.writerow(["row", "column", "reason"])
    # A cell that begins like a formula would be run by a spreadsheet.
    writer.writerows([one.row, _plain(one.column), _plain(one.reason)] for one in plan.rejections)
    return response


def _plain(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t") else cell


def _grid(
    request: TrialRequest,
    subject: Participant,
    *,
    typed: dict[str, str] | None = None,
    units: dict[str, str] | None = None,
    lloqs: dict[str, str] | None = None,
    problems: list[Problem] | None = None,
    status: int = 200,
) -> HttpResponse:
    problems = problems or []
    grid = forms.lab_grid(
        subject, panel_id=request.GET.get("panel", ""), typed=typed, chosen_units=units, lloqs=lloqs, problems=problems
    )
    ids = {row.address: row.id for row in grid.rows} | {"sampled_at": "f-sampled_at", "laboratory": "f-laboratory"}
    return show(
        request,
        "casebook/labs.html",
        subject,
        grid=grid,
        problems=[(ids.get(one.item, ""), one.sentence) for one in problems],
        sampled_problem=next((one.sentence for one in problems if one.item == "sampled_at"), ""),
        sampled_at=request.POST.get("sampled_at", ""),
        laboratory=request.POST.get("laboratory", grid.draws[-1].laboratory if grid.draws else ""),
        laboratories=selectors.laboratories(request.membership),
        can_type=may_record(request.membership, subject),
        may_import=may_import(request.membership),
        imports_url=reverse("casebook:lab_imports", kwargs={"trial": subject.trial.code}),
        status=status,
    )
