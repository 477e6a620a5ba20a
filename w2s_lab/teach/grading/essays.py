"""What people grade: an entry screen for the terminal, and a table for a spreadsheet.

It proposes no score, and the screen shows no names unless asked: what a grader knows of a student
sways scores (Malouff & Thorsteinsson 2016, Australian Journal of Education 60).
Cells that a spreadsheet would run: OWASP, "CSV Injection".
"""

import csv
import hashlib
import io
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.teach.exercises import CRITERION, HEADING
from w2s_lab.teach.grading.gradebook import Gradebook, Mark, answer, same_text, shown
from w2s_lab.teach.grading.verdict import NEEDS_A_PERSON, REJECTED, Column, Sheet, Verdict

LONGEST = 20_000  # characters of an answer that are shown; below a spreadsheet's 32,767 for a cell
JOINERS = "\u200c\u200d"  # without them Persian, Hindi and many an emoji are spelt wrong
FIELDS = ("student", "grade_id", "max_score", "answer", "score", "comment")
FORMULA = re.compile(r"'*\s*[=+\-@|%\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n]")
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


def plain(text: str) -> str:
    """A text that a terminal only shows: what it would act upon is written out, as `\\x1b`.

    That goes for control characters, escape sequences, marks of direction, lone surrogates and what
    Unicode leaves unassigned; line breaks stay, tabs become blanks.
    """
    text = text.replace("\r\n", "\n").replace("\t", "    ")
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(map(_plain, text))


def _plain(letter: str) -> str:
    if letter == "\n" or letter in JOINERS:
        return letter
    harmful = unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    return letter.encode("unicode_escape").decode() if harmful else letter


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


# --- the screen -----------------------------------------------------------------------------------


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
        typed = ask(f"score, 0 to {one.column.points:g} (? for help): ").strip()
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
                tell(", ".join(shown(student) for student in one.students))
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
            raise ValueError(f"{score:g} is not from 0 to {limit:g}")
    total = round(sum(given), 9)
    if total > most:
        raise ValueError(f"they add up to {total:g}, more than {most:g}")
    if len(given) == 1:
        return total, ""
    return total, f"By criterion: {' + '.join(f'{score:g}' for score in given)}."


def _keep(
    book: Gradebook, assignment: str, one: Waiting, score: float, comment: str, by: str
) -> None:
    grade_id = one.column.grade_id
    given = [(student, grade_id, score, comment) for student in one.students]
    book.mark_all(assignment, given, by)


def _rubric(column: Column) -> str:
    title = f"{column.title} ({column.grade_id})" if column.title else column.grade_id
    head = f"{title}, {column.points:g} points"
    body = column.rubric.strip() or "There is no rubric."
    return plain(f"\n{head}\n{'=' * len(head)}\n\n{body}\n")


def _page(one: Waiting, todo: list[Waiting], at: int, given: tuple[float, str] | None) -> str:
    same = [index for index, other in enumerate(todo) if other.column == one.column]
    head = f"{one.column.grade_id}: answer {same.index(at) + 1} of {len(same)}"
    head += f", the same from {len(one.students)}" * (len(one.students) > 1)
    lines = [f"--- {head} ---", _body(one.text)]
    for mark in one.marks:
        earlier = f"An earlier text got {mark.score:g}"
        lines.append(earlier + (f": {plain(mark.comment)}" if mark.comment else "."))
    if given:
        lines.append(f"You gave it {given[0]:g}" + (f": {plain(given[1])}" if given[1] else "."))
    return "\n".join(lines)


def _body(text: str | None) -> str:
    if text is None:
        return "(it is not known what was written here; see the submission)"
    if not text.strip():
        return "(nothing was written here)"
    start = plain(text[:LONGEST])[:LONGEST]  # what is written out grows
    return start if len(text) <= LONGEST else f"{start}\n(… cut here: {len(text):,} characters)"


def _left(todo: list[Waiting], graded: Mapping[int, object]) -> str:
    left = len(todo) - len(graded)
    return f"{len(graded)} answers graded, {left} left."


# --- the spreadsheet ------------------------------------------------------------------------------


def scores_to_csv(book: Gradebook, assignment: str | None, path: str | Path) -> int:
    """Writes each manual column of each student with answer, score and comment; how many lines.

    What a spreadsheet would take for a formula stands behind an apostrophe. A score whose answer
    has changed since is left empty.

    Raises:
        W2SError: an unknown assignment; a file that cannot be written, or is there and differs.
    """
    table = io.StringIO(newline="")
    rows = _rows(book, book.sheet(assignment))
    writer = csv.writer(table)
    writer.writerow(FIELDS)
    for row in rows:
        told = row.name, row.column.grade_id, f"{row.column.points:g}", row.answer, row.score
        writer.writerow([*map(_guarded, told), _guarded(plain(row.comment))])
    path = Path(path)
    content = table.getvalue().encode("utf-8-sig")  # spreadsheets ask for the mark at its start
    fresh = path.with_name(f"{path.name}.part")
    try:
        if path.exists() and path.read_bytes() != content:
            mend = "take its scores over first, or name another file"
            raise W2SError("is there already and differs", where=str(path), mend=mend)
        fresh.write_bytes(content)
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        what = f"cannot be written ({error.strerror})"
        raise W2SError(what, where=str(path), mend="name another file") from None
    return len(rows)


def scores_from_csv(book: Gradebook, assignment: str | None, path: str | Path, by: str = "") -> int:
    """Keeps the scores and comments of a table as `scores_to_csv` writes it; how many are new.

    A line with neither is left alone, one with a comment only keeps its score. Lines may be missing
    or in another order, and further columns are left alone. Where the answer is there, it must be
    what the student has there now. All lines are kept or none; mistakes go to standard error, a
    line each.

    Raises:
        W2SError: no such file, no table, or mistakes in it; says how many.
    """
    sheet, path = book.sheet(assignment), Path(path)
    there = {(row.name, row.column.grade_id): row for row in _rows(book, sheet)}
    fresh: dict[tuple[str, str], tuple[str, str, float | None, str]] = {}
    seen: dict[tuple[str, str], int] = {}
    mistakes = []
    for line, cells in _read(path):
        key = cells["student"], cells["grade_id"]
        if not (cells["score"].strip() or cells["comment"].strip()):
            continue
        try:
            if key in seen:
                raise ValueError(f"the same student and column as in line {seen[key]}")
            seen[key] = line
            score, comment = _given(cells, there.get(key))
        except ValueError as error:
            mistakes.append(f"{path}:{line}: {error}")
            continue
        row = there[key]
        if (score, comment) != (row.points, row.comment):
            fresh[key] = row.student, row.column.grade_id, score, comment
    if mistakes:
        print(*mistakes, sep="\n", file=sys.stderr)
        what = f"{len(mistakes)} lines will not do, and none was taken over"
        raise W2SError(what, where=str(path), mend="mend them and take it over again")
    return book.mark_all(sheet.name, fresh.values(), by)


@dataclass(frozen=True)
class _Row:
    """A line of the table: `name`, `answer` and `score` as they stand there."""

    student: str
    name: str
    column: Column
    answer: str
    points: float | None
    comment: str

    @property
    def score(self) -> str:
        return "" if self.points is None else f"{self.points:.12g}"


def _rows(book: Gradebook, sheet: Sheet) -> list[_Row]:
    marks, verdicts = book.every_mark(sheet.name), book.verdicts(sheet.name)
    found = []
    for column in sheet.columns:
        for student, verdict in verdicts.items():
            if not column.manual or verdict.status == REJECTED:
                continue
            mark = marks.get(student, {}).get(column.grade_id)
            score, comment = (mark.score, mark.comment) if mark and mark.stands else (None, "")
            # the name has to come back: one that is not plain is written as Python would
            odd = "\n" in student or plain(student) != student or student[:1] in "'\""
            name = ascii(student) if odd else student
            text = _body(answer(verdict, column))
            found.append(_Row(student, name, column, text, score, comment))
    return found


def _read(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(number of its first line, cells by name) of each line below the first."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise W2SError(what, where=str(path), mend="name the table's file") from None
    except UnicodeDecodeError:
        raise W2SError("is not UTF-8", where=str(path), mend="save it as CSV UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip().lower() for name in next(table, [])]
        for name in FIELDS:
            if name not in names and name not in ("max_score", "answer"):
                mend = f"its first line is `{','.join(FIELDS)}`"
                raise W2SError(f"has no column `{name}`", where=f"{path}:1", mend=mend)
        line = table.line_num + 1
        for cells in table:
            told = dict(zip(names, map(_unguarded, cells), strict=False))
            yield line, dict.fromkeys(FIELDS[:2] + FIELDS[4:], "") | told
            line = table.line_num + 1
    except csv.Error as error:
        where = f"{path}:{table.line_num}"
        raise W2SError(f"is not sound csv ({error})", where=where, mend="mend it") from None


def _given(cells: Mapping[str, str], row: _Row | None) -> tuple[float | None, str]:
    """Score and comment of a line; ValueError says what is wrong with it."""
    if row is None:
        named = f"{shown(cells['grade_id'])} of {shown(cells['student'])}"
        raise ValueError(f"nobody has to grade {named}; mend the names")
    if "answer" in cells and cells["answer"].split() != row.answer.split():
        raise ValueError("the answer is another one now; write the table anew, or delete `answer`")
    comment, typed = cells["comment"], cells["score"].strip()
    comment = row.comment if comment == plain(row.comment) else comment.strip()
    if typed in ("", row.score):
        return row.points, comment
    try:
        score = float(typed.replace(",", "."))
    except ValueError:
        score = -1.0
    if not 0 <= score <= row.column.points:
        raise ValueError(f"{shown(typed)} is no score from 0 to {row.column.points:g}")
    return score, comment


def _guarded(cell: str) -> str:
    return f"'{cell}" if FORMULA.match(cell) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell[1:]) else cell
