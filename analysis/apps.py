from django.apps import AppConfig


class AnalysisConfig(AppConfig):
    name = "analysis"
    verbose_name = "Endpoints and gates"

    def ready(self) -> None:
        from analysis import announcements, checks, tasks
        from analysis.domain.analysis_sets import METHODS
        from analysis.domain.calculations import CALCULATIONS
        from analysis.domain.designs import DESIGN_METHODS
        from analysis.domain.endpoint_methods import ENDPOINT_METHODS
        from analysis.domain.plan import methods as plan
        from casebook import announcements as casebook
        from trials import announcements as trials
        from trials.formats import definitions
        from trials.formats.definitions import CHECK_EXAMPLES, KNOWN_METHODS

        KNOWN_METHODS["endpoint"] = dict(ENDPOINT_METHODS)
        KNOWN_METHODS["design"] = dict(DESIGN_METHODS)
        KNOWN_METHODS["analysis_set"] = {name: METHODS[name].parameters for name in METHODS}
        KNOWN_METHODS["analysis"] = plan.known()
        KNOWN_METHODS["figure"] = dict(plan.FIGURES)
        definitions.CALCULATIONS.update(CALCULATIONS)
        KNOWN_METHODS["calculation"] |= {name: one.arguments for name, one in CALCULATIONS.items()}
        CHECK_EXAMPLES["consecutive_threshold"] = checks.consecutive_threshold_example

        announcements.run_requested.connect(tasks.on_run_requested, dispatch_uid="analysis.run")
        casebook.observation_recorded.connect(tasks.on_observation, dispatch_uid="analysis.observation")
        trials.anchor_moved.connect(tasks.on_participant, dispatch_uid="analysis.anchor")
        trials.deviation_recorded.connect(tasks.on_participant, dispatch_uid="analysis.deviation")
        trials.participant_enrolled.connect(tasks.on_participant, dispatch_uid="analysis.enrolment")
