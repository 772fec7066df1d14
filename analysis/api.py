"""The API of endpoints, gates and sets: reads as far as the membership sees, writes by one action each."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from analysis import actions, selectors
from analysis.actions import runs as run_actions
from analysis.domain.consecutive_threshold import Status
from analysis.domain.plan.results import as_plain
from analysis.models import Adjudication, Gate, Run
from analysis.permissions import check_can_view_results
from analysis.reports import profile
from analysis.selectors import runs as run_selectors
from analysis.selectors import signed
from trials.api import SignedSerializer, TrialView
from trials.models import Participant


class AdjudicationSerializer(serializers.ModelSerializer[Adjudication]):
    """One endpoint of one participant. ``is_evaluable`` is independent of ``status``; null: not known yet."""

    number = serializers.CharField(source="participant", read_only=True)
    site = serializers.CharField(source="participant.site.code", read_only=True)
    protocol_version = serializers.CharField(source="protocol_version.version", read_only=True)
    evidence = serializers.JSONField(read_only=True)

    class Meta:
        model = Adjudication
        fields = [
            "id",
            "participant",
            "number",
            "site",
            "endpoint",
            "status",
            "event_day",
            "event_date",
            "competing_kind",
            "is_evaluable",
            "evidence",
            "method",
            "method_version",
            "protocol_version",
            "input_sha256",
            "created_at",
        ]


class GateSerializer(serializers.ModelSerializer[Gate]):
    """One stage gate. Participants of other sites are counted and not named."""

    snapshot = serializers.SerializerMethodField()
    changed_since = serializers.SerializerMethodField()
    decided_by = serializers.CharField(source="decided_by.user", default=None, read_only=True, allow_null=True)
    safety_reviewed_by = serializers.CharField(
        source="safety_reviewed_by.user", default=None, read_only=True, allow_null=True
    )

    class Meta:
        model = Gate
        fields = [
            "stage",
            "state",
            "responders",
            "evaluable",
            "boundary",
            "proposal",
            "proposed_at",
            "snapshot",
            "snapshot_sha256",
            "changed_since",
            "safety_review",
            "safety_reviewed_by",
            "safety_reviewed_at",
            "decision",
            "decision_reason",
            "decided_by",
            "decided_at",
        ]

    def get_snapshot(self, gate: Gate) -> dict[str, Any]:
        seats = selectors.seats_of(self.context["membership"], gate)
        return {**gate.snapshot, "participants": seats.own, "elsewhere": seats.elsewhere} if gate.snapshot else {}

    def get_changed_since(self, gate: Gate) -> list[str]:
        return [change.sentence for change in selectors.changes_for(self.context["membership"], gate)]


class SetSerializer(serializers.Serializer[Any]):
    """An analysis set of the definition with its number of members."""

    id = serializers.CharField()
    name = serializers.CharField()
    of = serializers.CharField()
    count = serializers.IntegerField()


class DecisionSerializer(SignedSerializer):
    decision = serializers.CharField()
    reason = serializers.CharField()
    seen = serializers.CharField(required=False, default="", help_text="snapshot_sha256 of the gate as it was read")


class ReviewSerializer(SignedSerializer):
    review = serializers.CharField()
    seen = serializers.CharField(required=False, default="", help_text="snapshot_sha256 of the gate as it was read")


class RenewalSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField()


class ResultsView(TrialView):
    """A view under a trial's address, for members who may see its results."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_can_view_results(self.membership, self.membership.trial)

    def gate(self) -> Gate:
        gate = selectors.gate_for(self.membership, self.kwargs["stage"])
        if gate is None:
            raise Http404("This trial has no such stage.")
        return gate


class Endpoints(generics.ListAPIView[Adjudication], ResultsView):
    pagination_class = LimitOffsetPagination
    queryset = Adjudication.objects.none()
    serializer_class = AdjudicationSerializer
    filter_backends: list[Any] = []

    def get_queryset(self) -> QuerySet[Adjudication]:
        if getattr(self, "swagger_fake_view", False):
            return Adjudication.objects.none()
        asked = self.request.query_params
        rows = (
            Adjudication.objects.visible_to(self.membership)
            .current()
            .select_related("participant__site", "protocol_version")
            .order_by("participant__number", "endpoint")
        )
        for name in ("endpoint", "status"):
            if value := asked.get(name):
                rows = rows.filter(**{name: value})
        if participant := asked.get("participant"):
            known = participant.isascii() and participant.isdigit() and len(participant) < 19
            rows = rows.filter(participant=int(participant)) if known else rows.none()
        return rows

    @extend_schema(
        operation_id="endpoints_list",
        parameters=[
            OpenApiParameter("endpoint", str, description="Id of an endpoint of the definition."),
            OpenApiParameter("status", str, enum=[status.value for status in Status]),
            OpenApiParameter("participant", int, description="Id of a participant."),
        ],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The current result of every endpoint, each with the rows it rests on."""
        return self.list(request, *args, **kwargs)


class Gates(ResultsView):
    queryset = Gate.objects.none()
    serializer_class = GateSerializer

    @extend_schema(operation_id="gates_list", responses={200: GateSerializer(many=True)})
    def get(self, request: Request, trial: str) -> Response:
        """The stage gates in order."""
        return Response(self.get_serializer(selectors.gates_of(self.membership), many=True).data)


class OneGate(ResultsView):
    queryset = Gate.objects.none()
    serializer_class = GateSerializer

    @extend_schema(operation_id="gates_retrieve")
    def get(self, request: Request, trial: str, stage: int) -> Response:
        """One stage gate with its snapshot, and what late data would say beside it."""
        return Response(self.get_serializer(self.gate()).data)


class GateDecision(ResultsView):
    to_write = Permission.DECIDE_GATE
    queryset = Gate.objects.none()
    serializer_class = GateSerializer

    @extend_schema(request=DecisionSerializer, responses={200: GateSerializer})
    def post(self, request: Request, trial: str, stage: int) -> Response:
        """Decide a proposed gate and sign the decision. Nothing changes it afterwards."""
        gate, typed = self.gate(), self.signed(DecisionSerializer, signed.GATE_DECISION)
        gate = actions.decide_gate(gate=gate, by=self.membership, **typed)
        return Response(self.get_serializer(gate).data)


class GateReview(ResultsView):
    to_write = Permission.SIGN_SAFETY_REVIEW
    queryset = Gate.objects.none()
    serializer_class = GateSerializer

    @extend_schema(request=ReviewSerializer, responses={200: GateSerializer})
    def post(self, request: Request, trial: str, stage: int) -> Response:
        """Sign the safety review of a proposed gate."""
        gate, typed = self.gate(), self.signed(ReviewSerializer, signed.SAFETY_REVIEW)
        gate = actions.sign_safety_review(gate=gate, by=self.membership, **typed)
        return Response(self.get_serializer(gate).data)


class GateRenewal(ResultsView):
    to_write = Permission.DECIDE_GATE
    queryset = Gate.objects.none()
    serializer_class = GateSerializer

    @extend_schema(request=RenewalSerializer, responses={200: GateSerializer})
    def post(self, request: Request, trial: str, stage: int) -> Response:
        """Ask for a new snapshot of a proposed gate."""
        gate = actions.renew_proposal(gate=self.gate(), by=self.membership, **self.typed(RenewalSerializer))
        return Response(self.get_serializer(gate).data)


class Sets(ResultsView):
    queryset = Adjudication.objects.none()
    serializer_class = SetSerializer
    pagination_class = None

    @extend_schema(operation_id="sets_list", responses={200: SetSerializer(many=True)})
    def get(self, request: Request, trial: str) -> Response:
        """Every analysis set with its number of members at the sites that the membership reaches."""
        rows = [
            {"id": one.id, "name": one.label, "of": one.base, "count": count}
            for one, count in selectors.set_counts(self.membership)
        ]
        return Response(self.get_serializer(rows, many=True).data)


class RunSerializer(serializers.ModelSerializer[Run]):
    """A run of the statistical plan. ``results`` are there once it is done; what tells the trial's groups apart is
    withheld from roles that do not see the allocation."""

    requested_by = serializers.CharField(source="requested_by.user", read_only=True)
    protocol_version = serializers.CharField(source="protocol_version.version", read_only=True)
    data_written_since = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields = [
            "id",
            "state",
            "as_of",
            "reason",
            "requested_by",
            "requested_at",
            "finished_at",
            "protocol_version",
            "code_version",
            "method_version",
            "input_sha256",
            "result_sha256",
            "failure",
            "data_written_since",
        ]
        read_only_fields = fields

    def get_data_written_since(self, run: Run) -> bool | None:
        return run_selectors.has_changed(run)


class RunResultsSerializer(RunSerializer):
    results = serializers.SerializerMethodField()

    class Meta(RunSerializer.Meta):
        fields = [*RunSerializer.Meta.fields, "results"]
        read_only_fields = fields

    def get_results(self, run: Run) -> list[dict[str, Any]]:
        return [as_plain(one) for one in run_selectors.results_for(self.context["membership"], run)]


class RunRequestSerializer(serializers.Serializer[Any]):
    as_of = serializers.DateField(required=False, allow_null=True, default=None, help_text="null: today")
    reason = serializers.CharField(max_length=500)


class Runs(generics.ListAPIView[Run], ResultsView):
    to_write = Permission.RUN_ANALYSIS
    pagination_class = LimitOffsetPagination
    queryset = Run.objects.none()
    serializer_class = RunSerializer
    filter_backends: list[Any] = []

    def get_queryset(self) -> QuerySet[Run]:
        if getattr(self, "swagger_fake_view", False):
            return Run.objects.none()
        return run_selectors.runs_of(self.membership)

    @extend_schema(operation_id="analyses_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The runs of the statistical plan, the latest first. They are of all sites; a member of one site sees none."""
        return self.list(request, *args, **kwargs)

    @extend_schema(operation_id="analyses_create", request=RunRequestSerializer, responses={201: RunSerializer})
    def post(self, request: Request, trial: str) -> Response:
        """Ask for the plan on the data until a day. The queue computes it."""
        run = run_actions.run_analyses(
            trial=self.membership.trial, by=self.membership, **self.typed(RunRequestSerializer)
        )
        return Response(self.get_serializer(run).data, status=201)


class OneRun(ResultsView):
    queryset = Run.objects.none()
    serializer_class = RunResultsSerializer

    @extend_schema(operation_id="analyses_retrieve")
    def get(self, request: Request, trial: str, run: int) -> Response:
        """One run with its results: each number with its method, denominator and listing."""
        found = run_selectors.run_for(self.membership, run)
        if found is None:
            raise Http404("No such run among those that you see.")
        return Response(self.get_serializer(found).data)


class MarkSerializer(serializers.Serializer[Any]):
    """One thing on its day; ``until`` where it lasted. ``value`` is that of a measurement or a dose."""

    track = serializers.CharField()
    unit = serializers.CharField()
    day = serializers.IntegerField()
    until = serializers.IntegerField(allow_null=True)
    value = serializers.FloatField(allow_null=True)
    words = serializers.CharField()
    url = serializers.CharField(help_text="the page of the form that it was recorded on")


class CourseSerializer(serializers.Serializer[Any]):
    """Everything recorded of one participant on one axis of days. ``withheld`` says why there is nothing."""

    number = serializers.CharField()
    origin = serializers.CharField(help_text="what the days count from")
    withheld = serializers.CharField()
    marks = MarkSerializer(many=True)


class Course(TrialView):
    queryset = Participant.objects.none()
    serializer_class = CourseSerializer

    @extend_schema(operation_id="profile_retrieve")
    def get(self, request: Request, trial: str, participant: int) -> Response:
        """The course of one participant, as far as the membership may see it."""
        return Response(self.get_serializer(profile.as_rows(self.membership, self.participant())).data)


urlpatterns = [
    path("participants/<int:participant>/profile/", Course.as_view(), name="profile"),
    path("analyses/", Runs.as_view(), name="analyses"),
    path("analyses/<int:run>/", OneRun.as_view(), name="analysis"),
    path("endpoints/", Endpoints.as_view(), name="endpoints"),
    path("gates/", Gates.as_view(), name="gates"),
    path("gates/<int:stage>/", OneGate.as_view(), name="gate"),
    path("gates/<int:stage>/decision/", GateDecision.as_view(), name="gate_decision"),
    path("gates/<int:stage>/safety-review/", GateReview.as_view(), name="gate_safety_review"),
    path("gates/<int:stage>/renewal/", GateRenewal.as_view(), name="gate_renewal"),
    path("sets/", Sets.as_view(), name="sets"),
]
