"""Grades submissions of one assignment on this machine: a warmed box, warmed judges, one at a time
or several side by side.

It keeps nothing: `session` reads hand-ins and fills a gradebook.
"""

import base64
import contextlib
import hashlib
import json
import os
import select
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.box import Nursery, open_room, python
from w2s_lab.teach.grading.codec import BadFrame
from w2s_lab.teach.grading.line import Ended, Line
from w2s_lab.teach.grading.plan import Plan, make_plan, release
from w2s_lab.teach.grading.process import Handle, Limits, Worker
from w2s_lab.teach.grading.verdict import GRADED, Item, Sheet, Verdict, unscored

JUDGE_MB = 4096  # data of one judge; it holds the tests' modules and what the box sent
LOOK_SECONDS = 0.05  # between two looks at a worker's memory
TRIES = 3  # of a notebook on which a judge dies
OVERTIME = 30  # seconds that a judge may go on after the notebook's time, for its own work
JUDGING = ("w2s_lab.teach.grading.court", "w2s_lab.exercise", "numpy")
TOO_LONG = "Grading was stopped: it took longer than {:g} seconds."


class JudgeFailed(Exception):
    """A judge ended without a verdict; that is no fault of the submission as far as is known."""


class Grader:
    """The box, the judges and the plan of one assignment; a context manager.

    Args:
        text: the teacher's notebook.
        name: of the assignment's notebook, without its ending.
        container: `docker:IMAGE` or `podman:IMAGE` instead of a box.
        trust: run without isolation; every verdict says so.
        where: what an error in the notebook names.

    Raises:
        W2SError: the notebook is none, or there is no box here; in one line, with what to do.
    """

    def __init__(
        self,
        text: str,
        name: str,
        *,
        limits: Limits | None = None,
        container: str = "",
        trust: bool = False,
        where: str = "",
    ):
        self.text, self.name, self.limits = text, name, limits or Limits()
        self.plan: Plan = make_plan(text, name, where=where)
        self.room = open_room(self.limits, self.plan.imports, container=container, trust=trust)
        self.by_reference = False  # until the gate finds that the tests need it
        self.modules = [*JUDGING, *self.plan.imports]
        try:
            self.judges = self._start()
        except BaseException as error:
            self.room.close()
            if isinstance(error, (Ended, TimeoutError)):
                mend = "see whether the machine has memory left, and start again"
                raise W2SError(f"no judge could be started ({error})", mend=mend) from None
            raise
        self.lock = threading.Lock()
        self.places = _Places()

    def _start(self) -> Nursery:
        """A warmed process that forks judges."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        judges = Nursery([*python("nursery"), "judge", json.dumps(self.modules)], environment)
        judges.prepare(self.text, self.name)
        return judges

    @property
    def sheet(self) -> Sheet:
        """The assignment as a gradebook knows it; its grader names all that a grade depends on."""
        settings = asdict(self.limits) | {"by_reference": self.by_reference}
        told = [self.plan.sheet.grader, self.room.isolation, settings]
        grader = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return replace(self.plan.sheet, grader=grader)

    def gate(self) -> list[str]:
        """What is wrong with the assignment itself, told line by line: its own solution has to get
        all points on this path, and what students receive none.

        It also settles how to grade from here on: what the solution imports is imported beforehand,
        and where its tests need that calls change their arguments, they do. (Elsewhere an argument
        is a copy: otherwise a submission could change what it is compared with.)
        """
        solution, modules = self._try(self.text, modules=True)
        if self._failed(solution):  # tests may look at what a call did to its arguments
            self.by_reference = True
            again, modules = self._try(self.text, modules=True)
            self.by_reference = again.score > solution.score
            solution = again if self.by_reference else solution
        with contextlib.suppress(Ended, TimeoutError):  # what died is started again when needed
            self.room.load(_worth_loading(modules.get("box", [])))
            self.modules += self.judges.load(_worth_loading(modules.get("judge", [])))
        stub, _ = self._try(release(self.text))
        found = [
            f"{item.grade_id}: the solution gets {item.score:g} of {item.max_score:g}"
            f" ({item.message or 'no message'})"
            for item in self._failed(solution)
        ]
        found += [
            f"{item.grade_id}: what students receive gets {item.score:g} points as it is"
            for item in stub.items
            if item.score
        ]
        return found

    def _try(self, text: str, *, modules: bool = False) -> tuple[Verdict, dict]:
        """The verdict on a notebook of the teacher's, and, if asked, which modules it imported."""
        for _ in range(TRIES):
            with contextlib.suppress(JudgeFailed):
                return self._grade(text.encode(), 0, modules=modules)
        mend = "run it in Jupyter and see what ends the kernel"
        raise W2SError("no judge comes to its end on the solution", where=self.name, mend=mend)

    def _failed(self, solution: Verdict) -> list[Item]:
        """Tests that the teacher's own solution does not pass."""
        manual = {column.grade_id for column in self.plan.sheet.columns if column.manual}
        items = [item for item in solution.items if item.grade_id not in manual]
        return [item for item in items if item.score < item.max_score]

    def grade(self, raw: bytes, *, seed: int = 0) -> Verdict:
        """The verdict on one notebook; safe to call from several threads.

        Args:
            raw: the file as it was handed in.
            seed: the student's own numbers, where the course gave them out.

        Raises:
            JudgeFailed: the judge died; the submission may be tried again.
            W2SError: the box cannot be had any more.
        """
        return self._grade(raw, seed)[0]

    def _grade(self, raw: bytes, seed: int, *, modules: bool = False) -> tuple[Verdict, dict]:
        began = time.monotonic()
        with self.places.one() as place:
            sitting = _Sitting(self, *self._judge(), place)
            job = {"plan": self.text, "name": self.name, "seed": seed, "modules": modules}
            raw_text = base64.b64encode(raw).decode()
            job |= {"raw": raw_text, "limits": asdict(self.limits)}
            job["by_reference"] = self.by_reference
            try:
                verdict, loaded = sitting.verdict(job)
            finally:
                sitting.close()
        seconds = round(time.monotonic() - began, 3)
        return replace(verdict, isolation=self.room.isolation, seconds=seconds), loaded

    def _judge(self) -> tuple[Line, Handle]:
        """A line to a new judge, and power over its process."""
        most = int(self.limits.notebook_seconds + OVERTIME) + 1
        about, judges = {"data_mb": JUDGE_MB, "cpu_seconds": most}, self.judges
        try:
            try:
                end, process = judges.fork(about)
            except (Ended, TimeoutError, OSError):  # the machine may have run out of memory
                end, process = self._renewed(judges).fork(about)
        except (Ended, TimeoutError, OSError) as error:
            raise JudgeFailed(f"no judge could be started ({error})") from None
        return Line(end), process

    def _renewed(self, judges: Nursery) -> Nursery:
        """What forks judges, started again unless another thread was quicker."""
        with self.lock:
            if self.judges is judges:
                judges.close()
                self.judges = self._start()
            return self.judges

    def close(self) -> None:
        """Ends the box and the judges."""
        self.room.close()
        self.judges.close()

    def __enter__(self) -> "Grader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Sitting:
    """One judge at work on one submission: gives it workers, watches both, ends both."""

    def __init__(self, grader: Grader, line: Line, process: Handle, place: int):
        self.grader, self.line, self.process, self.place = grader, line, process, place
        self.worker: Worker | None = None
        self.nursery: Nursery | None = None  # that the worker came from
        self.items: dict[str, Item] = {}

    def verdict(self, job: dict) -> tuple[Verdict, dict]:
        """What the judge comes to.

        Raises:
            JudgeFailed: it ended without a word.
        """
        most = self.grader.limits.notebook_seconds + OVERTIME
        until = time.monotonic() + most
        try:
            self.line.send(job, seconds=OVERTIME)
            while time.monotonic() < until:
                ready, _, _ = select.select([self.line.end], [], [], LOOK_SECONDS)
                if self.worker is not None:
                    self.worker.watch()
                if not ready:
                    continue
                told = self.line.receive(seconds=OVERTIME)
                if "verdict" in told:
                    return Verdict.from_json(told["verdict"]), told["modules"]
                self._serve(told)
        except (Ended, TimeoutError, BadFrame) as error:
            raise JudgeFailed(str(error) or "it ended without a verdict") from None
        return self._stopped(most), {}

    def _serve(self, told: dict) -> None:
        """What a judge asks for, or tells on its way."""
        if "failed" in told:
            raise Ended(told["failed"])
        if "item" in told:
            (item,) = Verdict.from_json(told["item"]).items
            self.items[item.grade_id] = item
        elif told["need"] == "why":
            why = self._end_worker()
            if not why and not self._box_stands():
                raise Ended("its box ended")
            self.line.send({"why": why})
        elif told["need"] == "worker":
            self._end_worker()
            self.worker = self.grader.room.open(self.place)
            self.nursery = getattr(self.grader.room, "nursery", None)  # a container has none
            self.line.send({"worker": True}, fds=(self.worker.end.fileno(),))
            # The judge has its own copy; ours would keep the line open after its end
            self.worker.end.close()

    def _box_stands(self) -> bool:
        """Whether a worker that ended did so by itself; else it went down with its box, as when the
        machine runs out of memory, and no student may lose a point by that."""
        try:
            if self.nursery is not None:
                self.nursery.load(())
        except (Ended, TimeoutError, BadFrame):
            return False
        return True

    def _end_worker(self) -> str:
        """Ends the worker; says why it had ended before, "" if it had not or nobody knows."""
        if self.worker is None:
            return ""
        worker, self.worker = self.worker, None
        worker.close()
        return worker.why

    def _stopped(self, seconds: float) -> Verdict:
        """The verdict as far as it is known when the judge has to be stopped."""
        words = TOO_LONG.format(seconds)
        blank = unscored(self.grader.plan.sheet, words)
        items = tuple(self.items.get(item.grade_id, item) for item in blank)
        return Verdict(GRADED, items, (words,))

    def close(self) -> None:
        """Ends judge and worker."""
        self._end_worker()
        self.line.close()
        self.process.kill()
        self.process.close()


class _Places:
    """Numbers for what runs at the same time, each given to one only."""

    def __init__(self):
        self.lock = threading.Lock()
        self.taken: set[int] = set()

    @contextlib.contextmanager
    def one(self):
        with self.lock:
            place = next(
                number for number in range(len(self.taken) + 1) if number not in self.taken
            )
            self.taken.add(place)
        try:
            yield place
        finally:
            with self.lock:
                self.taken.discard(place)


def open_grader(path: str | Path, **options) -> Grader:
    """A grader for the teacher's notebook at this path; options as for `Grader`.

    Raises:
        W2SError: no such file, no notebook, no box.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, IsADirectoryError):
        mend = "name the teacher's notebook, with solutions and hidden tests"
        raise W2SError("no such file", where=str(path), mend=mend) from None
    except UnicodeDecodeError:
        raise W2SError("is no notebook", where=str(path), mend="name an .ipynb file") from None
    return Grader(text, path.stem, where=str(path), **options)


def _worth_loading(modules: list[str]) -> list[str]:
    """Without what is internal to the process that the list comes from."""
    return [name for name in modules if not name.startswith(("_", "w2s_lab.teach")) and name]
