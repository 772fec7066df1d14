"""How the API describes itself: names that say their floor, so that two floors may each have a `Table`."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction
from rest_framework.serializers import Serializer


def floor_of(part: object) -> str:
    """The package that a view or a serializer comes from.

    >>> floor_of(AutoSchema())
    'drf_spectacular'
    """
    return type(part).__module__.partition(".")[0]


class Schema(AutoSchema):
    """One tag a floor; operations named after method and address; components named after floor and class."""

    def get_tags(self) -> list[str]:
        return [floor_of(self.view)]

    def get_operation_id(self) -> str:
        places = [part.strip("{}") for part in self.path.strip("/").split("/")[4:]]
        return "_".join([self.method.lower(), *places]).replace("-", "_")

    def get_serializer_name(self, serializer: Serializer[Any], direction: Direction) -> str:
        name = super().get_serializer_name(serializer, direction)
        if floor_of(serializer) == "rest_framework":  # made where it is used, under a name of its own
            return name
        floor = "".join(word.capitalize() for word in floor_of(serializer).split("_"))
        return f"{floor}{name}"
