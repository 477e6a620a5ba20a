"""Runs every attack of tests/redteam through the grader and writes the table of docs/red-team.md.

    python bench/red_team.py          # as whoever you are
    python bench/red_team.py --write  # and put the figures into the page, in your column

Run it once as root and once as an ordinary user: the box is made in different ways for the two.
About five minutes on 2 cores, most of it attacks that sleep until they are stopped.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, "tests")

from redteam.arena import Arena, Trial
from redteam.attack import load

from w2s_lab.progress import bar

PAGE = Path("docs/red-team.md")
FIGURES = Path("docs/red-team.json")
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"
COUNTED = ("attacks", "points forged", "secrets told", "writes outside", "packets out")
MORE = ("processes left", "next one disturbed", "deserved points lost")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the figures into the page")
    options = parser.parse_args()
    who = "root" if os.geteuid() == 0 else "user"
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(Path(folder))
        arena.prove()
        attacks = load()
        trials = [(one, arena.trial(one)) for one in bar(attacks, "attacks", unit="attack")]
        arena.close()
    rows: dict[str, list[float]] = {}
    for attack, trial in trials:
        row = rows.setdefault(attack.kind, [0.0] * 8)
        for place, count in enumerate(counts(trial)):
            row[place] += count
        if any(counts(trial)[1:]):
            print(attack.name, counts(trial), trial.verdict.notes, file=sys.stderr)
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    print(table({who: rows}))
    print(f"as {who}, {time.monotonic() - began:.0f} s")
    if options.write:
        known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
        known[who] = rows
        FIGURES.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        before, rest = PAGE.read_text("utf-8").split(BEGIN)
        text = before + BEGIN + table(known) + END + rest.split(END)[1]
        PAGE.write_text(text, "utf-8")


def counts(trial: Trial) -> tuple[float, ...]:
    """The figures of one trial, in the order of the table's columns."""
    return (
        1,
        trial.forged,
        len(trial.secrets) + trial.reached,
        len(trial.changed),
        trial.arrived,
        len(trial.left),
        not trial.after,
        trial.lost,
    )


def table(known: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: a line for each class of attack; where root and user differ, both figures."""
    people = [who for who in ("root", "user") if who in known]
    head = ["class", *COUNTED, *MORE]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    kinds = sorted({kind for rows in known.values() for kind in rows} - {"all"})
    for kind in [*kinds, "all"]:
        cells = []
        for place in range(len(head) - 1):
            values = [f"{known[who][kind][place]:g}" for who in people if kind in known[who]]
            cells.append(values[0] if len(set(values)) == 1 else " / ".join(values))
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\nRun as: {', '.join(people)}.\n"


if __name__ == "__main__":
    main()
