"""What waits for a person, and an entry screen for it in the terminal.

It proposes no score and shows no names unless asked: what a grader knows of a student sways scores
(Malouff & Thorsteinsson 2016, Australian Journal of Education 60). `essay_tables` does the same
with a spreadsheet.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from w2s_lab.teach.exercises import CRITERION, HEADING
from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.marks import Mark, answer, same_text
from w2s_lab.teach.grading.plain import number, plain, quoted
from w2s_lab.teach.grading.verdict import NEEDS_A_PERSON, REJECTED, Column, Sheet, Verdict

LONGEST = 20_000  # characters of an answer that are shown; below a spreadsheet's 32,767 for a cell
HELP = """\
a number     the score{criteria}
s, or Enter  leave this answer for later
b            back to the one before, also to give it another score
n            whose answer this is
r            the rubric again
q            leave; Ctrl-C and Ctrl-D do so too, and what was given is kept
A comment is asked for after the score, and goes to the student; Enter for none."""


@dataclass(frozen=True)
class Waiting:
    """A text that waits for a score, and everybody who wrote it.

    Attributes:
        text: None where it is not known what the student wrote.
        marks: those that were given to an earlier text of theirs and stand no longer.
    """

    column: Column
    text: str | None
    students: tuple[str, ...]
    marks: tuple[Mark, ...] = ()


def criteria(rubric: str) -> tuple[tuple[float, str], ...]:
    """(points, what it says) of each criterion below `### Rubric`; none without such a part."""
    _, *rest = HEADING.split(f"{rubric}\n")
    for heading, text in zip(rest[::2], rest[1::2], strict=True):
        if heading == "Rubric":
            found = CRITERION.findall(text)
            return tuple((float(worth), " ".join(said.split())) for worth, said in found)
    return ()


def waiting(book: Gradebook, assignment: str | None) -> list[Waiting]:
    """What waits for a person: by column, equal texts together, in an order that tells no names.

    These are answers of manual columns without a score, and all whose score was given to a text
    that has changed since, an override of tests as well.
    """
    sheet = book.sheet(assignment)
    marks = book.every_mark(sheet.name)
    verdicts = book.verdicts(sheet.name)
    found: list[Waiting] = []
    for column in sheet.columns:
        groups: dict[tuple[str, str], tuple[str | None, list[str], list[Mark]]] = {}
        for student, verdict in verdicts.items():
            mark = marks.get(student, {}).get(column.grade_id)
            scored = mark if mark and mark.score is not None else None
            stale = scored if scored and not scored.stands else None
            asked = column.manual and not scored and _waits(verdict, column)
            if verdict.status == REJECTED or not (stale or asked):
                continue
            text = answer(verdict, column)
            key = _key(sheet, column, student, text)
            _, students, earlier = groups.setdefault(key, (text, [], []))
            students.append(student)
            earlier += [stale] if stale else []
        for key in sorted(groups, key=lambda key: hashlib.sha256(repr(key).encode()).digest()):
            text, students, earlier = groups[key]
            found.append(Waiting(column, text, tuple(students), tuple(earlier)))
    return found


def _waits(verdict: Verdict, column: Column) -> bool:
    """Whether there is something to read: an answer that was left blank has its 0 already."""
    item = next((item for item in verdict.items if item.grade_id == column.grade_id), None)
    return item is None or item.manual or verdict.status == NEEDS_A_PERSON


def _key(sheet: Sheet, column: Column, student: str, text: str | None) -> tuple[str, str]:
    """The same for texts that need one score, and another for each that is not known.

    What students receive counts as nothing.
    """
    if text is None:
        return student, ""
    bare = same_text(text)
    return "", "" if bare == same_text(sheet.starters.get(column.grade_id, "")) else bare


def grade_essays(
    book: Gradebook,
    assignment: str | None,
    *,
    by: str = "",
    ask: Callable[[str], str] = input,
    tell: Callable[[str], object] = print,
) -> int:
    """Asks for a score and a comment for each answer that waits, and keeps each at once.

    Args:
        by: who grades, kept with each score.
        ask: shows a line and returns what was typed; EOFError and KeyboardInterrupt end it all.
        tell: shows text.

    Returns:
        How many students got a score, each counted once a column.
    """
    name = book.sheet(assignment).name
    todo = waiting(book, name)
    graded: dict[int, tuple[float, str]] = {}
    at, read = 0, None
    try:
        while at < len(todo):
            one = todo[at]
            if one.column != read:
                tell(_rubric(one.column))
                read = one.column
            tell(_page(one, todo, at, graded.get(at)))
            step, score, words = _score(one, at, ask, tell)
            if score is not None:
                # kept before the comment is asked for: Ctrl-D there must not lose it
                _keep(book, name, one, score, words, by)
                graded[at] = score, words
                comment = ask("comment (Enter for none): ").strip()
                if comment:
                    words = f"{words} {comment}".strip()
                    _keep(book, name, one, score, words, by)
                    graded[at] = score, words
            at += step
        tell("Nothing waits." if not todo else f"That was all. {_left(todo, graded)}")
    except (EOFError, KeyboardInterrupt):
        tell(f"\nAll scores are kept. {_left(todo, graded)}")
    return sum(len(todo[at].students) for at in graded)


def _score(
    one: Waiting, at: int, ask: Callable[[str], str], tell: Callable[[str], object]
) -> tuple[int, float | None, str]:
    """(steps to go on, score or None, words for the comment), asked for until it will do."""
    parts = criteria(one.column.rubric)
    while True:
        typed = ask(f"score, 0 to {number(one.column.points)} (? for help): ").strip()
        match typed.lower():
            case "" | "s":
                return 1, None, ""
            case "b" if at == 0:
                tell("This is the first one.")
            case "b":
                return -1, None, ""
            case "q":
                raise EOFError
            case "n":
                tell(", ".join(quoted(student) for student in one.students))
            case "r":
                tell(_rubric(one.column))
            case "?":
                more = f", or {len(parts)} numbers, one for each criterion" if parts else ""
                tell(HELP.format(criteria=more))
            case _:
                try:
                    return 1, *_points(typed, one.column.points, [worth for worth, _ in parts])
                except ValueError as error:
                    tell(str(error))


def _points(typed: str, most: float, parts: list[float]) -> tuple[float, str]:
    """(score, words for the comment) of what was typed; ValueError says what is wrong."""
    try:
        given = [float(one.replace(",", ".")) for one in typed.split()]
    except ValueError:
        raise ValueError(f"{typed[:40]!r} is no score; ? for help") from None
    if len(given) == 1:
        limits = [most]
    elif len(given) == len(parts):
        limits = parts
    else:
        what = f"{len(given)} numbers; give one" + f", or {len(parts)}" * (len(parts) > 1)
        raise ValueError(what)
    for score, limit in zip(given, limits, strict=True):
        if not 0 <= score <= limit:  # nan as well
            raise ValueError(f"{score:g} is not from 0 to {number(limit)}")
    total = round(sum(given), 9)
    if total > most:
        raise ValueError(f"they add up to {total:g}, more than {number(most)}")
    if len(given) == 1:
        return total, ""
    return total, f"By criterion: {' + '.join(map(number, given))}."


def _keep(
    book: Gradebook, assignment: str, one: Waiting, score: float, comment: str, by: str
) -> None:
    grade_id = one.column.grade_id
    given = [(student, grade_id, score, comment) for student in one.students]
    book.mark_all(assignment, given, by)


def _rubric(column: Column) -> str:
    title = f"{column.title} ({column.grade_id})" if column.title else column.grade_id
    head = f"{plain(title, LONGEST)}, {number(column.points)} points"
    body = plain(column.rubric.strip(), LONGEST, lines=True) or "There is no rubric."
    return f"\n{head}\n{'=' * len(head)}\n\n{body}\n"


def _page(one: Waiting, todo: list[Waiting], at: int, given: tuple[float, str] | None) -> str:
    same = [index for index, other in enumerate(todo) if other.column == one.column]
    head = f"{one.column.grade_id}: answer {same.index(at) + 1} of {len(same)}"
    head += f", the same from {len(one.students)}" * (len(one.students) > 1)
    lines = [f"--- {head} ---", as_read(one.text)]
    for mark in one.marks:
        lines.append(f"An earlier text got {_with_words(mark.score, mark.comment)}")
    if given:
        lines.append(f"You gave it {_with_words(*given)}")
    return "\n".join(lines)


def _with_words(score: float | None, comment: str) -> str:
    said = plain(comment, LONGEST, lines=True)
    return number(score or 0.0) + (f": {said}" if said else ".")


def as_read(text: str | None) -> str:
    """An answer as a person reads it; says so where there is none."""
    if text is None:
        return "(it is not known what was written here; see the submission)"
    return plain(text, LONGEST, lines=True) if text.strip() else "(nothing was written here)"


def _left(todo: list[Waiting], graded: Mapping[int, object]) -> str:
    left = len(todo) - len(graded)
    return f"{len(graded)} answers graded, {left} left."
