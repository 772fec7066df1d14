"""The definition file as a publisher meets it: read, with the methods that the floors above can run."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from accounts.roles import ROLES
from trials.domain import language
from trials.domain.calculations import Calculation
from trials.domain.definition import Protocol
from trials.domain.language import DefinitionError, DefinitionErrors, ExampleCheck, MethodSpec

_NUMBERING = frozenset({"number_format", "screening_number_format"})

#: Kind of method -> its names and parameters. A floor that runs methods adds its own in ``AppConfig.ready``:
#: ``KNOWN_METHODS["dosing"] = {"nomogram": MethodSpec(...), ...}``. A kind that nobody named is not checked.
KNOWN_METHODS: dict[str, dict[str, MethodSpec]] = {
    "assignment": {
        "single_arm": MethodSpec(optional=_NUMBERING | {"to"}),
        "as_treated": MethodSpec(optional=_NUMBERING | {"to"}),
        "permuted_blocks": MethodSpec(required=frozenset({"ratio", "blocks"}), optional=_NUMBERING),
    },
    "role": {key: MethodSpec() for key in ROLES},
    "calculation": {"consent_valid": MethodSpec()},
}
#: Calculation of an item -> its function. Filled in the same way, beside ``KNOWN_METHODS["calculation"]``.
CALCULATIONS: dict[str, Calculation] = {}
#: Method of an endpoint -> the function that runs one example of the file. Filled in the same way.
CHECK_EXAMPLES: dict[str, ExampleCheck] = {}


@lru_cache(maxsize=16)
def read_definition(text: str, *, file: str) -> Protocol:
    """The protocol of a definition's text; raises DefinitionErrors with everything that is wrong in it.

    The same text gives the same frozen protocol: it is read once, however often it is checked and published.
    """
    return language.parse(text, file=file, known_methods=KNOWN_METHODS, check_examples=CHECK_EXAMPLES)


def read_definition_file(path: Path) -> tuple[str, Protocol]:
    """The text of a definition file and its protocol; a file too large or not text is refused without being read."""
    try:
        if path.stat().st_size > language.MAX_BYTES:
            size = f"{path.stat().st_size / 1024 / 1024:.1f} MiB"
            raise _refused(
                path, f"the file has {size}; a definition has at most 1 MiB", "Check that this is the right file."
            )
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _refused(
            path, f"the file cannot be read: {error.strerror}", "Check the path and its permissions."
        ) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _refused(path, "the file is not UTF-8 text", "Save it as UTF-8.", line) from None
    return text, read_definition(text, file=str(path))


def _refused(path: Path, rule: str, remedy: str, line: int = 1) -> DefinitionErrors:
    return DefinitionErrors([DefinitionError(str(path), line, "", rule, remedy)])
