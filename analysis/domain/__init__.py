"""Statistics as pure functions of arrays; results are frozen dataclasses that name their method."""
