"""Make or renew ``.venv`` from a locked requirements file. Runs before anything is installed: standard library only.

Called by the Makefile as ``python3 config/embedded/environment.py requirements.txt``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = ROOT / ".run" / "log" / "setup.log"
OLDEST = (3, 11)

# The development set holds everything of the smaller one, at the same versions.
INCLUDED_IN = {"requirements.txt": "requirements-dev.txt"}


# Published as source only; plain Python, which needs no compiler. lifelines, a second opinion in the tests, needs it.
SOURCE_ONLY = ("autograd-gamma",)


class SetupError(Exception):
    """Why the environment could not be made, as a sentence that says the way out."""


def say(text: str) -> None:
    print(text, flush=True)


def fingerprint(requirements: str) -> str:
    """What an installation of this file is recognised by."""
    return hashlib.sha256((ROOT / requirements).read_bytes()).hexdigest()


def stamp(requirements: str) -> Path:
    return VENV / f"installed-{requirements}"


def is_installed(requirements: str) -> bool:
    """Whether .venv holds exactly this file already, by itself or as part of a larger set."""
    for name in (requirements, INCLUDED_IN.get(requirements)):
        if name and stamp(name).is_file() and stamp(name).read_text() == fingerprint(name):
            return True
    return False


def venv_works() -> bool:
    """Whether .venv has a Python that starts, is new enough and has pip. Its version may be another than this one's."""
    check = f"import pip, sys; sys.exit(sys.version_info < {OLDEST})"
    try:
        return subprocess.run([PYTHON, "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    if venv_works():
        return
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if VENV.is_symlink() or (VENV.exists() and not (VENV / "pyvenv.cfg").exists()):
        raise SetupError(f"{VENV} exists and is not a Python environment of ours. Move it away and run this again.")
    if VENV.exists():
        say("  the Python that .venv was made with is gone or too old; making it again")
        shutil.rmtree(VENV)
    say(f"  making .venv with Python {version}")
    result = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True, check=False)
    LOG.write_text(result.stdout + result.stderr)
    if result.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        if "ensurepip" in result.stdout + result.stderr or "No module named venv" in result.stderr:
            sudo = "" if os.geteuid() == 0 else "sudo "
            raise SetupError(
                f"Python {version} lacks its venv module here. On Debian or Ubuntu type:  {sudo}apt-get install -y "
                f"python{version}-venv   Then run the same command again."
            )
        raise SetupError(f"The environment .venv could not be made; the reason is in {LOG}.")


def reason(output: str) -> str:
    """One sentence for what pip said."""
    if name := re.search(r"No matching distribution found for ([\w.\-]+)(==[\w.]+)?", output):
        found = re.search(r"from versions: (none|[^)]*)", output)
        if re.search(r"NewConnectionError|Temporary failure in name resolution|ConnectTimeout|ProxyError", output):
            return "The package index could not be reached. Connect to the network and run the same command again."
        hint = " (none are offered for this Python)" if found and found[1].strip() == "none" else ""
        return (
            f"There is no ready-built package of {name[1]}{name[2] or ''} for this Python and system{hint}, and Canopy "
            "compiles nothing. Use Python 3.11, 3.12 or 3.13 on Linux (x86-64, arm64) or macOS: remove .venv and name "
            "one, as in  make demo PYTHON=/path/to/python3.12"
        )
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in output:
        return (
            "A downloaded package differs from the one that was locked (its checksum is another). Nothing of it was "
            "installed. Run the same command again; if it happens again, do not trust the package index in use."
        )
    if re.search(r"No space left on device", output):
        return "The disk is full: about 1 GB is needed. Make room and run the same command again."
    if re.search(
        r"NewConnectionError|Temporary failure in name resolution|ConnectTimeout|ReadTimeout|ProxyError", output
    ):
        return "The package index could not be reached. Connect to the network and run the same command again."
    return "The packages could not be installed."


def install(requirements: str) -> None:
    say("  installing the locked packages (about a minute the first time)")
    for name in {requirements, *INCLUDED_IN.values(), *INCLUDED_IN}:
        stamp(name).unlink(missing_ok=True)
    command: list[str | Path] = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--require-hashes", "--only-binary", ":all:", "--progress-bar", "off", "-r", ROOT / requirements]
    locked = (ROOT / requirements).read_text()
    for name in SOURCE_ONLY:
        if f"{name}==" in locked:
            command += ["--no-binary", name]
    collected, shown, output = 0, time.monotonic(), ""
    pip = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
    )
    with LOG.open("w") as log:
        for line in pip.stdout or ():
            log.write(line)
            output += line
            if line.startswith(("Collecting ", "Requirement already satisfied")):
                collected += 1
            if line.startswith("Installing collected"):
                say(f"  {collected} packages are here; unpacking them")
            elif line.startswith("Collecting ") and time.monotonic() - shown > 3:
                say(f"  {collected} packages ...")
                shown = time.monotonic()
    if pip.wait() != 0:
        raise SetupError(f"{reason(output)}\n  pip's own words are in {LOG}.")
    stamp(requirements).write_text(fingerprint(requirements))


def prepare(requirements: str) -> None:
    """Leave .venv with exactly what ``requirements`` locks; do nothing where that is so already."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with (ROOT / ".run" / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("  another setup is running in this folder; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed(requirements) and venv_works():
            return
        started = time.monotonic()
        say("Setting up the Python environment")
        make_venv()
        install(requirements)
        say(f"  done in {time.monotonic() - started:.0f} s")


def main() -> int:
    if sys.version_info < OLDEST:
        say(
            f"Canopy needs Python 3.11 or later; this is {sys.version.split()[0]}. Name one: make PYTHON=python3.12 ..."
        )
        return 1
    try:
        prepare(sys.argv[1])
    except SetupError as error:
        say(f"\n{error}")
        return 1
    except PermissionError as error:
        say(f"\n{error.filename} may not be written by this user. Use a folder of your own, then run this again.")
        return 1
    except OSError as error:
        say(f"\nThe environment could not be made: {error.strerror or error} ({error.filename or VENV}).")
        return 1
    except KeyboardInterrupt:
        say("\nStopped. The same command goes on from here.")
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
