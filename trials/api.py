"""The API of the trials floor: reads as far as the membership sees, writes by one action each.

A refusal is a sentence: 400 with the field, 403 for the role, 404 for what is not seen, 409 for the state of things
(``config.api`` translates).
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, permissions, serializers, status
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from accounts.signing import NotProved, prove
from trials import actions, selectors
from trials.domain.lifecycle import ParticipantState
from trials.models import (
    Consent,
    Deviation,
    EligibilityAssessment,
    Membership,
    Participant,
    Site,
    Visit,
)
from trials.permissions import require

# --- What goes out ------------------------------------------------------------------------------------------------


class SiteSerializer(serializers.ModelSerializer[Site]):
    class Meta:
        model = Site
        fields = ["id", "code", "name", "time_zone", "is_open"]


class ParticipantSerializer(serializers.ModelSerializer[Participant]):
    """A participant by codes; ``group`` is null where the membership may not know it."""

    site = serializers.CharField(source="site.code", read_only=True)
    protocol_version = serializers.CharField(source="protocol_version.version", read_only=True)
    enrolled_on = serializers.DateField(source="enrolment.enrolled_on", default=None, read_only=True, allow_null=True)
    anchor_date = serializers.DateField(read_only=True, allow_null=True)
    group = serializers.SerializerMethodField()

    class Meta:
        model = Participant
        fields = [
            "id",
            "screening_number",
            "number",
            "site",
            "status",
            "group",
            "protocol_version",
            "screened_on",
            "birth_date",
            "sex",
            "enrolled_on",
            "anchor_date",
            "is_external",
            "failure_reason",
        ]

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_group(self, participant: Participant) -> str | None:
        seen = participant.is_external or selectors.may_see_group(self.context["membership"], participant.protocol)
        return participant.group if seen else None


class ConsentSerializer(serializers.ModelSerializer[Consent]):
    class Meta:
        model = Consent
        fields = ["id", "version", "signed_on", "signatory", "withdrawn_on", "withdrawal_reason"]


class VisitSerializer(serializers.ModelSerializer[Visit]):
    window = serializers.SerializerMethodField()

    class Meta:
        model = Visit
        fields = [
            "id",
            "code",
            "label",
            "day",
            "planned_date",
            "earliest_date",
            "latest_date",
            "status",
            "done_on",
            "missed_reason",
            "window",
        ]

    def get_window(self, visit: Visit) -> str:
        return selectors.window_status(visit, timezone.localdate()).value


class AssessmentSerializer(serializers.ModelSerializer[EligibilityAssessment]):
    protocol_version = serializers.CharField(source="protocol_version.version", read_only=True)

    class Meta:
        model = EligibilityAssessment
        fields = ["id", "outcome", "protocol_version", "criteria", "assessed_at"]


class DeviationSerializer(serializers.ModelSerializer[Deviation]):
    participant = serializers.CharField(read_only=True)
    participant_id = serializers.IntegerField(read_only=True)

    class Meta:
        model = Deviation
        fields = [
            "id",
            "participant",
            "participant_id",
            "rule",
            "occurred_on",
            "description",
            "is_major",
            "removes_from_efficacy",
            "is_confirmed",
            "is_void",
            "source",
        ]


# --- What comes in ------------------------------------------------------------------------------------------------


class RegistrationSerializer(serializers.Serializer[Any]):
    site = serializers.CharField(help_text="Code of the site.")
    screened_on = serializers.DateField()
    birth_date = serializers.CharField(required=False, default="", allow_blank=True, help_text="May be 2012-05.")
    sex = serializers.ChoiceField(choices=["male", "female", "unknown"])
    screening_number = serializers.CharField(required=False, default="", allow_blank=True, max_length=20)


class NewConsentSerializer(serializers.Serializer[Any]):
    version = serializers.CharField(max_length=20)
    signed_on = serializers.DateField()
    signatory = serializers.CharField(max_length=200, help_text="Several signatories are separated by commas.")


class VisitRecordSerializer(serializers.Serializer[Any]):
    done_on = serializers.DateField(required=False, help_text="The day it took place; without it the visit was missed.")
    reason = serializers.CharField(required=False, default="", allow_blank=True)


class AnchorSerializer(serializers.Serializer[Any]):
    day = serializers.DateField()
    is_actual = serializers.BooleanField(default=False)
    reason = serializers.CharField(required=False, default="", allow_blank=True)


class NewDeviationSerializer(serializers.Serializer[Any]):
    description = serializers.CharField()
    rule = serializers.CharField(required=False, default="", allow_blank=True, max_length=20)
    occurred_on = serializers.DateField(required=False, allow_null=True, default=None)
    is_major = serializers.BooleanField(default=False)
    removes_from_efficacy = serializers.BooleanField(default=False)


class DecisionSerializer(serializers.Serializer[Any]):
    is_confirmed = serializers.BooleanField()
    reason = serializers.CharField(required=False, default="", allow_blank=True)


# --- Doors --------------------------------------------------------------------------------------------------------


class SignedSerializer(serializers.Serializer[Any]):
    """What a signature asks for: the username as well at the first of a login, then the password or code alone."""

    username = serializers.CharField(required=False, default="", write_only=True)
    password = serializers.CharField(
        required=False, default="", write_only=True, trim_whitespace=False, style={"input_type": "password"}
    )
    code = serializers.CharField(
        required=False,
        default="",
        write_only=True,
        help_text="of an authenticator app, for an account without password",
    )


class TrialView(generics.GenericAPIView[Any]):
    """A view under a trial's address, where the middleware has found the membership that acts."""

    request: Request
    #: What a member needs besides to write here; asked before anything that was sent is read.
    to_write: Permission | None = None
    #: What is listed in pages says so; the others answer whole.
    pagination_class: Any = None

    @property
    def membership(self) -> Membership:
        membership: Membership = self.request.membership  # type: ignore[attr-defined]
        return membership

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        require(
            self.membership,
            Permission.VIEW_PARTICIPANT,
            doing="see participants",
            trial_id=self.membership.trial_id,
            site_matters=False,
        )
        if self.to_write is not None and request.method not in permissions.SAFE_METHODS:
            require(
                self.membership,
                self.to_write,
                doing=self.to_write.meaning[:1].lower() + self.to_write.meaning[1:].rstrip("."),
                trial_id=self.membership.trial_id,
                site_matters=False,
            )

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "membership": getattr(self.request, "membership", None)}

    def participant(self) -> Participant:
        try:
            return selectors.participant_for(self.membership, self.kwargs["participant"])
        except Participant.DoesNotExist:
            raise Http404("No such participant at the sites that you see.") from None

    def typed(self, serializer_class: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """What was sent, in the form the action takes it; refused with the field otherwise."""
        sent = serializer_class(data=self.request.data)
        sent.is_valid(raise_exception=True)
        return dict(sent.validated_data)

    def signed(self, serializer_class: type[SignedSerializer], meaning: str) -> dict[str, Any]:
        """``typed``, with the ``proof`` of who signs in the place of the password; a failure is on record."""
        typed = self.typed(serializer_class)
        given = {name: typed.pop(name) for name in ("username", "password", "code")}
        try:
            return {**typed, "proof": prove(self.request._request, **given)}
        except NotProved as refused:
            if refused.why:
                actions.record_failed_signature(by=self.membership, meaning=meaning, why=refused.why)
            raise serializers.ValidationError({refused.field or "detail": [str(refused)]}) from None


class Sites(TrialView):
    queryset = Site.objects.none()
    serializer_class = SiteSerializer

    @extend_schema(operation_id="sites_list", responses={200: SiteSerializer(many=True)})
    def get(self, request: Request, trial: str) -> Response:
        """The sites that the membership reaches."""
        return Response(self.get_serializer(selectors.sites_of(self.membership), many=True).data)


class Participants(generics.ListAPIView[Participant], TrialView):
    pagination_class = LimitOffsetPagination
    to_write = Permission.SCREEN_PARTICIPANT
    queryset = Participant.objects.none()
    serializer_class = ParticipantSerializer
    filter_backends: list[Any] = []

    def get_queryset(self) -> QuerySet[Participant]:
        if getattr(self, "swagger_fake_view", False):
            return Participant.objects.none()
        rows = selectors.participants(self.membership).order_by("pk")
        asked = self.request.query_params
        if site := asked.get("site"):
            rows = rows.filter(site__code=site)
        if state := asked.get("status"):
            rows = rows.filter(status=state)
        if code := asked.get("q"):
            rows = rows.filter(number__icontains=code) | rows.filter(screening_number__icontains=code)
        return rows

    @extend_schema(
        operation_id="participants_list",
        parameters=[
            OpenApiParameter("site", str, description="Code of a site."),
            OpenApiParameter("status", str, enum=[state.value for state in ParticipantState]),
            OpenApiParameter("q", str, description="Part of a number or screening number."),
        ],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The participants at the sites that the membership reaches."""
        return self.list(request, *args, **kwargs)

    @extend_schema(request=RegistrationSerializer, responses={201: ParticipantSerializer})
    def post(self, request: Request, trial: str) -> Response:
        """Register a person for screening."""
        sent = self.typed(RegistrationSerializer)
        site = selectors.sites_of(self.membership).filter(code=sent.pop("site")).first()
        if site is None:
            raise serializers.ValidationError({"site": ["No such site among those you see."]})
        participant = actions.register_participant(trial=self.membership.trial, site=site, by=self.membership, **sent)
        return Response(self.get_serializer(participant).data, status=status.HTTP_201_CREATED)


class OneParticipant(TrialView):
    queryset = Participant.objects.none()
    serializer_class = ParticipantSerializer

    @extend_schema(operation_id="participants_retrieve")
    def get(self, request: Request, trial: str, participant: int) -> Response:
        """One participant."""
        return Response(self.get_serializer(self.participant()).data)


class Assessments(TrialView):
    queryset = EligibilityAssessment.objects.none()
    serializer_class = AssessmentSerializer

    @extend_schema(operation_id="assessments_list", responses={200: AssessmentSerializer(many=True)})
    def get(self, request: Request, trial: str, participant: int) -> Response:
        """Every eligibility assessment, the latest first, each criterion with the value and source that decided it."""
        rows = self.participant().assessments.select_related("protocol_version").order_by("-pk")
        return Response(self.get_serializer(rows, many=True).data)


class Consents(TrialView):
    to_write = Permission.RECORD_CONSENT
    queryset = Consent.objects.none()
    serializer_class = ConsentSerializer

    @extend_schema(operation_id="consents_list", responses={200: ConsentSerializer(many=True)})
    def get(self, request: Request, trial: str, participant: int) -> Response:
        """The consents of one participant."""
        return Response(self.get_serializer(self.participant().consents.order_by("signed_on", "pk"), many=True).data)

    @extend_schema(request=NewConsentSerializer, responses={201: ConsentSerializer})
    def post(self, request: Request, trial: str, participant: int) -> Response:
        """Record a signed consent."""
        signed = actions.record_consent(
            participant=self.participant(), by=self.membership, **self.typed(NewConsentSerializer)
        )
        return Response(self.get_serializer(signed).data, status=status.HTTP_201_CREATED)


class Visits(TrialView):
    queryset = Visit.objects.none()
    serializer_class = VisitSerializer

    @extend_schema(operation_id="visits_list", responses={200: VisitSerializer(many=True)})
    def get(self, request: Request, trial: str, participant: int) -> Response:
        """The visits of one participant, with their windows."""
        return Response(self.get_serializer(selectors.visits_of(self.participant()), many=True).data)


class OneVisit(TrialView):
    to_write = Permission.RECORD_OBSERVATION
    queryset = Visit.objects.none()
    serializer_class = VisitSerializer

    @extend_schema(request=VisitRecordSerializer, responses={200: VisitSerializer})
    def put(self, request: Request, trial: str, participant: int, visit: int) -> Response:
        """Record that a visit took place, or (without ``done_on``) that it was missed."""
        one = self.participant().visits.filter(pk=visit).first()
        if one is None:
            raise Http404("No such visit of this participant.")
        sent = self.typed(VisitRecordSerializer)
        if sent.get("done_on"):
            one = actions.record_visit(visit=one, by=self.membership, done_on=sent["done_on"], reason=sent["reason"])
        else:
            one = actions.miss_visit(visit=one, by=self.membership, reason=sent["reason"])
        return Response(self.get_serializer(one).data)


class ParticipantAnchor(TrialView):
    to_write = Permission.RECORD_OBSERVATION
    queryset = Participant.objects.none()
    serializer_class = VisitSerializer

    @extend_schema(request=AnchorSerializer, responses={200: VisitSerializer(many=True)})
    def put(self, request: Request, trial: str, participant: int) -> Response:
        """Plan or move the day the schedule counts from; answers the visits as they are planned now."""
        person = self.participant()
        actions.set_anchor(participant=person, by=self.membership, **self.typed(AnchorSerializer))
        return Response(self.get_serializer(selectors.visits_of(person), many=True).data)


class Deviations(generics.ListAPIView[Deviation], TrialView):
    pagination_class = LimitOffsetPagination
    queryset = Deviation.objects.none()
    serializer_class = DeviationSerializer
    filter_backends: list[Any] = []

    def get_queryset(self) -> QuerySet[Deviation]:
        if getattr(self, "swagger_fake_view", False):
            return Deviation.objects.none()
        return selectors.deviations(self.membership)

    @extend_schema(operation_id="deviations_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The deviations at the sites that the membership reaches."""
        return self.list(request, *args, **kwargs)


class ParticipantDeviations(TrialView):
    to_write = Permission.RECORD_DEVIATION
    queryset = Deviation.objects.none()
    serializer_class = DeviationSerializer

    @extend_schema(request=NewDeviationSerializer, responses={201: DeviationSerializer})
    def post(self, request: Request, trial: str, participant: int) -> Response:
        """Record a deviation of one participant."""
        made = actions.record_deviation(
            participant=self.participant(), by=self.membership, **self.typed(NewDeviationSerializer)
        )
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)


class DeviationDecision(TrialView):
    to_write = Permission.RECORD_DEVIATION
    queryset = Deviation.objects.none()
    serializer_class = DeviationSerializer

    @extend_schema(request=DecisionSerializer, responses={200: DeviationSerializer})
    def put(self, request: Request, trial: str, deviation: int) -> Response:
        """A person's yes or no to a deviation."""
        one = selectors.deviations(self.membership).filter(pk=deviation).first()
        if one is None:
            raise Http404("No such deviation at the sites that you see.")
        one = actions.confirm_deviation(deviation=one, by=self.membership, **self.typed(DecisionSerializer))
        return Response(self.get_serializer(one).data)


urlpatterns = [
    path("sites/", Sites.as_view(), name="sites"),
    path("participants/", Participants.as_view(), name="participants"),
    path("participants/<int:participant>/", OneParticipant.as_view(), name="participant"),
    path("participants/<int:participant>/assessments/", Assessments.as_view(), name="assessments"),
    path("participants/<int:participant>/consents/", Consents.as_view(), name="consents"),
    path("participants/<int:participant>/visits/", Visits.as_view(), name="visits"),
    path("participants/<int:participant>/visits/<int:visit>/", OneVisit.as_view(), name="visit"),
    path("participants/<int:participant>/anchor/", ParticipantAnchor.as_view(), name="anchor"),
    path("participants/<int:participant>/deviations/", ParticipantDeviations.as_view(), name="participant_deviations"),
    path("deviations/", Deviations.as_view(), name="deviations"),
    path("deviations/<int:deviation>/decision/", DeviationDecision.as_view(), name="deviation_decision"),
]
