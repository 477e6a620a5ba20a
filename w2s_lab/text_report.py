"""`TextResult` → a table for each score, what it says in words, what labels cost, and JSON.

It neither trains nor draws. Beside PGR stands the share of the gap from the untouched strong model,
since a bad supervisor makes PGR look good.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_lab.errors import W2SError
from w2s_lab.metrics import Estimate
from w2s_lab.report import Table, counted, plain, short

if TYPE_CHECKING:
    from w2s_lab.text_experiment import TextResult

HEADER = ("", "score [95 % interval]", "PGR [95 % interval]", "of the gap from zero-shot")
TITLES = {
    "log_likelihood": "log-likelihood of the gold text, nats per token",
    "rouge_l": "ROUGE-L of what was written",
    "chrf": "chrF of what was written",
    "similarity": "similarity to gold of what was written (cosine of embeddings)",
}
ZERO_SHOT = "strong zero-shot"
SOURCE = 300  # characters of a source in a list of examples


@dataclass(frozen=True, repr=False)
class Tables:
    """Several tables that print and display themselves one after another."""

    tables: tuple[Table, ...]

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables)


@dataclass(frozen=True)
class Scored:
    """Score, PGR and share recovered of the gap from zero-shot, by name, for one metric."""

    score: Mapping[str, Estimate]
    pgr: Mapping[str, Estimate]
    recovered: Mapping[str, Estimate]
    ranked: tuple[str, ...]


def scored(result: "TextResult", metric: str) -> Scored:
    """All estimates of one metric, resampled at the first call and kept with the result."""
    kept = vars(result).setdefault("_scored", {})
    if metric not in kept:
        names = result.numbers[metric]
        score = {name: result.score(name, metric) for name in names}
        ranked = tuple(sorted(result.methods, key=lambda name: -score[name].value))
        pgr = {name: result.pgr(name, metric) for name in ranked}
        recovered = {name: result.recovered(name, metric) for name in ranked}
        kept[metric] = Scored(score, pgr, recovered, ranked)
    return kept[metric]


def table(result: "TextResult", metric: str | None = None) -> Tables:
    """A table for each score, the leading one first, or for one alone; and what they say."""
    rest = (metric,) if metric else [result.metric, *(m for m in TITLES if m != result.metric)]
    made = [_table(result, m) for m in rest if m in result.numbers]
    if not made:
        raise W2SError(f"no metric {metric!r}", mend=f"one of: {', '.join(TITLES)}")
    return Tables(tuple(made))


def _table(result: "TextResult", metric: str) -> Table:
    told = scored(result, metric)

    def row(name: str) -> tuple[str, ...]:
        score = str(told.score[name]) if name in told.score else "has none"
        given = (str(told.pgr[name]), str(told.recovered[name])) if name in told.pgr else ("", "")
        return (name, score, *given)

    leads = metric == result.metric
    items = len(result.gold) if metric == "log_likelihood" else result.written
    title = f"{result.task} (size {result.size}): {TITLES[metric]}; {items} test items"
    if leads:
        title += (
            f", {counted(result.seeds, 'seed')}; weak = {result.weak} with "
            f"{counted(result.labels, 'gold label')}, student and ceiling = {result.strong}"
        )
    parts = (result.baselines, ("weak",), told.ranked, ("ceiling",))
    groups = tuple(tuple(map(row, names)) for names in parts)
    return Table(title, groups, tuple(_notes(result, metric, told)), HEADER, len(HEADER))


def _notes(result: "TextResult", metric: str, told: Scored) -> list[str]:
    """What a table says, a sentence each."""
    notes = []
    gap = result.lead("ceiling", ZERO_SHOT, metric)
    notes.append(f"The gap from the untouched strong model to the ceiling is {gap}.")
    if "weak" in told.score and not result.lead("ceiling", "weak", metric).value > 0:
        notes.append("Warning: the ceiling is not above the weak model, so PGR is undefined.")
    leads = {name: result.lead(name, ZERO_SHOT, metric) for name in told.ranked}
    both = [n for n, lead in leads.items() if lead.low > 0 and _beats(result, n, metric)]
    if both:
        whom = "both supervisor and" if "weak" in told.score else "the"
        notes.append(
            f"Better than {whom} untouched model, with intervals above 0: {', '.join(both)}."
        )
    worse = [f"{n} ({lead})" for n, lead in leads.items() if lead.value < 0]
    if worse:
        notes.append(
            f"Warning: worse than the strong model left alone (zero-shot): {', '.join(worse)}."
        )
    best = told.score[told.ranked[0]].value
    for name in ("lead sentence", "strong on gold labels"):
        if name in told.score and told.score[name].value > best:
            notes.append(f"Warning: no student is better than the {name}.")
    if metric == result.metric:
        notes += _costs(result)
    return notes


def _beats(result: "TextResult", name: str, metric: str) -> bool:
    return not result.has("weak", metric) or result.lead(name, "weak", metric).low > 0


def _costs(result: "TextResult") -> list[str]:
    weak, strong = (
        f"{short(cost['seconds'])} s ({short(cost['tokens'])} tokens, "
        f"{short(cost['flops'] / 1e12)} TFLOP)"
        for cost in (result.cost["weak"], result.cost["strong"])
    )
    return [f"1,000 labels cost {weak} with the weak model, {strong} with the strong one."]


def costs(result: "TextResult", human: float) -> Table:
    """What 1,000 labels cost, from whom, and what a student of the weak ones is worth.

    Args:
        human: price of one label by a person, in any currency.
    """

    def row(name: str) -> tuple[str, ...]:
        one = result.cost[name]
        return (name, short(one["tokens"]), short(one["flops"] / 1e12), short(one["seconds"]), "0")

    person = ("person", "", "", "", short(1000 * human))
    best, labels = result.best, result.transfer
    gained, most = (result.lead(n, ZERO_SHOT) for n in (best, "ceiling"))
    spent = labels * human
    notes = (
        f"The {labels} labels of this run cost {short(spent)} from a person and "
        f"{short(labels / 1000 * result.cost['weak']['seconds'])} s from the weak model, "
        f"which itself needed {counted(result.labels, 'label')} ({short(result.labels * human)}).",
        f"With the weak labels the student ({best}) gains {gained} over the untouched model, with "
        f"the person's {most}.",
    )
    header = ("1,000 labels by", "tokens", "TFLOP", "seconds", "price")
    title = f"{result.task}: what labels cost at {human:g} for one by a person"
    return Table(title, ((row("weak"), row("strong")), (person,)), notes, header, 1)


def percent(share: float) -> str:
    """A share from 0 to 1 in words; a dash where there is nothing to share."""
    return "-" if np.isnan(share) else f"{100 * share:.0f} %"


def signs(result: "TextResult", names: tuple[str, ...] = ()) -> Table:
    """Signs of bad writing and of imitation, for gold, weak, students and ceiling."""
    names = names or ("gold", "lead sentence", "weak", *result.methods, ZERO_SHOT, "ceiling")

    def row(name: str) -> tuple[str, ...]:
        seen = result.signs(name)
        shares = (seen.repetition, seen.copying, seen.unsupported_names)
        cells = map(percent, (*shares, seen.unsupported_numbers, seen.empty))
        again = ["", ""]
        if name not in ("gold", "lead sentence", "weak"):
            repeated = result.reproduced(name)
            again = [percent(repeated.share), percent(repeated.chance)]
        return (name, f"{seen.words:.0f}", *cells, *again)

    header = ("", "words", "repeats", "copied", "names", "numbers", "empty", "errors", "by chance")
    notes = (
        "repeats: runs of words that occurred before in the same text. copied: words that lie in "
        "fragments of the source. names, numbers: texts with at least one that the source lacks. "
        "errors: words of the weak text that neither source nor gold has, and the share of them "
        "that is repeated for the same input; by chance: for another input.",
    )
    title = f"{result.task}: what was written for {result.written} test items"
    return Table(title, (tuple(map(row, names)),), notes, header, 1)


def examples(
    result: "TextResult",
    names: tuple[str, ...] = (),
    items: Sequence[int] = (0, 1, 2),
) -> Table:
    """What was written for some of the test items by the first seed, beneath source and gold.

    Args:
        names: whose texts; default weak, the first method and ceiling.

    Raises:
        W2SError: an item that nobody has written for, a name that has written nothing.
    """
    names = names or ("weak", result.methods[0], "ceiling")
    groups = []
    for i in items:
        if not 0 <= i < result.written:
            raise W2SError(f"no texts for item {i}", mend=f"give 0 to {result.written - 1}")
        source = textwrap.shorten(result.sources[i], SOURCE, placeholder=" …")
        said = [("gold", result.gold[i]), *((n, result.written_by(n)[0, i]) for n in names)]
        # a model may break its lines, and a row is one line
        rows = [("source", source), *((n, " ".join(t.split()) or "(nothing)") for n, t in said)]
        groups.append(tuple(rows))
    title = f"{result.task}: what was written, first seed"
    return Table(title, tuple(groups), (), ("", "text"), 2)


def as_dict(result: "TextResult") -> dict[str, Any]:
    """The result as plain values for JSON; nan and infinity become None.

    First the keys that every lab shares, for the leading score; then every score under "scores".
    """

    def one(metric: str) -> dict[str, Any]:
        told = scored(result, metric)

        def entry(name: str) -> dict[str, Any]:
            value = told.score[name].as_dict() if name in told.score else {}
            interval = {k: value.get(k) for k in ("low", "high")}
            return {"score": value.get("value"), "interval": interval}

        methods = {
            name: entry(name)
            | {"pgr": told.pgr[name].as_dict(), "recovered": told.recovered[name].as_dict()}
            | {"over_zero_shot": result.lead(name, ZERO_SHOT, metric).as_dict()}
            for name in result.methods
        }
        return {
            "baselines": {name: entry(name)["score"] for name in result.baselines},
            "weak": entry("weak"),
            "ceiling": entry("ceiling"),
            "methods": methods,
        }

    names = ("weak", *result.methods, "ceiling")
    return plain(
        {
            "task": result.task,
            "size": result.size,
            "device": result.device,
            "seeds": result.seeds,
            **one(result.metric),
            "seconds": result.seconds,
            "models": {"weak": result.weak, "strong": result.strong},
            "labels": result.labels,
            "metric": result.metric,
            "scores": {metric: one(metric) for metric in result.numbers},
            "signs": {name: asdict(result.signs(name)) for name in ("gold", *names)},
            "chosen": dict(result.chosen),
            "cost": result.cost,
            "provenance": result.provenance,
        }
    )
