from django.apps import AppConfig


class CasebookConfig(AppConfig):
    name = "casebook"
    verbose_name = "What was observed"

    def ready(self) -> None:
        from casebook.actions.laboratory import on_anchor_moved
        from trials.announcements import anchor_moved

        anchor_moved.connect(on_anchor_moved, dispatch_uid="casebook.anchor")
