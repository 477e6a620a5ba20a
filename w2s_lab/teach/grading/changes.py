"""Who gets other points from mended tests, in which column and case, and why.

It changes no grade: the gradebook keeps the results of each grader, and this compares two of them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.plain import named, number, plain
from w2s_lab.teach.grading.verdict import Case, Item, Verdict

WIDTH = 60  # columns of a message in the table
WHOLE, UNGRADED = "", "not graded"


@dataclass(frozen=True)
class Change:
    """What differs between two results of one submission.

    A column has one of these with `case` "", and one for each case in it that differs. One without
    a `grade_id` is about the whole submission: its status, and the points of all columns.

    Attributes:
        case: the title of the case, "" for the column as a whole.
        before, after: points; None where there is no such column, case or result.
        said_before, said_after: the messages, or the two statuses.
    """

    student: str
    grade_id: str
    case: str
    before: float | None
    after: float | None
    said_before: str = ""
    said_after: str = ""

    @property
    def points(self) -> float:
        """Points gained, below 0 if lost."""
        return round((self.after or 0.0) - (self.before or 0.0), 9)


def changes(book: Gradebook, assignment: str, old: str, new: str) -> list[Change]:
    """What differs between two graders, for what each student handed in last; by student, column.

    Points differ, those of a column or of a case in it; another message for the same points is no
    change. A person's scores are left out: they do not depend on tests. Who has a result by one of
    the graders only is in the list as well, with the status "not graded" for the other.

    Raises:
        W2SError: an assignment or a grader that the gradebook does not know.
    """
    before, after = book.verdicts(assignment, old), book.verdicts(assignment, new)
    order = [column.grade_id for column in book.sheet(assignment, new).columns]
    found: list[Change] = []
    for student in sorted(before.keys() | after.keys()):
        found += _of_student(student, before.get(student), after.get(student), order)
    return found


def _of_student(
    student: str, old: Verdict | None, new: Verdict | None, order: Sequence[str]
) -> Iterator[Change]:
    statuses = [verdict.status if verdict else UNGRADED for verdict in (old, new)]
    if statuses[0] != statuses[1]:
        scores = [verdict.score if verdict else None for verdict in (old, new)]
        yield Change(student, WHOLE, WHOLE, scores[0], scores[1], statuses[0], statuses[1])
    if old is None or new is None:
        return
    was, now = ({item.grade_id: item for item in v.items} for v in (old, new))
    for grade_id in [*order, *(name for name in was if name not in order)]:
        a, b = was.get(grade_id), now.get(grade_id)
        if (one := b or a) is None or one.manual:
            continue
        cases = list(_of_cases(student, grade_id, a, b))
        if cases or _points(a) != _points(b):
            was_said, now_said = (item.message if item else "" for item in (a, b))
            yield Change(student, grade_id, WHOLE, _points(a), _points(b), was_said, now_said)
            yield from cases


def _of_cases(student: str, grade_id: str, a: Item | None, b: Item | None) -> Iterator[Change]:
    was, now = _by_title(a.cases if a else ()), _by_title(b.cases if b else ())
    if not (was and now):
        return  # the column says all there is to say
    for key in dict.fromkeys([*now, *was]):
        old, new = was.get(key), now.get(key)
        if _points(old) != _points(new):
            said = [case.said if case else "" for case in (old, new)]
            yield Change(student, grade_id, key[0], _points(old), _points(new), *said)


def _by_title(cases: Iterable[Case]) -> dict[tuple[str, int], Case]:
    """(title, how many of that title came before) → case: titles need not be unique."""
    seen: Counter[str] = Counter()
    found = {}
    for case in cases:
        found[case.title, seen[case.title]] = case
        seen[case.title] += 1
    return found


def _points(one: Item | Case | None) -> float | None:
    if one is None:
        return None
    return round(one.score if isinstance(one, Item) else one.points, 9)


def render(changes: Sequence[Change]) -> str:
    """The changes as a plain table with totals, fit for a terminal."""
    if not changes:
        return "No grade changes.\n"
    rows = [("student", "column, case", "before", "after", "why")]
    for change in changes:
        what = "  " * bool(change.case) + plain(change.case or change.grade_id or "(all)", WIDTH)
        before, after = (plain(text, WIDTH) for text in (change.said_before, change.said_after))
        why = f"{before or '–'} → {after or '–'}" if before != after else before
        points = _number(change.before), _number(change.after)
        rows.append((named(change.student, WIDTH), what, *points, why))
    w = [max(len(row[n]) for row in rows) for n in range(4)]
    lines = [
        f"{who:<{w[0]}}  {what:<{w[1]}}  {before:>{w[2]}}  {after:>{w[3]}}  {why}"
        for who, what, before, after, why in rows
    ]
    return "\n".join([*(line.rstrip() for line in lines), "", *_totals(changes), ""])


def _totals(changes: Sequence[Change]) -> Iterator[str]:
    gained: dict[str, float] = defaultdict(float)
    columns: dict[str, list[float]] = defaultdict(list)
    whole = [change for change in changes if not change.grade_id]
    for change in changes:
        if change.grade_id and not change.case:
            gained[change.student] += change.points
            columns[change.grade_id].append(change.points)
    up, down = (sum(round(sign * got, 9) > 0 for got in gained.values()) for sign in (1, -1))
    same = len(gained) - up - down
    total = _signed(sum(gained.values()))
    yield f"{up} up, {down} down, {same} with the same total; {total} points"
    for grade_id, points in columns.items():
        yield f"{plain(grade_id, WIDTH)}: {len(points)} changed, {_signed(sum(points))} points"
    if half := sum(UNGRADED in (change.said_before, change.said_after) for change in whole):
        yield f"{half} not graded with both versions: no comparison"
    if other := len(whole) - half:
        yield f"{other} with another status"


def _number(points: float | None) -> str:
    return "–" if points is None else number(points)


def _signed(points: float) -> str:
    return "+" * (round(points, 6) >= 0) + number(points)
