"""``make`` lists what there is to do, and says a sentence where it cannot begin."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from config.embedded import environment
from tests.conftest import ROOT


def test_make_alone_lists_every_target_meant_for_people() -> None:
    listed = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, check=True).stdout
    documented = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "demo-reset", "test", "check", "bench", "lock", "docs", "format"} <= set(documented)
    for target in documented:
        assert f"make {target}" in listed


def test_without_a_new_enough_python_one_line_says_what_to_type() -> None:
    answer = subprocess.run(["make", "-C", ROOT, "PYTHON=", "demo"], capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    assert "Canopy needs Python 3.11 or later" in answer.stdout
    assert "apt-get install" in answer.stdout


@pytest.mark.parametrize(
    "pip_said, sentence",
    [
        ("ERROR: No matching distribution found for numpy==2.4.6", "no ready-built package of numpy==2.4.6"),
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError'\n"
            "ERROR: No matching distribution found for altair==6.3.0",
            "index could not be reached",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "checksum"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
    ],
)
def test_a_failed_installation_is_explained(pip_said: str, sentence: str) -> None:
    assert sentence in environment.reason(pip_said)


def test_an_environment_that_holds_the_locked_packages_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    shutil.copy(ROOT / "requirements-dev.txt", tmp_path)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    (tmp_path / ".venv").mkdir()
    assert not environment.is_installed("requirements.txt")
    # The development set holds everything of the smaller one.
    environment.stamp("requirements-dev.txt").write_text(environment.fingerprint("requirements-dev.txt"))
    assert environment.is_installed("requirements.txt")
    (tmp_path / "requirements-dev.txt").write_text("another==1\n")
    assert not environment.is_installed("requirements-dev.txt")
    assert not environment.is_installed("requirements.txt")


def test_every_locked_package_has_a_checksum_and_no_index_is_named() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "docker/requirements.txt"):
        text = (ROOT / name).read_text()
        assert len(re.findall(r"^[A-Za-z0-9][^ ]*==", text, re.MULTILINE)) > 50
        blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
        assert all("--hash=sha256:" in block for block in blocks)
        assert "://" not in text
        assert "index-url" not in text
