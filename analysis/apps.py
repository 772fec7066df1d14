from django.apps import AppConfig


class AnalysisConfig(AppConfig):
    name = "analysis"
    verbose_name = "Endpoints and gates"

    def ready(self) -> None:
        from analysis import checks, tasks
        from casebook import announcements as casebook
        from trials import announcements as trials

        casebook.observation_recorded.connect(tasks.on_observation, dispatch_uid="analysis.observation")
        trials.anchor_moved.connect(tasks.on_participant, dispatch_uid="analysis.anchor")
        trials.deviation_recorded.connect(tasks.on_participant, dispatch_uid="analysis.deviation")
        trials.participant_enrolled.connect(tasks.on_participant, dispatch_uid="analysis.enrolment")
        trials.definition_read.connect(checks.on_definition_read, dispatch_uid="analysis.definition")
