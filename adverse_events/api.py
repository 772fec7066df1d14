"""The API of adverse events: each write is one action; a refusal is a sentence by field (``config.api`` translates).

A create may carry ``external_id``: the same event sent again is the one that is recorded already, and other content
under the same name is 409.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.urls import path
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from adverse_events import actions, selectors
from adverse_events.domain.reporting import OUTCOMES, RELATIONS, SERIOUS_CRITERIA, Report
from adverse_events.forms import AdverseEventFilter
from adverse_events.models import AdverseEvent
from audit.context import Source
from trials import selectors as trials
from trials.api import TrialView

# --- What goes out ------------------------------------------------------------------------------------------------


class AdverseEventSerializer(serializers.ModelSerializer[AdverseEvent]):
    """One adverse event. ``is_serious`` null: not known. Dates are ISO 8601, in part where no more is known."""

    participant = serializers.CharField(read_only=True)
    participant_id = serializers.IntegerField(read_only=True)
    site = serializers.CharField(source="participant.site.code", read_only=True)

    class Meta:
        model = AdverseEvent
        fields = [
            "id",
            "participant",
            "participant_id",
            "site",
            "number",
            "external_id",
            "verbatim",
            "dictionary",
            "term",
            "soc",
            "other_specify",
            "category",
            "grade",
            "started",
            "ended",
            "is_ongoing",
            "is_serious",
            "serious_criteria",
            "relations",
            "outcome",
            "organism",
            "suspect_product",
            "is_void",
            "revision",
            "recorded_at",
            "changed_at",
        ]


class GradeSerializer(serializers.Serializer[Any]):
    grade = serializers.IntegerField()
    wording = serializers.CharField(help_text="Empty where the official wording is not loaded.")
    refusal = serializers.CharField(help_text="Why the grade is not offered; empty where it is.")


class TermSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    soc = serializers.CharField()
    grades = serializers.ListField(child=serializers.IntegerField())


class CellSerializer(serializers.Serializer[Any]):
    grade = serializers.IntegerField(allow_null=True, help_text="Null: any grade, each counted once.")
    events = serializers.IntegerField()
    participants = serializers.IntegerField(help_text="Whose worst grade in this row it is.")
    percent = serializers.FloatField(help_text="Participants of all who were observed.")


class RowSerializer(serializers.Serializer[Any]):
    category = serializers.CharField()
    label = serializers.CharField(help_text="Empty for a heading or the whole.")  # type: ignore[assignment]
    cells = CellSerializer(many=True)
    total = CellSerializer()


class SectionSerializer(serializers.Serializer[Any]):
    category = serializers.CharField()
    heading = serializers.CharField()
    sum = RowSerializer()
    rows = RowSerializer(many=True)


class TableSerializer(serializers.Serializer[Any]):
    grades = serializers.ListField(child=serializers.IntegerField())
    participants = serializers.IntegerField(help_text="Everybody enrolled: the denominator.")
    sections = SectionSerializer(many=True)
    total = RowSerializer()


# --- What comes in ------------------------------------------------------------------------------------------------


class ReportSerializer(serializers.Serializer[Any]):
    verbatim = serializers.CharField(max_length=300, help_text="The event as reported.")
    term = serializers.CharField(max_length=200, help_text="Of the dictionary that the protocol names.")
    grade = serializers.IntegerField(min_value=1, max_value=5)
    started = serializers.CharField(max_length=10, help_text="2025-03-24, or in part: 2025-03, 2025.")
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    ended = serializers.CharField(max_length=10, required=False, default="", allow_blank=True)
    is_ongoing = serializers.BooleanField(required=False, default=False)
    other_specify = serializers.CharField(max_length=300, required=False, default="", allow_blank=True)
    is_serious = serializers.BooleanField(required=False, default=None, allow_null=True)
    serious_criteria = serializers.MultipleChoiceField(choices=list(SERIOUS_CRITERIA), required=False, default=set)
    relations = serializers.DictField(
        child=serializers.ChoiceField(choices=list(RELATIONS)), required=False, default=dict
    )
    organism = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    suspect_product = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class NewEventSerializer(ReportSerializer):
    external_id = serializers.CharField(
        max_length=40, required=False, default="", allow_blank=True, help_text="Its number where it comes from."
    )


class CorrectionSerializer(ReportSerializer):
    revision = serializers.IntegerField(help_text="The version that was read.")
    reason = serializers.CharField(max_length=500)


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500)


def report_of(sent: dict[str, Any]) -> Report:
    """The report in what was sent; criteria in the order in which they are printed."""
    chosen = sent.pop("serious_criteria")
    return Report(**sent, serious_criteria=tuple(one for one in SERIOUS_CRITERIA if one in chosen))


# --- Doors --------------------------------------------------------------------------------------------------------


class AdverseEvents(generics.ListAPIView[AdverseEvent], TrialView):
    pagination_class = LimitOffsetPagination
    queryset = AdverseEvent.objects.none()
    serializer_class = AdverseEventSerializer
    filter_backends = [DjangoFilterBackend]
    filterset_class = AdverseEventFilter

    def get_queryset(self) -> QuerySet[AdverseEvent]:
        if getattr(self, "swagger_fake_view", False):
            return AdverseEvent.objects.none()
        return selectors.adverse_events(self.membership)

    @extend_schema(operation_id="adverse_events_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The adverse events at the sites that the membership reaches, those recorded in error included."""
        return self.list(request, *args, **kwargs)


class ParticipantAdverseEvents(TrialView):
    to_write = Permission.RECORD_ADVERSE_EVENT
    queryset = AdverseEvent.objects.none()
    serializer_class = AdverseEventSerializer

    @extend_schema(request=NewEventSerializer, responses={201: AdverseEventSerializer})
    def post(self, request: Request, trial: str, participant: int) -> Response:
        """Record an adverse event of one participant."""
        person = self.participant()
        sent = self.typed(NewEventSerializer)
        made = actions.record_adverse_event(
            participant=person,
            external_id=sent.pop("external_id"),
            report=report_of(sent),
            by=self.membership,
            source=Source.API,
        )
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)


class OneEventView(TrialView):
    queryset = AdverseEvent.objects.none()
    serializer_class = AdverseEventSerializer

    def event(self) -> AdverseEvent:
        one = selectors.adverse_events(self.membership).filter(pk=self.kwargs["event"]).first()
        if one is None:
            raise Http404("No such adverse event at the sites that you see.")
        return one


class OneAdverseEvent(OneEventView):
    to_write = Permission.RECORD_ADVERSE_EVENT

    @extend_schema(operation_id="adverse_events_retrieve")
    def get(self, request: Request, trial: str, event: int) -> Response:
        """One adverse event."""
        return Response(self.get_serializer(self.event()).data)

    @extend_schema(request=CorrectionSerializer, responses={200: AdverseEventSerializer})
    def put(self, request: Request, trial: str, event: int) -> Response:
        """Correct an adverse event, with a reason; 409 where somebody changed it since it was read."""
        one = self.event()
        sent = self.typed(CorrectionSerializer)
        one = actions.correct_adverse_event(
            event=one,
            revision=sent.pop("revision"),
            reason=sent.pop("reason"),
            report=report_of(sent),
            by=self.membership,
            source=Source.API,
        )
        return Response(self.get_serializer(one).data)


class VoidAdverseEvent(OneEventView):
    to_write = Permission.RECORD_ADVERSE_EVENT

    @extend_schema(request=ReasonSerializer, responses={200: AdverseEventSerializer})
    def post(self, request: Request, trial: str, event: int) -> Response:
        """Set aside an event that was recorded in error; it is kept and no longer counted."""
        one = actions.void_adverse_event(
            event=self.event(), by=self.membership, source=Source.API, **self.typed(ReasonSerializer)
        )
        return Response(self.get_serializer(one).data)


class Terms(TrialView):
    serializer_class = TermSerializer
    queryset = AdverseEvent.objects.none()

    @extend_schema(
        operation_id="adverse_event_terms_list",
        parameters=[OpenApiParameter("q", str, description="What was typed.")],
        responses={200: TermSerializer(many=True)},
    )
    def get(self, request: Request, trial: str) -> Response:
        """The terms nearest to what was typed, best first."""
        dictionary = selectors.dictionary_of(self.membership.trial.protocol.adverse_events)
        hits = dictionary.search(request.query_params.get("q", "")[:200])
        return Response([{"name": term.name, "soc": term.soc, "grades": sorted(term.grades)} for term in hits])


class OneTerm(TrialView):
    serializer_class = GradeSerializer
    queryset = AdverseEvent.objects.none()

    @extend_schema(
        operation_id="adverse_event_term_grades",
        parameters=[OpenApiParameter("term", str, required=True, description="Name of the term.")],
        responses={200: GradeSerializer(many=True)},
    )
    def get(self, request: Request, trial: str) -> Response:
        """The five grades of a term: with the wording that is loaded, or with the reason why one is not offered."""
        policy = self.membership.trial.protocol.adverse_events
        sheet = selectors.term_sheet(policy, request.query_params.get("term", ""))
        if sheet.term is None:
            raise Http404("No such term in the dictionary of this trial.")
        return Response([asdict(one) for one in sheet.grades])


class Table(TrialView):
    serializer_class = TableSerializer
    queryset = AdverseEvent.objects.none()

    @extend_schema(
        operation_id="adverse_events_table",
        parameters=[
            OpenApiParameter("serious", str, enum=["yes", "no", "unknown"]),
            OpenApiParameter("site", str, description="Code of a site."),
        ],
    )
    def get(self, request: Request, trial: str) -> Response:
        """Events and participants by report heading, term and grade; participants at their worst grade."""
        asked = AdverseEventFilter(
            request.query_params, selectors.adverse_events(self.membership), request=self.request
        )
        if not asked.is_valid():
            raise serializers.ValidationError(asked.errors)
        site = trials.sites_of(self.membership).filter(code=request.query_params.get("site", "")).first()
        made = selectors.table(self.membership, asked.qs.order_by(), site=site.pk if site else None)
        return Response(asdict(made))


urlpatterns = [
    path("adverse-events/", AdverseEvents.as_view(), name="list"),
    path("adverse-events/terms/", Terms.as_view(), name="terms"),
    path("adverse-events/terms/grades/", OneTerm.as_view(), name="grades"),
    path("adverse-events/table/", Table.as_view(), name="table"),
    path("adverse-events/<int:event>/", OneAdverseEvent.as_view(), name="event"),
    path("adverse-events/<int:event>/void/", VoidAdverseEvent.as_view(), name="void"),
    path("participants/<int:participant>/adverse-events/", ParticipantAdverseEvents.as_view(), name="new"),
]
