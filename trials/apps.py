from django.apps import AppConfig


class TrialsConfig(AppConfig):
    name = "trials"
    verbose_name = "Trials and the people in them"

    def ready(self) -> None:
        from trials import checks  # noqa: F401
