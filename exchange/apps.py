from django.apps import AppConfig


class ExchangeConfig(AppConfig):
    name = "exchange"
    verbose_name = "Data in and out"

    def ready(self) -> None:
        from exchange import announcements, tasks

        announcements.export_requested.connect(tasks.on_request, dispatch_uid="exchange.request")
