"""Where the embedded servers keep their data, sockets and programs, and as whom they run.

PostgreSQL refuses to run as root. Started by root, it runs as an unprivileged user; that user may not be able to reach
the checkout (a root home is closed), and the permissions of folders that exist already are not ours to change. Then
its data and a copy of its programs live in a folder of our own, outside.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from config.embedded.processes import EmbeddedError

# sun_path holds 104 bytes on macOS and 108 on Linux.
LONGEST_SOCKET_PATH = 100
POSTGRES_SOCKET = ".s.PGSQL.5432.lock"


def unprivileged_user() -> pwd.struct_passwd | None:
    """The user PostgreSQL runs as when root starts it; None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedError(
        "PostgreSQL does not run as root, and this machine has neither a user 'postgres' nor 'nobody' to run it as. "
        "Start as an ordinary user."
    )


def may_enter(folder: Path, user: pwd.struct_passwd) -> bool:
    """Whether ``user`` can walk into ``folder``: every folder on the way lets them through."""
    folder = folder.resolve()
    for step in (folder, *folder.parents):
        try:
            mode = step.stat()
        except OSError:
            return False
        if mode.st_uid == user.pw_uid:
            allowed = mode.st_mode & stat.S_IXUSR
        elif mode.st_gid == user.pw_gid:
            allowed = mode.st_mode & stat.S_IXGRP
        else:
            allowed = mode.st_mode & stat.S_IXOTH
        if not allowed:
            return False
    return True


def private_folder(path: Path, owner: pwd.struct_passwd | None = None) -> Path:
    """Make ``path`` a folder only ``owner`` (by default we) may enter; refuse one that belongs to somebody else."""
    wanted = owner.pw_uid if owner else os.geteuid()
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (wanted, os.geteuid()):
            raise EmbeddedError(f"{path} exists and belongs to somebody else. Move it away and start again.") from None
    if owner and path.stat().st_uid != owner.pw_uid:
        os.chown(path, owner.pw_uid, owner.pw_gid)
    path.chmod(0o700)
    return path


def _short_name(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]


def _passable_folder(path: Path) -> None:
    """Make ``path`` a folder everyone may pass, whatever the umask; one that exists is left as it is."""
    try:
        path.mkdir()
    except FileExistsError:
        return
    path.chmod(0o755)


def outside_folder() -> Path:
    """A folder all may pass and only root may write, in place of a checkout that others cannot enter."""
    for path in (Path("/var/lib/canopy-embedded"), Path(tempfile.gettempdir()) / "canopy-embedded-of-root"):
        try:
            _passable_folder(path)
        except OSError:
            continue
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return path
    raise EmbeddedError("No folder was found that root may write and PostgreSQL's user may enter, such as /var/lib.")


def home_for(wanted: Path) -> Path:
    """The folder to keep a server's data in: ``wanted`` itself, or one outside when its user cannot get there."""
    user = unprivileged_user()
    wanted.mkdir(parents=True, exist_ok=True)
    if user is None or may_enter(wanted, user):
        return wanted
    home = outside_folder() / _short_name(wanted)
    _passable_folder(home)
    return home


def socket_folder_for(home: Path, longest_name: str, owner: pwd.struct_passwd | None = None) -> Path:
    """A private folder for a unix socket whose whole path stays within what every system allows."""
    nearby = home / "sockets"
    if len(os.fsencode(nearby / longest_name)) <= LONGEST_SOCKET_PATH:
        return private_folder(nearby, owner)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    candidates = [Path(runtime)] if runtime and owner is None else []
    candidates += [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108  (private_folder refuses a stranger's)
    for parent in candidates:
        folder = parent / f"canopy-{os.geteuid()}-{_short_name(home)}"
        if len(os.fsencode(folder / longest_name)) <= LONGEST_SOCKET_PATH and os.access(parent, os.W_OK):
            return private_folder(folder, owner)
    raise EmbeddedError(f"No folder with a short enough path for a socket was found; set TMPDIR to one (home: {home}).")


def copy_programs(sources: list[Path], version: str | None) -> Path:
    """Copy the folders ``sources`` once to a place every user can enter; return the folder that holds them, by name.

    Checkouts with the same ``version`` share a copy; without one, it belongs to the sources as they are now. It is made
    aside and renamed, so that a run that starts at the same time sees all of it or none of it.
    """
    first = sources[0]
    target = outside_folder() / f"{first.name}-{version or f'{_short_name(first)}-{int(first.stat().st_mtime)}'}"
    if target.is_dir():
        return target
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for source in sources:
            unneeded = shutil.ignore_patterns("include", "doc", "*.a")
            shutil.copytree(source, aside / "copy" / source.name, symlinks=True, ignore=unneeded)
        for path in (aside / "copy", *(aside / "copy").rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))
        try:
            (aside / "copy").rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target
