"""How a cell of the teacher's is executed in the judge, and what its end is worth.

It knows nothing of submissions; `judge` decides what is run and when.
"""

import ast
import contextlib
import io
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

from w2s_lab.teach.grading.proxies import Ask


def execute(source: str, name: str, names: "Shared") -> Any:
    """Runs a cell; returns the value of its last line if that is an expression."""
    body, last = compiled(source, name)
    exec(body, names.names, names)
    return eval(last, names.names, names) if last is not None else None


@lru_cache(maxsize=1000)
def compiled(source: str, name: str) -> tuple[CodeType, CodeType | None]:
    """A cell's code, and that of its last line apart where it is an expression."""
    tree, file = ast.parse(source), f"<{name}>"
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        return compile(tree, file, "exec"), None
    start = compile(ast.Module(tree.body[:-1], []), file, "exec")
    return start, compile(ast.Expression(last.value), file, "eval")


def points_of(value: Any, most: float) -> float:
    """nbgrader's partial credit: the last line's number, and everything where there is none.

    A number below 0 or none at all (nan) is worth nothing, where nbgrader gives everything.
    """
    scalar = type(value).__module__ == "numpy" and getattr(value, "size", 0) == 1
    number = value.item() if scalar else value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return most
    finite = isinstance(number, int) or math.isfinite(number)
    return round(float(min(max(number, 0), most)), 9) if finite else 0.0


class Shared(dict):
    """The names of a test cell: what it does to a student's name happens in the box as well, as it
    would in one kernel. (A test may take a function away to see whether another one uses it.)
    """

    def __init__(self, names: dict[str, Any], theirs: frozenset[str], ask: Ask):
        super().__init__()
        self.names, self.theirs, self.ask = names, theirs, ask

    def __getitem__(self, name: str) -> Any:
        return self.names[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.names[name] = value
        if name in self.theirs:
            self.ask.bind(name, value)

    def __delitem__(self, name: str) -> None:
        del self.names[name]
        if name in self.theirs:
            self.ask.unbind(name)


class Quiet:
    """IPython's shell for the teacher's cells: magics do nothing here."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class _Sink(io.TextIOBase):
    """What tests print; they may capture it, otherwise it is nobody's."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    with contextlib.redirect_stdout(_Sink()), contextlib.redirect_stderr(_Sink()):
        yield
