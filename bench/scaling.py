"""The whole scaling study: its tables go into docs/scaling.md, its figures into docs/figures.

It measures no times. Trunk states and finished runs are remembered, so a run that was broken off
goes on where it stopped.

Run: python bench/scaling.py          (a quarter of an hour the first time on 2 cores)
     python bench/scaling.py --check  (exit status 1 if the page is out of date)
"""

import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import w2s_lab as w2s
from w2s_lab import plots, scaling, scaling_plots
from w2s_lab.experiment import Result

DOCS = Path(__file__).parent.parent / "docs"
PAGE, FIGURES = DOCS / "scaling.md", DOCS / "figures"
BEGIN, END = "<!-- measured: {} -->", "<!-- /measured: {} -->"


def ladders(task) -> dict[str, dict[str, dict[str, Result]]]:
    """By trunk: the ladder. By labels: the first supervisor with few, more and all gold labels."""
    counts = (task.labels, scaling.LABELS[-1], len(task.splits["supervise"]))
    (first, *_) = scaling.SUPERVISORS
    by_labels = {
        f"{first}, {count} labels": scaling.ladder(task, supervisors=(first,), labels=count)[first]
        for count in counts
    }
    return {"trunks": scaling.ladder(task), "strengths": by_labels}


def ladder_table(ladder: Mapping[str, Mapping[str, Result]]) -> str:
    """Every pair: scores, PGR and agreement, as Markdown."""
    lines = [
        "| supervisor | its score | student | MFLOP/token | ceiling | naive | confidence "
        "| PGR naive | PGR confidence | student on the same gold |",
        "|---|---|---|---:|---|---|---|---|---|---|",
    ]
    for weak, row in ladder.items():
        for strong, result in row.items():
            scores = [str(result.score(name)) for name in ("ceiling", *scaling.METHODS)]
            pgr = [str(result.pgr(name)) for name in scaling.METHODS]
            own = str(result.score("strong on gold labels"))
            size = f"{scaling.per_token(result) / 1e6:.1f}"
            first = [weak, str(result.score("weak")), strong, size]
            lines.append("| " + " | ".join([*first, *scores, *pgr, own]) + " |")
    return "\n".join(lines)


def trend_table(ladder: Mapping[str, Mapping[str, Result]]) -> str:
    """By how much each measure changes per doubling of the student's compute, as Markdown."""
    measures = ("score", "pgr", "agreement", "where right", "where wrong")
    lines = [
        "| supervisor | method | " + " | ".join(measures) + " |",
        "|---|---|" + "---|" * len(measures),
    ]
    for weak, row in ladder.items():
        along = scaling.by_compute(row)
        if len(along) < 2:
            continue
        for name in scaling.METHODS:
            found = [scaling_plots.change(scaling.trend(along, name, m)) for m in measures]
            lines.append(f"| {weak} | {name} | " + " | ".join(found) + " |")
        found = [scaling_plots.change(scaling.trend(along, "ceiling", "score"))]
        lines.append(f"| {weak} | ceiling | " + " | ".join(found + [""] * 4) + " |")
    return "\n".join(lines)


def agreement_table(ladder: Mapping[str, Mapping[str, Result]]) -> str:
    """Student–supervisor agreement by pair and method, as Markdown."""
    measures = ("agreement", "where right", "where wrong")
    heads = [f"{name}: {m}" for name in scaling.METHODS for m in measures]
    lines = [
        "| supervisor | student | " + " | ".join(heads) + " |",
        "|---|---|" + "---|" * len(heads),
    ]
    for weak, row in ladder.items():
        for strong, result in row.items():
            found = [
                str(scaling.measured(result, name, m)) for name in scaling.METHODS for m in measures
            ]
            lines.append(f"| {weak} | {strong} | " + " | ".join(found) + " |")
    return "\n".join(lines)


def amount_table(results: Mapping[int, Result], counted: str) -> str:
    """Scores and PGR by the number of texts or labels, and their trends, as Markdown."""
    lines = [
        f"| {counted} | weak | ceiling | naive | confidence | PGR naive | PGR confidence |",
        "|---:|---|---|---|---|---|---|",
    ]
    names = ("weak", "ceiling", *scaling.METHODS)
    for count, result in results.items():
        found = [str(result.score(name)) for name in names]
        found += [str(result.pgr(name)) for name in scaling.METHODS]
        lines.append(f"| {count} | " + " | ".join(found) + " |")
    found = [scaling_plots.change(scaling.trend(results, name, "score")) for name in names]
    found += [scaling_plots.change(scaling.trend(results, name)) for name in scaling.METHODS]
    return "\n".join([*lines, "| per doubling | " + " | ".join(found) + " |"])


def study() -> tuple[dict[str, str], dict[str, Callable]]:
    """Tables by name, and what draws each figure, by its file's name."""
    task = w2s.load_task("indemnity", size="lab")
    by = ladders(task)
    texts, labels = scaling.by_transfer(task), scaling.by_labels(task)
    tables = {"texts": amount_table(texts, "texts"), "labels": amount_table(labels, "labels")}
    drawn: dict[str, Callable] = {
        "scaling-texts": partial(scaling_plots.amount, texts, "transfer texts"),
        "scaling-texts-score": partial(scaling_plots.amount, texts, "transfer texts", "score"),
        "scaling-labels": partial(scaling_plots.amount, labels, "gold labels"),
        "scaling-labels-score": partial(scaling_plots.amount, labels, "gold labels", "score"),
    }
    for kind, ladder in by.items():
        tables[f"ladder {kind}"] = ladder_table(ladder)
        tables[f"trends {kind}"] = trend_table(ladder)
        tables[f"agreement {kind}"] = agreement_table(ladder)
        row = next(iter(ladder.values()))
        for method in scaling.METHODS:
            end = f"{kind}-{method}"
            drawn[f"scaling-sizes-{end}"] = partial(scaling_plots.sizes, ladder, method)
            drawn[f"scaling-pgr-{end}"] = partial(scaling_plots.recovered, ladder, method)
            drawn[f"scaling-agreement-{end}"] = partial(scaling_plots.agreement, row, method)
        drawn[f"scaling-methods-{kind}"] = partial(scaling_plots.methods, row)
    return tables, drawn


def updated(page: str, tables: Mapping[str, str], alts: Mapping[str, str]) -> str:
    """The page with each measured part and each figure's words replaced."""
    for name, table in tables.items():
        start, end = BEGIN.format(name), END.format(name)
        block = f"{start}\n{table}\n{end}"
        page = re.sub(f"{start}.*?{end}", _plain(block), page, flags=re.DOTALL)
    for name, alt in alts.items():
        shown = f"![{alt.replace('[', '(').replace(']', ')')}](figures/{name}.png)"
        page = re.sub(rf"!\[[^\]]*\]\(figures/{name}\.png\)", _plain(shown), page)
    return page


def _plain(text: str) -> str:
    """The text as `re.sub` takes it literally."""
    return text.replace("\\", r"\\")


if __name__ == "__main__":
    started = time.perf_counter()
    tables, drawn = study()
    old = PAGE.read_text(encoding="utf-8")
    figures = {name: draw() for name, draw in drawn.items() if f"(figures/{name}.png)" in old}
    new = updated(old, tables, {name: figure.alt for name, figure in figures.items()})
    if "--check" in sys.argv:
        sys.exit(f"{PAGE.name} is out of date; run it without --check" if new != old else 0)
    FIGURES.mkdir(exist_ok=True)
    for name, figure in figures.items():
        plots.save(figure, FIGURES / f"{name}.png")
    PAGE.write_text(new, encoding="utf-8")
    print(f"{len(tables)} tables and {len(figures)} figures, {time.perf_counter() - started:.0f} s")
