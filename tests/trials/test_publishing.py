"""Publishing: what is wrong is told with file, line and remedy, and nothing is published; what is published stays."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from tests.world import DEFINITIONS, definition
from trials import actions, selectors
from trials.models import ProtocolVersion, Site, Trial
from trials.permissions import NotPossible

pytestmark = pytest.mark.django_db


def publish(file: Path, *arguments: str) -> tuple[str, str]:
    """What the command wrote, and what it complained of; CommandError is the exit code 1."""
    out, err = StringIO(), StringIO()
    try:
        call_command("publish_protocol", str(file), *arguments, stdout=out, stderr=err)
    except CommandError as error:
        return out.getvalue(), err.getvalue() + str(error)
    return out.getvalue(), err.getvalue()


def broken(tmp_path: Path, old: str, new: str) -> Path:
    """Larch with one thing changed."""
    text = definition()
    assert old in text
    file = tmp_path / "broken.yaml"
    file.write_text(text.replace(old, new, 1))
    return file


#: What is broken, into what, and words of the complaint.
MISTAKES = {
    "unknown operator": ("{item: DM.AGE, lt: 18}", "{item: DM.AGE, less_than: 18}", "unknown operator `less_than`"),
    "symbol for an operator": ("{item: DM.AGE, lt: 18}", '{item: DM.AGE, "<": 18}', "Did you mean `lt`?"),
    "item that no form has": ("{item: QS.PERFORMANCE, ge: 70}", "{item: QS.KARNOFSKY, ge: 70}", "QS.KARNOFSKY"),
    "visit before the anchor": ("label: Screening, from: -30", "label: Screening, from: -60", "-60"),
    "overlapping windows": ("to: 42, window_before: 3", "to: 42, window_before: 5", "overlap"),
    "example that fails": ("{given: {DM.AGE: 18}, then: \"no\"}", "{given: {DM.AGE: 18}, then: \"yes\"}", "example"),
    "duplicate id": ("{id: I2, text: Performance", "{id: I1, text: Performance", "I1"),
    "duplicate key": ("capture: prospective\n", "capture: prospective\ncapture: prospective\n", "written twice"),
    "unknown key": ("capture: prospective", "capture: prospective\ncatpure: x", "unknown key `catpure`"),
    "unknown assignment": ("{method: single_arm, to", "{method: coin, to", "there is no assignment method `coin`"),
    "role that does not exist": ("waivable_by: [investigator]", "waivable_by: [wizard]", "wizard"),
    "anchor of YAML": ("trial: larch", "trial: &a larch", "anchors (&) and aliases (*)"),
    "not YAML": ("trial: larch", "trial: [larch", "YAML"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_file_line_and_remedy(tmp_path: Path, mistake: str) -> None:
    old, new, words = MISTAKES[mistake]
    file = broken(tmp_path, old, new)
    _, complaint = publish(file)
    assert f"{file}:" in complaint
    line = int(complaint.split(f"{file}:")[1].split(":")[0])
    assert 1 <= line <= file.read_text().count("\n") + 1
    assert words in complaint
    assert "Nothing is published" in complaint
    assert "Traceback" not in complaint
    assert not Trial.objects.exists()


def bomb() -> str:
    """Nine aliases of nine aliases, nine deep: a billion words, were they ever expanded."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for one, before in zip("bcdefghi", "abcdefgh", strict=True):
        lines.append(f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# " + b"x" * 10 * 1024 * 1024, "10.0 MiB"),
        (bomb().encode(), "anchors (&) and aliases (*)"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"", "empty"),
        (b"trial: larch\n---\ntrial: alder\n", "second document"),
        (b"trial: !!python/object/apply:os.system ['true']\n", "tag"),
    ],
    ids=["10 MB", "aliases", "bytes", "empty", "two documents", "tag"],
)
def test_a_file_that_is_no_definition_is_refused_at_once(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "hostile.yaml"
    file.write_bytes(content)
    _, complaint = publish(file)
    assert f"{file}:1" in complaint or f"{file}:2" in complaint
    assert words in complaint
    assert not Trial.objects.exists()


def test_a_file_that_is_not_there_is_a_sentence() -> None:
    _, complaint = publish(Path("/nowhere/trial.yaml"))
    assert "cannot be read" in complaint


def test_the_first_version_opens_the_trial_with_its_sites() -> None:
    out, complaint = publish(DEFINITIONS / "larch.yaml", "--kind", "practice")
    assert not complaint
    assert "is the first version" in out
    trial = Trial.objects.get()
    assert (trial.code, trial.kind, trial.fictitious) == ("larch", "practice", True)
    assert list(Site.objects.values_list("code", flat=True).order_by("code")) == ["A", "B"]
    version = trial.active_version
    assert version.source_text == definition()
    assert version.protocol.trial == "larch"
    assert version.sha256 in out


def test_checking_publishes_nothing() -> None:
    out, _ = publish(DEFINITIONS / "larch.yaml", "--check-only")
    assert "The definition holds" in out
    assert not Trial.objects.exists()


def test_the_same_text_again_changes_nothing() -> None:
    publish(DEFINITIONS / "larch.yaml")
    out, complaint = publish(DEFINITIONS / "larch.yaml")
    assert "no change" in out
    assert not complaint
    assert ProtocolVersion.objects.count() == 1


def test_the_same_version_with_other_content_is_refused(tmp_path: Path) -> None:
    publish(DEFINITIONS / "larch.yaml")
    out, complaint = publish(broken(tmp_path, "{item: DM.AGE, lt: 18}", "{item: DM.AGE, lt: 18}\n      note: changed"))
    assert "eligibility.include[I1].note" in out
    assert "Give the amendment a new version number" in complaint
    assert ProtocolVersion.objects.count() == 1


def test_an_amendment_shows_its_changes_and_supersedes(tmp_path: Path) -> None:
    publish(DEFINITIONS / "larch.yaml")
    file = tmp_path / "v2.yaml"
    file.write_text(definition().replace('version: "1.0"', 'version: "1.1"', 1).replace("ge: 70", "ge: 60"))
    out, _ = publish(file)
    assert "eligibility.include[I2].when.ge: 70 -> 60" in out
    assert 'version: "1.0" -> "1.1"' in out
    states = dict(ProtocolVersion.objects.values_list("version", "status"))
    assert states == {"1.0": "SUPERSEDED", "1.1": "ACTIVE"}
    assert Trial.objects.get().protocol.eligibility.include[1].when.value == 60  # type: ignore[union-attr]


def test_a_practice_trial_stands_on_the_same_file() -> None:
    publish(DEFINITIONS / "larch.yaml")
    publish(DEFINITIONS / "larch.yaml", "--code", "larch-practice", "--kind", "practice")
    kinds = dict(Trial.objects.values_list("code", "kind"))
    assert kinds == {"larch": "conduct", "larch-practice": "practice"}
    practice = selectors.active_version("larch-practice")
    assert practice is not None
    assert practice.protocol.trial == "larch-practice"


def test_the_kind_of_a_trial_does_not_change() -> None:
    publish(DEFINITIONS / "larch.yaml")
    _, complaint = publish(DEFINITIONS / "larch.yaml", "--kind", "practice")
    assert "that does not change" in complaint
    with pytest.raises(NotPossible):
        actions.publish_protocol(text=definition(), file="larch.yaml", kind="practice", by=None, reason="x")


@pytest.mark.requirement("DEF3")
@pytest.mark.django_db(transaction=True)
def test_what_is_published_cannot_be_altered_and_a_forced_change_stops_the_start() -> None:
    publish(DEFINITIONS / "larch.yaml")
    with pytest.raises(DatabaseError), transaction.atomic():
        ProtocolVersion.objects.update(source_text="other")
    with pytest.raises(DatabaseError), transaction.atomic():
        ProtocolVersion.objects.all().delete()
    before = run_checks(tags=["database"], databases=["default"])
    assert not [message for message in before if str(message.id).startswith("trials.")]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE trials_protocolversion DISABLE TRIGGER freeze_trials_protocolversion")
        cursor.execute("""UPDATE trials_protocolversion SET definition = jsonb_set(definition, '{title}', '"Other"')""")
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE trials_protocolversion ENABLE ALWAYS TRIGGER freeze_trials_protocolversion")
    found = [message for message in run_checks(tags=["database"], databases=["default"]) if message.id == "trials.E001"]
    assert "larch 1.0" in found[0].msg


SHIPPED = sorted((Path(__file__).parents[2] / "trials" / "definitions").glob("*/v*.yaml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.name)
def test_every_shipped_definition_can_be_published(file: Path) -> None:
    out, complaint = publish(file, "--kind", "reconstruction")
    assert not complaint
    assert "is active" in out


def test_the_text_is_shown_whole_section_by_section() -> None:
    sections = selectors.sections_of(definition())
    assert [section.name for section in sections][:3] == ["head", "anchor", "groups"]
    shown = "\n".join(words + comment for section in sections for words, comment in section.lines)
    assert shown == definition().rstrip("\n")
