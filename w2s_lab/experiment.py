"""The protocol: weak, students, ceiling and the baselines that could embarrass them, in one call.

It neither draws nor prints. Protocol and names follow Burns et al. 2023 (sections 3 and 4); the
interval, the zero-shot baseline and the held-out weak labels are added.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from w2s_lab import metrics
from w2s_lab.assets import atomic_folder, cache_dir
from w2s_lab.data import Task, default_size, load_task
from w2s_lab.errors import W2SError
from w2s_lab.methods import METHODS, Method, balanced, one_hot

EPOCHS = 12  # passes over the transfer clauses
GOLD_EPOCHS = 60  # over the few gold clauses: about as many steps as the students take
DIM = 192  # principal components of the token states that the students read: half the work
BASELINES = ("majority", "bag of words", "strong zero-shot", "strong on gold labels")
COMMITTEE = 8  # weak models of the ensemble, each fitted to a resample of the gold labels


@dataclass(frozen=True)
class Result:
    """All that was predicted in a run, and what follows from it.

    Attributes:
        weak, strong: names of the models; labels: gold labels each weak model was given.
        probs: class probabilities on the test items by name ("weak", "ceiling", each method, each
            baseline), arrays of shape (seeds, items, classes).
        methods, baselines: which of the names in `probs` are which.
        gold, groups, kinds: of the test items, shape (items,).
        test: indices of the test items in the task.
        pool: how many texts the weak model labelled, and how many of each class, mean over seeds.
        curves: for "naive" and "ceiling", per epoch: share of weak labels matched and the score
            against gold, both on the validation groups, arrays of shape (epochs, 2).
        cost: per 1,000 labels, for "weak" and "strong": measured seconds, and floating-point
            operations of the trunk.
    """

    task: str
    size: str
    device: str
    weak: str
    strong: str
    labels: int
    seeds: int
    metric: str
    classes: tuple[str, ...]
    methods: tuple[str, ...]
    baselines: tuple[str, ...]
    probs: Mapping[str, np.ndarray]
    gold: np.ndarray
    groups: np.ndarray
    kinds: np.ndarray
    test: np.ndarray
    pool: Mapping[str, float]
    curves: Mapping[str, np.ndarray]
    cost: Mapping[str, Mapping[str, float]]
    seconds: float
    provenance: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def _resampling(self) -> dict:
        return {"strata": self.gold, "groups": self.groups}

    def predicted(self, name: str) -> np.ndarray:
        """Predicted classes of the test items, shape (seeds, items)."""
        if name not in self.probs:
            raise W2SError(f"no {name!r} in this result", mend=f"one of: {', '.join(self.probs)}")
        return self.probs[name].argmax(-1)

    def scores(self, name: str) -> np.ndarray:
        """Score per test item, shape (seeds, items); its mean is the score."""
        return metrics.item_scores(self.predicted(name), self.gold, self.metric)

    def score(self, name: str) -> metrics.Estimate:
        """The score with its interval over seeds and test groups."""
        return metrics.bootstrap_mean(self.scores(name), **self._resampling)

    def pgr(self, name: str) -> metrics.Estimate:
        """Performance gap recovered by a method, with its interval over seeds and test groups."""
        triple = (self.scores(n) for n in ("weak", name, "ceiling"))
        return metrics.bootstrap_pgr(*triple, **self._resampling)

    def lead(self, name: str, over: str) -> metrics.Estimate:
        """By how much one score beats another, with its paired interval."""
        return metrics.bootstrap_difference(
            self.scores(name), self.scores(over), **self._resampling
        )

    def agreement(self, name: str) -> metrics.Agreement:
        """Where a student follows the weak model, and where it mends or repeats its errors."""
        return metrics.agreement(self.predicted(name), self.predicted("weak"), self.gold)

    def calibration_error(self, name: str) -> float:
        """Expected calibration error over all seeds, 0 to 1."""
        probs = self.probs[name]
        return metrics.expected_calibration_error(
            probs.reshape(-1, probs.shape[-1]), np.tile(self.gold, len(probs))
        )

    @cached_property
    def best(self) -> str:
        """The method with the highest score; chosen on test, so a description and no promise."""
        return max(self.methods, key=lambda name: self.scores(name).mean())

    def to_dict(self) -> dict:
        """The plain values that `to_json` writes."""
        from w2s_lab import report

        return report.as_dict(self)

    def to_json(self, path) -> None:
        """Writes the result as JSON, whole or not at all."""
        from w2s_lab import report

        report.write_json(self, path)

    def table(self):
        """Every score and PGR with its interval, as a table that prints and displays itself."""
        from w2s_lab import report

        return report.table(self)

    def plot(self, path=None):
        """Scores between floor and ceiling, and the gap recovered; saved where a path is given."""
        from w2s_lab import plots

        return plots.gap(self, path)

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def run(
    task: str | Task = "indemnity",
    *,
    weak: str = "static",
    strong: str = "minilm",
    methods: Sequence[str | Method] | None = None,
    seeds: int = 5,
    size: str | None = None,
    device: str = "auto",
    labels: int | None = None,
    split: int | None = None,
) -> Result:
    """Weak and strong performance, the ceiling, and what each method recovers of the gap.

    Args:
        task: a name, file or Hub id for `load_task`, or a `Task`.
        weak, strong: a rung of the ladder (static, minilm, smollm2), a Hub id or a local folder.
            The weak model is a linear head on mean states, the strong one attends over tokens.
        methods: names out of `METHODS`, or `Method`s of your own; all named ones by default.
        seeds: how many times all is repeated, each with other gold labels and other first weights.
        size: "smoke", "lab" or "full"; default from W2S_SIZE.
        device: "auto", "cpu", "cuda", "mps".
        labels: gold labels for each weak model; the task's own number by default.
        split: deal the groups anew with this seed.

    Raises:
        W2SError: an unknown name, or more labels than there are.
    """
    started = time.perf_counter()
    chosen = [m if isinstance(m, Method) else METHODS[m] for m in (methods or METHODS)]
    if seeds < 1:
        raise W2SError(f"seeds is {seeds}", where="run", mend="give 1 or more")
    if not isinstance(task, Task):
        task = load_task(task, size=default_size(size))
    if split is not None:
        task = task.resplit(split)
    bench = _Bench(task, weak, strong, device, seeds, labels or task.labels)
    probs, curves, facts = bench.all(chosen)
    test = task.splits["test"]
    return Result(
        task=task.name,
        size=task.size,
        device=bench.device,
        weak=weak,
        strong=strong,
        labels=bench.labels,
        seeds=seeds,
        metric=task.metric,
        classes=task.classes,
        methods=tuple(m.name for m in chosen),
        baselines=tuple(name for name in BASELINES if name in probs),
        probs=probs,
        gold=task.gold[test],
        groups=task.groups[test],
        kinds=task.kinds[test] if len(task.kinds) else task.kinds,
        test=test,
        pool=facts["pool"],
        curves=curves,
        cost=facts["cost"],
        seconds=time.perf_counter() - started,
        provenance=task.provenance | {"split": split},
    )


def imitate(
    task: Task, labels: np.ndarray, *, strong: str = "minilm", device: str = "auto"
) -> np.ndarray:
    """Test probabilities of strong students that imitate given labels, one student per row.

    Args:
        labels: class per student and item of the task, shape (students, items); only those of
            `transfer` are shown to the students.

    Returns:
        float array of shape (students, test items, classes).
    """
    from w2s_lab.heads import train

    bench = _Bench(task, strong, strong, device, 1, task.labels)
    transfer, test = task.splits["transfer"], task.splits["test"]
    inputs = bench.inputs(bench.trunk, np.concatenate([transfer, test]), dim=DIM)
    told = labels[:, transfer]
    lessons = bench.lessons(one_hot(told, bench.classes), balanced(told, bench.classes))
    here = np.arange(len(transfer) + len(test))
    heads = train(inputs, here[: len(transfer)], lessons, epochs=EPOCHS)
    return heads.predict(inputs, here[len(transfer) :])


class _Bench:
    """One run's task, models and states: what all its students share."""

    def __init__(self, task: Task, weak: str, strong: str, device: str, seeds: int, labels: int):
        from w2s_lab.models import trunk

        self.task, self.seeds, self.labels = task, seeds, labels
        self.weak_trunk, self.trunk = trunk(weak, device=device), trunk(strong, device=device)
        self.device = self.trunk.device
        self.classes = len(task.classes)
        self._seconds_per_token: dict[str, float] = {}
        supervise = task.splits["supervise"]
        if labels > len(supervise):
            raise W2SError(
                f"{labels} gold labels asked for, {len(supervise)} there",
                where="labels",
                mend="ask for fewer, or give `supervise` more groups",
            )
        # one number per class is all that is used of the other gold labels of `supervise`
        self.prior = np.bincount(task.gold[supervise], minlength=self.classes) / len(supervise)
        self.given = np.stack([self._draw(np.random.default_rng(s)) for s in range(seeds)])

    def all(self, methods: Sequence[Method]):
        """Test probabilities by name, learning curves by name, and the costs and counts.

        Kept in the cache, under all that they depend on, where the methods are the package's own:
        of a function from elsewhere one cannot know what it reads.
        """
        if not all(m.teach.__module__.startswith("w2s_lab.") for m in methods):
            return self._all(methods)

        def fill(folder: Path) -> None:
            probs, curves, facts = self._all(methods)
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
        for room in ("models", "features", "heads", "losses", "methods", "experiment"):
            digest.update(Path(__file__).with_name(f"{room}.py").read_bytes())
        for text in self.task.inputs:
            digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        for array in (self.task.gold, self.given, *self.task.splits.values()):
            digest.update(np.ascontiguousarray(array).tobytes() + b"|")
        trunks = [(t.key, t.layer, t.device) for t in (self.weak_trunk, self.trunk)]
        traits = [{**vars(m), "teach": m.teach.__qualname__} for m in methods]
        named = (trunks, traits, self.task.classes, self.task.descriptions)
        digest.update(repr((named, self.task.metric, list(self.task.splits))).encode())
        return digest.hexdigest()[:24]

    def _all(self, methods):
        weak_probs, committee = self.weak_models()
        students, curves = self.students(methods, weak_probs, committee)
        baselines = {
            "majority": self.majority(),
            "bag of words": self.bag_of_words(),
            "strong zero-shot": self.zero_shot(),
            "strong on gold labels": self.strong_on_gold(),
        }
        probs = {"weak": weak_probs[:, self.task.splits["test"]], **students}
        probs |= {name: found for name, found in baselines.items() if found is not None}
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
        """States of `items` (in that order) and nothing else, ready for training."""
        from w2s_lab.features import token_states
        from w2s_lab.heads import Inputs

        states = token_states(trunk, [self.task.inputs[i] for i in items], pool=pool)
        self._seconds_per_token[trunk.name] = states.seconds_per_token
        seen = np.flatnonzero(~np.isin(items, self.task.splits["test"]))
        return Inputs(states, seen, dim=dim, device=self.device)

    def gold_lessons(self, groups_of_items: np.ndarray, *, seed: int):
        """Columns (the distinct items) and lessons: head h learns the gold of its own items.

        Args:
            groups_of_items: items of each head, repeats counted, shape (heads, labels).
        """
        columns = np.unique(groups_of_items)
        gold = self.task.gold[columns]
        counts = np.stack([(columns == row[:, None]).sum(0) for row in groups_of_items])
        weight = counts * balanced(np.tile(gold, (len(counts), 1)), self.classes, among=counts > 0)
        target = np.tile(one_hot(gold, self.classes), (len(counts), 1, 1))
        return columns, self.lessons(target, weight, seed=seed)

    def lessons(self, target, weight, *, alpha=0.0, seed=0):
        from w2s_lab.heads import Lessons

        heads = len(target)
        return Lessons(
            target,
            weight,
            np.full(heads, alpha),
            np.tile(self.prior, (heads, 1)),
            seed + np.arange(heads),
        )

    def weak_models(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of the weak models, and of their committees, on every text of the task.

        Two arrays of shape (seeds, items, classes). All texts are labelled, also those in no split.
        """
        from w2s_lab.heads import train

        every = np.arange(len(self.task.inputs))
        inputs = self.inputs(self.weak_trunk, every, pool=True)
        rng = np.random.default_rng(0)
        resamples = [rng.choice(row, (COMMITTEE, self.labels)) for row in self.given]
        columns, lessons = self.gold_lessons(np.concatenate([self.given, *resamples]), seed=0)
        heads = train(inputs, columns, lessons, epochs=GOLD_EPOCHS, queries=0, desc="weak models")
        probs = heads.predict(inputs, every)
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
        found, curves = {}, {}
        for turn in range(max(m.rounds for m in methods)):
            on_middle = [m for m in methods if m.middle and turn == 0]
            on_strong = [m for m in methods if m.rounds > turn and m not in on_middle]
            for group, trunk_ in ((on_middle, self.middle()), (on_strong, self.trunk)):
                jobs = {m.name: self._taught(m, told[m.name], turn) for m in group}
                if trunk_ is self.trunk and turn == 0:
                    jobs["ceiling"] = self.lessons(
                        one_hot(gold, self.classes), balanced(gold, self.classes)
                    )
                if not jobs:
                    continue
                early = {m.name for m in group if m.stops_early}
                inputs = self.inputs(trunk_, self.items, dim=DIM)
                probs, seen = self._fit(
                    inputs, transfer, validation, jobs, early, weak_probs[:, splits["validation"]]
                )
                for name, p in probs.items():
                    told[name], found[name] = p[:, transfer], p[:, test]
                curves.update(seen if trunk_ is self.trunk and turn == 0 else {})
        return {name: found[name] for name in ("ceiling", *(m.name for m in methods))}, curves

    def middle(self):
        """The strong model read half-way up."""
        from w2s_lab.models import trunk

        name, half = self.trunk.name.partition(":")[0], max(1, self.trunk.layer // 2)
        return trunk(f"{name}:{half}", device=self.device)

    def _taught(self, method: Method, probs, turn):
        target, weight = method.teach(probs, self.prior, turn)
        return self.lessons(target, weight, alpha=method.alpha, seed=1000 * turn)

    def _fit(self, inputs, transfer, validation, jobs, early, weak_validation):
        """Probabilities (seeds, items, classes) by name, and curves (epochs, 2) by name."""
        from w2s_lab.heads import Lessons, train

        names = list(jobs)
        watch = _Watch(
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

    def majority(self) -> np.ndarray:
        """Always the class that is most frequent in `supervise`."""
        test = self.task.splits["test"]
        return np.tile(one_hot(self.prior.argmax(), self.classes), (self.seeds, len(test), 1))

    def strong_on_gold(self) -> np.ndarray:
        """The strong model trained on the very gold labels that the weak model was given."""
        from w2s_lab.heads import train

        test = self.task.splits["test"]
        columns, lessons = self.gold_lessons(self.given, seed=0)
        inputs = self.inputs(self.trunk, np.concatenate([columns, test]), dim=DIM)
        here = np.arange(len(columns))
        heads = train(inputs, here, lessons, epochs=GOLD_EPOCHS, desc="strong on gold")
        return heads.predict(inputs, len(columns) + np.arange(len(test)))

    def bag_of_words(self) -> np.ndarray:
        """TF-IDF and logistic regression on the same gold labels: no neural model at all."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        def text(items):
            return [self.task.inputs[i] for i in items]

        probs = []
        # the vocabulary and its weights come from the unlabelled transfer texts
        words = TfidfVectorizer(sublinear_tf=True).fit(text(self.task.splits["transfer"]))
        tested = words.transform(text(self.task.splits["test"]))
        for given in self.given:
            model = LogisticRegression(C=10, class_weight="balanced")
            model.fit(words.transform(text(given)), self.task.gold[given])
            full = np.zeros((tested.shape[0], self.classes))
            full[:, model.classes_] = model.predict_proba(tested)
            probs.append(full)
        return np.stack(probs)

    def zero_shot(self) -> np.ndarray | None:
        """The strong model before any training: which class description is a text nearest to?

        Cosine similarity of mean states after the last block, the use MiniLM was trained for.
        """
        from w2s_lab.features import token_states
        from w2s_lab.models import trunk

        if not self.task.descriptions:
            return None
        whole = trunk(self.trunk.name.partition(":")[0], device=self.device)
        top = trunk(f"{whole.name}:{len(whole.blocks())}", device=self.device)
        texts = [self.task.inputs[i] for i in self.task.splits["test"]]
        states = token_states(top, [*self.task.descriptions, *texts], pool=True)
        rows = states.flat.astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        likeness = rows[self.classes :] @ rows[: self.classes].T
        # similarities are no probabilities; only which one is larger counts
        probs = np.exp(20 * (likeness - likeness.max(1, keepdims=True)))
        probs /= probs.sum(1, keepdims=True)
        return np.tile(probs, (self.seeds, 1, 1))

    def cost(self) -> dict[str, dict[str, float]]:
        """Measured seconds and trunk operations per 1,000 labels, weak and strong."""
        sample = [self.task.inputs[i] for i in self.task.splits["test"]]
        found = {}
        for name, model in (("weak", self.weak_trunk), ("strong", self.trunk)):
            ids = model.tokenizer(sample, truncation=True, max_length=384)["input_ids"]
            tokens = 1000 * float(np.mean([len(row) for row in ids]))
            found[name] = {
                "tokens": tokens,
                "seconds": tokens * self._seconds_per_token[model.name],
                "flops": tokens * model.flops_per_token(),
            }
        return found


class _Watch:
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
