from django.apps import AppConfig


class DosingConfig(AppConfig):
    name = "dosing"
    verbose_name = "Doses"

    def ready(self) -> None:
        from casebook import announcements as casebook
        from dosing import checks, tasks  # noqa: F401
        from trials import announcements as trials
        from trials.domain.language import MethodSpec
        from trials.formats.definitions import KNOWN_METHODS

        free = frozenset({"intensity_check", "then", "dose_mg_per_kg", "total_mg_per_kg"})
        KNOWN_METHODS["dosing"] = {
            "nomogram": MethodSpec(
                required=frozenset({"table", "graft_tables"}), optional=frozenset({"intensity_check"})
            ),
            "fixed_per_kg": MethodSpec(optional=free),
            "level_guided": MethodSpec(
                required=frozenset({"algorithm", "target"}),
                optional=frozenset({"measure_on", "adjust_on", "fallback"}),
            ),
            "by_group": MethodSpec(),
        }
        KNOWN_METHODS["calculation"] |= {"dose_worksheet": MethodSpec(), "given_over_planned": MethodSpec()}
        trials.participant_enrolled.connect(tasks.on_participant, dispatch_uid="dosing.enrolment")
        trials.anchor_moved.connect(tasks.on_participant, dispatch_uid="dosing.anchor")
        casebook.observation_recorded.connect(tasks.on_observation, dispatch_uid="dosing.observation")
