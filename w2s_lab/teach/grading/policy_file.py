"""A course's rules, read from a YAML file; each mistake in it is told with key, file and line.

What the rules mean is `policy`'s business. YAML's own types are not used: they would make the
student 007 a 7, and `no` a False (yaml.org, YAML 1.1, "Language-Independent Types").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.plain import quoted
from w2s_lab.teach.grading.policy import Policy

KEYS = ("due", "zone", "late", "extensions", "bonus", "dropped")
LATE = ("grace_minutes", "per_day", "most_days", "floor")


def read_policy(path: str | Path) -> Policy:
    """The rules in a YAML file.

        due: 2025-11-21 23:59          # with a zone as in 2025-11-21T23:59+01:00, or:
        zone: Europe/Berlin            # the zone of times that have none
        late:
          grace_minutes: 15
          per_day: 0.1                 # of the points asked for, each started day
          most_days: 3
          floor: 0                     # share that is left of later work
        extensions: {ada: 2025-11-24 23:59}
        bonus: [a-grade-id, a-task]
        dropped: []

    Raises:
        W2SError: the first thing that will not do, with key, file and line.
    """
    import yaml

    path = Path(path)
    try:
        node = yaml.compose(path.read_text("utf-8-sig"), Loader=yaml.BaseLoader)
    except FileNotFoundError:
        raise W2SError("no such file", where=str(path), mend="name the policy's file") from None
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise W2SError(what, where=str(path), mend="name another file") from None
    except UnicodeDecodeError:
        raise W2SError("is not UTF-8", where=str(path), mend="save it as UTF-8") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        what = f"is no YAML ({getattr(error, 'problem', None) or 'it is nested too deep'})"
        raise W2SError(what, where=where, mend="mend that line") from None
    told = {} if node is None else _Value(node, str(path), "").pairs("`key: value` lines", KEYS)
    zone = told["zone"].zone() if "zone" in told else None
    due = told["due"].time(zone) if "due" in told else None
    late = told["late"].pairs("rules", LATE) if "late" in told else {}
    extensions = told["extensions"].pairs("`student: time` lines") if "extensions" in told else {}
    longer = {student: value.time(zone) for student, value in extensions.items()}
    for key, given in (("late", late), ("extensions", extensions)):
        if given and due is None:
            told[key].stop("needs a due date", "add `due: 2025-11-21T23:59+01:00`")
    for student, until in longer.items():
        if due and until < due:
            extensions[student].stop("ends before `due`", "give a later time")
    bonus, dropped = (told[k].names() if k in told else () for k in ("bonus", "dropped"))
    if both := set(bonus) & set(dropped):
        told["dropped"].stop(f"has {min(both)!r}, and so has `bonus`", "remove it from one")
    if "floor" in late and not {"per_day", "most_days"} & late.keys():
        late["floor"].stop("has nothing to limit", "add `per_day` or `most_days`")

    def number(key: str, most: float = float("inf"), whole: bool = False) -> float:
        return late[key].number(most, whole) if key in late else 0.0

    return Policy(
        due,
        timedelta(minutes=number("grace_minutes", most=1e6)),
        number("per_day", most=1),
        int(number("most_days", whole=True)) if "most_days" in late else None,
        number("floor", most=1),
        longer,
        bonus,
        dropped,
        str(path),
    )


@dataclass(frozen=True)
class _Value:
    """A value in the file, as text."""

    node: Any
    path: str
    key: str

    def stop(self, what: str, mend: str) -> None:
        key = f"`{self.key}` " if self.key else ""
        where = f"{self.path}:{self.node.start_mark.line + 1}"
        raise W2SError(f"{key}{what}", where=where, mend=mend)

    def pairs(self, what: str, known: Sequence[str] = ()) -> dict[str, "_Value"]:
        if self.node.id != "mapping":
            self.stop(f"holds no {what}", "write them one below the other")
        found: dict[str, _Value] = {}
        for name, node in self.node.value:
            value = _Value(name, self.path, self.key)
            key = value.text("a name")
            if known and key not in known:
                value.stop(f"has no key {quoted(key)}", f"use: {', '.join(known)}")
            if key in found:
                value.stop(f"has {quoted(key)} twice", "remove one")
            found[key] = _Value(node, self.path, f"{self.key}.{key}".lstrip("."))
        return found

    def text(self, what: str) -> str:
        if self.node.id != "scalar" or not self.node.value.strip():
            self.stop(f"is not {what}", f"write {what}, or remove the line")
        return self.node.value.strip()

    def names(self) -> tuple[str, ...]:
        if self.node.id != "sequence":
            self.stop("is no list", "write `[one, another]`")
        each = [_Value(node, self.path, self.key) for node in self.node.value]
        return tuple(dict.fromkeys(one.text("a name") for one in each))

    def number(self, most: float, whole: bool) -> float:
        told = self.text("a number")
        try:
            value = float(told)
        except ValueError:
            value = -1.0
        if not 0 <= value <= most or value == float("inf") or (whole and value % 1):
            kind = "a whole number, 0 or more" if whole else "a number, 0 or more"
            self.stop(f"is {told!r}", f"write {kind}" + f", up to {most:g}" * (most < 1e300))
        return value

    def zone(self) -> tzinfo:
        from zoneinfo import ZoneInfo

        told = self.text("a time zone")
        try:
            return ZoneInfo(told)
        except (ValueError, OSError, KeyError):  # no such zone is a KeyError
            self.stop(f"is {told!r}, which is no time zone", "write one, as Europe/Berlin")
            raise

    def time(self, zone: tzinfo | None) -> datetime:
        told, example = self.text("a time"), "write it as 2025-11-21T23:59+01:00"
        try:
            when = datetime.fromisoformat(told)
        except ValueError:
            self.stop(f"is {told!r}, which is no time", example)
            raise
        if ":" not in told:  # a day begins at 0:00, and few mean that
            self.stop(f"is {told!r}, which has no time of day", example)
        if when.tzinfo is None and zone is None:
            self.stop(f"is {told!r}, which has no time zone", f"{example}, or add `zone:`")
        if when.tzinfo is None:
            # an hour that a clock shows twice, or leaves out, ends with the later reading
            both = (when.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
            return max(both)
        return when.astimezone(UTC)
