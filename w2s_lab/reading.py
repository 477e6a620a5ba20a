"""Texts to read next to the numbers: examples of a task, and what a student made of them.

It computes nothing new. Lessons call it; on a page it is a table, in a terminal plain text.
"""

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2s_lab.data import Task
from w2s_lab.experiment import Result

WORDS = 60  # of a text; enough for the operative sentence of a clause


@dataclass(frozen=True)
class Texts:
    """Rows of (note, text), printed as paragraphs and displayed as a table."""

    title: str
    rows: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        parts = [self.title]
        for note, text in self.rows:
            parts.append(textwrap.fill(f"[{note}] {text}", 96, subsequent_indent="    "))
        return "\n\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left;vertical-align:top">{html.escape(note)}'
            f'</th><td style="text-align:left">{html.escape(text)}</td></tr>'
            for note, text in self.rows
        )
        return f"<table><caption>{html.escape(self.title)}</caption>{rows}</table>"


def examples(task: Task, kinds: Sequence[str], *, seed: int = 0) -> Texts:
    """One text of each kind from `supervise`, the split whose gold is known to the supervisor."""
    rng = np.random.default_rng(seed)
    rows = []
    supervise = task.splits["supervise"]
    # a task that knows no kinds has classes
    known = task.kinds if len(task.kinds) else np.array(task.classes)[task.gold]
    for kind in kinds if len(task.kinds) else task.classes:
        members = supervise[known[supervise] == kind]
        item = rng.choice(members)
        gold = task.classes[task.gold[item]]
        note = kind if str(kind).startswith(gold) else f"{kind}: {gold}"
        rows.append((note, _short(task.inputs[item])))
    return Texts("One text of each kind", tuple(rows))


def corrections(result: Result, task: Task, method: str | None = None) -> Texts:
    """Test texts that a student corrected, imitated or newly got wrong, one or two of each.

    Args:
        method: the student; the one with the highest score by default.

    A text is chosen where most seeds did the same, so that it shows a habit and no accident.
    """
    method = method or result.best
    student, weak = result.predicted(method), result.predicted("weak")
    right, was_right = student == result.gold, weak == result.gold
    cases = {
        "corrected": (~was_right & right),
        "imitated": (~was_right & ~right),
        "new error": (was_right & ~right),
    }
    rows = []
    for note, happened in cases.items():
        share = happened.mean(0)
        for item in np.argsort(-share, kind="stable")[:2]:
            if share[item] > 0:
                gold = result.classes[result.gold[item]]
                often = f"{happened[:, item].sum()} of {len(happened)} seeds"
                text = _short(task.inputs[result.test[item]])
                rows.append((f"{note} in {often}; gold: {gold}", text))
    return Texts(f"What the student “{method}” did with its teacher's errors", tuple(rows))


def labelled(result: Result) -> str:
    """What the weak model said of the whole pool, in one sentence."""
    flagged = ", ".join(f"{result.pool[name]:,.0f} as {name!r}" for name in result.classes)
    return (
        f"From {result.labels} gold labels, it marked {result.pool['texts']:,.0f} texts: {flagged}."
    )


def _short(text: str) -> str:
    """The first words of a text, with a sign where more follow."""
    words = text.split()
    return " ".join(words[:WORDS]) + (" …" if len(words) > WORDS else "")
