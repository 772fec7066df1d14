"""The API of dosing: worksheets, tables, parameter sets and algorithms, infusions, exposure.

Reads go as far as the membership sees; one write is one action. An infusion is known by participant and number: the
same request again answers what there is; another infusion under that number is 409. Numbers are texts, so that no digit
is lost; an exposure is an estimate and a number.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.http import Http404
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.roles import Permission
from dosing import actions, selectors
from dosing.domain.states import TableStatus, WorksheetStatus
from dosing.models import Administration, DoseWorksheet, DosingModel, DosingTable
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
    status = serializers.SerializerMethodField()

    @extend_schema_field(serializers.ChoiceField(choices=[one.value for one in WorksheetStatus]))
    def get_status(self, worksheet: DoseWorksheet) -> str:
        return selectors.status_of(worksheet, worksheet.participant.counted_infusions).value  # type: ignore[attr-defined]

    class Meta:
        model = DoseWorksheet
        fields = [
            "id",
            "participant",
            "participant_id",
            "status",
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


class _ByThreePeople(serializers.Serializer[Any]):
    """Who entered, verified, approved and retired a table, a set or an algorithm; null where nobody did yet."""

    entered_by = serializers.CharField(source="entered_by.user", default=None, read_only=True, allow_null=True)
    verified_by = serializers.CharField(source="verified_by.user", default=None, read_only=True, allow_null=True)
    approved_by = serializers.CharField(source="approved_by.user", default=None, read_only=True, allow_null=True)
    retired_by = serializers.CharField(source="retired_by.user", default=None, read_only=True, allow_null=True)


_OF_THREE_PEOPLE = [
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
    "created_at",
    "entered_by",
    "verified_by",
    "verified_at",
    "approved_by",
    "approved_at",
    "effective_from",
    "retired_by",
    "retired_at",
    "retired_because",
    "content",
]


class TableSerializer(_ByThreePeople, serializers.ModelSerializer[DosingTable]):
    class Meta:
        model = DosingTable
        fields = _OF_THREE_PEOPLE


class ModelSerializer(_ByThreePeople, serializers.ModelSerializer[DosingModel]):
    """A parameter set or a level-guided algorithm; ``content`` is the whole file in canonical form."""

    is_intact = serializers.SerializerMethodField(help_text="Whether its hash is still that of the entry.")

    @extend_schema_field(serializers.BooleanField())
    def get_is_intact(self, model: DosingModel) -> bool:
        return selectors.is_intact(model)

    class Meta:
        model = DosingModel
        fields = ["kind", *_OF_THREE_PEOPLE, "is_intact"]


class PredictedSerializer(serializers.Serializer[Any]):
    """One window of exposure with the ends of its interval."""

    window = serializers.ChoiceField(choices=["pre", "post", "total"])
    value = serializers.FloatField()
    low = serializers.FloatField()
    high = serializers.FloatField()


class TargetSerializer(serializers.Serializer[Any]):
    """A target of the protocol beside the exposure; ``why_not`` says why the two are not compared."""

    id = serializers.CharField(source="target.id")
    window = serializers.CharField(source="target.window")
    low = serializers.DecimalField(source="target.low", max_digits=None, decimal_places=None, allow_null=True)
    high = serializers.DecimalField(source="target.high", max_digits=None, decimal_places=None, allow_null=True)
    unit = serializers.CharField(source="target.unit")
    assay = serializers.CharField(source="target.assay", allow_blank=True)
    is_inside = serializers.BooleanField(allow_null=True)
    share_inside = serializers.FloatField(allow_null=True)
    why_not = serializers.CharField(allow_blank=True)


class ExposureSerializer(serializers.Serializer[Any]):
    """The expected exposure of one participant, or what is missing for one."""

    participant = serializers.CharField()
    participant_id = serializers.IntegerField()
    missing = serializers.ListField(child=serializers.CharField(), help_text="Empty where there is an exposure.")
    parameter_set = serializers.CharField(allow_null=True)
    parameter_set_sha256 = serializers.CharField(allow_null=True)
    is_synthetic = serializers.BooleanField(help_text="Whether the parameter set is invented.")
    unit = serializers.CharField(allow_blank=True)
    assay = serializers.CharField(allow_blank=True)
    basis = serializers.CharField(allow_blank=True, help_text="Whose uncertainty the interval is.")
    level = serializers.FloatField(allow_null=True, help_text="Share of the simulated patients inside the interval.")
    seed = serializers.IntegerField(allow_null=True)
    levels_used = serializers.IntegerField()
    levels_unused = serializers.ListField(child=serializers.CharField(), help_text="Each with its reason.")
    exposure = PredictedSerializer(many=True)
    targets = TargetSerializer(many=True)


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
        return _of_participant(selectors.worksheets_with_infusions(self.membership), self.request)

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


class Models(generics.ListAPIView[DosingModel], TrialView):
    pagination_class = LimitOffsetPagination
    queryset = DosingModel.objects.none()
    serializer_class = ModelSerializer
    filter_backends: list[Any] = []

    def get_queryset(self) -> QuerySet[DosingModel]:
        if getattr(self, "swagger_fake_view", False):
            return DosingModel.objects.none()
        check_can_see_tables(self.membership, self.membership.trial)
        rows = selectors.models(self.membership)
        for name, choices in (("kind", DosingModel.Kind.values), ("status", list(TableStatus))):
            if wanted := self.request.query_params.get(name, ""):
                if wanted not in choices:
                    raise serializers.ValidationError({name: [f"Choose one of {', '.join(choices)}."]})
                rows = rows.filter(**{name: wanted})
        return rows

    @extend_schema(
        operation_id="dosing_models_list",
        parameters=[
            OpenApiParameter("kind", str, enum=DosingModel.Kind.values, description="Of this kind only."),
            OpenApiParameter("status", str, enum=list(TableStatus), description="In this state only."),
        ],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The parameter sets and level-guided algorithms of the trial, every version, with their content."""
        return self.list(request, *args, **kwargs)


class OneModel(TrialView):
    queryset = DosingModel.objects.none()
    serializer_class = ModelSerializer

    @extend_schema(operation_id="dosing_models_read")
    def get(self, request: Request, trial: str, model: int) -> Response:
        """One parameter set or algorithm with its content, its hash and the people who brought it into force."""
        check_can_see_tables(self.membership, self.membership.trial)
        try:
            return Response(self.get_serializer(selectors.model_for(self.membership, model)).data)
        except ObjectDoesNotExist:
            raise Http404("No such parameter set or algorithm in this trial.") from None


class Exposure(TrialView):
    queryset = DoseWorksheet.objects.none()
    serializer_class = ExposureSerializer

    @extend_schema(operation_id="exposure_read")
    def get(self, request: Request, trial: str, participant: int) -> Response:
        """The expected exposure before and after the graft, from doses given and planned and from levels."""
        person = self.participant()
        check_can_see_doses(self.membership, person)
        found = selectors.exposure_of(person)
        parameters, predicted = found.parameters, found.predicted
        return Response(
            self.get_serializer(
                {
                    "participant": str(person),
                    "participant_id": person.pk,
                    "missing": found.missing,
                    "parameter_set": parameters.id if parameters else None,
                    "parameter_set_sha256": parameters.sha256 if parameters else None,
                    "is_synthetic": parameters is not None and parameters.is_synthetic,
                    "unit": found.area_unit,
                    "assay": parameters.assay if parameters else "",
                    "basis": predicted.basis if predicted else "",
                    "level": predicted.level if predicted else None,
                    "seed": predicted.seed if predicted else None,
                    "levels_used": found.levels.used,
                    "levels_unused": found.levels.unused,
                    "exposure": [
                        {"window": window, **vars(getattr(predicted, window))}
                        for window in ("pre", "post", "total")
                        if predicted is not None
                    ],
                    "targets": found.targets,
                }
            ).data
        )


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
    path("dosing-models/", Models.as_view(), name="models"),
    path("dosing-models/<int:model>/", OneModel.as_view(), name="model"),
    path("participants/<int:participant>/exposure/", Exposure.as_view(), name="exposure"),
]
