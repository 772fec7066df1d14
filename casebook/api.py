"""The API of the casebook: draws with results, events, form entries, eligibility, laboratory files.

Each write calls one action. A create is safe to send again without a key of its own, because what it creates is known
by what it is: a draw by participant, moment, laboratory and specimen; an entry by its place and revision; an event by
everything it says; a file by its digest. The same request again answers what there is and writes nothing; the same
place with other content is 409. Refusals are sentences (``config.api`` translates): 400 with the field, 403, 404, 409.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db.models import QuerySet
from django.http import Http404
from django.urls import path
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import generics, parsers, serializers, status
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

import audit.context
from accounts.roles import Permission
from casebook import actions, selectors
from casebook.domain.clinical_events import EventKind
from casebook.domain.lab_files import too_large
from casebook.domain.results import Written
from casebook.formats import entered_moment, plan_of
from casebook.models import ClinicalEvent, FormEntry, LabDraw, LabImport, LabResult
from trials import selectors as trials
from trials.api import AssessmentSerializer, TrialView
from trials.domain.partial_dates import DateEntryError
from trials.models import EligibilityAssessment, Visit

# --- What goes out ------------------------------------------------------------------------------------------------


class ResultSerializer(serializers.ModelSerializer[LabResult]):
    """One result: as it was written, and in the canonical unit; numbers are texts, so that no digit is lost."""

    class Meta:
        model = LabResult
        fields = [
            "id",
            "analyte",
            "value_as_written",
            "unit_as_written",
            "qualifier",
            "value",
            "unit",
            "lower_limit",
            "upper_limit",
            "lloq",
            "lloq_as_written",
            "missing_reason",
            "revision",
        ]


class DrawSerializer(serializers.ModelSerializer[LabDraw]):
    results = ResultSerializer(many=True, read_only=True)
    visit: Any = serializers.SlugRelatedField(slug_field="code", read_only=True, allow_null=True)

    class Meta:
        model = LabDraw
        fields = ["id", "sampled_at", "sampled_on", "has_time", "laboratory", "specimen", "visit", "results"]


class EventSerializer(serializers.ModelSerializer[ClinicalEvent]):
    class Meta:
        model = ClinicalEvent
        fields = ["id", "kind", "occurred", "grade", "detail", "note", "is_void", "revision"]


class EntrySerializer(serializers.ModelSerializer[FormEntry]):
    visit: Any = serializers.SlugRelatedField(slug_field="code", read_only=True, allow_null=True)

    class Meta:
        model = FormEntry
        fields = ["id", "form", "visit", "repeat", "status", "observed_on", "revision", "answers", "changed_at"]


class ImportSerializer(serializers.ModelSerializer[LabImport]):
    shown = serializers.CharField(
        source="plan_sha256", read_only=True, help_text="Send it back to confirm what this dry run says."
    )

    class Meta:
        model = LabImport
        fields = ["id", "file_name", "sha256", "laboratory", "state", "report", "shown", "uploaded_at", "written_at"]


# --- What comes in ------------------------------------------------------------------------------------------------


class WrittenSerializer(serializers.Serializer[Any]):
    value = serializers.CharField(max_length=60, help_text="As the laboratory wrote it: 0.05, <0.01, or ND.")
    unit = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)
    lower_limit = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)
    upper_limit = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)
    lloq = serializers.CharField(
        max_length=40,
        required=False,
        default="",
        allow_blank=True,
        help_text="Lower limit of quantification of the assay, in the unit of the value.",
    )


class NewDrawSerializer(serializers.Serializer[Any]):
    sampled_at = serializers.CharField(
        max_length=40, help_text="In the site's time: 2025-03-24 08:30, or the day alone where only that is known."
    )
    laboratory = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)
    specimen = serializers.CharField(max_length=40, required=False, default="blood")
    results = serializers.DictField(child=WrittenSerializer(), help_text="Address of the analyte (LB.CD4) → result.")


class CorrectionSerializer(WrittenSerializer):
    lower_limit = serializers.CharField(max_length=40, required=False, allow_blank=True)
    upper_limit = serializers.CharField(max_length=40, required=False, allow_blank=True)
    lloq = serializers.CharField(
        max_length=40, required=False, allow_blank=True, help_text="Empty takes the limit away; left out, it stays."
    )
    revision = serializers.IntegerField(help_text="The version that was read.")
    reason = serializers.CharField(max_length=500)


class NewEventSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=[kind.value for kind in EventKind])
    occurred = serializers.CharField(max_length=40, help_text="2025-03-24, or in part: 2025-03, 2025.")
    grade = serializers.CharField(max_length=10, required=False, default="", allow_blank=True)
    detail = serializers.DictField(child=serializers.CharField(max_length=200), required=False, default=dict)
    note = serializers.CharField(max_length=1000, required=False, default="", allow_blank=True)


class EventCorrectionSerializer(NewEventSerializer):
    kind = None  # type: ignore[assignment]
    revision = serializers.IntegerField(help_text="The version that was read.")
    reason = serializers.CharField(max_length=500)


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500)


class SaveEntrySerializer(serializers.Serializer[Any]):
    visit = serializers.CharField(max_length=20, required=False, default="", allow_blank=True)
    repeat = serializers.IntegerField(required=False, default=1, min_value=1)
    revision = serializers.IntegerField(
        required=False, default=0, help_text="The version that was read; 0 for a new one."
    )
    answers = serializers.DictField(
        child=serializers.CharField(allow_blank=True, max_length=5000),
        help_text="Item id → text as typed; an item left out keeps its answer, an empty text clears it.",
    )
    units = serializers.DictField(child=serializers.CharField(max_length=40), required=False, default=dict)
    complete = serializers.BooleanField(required=False, default=False)
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class ConfirmSerializer(serializers.Serializer[Any]):
    shown = serializers.CharField(max_length=64, help_text="`shown` of the dry run that is confirmed.")
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


# --- Doors --------------------------------------------------------------------------------------------------------


class CasebookView(TrialView):
    filter_backends: list[Any] = []

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, ObjectDoesNotExist):
            exc = Http404("There is no such record at the sites that you see.")
        return super().handle_exception(exc)

    def visit(self, code: str) -> Visit | None:
        return self.participant().visits.select_related("participant").get(code=code) if code else None


class Draws(generics.ListAPIView[LabDraw], CasebookView):
    pagination_class = LimitOffsetPagination
    to_write = Permission.RECORD_OBSERVATION
    queryset = LabDraw.objects.none()
    serializer_class = DrawSerializer

    def get_queryset(self) -> QuerySet[LabDraw]:
        if getattr(self, "swagger_fake_view", False):
            return LabDraw.objects.none()
        return selectors.draws_of(self.participant())

    @extend_schema(operation_id="draws_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The draws of one participant with their results, the latest first."""
        return self.list(request, *args, **kwargs)

    @extend_schema(request=NewDrawSerializer, responses={201: DrawSerializer})
    def post(self, request: Request, trial: str, participant: int) -> Response:
        """Record the results of one sampling, all or none. Sent again, it answers the draw that there is."""
        person, sent = self.participant(), self.typed(NewDrawSerializer)
        try:
            sampled_at = entered_moment(person, sent["sampled_at"])
        except DateEntryError as error:
            raise ValidationError({"sampled_at": [str(error)]}) from None
        values = {
            address: Written(one["value"], one["unit"], one["lower_limit"], one["upper_limit"], one["lloq"])
            for address, one in sent["results"].items()
        }
        draw = actions.record_draw(
            participant=person,
            sampled_at=sampled_at,
            values=values,
            laboratory=sent["laboratory"],
            specimen=sent["specimen"],
            by=self.membership,
            source=audit.context.Source.API,
        )
        return Response(self.get_serializer(draw).data, status=status.HTTP_201_CREATED)


class OneResult(CasebookView):
    to_write = Permission.RECORD_OBSERVATION
    queryset = LabResult.objects.none()
    serializer_class = ResultSerializer

    @extend_schema(operation_id="results_retrieve")
    def get(self, request: Request, trial: str, result: int) -> Response:
        """One result."""
        return Response(self.get_serializer(selectors.result_for(self.membership, result)).data)

    @extend_schema(request=CorrectionSerializer, responses={200: ResultSerializer})
    def put(self, request: Request, trial: str, result: int) -> Response:
        """Correct a result, with a reason; what it was stays in the audit trail."""
        found = selectors.result_for(self.membership, result)
        sent = self.typed(CorrectionSerializer)
        corrected = actions.correct_result(
            result=found,
            text=sent.pop("value"),
            by=self.membership,
            **sent,
        )
        return Response(self.get_serializer(corrected).data)


class Events(CasebookView):
    to_write = Permission.RECORD_OBSERVATION
    queryset = ClinicalEvent.objects.none()
    serializer_class = EventSerializer

    @extend_schema(operation_id="clinical_events_list", responses={200: EventSerializer(many=True)})
    def get(self, request: Request, trial: str, participant: int) -> Response:
        """The clinical events of one participant by date, void ones too."""
        return Response(self.get_serializer(selectors.clinical_events_of(self.participant()), many=True).data)

    @extend_schema(request=NewEventSerializer, responses={201: EventSerializer})
    def post(self, request: Request, trial: str, participant: int) -> Response:
        """Record a clinical event. Sent again, it answers the event that there is."""
        event = actions.record_event(
            participant=self.participant(), by=self.membership, **self.typed(NewEventSerializer)
        )
        return Response(self.get_serializer(event).data, status=status.HTTP_201_CREATED)


class OneEvent(CasebookView):
    to_write = Permission.RECORD_OBSERVATION
    queryset = ClinicalEvent.objects.none()
    serializer_class = EventSerializer

    @extend_schema(operation_id="clinical_events_retrieve")
    def get(self, request: Request, trial: str, event: int) -> Response:
        """One clinical event."""
        return Response(self.get_serializer(selectors.clinical_event_for(self.membership, event)).data)

    @extend_schema(request=EventCorrectionSerializer, responses={200: EventSerializer})
    def put(self, request: Request, trial: str, event: int) -> Response:
        """Correct an event, with a reason."""
        found = selectors.clinical_event_for(self.membership, event)
        corrected = actions.correct_event(event=found, by=self.membership, **self.typed(EventCorrectionSerializer))
        return Response(self.get_serializer(corrected).data)


class VoidEvent(CasebookView):
    to_write = Permission.RECORD_OBSERVATION
    queryset = ClinicalEvent.objects.none()
    serializer_class = EventSerializer

    @extend_schema(request=ReasonSerializer, responses={200: EventSerializer})
    def post(self, request: Request, trial: str, event: int) -> Response:
        """Take back an event recorded in error; it stays and no longer counts."""
        found = selectors.clinical_event_for(self.membership, event)
        voided = actions.void_event(event=found, by=self.membership, **self.typed(ReasonSerializer))
        return Response(self.get_serializer(voided).data)


class Entries(CasebookView):
    queryset = FormEntry.objects.none()
    serializer_class = EntrySerializer

    @extend_schema(operation_id="entries_list", responses={200: EntrySerializer(many=True)})
    def get(self, request: Request, trial: str, participant: int) -> Response:
        """The form entries of one participant."""
        return Response(self.get_serializer(selectors.entries_of(self.participant()), many=True).data)


class SaveEntry(CasebookView):
    to_write = Permission.RECORD_OBSERVATION
    queryset = FormEntry.objects.none()
    serializer_class = EntrySerializer

    @extend_schema(request=SaveEntrySerializer, responses={200: EntrySerializer})
    def put(self, request: Request, trial: str, participant: int, form: str) -> Response:
        """Save one form at one place, whole or not at all; 409 when somebody else saved since ``revision``."""
        person, sent = self.participant(), self.typed(SaveEntrySerializer)
        entry = actions.save_entry(
            participant=person,
            form=form,
            visit=self.visit(sent.pop("visit")),
            by=self.membership,
            source=audit.context.Source.API,
            **sent,
        )
        return Response(self.get_serializer(entry).data)


class OneEntry(CasebookView):
    queryset = FormEntry.objects.none()
    serializer_class = EntrySerializer

    @extend_schema(operation_id="entries_retrieve")
    def get(self, request: Request, trial: str, entry: int) -> Response:
        """One form entry with its answers."""
        return Response(self.get_serializer(selectors.entry_for(self.membership, entry)).data)


class Eligibility(CasebookView):
    to_write = Permission.ASSESS_ELIGIBILITY
    queryset = EligibilityAssessment.objects.none()
    serializer_class = AssessmentSerializer

    @extend_schema(operation_id="eligibility_retrieve")
    def get(self, request: Request, trial: str, participant: int) -> Response:
        """The latest assessment; 404 while nothing was assessed."""
        latest = trials.latest_assessment(self.participant())
        if latest is None:
            raise Http404("Eligibility was not assessed yet.")
        return Response(self.get_serializer(latest).data)

    @extend_schema(request=None, responses={200: AssessmentSerializer})
    def post(self, request: Request, trial: str, participant: int) -> Response:
        """Assess eligibility on everything recorded so far; the same facts answer the assessment that there is."""
        assessment = actions.check_eligibility(participant=self.participant(), by=self.membership)
        return Response(self.get_serializer(assessment).data)


class LabImports(CasebookView):
    to_write = Permission.IMPORT_DATA
    queryset = LabImport.objects.none()
    serializer_class = ImportSerializer
    parser_classes = [parsers.MultiPartParser]

    @extend_schema(operation_id="lab_imports_list", responses={200: ImportSerializer(many=True)})
    def get(self, request: Request, trial: str) -> Response:
        """The last hundred files uploaded within the membership's scope."""
        return Response(self.get_serializer(selectors.lab_imports(self.membership)[:100], many=True).data)

    @extend_schema(
        request={
            "multipart/form-data": inline_serializer(
                "LabFile",
                {"file": serializers.FileField(), "laboratory": serializers.CharField(required=False, max_length=40)},
            )
        },
        responses={201: ImportSerializer},
    )
    def post(self, request: Request, trial: str) -> Response:
        """Upload a file for its dry run: counts and rejections with row, column and reason. No result is written."""
        file = request.FILES.get("file")
        if file is None:
            raise ValidationError({"file": ["Send the file as `file`."]})
        if sentence := too_large(file.size or 0):
            raise ValidationError({"file": [sentence]})
        found = actions.check_lab_file(
            content=file.read(),
            file_name=file.name or "",
            laboratory=str(request.POST.get("laboratory", "")),
            by=self.membership,
        )
        return Response(self.get_serializer(found).data, status=status.HTTP_201_CREATED)


class OneLabImport(CasebookView):
    to_write = Permission.IMPORT_DATA
    queryset = LabImport.objects.none()
    serializer_class = ImportSerializer

    @extend_schema(operation_id="lab_imports_retrieve")
    def get(self, request: Request, trial: str, lab_import: int) -> Response:
        """One file with the report of its dry run; while it is not written, worked out on the results of now."""
        found = selectors.lab_import_for(self.membership, lab_import)
        data: dict[str, Any] = dict(self.get_serializer(found).data)
        if found.state == LabImport.State.CHECKED:
            plan = plan_of(bytes(found.content), laboratory=found.laboratory, membership=self.membership)
            data |= {"report": plan.report(), "shown": plan.sha256}
        return Response(data)

    @extend_schema(request=ConfirmSerializer, responses={200: ImportSerializer})
    def post(self, request: Request, trial: str, lab_import: int) -> Response:
        """Confirm a dry run: every row is written, in one transaction, or none."""
        found = selectors.lab_import_for(self.membership, lab_import)
        written = actions.write_lab_import(lab_import=found, by=self.membership, **self.typed(ConfirmSerializer))
        return Response(self.get_serializer(written).data)


_OF = "participants/<int:participant>"

urlpatterns = [
    path(f"{_OF}/draws/", Draws.as_view(), name="draws"),
    path("results/<int:result>/", OneResult.as_view(), name="result"),
    path(f"{_OF}/clinical-events/", Events.as_view(), name="events"),
    path("clinical-events/<int:event>/", OneEvent.as_view(), name="event"),
    path("clinical-events/<int:event>/void/", VoidEvent.as_view(), name="void_event"),
    path(f"{_OF}/entries/", Entries.as_view(), name="entries"),
    path(f"{_OF}/forms/<slug:form>/", SaveEntry.as_view(), name="save_entry"),
    path("entries/<int:entry>/", OneEntry.as_view(), name="entry"),
    path(f"{_OF}/eligibility/", Eligibility.as_view(), name="eligibility"),
    path("lab-imports/", LabImports.as_view(), name="lab_imports"),
    path("lab-imports/<int:lab_import>/", OneLabImport.as_view(), name="lab_import"),
]
