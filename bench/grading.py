"""Grading a class of 300: how fast, how much memory, against nbgrader, and what a bad one costs.

    python bench/grading.py            # everything, into the page docs/benchmarks/grading.md
    python bench/grading.py --quick    # 24 submissions, only printed

Submissions are real exercises with right answers and those of tests/wrong_answers, drawn by chance,
each with a comment of its own, so that no two are the same. Ours is the real command with two
workers, from its start to its end; nbgrader is its own `autograde`, one call for all of them, in
the same run on the same files.
"""

import argparse
import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ |= {"W2S_QUIET": "1", "OMP_NUM_THREADS": "1"}

import psutil
import yaml

from w2s_lab.teach.grading.grader import Grader
from w2s_lab.teach.grading.hand_ins import Refused, read_bytes
from w2s_lab.teach.grading.process import Limits

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "grading.md"
START, END = "<!-- figures of bench/grading.py -->", "<!-- end of the figures -->"
AIMS = {  # submissions an hour
    "03_code": ("numpy", 5_000),
    "00_orientation": ("numpy, resampling", 5_000),
    "01_indemnity": ("torch", 2_000),
}
RATIO = 5  # times nbgrader's speed
LOOK_SECONDS = 0.25  # between two looks at memory
LIMITS = Limits(cell_seconds=3, call_seconds=2, notebook_seconds=10, memory_mb=512, files_mb=32)
BAD = {
    "sleep-uninterruptible": "endless loop that catches everything",
    "sleep-in-cell": "sleeps in a cell",
    "sleep-in-call": "sleeps in each call",
    "sleep-just-below": "sleeps a little everywhere",
    "thread-holds-the-lock": "holds the interpreter's lock",
    "fork-bomb": "fork bomb",
    "thread-many": "threads without end",
    "flood-memory-lists": "8 GB of memory",
    "flood-memory-by-children": "8 GB over 16 processes",
    "flood-output": "prints 1 GB",
    "flood-disk": "writes 2 GB",
    "exit-zero-in-cell": "ends its process",
    "exit-sigstop-self": "stops its process",
    "frame-largest-length": "announces a frame of 4 GB",
    "frame-drop-by-drop": "answers one byte a second",
    "frame-flood": "50,000 answers ahead",
    "frame-deep": "answers nested 100,000 deep",
}


@dataclass(frozen=True)
class Run:
    """One run of a command: wall seconds, seconds to the first result, peak bytes, load before."""

    seconds: float
    first: float
    peak: int
    load: float


# --- the class ------------------------------------------------------------------------------------


def class_of(name: str, count: int, folder: Path, chance: random.Random) -> list[str]:
    """Hand-ins of that many students below `folder`, in nbgrader's layout; the students."""
    released = json.loads((ROOT / "exercises" / f"{name}.ipynb").read_text("utf-8"))
    right = dict(_answers(json.loads((ROOT / "solutions" / f"{name}.ipynb").read_text("utf-8"))))
    wrong: dict[str, list[str]] = {}
    for one in yaml.safe_load((ROOT / "tests/wrong_answers" / f"{name}.yaml").read_text("utf-8")):
        wrong.setdefault(one["task"], []).append(one["answer"])
    students = [f"student-{number:03d}" for number in range(count)]
    for student in students:
        given = {
            task: chance.choice(wrong[task]) if task in wrong and chance.random() < 0.4 else source
            for task, source in right.items()
        }
        for cell in released["cells"]:
            task = cell["metadata"].get("nbgrader", {}).get("grade_id")
            if task in given:
                sign = "#" if cell["cell_type"] == "code" else "\n"
                cell["source"] = f"{given[task].rstrip()}\n{sign} {student}\n"
        path = folder / student / name / f"{name}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(released), "utf-8")
    return students


def _answers(notebook: dict) -> Iterator[tuple[str, str]]:
    """The author's answers, without the markers around them."""
    for cell in notebook["cells"]:
        about = cell["metadata"].get("nbgrader", {})
        if about.get("solution"):
            lines = "".join(cell["source"]).splitlines()
            kept = [
                line for line in lines if line.strip(" #") not in ("BEGIN SOLUTION", "END SOLUTION")
            ]
            yield about["grade_id"], "\n".join(kept)


# --- runs -----------------------------------------------------------------------------------------


def ours(name: str, submitted: Path, book: Path, environment: dict[str, str]) -> Run:
    """`w2s-lab grade` on a folder of hand-ins, watched from outside."""
    command = [sys.executable, "-m", "w2s_lab.cli", "grade", str(submitted), "--workers", "2"]
    command += ["--assignment", str(ROOT / "solutions" / f"{name}.ipynb"), "--gradebook", str(book)]
    load, began, first, peak = os.getloadavg()[0], time.monotonic(), 0.0, 0
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    looked = 0.0
    while process.poll() is None:
        now = time.monotonic()
        if not first and saved(book):
            first = now - began
        if now - looked > LOOK_SECONDS:
            peak, looked = max(peak, memory(process.pid)), now
        time.sleep(0.1)
    seconds = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Run(seconds, first, peak, load)


def saved(book: Path) -> int:
    """How many results a gradebook holds."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{book}?mode=ro", uri=True)) as db:
            return db.execute("SELECT count(*) FROM results").fetchone()[0]
    except sqlite3.Error:  # there is none yet
        return 0


def memory(pid: int) -> int:
    """Bytes of a process and all that it started, shared pages counted once (PSS)."""
    pids, total = [pid], 0
    with contextlib.suppress(psutil.Error):
        pids += [child.pid for child in psutil.Process(pid).children(recursive=True)]
    sessions = set(pids)
    for one in psutil.pids():  # judges were left to the first process of the machine
        with contextlib.suppress(OSError):
            if one not in sessions and os.getsid(one) in sessions:
                pids.append(one)
    for one in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


def nbgrader(name: str, course: Path, count: int, environment: dict[str, str]) -> Run:
    """`nbgrader autograde`, one call for everybody in the course's folder."""
    # nbgrader calls alembic, which is installed beside this Python
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"

    def call(*words: str) -> None:
        command = [sys.executable, "-m", "nbgrader", *words, f"--course-dir={course}"]
        done = subprocess.run(
            command, cwd=course, env=environment | {"PATH": path}, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")

    call("generate_assignment", name, "--create", "--force")
    load, began = os.getloadavg()[0], time.monotonic()
    call("autograde", name, "--create", "--force")
    seconds = time.monotonic() - began
    graded = list(course.glob(f"autograded/*/{name}/{name}.ipynb"))
    if len(graded) != count:
        raise SystemExit(f"nbgrader graded {len(graded)} of {count}")
    return Run(seconds, 0, 0, load)


# --- tables ---------------------------------------------------------------------------------------


def speeds(count: int, few: int) -> list[str]:
    """Two tables: the class, and some of it against nbgrader."""
    whole = [
        "| assignment | submissions | took | an hour | aim | first result after "
        "| peak memory (PSS) | load before |",
        "|---|---|---|---|---|---|---|---|",
    ]
    against = [
        "| assignment | submissions | nbgrader, each | ours, each | ratio | aim | loads before |",
        "|---|---|---|---|---|---|---|",
    ]
    environment = dict(os.environ)
    for name, (library, aim) in AIMS.items():
        chance = random.Random(name)
        with tempfile.TemporaryDirectory() as told:
            folder = Path(told)
            students = class_of(name, count, folder / "all", chance)
            run = ours(name, folder / "all", folder / "book", environment)
            assert saved(folder / "book") == count
            whole.append(
                f"| `{name}` ({library}) | {count} | {run.seconds:.0f} s "
                f"| {3600 * count / run.seconds:,.0f} | {aim:,} | {run.first:.1f} s "
                f"| {run.peak / 2**20:,.0f} MB | {run.load:.1f} |"
            )
            print(whole[-1], flush=True)
            course = folder / "course"
            command = [sys.executable, "-m", "w2s_lab.cli", "release", name, "--to", str(course)]
            subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            for student in chance.sample(students, few):
                target = course / "submitted" / student
                target.parent.mkdir(exist_ok=True)
                (folder / "all" / student).rename(target)
            theirs = nbgrader(name, course, few, environment)
            run = ours(name, course, folder / "few", environment)
            against.append(
                f"| `{name}` | {few} | {theirs.seconds / few:.2f} s | {run.seconds / few:.2f} s "
                f"| {theirs.seconds / run.seconds:.1f} | {RATIO} "
                f"| {theirs.load:.1f}, {run.load:.1f} |"
            )
            print(against[-1], flush=True)
    return [*whole, "", *against]


def bad(names: dict[str, str]) -> list[str]:
    """A table: what one bad submission costs, alone, beside its limit."""
    sys.path.insert(0, str(ROOT / "tests"))
    from redteam import attack
    from redteam.target import as_bytes, target_notebook

    limit = LIMITS.notebook_seconds
    lines = ["| submission | took | its limit | load before |", "|---|---|---|---|"]
    known = {one.name: one for one in attack.load()}

    def row(what: str, work: Callable[[], object]) -> None:
        load, began = os.getloadavg()[0], time.monotonic()
        work()
        seconds = time.monotonic() - began
        lines.append(f"| {what} | {seconds:.1f} s | {limit:g} s | {load:.1f} |")
        print(lines[-1], flush=True)

    text = as_bytes(target_notebook()).decode()
    with tempfile.TemporaryDirectory() as told, Grader(text, "target", limits=LIMITS) as grader:
        grader.gate()
        large, pipe = Path(told) / "large.ipynb", Path(told) / "pipe.ipynb"
        with large.open("wb") as file:
            file.truncate(100 << 20)
        os.mkfifo(pipe)
        for name, what in names.items():
            row(f"{what} (`{name}`)", lambda name=name: grader.grade(known[name].notebook()))
        row("a file of 100 MB", lambda: _refused(large))
        row("a FIFO", lambda: _refused(pipe))
        deep = b"[" * 500_000 + b"]" * 500_000
        row("JSON nested 500,000 deep", lambda: grader.grade(deep))
    return lines


def _refused(path: Path) -> None:
    with contextlib.suppress(Refused):
        read_bytes(path)
        raise AssertionError(f"{path} was read")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="24 submissions, no page")
    quick = parser.parse_args().quick
    tables = speeds(24, 4) if quick else speeds(300, 30)
    costs = bad(dict(list(BAD.items())[::4]) if quick else BAD)
    if quick:
        return
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    head = "What one bad submission costs the class, alone and with short limits:"
    figures = "\n".join([START, "", *tables, "", head, "", *costs, "", END])
    PAGE.write_text(before + figures + after, "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
