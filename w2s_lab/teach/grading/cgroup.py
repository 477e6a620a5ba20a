"""A control group for one submission, where this process may make one: the kernel keeps its memory.

Such a group sees all memory, that of files in /dev/shm and of pipes included, and at once. It ends
nothing but what takes too much, and it is an addition: where there is none, the box watches alone.
Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; systemd,
docs/CGROUP_DELEGATION.md (who may make groups where); proc(5).
"""

import contextlib
import errno
import itertools
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAMED = re.compile(r"w2s-lab-(\d+)-(\d+)-")  # the owner's process id and when that was started
NUMBERS = itertools.count()
NEEDED = ("memory", "pids")
CLOSE_SECONDS = 1.0  # the kernel takes a process out of its group only after its memory


@dataclass(frozen=True)
class Group:
    """A control group; memory that a process had before it was added is not counted.

    Attributes:
        folders: one in version 2; in version 1 that of memory, then that of pids.
    """

    folders: tuple[Path, ...]

    def add(self, pid: int) -> bool:
        """Whether the process is held now, with all that it starts from here on."""
        try:
            for folder in self.folders:
                (folder / "cgroup.procs").write_text(str(pid))
        except OSError:  # it has ended, or runs where we may take nothing from
            return False
        return True

    def exceeded(self) -> bool:
        """Whether the kernel had to end a process, or refuse it memory, for what they all took."""
        # a limit that was met by dropping cached files (failcnt) has harmed nobody
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                counts = dict(map(str.split, (self.folders[0] / name).read_text().splitlines()))
                return any(counts.get(event, "0") != "0" for event in ("oom", "oom_kill"))
        return False

    def close(self) -> None:
        """Removes it, once its processes have ended; if they do not, a later group removes it."""
        until = time.monotonic() + CLOSE_SECONDS
        for folder in self.folders:
            while not _removed(folder) and time.monotonic() < until:
                time.sleep(0.002)


def open_group(
    name: str, *, memory_mb: int, processes: int, proc: str | Path = "/proc"
) -> Group | None:
    """A new group, or None where this process may not make one; what dead owners left is removed.

    The processes' own group must have been given to us, as its manager would not expect others in
    it: it is the top of all that is mounted here (a container), is marked as delegated, or belongs
    to this user as the first on the way down. Version 2 lets no group with processes have limited
    groups below it, so there the mark counts on the group above as well, as
    `systemd-run --user --pty -p Delegate=yes -p DelegateSubgroup=main` (systemd ≥ 254) makes it.

    Args:
        name: to recognise it by; anything but letters and digits is left out.
        memory_mb: of 2^20 bytes: processes', files' that are in memory, and the kernel's for them.
        processes: processes and threads.
        proc: where proc(5) is mounted.
    """
    proc, made = Path(proc), []
    known = re.sub(r"[^A-Za-z0-9]", "", name)[:40]
    limits = {
        "memory.max": memory_mb << 20,
        "memory.limit_in_bytes": memory_mb << 20,
        "memory.swap.max": 0,
        "memory.memsw.limit_in_bytes": memory_mb << 20,  # memory and swap; not below the former
        "memory.oom.group": 1,
        "pids.max": processes,
    }
    try:
        own = f"w2s-lab-{os.getpid()}-{_started(proc, os.getpid())}-{next(NUMBERS)}-{known}"
        for base in _version_2(proc) or _version_1(proc):
            _sweep(base, proc)
            (base / own).mkdir()
            made.append(base / own)
            for file, value in limits.items():
                if (base / own / file).exists():  # each version has its own, not all have swap
                    (base / own / file).write_text(str(value))
    except (OSError, ValueError):
        Group(tuple(made)).close()
        return None
    return Group(tuple(made)) if made else None


# --- where groups can be made ---------------------------------------------------------------------


def _version_2(proc: Path) -> list[Path]:
    """The folder for new groups, [] where there is none."""
    for top, own in _mounted(proc, "cgroup2", ""):
        may = [own] if own == top or _delegated(own) or _handed_down(own) else []
        for base in may + [own.parent] * (own != top and _delegated(own.parent)):
            with contextlib.suppress(OSError):
                if not _lacking(base / "cgroup.controllers") and _enabled(base):
                    return [base]
    return []


def _version_1(proc: Path) -> list[Path]:
    """The folders for new groups, memory's first; [] unless there are both."""
    bases = []
    for controller in NEEDED:
        for top, own in _mounted(proc, "cgroup", controller):
            if own == top or _delegated(own) or _handed_down(own):
                bases.append(own)
                break
    return bases if len(bases) == len(NEEDED) else []


def _mounted(proc: Path, kind: str, controller: str) -> Iterator[tuple[Path, Path]]:
    """Where a hierarchy is mounted, and this process's own group there."""
    inside = ""
    for line in (proc / "self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            inside = path
    for line in (proc / "self/mountinfo").read_text().splitlines():
        about, _, rest = line.partition(" - ")
        fields, (type_, _, options) = about.split(), rest.split(" ", 2)
        if inside and type_ == kind and (not controller or controller in options.split(",")):
            with contextlib.suppress(ValueError):  # another part of the tree is mounted
                below = Path(inside).relative_to(fields[3])
                if ".." not in below.parts:
                    yield Path(fields[4]), Path(fields[4]) / below


def _delegated(folder: Path) -> bool:
    """Whether systemd has marked it; older ones only so that nobody but root can read it."""
    for mark in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            return os.getxattr(folder, mark) == b"1"
    return False


def _handed_down(folder: Path) -> bool:
    """Whether somebody has given this folder, but not the one above it, to this user."""
    user = os.geteuid()
    return user != 0 and folder.stat().st_uid == user != folder.parent.stat().st_uid


def _enabled(base: Path) -> bool:
    """Whether groups in this folder have limits; OSError if they cannot, as it has processes."""
    control = base / "cgroup.subtree_control"
    if lacking := _lacking(control):
        control.write_text(" ".join(f"+{controller}" for controller in lacking))
    return not _lacking(control)


def _lacking(file: Path) -> list[str]:
    there = file.read_text().split()
    return [controller for controller in NEEDED if controller not in there]


# --- their removal --------------------------------------------------------------------------------


def _sweep(base: Path, proc: Path) -> None:
    """Removes the groups whose owners were killed; those that still hold a process stay."""
    for name in os.listdir(base):
        if match := NAMED.match(name):
            pid, started = map(int, match.groups())
            try:
                alive = _started(proc, pid) == started
            except (FileNotFoundError, ProcessLookupError):
                alive = False
            if not alive:
                _removed(base / name)


def _started(proc: Path, pid: int) -> int:
    """When a process was started, in the kernel's ticks: its number alone may be used again."""
    about = (proc / str(pid) / "stat").read_text()
    return int(about.rpartition(")")[2].split()[19])  # field 22; the 2nd, a name, may hold anything


def _removed(folder: Path) -> bool:
    """Whether it is gone or will never go; not while its processes end."""
    try:
        folder.rmdir()
    except OSError as error:
        return error.errno != errno.EBUSY
    return True
