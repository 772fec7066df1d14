"""The designs that a definition may name. Only a staged design has gates (:mod:`analysis.domain.gates`)."""

from __future__ import annotations

from collections.abc import Mapping

from trials.domain.language import MethodSpec

DESIGN_METHODS: Mapping[str, MethodSpec] = {
    "simon_two_stage": MethodSpec(),
    "single_proportion": MethodSpec(optional=frozenset({"loss", "inflation"})),
    "two_group_superiority": MethodSpec(),
}
