"""One `results.json` for each student, as a Gradescope autograder would leave it.

It uploads nothing. The fields are those of Gradescope's "Autograder Specifications", section
"Output format"; every text is marked as plain, so that nothing in it becomes HTML.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from w2s_lab.teach.grading.exports.cells import MOST, save
from w2s_lab.teach.grading.exports.tables import assignment_of, late
from w2s_lab.teach.grading.plain import named, number, plain
from w2s_lab.teach.grading.standing import MISSING, Entry, Standing

LINES = 4000  # characters of one test's output
# a folder's name on every system, Windows too: no device, no dot at the end
FOLDER = re.compile(
    r"(?!(?i:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,62}[A-Za-z0-9_@-])?"
)


def export(standings: Sequence[Standing], to: str | Path) -> list[Path]:
    """`results/STUDENT/results.json`, in the order given.

    An id that cannot name a folder, or differs from another one only in case, is changed and ends
    with twelve digits of its SHA-256.

    Raises:
        W2SError: what `assignment_of` and `save` refuse.
    """
    assignment_of(standings)
    taken: set[str] = set()
    paths = []
    for one in standings:
        folder = _folder(one.student, taken)
        text = json.dumps(results(one), indent=1) + "\n"
        paths.append(save(to, f"results/{folder}/results.json", text))
    return paths


def results(one: Standing) -> dict:
    """What Gradescope reads for one student: plain JSON values.

    A test of a hidden column shows after the grades are published, with the author's words alone;
    until then Gradescope keeps the total back as well, which would tell of it.
    """
    return {
        "score": round(one.score, 6),  # counts, whatever the tests add up to
        "output": "\n".join(_about(one)),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "after_published",  # for a test that says nothing of its own
        "stdout_visibility": "hidden",
        "tests": [_test(place, entry) for place, entry in enumerate(one.entries, start=1)],
        # kept by Gradescope, shown to nobody
        "extra_data": {
            "student": named(one.student),
            "assignment": plain(one.assignment, MOST),
            "status": one.status,
            "waits": one.waits,
            "isolation": one.isolation,
            "max_score": round(one.max_score, 6),
            "raw": round(one.raw, 6),
            "penalty": round(one.penalty, 6),
            "days_late": one.days_late,
        },
    }


def _about(one: Standing) -> list[str]:
    lines = []  # without the score, which would tell of hidden tests before they are shown
    if one.status == MISSING:
        lines.append("Nothing was handed in.")
    elif one.waits:
        lines.append("A person has not graded all of it yet.")
    if one.penalty:
        lines.append(f"{number(one.penalty)} points are taken off: {late(one.days_late)}.")
    return lines + [plain(note, MOST) for note in one.notes]


def _test(place: int, entry: Entry) -> dict:
    column = entry.column
    name = plain(" · ".join(filter(None, [column.title, column.grade_id])), 200)
    name += " (bonus)" * entry.bonus + " (does not count)" * entry.dropped
    test: dict = {
        "name": name,
        "name_format": "text",
        "number": str(place),
        "max_score": round(column.points, 6),
        "output": _output(entry),
        "output_format": "text",
        "visibility": "after_published" if column.hidden else "visible",
    }
    if (
        entry.score is not None
    ):  # without a status Gradescope calls a test neither passed nor failed
        whole = entry.score >= column.points and not any(case.said for case in entry.cases)
        test |= {"score": round(entry.score, 6), "status": "passed" if whole else "failed"}
    return test


def _output(entry: Entry) -> str:
    texts = [f"{'✗' if case.said else '✓'} {case.title}\n  {case.said}" for case in entry.cases]
    if not entry.column.hidden:  # the message of a hidden test may tell what it was tried on
        texts.insert(0, entry.message)
    tests = "\n".join(filter(None, map(_shown, texts)))
    waits = "A person has yet to grade this." if entry.score is None else ""
    # the comment on its own: nothing that tests say may push it out
    return "\n".join(filter(None, (_shown(tests), waits, _shown(entry.comment))))


def _shown(text: str) -> str:
    return plain(text, LINES, lines=True).strip("\n").rstrip()


def _folder(student: str, taken: set[str]) -> str:
    """A safe name, different from those taken even where Ada and ada are one folder."""
    name = student
    if not FOLDER.fullmatch(name) or name.lower() in taken:
        digest = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        # no id that is kept begins with _
        name = "_" + re.sub(r"[^A-Za-z0-9_-]+", "_", student)[:40] + "-" + digest
    taken.add(name.lower())
    return name
