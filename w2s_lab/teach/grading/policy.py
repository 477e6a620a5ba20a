"""A course's rules (due dates, lateness, bonus, dropped questions) and what they make of grades.

It grades nothing and changes nothing in the gradebook: other rules give other standings of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.gradebook import Gradebook, Mark, shown
from w2s_lab.teach.grading.standing import MISSING, Entry, Standing
from w2s_lab.teach.grading.verdict import NEEDS_A_PERSON, REJECTED, Column, Item, Sheet, Verdict

DAY = timedelta(days=1)  # 24 hours, also where a clock is put forward on that day
KEYS = ("due", "zone", "late", "extensions", "bonus", "dropped")
LATE = ("grace_minutes", "per_day", "most_days", "floor")
NO_TIME = "It is not known when this was handed in; it counts as in time."
UNGRADED = "This has not been graded yet."


@dataclass(frozen=True)
class Policy:
    """The rules of one assignment; as it stands, nothing is ever late.

    Attributes:
        due: the last moment that is in time, with a time zone.
        grace: time after `due` that costs nothing; days late are counted from its end.
        per_day: what each started day late takes off, as a share of the points asked for.
        most_days: what is more days late than this gets `floor` at most.
        floor: share of the points asked for that lateness leaves, as far as they were reached.
        extensions: student → another `due`.
        bonus: grade ids and tasks whose points count and are not asked for.
        dropped: grade ids and tasks that count for nobody.
        source: the file that it was read from, for messages.
    """

    due: datetime | None = None
    grace: timedelta = timedelta(0)
    per_day: float = 0.0
    most_days: int | None = None
    floor: float = 0.0
    extensions: Mapping[str, datetime] = field(default_factory=dict)
    bonus: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    source: str = field(default="the policy", compare=False)

    def __post_init__(self) -> None:
        for when in (self.due, *self.extensions.values()):
            if when and when.tzinfo is None:
                what, mend = f"the time {when} has no time zone", "give it one"
                raise W2SError(what, where=self.source, mend=mend)

    def days_late(self, student: str, received: str) -> int:
        """Started days after due date, extension and grace; 0 in time, or where a time lacks."""
        due = self.extensions.get(student, self.due)
        when = instant(received)
        if due is None or when is None:
            return 0
        # in UTC, since Python subtracts two times of one zone as clocks show them
        late = when - due.astimezone(UTC) - self.grace
        return max(0, -(-late // DAY))

    def penalty(self, raw: float, max_score: float, days: int) -> float:
        """Points that so many days late take off `raw`, at most all of them."""
        if not days:
            return 0.0
        out = self.most_days is not None and days > self.most_days
        left = 0.0 if out else raw - days * self.per_day * max_score
        return raw - max(0.0, left, min(raw, self.floor * max_score))


def instant(received: str) -> datetime | None:
    """An ISO 8601 time in UTC; None if it is none or has no time zone."""
    try:
        when = datetime.fromisoformat(received)
        return when.astimezone(UTC) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None


# --- reading a file -------------------------------------------------------------------------------


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
    """A value in the file, as text: YAML would make the student 007 a 7, and `no` a False."""

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
                value.stop(f"has no key {shown(key)}", f"use: {', '.join(known)}")
            if key in found:
                value.stop(f"has {shown(key)} twice", "remove one")
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


# --- standings ------------------------------------------------------------------------------------


def standings(
    book: Gradebook,
    assignment: str | None = None,
    policy: Policy = Policy(),
    roster: Sequence[str] = (),
    grader: str | None = None,
) -> list[Standing]:
    """Where everybody stands who handed something in or is on the roster; sorted by student.

    A person's score counts in place of the tests', as long as the answer that it was given to is
    the one handed in last. What waits for a person counts 0 in `raw`. The penalty is at most `raw`.

    Raises:
        W2SError: an unknown assignment; a policy that names an unknown column or student.
    """
    sheet = book.sheet(assignment, grader)
    is_bonus, is_dropped = (
        _named(sheet, names, key, policy.source)
        for names, key in ((policy.bonus, "bonus"), (policy.dropped, "dropped"))
    )
    received = {who: when for who, (_, when) in book.handed_in(sheet.name).items()}
    known = {*received, *roster}
    unknown = sorted(policy.extensions.keys() - known) if roster else []
    if unknown:
        what = f"`extensions` names {shown(unknown[0])}, who is not on the roster"
        raise W2SError(what, where=policy.source, mend="mend the name")
    verdicts = book.verdicts(sheet.name, sheet.grader)
    marks = book.every_mark(sheet.name)
    most = sum(c.points for c in sheet.columns if not is_bonus(c) and not is_dropped(c))

    def standing(student: str) -> Standing:
        verdict, given = verdicts.get(student), marks.get(student, {})
        there = student in received
        items = {item.grade_id: item for item in verdict.items} if verdict else {}
        entries = tuple(
            _entry(
                column,
                _score(column, items.get(column.grade_id), verdict, there),
                items.get(column.grade_id),
                given.get(column.grade_id),
                bonus=is_bonus(column),
                dropped=is_dropped(column),
            )
            for column in sheet.columns
        )
        raw = sum(entry.score or 0.0 for entry in entries if not entry.dropped)
        when = received.get(student, "")
        days = policy.days_late(student, when)
        penalty = policy.penalty(raw, most, days)
        notes = list(verdict.notes) if verdict else [UNGRADED] * there
        if there and policy.due and instant(when) is None:
            notes.append(NO_TIME)
        return Standing(
            student=student,
            assignment=sheet.name,
            status=verdict.status if verdict else NEEDS_A_PERSON if there else MISSING,
            entries=entries,
            received=when,
            days_late=days,
            raw=round(raw, 9),
            penalty=round(penalty, 9),
            score=round(raw - penalty, 9),
            max_score=round(most, 9),
            notes=tuple(notes),
            answers=verdict.answers if verdict else {},
            isolation=verdict.isolation if verdict else "",
        )

    return [standing(student) for student in sorted(known)]


def _named(sheet: Sheet, names: Sequence[str], key: str, source: str) -> Callable[[Column], bool]:
    """Tells the columns that are named, by grade id or task; W2SError for a name of none."""
    known = {name for column in sheet.columns for name in (column.grade_id, column.task)} - {""}
    for name in names:
        if name not in known:
            what = f"`{key}` names {shown(name)}, which {shown(sheet.name)} does not have"
            raise W2SError(what, where=source, mend=f"choose from: {', '.join(sorted(known))}")
    return lambda column: column.grade_id in names or column.task in names


def _score(column: Column, item: Item | None, verdict: Verdict | None, there: bool) -> float | None:
    """What the tests say of a column; None where a person has to say it."""
    if not there or (verdict and verdict.status == REJECTED):
        return 0.0  # there is nothing that a person could read
    if verdict is None or verdict.status == NEEDS_A_PERSON:
        return None
    if item is None or item.manual:  # an essay that was left blank needs nobody
        return None if column.manual else 0.0
    return item.score


def _entry(
    column: Column,
    score: float | None,
    item: Item | None,
    mark: Mark | None,
    *,
    bonus: bool,
    dropped: bool,
) -> Entry:
    """A column of a student: the tests' score, or a person's if it was given to this answer."""
    mark = mark if mark and mark.stands else None
    return Entry(
        column=column,
        score=score if mark is None or mark.score is None else mark.score,
        message=item.message if item else "",
        cases=item.cases if item else (),
        comment=mark.comment if mark else "",
        bonus=bonus and not dropped,
        dropped=dropped,
    )
