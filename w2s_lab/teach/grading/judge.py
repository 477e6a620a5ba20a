"""Grades one submission: runs the teacher's tests here, and the student's code somewhere else.

From the submission only cell ids and sources are read; order, points, given cells and tests are the
teacher's. Nothing that the box says is a verdict: tests see plain data and decide here. What a
student may read of a hidden test is the author's own sentences; free text from the box is shown
only as long as no hidden test has been run on the process that it came from.
"""

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from socket import socket
from typing import Any

from w2s_lab import exercise
from w2s_lab.teach.grading.codec import BadFrame
from w2s_lab.teach.grading.execution import Quiet, Shared, execute, points_of, silent
from w2s_lab.teach.grading.line import ELEMENTS, FROM_BOX, Ended, Line
from w2s_lab.teach.grading.plain import plain
from w2s_lab.teach.grading.plan import ANSWER, GIVEN, MANUAL, PLAIN, TEST, Plan, Step
from w2s_lab.teach.grading.process import Limits
from w2s_lab.teach.grading.proxies import Ask, Gone
from w2s_lab.teach.grading.submission import Refused, Submission, read_cells
from w2s_lab.teach.grading.verdict import GRADED, REJECTED, Case, Item, Verdict, unscored
from w2s_lab.teach.grading.words import GENERIC, UNWRITTEN, of_error

RESTARTS = 2  # of a student's process in one test: an endless loop costs its own task only
ANSWER_LENGTH = 100_000  # characters that are kept of one answer
SAID = 400  # characters of one message
NOTES = 30
WAITS = "A person will grade it."
STOPPED = "Your code stopped with"  # how `Marks` tells of an exception
ENDED = tuple(f"{STOPPED} {kind}." for kind in ("TimeoutError", "MemoryError"))
CELL_FILE = re.compile(r"<ipython-input-[^>]*>")  # IPython's name for a cell


@dataclass
class Outcome:
    """What one pass over a submission came to; `curtailed` if a text was held back."""

    items: dict[str, Item] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    curtailed: bool = False


class Supply:
    """Where new workers come from, and how long they may work.

    Args:
        new: the judge's end of a line to a new worker.
        lost: tells that the last worker is of no more use; returns what ended it, "" if unknown.
        by_reference: calls bring back what they did to their arguments, in every test.
    """

    def __init__(
        self,
        new: Callable[[], socket],
        lost: Callable[[], str],
        limits: Limits,
        by_reference: bool = False,
    ):
        self.new, self.lost, self.limits, self.by_reference = new, lost, limits, by_reference
        self.until = time.monotonic() + limits.notebook_seconds

    @property
    def left(self) -> float:
        """Seconds that remain of the notebook's time."""
        return self.until - time.monotonic()


def grade(
    plan: Plan,
    raw: bytes,
    supply: Supply,
    *,
    tell: Callable[[Item], None] = lambda item: None,
    at_end: Callable[[Ask], None] | None = None,
) -> Verdict:
    """The verdict on one submission.

    Args:
        raw: the notebook as it was handed in.
        tell: is given each item as soon as it is known, in case the judge itself is stopped.
        at_end: may ask more of the box when everything has run; for code that is trusted.
    """
    began = time.monotonic()
    try:
        submission = read_cells(raw, plan.known | plan.idle, plan.name)
    except Refused as refused:
        return rejected(plan, f"Your notebook {refused.reason}.")
    trusted = at_end is not None
    first = _Pass(plan, submission, supply, tell=tell, trusted=trusted).outcome(at_end)
    took = time.monotonic() - began
    if first.curtailed and supply.left > took:
        # Once more without hidden tests, for the words that were held back; the points stay
        told = _Pass(plan, submission, supply, hidden=False).outcome()
        first = _with_words(first, told)
    sources = {cell.grade_id: cell.source for cell in submission.cells if cell.grade_id}
    answers = {
        step.grade_id: sources[step.grade_id][:ANSWER_LENGTH]
        for step in plan.steps
        if step.role in (ANSWER, MANUAL) and step.grade_id in sources
    }
    items = tuple(first.items[column.grade_id] for column in plan.sheet.columns)
    notes = tuple(dict.fromkeys([*submission.notes, *first.notes]))[:NOTES]
    return Verdict(GRADED, items, notes, answers, seconds=time.monotonic() - began)


def rejected(plan: Plan, reason: str) -> Verdict:
    """The verdict on what cannot be read: no points, and why."""
    return Verdict(REJECTED, unscored(plan.sheet, "Not graded."), (reason,))


def _with_words(first: Outcome, told: Outcome) -> Outcome:
    """The first outcome with the second's words, where both came to the same."""
    items = dict(first.items)
    for id, item in told.items.items():
        if item.score < item.max_score or not item.max_score:
            old = items[id]
            if old.score == item.score or not old.cases:
                items[id] = replace(old, message=item.message, cases=item.cases)
    return Outcome(items, told.notes)


class _Pass:
    """One way through the notebook, from the first cell to the last, on one process of the box.

    Args:
        hidden: whether hidden tests are run; without them every text may be shown.
        trusted: it is the teacher's own, and nothing is held back.
    """

    def __init__(
        self,
        plan: Plan,
        submission: Submission,
        supply: Supply,
        *,
        hidden: bool = True,
        tell: Callable[[Item], None] = lambda item: None,
        trusted: bool = False,
    ):
        self.plan, self.submission, self.supply = plan, submission, supply
        self.hidden, self.tell, self.trusted = hidden, tell, trusted
        self.result = Outcome()
        self.secret_out = False  # whether a hidden test has been run on this process
        self.testing_hidden = False  # whether one is being run
        by_reference = supply.by_reference
        self.ask = Ask(self._exchange, lambda: by_reference or exercise.BY_REFERENCE, _heard)
        self.line: Line | None = None
        self.restarts = RESTARTS
        self.why = ""
        self.ran: list[tuple[str, str]] = []  # what has to run again on a new process
        self.names: dict[str, Any] = {  # the teacher's side of the notebook
            "__name__": "judge",
            "__builtins__": __builtins__,
            "get_ipython": lambda: Quiet(),
            "display": lambda *_, **__: None,
        }
        self.ask.given = self.names
        self.fetched: dict[str, Any] = {}  # as they came from the box
        self.loads: set[str] = set()
        self.marks: set[int] = set()

    def outcome(self, at_end: Callable[[Ask], None] | None = None) -> Outcome:
        """Runs everything, and ends its process."""
        try:
            self._walk()
            if at_end is not None:
                at_end(self.ask)
        finally:
            self._drop()
        return self.result

    def _walk(self) -> None:
        extras = _extras(self.submission, self.plan.known)
        sources = {cell.grade_id: cell for cell in self.submission.cells if cell.grade_id}
        self._run_all("", extras.get("", ()))
        for step in self.plan.steps:
            own = sources.get(step.grade_id)
            self.restarts = RESTARTS
            if step.role in (GIVEN, PLAIN):
                if step.code and step.grade_id:
                    self._run(
                        step.grade_id, step.source if step.role == GIVEN or not own else own.source
                    )
                self._prepare(step)
            elif step.role == ANSWER or (step.role == MANUAL and step.code):
                if own is not None and own.kind == "code":
                    self._run(step.grade_id, own.source)
                elif own is not None:
                    self._note(f"The cell `{step.grade_id}` is no code cell any more.")
                else:
                    mend = "put it back from the assignment and hand in again"
                    self._note(f"The cell `{step.grade_id}` is missing: {mend}.")
            if step.role in (TEST, MANUAL):
                item = self._test(step) if step.role == TEST else self._manual(step, own)
                if item is not None:
                    self.result.items[step.grade_id] = item
                    self.tell(item)
            self._run_all(step.grade_id, extras.get(step.grade_id, ()))

    # --- the student's side ---------------------------------------------------------------------

    def _run_all(self, anchor: str, sources: tuple[str, ...] | list[str]) -> None:
        place = f"a cell below `{anchor}`" if anchor else "a cell at the top"
        for source in sources:
            self._run(place, source)

    def _run(self, name: str, source: str) -> None:
        """Runs a cell of the student's; what goes wrong in it becomes a note."""
        called = name if name.startswith("a cell") else f"the cell `{name}`"
        try:
            reply = self._request({"op": "run", "source": source}, self.supply.limits.cell_seconds)
        except (Gone, TimeoutError, MemoryError) as error:
            self._note(f"{_capital(called)} could not be run: {error}")
            return
        self.ran.append((name, source))
        if reply.get("ok") is True:
            return
        if self.secret_out:  # its text could carry what a hidden test handed over
            self.result.curtailed = True
            self._note(f"{_capital(called)} stopped with an error.")
            return
        names, text, line = reply.get("error"), reply.get("text"), reply.get("line")
        kind = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
        if kind == "NotImplementedError" and not text:
            self._note(f"{_capital(called)} is not written yet.")
            return
        words = f"{_capital(called)} stopped with {plain(kind, 60) or 'an error'}"
        if isinstance(text, str) and text:
            words += f": {plain(CELL_FILE.sub('the cell', text), SAID)}"
        words += f" (at `{plain(line, 100)}`)" if isinstance(line, str) and line else ""
        self._note(words)

    def _exchange(self, request: dict) -> dict:
        """What stand-ins ask of the box."""
        seconds = self.supply.limits.call_seconds
        return self._request(request, seconds)

    def _request(self, request: dict, seconds: float) -> dict:
        """One request and its reply, on a new process if the last one is gone.

        Raises:
            TimeoutError, MemoryError, Gone: no reply; told in words for the student.
        """
        if self.line is None:
            self._start()
        assert self.line is not None
        seconds = min(seconds, max(self.supply.left, 0.01))
        try:
            self.line.send(request, seconds=seconds)
            reply = self.line.receive(seconds=seconds)
            until = time.monotonic() + seconds
            while isinstance(reply, dict) and "callback" in reply:  # of a function of the test's
                if request["op"] == "run":
                    raise BadFrame("a call of a test's function, in a cell")
                answer = self.ask.called(reply)
                if self.line is None:  # the function has called back, and that was the end
                    raise Gone(self.why)
                left = until - time.monotonic()
                self.line.send(answer, seconds=left)
                reply = self.line.receive(seconds=left)
        except TimeoutError:
            self.why = f"it did not answer within {seconds:.3g} seconds"
            raise _ended(TimeoutError(self._lost())) from None
        except (Ended, BadFrame) as error:
            self.why = "its process ended" if isinstance(error, Ended) else f"it sent {error}"
            why = self._lost()
            raise _ended((MemoryError if "memory" in why else Gone)(why)) from None
        if not isinstance(reply, dict):
            self.why = "it sent something that is no answer"
            raise Gone(self._lost())
        return reply

    def _start(self) -> None:
        """A new process, on which everything that ran is run again."""
        if self.restarts < 0 or self.supply.left <= 0:
            late = f"the notebook took longer than {self.supply.limits.notebook_seconds:g} seconds"
            raise Gone(late if self.supply.left <= 0 else self.why or "its process ended")
        self.restarts -= 1
        self.line = Line(self.supply.new(), most=FROM_BOX, elements=ELEMENTS)
        self.secret_out = self.testing_hidden
        again, self.ran = self.ran, []
        for place, (name, source) in enumerate(again, start=1):
            try:
                self._request({"op": "run", "source": source}, self.supply.limits.cell_seconds)
            except (Gone, TimeoutError, MemoryError):
                self.ran += again[place:]  # only what did not end a second time is left out
                raise
            self.ran.append((name, source))

    def _lost(self) -> str:
        self._drop()
        self.why = self.supply.lost() or self.why
        return self.why

    def _drop(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None
            self.ask.generation += 1  # stand-ins have to be found again

    def _note(self, words: str) -> None:
        if len(self.result.notes) < NOTES:
            self.result.notes.append(plain(words, SAID + 200))

    # --- the teacher's side ---------------------------------------------------------------------

    def _prepare(self, step: Step) -> None:
        """Runs a given cell here as well: the tests need its names."""
        self.loads |= step.loads
        with contextlib.suppress(Exception), silent():  # its failure shows in the tests
            self._fetch()
            self._execute(step.source, step.grade_id or "cell")

    def _fetch(self) -> None:
        """Brings the student's names up to date; what a library has comes from the library."""
        own = {  # a teacher's `import *` made it, and no answer should
            name
            for name in self.names.keys() & self.plan.theirs - self.plan.answered
            if self.names[name] is not self.fetched.get(name)
        }
        wanted = sorted((self.loads & self.plan.theirs) - own)
        if not wanted:
            return
        self.fetched = self.ask.names(wanted)
        for name in wanted:
            self.names.pop(name, None)
        for name in self.fetched:
            if name in self.plan.imported:
                exec(self.plan.imported[name], self.names)
            else:
                self.names[name] = self.fetched[name]

    def _test(self, step: Step) -> Item | None:
        """What a test cell comes to; None where this pass leaves it out."""
        source = step.source if self.hidden else step.visible
        if not source:
            return None
        self.testing_hidden = self.hidden and step.hidden
        self.secret_out = before = self.secret_out or self.testing_hidden
        self.loads |= step.loads
        error: BaseException | None = None
        value = None
        try:
            with silent():
                self._fetch()
                value = self._execute(source, step.grade_id)
        except KeyboardInterrupt:
            raise
        except BaseException as caught:  # SystemExit in a test as well
            error = caught
        finally:
            self.testing_hidden = False
        # its words may come from the process that it began on and from those that replaced it
        secret = before or self.secret_out
        marks = self._new_marks()
        points = 0.0 if error is not None else points_of(value, step.points)
        cases = tuple(self._told(case, one, secret) for one in marks for case in one.cases)
        message = "" if error is None else self._words(error, source, step, secret)
        if not message:
            message = " ".join(f"{case.title}: {case.said}" for case in cases if case.said)
        if not message and points < step.points:
            message = "Part of it holds." if points else "It does not hold."
        if (message or any(case.said for case in cases)) and secret and step.visible:
            self.result.curtailed = True
        return Item(step.grade_id, points, step.points, plain(message, 4 * SAID), cases)

    def _execute(self, source: str, name: str) -> Any:
        """Runs a test; returns the value of its last line if that is an expression."""
        return execute(source, name, Shared(self.names, self.plan.theirs, self.ask))

    def _words(self, error: BaseException, source: str, step: Step, secret: bool) -> str:
        """What a student may read of an exception that ended a test."""
        secret = secret and not self.trusted
        return of_error(error, source, step, self.plan.theirs, secret=secret)

    def _new_marks(self) -> list[exercise.Marks]:
        found = [value for value in self.names.values() if isinstance(value, exercise.Marks)]
        new = [marks for marks in found if id(marks) not in self.marks]
        self.marks |= {id(marks) for marks in found}
        self.names["__marks__"] = [*self.names.get("__marks__", ()), *new]  # an id is not reused
        return new

    def _told(self, case: exercise.Told, marks: exercise.Marks, secret: bool) -> Case:
        """A case as the student may read it."""
        said = case.said
        if said and secret and not self.trusted:
            if not marks.hidden:
                said = GENERIC
            elif said.startswith(STOPPED) and said not in ENDED:  # a choice among many is a message
                said = f"{STOPPED} an error."
        return Case(plain(case.title, SAID), case.points, case.most, plain(said, SAID))

    def _manual(self, step: Step, own: Any) -> Item:
        """An item that a person grades, unless nothing was written."""
        if own is None:
            return Item(step.grade_id, 0.0, step.points, "The cell is missing.")
        if own.source.strip() in ("", self.plan.sheet.starters[step.grade_id].strip()):
            return Item(step.grade_id, 0.0, step.points, UNWRITTEN)
        return Item(step.grade_id, 0.0, step.points, WAITS, manual=True)


def _extras(submission: Submission, known: frozenset[str]) -> dict[str, list[str]]:
    """Code cells that the teacher's copy does not have, by the known cell that they follow."""
    found: dict[str, list[str]] = {}
    anchor = ""
    for cell in submission.cells:
        if cell.grade_id in known:
            anchor = cell.grade_id or ""
        elif cell.kind == "code" and cell.source.strip():
            found.setdefault(anchor, []).append(cell.source)
    return found


def _ended(error: Exception) -> Exception:
    """Marks an exception as the end of the student's process: no case may take it for an answer."""
    error.ended = True  # type: ignore[attr-defined]
    return error


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _heard(printed: str) -> None:
    print(printed, end="")
