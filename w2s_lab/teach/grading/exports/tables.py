"""Tables of a class's grades: two csv files for people, one for Canvas and one for Moodle.

They decide no grade, and leave nobody out without saying so; `cells` makes cells safe. The columns
are those that the two systems look for (Canvas: lib/gradebook_importer.rb; MoodleDocs, "Grade
import").
"""

import html
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.exports.cells import MOST, read, save, table
from w2s_lab.teach.grading.feedback import WHY, by_task, title, was_looked_at
from w2s_lab.teach.grading.plain import named, number, plain
from w2s_lab.teach.grading.standing import Entry, Standing
from w2s_lab.teach.grading.verdict import TRUST

SUMMARY = "student,status,score,max_score,days_late,penalty,waits,isolation,received,notes"
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
CANVAS_KEPT = (*CANVAS, "LastName", "FirstName", "Integration ID", "Root Account")
CANVAS_KEYS = ("SIS Login ID", "ID", "SIS User ID")
MOODLE = ("Email address", "ID number", "Username")


def assignment_of(standings: Sequence[Standing]) -> str:
    """The assignment that all standings belong to.

    Raises:
        W2SError: there are none, they belong to several, or a student has two.
    """
    if not standings:
        raise W2SError("there is nobody to export", mend="grade the assignment first")
    names = sorted({standing.assignment for standing in standings})
    if len(names) > 1:
        told = ", ".join(plain(name, 80) for name in names)
        raise W2SError(f"the grades are of several assignments ({told})", mend="export each alone")
    seen: set[str] = set()
    for student in (standing.student for standing in standings):
        if student in seen:
            what = f"{named(student)} has two grades for {plain(names[0], 80)}"
            raise W2SError(what, mend="keep one of them")
        seen.add(student)
    return names[0]


def warn(file: str, what: str, students: Iterable[str]) -> None:
    """One line on standard error that names students, if there are any."""
    names = [named(student) for student in students]
    if names:
        print(f"{file}: {len(names)} {what}: {', '.join(names)}", file=sys.stderr)


def late(days: int) -> str:
    """How late something was: "1 day late", "2 days late"."""
    return f"{days} day{'s' * (days != 1)} late"


# --- for people -----------------------------------------------------------------------------------


def summaries(standings: Sequence[Standing], to: str | Path) -> list[Path]:
    """`summary.csv` and `questions.csv`, one line a student, in the order given.

    `questions.csv` has a column for each graded cell, in the notebook's order, and below the names
    a line of the points that each can bring, as in a Canvas export. A cell is empty while it waits
    for a person. The last column, `raw`, has the points before the penalty.

    Raises:
        W2SError: what `assignment_of` and `save` refuse.
    """
    assignment_of(standings)
    rows = [SUMMARY.split(","), *map(_summary, standings)]
    # With a byte order mark: Excel takes a csv file without one for the system's old encoding
    summary = save(to, "summary.csv", table(rows), encoding="utf-8-sig")
    return [summary, save(to, "questions.csv", table(_questions(standings)), encoding="utf-8-sig")]


def _summary(one: Standing) -> list:
    isolation = "TRUST: ran without a box" if one.isolation == TRUST else one.isolation
    start = [named(one.student), one.status, one.score, one.max_score, one.days_late, one.penalty]
    notes = " · ".join(plain(note, MOST) for note in one.notes)
    return [*start, "yes" if one.waits else "no", isolation, one.received, notes]


def _questions(standings: Sequence[Standing]) -> list[list]:
    entries = {entry.column.grade_id: entry for one in standings for entry in one.entries}
    names = [
        id + " (bonus)" * entry.bonus + " (dropped)" * entry.dropped
        for id, entry in entries.items()
    ]
    points = [entry.column.points for entry in entries.values()]
    rows: list[list] = [["student", *names, "raw"], ["points", *points, standings[0].max_score]]
    for one in standings:
        scores = {entry.column.grade_id: entry.score for entry in one.entries}
        rows.append([named(one.student), *(scores.get(id) for id in entries), one.raw])
    return rows


# --- for Canvas and Moodle ------------------------------------------------------------------------


def canvas(
    standings: Sequence[Standing], to: str | Path, *, roster: str | Path | None = None
) -> list[Path]:
    """`canvas.csv`, for the import of Canvas's gradebook.

    Args:
        roster: Canvas's own export of the course. Students are found in it by SIS login, Canvas or
            SIS id, and the assignment by its name; who has no grade here keeps what Canvas has.
            Without it the ids are taken for SIS logins.

    A score that still waits for a person is left out, and so is a student whom the roster lacks;
    one line on standard error names them.

    Raises:
        W2SError: what `assignment_of` and `save` refuse, a roster that is no Canvas export.
    """
    name = assignment_of(standings)
    ready = _ready(standings, "canvas.csv")
    if roster is None:
        head: list[str] = [*CANVAS, name]
        people: list[list] = [
            [named(one.student), "", "", named(one.student), "", one.score] for one in ready
        ]
    else:
        first, *rows = read(roster)
        _has(first, ("ID", "Section"), str(roster))
        own = re.compile(re.escape(name) + r"(?: \(\d+\))?")  # Canvas adds its number
        there = next((n for n, title in enumerate(first) if own.fullmatch(title)), None)
        keys = [first.index(key) for key in CANVAS_KEYS if key in first]
        # neither the line of points nor that of posting policies
        rows = [row for row in rows if any(row[key].strip() for key in keys)]
        found, lost = _matched(ready, rows, keys)
        # Other assignments stay out: an import would put back grades that have changed since
        kept = [n for n, title in enumerate(first) if title in CANVAS_KEPT]
        head = [*(first[n] for n in kept), name if there is None else first[there]]
        people = []
        for place, row in enumerate(rows):
            score = found[place].score if place in found else "" if there is None else row[there]
            people.append([*(row[n] for n in kept), score])
        warn("canvas.csv", f"are not in {roster} and have no grade in it", lost)
    points = ["Points Possible", *[""] * (len(head) - 2), standings[0].max_score]
    return [save(to, "canvas.csv", table([head, points, *people]))]


def moodle(
    standings: Sequence[Standing],
    to: str | Path,
    *,
    roster: str | Path | None = None,
    identifier: str = "",
) -> list[Path]:
    """`moodle.csv`, for Moodle's grade import: who, the grade, feedback in HTML.

    Args:
        roster: Moodle's own export of grades or participants. Students are found in it by e-mail
            address, ID number or username.
        identifier: what the ids are, one of `MOODLE`: with a roster the only column in which
            students are looked for; without one, by default, e-mail addresses where each has an @,
            else usernames.

    Map both columns when importing: Moodle clears the grades of feedback that comes alone. Students
    are left out as by `canvas`: Moodle refuses a whole file for one that it does not know.

    Raises:
        W2SError: what `assignment_of` and `save` refuse, a roster without such a column.
    """
    name = assignment_of(standings)
    ready = _ready(standings, "moodle.csv")
    if identifier:
        identifier = _identifier(identifier)
    if roster is None:
        mail = all("@" in one.student for one in ready)
        identifier = identifier or ("Email address" if mail else "Username")
        people = [(named(one.student), one) for one in ready]
    else:
        first, *rows = read(roster)
        titles = [title.lower() for title in first]
        wanted = (identifier,) if identifier else MOODLE
        keys = [titles.index(key.lower()) for key in wanted if key.lower() in titles]
        if not keys:
            _has(first, wanted[:1], str(roster))
        found, lost = _matched(ready, rows, keys)
        full = (key for key in keys if all(rows[place][key].strip() for place in found))
        key = next(full, keys[0])
        identifier = first[key]
        people = [(rows[place][key].strip(), one) for place, one in sorted(found.items())]
        lost += [one.student for who, one in people if not who]
        people = [(who, one) for who, one in people if who]
        warn("moodle.csv", f"are not in {roster} and have no grade in it", lost)
    head = [identifier, name, f"{name} (feedback)"]
    grades = [[who, one.score, _feedback(one)] for who, one in people]
    return [save(to, "moodle.csv", table([head, *grades]))]


def _identifier(words: str) -> str:
    """One of `MOODLE`, whatever the case of its letters."""
    found = next((name for name in MOODLE if name.lower() == words.strip().lower()), None)
    if found is None:
        what = f"Moodle does not know students by {words!r}"
        raise W2SError(what, mend=f"use one of: {', '.join(MOODLE)}")
    return found


def _feedback(one: Standing) -> str:
    """One line of HTML, as Moodle shows it: what counts, the penalty, each task with comments."""
    parts = [f"{number(one.score)} of {number(one.max_score)} points"]
    if one.penalty:
        parts.append(f"{number(one.penalty)} taken off, {late(one.days_late)}")
    if was_looked_at(one):
        for entries in by_task([entry for entry in one.entries if not entry.dropped]):
            parts += [_task(entries, bonus) for bonus in (False, True)]
    else:
        parts.append(WHY.get(one.status, ""))
    told = " · ".join(part for part in (*parts, *one.notes) if part)
    return html.escape(told[:MOST], quote=False)


def _task(entries: Sequence[Entry], bonus: bool) -> str:
    """A task's points of one kind and the comments on them, "" where there is nothing to tell."""
    entries = [entry for entry in entries if entry.bonus == bonus]
    most = sum(entry.column.points for entry in entries)
    score = sum(entry.score or 0 for entry in entries)
    comments = [plain(entry.comment, MOST) for entry in entries if entry.comment.strip()]
    if not (most or score or comments):
        return ""
    told = f"{title(entries[0].column)}: {number(score)} of {number(most)}" + " (bonus)" * bonus
    return told + f" ({' '.join(comments)})" * bool(comments)


def _ready(standings: Sequence[Standing], file: str) -> list[Standing]:
    """Those whose grade is whole; the others are named: half a grade looks like a bad one."""
    waiting = [one.student for one in standings if one.waits]
    warn(file, "wait for a person and have no grade in it", waiting)
    return [one for one in standings if not one.waits]


def _matched(
    standings: Sequence[Standing], rows: list[list[str]], keys: list[int]
) -> tuple[dict[int, Standing], list[str]]:
    """Row → standing, and the ids that no row has.

    A value that two rows have finds neither. The surest match comes first, so that nobody gets the
    row of somebody else by an id that looks like theirs.
    """
    found: dict[int, Standing] = {}
    lost = list(standings)
    for fold in (str, str.casefold):
        for key in keys:
            values = [fold(row[key].strip()) for row in rows]
            places = {v: n for n, v in enumerate(values) if v and values.count(v) == 1}
            for one in list(lost):
                place = places.get(fold(one.student))
                if place is not None and place not in found:
                    found[place] = one
                    lost.remove(one)
    return found, [one.student for one in lost]


def _has(head: list[str], columns: Sequence[str], path: str) -> None:
    for column in columns:
        if column not in head:
            told = plain(", ".join(head), 200) or "nothing"
            mend = "export it again from the course's gradebook"
            raise W2SError(f"has no column {column!r} (it has: {told})", where=path, mend=mend)
