"""A folder of the cache: filled once, whole or not there, marked when used, gone by one rename.

It knows neither which folders there are to be nor how many may stay: see `cache`. Readers need no
lock; who fills or removes a folder holds the lock file beside it.
"""

import contextlib
import errno
import json
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from w2s_lab.errors import W2SError

MANIFEST = ".manifest.json"
GRACE = 3600  # seconds that an entry stays after a use: a lesson that found it will have read it
MINUTE = 60  # between two marks of use, so that a hit stays cheap


@dataclass(frozen=True)
class Entry:
    """One finished folder.

    Attributes:
        bytes: of its files, as its manifest has them.
        used: when it was last used, in seconds since the epoch.
        held: it must not go, since it was used just now or somebody works on it.
    """

    folder: Path
    bytes: int
    used: float
    held: bool


def filled(final: Path, fill: Callable[[Path], None], megabytes: int) -> int:
    """Makes `final` by `fill(temporary folder)`, unless another process just did; the new bytes.

    Raises:
        W2SError: the folder cannot be written, or the disk is full. Other errors of `fill` pass.
    """
    from filelock import FileLock

    workshop = unfinished(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(_lock(final)).acquire()
    except OSError as error:
        mend = "make it writable or set W2S_CACHE to another folder"
        what = f"the cache cannot be written ({error.strerror})"
        raise W2SError(what, where=str(final.parent), mend=mend) from error
    with lock:
        if _whole(final):
            return 0
        shutil.rmtree(workshop, ignore_errors=True)
        # A new name each time: a download that outlived its killed parent cannot write here
        part = workshop / uuid.uuid4().hex
        try:
            part.mkdir(parents=True)
            began = time.time()
            fill(part)
            _renew(final.parent, began)
            files = [path for path in part.rglob("*") if path.is_file()]
            sizes = {path.relative_to(part).as_posix(): path.stat().st_size for path in files}
            (part / MANIFEST).write_text(json.dumps(sizes))
            if final.exists():
                os.replace(final, workshop / "damaged")
            os.replace(part, final)
        except Exception as error:
            if not _is_full(error, final.parent):
                raise
            shutil.rmtree(workshop, ignore_errors=True)
            free = shutil.disk_usage(final.parent).free // 10**6
            need = f"{megabytes} MB needed, {free} MB free" if megabytes else f"{free} MB free"
            mend = "free some space, see `w2s-lab cache`, or set W2S_CACHE to a folder elsewhere"
            where = str(final.parent)
            raise W2SError(f"the disk is full ({need})", where=where, mend=mend) from error
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
    return sum(sizes.values())


def _is_full(error: Exception, folder: Path) -> bool:
    # Only Python's own files set errno: safetensors and NumPy say it in words, torch not at all
    told = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    told = told or re.search("no space left|not enough free space", str(error), re.I) is not None
    return told or shutil.disk_usage(folder).free < 10**6


def _renew(group: Path, began: float) -> None:
    """After long work, marks again what was found beside it before: it may be read only now.

    So do the features: the texts that are known come from other entries than those just read.
    """
    if time.time() - began < GRACE / 2:
        return
    for name in os.listdir(group):
        manifest = group / name / MANIFEST
        with contextlib.suppress(OSError):  # no entry, or it has just gone
            if manifest.stat().st_mtime > began - 2 * MINUTE:
                os.utime(manifest)


def is_whole(folder: Path, *, mark: bool = True) -> bool:
    """Whether a folder was filled to its end and no file of it is missing or cut short.

    With `mark` it also counts as used now, and nobody trims it before an hour has passed: what is
    true here stays true until it is read. In a cache that cannot be written, use leaves no mark.
    """
    manifest = folder / MANIFEST
    try:
        idle = since(manifest.stat().st_mtime)
    except OSError:
        return False
    if not _whole(folder):
        return False
    if idle < MINUTE or not mark:
        return True
    try:
        os.utime(manifest)
    except FileNotFoundError:
        return False
    except OSError:  # read-only
        return True
    if idle < GRACE / 2:  # far from going
        return True
    # A trim that looked before the mark may be taking it away; it holds the lock until it is gone
    from filelock import FileLock

    with contextlib.suppress(OSError), FileLock(_lock(folder), timeout=10):
        pass
    return _whole(folder)


def _whole(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        return all(os.stat(folder / name).st_size == size for name, size in manifest.items())
    except (OSError, ValueError):
        return False


def remove(final: Path, *, idle: float) -> bool:
    """Takes an entry away that was not used for `idle` seconds, and what killed processes left.

    Readers find all of it or nothing; a file that somebody has mapped stays theirs. Returns whether
    neither is there any more: not so where it is being filled or was used, where the cache is
    read-only, and where Windows has a file of it in use.
    """
    from filelock import FileLock

    workshop, lock = unfinished(final), _lock(final)
    try:
        with FileLock(lock, timeout=0):
            shutil.rmtree(workshop, ignore_errors=True)
            if final.exists():
                if since((final / MANIFEST).stat().st_mtime) < idle:
                    return False
                workshop.mkdir(exist_ok=True)
                os.replace(final, workshop / uuid.uuid4().hex)
                shutil.rmtree(workshop, ignore_errors=True)
            if not workshop.exists():
                # Who waits for it sees, once it has the lock, that this file has no name any more
                with contextlib.suppress(OSError):  # Windows does not remove an open file
                    lock.unlink()
    except OSError:
        return False
    return True


def found(home: Path) -> list[Entry]:
    """The finished folders in `home` and in its groups, in no order.

    Held are those of the last hour, and those of the hour before work began that still goes on
    beside them: it may have found them then and read them at its end.
    """
    entries = []
    finished, others = _scan(home)
    began: dict[Path, float] = {}
    for final in others:
        with contextlib.suppress(OSError):
            start = unfinished(final).stat().st_mtime
            began[final.parent] = min(start, began.get(final.parent, start))
    for folder in finished:
        try:
            used = (folder / MANIFEST).stat().st_mtime
            size = sum(json.loads((folder / MANIFEST).read_text()).values())
        except OSError:  # it has just gone
            continue
        except ValueError:  # damaged, and still in the way
            size = weight(folder)
        held = since(used) < GRACE or used > began.get(folder.parent, math.inf) - GRACE
        entries.append(Entry(folder, size, used, held))
    return entries


def begun(home: Path) -> list[Path]:
    """The folders of `home` and its groups that somebody fills, or filled until he was killed."""
    return _scan(home)[1]


def _scan(home: Path) -> tuple[list[Path], list[Path]]:
    folders, finished, locked = [home], [], []
    for folder in folders:
        try:
            inside = list(os.scandir(folder))
        except OSError:  # nothing was kept here yet, or it has just gone
            continue
        names = {item.name for item in inside}
        for item in inside:
            path = Path(item.path)
            if item.name.startswith("."):
                meant = item.name[1:-5]  # of .NAME.part and .NAME.lock
                if path.suffix == ".part" or (path.suffix == ".lock" and meant not in names):
                    locked.append(folder / meant)
            elif item.is_dir(follow_symlinks=False):
                if os.path.lexists(path / MANIFEST):
                    finished.append(path)
                elif folder == home:
                    folders.append(path)
    return finished, list(dict.fromkeys(locked))


def since(moment: float) -> float:
    """Seconds from a moment until now; of a time to come, which a wrong clock wrote, the same."""
    return abs(time.time() - moment)


def weight(folder: Path) -> int:
    """Bytes of all files in a folder, 0 where there is none."""
    total = 0
    for inside, _, names in os.walk(folder):  # `rglob` fails where a folder goes meanwhile
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(inside, name)).st_size
    return total


def unfinished(final: Path) -> Path:
    """Where a folder is filled and where it goes, beside it: on the same disk."""
    return final.with_name(f".{final.name}.part")


def _lock(final: Path) -> Path:
    return final.with_name(f".{final.name}.lock")
