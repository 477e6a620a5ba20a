"""A million clauses labelled: rows a second, the most memory, and what a kill costs.

    python bench/labelling.py                  # a million, word vectors, some minutes
    python bench/labelling.py --size smoke     # the same in seconds, with a few thousand
    python bench/labelling.py --json OUT

The clauses are those of the indemnity task, over and over, each with its number in front, so that
no two are alike. Each run is a process of its own, because what is the most memory of a process
cannot be asked twice. Linux only.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["W2S_QUIET"] = "1"

SIZES = {"smoke": (2_000, 6_000), "lab": (100_000, 1_000_000), "full": (100_000, 1_000_000)}
KILL_AT = 0.5  # of the parts
# VmHWM is the most resident memory of this program alone; `ru_maxrss` would count what its parent
# had when it was forked
RUN = """
import json, re, sys, time
from pathlib import Path
started = time.perf_counter()
from w2s_lab import labelling
source, to, labeller, part = sys.argv[1:]
done = labelling.label_file(source, to, labeller=labeller, part=int(part))
seconds = time.perf_counter() - started
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps([seconds, peak * 1024 / 1e6, done.rows, done.new]))
"""


def measure(size: str, *, weak: str = "static") -> list[dict]:
    """Rows with "work", "ours", "unit", and what else there is to tell of it.

    The peer of the large file is the small one: the ratio of their rows a second, and of their
    memory, is 1 where nothing grows. The peer of a killed run is one that was not.
    """
    import w2s_lab as w2s
    from w2s_lab.labeller import weak_labeller
    from w2s_lab.labelling import PART

    few, many = SIZES[size]
    part = min(PART, few // 10)
    task = w2s.load_task("indemnity", size="smoke" if size == "smoke" else "lab")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        weak_labeller(task, weak).save(home / "labeller")
        source = {rows: written(home / f"{rows}.csv", task.inputs, rows) for rows in (few, many)}
        found = {rows: labelled(source[rows], home / f"{rows}.parquet", part) for rows in source}
        killed = killed_and_resumed(source[few], home / "killed.parquet", part, few)
        same = (home / "killed.parquet").read_bytes() == (home / f"{few}.parquet").read_bytes()
    rate = {rows: rows / seconds for rows, (seconds, *_) in found.items()}
    work, peer = f"{many:,} clauses labelled by {weak}", f"{few:,} of them"
    memory = {rows: megabytes for rows, (_, megabytes, *_) in found.items()}
    whole = found[few][0]
    return [
        {
            "work": work,
            "peer": peer,
            "ours": rate[many],
            "theirs": rate[few],
            "unit": "rows/s",
            "ratio": rate[many] / rate[few],
            "seconds": found[many][0],
        },
        {
            "work": f"most memory, {work}",
            "peer": peer,
            "ours": memory[many],
            "theirs": memory[few],
            "unit": "MB",
            "ratio": memory[few] / memory[many],
        },
        {
            "work": f"{peer}, killed half-way and resumed",
            "peer": "not killed",
            "ours": killed["seconds"],
            "theirs": whole,
            "unit": "s",
            "ratio": whole / killed["seconds"],
            "labelled twice": killed["twice"],
            "same bytes": same,
        },
    ]


def written(path: Path, clauses, rows: int) -> Path:
    """A csv of so many clauses, no two of them equal."""
    import csv

    def numbered() -> Iterator[list[str]]:
        for number, clause in zip(range(rows), itertools.cycle(clauses), strict=False):
            yield [f"{number} {clause}"]

    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(itertools.chain([["text"]], numbered()))
    return path


def begun(source: Path, to: Path, part: int) -> subprocess.Popen:
    arguments = [str(source), str(to), str(source.with_name("labeller")), str(part)]
    return subprocess.Popen([sys.executable, "-c", RUN, *arguments], stdout=subprocess.PIPE)


def labelled(source: Path, to: Path, part: int) -> tuple[float, float, int, int]:
    """Seconds, megabytes at the most, rows, and how many of them were new."""
    with begun(source, to, part) as process:
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"labelling ended with status {process.returncode}")
    return tuple(json.loads(said))


def killed_and_resumed(source: Path, to: Path, part: int, rows: int) -> dict:
    """Seconds of both halves, and how many rows were on disk and yet labelled again."""
    work, parts = to.with_name(f"{to.name}.part"), -(-rows // part)
    started = time.perf_counter()
    with begun(source, to, part) as process:
        while len(list(work.glob("[0-9]*.parquet"))) < KILL_AT * parts:
            if process.poll() is not None:
                raise SystemExit("it ended before it could be killed")
            time.sleep(0.01)
        process.kill()
    first = time.perf_counter() - started
    kept = len(list(work.glob("[0-9]*.parquet")))  # whole ones; the last of all is not among them
    second, _, all_rows, new = labelled(source, to, part)
    return {"seconds": first + second, "twice": new - (all_rows - kept * part)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="lab", choices=SIZES)
    parser.add_argument("--weak", default="static")
    parser.add_argument("--json", metavar="OUT")
    options = parser.parse_args()
    found = measure(options.size, weak=options.weak)
    for row in found:
        more = [f"{k} {row[k]}" for k in ("labelled twice", "same bytes") if k in row]
        theirs = f"{row['peer']}: {row['theirs']:,.0f}, ratio {row['ratio']:.2f}"
        print("; ".join([f"{row['work']}: {row['ours']:,.0f} {row['unit']}", theirs, *more]))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
