"""Name → `Task`: inputs, gold, grouped splits, metric, provenance.

It does not tokenize or train. A new task is one function registered with `@task("name")`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from w2s_lab.errors import W2SError
from w2s_lab.registry import Registry

SIZES = ("smoke", "lab", "full")
OWN = ("cascade", "code", "corpus", "indemnity", "pairs", "papers")  # one module each
TASKS = Registry("task")
task = TASKS.register


@dataclass(frozen=True)
class Task:
    """One problem with hidden truth: what the weak model, the student and the ceiling all share.

    Attributes:
        inputs: the texts, length `items`.
        gold: the true class of each item, int array of shape (items,); or the true answer in
            words, object array of that shape.
        groups: which family each item belongs to, shape (items,); no group crosses a split.
        ids: a stable name per item, shape (items,).
        splits: indices into the items for `supervise`, `transfer`, `validation` and `test`.
            Gold of `transfer` and `validation` is for the ceiling and for reports only.
        classes: class names, in the order of the integers in `gold`; none where the answer is a
            text.
        metric: the score's name in `w2s_lab.metrics.SCORES`; for texts, "log_likelihood".
        labels: how many gold labels of `supervise` a weak supervisor gets, by default.
        descriptions: each class in words, for a model that has seen no label; without them the
            class names must do.
        questions: what is asked of each input, length `items`, where the answer is a text.
        kinds: what sort of item each is (for diagnostics), shape (items,), or empty.
        protocol: what `run` does with it: "label" (a weak model labels, a strong one learns; with
            classes or texts), "filter" (a weak model chooses what a strong one learns) or "cascade"
            (a small model passes questions on to a large one).
        provenance: where the data came from and what was done to it.
    """

    name: str
    size: str
    inputs: Sequence[str]
    gold: np.ndarray
    groups: np.ndarray
    ids: np.ndarray
    splits: Mapping[str, np.ndarray]
    classes: tuple[str, ...] = ()
    metric: str = "balanced_accuracy"
    labels: int = 50
    descriptions: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    kinds: np.ndarray = field(default_factory=lambda: np.array([], str))
    protocol: str = "label"
    provenance: Mapping[str, object] = field(default_factory=dict)

    @property
    def in_text(self) -> bool:
        """Whether an answer is a text instead of a class."""
        return not self.classes

    def resplit(self, seed: int) -> "Task":
        """The same items with the groups dealt anew; checked for leaks like the first deal."""
        from w2s_lab.data.splits import check_no_leak, deal_groups

        if self.protocol == "filter":
            what = "its splits hold different sorts of documents and cannot be dealt anew"
            raise W2SError(what, where=self.name, mend="leave the split as it is")
        scored = np.sort(np.concatenate(list(self.splits.values())))
        shares = {name: len(index) / len(scored) for name, index in self.splits.items()}
        balanced = self.kinds if self.in_text else self.gold
        dealt = deal_groups(self.groups[scored], balanced[scored], shares, seed=seed)
        splits = {name: scored[index] for name, index in dealt.items()}
        check_no_leak([self.inputs[i] for i in scored], self.groups[scored], dealt)
        return replace(self, splits=splits)

    def counts(self) -> dict[str, dict[str, int]]:
        """Items of each class in each split; of each kind where the answer is a text."""
        if self.in_text:
            found = {
                split: np.unique(self.kinds[i], return_counts=True)
                for split, i in self.splits.items()
            }
            return {
                s: dict(zip(kinds.tolist(), n.tolist(), strict=True))
                for s, (kinds, n) in found.items()
            }
        return {
            split: {c: int((self.gold[index] == i).sum()) for i, c in enumerate(self.classes)}
            for split, index in self.splits.items()
        }

    def __repr__(self) -> str:
        rows = [f"Task {self.name!r} ({self.size}): {len(self.inputs):,} items, {self.metric}"]
        for split, counts in self.counts().items():
            rows.append(f"  {split:<11}" + ", ".join(f"{n:,} {c}" for c, n in counts.items()))
        return "\n".join(rows)


def default_size(size: str | None = None) -> str:
    """`size`, or the environment variable W2S_SIZE, or "lab"; raises W2SError if unknown."""
    size = size or os.environ.get("W2S_SIZE") or "lab"
    if size not in SIZES:
        raise W2SError(f"unknown size {size!r}", where="size", mend=f"choose one of {SIZES}")
    return size


def register() -> None:
    """Puts the package's own tasks into `TASKS`; each module does so when it is imported."""
    from importlib import import_module

    for module in OWN:
        import_module(f"w2s_lab.data.{module}")


def load_task(name: str, *, size: str | None = None, **options) -> Task:
    """The task of that name; a path to csv, jsonl or parquet, or a Hub id, makes a custom one.

    Args:
        name: a registered task, a file, a folder saved by `datasets`, or `owner/name` on the Hub.
        size: "smoke", "lab" or "full"; default from W2S_SIZE.
        options: passed to the task, for example `text="clause", label="kind"` for a file.

    Raises:
        W2SError: unknown name, or data that cannot be used; the message says how to mend it.
    """
    register()
    size, name = default_size(size), str(name)
    if name in TASKS:
        return TASKS[name](size=size, **options)
    if os.path.exists(name) or "/" in name or "." in name:
        from w2s_lab.data import custom

        return custom.load(name, size=size, **options)
    return TASKS[name](size=size)  # raises, naming the known tasks
