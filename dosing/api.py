"""The API of dosing: worksheets, tables, infusions; reads as far as the membership sees, one write by one action.

An infusion is known by participant and number: the same request again answers what there is; another infusion under
that number is 409. Numbers are texts, so that no digit is lost.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.http import Http404
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from dosing import actions, selectors
from dosing.models import Administration, DoseWorksheet, DosingTable
from dosing.permissions import check_can_see_doses, check_can_see_tables
from trials.api import TrialView


class WorksheetSerializer(serializers.ModelSerializer[DoseWorksheet]):
    """A computed or imported dose plan, or the reasons why there is none."""

    participant = serializers.CharField(read_only=True)
    participant_id = serializers.IntegerField(read_only=True)
    table = serializers.CharField(read_only=True, allow_null=True)
    table_sha256 = serializers.CharField(source="table.sha256", default=None, read_only=True, allow_null=True)
    protocol_version = serializers.CharField(source="protocol_version.version", read_only=True)
    released_at = serializers.DateTimeField(source="release.released_at", default=None, read_only=True, allow_null=True)

    class Meta:
        model = DoseWorksheet
        fields = [
            "id",
            "participant",
            "participant_id",
            "source",
            "is_plan_of_record",
            "is_current",
            "is_refused",
            "is_synthetic",
            "method",
            "method_version",
            "protocol_version",
            "table",
            "table_sha256",
            "inputs",
            "input_sha256",
            "total_mg_per_kg",
            "planned_mg",
            "total_mg",
            "graft_source",
            "n_days",
            "first_day_on",
            "last_day_on",
            "result",
            "reason",
            "created_at",
            "released_at",
        ]


class AdministrationSerializer(serializers.ModelSerializer[Administration]):
    participant = serializers.CharField(read_only=True)
    participant_id = serializers.IntegerField(read_only=True)

    class Meta:
        model = Administration
        fields = [
            "id",
            "participant",
            "participant_id",
            "infusion",
            "started_at",
            "stopped_at",
            "dose_mg",
            "volume_ml",
            "was_stopped_early",
            "product",
            "batch",
            "comment",
            "source",
            "is_void",
            "revision",
        ]


class TableSerializer(serializers.ModelSerializer[DosingTable]):
    class Meta:
        model = DosingTable
        fields = [
            "id",
            "code",
            "version",
            "title",
            "status",
            "product",
            "is_synthetic",
            "source_citation",
            "licence_note",
            "sha256",
            "effective_from",
            "content",
        ]


class NewAdministrationSerializer(serializers.Serializer[Any]):
    infusion = serializers.IntegerField(min_value=1, max_value=99)
    started_at = serializers.DateTimeField(help_text="With its offset, or in UTC.")
    stopped_at = serializers.DateTimeField()
    product = serializers.CharField(max_length=40)
    dose_mg = serializers.DecimalField(max_digits=10, decimal_places=3, required=False)
    volume_ml = serializers.DecimalField(max_digits=8, decimal_places=2, required=False)
    was_stopped_early = serializers.BooleanField(default=False)
    batch = serializers.CharField(max_length=40, required=False, allow_blank=True, default="")
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=1000)


_ONE_PARTICIPANT = OpenApiParameter("participant", int, description="Key of one participant.")


class Worksheets(generics.ListAPIView[DoseWorksheet], TrialView):
    pagination_class = LimitOffsetPagination
    queryset = DoseWorksheet.objects.none()
    serializer_class = WorksheetSerializer
    filter_backends: list[Any] = []

    def get_queryset(self) -> QuerySet[DoseWorksheet]:
        if getattr(self, "swagger_fake_view", False):
            return DoseWorksheet.objects.none()
        check_can_see_tables(self.membership, self.membership.trial)
        return _of_participant(selectors.worksheets(self.membership), self.request)

    @extend_schema(operation_id="worksheets_list", parameters=[_ONE_PARTICIPANT])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The dose worksheets that the membership may see, superseded ones too."""
        return self.list(request, *args, **kwargs)


class Administrations(generics.ListAPIView[Administration], TrialView):
    pagination_class = LimitOffsetPagination
    queryset = Administration.objects.none()
    serializer_class = AdministrationSerializer
    filter_backends: list[Any] = []

    def get_queryset(self) -> QuerySet[Administration]:
        if getattr(self, "swagger_fake_view", False):
            return Administration.objects.none()
        check_can_see_tables(self.membership, self.membership.trial)
        return _of_participant(selectors.administrations(self.membership), self.request)

    @extend_schema(operation_id="administrations_list", parameters=[_ONE_PARTICIPANT])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The infusions that the membership may see, void ones too."""
        return self.list(request, *args, **kwargs)


class NewAdministration(TrialView):
    to_write = Permission.RECORD_ADMINISTRATION
    queryset = Administration.objects.none()
    serializer_class = AdministrationSerializer

    @extend_schema(
        operation_id="administrations_create",
        request=NewAdministrationSerializer,
        responses={201: AdministrationSerializer},
    )
    def post(self, request: Request, trial: str, participant: int) -> Response:
        """Record one infusion of the participant as it was given."""
        person = self.participant()
        check_can_see_doses(self.membership, person)
        sent = self.typed(NewAdministrationSerializer)
        given = actions.record_administration(participant=person, by=self.membership, **sent)
        return Response(self.get_serializer(given).data, status=status.HTTP_201_CREATED)


class Tables(generics.ListAPIView[DosingTable], TrialView):
    pagination_class = LimitOffsetPagination
    queryset = DosingTable.objects.none()
    serializer_class = TableSerializer
    filter_backends: list[Any] = []

    def get_queryset(self) -> QuerySet[DosingTable]:
        if getattr(self, "swagger_fake_view", False):
            return DosingTable.objects.none()
        check_can_see_tables(self.membership, self.membership.trial)
        return selectors.tables(self.membership)

    @extend_schema(operation_id="dosing_tables_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The dosing tables of the trial, with their cells."""
        return self.list(request, *args, **kwargs)


class OneTable(TrialView):
    queryset = DosingTable.objects.none()
    serializer_class = TableSerializer

    @extend_schema(operation_id="dosing_tables_read")
    def get(self, request: Request, trial: str, table: int) -> Response:
        """One dosing table with its cells and its hash."""
        check_can_see_tables(self.membership, self.membership.trial)
        try:
            return Response(self.get_serializer(selectors.table_for(self.membership, table)).data)
        except ObjectDoesNotExist:
            raise Http404("No such dosing table in this trial.") from None


def _of_participant(rows: QuerySet[Any], request: Request) -> QuerySet[Any]:
    wanted = request.query_params.get("participant", "")
    if not wanted:
        return rows
    if not wanted.isascii() or not wanted.isdigit() or len(wanted) > 18:
        raise serializers.ValidationError({"participant": ["The key of a participant is a whole number."]})
    return rows.filter(participant=int(wanted))


urlpatterns = [
    path("worksheets/", Worksheets.as_view(), name="worksheets"),
    path("administrations/", Administrations.as_view(), name="administrations"),
    path("participants/<int:participant>/administrations/", NewAdministration.as_view(), name="record_administration"),
    path("dosing-tables/", Tables.as_view(), name="tables"),
    path("dosing-tables/<int:table>/", OneTable.as_view(), name="table"),
]
