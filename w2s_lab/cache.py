"""What was fetched or computed, kept within a limit: the least recently used goes first.

It knows nothing of what an entry holds. The policy is that of ccache (its manual, "Cache size
management"), save that what was used within the last hour stays.
"""

import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from w2s_lab.entries import (
    GRACE,
    Entry,
    begun,
    filled,
    found,
    is_whole,
    remove,
    since,
    unfinished,
    weight,
)
from w2s_lab.errors import W2SError

GROWING = ("features", "prompts", "results")  # every other text, model or setting adds to these
# Trimmed only when asked to: assets need the network, and the grader's boxes read all four through
# a read-only mount, where a use leaves no mark
LASTING = ("assets", "converted", "shortcuts", "tasks")
KINDS = tuple(sorted(GROWING + LASTING))
# 2.5 times what the GROWING kinds came to while this package was written (3.9 GB: every lab at
# size "lab", in many versions), and little beside the models of size "full"
DEFAULT_GB = 10
MINUTE = 60  # seconds after which a trim that had to leave too much is tried again
RECOUNT = 600  # seconds after which a process looks at what the others have added


@dataclass(frozen=True)
class Removed:
    """What was taken away: entries, bytes (left-overs too), and how many had to stay in spite."""

    entries: int
    bytes: int
    stayed: int

    def __str__(self) -> str:
        stayed = f"; {self.stayed:,} in use or used just now stayed" if self.stayed else ""
        return f"removed {self.entries:,} entries, {_mb(self.bytes)} MB freed{stayed}"


def cache_dir() -> Path:
    """The folder of everything that can be fetched or computed again: W2S_CACHE, or the user's."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("W2S_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else user_cache_path("w2s-lab", False)


def atomic_folder(final: Path, fill: Callable[[Path], None], *, megabytes: int = 0) -> Path:
    """The folder `final`, filled by `fill(temporary folder)` unless it is already there and whole.

    It appears by one rename with a manifest of names and sizes, so a killed process leaves nothing
    that looks finished; what it did leave is removed by the next one. A file that was deleted or
    cut short later is noticed, and the folder is filled again. Processes that come together wait
    for the first. `megabytes` is what to ask for when the disk is full. Afterwards the cache is
    trimmed where it is over its limit.

    Raises:
        W2SError: the folder cannot be written, the disk is full, or W2S_CACHE_GB makes no sense.
            Other errors of `fill` pass.
    """
    if is_whole(final):  # needs no lock, so a finished cache may be read-only
        return final
    most = limit()  # a mistake in it is told before the work, not after it
    added = filled(final, fill, megabytes)
    if added:  # else another process did the work and makes the room
        _make_room(final, added, most)
    return final


def limit() -> float:
    """How many bytes the growing kinds may take up: W2S_CACHE_GB; infinite where it is "off".

    At 0 everything goes that was not used in the last hour.

    Raises:
        W2SError: W2S_CACHE_GB is neither a number from 0 on nor "off".
    """
    text = os.environ.get("W2S_CACHE_GB", "").strip()
    if text.lower() == "off":
        return math.inf
    return gigabytes(text, where="W2S_CACHE_GB") if text else DEFAULT_GB * 1e9


def gigabytes(text: str, *, where: str) -> float:
    """That many bytes.

    Raises:
        W2SError: it is no number from 0 on; `where` says whose mistake.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        mend = "give gigabytes, as 2.5" + (', or "off"' if where == "W2S_CACHE_GB" else "")
        raise W2SError(f"{text!r} is no number from 0 on", where=where, mend=mend)
    return number * 1e9


def surplus(entries: Iterable[Entry], most: float) -> list[Entry]:
    """The entries that have to go so that the others take up at most `most` bytes, oldest first.

    One that is held never goes, so the others may be more; no more go than needed.
    """
    entries = list(entries)
    total, going = sum(entry.bytes for entry in entries), []
    for entry in sorted(entries, key=lambda entry: entry.used):
        if total > most and not entry.held:
            going.append(entry)
            total -= entry.bytes
    return going


def trim(most: float | None = None) -> Removed:
    """Takes away what is too much, and what killed processes left; `most` is in bytes.

    Raises:
        W2SError: W2S_CACHE_GB makes no sense, where no `most` is given.
    """
    most = limit() if most is None else most
    swept = _sweep(KINDS)
    before = [entry for kind in GROWING for entry in found(cache_dir() / kind)]
    after = before
    while going := surplus(after, most):
        gone = {entry for entry in going if remove(entry.folder, idle=GRACE)}
        stayed = set(going) - gone  # their locks are held: others have to go instead
        after = [replace(e, held=e.held or e in stayed) for e in after if e not in gone]
    total = sum(entry.bytes for entry in after)
    _counted[cache_dir()] = (time.monotonic(), total, 0)
    freed = sum(entry.bytes for entry in before) - total + swept
    return Removed(
        entries=len(before) - len(after),
        bytes=freed,
        stayed=sum(entry.held for entry in after) if total > most else 0,
    )


def clear(kinds: Sequence[str] = ()) -> Removed:
    """Takes away all entries of some kinds, also those used just now; only writers are spared.

    Args:
        kinds: by default all but the assets, which need the network.

    Raises:
        W2SError: no such kind.
    """
    for kind in kinds:
        if kind not in KINDS:
            mend = f"choose from: {', '.join(KINDS)}"
            raise W2SError("no such kind of entry", where=repr(kind), mend=mend)
    kinds = tuple(dict.fromkeys(kinds)) or tuple(kind for kind in KINDS if kind != "assets")
    swept = _sweep(kinds)
    there = [entry for kind in kinds for entry in found(cache_dir() / kind)]
    gone = [entry.bytes for entry in there if remove(entry.folder, idle=0)]
    _counted.pop(cache_dir(), None)
    return Removed(len(gone), sum(gone) + swept, len(there) - len(gone))


def _sweep(kinds: Iterable[str]) -> int:
    """Removes what killed processes left and spares what is being written; the bytes freed."""
    swept = 0
    for final in (final for kind in kinds for final in begun(cache_dir() / kind)):
        before = weight(unfinished(final))
        remove(final, idle=math.inf)
        swept += before - weight(unfinished(final))
    return swept


def facts() -> dict:
    """Where the cache is, its limit, what its disk has free and what each kind takes up: as JSON.

    Sizes are in bytes, `last_used` in seconds since the epoch. The kind "unfinished" is there where
    something is being written, or a killed process left something.
    """
    folder, most = cache_dir(), limit()
    kinds: dict[str, dict] = {}
    for kind in KINDS:
        entries = found(folder / kind)
        kinds[kind] = {
            "entries": len(entries),
            "bytes": sum(entry.bytes for entry in entries),
            "last_used": max((entry.used for entry in entries), default=None),
        }
    parts = [unfinished(final) for kind in KINDS for final in begun(folder / kind)]
    if parts := [part for part in parts if part.exists()]:
        size = sum(map(weight, parts))
        kinds["unfinished"] = {"entries": len(parts), "bytes": size, "last_used": None}
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return {
        "folder": str(folder),
        "limit": None if math.isinf(most) else int(most),
        "limited": list(GROWING),
        "free": shutil.disk_usage(there).free,
        "kinds": kinds,
    }


def table() -> str:
    """`facts()` for the eye: a line for each kind, then the sum, the limit and the disk."""
    known = facts()
    uses = known["kinds"]
    rows = [("", "entries", "MB", "last used")]
    for kind, use in uses.items():
        rows.append((kind, f"{use['entries']:,}", _mb(use["bytes"]), _ago(use["last_used"])))
    entries, size = (sum(use[part] for use in uses.values()) for part in ("entries", "bytes"))
    rows.append(("all", f"{entries:,}", _mb(size), ""))
    wide = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{kind:{wide[0]}}  {entries:>{wide[1]}}  {size:>{wide[2]}}  {used}".rstrip()
        for kind, entries, size, used in rows
    ]
    limited = _mb(sum(uses[kind]["bytes"] for kind in GROWING))
    most = "any number of" if known["limit"] is None else _mb(known["limit"])
    lines += [
        f"folder: {known['folder']}, {_mb(known['free'])} MB free on its disk",
        f"limit: {limited} of {most} MB for {', '.join(GROWING)}",
    ]
    return "\n".join(lines)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def _ago(moment: float | None) -> str:
    if moment is None:
        return ""
    past = since(moment)
    for name, seconds in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if past >= seconds:
            return f"{past // seconds:.0f} {name}{'s' * (past >= 2 * seconds)} ago"
    return "now"


# What this process knows of each cache: when it looked, the bytes of the growing kinds then, and
# those that it added since. Without it, each of a thousand small entries would cost a look at all
# the others
_counted: dict[Path, tuple[float, int, int]] = {}


def _make_room(final: Path, added: int, most: float) -> None:
    """After a new entry: trims where the cache is over its limit, as far as this process knows."""
    cache = cache_dir()
    if math.isinf(most) or not any(cache / kind in final.parents for kind in GROWING):
        return
    when, left, since_then = _counted.get(cache, (-math.inf, 0, 0))
    since_then += added
    _counted[cache] = (when, left, since_then)
    wait = RECOUNT
    if left + since_then > most:
        # what was left then is in use, and most of it still will be after each of many entries
        wait = MINUTE if left > most else -1
    if time.monotonic() - when > wait:
        with contextlib.suppress(OSError):  # the work is done and kept; room can be made later
            trim(most)
