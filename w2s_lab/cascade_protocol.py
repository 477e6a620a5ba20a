"""Models of a cascade: trained on gold, asked on validation and test; finished runs are kept.

It neither defers nor draws: `cascade` does the one, `cascade_plots` the other.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from w2s_lab.assets import atomic_folder, cache_dir
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.methods import balanced, one_hot
from w2s_lab.models import pick_device

EPOCHS = 12  # passes of an attending head over the gold clauses
STEPS = 200  # of a linear head
DIM = 192  # principal components that an attending head reads, as in lesson 01
SHOWN = 0.8  # of the gold clauses each seed learns from, another part each
FEATURES = 8  # principal components of a small model's states, for the learned rule
MODELS = ("static", "minilm")
# what a finished run depends on besides its data: another text in one of these is another run
ROOMS = ("models", "features", "heads", "losses", "methods", "cascade_protocol")


@dataclass(frozen=True)
class Model:
    """A trained classifier of one task, for its own items and for new texts.

    Attributes:
        name: a rung of the ladder, "static" or "minilm:2" for example; with a "+" behind it, a head
            that attends to single tokens instead of a linear one on their mean.
    """

    task: Task
    name: str
    seeds: int
    device: str
    _kept: dict = field(default_factory=dict, repr=False)

    @property
    def attends(self) -> bool:
        return self.name.endswith("+")

    @cached_property
    def trunk(self):
        from w2s_lab.models import trunk

        return trunk(self.name.removesuffix("+"), device=self.device)

    def _states(self, texts: Sequence[str]):
        from w2s_lab.features import token_states

        return token_states(self.trunk, texts, pool=not self.attends)

    @cached_property
    def _inputs(self):
        """States of the gold clauses, which set the scale for all others."""
        from w2s_lab.heads import Inputs

        shown = self.task.splits["transfer"]
        states = self._states([self.task.inputs[i] for i in shown])
        self._kept["seconds_per_token"] = states.seconds_per_token
        dim = DIM if self.attends else None
        return Inputs(states, np.arange(len(shown)), dim=dim, device=self.device)

    @cached_property
    def _heads(self):
        from w2s_lab.heads import QUERIES, Lessons, train

        gold = self.task.gold[self.task.splits["transfer"]]
        classes = len(self.task.classes)
        told = np.tile(gold, (self.seeds, 1))
        target = one_hot(told, classes)
        part = np.stack([self._part(len(gold), seed) for seed in range(self.seeds)])
        weight = balanced(told, classes, among=part)  # every desk counts as much as another
        prior = np.tile(target.mean((0, 1)), (self.seeds, 1))
        lessons = Lessons(target, weight, np.zeros(self.seeds), prior, np.arange(self.seeds))
        asked: dict = {"epochs": EPOCHS, "queries": QUERIES}
        if not self.attends:  # all at once and to the end, as a logistic regression is fitted
            asked = {"epochs": STEPS, "queries": 0, "batch": len(gold)}
        desc = f"{self.name} on gold"
        return train(self._inputs, np.arange(len(gold)), lessons, **asked, desc=desc)

    def _part(self, count: int, seed: int) -> np.ndarray:
        chosen = np.random.default_rng(seed).permutation(count)[: round(SHOWN * count)]
        return np.isin(np.arange(count), chosen)

    def probs(self, texts: Sequence[str]) -> np.ndarray:
        """Class probabilities of all seeds, (seeds, texts, classes)."""
        heads = self._heads  # before new texts are scaled: training sets the scale
        return heads.predict(self._inputs.like_these(self._states(texts)), np.arange(len(texts)))

    def answer(self, texts: Sequence[str]) -> np.ndarray:
        """Class probabilities by the first seed's head, (texts, classes): a stage's answer."""
        return self.probs(texts)[0]

    def features(self, texts: Sequence[str]) -> np.ndarray:
        """What the model sees of a text, in few numbers, (texts, FEATURES)."""
        from w2s_lab.features import token_states

        shown = [self.task.inputs[i] for i in self.task.splits["transfer"]]
        fit, new = (
            token_states(self.trunk, part, pool=True).flat.astype(float) for part in (shown, texts)
        )
        centre = fit.mean(0)
        axes = np.linalg.svd(fit - centre, full_matrices=False)[2][:FEATURES]
        return (new - centre) @ axes.T

    def cost(self, texts: Sequence[str]) -> dict[str, float]:
        """Tokens, operations and measured seconds of one text, on average.

        A linear head or one that attends costs little beside a transformer, and nearly all of what
        word vectors alone cost; both are counted.
        """
        from w2s_lab.features import MAX_TOKENS
        from w2s_lab.heads import QUERIES

        ids = self.trunk.tokenizer([*texts], truncation=True, max_length=MAX_TOKENS)["input_ids"]
        tokens = float(np.mean([len(row) for row in ids]))
        dim = self._inputs.dim
        head = 2.0 * dim * (2 * QUERIES * tokens if self.attends else tokens)
        head += 2.0 * tokens * self._states(texts[:1]).flat.shape[1] * dim * self.attends
        return {
            "tokens": tokens,
            "flops": tokens * self.trunk.flops_per_token() + head,
            "seconds": tokens * self._kept["seconds_per_token"],
        }


@dataclass(frozen=True)
class Said:
    """What the two models say of the queries of one split.

    Attributes:
        items: indices into the task, (items,). small, large: (seeds, items, classes).
        features: of the small model, (items, dims).
    """

    items: np.ndarray
    small: np.ndarray
    large: np.ndarray
    features: np.ndarray


def ask(task: Task, weak: str, strong: str, device: str, seeds: int) -> dict:
    """What small and large model say of validation and test, and what a query costs with each.

    Kept in the cache, under all that it depends on.
    """
    models = {
        "small": Model(task, weak, seeds, pick_device(device)),
        "large": Model(task, strong, seeds, pick_device(device)),
    }
    if len(task.splits["transfer"]) < 2 * len(task.classes):
        what = f"{len(task.splits['transfer'])} gold items for {len(task.classes)} classes"
        raise W2SError(what, where=task.name, mend="bring more")

    def fill(folder: Path) -> None:
        arrays: dict = {}
        facts: dict = {}
        test = [task.inputs[i] for i in task.splits["test"]]
        for split in ("validation", "test"):
            texts = [task.inputs[i] for i in task.splits[split]]
            for role, model in models.items():
                arrays[f"{split}/{role}"] = model.probs(texts)
            arrays[f"{split}/features"] = models["small"].features(texts)
        for role, model in models.items():
            facts[role] = model.cost(test)
        np.savez(folder / "arrays.npz", **arrays)
        (folder / "facts.json").write_text(json.dumps(facts))

    folder = atomic_folder(cache_dir() / "results" / _key(task, models), fill)
    with np.load(folder / "arrays.npz") as arrays:
        found = {
            split: Said(
                task.splits[split],
                *(arrays[f"{split}/{part}"] for part in ("small", "large", "features")),
            )
            for split in ("validation", "test")
        }
    facts = json.loads((folder / "facts.json").read_text())
    device = models["large"].device
    return {"said": found, "cost": facts, "device": device}


def _key(task: Task, models: dict[str, Model]) -> str:
    digest = hashlib.sha256(b"cascade")
    for room in ROOMS:
        digest.update(Path(__file__).with_name(f"{room}.py").read_bytes())
    for text in task.inputs:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    for array in (task.gold, *task.splits.values()):
        digest.update(np.ascontiguousarray(array).tobytes() + b"|")
    named = [(m.name, m.seeds, m.trunk.key, m.trunk.layer, m.trunk.device) for m in models.values()]
    digest.update(repr((named, task.classes)).encode())
    return digest.hexdigest()[:24]
