"""`FilterResult` → a table of the choices, what was kept and lost of each kind, and JSON.

It neither trains nor draws.
"""

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_lab.filter_protocol import EVERYTHING, FLOOR, OFFERED, ORACLE, UNTOUCHED
from w2s_lab.metrics import Estimate
from w2s_lab.report import Table, counted, plain, short

if TYPE_CHECKING:
    from w2s_lab.filter_experiment import FilterResult

HEADER = ("", "log-likelihood", "over random [95 % interval]", "gap recovered", "clean", "texts")
SHOWN = 160  # characters of a document in a list of examples


def ranked(result: "FilterResult") -> list[str]:
    """The methods, the highest score first."""
    return sorted(result.methods, key=lambda name: -result.scores(name).mean())


def fine(estimate: Estimate) -> str:
    """An estimate with three digits: gaps in nats per token are small."""
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def table(result: "FilterResult") -> Table:
    """Untouched model, random choice, methods by score, oracle; and what they say."""

    def row(name: str) -> tuple[str, ...]:
        score = f"{result.scores(name).mean():.3f}"
        over = "" if name == FLOOR else fine(result.lead(name, FLOOR))
        share = str(result.recovered(name)) if name in result.methods else ""
        if name not in result.kept:
            count = str(len(result.texts)) if name == EVERYTHING else ""
            return (name, score, over, share, "", count)
        texts = np.mean([len(index) for index in result.kept[name]])
        return (name, score, over, share, f"{result.precision(name):.0%}", f"{texts:.0f}")

    title = (
        f"{result.task} (size {result.size}): log-likelihood of clean test texts, nats per token; "
        f"{len(result.groups)} texts, {counted(result.seeds, 'seed')}; weak = {result.weak}, "
        f"strong = {result.strong}; each choice may spend {result.fraction:.0%} of the tokens "
        "on offer"
    )
    parts = ((UNTOUCHED,), (FLOOR,), ranked(result), (ORACLE,), (EVERYTHING,))
    groups = tuple(tuple(map(row, names)) for names in parts)
    return Table(title, groups, tuple(_notes(result)), HEADER, 1)


def _notes(result: "FilterResult") -> list[str]:
    gap = result.lead(ORACLE, FLOOR)
    notes = [
        "clean: share of the tokens kept that are clean; gap recovered: 0 is the random choice, 1 "
        "the oracle's.",
        f"The gap from random to oracle is {fine(gap)} nats per token.",
    ]
    if not gap.low > 0:
        notes.append("Warning: the gap may be 0, so no share of it is bounded.")
    better = [name for name in ranked(result) if result.lead(name, FLOOR).low > 0]
    worse = [name for name in ranked(result) if result.lead(name, FLOOR).high < 0]
    notes.append(
        f"Better than random with the whole interval: {', '.join(better) or 'none of them'}."
    )
    if worse:
        notes.append(f"Warning: worse than random with the whole interval: {', '.join(worse)}.")
    everything = result.lead(EVERYTHING, ORACLE)
    if everything.value > 0:
        factor = 1 / (result.fraction * OFFERED)
        notes.append(
            f"Warning: learning from everything, dirt included, takes {factor:.0f} times the "
            f"training of a choice and beats the oracle's by {fine(everything)}."
        )
    weak, student = (
        short(result.facts["flops"][part] / 1e12) for part in ("weak scores", "one student")
    )
    notes.append(
        f"The weak model's scores of the store cost {weak} TFLOP, one student {student} TFLOP."
    )
    return notes


def kinds(result: "FilterResult", names=None) -> Table:
    """Which share of the documents of each kind was kept, method by method."""
    names = list(names or (*ranked(result), ORACLE))
    found = {name: result.recall(name) for name in names}
    clean = sorted({*result.kinds[result.clean]})
    dirt = sorted({*result.kinds[~result.clean]})

    def row(kind: str) -> tuple[str, ...]:
        count = int((result.kinds == kind).sum())
        return (kind, str(count), *(f"{found[name][kind]:.0%}" for name in names))

    title = (
        f"Kept of each kind, in % of those on offer; a random choice keeps {result.fraction:.0%}"
    )
    groups = (tuple(map(row, clean)), tuple(map(row, dirt)))
    return Table(title, groups, (), ("", "in store", *names), 1)


def test_kinds(result: "FilterResult", names=None) -> Table:
    """By how much students beat the random choice on the test texts of each clean kind."""
    names = list(names or (*ranked(result), ORACLE))

    def row(kind: str) -> tuple[str, ...]:
        here = result.test_kinds == kind
        leads = [(result.scores(n) - result.scores(FLOOR))[:, here].mean() for n in names]
        return (kind, str(int(here.sum())), *(f"{lead:+.3f}" for lead in leads))

    title = "Log-likelihood over that of the random choice, nats per token, by kind of test text"
    rows = tuple(map(row, sorted({*result.test_kinds})))
    return Table(title, (rows,), (), ("", "texts", *names), 1)


def examples(result: "FilterResult", method: str, *, dropped: bool, count: int = 4):
    """Clean documents that a method never kept, or dirt that it did, as texts to read."""
    from w2s_lab.reading import Texts

    share = result.chosen(method)
    missed = (share == 0) & (result.on_offer > 0)
    wanted = result.clean & missed if dropped else ~result.clean & (share > 0)
    order = np.argsort(share if dropped else -share, kind="stable")
    found = [i for i in order if wanted[i]]
    # one of each kind before a second one of any
    kind = result.kinds[found]
    turn = {i: int((kind[:n] == kind[n]).sum()) for n, i in enumerate(found)}
    found = sorted(found, key=lambda i: turn[i])[:count]
    what = "clean and never kept" if dropped else "dirt that was kept"
    title = f"{method}: {what}, {int(wanted.sum())} in all"
    rows = tuple(
        (str(result.kinds[i]), textwrap.shorten(result.texts[i], SHOWN, placeholder=" …"))
        for i in found
    )
    return Texts(title, rows)


def as_dict(result: "FilterResult") -> dict[str, Any]:
    """The result as plain values for JSON; nan and infinity become None.

    First the keys that every lab shares: here the floor is the random choice ("weak") and the
    ceiling the oracle's.
    """

    def scored(name: str) -> dict[str, Any]:
        value = result.score(name).as_dict()
        return {"score": value["value"], "interval": {k: value[k] for k in ("low", "high")}}

    def chosen(name: str) -> dict[str, Any]:
        return {"clean": result.precision(name), "kept": result.recall(name)}

    return plain(
        {
            "task": result.task,
            "size": result.size,
            "device": result.device,
            "seeds": result.seeds,
            "baselines": {name: result.score(name).value for name in result.baselines},
            "weak": scored(FLOOR),
            "ceiling": scored(ORACLE),
            "methods": {
                name: scored(name) | {"pgr": result.recovered(name).as_dict()} | chosen(name)
                for name in result.methods
            },
            "seconds": result.seconds,
            "models": {"weak": result.weak, "strong": result.strong},
            "labels": result.labels,
            "fraction": result.fraction,
            "metric": result.metric,
            "floor": FLOOR,
            "oracle": ORACLE,
            "cost": {"flops": result.facts["flops"], "seconds": result.facts["seconds"]},
            "provenance": result.provenance,
        }
    )
