"""The assignment that the red team attacks: its teacher's and students' copies, right answers.

It grades nothing and attacks nothing. Plain dicts, so that no library's fault hides a grader's.
Format: nbformat 4.5; nbgrader docs, "Creating and grading assignments" (metadata schema 3).
"""

import base64
import copy
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HIDE, UNHIDE = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"

# (grade id, kind, points, source); notebooks hold them in this order
CELLS: tuple[tuple[str, str, float, str], ...] = (
    (
        "setup",
        "given",
        0,
        """
        import numpy as np

        LETTERS = "abcd"


        def is_letter(value):
            return isinstance(value, str) and len(value) == 1 and value in LETTERS
        """,
    ),
    (
        "double",
        "answer",
        0,
        """
        def double(x):
            ### BEGIN SOLUTION
            return 2 * x
            ### END SOLUTION
        """,
    ),
    (
        "double-check",
        "test",
        1,
        """
        assert double(3) == 6, f"double(3) is {double(3)!r}, not 6"
        assert double(-1.5) == -3, f"double(-1.5) is {double(-1.5)!r}, not -3"
        """,
    ),
    (
        "double-hidden",
        "test",
        2,
        """
        ### BEGIN HIDDEN TESTS
        # canary-double-7d1e
        for n in (48151623, 0, -48151623):  # 2 x 48151623 = 96303246
            assert double(n) == 2 * n, "double is wrong for an integer"
        drawn = np.random.default_rng().integers(10**6, 10**9, 5)
        for n in drawn.tolist():
            assert double(n) == 2 * n, "double is wrong for an integer"
        assert np.array_equal(double(drawn), 2 * drawn), "double is wrong for an array"
        ### END HIDDEN TESTS
        """,
    ),
    (
        "mean",
        "answer",
        0,
        """
        def mean(values):
            ### BEGIN SOLUTION
            return float(sum(values) / len(values))
            ### END SOLUTION
        """,
    ),
    (
        # What is expected of `drawn` is worked out after the call: who changes it must gain nothing
        "mean-hidden",
        "test",
        2,
        """
        ### BEGIN HIDDEN TESTS
        # canary-mean-a90c; 73519281 + 73519283 + 73519288 = 220557852 = 3 x 73519284
        values = np.array([73519281.0, 73519283.0, 73519288.0])
        assert abs(mean(values) - 73519284.0) < 1e-6, "mean is wrong for an array"
        values = [9021337.5, 4170023.25]  # together 13191360.75, halved 6595680.375
        assert abs(mean(values) - 6595680.375) < 1e-6, "mean is wrong for a list"
        drawn = np.random.default_rng().integers(10**5, 10**6, 7).astype(float)
        got = mean(drawn)
        assert abs(got - drawn.sum() / drawn.size) < 1e-6, "mean is wrong for an array"
        ### END HIDDEN TESTS
        """,
    ),
    (
        "answers",
        "answer",
        0,
        """
        ### BEGIN SOLUTION
        answers = {"q1": "c", "q2": "a"}
        ### END SOLUTION
        """,
    ),
    (
        "answers-look",
        "test",
        0,
        """
        for question in ("q1", "q2"):
            assert is_letter(answers[question]), f"{question}: {answers[question]!r} is no letter"
        """,
    ),
    (
        "answers-hidden",
        "test",
        2,
        """
        ### BEGIN HIDDEN TESTS
        # canary-answers-03fb
        for question, letter in {"q1": "c", "q2": "a"}.items():
            assert answers[question] == letter, f"{question}: another letter is right"
        ### END HIDDEN TESTS
        """,
    ),
    (
        "counter",
        "answer",
        0,
        """
        class Counter:
            ### BEGIN SOLUTION
            def __init__(self):
                self.amount = 0

            def add(self, amount=1):
                self.amount += amount

            def total(self):
                return self.amount

            ### END SOLUTION
        """,
    ),
    (
        "counter-hidden",
        "test",
        1,
        """
        ### BEGIN HIDDEN TESTS
        # canary-counter-6e42; 30211877 + 40427991 = 70639868
        one, other = Counter(), Counter()
        one.add(30211877)
        one.add(40427991)
        assert one.total() == 70639868, "total is not the sum of what was added"
        assert other.total() == 0, "two counters share their total"
        ### END HIDDEN TESTS
        """,
    ),
    ("essay", "essay", 2, "canary-essay-c85d: the model answer says that a mean hides the spread."),
)
ORDER = tuple(name for name, *_ in CELLS)
POINTS = {"double": 3, "mean": 2, "answers": 2, "counter": 1}  # answer → automatic points on it

# No feedback holds any of these, whoever asks. Eight digits: a hash in a page holds none by chance.
SECRETS: tuple[str, ...] = (
    *("48151623", "96303246"),
    *("73519281", "73519283", "73519288", "73519284", "220557852"),
    *("9021337.5", "4170023.25", "6595680.375"),
    *("30211877", "40427991", "70639868"),
    *("canary-double-7d1e", "canary-mean-a90c", "canary-answers-03fb", "canary-counter-6e42"),
    "canary-essay-c85d",
)


def told(text: str) -> list[str]:
    """The secrets that a text gives away, plainly or in a disguise that an attack uses.

    Disguises: other punctuation (`7.3519281e+07`), backwards, a hexadecimal number, and the digits
    as hexadecimal or base64 bytes.
    """
    flat = _flat(text)
    found = []
    for secret in SECRETS:
        plain = _flat(secret)
        forms = {plain, plain[::-1], secret.encode().hex()}
        if secret.isdigit():
            forms.add(f"{int(secret):x}")
        coded = base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]  # the last may vary
        if coded in text or any(form in flat for form in forms):
            found.append(secret)
    return found


def target_notebook() -> dict[str, Any]:
    """The teacher's copy: right answers and hidden tests, nbgrader's metadata of schema 3."""
    return _notebook(lambda source: source)


def release() -> dict[str, Any]:
    """What students receive: stubs for answers, nothing of a hidden test."""
    notebook = _notebook(lambda source: _cut(_stubbed(source), HIDE, UNHIDE, ()))
    notebook["cells"][ORDER.index("essay")]["source"] = "YOUR ANSWER HERE"
    return notebook


def honest_cells() -> dict[str, str]:
    """Grade id → a right answer, in other words than the teacher's; all automatic points."""
    return {
        "double": "def double(x):\n    return x + x\n",
        "mean": "def mean(values):\n    return float(np.mean(values))\n",
        "answers": "answers = dict(q1='c', q2='a')\n",
        "counter": textwrap.dedent("""\
            class Counter:
                def __init__(self):
                    self.seen = []

                def add(self, amount=1):
                    self.seen.append(amount)

                def total(self):
                    return sum(self.seen)
            """),
        "essay": "One far value moves a mean.",
    }


def submission(cells: Mapping[str, str], extra: Iterable[tuple[int, str]] = ()) -> bytes:
    """A notebook handed in: `release()` with these answers, as a file's bytes.

    Args:
        cells: grade id → source; cells that are not named stay as they were given.
        extra: (position, source) of further code cells; one at position p stands before the cell
            that is number p in `ORDER`, after all of them where there is none.
    """
    return as_bytes(with_cells(release(), cells, extra))


def with_cells(
    notebook: dict[str, Any], cells: Mapping[str, str], extra: Iterable[tuple[int, str]] = ()
) -> dict[str, Any]:
    """A copy of a notebook with other sources and further cells, see `submission`.

    Raises:
        KeyError: the target has no such cell.
    """
    notebook = copy.deepcopy(notebook)
    known = {cell["id"]: cell for cell in notebook["cells"]}
    for name, source in cells.items():
        known[name]["source"] = source
    ordered = sorted(enumerate(extra), key=lambda pair: (pair[1][0], pair[0]))
    for number, (position, source) in reversed(ordered):  # backwards: the positions stay true
        notebook["cells"].insert(position, code_cell(f"extra-{number}", source))
    return notebook


def as_bytes(notebook: Any) -> bytes:
    """A notebook's file; lone surrogates are escaped, as JSON can."""
    return json.dumps(notebook, indent=1).encode()


def code_cell(id: str, source: str, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A code cell that was not run."""
    cell: dict[str, Any] = {"cell_type": "code", "execution_count": None, "id": id}
    return cell | {"metadata": dict(metadata or {}), "outputs": [], "source": source}


def _notebook(shown) -> dict[str, Any]:
    cells = []
    for name, kind, points, source in CELLS:
        entry = {
            "grade": kind in ("test", "essay"),
            "grade_id": name,
            "locked": kind in ("given", "test"),
            "schema_version": 3,
            "solution": kind in ("answer", "essay"),
            "task": False,
        }
        if entry["grade"]:
            entry["points"] = points
        cell = code_cell(name, shown(textwrap.dedent(source).strip()), {"nbgrader": entry})
        if kind == "essay":
            cell["cell_type"] = "markdown"
            del cell["outputs"], cell["execution_count"]
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _stubbed(source: str) -> str:
    return _cut(source, BEGIN, END, ("# YOUR CODE HERE", "raise NotImplementedError()"))


def _cut(source: str, begin: str, end: str, instead: tuple[str, ...]) -> str:
    """The source with each marked part replaced by these lines, as far to the right."""
    kept: list[str] = []
    inside = False
    for line in source.split("\n"):
        if line.strip() == begin:
            inside = True
            indent = line[: len(line) - len(line.lstrip())]
            kept += [indent + one for one in instead]
        elif line.strip() == end:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def _flat(text: str) -> str:
    return re.sub(r"[^0-9a-z]", "", text.lower())
