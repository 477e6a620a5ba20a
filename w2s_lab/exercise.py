"""Cases that a learner's code is tried on, told at once and in the learner's terms.

It holds no exercise and no answer: exercises are written in solutions/, each with its own cases.
A cell that ends with `marks.total()` gives nbgrader's partial credit (nbgrader docs, "Autograder
tests cell: partial credit").
"""

import builtins
import contextlib
import io
import linecache
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

WIDTH = 88  # columns; what a notebook shows without a scroll bar
UNWRITTEN = "Nothing is written here yet."
SCORES: dict[str, tuple[float, float]] = {}  # task → (points, most); lives as long as the kernel


class Unmet(AssertionError):
    """A case that does not hold, in words for the learner."""


class Marks:
    """The points of one test cell, collected case by case.

    A case that fails costs its own points alone: the next one runs all the same. What the learner's
    code writes to standard error costs nothing.

    Args:
        task: the exercise's name.
        hidden: prints only words that the author wrote, never a value or an exception's text.
    """

    def __init__(self, task: str, *, hidden: bool = False):
        self.task, self.hidden = task, hidden
        self.points = self.most = 0.0

    @contextlib.contextmanager
    def case(self, title: str, points: float = 1) -> Iterator[None]:
        """One case, worth `points` if nothing in its block objects; prints one or two lines."""
        self.most += points
        said = None
        # A hidden case must not be read out by the code it tries
        out = io.StringIO() if self.hidden else sys.stdout
        try:
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(out),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")
                yield
        except Exception as error:
            said = self._told(error)
        if said is None:
            self.points += points
            print(f"✓ {title} ({_points(points)})")
        else:
            print(f"✗ {title} (0 of {_points(points)})")
            print(textwrap.fill(said, WIDTH, initial_indent="  ", subsequent_indent="  "))

    def near(
        self,
        got: Any,
        expected: Any,
        *,
        tolerance: float = 1e-6,
        mistakes: Mapping[str, Any] | None = None,
    ) -> None:
        """Objects unless numbers agree: |got − expected| ≤ tolerance, entry by entry.

        Args:
            got: what the learner's code gave: a number, or an array, tensor or list of them.
            expected: the same, shape included; nan agrees with nan.
            mistakes: what to say → the result that calls for it, where a known mistake leads there.
        """
        want, have = np.asarray(expected, float), _numbers(got)
        for words, wrong in (mistakes or {}).items():
            other = np.asarray(wrong, float)
            if _close(other, want, tolerance):
                raise ValueError(f"the mistake {words!r} gives the expected result")
            if _close(have, other, tolerance):
                raise Unmet(words)
        if have.shape != want.shape:
            raise Unmet(self._plain(f"Its shape is {have.shape}; {want.shape} was expected."))
        if np.isnan(have).any() and not np.isnan(want).any():
            what = "It contains nan: a division by 0, perhaps, or the logarithm of 0."
            raise Unmet(self._plain(what))
        if not _close(have, want, tolerance):
            shown = (
                f"It is {_shown(have)}; {_shown(want)} was expected, give or take {tolerance:g}."
            )
            raise Unmet(self._plain(shown))

    def same(self, got: Any, expected: Any, *, mistakes: Mapping[str, Any] | None = None) -> None:
        """Objects unless two plain values are equal: names, indices in their order, dicts, lists.

        Arrays and tuples count as lists, `np.int64(3)` as 3. `mistakes` as in `near`.
        """
        have, want = _listed(got), _listed(expected)
        for words, wrong in (mistakes or {}).items():
            if _listed(wrong) == want:
                raise ValueError(f"the mistake {words!r} gives the expected result")
            if have == _listed(wrong):
                raise Unmet(words)
        if have is None:
            raise Unmet("It is None: is there a `return`?")
        if have == "" or have is ...:
            raise Unmet(UNWRITTEN)
        if have != want:
            raise Unmet(self._plain(f"It is {_short(have)}; {_short(want)} was expected."))

    def holds(self, condition: Any, words: str) -> None:
        """Objects with these words unless the condition is true."""
        if not bool(condition):
            raise Unmet(words)

    def refuses(self, call: Callable, words: str) -> None:
        """Objects with these words unless `call()` raises an exception.

        An answer that is not written yet refuses nothing.
        """
        try:
            call()
        except Exception as error:
            if "NotImplementedError" in f"{type(error).__name__} {error}":
                raise NotImplementedError from error
            return
        raise Unmet(words)

    def total(self) -> float:
        """The points of all cases; prints them, and keeps them for `score`."""
        if not self.hidden:
            SCORES[self.task] = (self.points, self.most)
        kind = "hidden" if self.hidden else "visible"
        print(f"{self.task}: {self.points:g} of {_points(self.most)} on {kind} cases")
        return float(self.points)

    def _plain(self, words: str) -> str:
        """Words that show values, which a hidden case must not."""
        return "The result is not the expected one." if self.hidden else words

    def _told(self, error: Exception) -> str:
        name, text = type(error).__name__, str(error)
        if isinstance(error, Unmet):
            return text
        if "NotImplementedError" in f"{name} {text}":
            return UNWRITTEN
        if isinstance(error, NameError) and error.name:
            return f"There is no name {error.name!r} yet: run the cell that defines it."
        if self.hidden:  # not even the name of an exception that the learner's code may have made
            return f"Your code stopped with {name if hasattr(builtins, name) else 'an exception'}."
        own = [one for one in traceback.extract_tb(error.__traceback__) if one.filename != __file__]
        last = linecache.getline(own[-1].filename, own[-1].lineno or 0).strip() if own else ""
        return f"Your code stopped with {name}: {text}" + (f" (at `{last}`)" if last else "")


def score() -> None:
    """Prints the points on visible cases, task by task, as far as the checks were run."""
    if not SCORES:
        print("No check has been run yet.")
        return
    width = max(len(task) for task in SCORES)
    for task, (points, most) in SCORES.items():
        print(f"{task:{width}}  {points:g} of {most:g}")
    points, most = (sum(column) for column in zip(*SCORES.values(), strict=True))
    print(f"{'together':{width}}  {points:g} of {most:g} on visible cases")


def _points(points: float) -> str:
    return f"{points:g} point" + "s" * (points != 1)


def _numbers(value: Any) -> np.ndarray:
    """Numbers as an array; Unmet where they are none, in words about what they are."""
    if value is None:
        raise Unmet("It is None: is there a `return`?")
    if value is ...:
        raise Unmet(UNWRITTEN)
    if hasattr(value, "detach"):  # a tensor, named without importing torch
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    if callable(value):
        raise Unmet("It is a function: is it called, with brackets?")
    try:
        return np.asarray(value, float)
    except (TypeError, ValueError):
        raise Unmet(f"It is a {type(value).__name__} where numbers were expected.") from None


def _close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return a.shape == b.shape and np.allclose(a, b, rtol=0, atol=tolerance, equal_nan=True)


def _listed(value: Any) -> Any:
    """Plain Python values: what two libraries hold alike compares alike."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {_listed(key): _listed(item) for key, item in value.items()}
    return value


def _shown(numbers: np.ndarray) -> str:
    if not numbers.ndim:
        return f"{float(numbers):.6g}"
    return _short(np.array2string(numbers, precision=4, separator=", ", threshold=8, edgeitems=3))


def _short(value: Any) -> str:
    text = " ".join(str(value).split()) if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
