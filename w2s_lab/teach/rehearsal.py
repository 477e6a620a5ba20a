"""An exercise notebook tried out: what its test cells give to the author's, or any other, answers.

It isolates nothing and is for code that we wrote ourselves: solutions, stubs, known wrong answers.
"""

import ast
import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from w2s_lab.errors import W2SError


@dataclass(frozen=True)
class Outcome:
    """What one test cell gave: points, the most there are, and what it printed."""

    points: float
    most: float
    printed: str


def rehearse(
    notebook, answers: Mapping[str, str] | None = None, *, task: str | None = None
) -> dict[str, Outcome]:
    """What each test cell of an exercise notebook gives, by grade id.

    Points are counted as nbgrader counts them: none after an error, else the number that the cell
    ends with. An answer that fails to run leaves its names undefined.

    Args:
        notebook: with hidden cases, as `solution_notebook` gives it.
        answers: code by task; in place of the notebook's own.
        task: runs this task's cells alone, after those that belong to no task.

    Raises:
        W2SError: a cell outside the tasks that fails, or a test cell without points at its end.
    """
    answers = answers or {}
    names: dict[str, Any] = {"__name__": "__main__"}
    found = {}
    for cell in notebook.cells:
        about = cell.metadata.get("nbgrader")
        id = about["grade_id"] if about else ""
        own = id.rpartition("-")[0] if about and about["grade"] else id
        plain = not about or (about["locked"] and not about["grade"])
        if cell.cell_type != "code" or (task and not plain and own != task):
            continue
        code = answers.get(id, cell.source) if about and about["solution"] else cell.source
        out = io.StringIO()
        value = error = None
        try:
            with contextlib.redirect_stdout(out):
                value = _run(code, names, id or cell.id)
        except (Exception, SystemExit) as caught:  # sys.exit() ends a cell, not the kernel
            error = caught
        if plain and error:
            what = f"stopped with {type(error).__name__}: {error}"
            raise W2SError(what, where=id or cell.id, mend="mend the cell") from error
        if about and about["grade"]:
            found[id] = _outcome(id, value, error, about["points"], out.getvalue())
    return found


def _run(code: str, names: dict, where: str) -> Any:
    """Runs a cell in `names`; the value of its last line where that is an expression."""
    body = ast.parse(code, where).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), where, "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), where, "eval"), names)


def _outcome(
    id: str, value: Any, error: BaseException | None, most: float, printed: str
) -> Outcome:
    if error:
        return Outcome(0.0, most, f"{printed}{type(error).__name__}: {error}\n")
    # nbgrader reads the repr, and cannot read that of numpy's floats
    if type(value) is not float or not 0 <= value <= most:
        what = f"the test cell ends with {value!r}, not with points up to {most:g}"
        raise W2SError(what, where=id, mend="end it with `marks.total()`; its cases add up to them")
    return Outcome(value, most, printed)
