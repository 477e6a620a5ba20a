"""The whole course built from its sources, and the gates that it has to pass.

Lessons are built and compared by `build`; here come exercises, their map, and what must not leak.
"""

from collections.abc import Sequence
from pathlib import Path

from w2s_lab.errors import W2SError
from w2s_lab.quiz import bank
from w2s_lab.teach import build as lessons
from w2s_lab.teach import outline
from w2s_lab.teach.assignments import release_notebook, solution_notebook, stubs
from w2s_lab.teach.exercises import EXERCISES, SOLUTIONS, Assignment, read_assignment
from w2s_lab.teach.leaks import leaks
from w2s_lab.teach.rehearsal import rehearse


def build(names: Sequence[str] = (), *, size: str = "lab") -> list[Path]:
    """The files written: lessons, solutions, exercises, and the page with the map.

    Args:
        names: lessons and their exercises by name; with a folder, as in `solutions/00_x`, one of
            the two; default all.
        size: W2S_SIZE for the lessons.

    Raises:
        W2SError: a malformed source, a failed cell, output that should not be committed, a solution
            without full marks, a stub with any.
    """
    written = []
    if (own := _chosen(names, lessons.LESSONS)) is not None:
        written += lessons.build(only=own, size=size)
    if (own := _chosen(names, SOLUTIONS)) is not None:
        for path in lessons.sources(SOLUTIONS, own):
            written += build_exercises(path)
        written.append(lessons.write(Path(outline.PAGE), _page(_map())))
    return written


def build_exercises(source: Path) -> list[Path]:
    """Writes the executed solutions beside their source, and what students get; errors as above."""
    assignment = read_assignment(source)
    solved = solution_notebook(assignment)
    try_solution(assignment)
    try_stub(assignment)
    lessons.execute(solved, source)
    released = lessons.canonical(release_notebook(assignment))
    return [
        lessons.write(source.with_suffix(".ipynb"), lessons.canonical(solved)),
        lessons.write(_released(source), released),
    ]


def try_solution(assignment: Assignment, *, seed: int = 0) -> None:
    """Stops with a W2SError unless the solution gets every point, with a student's seed or 0."""
    for id, outcome in rehearse(solution_notebook(assignment, seed=seed)).items():
        if outcome.points != outcome.most:
            what = f"{id}: the solution gets {outcome.points:g} of {outcome.most:g}"
            where = f"{assignment.path}, SEED = {seed}"
            raise W2SError(what, where=where, mend="mend the solution, a case or the points")


def try_stub(assignment: Assignment) -> None:
    """Stops with a W2SError unless an empty answer gets no point."""
    for id, outcome in rehearse(solution_notebook(assignment), stubs(assignment)).items():
        if outcome.points:
            what = f"{id}: the stub gets {outcome.points:g} points"
            mend = "ask for more than an empty answer gives"
            raise W2SError(what, where=str(assignment.path), mend=mend)


def check(names: Sequence[str] = ()) -> list[str]:
    """What the committed files lack: plain lines, or none.

    Each notebook must be, outputs aside, what its source builds, byte for byte; no exercise may
    hold what students must not see; the map must be complete.

    Raises:
        W2SError: no such folder, no source in it, or a name that it does not have.
    """
    findings: list[str] = []
    if (own := _chosen(names, lessons.LESSONS)) is not None:
        findings += lessons.check(only=own)
    if (own := _chosen(names, SOLUTIONS)) is not None:
        findings += check_exercises(own)
    return findings


def check_exercises(only: Sequence[str] = ()) -> list[str]:
    """`check` for solutions, exercises and their map."""
    paths = lessons.sources(SOLUTIONS, only or None)
    findings = [line for path in paths for line in lessons.drift(path, _solved)]
    if findings:  # with a broken source nothing further can be said
        return findings
    findings = [line for path in paths for line in _drift(path)]
    return findings if only else findings + _strays(paths) + _gates()


def _drift(source: Path) -> list[str]:
    """How a released notebook differs from what its source makes."""
    made = lessons.canonical(release_notebook(read_assignment(source)))
    return _differs(_released(source), made)


def _strays(paths: Sequence[Path]) -> list[str]:
    """Notebooks without a source, and sources that lie among the exercises."""
    own = {path.stem for path in paths}
    files = [*Path(SOLUTIONS).glob("*.ipynb"), *Path(EXERCISES).glob("*.ipynb")]
    files += Path(EXERCISES).glob("*.py")
    strays = [path for path in files if path.stem not in own or path.suffix == ".py"]
    return [f"{path}: has no source; delete it" for path in sorted(strays)]


def _gates() -> list[str]:
    """What students must not see in what they get, and what is missing on the map."""
    course = _map()
    findings = leaks([tasks for tasks, _ in course], EXERCISES)
    findings += [line for tasks, found in course for line in outline.gaps(found, tasks)]
    return findings + _differs(Path(outline.PAGE), _page(course))


def _differs(path: Path, made: str) -> list[str]:
    if not path.is_file():
        return [f"{path}: is missing; run `make build`"]
    same = path.read_bytes() == made.encode()
    return [] if same else [f"{path}: differs from its source; run `make build`"]


def _chosen(names: Sequence[str], folder: str) -> list[str] | None:
    """Those of the names that a folder has to know: [] for all that it has, None for none.

    A project may have lessons without exercises; without lessons it is none.
    """
    for name in names:
        if Path(name).parent.name not in ("", lessons.LESSONS, SOLUTIONS):
            mend = f"name it in {lessons.LESSONS}/ or {SOLUTIONS}/, or without a folder"
            raise W2SError("has no source there", where=name, mend=mend)
    if not names:
        return [] if folder == lessons.LESSONS or Path(folder).is_dir() else None
    own = []
    for name in names:
        source, parent = f"{Path(name).stem}.py", Path(name).parent.name
        having = [one for one in (lessons.LESSONS, SOLUTIONS) if Path(one, source).is_file()]
        # a bare name that neither folder has is missed among the lessons
        if folder in ([parent] if parent else having or [lessons.LESSONS]):
            own.append(name)
    return own or None


def _solved(path: Path):
    return solution_notebook(read_assignment(path))


def _released(source: Path) -> Path:
    return Path(EXERCISES) / f"{source.stem}.ipynb"


def _page(course: Sequence[tuple[Assignment, Sequence[outline.Objective]]]) -> str:
    return outline.page(course) + outline.questions(bank().values())


def _map() -> list[tuple[Assignment, list[outline.Objective]]]:
    course = []
    for path in lessons.sources(SOLUTIONS):
        tasks = read_assignment(path)
        lesson = Path(lessons.LESSONS) / path.name
        course.append((tasks, outline.objectives(lesson, lessons.TAGS, tasks)))
    return course
