"""One weak model used three ways, to label, to filter and to defer, on one task with one account.

It also sets "keep a subset with its labels" against "relabel everything". Students are heads
trained together, as in `protocol`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from w2s_lab import metrics, protocol
from w2s_lab.cascade import threshold_for_budget
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.methods import balanced, one_hot
from w2s_lab.report import Table, counted, short

WRONG = 0.2  # of the labels that the texts were found with; a careless crowd
KEPT = 0.5  # of the texts that a choice keeps
BUDGET = 0.3  # of the queries may be passed on
QUERIES = 10_000  # to be served, unless said otherwise
WAYS = ("label", "filter", "defer")
HEADER = ("", "score", "gap recovered", "prepare", "serve", "gap per PFLOP")
NEEDS = {
    "label": "the weak model's few gold labels",
    "filter": "those, and texts that came with labels",
    "defer": "those, and a strong model that was trained on gold",
}


@dataclass(frozen=True)
class Ways:
    """Scores of weak model, students and ceiling on test, and what each way computes.

    Attributes:
        numbers: by name test scores, (seeds, items): "weak", "ceiling"; "label" (all weak labels),
            "as found", "filter" (the half that the weak model trusts, labels as found), "random
            half", "right ones" (only those whose label is right), "defer".
        kept: share of right labels by name, of what the student was told.
        deferred: share of the test queries passed on.
        flops: trunk operations of one text, by "weak" and "strong"; transfer: how many texts.
    """

    task: str
    seeds: int
    wrong: float
    metric: str
    numbers: Mapping[str, np.ndarray]
    kept: Mapping[str, float]
    deferred: float
    gold: np.ndarray
    groups: np.ndarray
    flops: Mapping[str, float]
    transfer: int

    @cached_property
    def _resampling(self) -> dict:
        return {"strata": self.gold, "groups": self.groups}

    def score(self, name: str) -> metrics.Estimate:
        """The score on test with its interval over seeds and test groups."""
        return metrics.bootstrap_mean(self.numbers[name], **self._resampling)

    def recovered(self, name: str) -> metrics.Estimate:
        """Share of the gap from the weak model to the ceiling, with its interval."""
        triple = (self.numbers[n] for n in ("weak", name, "ceiling"))
        return metrics.bootstrap_pgr(*triple, **self._resampling)

    def lead(self, name: str, over: str) -> metrics.Estimate:
        """By how much one score beats another, with its paired interval."""
        pair = (self.numbers[name], self.numbers[over])
        return metrics.bootstrap_difference(*pair, **self._resampling)

    def operations(self, way: str, queries: int = QUERIES) -> tuple[float, float]:
        """Operations to prepare, and to serve so many queries.

        Trunk passes are counted; heads cost little beside them. Who defers needs a strong model
        that has read its gold texts, whoever paid for that.
        """
        weak, strong = self.flops["weak"], self.flops["strong"]
        prepare = {
            "label": self.transfer * (weak + strong),
            "filter": self.transfer * (weak + KEPT * strong),
            "defer": self.transfer * strong,
        }
        serve = strong if way != "defer" else weak + self.deferred * strong
        return prepare[way], queries * serve

    def per_flop(self, way: str, queries: int = QUERIES) -> metrics.Estimate:
        """Gap recovered per 10^15 operations, preparing and serving together."""
        peta = sum(self.operations(way, queries)) / 1e15
        found = self.recovered(way)
        return metrics.Estimate(*(v / peta for v in (found.value, found.low, found.high)))

    def best(self, queries: int = QUERIES) -> str:
        """The way that buys the most recovered gap per operation; "" where there is no gap."""
        bought = {way: self.per_flop(way, queries).value for way in WAYS}
        return "" if np.isnan([*bought.values()]).any() else max(WAYS, key=lambda way: bought[way])

    def table(self, queries: int = QUERIES) -> Table:
        """The three ways side by side: gap recovered, operations, and one by the other."""

        def row(way: str) -> tuple[str, ...]:
            done = (f"{short(part / 1e12)} TFLOP" for part in self.operations(way, queries))
            each = self.per_flop(way, queries)
            scores = (str(self.score(way)), str(self.recovered(way)))
            bought = f"{each.value:.1f} [{each.low:.1f}, {each.high:.1f}]"
            return (way, *scores, *done, bought if each.defined else "undefined")

        title = (
            f"{self.task}: {self.metric.replace('_', ' ')} on {len(self.gold)} test items, "
            f"{counted(self.seeds, 'seed')}; one weak model used three ways, {queries:,} queries "
            "served"
        )
        ends = ("weak", "ceiling")
        rest = tuple((n, str(self.score(n)), "", "", "", "") for n in ends)
        notes = [f"{way} needs {needs}." for way, needs in NEEDS.items()]
        notes += [
            f"Of the labels found, {self.wrong:.0%} are wrong; {self.deferred:.0%} of the queries "
            "are passed on.",
            f"The most recovered gap per operation buys: {self.best(queries)}."
            if self.best(queries)
            else "No gap to recover: the ceiling does not beat the weak model.",
        ]
        return Table(title, (rest[:1], tuple(map(row, WAYS)), rest[1:]), tuple(notes), HEADER, 1)

    def choices(self) -> Table:
        """Keeping a subset with its labels beside relabelling everything."""
        names = {
            "as found": "all texts, labels as found",
            "random half": "a random half, labels as found",
            "filter": "the half the weak model trusts, labels as found",
            "label": "all texts, relabelled by the weak model",
            "right ones": "only the texts whose label is right",
            "ceiling": "all texts, gold labels",
        }

        def row(name: str) -> tuple[str, ...]:
            right = f"{self.kept[name]:.0%}"
            return (names[name], right, str(self.score(name)), str(self.recovered(name)))

        weak = ("(the weak model itself)", "", str(self.score("weak")), "")
        lead = self.lead("filter", "label")
        title = (
            f"{self.task}: the same weak model chooses, or relabels; {self.wrong:.0%} of the "
            "labels found are wrong"
        )
        notes = (
            f"Choosing beats relabelling by {lead}.",
            "right: share of right labels among those that the student was told.",
        )
        header = ("what the student learns from", "right", "score", "gap recovered")
        return Table(title, ((weak,), tuple(map(row, names))), notes, header, 1)

    def plot(self, queries: int = QUERIES):
        """Gap recovered by each way over the operations it takes, intervals drawn."""
        from w2s_lab import plots

        figure, ax = plots.axes(4.6)
        looks = ((plots.BLUE, "o"), (plots.ORANGE, "^"), (plots.GREEN, "D"))
        found = {way: self.recovered(way) for way in WAYS}
        spent = {way: sum(self.operations(way, queries)) / 1e12 for way in WAYS}
        plots.fit_y(ax, [np.array([0, 1, *vars(estimate).values()]) for estimate in found.values()])
        for (colour, marker), (way, estimate) in zip(looks, found.items(), strict=True):
            low, high = np.clip([estimate.low, estimate.high], *ax.get_ylim())
            error = np.maximum(0, [[estimate.value - low], [high - estimate.value]])
            look = {"color": colour, "fmt": marker, "markersize": 10, "linewidth": 2, "capsize": 4}
            ax.errorbar(spent[way], estimate.value, yerr=error, **look)
            beside = {"xytext": (10, 6), "textcoords": "offset points", "fontsize": plots.TEXT}
            ax.annotate(way, (spent[way], estimate.value), **beside, fontweight="bold")
        ax.set_xlim(0, 1.15 * max(spent.values()))
        for y, name in ((0, "weak model"), (1, "ceiling")):
            ax.axhline(y, color=plots.GREY, linewidth=1, linestyle=":")
            ax.annotate(name, (1.0, y), (-4, 4), xycoords=("axes fraction", "data"), ha="right",
                        textcoords="offset points", fontsize=plots.TEXT - 1)  # fmt: skip
        label = f"operations (TFLOP) to prepare and to serve {queries:,} queries"
        ax.set_xlabel(label, fontsize=plots.TEXT)
        ax.set_ylabel("gap recovered, 95 % intervals", fontsize=plots.TEXT)
        best = self.best(queries)
        title = "No gap to recover: the ceiling does not beat the weak model"
        if best:
            title = f"Of one weak model's three uses, {best!r} buys the most for its operations"
        listed = [f"{way} {found[way]} for {short(spent[way])} TFLOP" for way in WAYS]
        words = f"{title}. {queries:,} queries served. {plots.joined('Gap recovered', listed)}"
        return plots.described(plots.titled(figure, title), words)

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def three_ways(
    task: Task,
    *,
    weak: str = "static",
    strong: str = "minilm",
    seeds: int = 5,
    wrong: float = WRONG,
    device: str = "auto",
) -> Ways:
    """The weak model labels, filters and defers on one task; all students train in one program.

    Args:
        task: one with classes.
        wrong: share of the labels that the transfer texts are found with that a coin has flipped to
            another class, in [0, 1).

    Raises:
        W2SError: a task of another kind, or a share out of range.
    """
    if task.in_text or task.protocol != "label":
        what = "it has no classes to be labelled by a weak model"
        raise W2SError(what, where=task.name, mend="choose indemnity or data of your own")
    if not 0 <= wrong < 1:
        raise W2SError(f"{wrong:g} of the labels wrong", where="wrong", mend="choose from [0, 1)")
    bench = protocol.Bench(task, weak, strong, device, seeds)
    transfer, asked, test = (task.splits[s] for s in ("transfer", "validation", "test"))
    weak_probs, _ = bench.weak_models()
    gold = np.tile(task.gold[transfer], (seeds, 1))
    found = np.stack([_spoilt(task.gold[transfer], bench.classes, wrong, s) for s in range(seeds)])
    labels = weak_probs[:, transfer].argmax(-1)
    trust = np.take_along_axis(weak_probs[:, transfer], found[..., None], -1)[..., 0]
    chance = np.stack([np.random.default_rng(s).random(len(transfer)) for s in range(seeds)])
    everyone = np.ones(found.shape, bool)
    jobs = {  # what each student is told, and of which texts
        "label": (labels, everyone),
        "as found": (found, everyone),
        "filter": (found, _upper(trust, found)),
        "random half": (found, _upper(chance, found)),
        "right ones": (found, found == gold),
        "ceiling": (gold, everyone),
    }
    probs = _taught(bench, jobs, np.concatenate([transfer, asked, test]))
    small = weak_probs[:, np.concatenate([asked, test])]
    scores = {
        name: metrics.item_scores(p[:, len(asked) :].argmax(-1), task.gold[test], task.metric)
        for name, p in (*probs.items(), ("weak", small))
    }
    sure = small.max(-1)
    limits = [threshold_for_budget(s[: len(asked)], BUDGET) for s in sure]
    gone = sure[:, len(asked) :] <= np.array(limits)[:, None]
    scores["defer"] = np.where(gone, scores["ceiling"], scores["weak"])
    cost = bench.cost()
    return Ways(
        task=task.name,
        seeds=seeds,
        wrong=wrong,
        metric=task.metric,
        numbers=scores,
        kept={name: float((told == gold)[of].mean()) for name, (told, of) in jobs.items()},
        deferred=float(gone.mean()),
        gold=task.gold[test],
        groups=task.groups[test],
        flops={name: _flops(bench, cost, name) / 1000 for name in ("weak", "strong")},
        transfer=len(transfer),
    )


def _spoilt(gold: np.ndarray, classes: int, wrong: float, seed: int) -> np.ndarray:
    """The classes, of which a share is turned into another one at random."""
    rng = np.random.default_rng([seed, 1])
    moved = (gold + rng.integers(1, classes, len(gold))) % classes
    return np.where(rng.random(len(gold)) < wrong, moved, gold)


def _upper(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The upper half by value among the texts of each label, so that no class is chosen away."""
    kept = np.zeros(values.shape, bool)
    for row, (value, label) in enumerate(zip(values, labels, strict=True)):
        for c in np.unique(label):
            members = np.flatnonzero(label == c)
            order = members[np.argsort(-value[members], kind="stable")]
            kept[row, order[: max(1, round(KEPT * len(members)))]] = True
    return kept


def _taught(bench: protocol.Bench, jobs: Mapping, items: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities of each job's students on what follows `transfer` in the items."""
    from w2s_lab.heads import Lessons, train

    known = len(bench.task.splits["transfer"])
    inputs = bench.inputs(bench.trunk, items, dim=protocol.DIM)
    lessons = [
        bench.lessons(one_hot(told, bench.classes), balanced(told, bench.classes, among=of))
        for told, of in jobs.values()
    ]
    here = np.arange(len(items))
    heads = train(inputs, here[:known], Lessons.stack(lessons), epochs=protocol.EPOCHS)
    probs = heads.predict(inputs, here[known:])
    return dict(zip(jobs, np.split(probs, len(jobs)), strict=True))


def _flops(bench: protocol.Bench, cost: Mapping, name: str) -> float:
    """Operations of 1,000 texts; word vectors are only added up, one addition for each number."""
    trunk = bench.weak_trunk if name == "weak" else bench.trunk
    return cost[name]["flops"] or cost[name]["tokens"] * trunk.model.config.hidden_size
