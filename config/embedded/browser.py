"""Find the browser the tests drive; install Debian's Chromium where that is allowed, else say the one line to type."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
MAC = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
# Fonts so that text has the width it has for users; poppler reads the PDFs that tests look into.
PACKAGES = ("chromium", "fonts-liberation", "fonts-dejavu-core", "poppler-utils")


def find() -> Path | None:
    """The browser's program; ``CHROME_PATH`` names one."""
    if forced := os.environ.get("CHROME_PATH"):
        return Path(forced)
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    return next((Path(path) for path in MAC if Path(path).exists()), None)


def install_command() -> list[str] | None:
    """The command that installs the browser on this system, or None where we know none."""
    if sys.platform == "darwin":
        return ["brew", "install", "--cask", "chromium"] if shutil.which("brew") else None
    if shutil.which("apt-get"):
        return ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    if shutil.which("dnf"):
        return ["dnf", "install", "-y", "chromium"]
    return None


def _become_root() -> list[str] | None:
    """What to put before a command to run it as root without a question, or None where that is not allowed."""
    if os.geteuid() == 0:
        return []
    if not shutil.which("sudo"):
        return None
    allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    return ["sudo", "-n"] if allowed else None


def install() -> bool:
    """Install the browser if this user may; return whether there is one afterwards."""
    command, root = install_command(), _become_root()
    if command is None or command[0] == "brew" or root is None:
        return False
    print("Installing Chromium for the browser tests (once)", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    steps = [command]
    if command[0] == "apt-get":
        # The lists of a fresh machine are empty or old; try them as they are before asking the mirrors.
        steps = [command, ["apt-get", "update", "-qq"], command]
    for step in steps:
        result = subprocess.run(
            [*root, *step], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if find():
            return True
    print(result.stderr.strip()[-2000:], flush=True)
    return False


def main() -> int:
    if find() or install():
        return 0
    command = install_command()
    line = " ".join((["sudo"] if command and command[0] != "brew" and os.geteuid() != 0 else []) + (command or []))
    print(
        f"The browser tests need Chromium, and it could not be installed from here. Type:  {line}"
        if command
        else "The browser tests need Chromium or Chrome. Install one, or name it with CHROME_PATH=/path/to/it."
    )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
