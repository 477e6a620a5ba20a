"""Computes the measured part of the data cards, so that no number in them is typed by hand.

Run: python docs/data/make_cards.py          (rewrites the part between the two markers)
     python docs/data/make_cards.py --check  (exit status 1 if a card is out of date)
"""

import csv
import re
import sys
from collections import Counter
from pathlib import Path

from w2s_lab.data import Task, load_task

HERE = Path(__file__).parent
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def verdicts() -> dict[str, tuple[int, int]]:
    """Both readers' verdicts by clause id: 1 where the clause promises an indemnity."""
    with (HERE / "indemnity_read.csv").open(newline="", encoding="utf-8") as file:
        return {r["id"]: (int(r["reader_1"]), int(r["reader_2"])) for r in csv.DictReader(file)}


def wilson(right: int, read: int, z: float = 1.96) -> str:
    """The 95 % interval of a share, as text (Wilson 1927)."""
    share, spread = right / read, z**2 / read
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * (share * (1 - share) / read + spread / read / 4) ** 0.5
    return f"{max(0, middle - half):.1%} to {min(1, middle + half):.1%}"


def indemnity(task: Task) -> str:
    """Counts of the task, and how often the gold rule agrees with the readers, as Markdown."""
    read, place = verdicts(), {name: i for i, name in enumerate(task.ids)}
    there = sum(name in place for name in read)
    lines = [
        f"{len(task.inputs):,} clauses of {len(set(task.groups)):,} owners; {len(read)} were read, "
        f"of which {there} are in the pool (the others fell to a stricter removal of "
        "near-duplicates afterwards).",
        "",
        "| kind of clause | in the pool | read | the rule is right | agree |",
        "|---|---:|---:|---:|---:|",
    ]
    pool = Counter(task.kinds)
    right_in_all = 0.0
    for kind in ("promise", "mention", "risk", "other"):
        members = [name for name in read if name in place and task.kinds[place[name]] == kind]
        right = sum(read[name][0] == task.gold[place[name]] for name in members)
        same = sum(read[name][0] == read[name][1] for name in members)
        scored = 0 if kind == "other" else pool[kind]
        right_in_all += scored * right / len(members)
        lines.append(
            f"| {kind} | {pool[kind]:,} | {len(members)} | {right} ({wilson(right, len(members))}) "
            f"| {same} of {len(members)} |"
        )
    scored = sum(len(index) for index in task.splits.values())
    lines += [
        "",
        f"Weighted to the {scored:,} scored clauses, the rule is right on "
        f"{right_in_all / scored:.1%} of those read. The intervals are Wilson's, 95 %.",
        "",
        "| split | " + " | ".join(task.classes) + " |",
        "|---|---:|---:|",
    ]
    for split, counts in task.counts().items():
        lines.append(f"| {split} | " + " | ".join(f"{n:,}" for n in counts.values()) + " |")
    return "\n".join(lines)


def updated(text: str, measured: str) -> str:
    """The card with its measured part replaced."""
    block = f"{BEGIN}\n{measured}\n{END}"
    return re.sub(f"{BEGIN}.*{END}", lambda _: block, text, flags=re.DOTALL)


if __name__ == "__main__":
    card = HERE / "indemnity.md"
    old = card.read_text(encoding="utf-8")
    new = updated(old, indemnity(load_task("indemnity", size="lab")))
    if "--check" in sys.argv:
        sys.exit(f"{card.name} is out of date; run it without --check" if new != old else 0)
    card.write_text(new, encoding="utf-8")
