"""A course's rules (due dates, lateness, bonus, dropped questions) and what they make of grades.

It grades nothing and changes nothing in the gradebook: other rules give other standings of it.
`policy_file` reads the rules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.marks import Mark
from w2s_lab.teach.grading.plain import quoted
from w2s_lab.teach.grading.standing import MISSING, Entry, Standing
from w2s_lab.teach.grading.verdict import NEEDS_A_PERSON, REJECTED, Column, Item, Sheet, Verdict

DAY = timedelta(days=1)  # 24 hours, also where a clock is put forward on that day
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
        what = f"`extensions` names {quoted(unknown[0])}, who is not on the roster"
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
            what = f"`{key}` names {quoted(name)}, which {quoted(sheet.name)} does not have"
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
    given = mark.score if mark else None
    # What is said of an essay ("A person will grade it.") is no longer true when a person did
    message = "" if item is None or (column.manual and given is not None) else item.message
    return Entry(
        column=column,
        score=score if given is None else given,
        message=message,
        cases=item.cases if item else (),
        comment=mark.comment if mark else "",
        bonus=bonus and not dropped,
        dropped=dropped,
    )
