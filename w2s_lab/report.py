"""`Result` → every number once with its interval, as a table that reads itself aloud, and as JSON.

It neither trains nor draws; `plots` draws the same `Summary`.
What is told beside PGR follows Burns et al. 2023, section 5, plus the baselines they leave out.
"""

import html
import json
import os
import tempfile
import textwrap
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_lab.errors import W2SError
from w2s_lab.metrics import Agreement, Estimate

if TYPE_CHECKING:
    from w2s_lab.experiment import Result

WIDTH = 100  # columns of a terminal
HEADER = ("", "score [95 % interval]", "PGR [95 % interval]", "imitated", "corrected", "new errors")


@dataclass(frozen=True)
class Summary:
    """What follows from a result, resampled once: table, JSON and figures all read from here.

    Attributes:
        scores: by name, of all that was predicted.
        pgr, agreement: by method.
        mended: by method, the share of the weak model's errors that the student corrects.
        calibration: expected calibration error of weak, ceiling and methods. The baselines have
            none: a majority and a similarity are no probabilities.
        gap: the ceiling's lead over the weak model, which PGR divides by.
        ahead: lead over the best method, for each baseline that no method beats.
        ranked: the methods, the highest score first.
    """

    scores: Mapping[str, Estimate]
    pgr: Mapping[str, Estimate]
    agreement: Mapping[str, Agreement]
    mended: Mapping[str, float]
    calibration: Mapping[str, float]
    gap: Estimate
    ahead: Mapping[str, Estimate]
    ranked: tuple[str, ...]


def summarize(result: "Result") -> Summary:
    """The summary of a result, computed at the first call and kept with the result."""
    kept = vars(result)  # where `cached_property` keeps its values, too
    if "_summary" not in kept:
        kept["_summary"] = _summary(result)
    return kept["_summary"]


def _summary(result: "Result") -> Summary:
    scores = {name: result.score(name) for name in result.probs}
    ranked = sorted(result.methods, key=lambda name: -scores[name].value)
    best = ranked[0]
    wrong = float((result.predicted("weak") != result.gold).mean())
    agreement = {name: result.agreement(name) for name in ranked}
    return Summary(
        scores=scores,
        pgr={name: result.pgr(name) for name in ranked},
        agreement=agreement,
        mended={n: a.corrected / wrong if wrong else np.nan for n, a in agreement.items()},
        calibration={n: result.calibration_error(n) for n in ("weak", "ceiling", *ranked)},
        gap=result.lead("ceiling", over="weak"),
        ahead={
            name: result.lead(name, over=best)
            for name in result.baselines
            if scores[name].value >= scores[best].value
        },
        ranked=tuple(ranked),
    )


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of text under a header, in groups: baselines, weak model, methods, ceiling.

    Attributes:
        title: what was run, on how many items.
        groups: rows, each a tuple as long as `header`; a rule is drawn between two groups.
        notes: what the numbers say, a sentence each; a warning starts with "Warning: ".
        header: names of the columns.
        left: how many columns, from the first on, hold words and keep to the left.
    """

    title: str
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    notes: tuple[str, ...]
    header: tuple[str, ...] = HEADER
    left: int = 3

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """All rows, in reading order."""
        return tuple(row for group in self.groups for row in group)

    def __str__(self) -> str:
        columns = zip(self.header, *self.rows, strict=True)
        widths = [max(len(text) for text in column) for column in columns]

        def line(row: tuple[str, ...]) -> str:
            pairs = zip(row, widths, strict=True)
            return "  ".join(
                f"{t:{w}}" if k < self.left else f"{t:>{w}}" for k, (t, w) in enumerate(pairs)
            )

        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [*textwrap.wrap(self.title, WIDTH), "", line(self.header)]
        for group in self.groups:
            lines += [rule, *map(line, group)]
        told = [part for note in self.notes for part in textwrap.wrap(note, WIDTH)]
        return "\n".join(text.rstrip() for text in [*lines, rule, "", *told])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in self.header[1:])
        bodies = ""
        for group in self.groups:
            rows = ""
            for name, *cells in group:
                told = "".join(f"<td>{html.escape(text)}</td>" for text in cells)
                rows += f'<tr><th scope="row">{html.escape(name)}</th>{told}</tr>'
            bodies += f"<tbody>{rows}</tbody>"
        notes = ""
        for note in self.notes:
            kind, colon, rest = html.escape(note).partition("Warning: ")
            notes += f"<li><strong>{colon}</strong>{rest}</li>" if colon else f"<li>{kind}</li>"
        return (
            f"<table><caption>{html.escape(self.title)}</caption>"
            f'<thead><tr><th scope="col">what</th>{head}</tr></thead>{bodies}</table>'
            f"<ul>{notes}</ul>"
        )


def table(result: "Result") -> Table:
    """Baselines, weak model, methods by score and ceiling with intervals, and what they say."""
    told = summarize(result)

    def row(name: str) -> tuple[str, ...]:
        return (name, str(told.scores[name]), "", "", "", "")

    def method_row(name: str) -> tuple[str, ...]:
        seen = told.agreement[name]
        shares = (seen.with_supervisor_wrong, told.mended[name], 1 - seen.with_supervisor_right)
        percents = ("-" if np.isnan(share) else f"{100 * share:.0f} %" for share in shares)
        return (name, str(told.scores[name]), str(told.pgr[name]), *percents)

    title = (
        f"{result.task} (size {result.size}): {result.metric.replace('_', ' ')} on "
        f"{len(result.gold):,} test items, {counted(result.seeds, 'seed')}; weak = {result.weak} "
        f"with {counted(result.labels, 'gold label')}, student and ceiling = {result.strong}"
    )
    groups = (
        tuple(row(name) for name in result.baselines),
        (row("weak"),),
        tuple(method_row(name) for name in told.ranked),
        (row("ceiling"),),
    )
    return Table(title, tuple(group for group in groups if group), tuple(_notes(result, told)))


def _notes(result: "Result", told: Summary) -> list[str]:
    notes = [
        "imitated, corrected: shares of the weak model's errors that a student repeats or mends; "
        "new errors: share of the weak model's right answers that it gets wrong.",
        f"The gap from weak to ceiling is {told.gap}.",
    ]
    above = [name for name in told.ranked if told.pgr[name].low > 0]
    below = [name for name in told.ranked if told.pgr[name].high < 0]
    if not any(pgr.defined for pgr in told.pgr.values()):
        notes.append("PGR is undefined: the ceiling does not beat the weak model.")
    elif not told.gap.excludes(0):
        notes.append("The gap may be 0, so no PGR over it is bounded.")
    else:
        if above:
            notes.append(f"PGR above 0 with its whole interval: {', '.join(above)}.")
        else:
            notes.append(
                "No student's PGR interval lies above 0: none is shown to beat its teacher."
            )
        if below:
            notes.append(f"PGR below 0 with its whole interval: {', '.join(below)}.")
    if len(told.ranked) > 1:
        notes.append(
            f"The best of {len(told.ranked)} methods is picked by the very scores shown here, "
            "which flatters it."
        )
    notes += [f"Warning: {text}" for text in _warnings(result, told)]
    weak, strong = (
        f"{short(cost['seconds'])} s ({short(cost['flops'] / 1e9)} GFLOP)"
        for cost in (result.cost["weak"], result.cost["strong"])
    )
    notes.append(f"1,000 labels cost {weak} with the weak model, {strong} with the strong one.")
    return notes


def _warnings(result: "Result", told: Summary) -> list[str]:
    same = f"the same {counted(result.labels, 'gold label')}"
    in_words = {
        "majority": "Always answering the majority class",
        "bag of words": f"A bag of words on {same}",
        "strong zero-shot": "The strong model without any training (zero-shot)",
        "strong on gold labels": f"The strong model trained on {same}",
    }
    warnings = []
    for name, lead in told.ahead.items():
        what, score = in_words.get(name, name), f"{told.scores[name].value:.2f}"
        verdict = (
            f"better than any student, by {lead}" if lead.value > 0 else "no student is better"
        )
        warnings.append(f"{what} scores {score}: {verdict}.")
    zero_shot = "strong zero-shot"
    if zero_shot in told.scores and zero_shot not in told.ahead:
        untrained = told.scores[zero_shot].value
        worse = [name for name in told.ranked if told.scores[name].value < untrained]
        if worse:
            warnings.append(
                f"Worse than the strong model without any training: {', '.join(worse)}."
            )
    return warnings


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def short(number: float) -> str:
    """Two significant digits, without an exponent where it can be helped."""
    return f"{float(f'{number:.2g}'):,g}"


def as_dict(result: "Result") -> dict[str, Any]:
    """The result as plain values for JSON; nan and infinity become None.

    First the keys that every lab shares, then what only this one has. Two runs with one seed
    agree in all but "seconds" and the measured "seconds" within "cost".
    """
    told = summarize(result)

    def scored(name: str) -> dict[str, Any]:
        value = told.scores[name].as_dict()
        return {"score": value["value"], "interval": {k: value[k] for k in ("low", "high")}}

    methods = {
        name: scored(name)
        | {"pgr": told.pgr[name].as_dict(), "agreement": asdict(told.agreement[name])}
        for name in result.methods
    }
    return plain(
        {
            "task": result.task,
            "size": result.size,
            "device": result.device,
            "seeds": result.seeds,
            "baselines": {name: told.scores[name].value for name in result.baselines},
            "weak": scored("weak"),
            "ceiling": scored("ceiling"),
            "methods": methods,
            "seconds": result.seconds,
            "models": {"weak": result.weak, "strong": result.strong},
            "labels": result.labels,
            "metric": result.metric,
            "gap": told.gap.as_dict(),
            "calibration": {n: told.calibration[n] for n in ("weak", "ceiling", *result.methods)},
            "pool": result.pool,
            "cost": result.cost,
            "provenance": result.provenance,
        }
    )


def plain(value: Any) -> Any:
    """The value made of dicts, lists, strings, finite numbers, booleans and None only."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)  # the order of a set differs from run to run
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


def write_json(result: Any, path: str | Path) -> None:
    """Writes `to_dict()` of a result of any lab to a file, whole or not at all.

    Raises:
        W2SError: a path where no file can be written.
    """
    content = json.dumps(result.to_dict(), indent=2, allow_nan=False)
    write_whole(path, f"{content}\n".encode())


def write_whole(path: str | Path, content: bytes) -> None:
    """Puts a file in place by one rename, so that nobody ever reads half of it.

    Raises:
        W2SError: a path where no file can be written, or a full disk.
    """
    target = writable(path)
    part = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(content)
        os.replace(part, target)
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        raise W2SError(what, where=str(path), mend="free some space or choose another") from error
    finally:
        part.unlink(missing_ok=True)


def writable(path: str | Path, suffix: str = "") -> Path:
    """Where a file can be put, links followed; asked before long work, it saves the work.

    Args:
        suffix: how the name has to end.

    Raises:
        W2SError: a folder, a device, a missing folder, one that cannot be written, another ending.
    """

    def stop(what: str, mend: str) -> W2SError:
        return W2SError(what, where=repr(str(path)), mend=mend)

    target = Path(os.path.realpath(os.path.expanduser(path)))
    try:
        if target.is_dir():
            raise stop("is a folder", "name a file in it")
        if target.suffix.lower() != suffix and suffix:
            raise stop("has another ending", f"let the name end in {suffix}")
        if target.exists() and not target.is_file():
            raise stop("is not an ordinary file", "name another")
        if not target.parent.is_dir():
            raise stop("is in a folder that does not exist", "make the folder first")
        if target.exists() and not os.access(target, os.W_OK):
            raise stop("cannot be written (it is read-only)", "name another file")
        tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise stop(f"cannot be written ({error.strerror})", "name a file elsewhere") from error
    return target
