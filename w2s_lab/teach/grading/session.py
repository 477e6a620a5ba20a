"""Grades what a class handed in: reads the hand-ins, grades what the gradebook lacks, keeps it.

It can be stopped at any moment and started again: what is in the gradebook is not graded twice.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from warnings import warn

from w2s_lab.progress import bar
from w2s_lab.teach.grading import cluster
from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.grader import TRIES, Grader, JudgeFailed, open_grader
from w2s_lab.teach.grading.hand_ins import Refused, found, read_bytes
from w2s_lab.teach.grading.process import Limits
from w2s_lab.teach.grading.verdict import NEEDS_A_PERSON, Sheet, Verdict, unscored
from w2s_lab.teach.release import student_seed

FAILED = "The grader failed on this submission; a person has to look at it."


@dataclass(frozen=True)
class Options:
    """How to grade.

    Attributes:
        container: `docker:IMAGE` or `podman:IMAGE` instead of a box.
        trust: without isolation.
        workers: submissions at the same time; None: one for each core.
        scheduler: address of a Dask scheduler whose workers grade instead of this machine.
        seed_by_student: the course was released with other numbers for each student.
    """

    limits: Limits = field(default_factory=Limits)
    container: str = ""
    trust: bool = False
    workers: int | None = None
    scheduler: str = ""
    seed_by_student: bool = False


def grade_class(
    submissions: str | Path, assignment: str | Path, gradebook: str | Path, options: Options
) -> dict[str, Verdict]:
    """Student → verdict, for everybody who handed in; all of it is in the gradebook as well.

    Args:
        submissions: a folder, see `hand_ins.found`.
        assignment: the teacher's notebook.
        gradebook: a file; made where there is none.

    Raises:
        W2SError: no box, no hand-ins, no assignment, a gradebook that cannot be written. What was
            graded before is kept.
    """
    hand_ins = found(submissions, Path(assignment).stem)  # a misspelt folder is told at once
    settings = {"limits": options.limits, "container": options.container, "trust": options.trust}
    with open_grader(assignment, **settings) as grader, Gradebook(gradebook) as book:
        for line in grader.gate():
            warn(f"{grader.name}: {line}; the test may be at fault", stacklevel=2)
        sheet = _sheet(grader, options)
        book.add_sheet(sheet)
        below = Path(submissions)
        for one in bar(hand_ins, "reading hand-ins", unit="file"):
            try:
                raw = read_bytes(one.path, below=below)
            except Refused as refused:
                reason = f"Your notebook {refused.reason}."
                book.refuse(one.student, sheet.name, reason, one.received)
            else:
                book.hand_in(one.student, sheet.name, raw, one.received)
        book.reopen(sheet)
        with _workers(grader, options) as (executor, work, side_by_side):
            _grade_pending(book, sheet, executor, work, side_by_side, options)
        return book.verdicts(sheet.name, sheet.grader)


Work = Callable[[bytes, int], Verdict]


@contextmanager
def _workers(grader: Grader, options: Options) -> Iterator[tuple[Executor, Work, int]]:
    """Where submissions are graded, what grades one there, and how many at the same time."""
    if options.scheduler:
        with cluster.connect(options.scheduler) as (executor, threads):
            work = cluster.work(grader, options)
            yield executor, work, threads
        return
    here = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()  # Linux
    count = options.workers or len(here) or os.cpu_count() or 1
    executor = ThreadPoolExecutor(count)
    try:
        yield executor, lambda raw, seed: grader.grade(raw, seed=seed), count
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _grade_pending(
    book: Gradebook,
    sheet: Sheet,
    executor: Executor,
    work: Work,
    side_by_side: int,
    options: Options,
) -> None:
    """Grades all that the gradebook has no result for; each result is kept as it comes."""
    owners = Counter(sha for sha, _ in book.handed_in(sheet.name).values())
    failures: dict[str, int] = {}
    running: dict[Future, tuple[str, str]] = {}
    waiting = [(student, sha) for student, sha, _ in book.pending(sheet)]
    progress = bar(desc=f"grading {sheet.name}", total=len(waiting), unit="submission")
    try:
        with progress:
            while waiting or running:
                # a few in advance, so that nobody waits while a result is written
                while waiting and len(running) < 2 * side_by_side:
                    student, sha = waiting.pop(0)
                    # Bytes that several have handed in were copied whole, and have one result:
                    # with everybody's numbers, whoever comes first
                    own = options.seed_by_student and owners[sha] == 1
                    seed = student_seed(student, sheet.name) if own else 0
                    book.begin(sha, sheet.grader)
                    running[executor.submit(work, book.submission(sha), seed)] = student, sha
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    student, sha = running.pop(future)
                    try:
                        book.save(sha, sheet.grader, future.result())
                        progress.update()
                    except JudgeFailed as error:
                        failures[sha] = failures.get(sha, 0) + 1
                        if failures[sha] < TRIES:
                            waiting.append((student, sha))
                            continue
                        book.save(sha, sheet.grader, _for_a_person(sheet, str(error)))
                        progress.update()
    finally:
        for future in running:
            future.cancel()


def _sheet(grader: Grader, options: Options) -> Sheet:
    """The assignment as it is graded here; with other numbers it has other results."""
    told = f"{grader.sheet.grader} seed by student".encode()
    own = hashlib.sha256(told).hexdigest()
    return replace(grader.sheet, grader=own) if options.seed_by_student else grader.sheet


def _for_a_person(sheet: Sheet, reason: str) -> Verdict:
    warn(f"a submission needs a person: {reason}", stacklevel=2)
    return Verdict(NEEDS_A_PERSON, unscored(sheet, FAILED), (FAILED,))
