"""Feedback for each student: one page of HTML that needs nothing else, and what all pages share.

It grades nothing and shows no test: of hidden cases the author's sentences, of rubrics nothing.
What students wrote is hostile: `plain` disarms characters, Jinja2 escapes markup, and the page's
Content-Security-Policy (W3C, level 3) lets no script run and nothing be fetched.
"""

import base64
import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from w2s_lab.errors import W2SError
from w2s_lab.progress import bar
from w2s_lab.teach.grading.files import write
from w2s_lab.teach.grading.plain import NAME, named, number, plain
from w2s_lab.teach.grading.policy import instant
from w2s_lab.teach.grading.standing import MISSING, Entry, Standing
from w2s_lab.teach.grading.verdict import GRADED, NEEDS_A_PERSON, REJECTED, Case, Column
from w2s_lab.teach.release import STUDENT

PAGES = Path(__file__).with_name("pages")
# characters shown of a message in a table, of a message, of an essay
SHORT, SAID, ANSWER = 400, 2_000, 20_000
MANY = 100  # cases of a column, or notes, that are shown

WHY = {
    GRADED: "Your work has been graded.",
    REJECTED: "Your file could not be graded, so it has no points so far. If the reason given "
    "here is not clear to you, ask your teacher.",
    NEEDS_A_PERSON: "The grader could not finish. A person will look at your work; you need not do "
    "anything.",
    MISSING: "Nothing was handed in. If you did hand something in, tell your teacher.",
}
WAITS = "Part of your work still waits for a person, who may add to these points."

_points = functools.partial(number, decimals=2)


def render(template: str, **values: Any) -> str:
    """A page made of a template in `pages`; every value is disarmed and escaped on its way in."""
    return _pages().get_template(template).render(values)


@functools.cache
def _pages():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def disarmed(value: Any) -> Any:
        # What a template forgets to pass through `plain` still comes out disarmed, and whole:
        # ⟨U+10FFFF⟩ has ten characters
        text = str(value)
        return value if isinstance(value, Markup) else plain(text, 10 * len(text), lines=True)

    pages = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        finalize=disarmed,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(
        name=lambda text: plain(text, NAME, lines=True),
        short=lambda text: plain(text, SHORT, lines=True),
        said=lambda text: plain(text, SAID, lines=True),
        answer=lambda text: plain(text, ANSWER, lines=True),
        named=named,
        number=_points,
        moment=moment,
        digest=_digest,
    )
    return pages


def _digest(text: str) -> str:
    """How a Content-Security-Policy names a style element that it allows."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def feedback(standing: Standing) -> str:
    """A student's page: points, lateness, and what was said to each case of each task."""
    why = WHY.get(standing.status, f"Status: {plain(standing.status, NAME)}.")
    shown = was_looked_at(standing)
    if standing.waits and standing.status == GRADED:
        why = WAITS
    return render(
        "feedback.html",
        standing=standing,
        why=why,
        tasks=by_task(standing.entries),
        shown=shown,
        settled=shown or standing.status != NEEDS_A_PERSON,
        hidden=any(entry.column.hidden for entry in standing.entries),
        total=_sum,
        asked=_asked,
        waits=_waits,
        title=title,
        heading=_heading,
        worth=_worth,
        message=_message,
        answer_of=_answer,
        word=_word,
        many=MANY,
    )


def write_feedback(standings: Sequence[Standing], folder: str | Path) -> list[Path]:
    """Writes each student's page into a folder, whole or not at all; gives the files.

    What lies there under the same name is replaced; a link is replaced and never followed. Only
    the owner can read the files: they hold a student's points.

    Raises:
        W2SError: a student who comes twice, or a place where no file can be written.
    """
    folder = Path(folder)
    names = [page_name(standing.student) for standing in standings]
    if twice := [name for name in names if names.count(name) > 1]:
        what = f"two standings for one page, {twice[0]}"
        raise W2SError(what, where="write_feedback", mend="give one for each student")
    paths = []
    for name, standing in bar(list(zip(names, standings, strict=True)), "write feedback"):
        paths.append(write(folder / name, feedback(standing)))
    return paths


def page_name(student: str) -> str:
    """The name of a student's file: safe on every system, another one for every other id.

    Small plain ids stay as they are. Others keep a readable beginning and get "+" and 16 hex digits
    of SHA-256: file systems that know no case must not mix up Ada and ada.
    """
    if STUDENT.fullmatch(student) and student == student.lower():
        return f"{student}.html"
    readable = re.sub("[^A-Za-z0-9]+", "-", student[:64])[:32].strip("-") or "student"
    digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable}+{digest[:16]}.html"


def title(column: Column) -> str:
    """What people call the task of a column."""
    return plain(column.title or column.task or column.grade_id, NAME)


def moment(received: str) -> str:
    """A time as people read it, "22 November 2026, 14:05 UTC"; as it came if it has no zone."""
    when = instant(received)
    return f"{when.day} {when:%B %Y, %H:%M} UTC" if when else plain(received, NAME)


def was_looked_at(standing: Standing) -> bool:
    """Whether there is more to tell than the status: tests were run, or a person gave something."""
    given = any(entry.score or entry.comment for entry in standing.entries)
    return given or standing.status == GRADED


def by_task(entries: Sequence[Entry]) -> list[tuple[Entry, ...]]:
    """The entries of each task, in the sheet's order."""
    tasks: dict[str, tuple[Entry, ...]] = {}
    for entry in entries:
        task = entry.column.task or entry.column.grade_id
        tasks[task] = (*tasks.get(task, ()), entry)
    return list(tasks.values())


def _sum(entries: Sequence[Entry]) -> float:
    return sum(entry.score or 0 for entry in entries if not entry.dropped)


def _asked(entries: Sequence[Entry]) -> float:
    return sum(e.column.points for e in entries if not e.dropped and not e.bonus)


def _waits(entries: Sequence[Entry]) -> bool:
    return any(entry.score is None and not entry.dropped for entry in entries)


def _heading(entry: Entry) -> str:
    if entry.column.manual:
        return "Graded by a person"
    return "Hidden cases" if entry.column.hidden else "Visible cases"


def _worth(entry: Entry) -> str:
    """An entry's points in words, with what is special about them."""
    most = _points(entry.column.points)
    if entry.dropped:
        return "Dropped: counts for nobody."
    if entry.score is None:
        words = f"Waits for a person; up to {most} points."
    elif not entry.column.points and not entry.score:
        words = "Brings no points."
    else:
        words = f"{_points(entry.score)} of {most} points."
    return f"{words} Bonus: counts on top of what is asked for." if entry.bonus else words


def _message(entry: Entry) -> str:
    """What to show of a message: nothing that the cases or the points tell already.

    Of hidden tests one sentence at most: lines may be a listing, or a traceback through the test.
    """
    if any(case.said for case in entry.cases) or (entry.column.manual and entry.score is None):
        return ""
    listing = entry.column.hidden and "\n" in entry.message.strip()
    return "" if listing else entry.message


def _answer(standing: Standing, entry: Entry) -> str:
    """What the student wrote for a person to read, "" where the message says that it is nothing.

    The cell is not empty then: it has the words that students receive in it.
    """
    if entry.score is not None and entry.message:
        return ""
    return standing.answers.get(entry.column.grade_id, "").strip("\n")


def _word(case: Case) -> str:
    if not case.said:
        return "✓ holds"
    return "✗ holds in part" if case.points else "✗ does not hold"
