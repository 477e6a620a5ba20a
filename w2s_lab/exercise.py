"""Cases that a learner's code is tried on, told at once and in the learner's terms.

It holds no exercise and no answer: exercises are written in solutions/, each with its own cases.
A cell that ends with `marks.total()` gives nbgrader's partial credit (nbgrader docs, "Autograder
tests cell: partial credit").
"""

import builtins
import contextlib
import linecache
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

WIDTH = 88  # columns; what a notebook shows without a scroll bar
UNWRITTEN = "Nothing is written here yet."
SCORES: dict[str, tuple[float, float]] = {}  # task → (points, most); lives as long as the kernel


BY_REFERENCE = False  # see `by_reference`


class Told(NamedTuple):
    """One case and what came of it: `said` is "" where it holds."""

    title: str
    points: float
    most: float
    said: str


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
        self.cases: list[Told] = []

    @contextlib.contextmanager
    def case(self, title: str, points: float = 1) -> Iterator[None]:
        """One case, worth `points` if nothing in its block objects; prints one or two lines."""
        self.most += points
        said = None
        with self._heard(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                yield
            except KeyboardInterrupt:
                raise  # an endless loop was stopped; the next case would hang in it again
            except BaseException as error:  # sys.exit() too: it would cost the cases that follow
                said = self._told(error)
        self.cases.append(Told(title, 0.0 if said else points, points, said or ""))
        if said is None:
            self.points += points
            print(f"✓ {title}" + f" ({_points(points)})" * bool(points))
        else:
            print(f"✗ {title}" + f" (0 of {_points(points)})" * bool(points))
            print(textwrap.indent(textwrap.fill(said, WIDTH - 2, break_on_hyphens=False), "  "))

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
        want = np.asarray(expected, float)
        known = {words: np.asarray(wrong, float) for words, wrong in (mistakes or {}).items()}
        for words, other in known.items():
            if _close(other, want, tolerance):
                raise _unsound(words)
        if nothing := _nothing(got):
            raise Unmet(nothing)
        have = _numbers(got)
        if have is None:
            what = f"It is a {type(got).__name__} where numbers were expected."
            raise Unmet(self._plain(what))
        if _close(have, want, tolerance):
            return
        for words, other in known.items():
            if _close(have, other, tolerance):
                raise Unmet(words)
        if have.shape != want.shape:
            raise Unmet(self._plain(f"Its shape is {have.shape}; {want.shape} was expected."))
        if np.isnan(have).any() and not np.isnan(want).any():
            what = "It contains nan: a division by 0, perhaps, or the logarithm of 0."
            raise Unmet(self._plain(what))
        a, b = _shown(have), _shown(want)
        what = f"It is {a}; {b} was expected, give or take {tolerance:g}."
        if a == b:  # they differ in digits or in entries that are not shown
            what += f" The largest difference is {np.nanmax(np.abs(have - want)):.2g}."
        raise Unmet(self._plain(what))

    def same(self, got: Any, expected: Any, *, mistakes: Mapping[str, Any] | None = None) -> None:
        """Objects unless two plain values are equal: names, indices in their order, dicts, lists.

        Arrays and tuples count as lists, `np.int64(3)` as 3. `mistakes` as in `near`.
        """
        have, want = _listed(got), _listed(expected)
        known = {words: _listed(wrong) for words, wrong in (mistakes or {}).items()}
        for words, other in known.items():
            if other == want:
                raise _unsound(words)
        if have == want:
            return
        for words, other in known.items():
            if have == other:
                raise Unmet(words)
        if nothing := _nothing(got):
            raise Unmet(nothing)
        a, b = _short(have), _short(want)
        if a == b:  # "3" and 3, or a blank at the end
            a, b = _short(repr(have)), _short(repr(want))
        raise Unmet(self._plain(f"It is {a}; {b} was expected."))

    def holds(self, condition: Any, words: str) -> None:
        """Objects with these words unless the condition is true."""
        if not bool(condition):
            raise Unmet(words)

    def refuses(self, call: Callable, words: str) -> None:
        """Objects with these words unless `call()` raises an exception.

        An answer that is not written yet refuses nothing, nor does one that lacks a name.
        """
        try:
            call()
        except Exception as error:
            ended = getattr(
                error, "ended", False
            )  # an endless loop was stopped: that is no refusal
            if isinstance(error, NameError) or _unwritten(error) or ended:
                raise
            return
        raise Unmet(words)

    def total(self) -> float:
        """The points of all cases; prints them, and keeps them for `score`."""
        points = round(float(self.points), 9)  # 0.1 + 0.2 must not be more than the cell's 0.3
        kind = "hidden" if self.hidden else "visible"
        if not self.most:  # a choice is only looked at here; its key is hidden
            print(f"{self.task}: its points are on hidden cases")
            return points
        if not self.hidden:
            SCORES[self.task] = (points, self.most)
        print(f"{self.task}: {points:g} of {_points(self.most)} on {kind} cases")
        return points

    def _heard(self) -> contextlib.AbstractContextManager:
        """Lets a learner hear what the tried code says, all of it on standard output.

        A hidden case must not be read out by the code that it tries, so there nothing is heard.
        """
        if not self.hidden:
            return contextlib.redirect_stderr(sys.stdout)
        from IPython.utils.capture import capture_output  # late: visible cases do without

        return capture_output()  # what `display` shows as well

    def _plain(self, words: str) -> str:
        """Words that show values, which a hidden case must not."""
        return "The result is not the expected one." if self.hidden else words

    def _told(self, error: BaseException) -> str:
        kind = type(error)
        if isinstance(error, Unmet):
            return str(error)
        if _unwritten(error):
            return UNWRITTEN
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        cells = {frame.f_code.co_filename for frame in frames} - {__file__}
        # A hidden case names what it calls itself; other names may be made of what it handed over
        if isinstance(error, NameError) and error.name and (not self.hidden or len(cells) == 1):
            return f"There is no name {error.name!r} yet: run the cell that defines it."
        if self.hidden:  # not even the name of an exception that the learner's code may have made
            known = getattr(builtins, kind.__name__, None) is kind
            return f"Your code stopped with {kind.__name__ if known else 'an exception'}."
        text = _text(error)
        said = f"{kind.__name__}: {text}" if text else kind.__name__
        last = getattr(error, "line", "") or _line(error)  # told by another process, or seen here
        return f"Your code stopped with {said}" + (f" (at `{last}`)" if last else "")


@contextlib.contextmanager
def by_reference() -> Iterator[None]:
    """For a case that looks at what it handed over: was it changed?

    In a notebook nothing is different. A grader that runs the learner's code in another process
    hands over copies; within this block it brings back what was done to them. Elsewhere it does
    not, since changing a test's own data would be a way to pass it.
    """
    global BY_REFERENCE
    before, BY_REFERENCE = BY_REFERENCE, True
    try:
        yield
    finally:
        BY_REFERENCE = before


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
    return f"{points:g} point{'' if points == 1 else 's'}"


def _unsound(words: str) -> Unmet:
    what = f"the mistake {words!r} gives the expected result"
    return Unmet(f"This case is at fault, not your answer: {what}. Tell your teacher.")


def _unwritten(error: BaseException) -> bool:
    """Whether the stub stopped it, here or in another process; torch's own errors have a text."""
    text = _text(error)
    return not text if isinstance(error, NotImplementedError) else "NotImplementedError" in text


def _text(error: BaseException) -> str:
    """What an exception says, "" where a class of the learner's own fails to say it."""
    try:
        return str(error)
    except Exception:
        return ""


def _line(error: BaseException) -> str:
    """The notebook's own line that led to an error, or "": a library's would help nobody."""
    own = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__") == "__main__"
    ]
    return linecache.getline(*own[-1]).strip() if own else ""


def _nothing(value: Any) -> str:
    """What to say where there is no result yet, "" where there is one."""
    if value is None:
        return "It is None: is there a `return`?"
    if value is ... or (isinstance(value, str) and not value):
        return UNWRITTEN
    return "It is a function: is it called, with brackets?" if callable(value) else ""


def _numbers(value: Any) -> np.ndarray | None:
    """Numbers as an array, None where they are none."""
    try:
        array = np.asarray(_listed(value))
    except ValueError:  # rows of unequal length
        return None
    # numpy alone would read "0.5" as 0.5 and None as nan
    plain = all(isinstance(one, Real) for one in array.ravel().tolist())
    return array.astype(float) if plain else None


def _close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return a.shape == b.shape and np.allclose(a, b, rtol=0, atol=tolerance, equal_nan=True)


def _listed(value: Any) -> Any:
    """Plain Python values: what two libraries hold alike compares alike."""
    if hasattr(value, "tolist") and not callable(value):  # numpy's, torch's, pandas' alike
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        # A key may be a tuple, which has to stay one
        plain = {key: key.item() if isinstance(key, np.generic) else key for key in value}
        return {plain[key]: _listed(item) for key, item in value.items()}
    return value


def _shown(numbers: np.ndarray) -> str:
    if not numbers.ndim:
        return f"{float(numbers):.6g}"
    return _short(np.array2string(numbers, precision=4, separator=", ", threshold=8, edgeitems=3))


def _short(value: Any) -> str:
    text = " ".join(str(value).split()) if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
