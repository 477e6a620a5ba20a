"""Tables of a class's grades: two csv files for people, one for Canvas and one for Moodle.

They decide no grade, and leave nobody out without saying so. What a spreadsheet could take for a
formula is guarded (OWASP, "CSV Injection"). The columns are those that the two systems look for
(Canvas: lib/gradebook_importer.rb; MoodleDocs, "Grade import").
"""

import csv
import html
import io
import os
import re
import sys
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.standing import Standing
from w2s_lab.teach.grading.verdict import TRUST

MOST = 2000  # characters of one text in a cell; Excel takes 32,767
# A ' in front makes a spreadsheet show the text. It is wanted at the start, and where a program
# that parts cells at ; or tabs would start another one.
STARTS = r"(?:\A|(?<=[;\t\r\n]))"
LEAD = r"[\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff'\"`´‘’“”„«»‹›]*"
RISK = r"[=+\-@\t\r\n＝＋－＠﹦﹢﹣﹫⁼⁺⁻]"
UNGUARDED = re.compile(f"{STARTS}(?={LEAD}{RISK})")
GUARDED = re.compile(f"{STARTS}'(?={LEAD}{RISK})")
ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")
JOINERS = "\u200c\u200d"  # not printable, yet Persian words and many emoji need them

SUMMARY = "student,status,score,max_score,days_late,penalty,waits,isolation,received,notes"
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
CANVAS_KEPT = (*CANVAS, "LastName", "FirstName", "Integration ID", "Root Account")
CANVAS_KEYS = ("SIS Login ID", "ID", "SIS User ID")
MOODLE = ("Email address", "ID number", "Username")


def guarded(text: str) -> str:
    """The text with a ' wherever a spreadsheet could begin to read a formula in it."""
    return UNGUARDED.sub("'", text)


def unguarded(text: str) -> str:
    """The inverse of `guarded`, for every text."""
    return GUARDED.sub("", text)


def plain(text: str, most: int = MOST, *, lines: bool = False) -> str:
    """What can be seen of a text: no colours, control or bidirectional characters, no surrogates.

    Args:
        most: characters; the rest is cut off.
        lines: keeps lines and indents; without it there is one line with single spaces.
    """
    parts = ANSI.sub("", text[: 4 * most]).splitlines()
    seen = [part if part.isprintable() else "".join(map(_seen, part)) for part in parts]
    if lines:
        text = "\n".join(one.rstrip() for one in seen).strip("\n")
    else:
        text = " ".join(" ".join(seen).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _seen(char: str) -> str:
    if char.isprintable() or char in JOINERS:
        return char
    kind = unicodedata.category(char)
    return "" if kind == "Cf" else " " if kind[0] == "Z" or kind == "Cc" else "\ufffd"


def shown(student: str) -> str:
    """An id with what cannot be seen in it spelt out: two ids that differ must not look alike."""
    return re.sub(r"\A | (?= )| \Z", r"\\x20", repr(student)[1:-1])


def save(to: str | Path, name: str, text: str, *, encoding: str = "utf-8") -> Path:
    """Puts a text into the file `name` below the folder `to`, whole or not at all.

    Raises:
        W2SError: it cannot be written; it, or a folder on the way from `to`, is a symbolic link.
    """
    path = Path(to) / name
    places = [path, *path.parents][: len(Path(name).parts) + 1]
    if link := next((place for place in places if place.is_symlink()), None):
        mend = "remove it, or name another folder"
        raise W2SError("is a symbolic link", where=str(link), mend=mend)
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # for the owner's eyes alone (mode 600), as mkstemp makes it: these are grades
        number, part = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
        with open(number, "w", encoding=encoding, newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as error:
        mend = "name a folder that can be written to"
        what = f"cannot be written ({error.strerror or error})"
        raise W2SError(what, where=str(path), mend=mend) from None
    finally:
        if part is not None:
            Path(part).unlink(missing_ok=True)
    return path


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
            what = f"{shown(student)} has two grades for {plain(names[0], 80)}"
            raise W2SError(what, mend="keep one of them")
        seen.add(student)
    return names[0]


def warn(file: str, what: str, students: Iterable[str]) -> None:
    """One line on standard error that names students, if there are any."""
    names = [plain(shown(student)) for student in students]
    if names:
        print(f"{file}: {len(names)} {what}: {', '.join(names)}", file=sys.stderr)


def number(value: float) -> str:
    """A number as every program reads it: 7, 7.5, never 7.0 or 7.500000001."""
    return f"{round(value, 6) + 0:.12g}"  # + 0: no "-0"


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
    summary = save(to, "summary.csv", _csv(rows), encoding="utf-8-sig")
    return [summary, save(to, "questions.csv", _csv(_questions(standings)), encoding="utf-8-sig")]


def _summary(one: Standing) -> list:
    isolation = "TRUST: ran without a box" if one.isolation == TRUST else one.isolation
    start = [shown(one.student), one.status, one.score, one.max_score, one.days_late, one.penalty]
    notes = " · ".join(plain(note) for note in one.notes)
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
        rows.append([shown(one.student), *(scores.get(id) for id in entries), one.raw])
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
            [shown(one.student), "", "", shown(one.student), "", one.score] for one in ready
        ]
    else:
        first, *rows = _read(roster)
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
    return [save(to, "canvas.csv", _csv([head, points, *people]))]


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
        identifier: without a roster, what the ids are, one of `MOODLE`; by default e-mail addresses
            where each has an @, else usernames.

    Map both columns when importing: Moodle clears the grades of feedback that comes alone. Students
    are left out as by `canvas`: Moodle refuses a whole file for one that it does not know.

    Raises:
        W2SError: what `assignment_of` and `save` refuse, a roster without such a column.
    """
    name = assignment_of(standings)
    ready = _ready(standings, "moodle.csv")
    if identifier and identifier not in MOODLE:
        what = f"Moodle does not know students by {identifier!r}"
        raise W2SError(what, mend=f"use one of: {', '.join(MOODLE)}")
    if roster is None:
        mail = all("@" in one.student for one in ready)
        identifier = identifier or ("Email address" if mail else "Username")
        people = [(shown(one.student), one) for one in ready]
    else:
        first, *rows = _read(roster)
        titles = [title.lower() for title in first]
        keys = [titles.index(key.lower()) for key in MOODLE if key.lower() in titles]
        if not keys:
            _has(first, MOODLE[:1], str(roster))
        found, lost = _matched(ready, rows, keys)
        full = (key for key in keys if all(rows[place][key].strip() for place in found))
        key = next(full, keys[0])
        identifier = first[key]
        people = [(rows[place][key].strip(), one) for place, one in sorted(found.items())]
        lost += [one.student for who, one in people if not who]
        people = [(who, one) for who, one in people if who]
        warn("moodle.csv", f"are not in {roster} and have no grade in it", lost)
    head = [identifier, name, f"{name} (feedback)"]
    table = [[who, one.score, _feedback(one)] for who, one in people]
    return [save(to, "moodle.csv", _csv([head, *table]))]


def _feedback(one: Standing) -> str:
    """One line of HTML, as Moodle shows it: what counts, what was taken off, the comments."""
    parts = [f"{number(one.score)} of {number(one.max_score)} points"]
    if one.penalty:
        parts.append(f"{number(one.penalty)} taken off, {late(one.days_late)}")
    for entry in one.entries:
        if entry.dropped or entry.score is None:
            continue
        part = f"{entry.column.title or entry.column.grade_id}: {number(entry.score)}"
        part += f" of {number(entry.column.points)}" + " (bonus)" * entry.bonus
        parts.append(part + f" ({plain(entry.comment)})" * bool(entry.comment.strip()))
    return html.escape(" · ".join([*parts, *one.notes])[:MOST], quote=False)


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


def _read(path: str | Path) -> list[list[str]]:
    """A csv file's rows without guards, each as long as the first."""
    mend = "export it again from the course's gradebook"
    try:
        text = Path(path).read_text("utf-8-sig")
        first = text.partition("\n")[0]
        rows = list(csv.reader(io.StringIO(text), delimiter=max(",;", key=first.count)))
    except FileNotFoundError:
        raise W2SError("no such file", where=str(path), mend=mend) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise W2SError(f"is no sound csv ({error})", where=str(path), mend=mend) from None
    if not rows:
        raise W2SError("is empty", where=str(path), mend=mend)
    rows[0] = [title.strip() for title in rows[0]]
    width = len(rows[0])
    return [[unguarded(cell) for cell in [*row, *[""] * width][:width]] for row in rows]


def _has(head: list[str], columns: Sequence[str], path: str) -> None:
    for column in columns:
        if column not in head:
            told = plain(", ".join(head), 200) or "nothing"
            mend = "export it again from the course's gradebook"
            raise W2SError(f"has no column {column!r} (it has: {told})", where=path, mend=mend)


def _csv(rows: Iterable[Sequence]) -> str:
    """Rows of texts, numbers and None as csv; one line a row, whatever a text holds."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue()


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return guarded(plain(value)) if isinstance(value, str) else number(value)
