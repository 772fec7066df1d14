from django.apps import AppConfig


class CasebookConfig(AppConfig):
    name = "casebook"
    verbose_name = "What was observed"

    def ready(self) -> None:
        from casebook.actions.entries import on_visit_recorded
        from casebook.actions.laboratory import on_anchor_moved
        from trials.announcements import anchor_moved, visit_recorded

        anchor_moved.connect(on_anchor_moved, dispatch_uid="casebook.anchor")
        visit_recorded.connect(on_visit_recorded, dispatch_uid="casebook.visit")
