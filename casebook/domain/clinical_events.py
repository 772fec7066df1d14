"""The kinds of clinical event that endpoints stand on."""

from enum import StrEnum


class EventKind(StrEnum):
    """What happened. The value is stored; :attr:`label` is read."""

    DEATH = "death"
    RELAPSE = "relapse"
    GRAFT_FAILURE = "graft_failure"
    NEUTROPHIL_ENGRAFTMENT = "neutrophil_engraftment"
    PLATELET_ENGRAFTMENT = "platelet_engraftment"
    ACUTE_GVHD = "acute_gvhd"
    CHRONIC_GVHD = "chronic_gvhd"
    VIRAL_REACTIVATION = "viral_reactivation"
    SECOND_TRANSPLANT = "second_transplant"
    LAST_CONTACT = "last_contact"

    @property
    def label(self) -> str:
        return {
            EventKind.ACUTE_GVHD: "acute GVHD",
            EventKind.CHRONIC_GVHD: "chronic GVHD",
        }.get(self, self.value.replace("_", " "))
