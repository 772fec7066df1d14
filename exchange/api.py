"""The API of the export centre: ask for an export, watch it, take its file.

A refusal is a sentence: 400 with the field, 403 for the role, 404 for what is not seen, 409 for the state of things
(``config.api`` translates).
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import FileResponse, Http404
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, renderers, serializers, status
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from accounts.roles import Permission
from exchange import actions, selectors
from exchange.datasets import DATASETS
from exchange.domain.delimited import Variant
from exchange.models import ExportJob
from trials.api import TrialView


class ExportSerializer(serializers.ModelSerializer[ExportJob]):
    datasets = serializers.ListField(source="specification.datasets", child=serializers.CharField(), read_only=True)
    variant = serializers.CharField(source="specification.variant", read_only=True)
    requested_by = serializers.CharField(source="requested_by.user", read_only=True)
    progress_percent = serializers.IntegerField(read_only=True)
    download = serializers.SerializerMethodField()

    class Meta:
        model = ExportJob
        fields = [
            "key",
            "datasets",
            "variant",
            "requested_by",
            "requested_at",
            "state",
            "progress_percent",
            "failure",
            "snapshot",
            "file_name",
            "size_bytes",
            "sha256",
            "row_counts",
            "finished_at",
            "expires_at",
            "removed_at",
            "download",
        ]

    @extend_schema_field(OpenApiTypes.URI)
    def get_download(self, job: ExportJob) -> str:
        kwargs = {"trial": job.trial.code, "key": job.key}
        return reverse("exchange_api:download", kwargs=kwargs, request=self.context.get("request"))


class RequestSerializer(serializers.Serializer[Any]):
    datasets = serializers.ListField(
        child=serializers.ChoiceField(choices=list(DATASETS)),
        allow_empty=False,
        required=False,
        help_text="Left out: everything that your role may take out.",
    )
    variant = serializers.ChoiceField(choices=[one.value for one in Variant], default=Variant.STATISTICAL.value)


class Exports(generics.ListAPIView[ExportJob], TrialView):
    pagination_class = LimitOffsetPagination
    to_write = Permission.EXPORT_DATA
    queryset = ExportJob.objects.none()
    serializer_class = ExportSerializer
    filter_backends: list[Any] = []

    def get_queryset(self) -> QuerySet[ExportJob]:
        if getattr(self, "swagger_fake_view", False):
            return ExportJob.objects.none()
        return selectors.export_jobs(self.membership)

    @extend_schema(operation_id="exports_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The exports that you see, the latest first."""
        return self.list(request, *args, **kwargs)

    @extend_schema(request=RequestSerializer, responses={202: ExportSerializer})
    def post(self, request: Request, trial: str) -> Response:
        """Ask for an export; it is made in the background. Ask `state` until it is done, then `download`."""
        sent = self.typed(RequestSerializer)
        sent.setdefault("datasets", [one.id for one in selectors.datasets_for(self.membership)])
        job = actions.request_export(trial=self.membership.trial, by=self.membership, **sent)
        return Response(self.get_serializer(job).data, status=status.HTTP_202_ACCEPTED)


class OneExport(TrialView):
    queryset = ExportJob.objects.none()
    serializer_class = ExportSerializer

    def job(self) -> ExportJob:
        try:
            return selectors.export_job_for(self.membership, self.kwargs["key"])
        except ExportJob.DoesNotExist:
            raise Http404("There is no such export, or it is not for you.") from None

    @extend_schema(operation_id="exports_retrieve")
    def get(self, request: Request, trial: str, key: str) -> Response:
        """One export: how far it is, its size, hash and row counts."""
        return Response(self.get_serializer(self.job()).data)


class ZipRenderer(renderers.BaseRenderer):
    """Names the media type of the file, which is sent as it lies on the disk."""

    media_type = "application/zip"
    format = "zip"


class TakeExport(OneExport):
    # JSON stands first: it is what a refusal is written in.
    renderer_classes = [renderers.JSONRenderer, ZipRenderer]

    def handle_exception(self, exc: Exception) -> Response:
        # Also where a ZIP was asked for by name.
        self.request.accepted_renderer, self.request.accepted_media_type = renderers.JSONRenderer(), "application/json"
        return super().handle_exception(exc)

    @extend_schema(operation_id="exports_download", responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request, trial: str, key: str) -> FileResponse:  # type: ignore[override]
        """The ZIP. That you took it goes into the audit trail."""
        job = self.job()
        file = actions.download_export(job=job, by=self.membership)
        answer = FileResponse(file.open("rb"), as_attachment=True, filename=job.file_name)
        answer["Content-Encoding"] = "identity"  # not to be compressed once more
        return answer


urlpatterns = [
    path("exports/", Exports.as_view(), name="exports"),
    path("exports/<uuid:key>/", OneExport.as_view(), name="export"),
    path("exports/<uuid:key>/file/", TakeExport.as_view(), name="download"),
]
