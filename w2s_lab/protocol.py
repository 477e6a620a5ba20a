"""Weak models, students and ceiling of one run, trained together; finished runs are remembered.

It neither scores nor draws. The protocol is that of Burns et al. 2023, section 3.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from w2s_lab import metrics
from w2s_lab.assets import atomic_folder, cache_dir
from w2s_lab.baselines import BASELINES
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.methods import Method, balanced, one_hot

EPOCHS = 12  # passes over the transfer clauses
GOLD_STEPS = 60  # with all of a head's few gold clauses in each step
DIM = 192  # principal components of the token states that the students read: half the work
COMMITTEE = 8  # weak models of the ensemble, each fitted to a resample of the gold labels
FIRST = 5  # seed of the first of them: they come after the weak models of a run of five
# what a finished run depends on besides its data: another text in one of these is another run
ROOMS = ("models", "features", "heads", "losses", "methods", "metrics", "baselines", "protocol")


class Bench:
    """One run's task, models and states: what the weak models and all students share.

    `seeds` is how many there are, or which: what a seed comes to does not depend on the others.
    """

    def __init__(
        self,
        task: Task,
        weak: str,
        strong: str,
        device: str,
        seeds: int | Sequence[int],
        labels: int | None = None,  # the task's own number, or as many as there are
    ):
        from w2s_lab.models import trunk

        supervise = task.splits["supervise"]
        labels = min(task.labels, len(supervise)) if labels is None else labels
        self.numbers = np.arange(seeds) if isinstance(seeds, int) else np.array(seeds)
        self.task, self.seeds, self.labels = task, len(self.numbers), labels
        self.weak_trunk, self.trunk = trunk(weak, device=device), trunk(strong, device=device)
        self.device = self.trunk.device
        self.classes = len(task.classes)
        self._seconds_per_token: dict[str, float] = {}
        self._inputs: dict = {}
        if not self.classes <= labels <= len(supervise):
            raise W2SError(
                f"{labels} gold labels asked for",
                where="labels",
                mend=f"give from {self.classes}, one for each class, to {len(supervise)}",
            )
        # one number per class is all that is used of the other gold labels of `supervise`
        self.prior = np.bincount(task.gold[supervise], minlength=self.classes) / len(supervise)
        self.given = np.stack([self._draw(np.random.default_rng(s)) for s in self.numbers])

    def everything(self, methods: Sequence[Method]):
        """Test probabilities by name, learning curves by name, and the costs and counts.

        Kept in the cache, under all that they depend on, where the methods are the package's own:
        of a function from elsewhere one cannot know what it reads.
        """
        used = [*(m.teach for m in methods), *BASELINES.values()]
        if not all(function.__module__.startswith("w2s_lab.") for function in used):
            return self._compute(methods)

        def fill(folder: Path) -> None:
            probs, curves, facts = self._compute(methods)
            arrays = {f"probs/{k}": v for k, v in probs.items()}
            arrays |= {f"curves/{k}": v for k, v in curves.items()}
            np.savez(folder / "arrays.npz", **arrays)
            (folder / "facts.json").write_text(json.dumps(facts))

        folder = atomic_folder(cache_dir() / "results" / self._key(methods), fill)
        with np.load(folder / "arrays.npz") as arrays:
            probs, curves = (
                {k.partition("/")[2]: arrays[k] for k in arrays if k.startswith(part)}
                for part in ("probs/", "curves/")
            )
        return probs, curves, json.loads((folder / "facts.json").read_text())

    def _key(self, methods) -> str:
        digest = hashlib.sha256()
        for room in ROOMS:
            digest.update(Path(__file__).with_name(f"{room}.py").read_bytes())
        for text in self.task.inputs:
            digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        for array in (self.task.gold, self.numbers, self.given, *self.task.splits.values()):
            digest.update(np.ascontiguousarray(array).tobytes() + b"|")
        trunks = [(t.key, t.layer, t.device, t.dtype) for t in (self.weak_trunk, self.trunk)]
        traits = [{**vars(m), "teach": m.teach.__qualname__} for m in methods]
        settings = (EPOCHS, GOLD_STEPS, DIM, COMMITTEE, list(BASELINES))
        named = (trunks, traits, settings, self.task.classes, self.task.descriptions)
        digest.update(repr((named, self.task.metric, list(self.task.splits))).encode())
        return digest.hexdigest()[:24]

    def _compute(self, methods):
        weak_probs, committee = self.weak_models()
        students, curves = self.students(methods, weak_probs, committee)
        probs = {"weak": weak_probs[:, self.task.splits["test"]], **students}
        for name, baseline in BASELINES.items():
            probs[name] = baseline(self)
        flagged = weak_probs.argmax(-1)
        pool: dict[str, float] = {"texts": len(self.task.inputs)}
        for i, name in enumerate(self.task.classes):
            pool[name] = float((flagged == i).sum() / self.seeds)
        return probs, curves, {"pool": pool, "cost": self.cost()}

    def _draw(self, rng) -> np.ndarray:
        """The items whose gold label one weak supervisor gets: as many of each class as can be."""
        supervise = self.task.splits["supervise"]
        order = rng.permutation(supervise)
        turn = np.empty(len(order), int)  # how many of its class come before an item
        for c in range(self.classes):
            members = self.task.gold[order] == c
            turn[members] = np.arange(members.sum())
        return order[np.argsort(turn, kind="stable")][: self.labels]

    def inputs(self, trunk, items, *, pool=False, dim=None):
        """States of `items` in that order, standardized by those of them that are in `transfer`."""
        from w2s_lab.features import token_states
        from w2s_lab.heads import Inputs

        asked = (trunk.name, pool, dim, items.tobytes())
        if asked not in self._inputs:
            states = token_states(trunk, [self.task.inputs[i] for i in items], pool=pool)
            self._seconds_per_token[trunk.name] = states.seconds_per_token
            fit = np.flatnonzero(np.isin(items, self.task.splits["transfer"]))
            self._inputs[asked] = Inputs(states, fit, dim=dim, device=self.device)
        return self._inputs[asked]

    def taught_by_gold(self, trunk, rows: np.ndarray, items: np.ndarray, *, linear, seeds=None):
        """Probabilities (heads, items, classes) of heads that each learned its own gold labels.

        Args:
            rows: the items whose gold each head is given, repeats counted, (heads, labels).
            items: what is to be predicted.
            linear: a linear head on mean states instead of one that attends over tokens.
            seeds: of the heads' first weights, (heads,); by default the run's own, a row for each.
        """
        from w2s_lab.heads import QUERIES, train

        given = np.unique(rows)
        counts = np.stack([(given == row[:, None]).sum(0) for row in rows])
        gold = np.tile(self.task.gold[given], (len(rows), 1))
        # a repeated item counts as often as it is there, and every class as much as another
        member = one_hot(gold, self.classes) * counts[..., None]
        weight = (member / np.maximum(member.sum(1, keepdims=True), 1)).sum(-1)
        # `transfer` comes along, so that the scale does not depend on which items were given
        # and the given ones last: runs of other seeds then ask for the same states in one order
        columns = np.concatenate([items, self.task.splits["transfer"], given])
        inputs = self.inputs(trunk, columns, pool=linear, dim=None if linear else DIM)
        here = np.arange(len(columns))
        seeds = self.numbers if seeds is None else seeds
        heads = train(
            inputs,
            here[-len(given) :],
            self.lessons(one_hot(gold, self.classes), weight, seed=seeds),
            epochs=GOLD_STEPS,
            batch=len(given),
            queries=0 if linear else QUERIES,
            desc=f"{trunk.name} on gold",
        )
        return heads.predict(inputs, here[: len(items)])

    def lessons(self, target, weight, *, alpha=0.0, seed=None, rate=1.0):
        from w2s_lab.heads import Lessons

        heads = len(target)
        return Lessons(
            target,
            weight,
            np.full(heads, alpha),
            np.tile(self.prior, (heads, 1)),
            np.arange(heads) if seed is None else seed,
            rate,
        )

    def weak_models(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of the weak models, and of their committees, on every text of the task.

        Two arrays of shape (seeds, items, classes). All texts are labelled, also those in no split.
        """
        every = np.arange(len(self.task.inputs))
        rng = np.random.default_rng(0)
        # drawn for all seeds up to the last, so that no seed depends on which others there are
        upto = range(self.numbers.max() + 1)
        drawn = [rng.choice(self.labels, (COMMITTEE, self.labels)) for _ in upto]
        resamples = [row[drawn[s]] for s, row in zip(self.numbers, self.given, strict=True)]
        rows = np.concatenate([self.given, *resamples])
        members = FIRST + np.add.outer(COMMITTEE * self.numbers, np.arange(COMMITTEE)).ravel()
        seeds = np.concatenate([self.numbers, members])
        probs = self.taught_by_gold(self.weak_trunk, rows, every, linear=True, seeds=seeds)
        votes = probs[self.seeds :].reshape(self.seeds, COMMITTEE, len(every), -1)
        return probs[: self.seeds], votes.mean(1)

    def students(self, methods: Sequence[Method], weak_probs, committee):
        """Test probabilities of the ceiling and of every method, and learning curves."""
        splits = self.task.splits
        self.items = np.concatenate([splits[s] for s in ("transfer", "validation", "test")])
        transfer, validation, test = np.split(
            np.arange(len(self.items)),
            np.cumsum([len(splits["transfer"]), len(splits["validation"])]),
        )
        gold = np.tile(self.task.gold[splits["transfer"]], (self.seeds, 1))
        told = {}  # what each method's student hears in the next round
        for m in methods:
            told[m.name] = (committee if m.committee else weak_probs)[:, splits["transfer"]]
        found: dict[str, np.ndarray] = {}
        curves: dict[str, np.ndarray] = {}
        for turn in range(max(m.rounds for m in methods)):
            on_middle = [m for m in methods if m.middle and turn == 0]
            on_strong = [m for m in methods if m.rounds > turn and m not in on_middle]
            for group, trunk in ((on_middle, self.middle), (on_strong, self.trunk)):
                jobs = {m.name: self._taught(m, told[m.name], turn) for m in group}
                first = group is on_strong and turn == 0
                if first:
                    jobs["ceiling"] = self.lessons(
                        one_hot(gold, self.classes),
                        balanced(gold, self.classes),
                        seed=self.numbers,
                    )
                if not jobs:
                    continue
                early = {m.name for m in group if m.stops_early}
                inputs = self.inputs(trunk, self.items, dim=DIM)
                probs, seen = self._fit(
                    inputs, transfer, validation, jobs, early, weak_probs[:, splits["validation"]]
                )
                for name, p in probs.items():
                    told[name], found[name] = p[:, transfer], p[:, test]
                curves |= seen if first else {}
        return {name: found[name] for name in ("ceiling", *(m.name for m in methods))}, curves

    @cached_property
    def middle(self):
        """The strong model read half-way up."""
        return self.trunk.at(self.trunk.layer // 2)

    def _taught(self, method: Method, probs, turn):
        target, weight = method.teach(probs, self.prior, turn)
        return self.lessons(
            target, weight, alpha=method.alpha, seed=1000 * turn + self.numbers, rate=method.rate
        )

    def _fit(self, inputs, transfer, validation, jobs, early, weak_validation):
        """Probabilities (seeds, items, classes) by name, and curves (epochs, 2) by name."""
        from w2s_lab.heads import Lessons, train

        names = list(jobs)
        watch = Watch(
            inputs,
            validation,
            np.tile(weak_validation, (len(names), 1, 1)),
            self.task.gold[self.items[validation]],
            self.task.metric,
        )
        lessons = Lessons.stack([jobs[name] for name in names])
        heads = train(inputs, transfer, lessons, epochs=EPOCHS, after_epoch=watch)
        stop = np.repeat([name in early for name in names], self.seeds)
        watch.restore_best(heads, np.flatnonzero(stop))
        every = np.arange(len(self.items))
        probs = heads.predict(inputs, every)
        part = {name: slice(i * self.seeds, (i + 1) * self.seeds) for i, name in enumerate(names)}
        curves = np.stack(watch.curves)  # (epochs, heads, 2)
        return (
            {name: probs[part[name]] for name in names},
            {name: curves[:, part[name]].mean(1) for name in names},
        )

    def cost(self) -> dict[str, dict[str, float]]:
        """Measured seconds and trunk operations per 1,000 labels, weak and strong."""
        from w2s_lab.features import MAX_TOKENS

        sample = [self.task.inputs[i] for i in self.task.splits["test"]]
        found = {}
        for name, model in (("weak", self.weak_trunk), ("strong", self.trunk)):
            ids = model.tokenizer(sample, truncation=True, max_length=MAX_TOKENS)["input_ids"]
            tokens = 1000 * float(np.mean([len(row) for row in ids]))
            found[name] = {
                "tokens": tokens,
                "seconds": tokens * self._seconds_per_token[model.name],
                "flops": tokens * model.flops_per_token(),
            }
        return found


class Watch:
    """Looks at the validation groups after each epoch: curves for all heads, the best for some.

    It sees weak labels; gold serves the curve alone and never a choice.
    """

    def __init__(self, inputs, items, weak_probs, gold, metric):
        self.inputs, self.items, self.weak_probs = inputs, items, weak_probs
        self.gold, self.metric = gold, metric
        self.curves: list[np.ndarray] = []
        self.lowest = np.full(len(weak_probs), np.inf)
        self.best: dict = {}

    def __call__(self, epoch, heads):
        probs = heads.predict(self.inputs, self.items)
        labels = self.weak_probs.argmax(-1)
        matched = (probs.argmax(-1) == labels).mean(-1)
        score = metrics.item_scores(probs.argmax(-1), self.gold, self.metric).mean(-1)
        self.curves.append(np.stack([matched, score], -1))
        told = np.take_along_axis(probs, labels[..., None], -1)[..., 0]
        loss = -np.log(np.maximum(told, 1e-9)).mean(-1)
        state = {name: value.detach().clone() for name, value in heads.named_parameters()}
        if not self.best:
            self.best = state
        for head in np.flatnonzero(loss < self.lowest):
            for name, value in state.items():
                _of(self.best[name], name, head).copy_(_of(value, name, head))
        self.lowest = np.minimum(loss, self.lowest)

    def restore_best(self, heads, which):
        """Puts the best epoch's weights back into the heads `which`."""
        for name, value in heads.named_parameters():
            for head in which:
                _of(value.data, name, head).copy_(_of(self.best[name], name, head))


def _of(value, name, head):
    return value[:, head] if name == "query" else value[head]
