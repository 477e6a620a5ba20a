"""Seconds and prices of work: costs fitted to measurements, and what another machine would take.

It measures nothing (bench/costs.py does) and loads no model; `works` counts what there is to do.
Source: least squares of relative errors, no cost below 0 (Lawson and Hanson 1974, chapter 23).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_lab.errors import W2SError
from w2s_lab.metrics import Estimate
from w2s_lab.shown import Shown
from w2s_lab.works import ARITHMETIC, ON_DEVICE, TERMS, WORDS, Work

if TYPE_CHECKING:
    from w2s_lab.report import Table

RESAMPLES = 500
WITHIN = 0.95  # of the resamples lie in a range


@dataclass(frozen=True)
class Measurement:
    """What a work took here: seconds, and by how many megabytes the process grew meanwhile."""

    work: Work
    seconds: float
    megabytes: float = math.nan


def _key(work: Work, term: str) -> str:
    """A coefficient's name: arithmetic is each model's own, the host's work the same for all."""
    return f"{work.family} {term}" + (f" {work.model}" if term in ARITHMETIC else "")


@dataclass(frozen=True, repr=False)
class CostModel(Shown):
    """Seconds as a sum of amounts, each times its coefficient.

    Attributes:
        coefficients: seconds for one more of each term, by family and term, and model.
        resampled: the same, fitted to resampled measurements, arrays of shape (resamples,).
        rate: operations per second of the machine's own matrix product, in single precision.
    """

    coefficients: Mapping[str, float]
    resampled: Mapping[str, np.ndarray]
    rate: float

    def seconds(self, work: Work) -> Estimate:
        """Of a work on the machine of the fit, with the range over resampled measurements.

        Raises:
            W2SError: nothing of this kind and model was measured.
        """
        draws = sum(self.parts(work, self.resampled).values())
        return _ranged(sum(self.parts(work).values()), draws, draws)

    def parts(self, work: Work, coefficients: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Seconds of each term."""
        coefficients = self.coefficients if coefficients is None else coefficients
        found = {}
        for term in TERMS[work.family]:
            if amount := work.amounts.get(term, 0.0):
                if _key(work, term) not in coefficients:
                    mend = "measure it, or give the machine a share of its rate"
                    raise W2SError(
                        f"no measurement of {_key(work, term)}", where=work.name, mend=mend
                    )
                found[term] = coefficients[_key(work, term)] * amount
        return found

    def share(self, family: str, model: str) -> float:
        """What that work's products with weights reach of the machine's matrix product, 0 to 1.

        Infinite where the fit finds no cost in them beside the other terms.
        """
        seconds = self.coefficients[f"{family} flops {model}"]
        return 1 / (seconds * self.rate) if seconds else math.inf

    def table(self) -> "Table":
        """Every coefficient with its range; of arithmetic, the rate that it comes to."""
        from w2s_lab.report import Table

        rows = []
        for name, seconds in self.coefficients.items():
            family, term, *model = name.split(" ")
            known = _ranged(seconds, self.resampled[name], self.resampled[name])
            unit, scale = ("s", 1.0) if term == "start" else ("µs each", 1e6)
            unit, scale = ("s for 1e12", 1e12) if term in ARITHMETIC else (unit, scale)
            at = ""
            if term == "flops":
                share = self.share(family, *model)
                at = f"{100 * share:.0f} %" if share < math.inf else "not told apart"
            cells = (family, WORDS[term], *(model or ("",)), f"{shown(known, scale)} {unit}", at)
            rows.append(cells)
        header = ("work", "term", "model", "cost [range]", "of the matrix rate")
        note = f"The machine's own matrix product: {self.rate / 1e9:,.0f} GFLOP/s."
        return Table("Fitted costs", (tuple(rows),), (note,), header, 3)


def fit(measurements: Sequence[Measurement], rate: float, *, seed: int = 0) -> CostModel:
    """The coefficients, none below 0, with the least squares of relative errors.

    Families are fitted apart. Ranges come from measurements resampled within each family and model
    (Efron 1979); they know nothing of what the terms leave out. Tokens and operations of one model
    grow together, and so do bytes of token states: only a model without blocks, such as static,
    with states both pooled and kept for each token, tells the host's work from operations.

    Args:
        rate: operations per second of a matrix product on the same machine.

    Raises:
        W2SError: none at all, a time that is not above 0, fewer sizes than terms of a family.
    """
    if not measurements or not 0 < rate < math.inf:
        what = f"{len(measurements)} measurements, a rate of {rate:g}"
        raise W2SError(what, where="fit", mend="give some, and a rate above 0")
    for one in measurements:
        if not 0 < one.seconds < math.inf:
            raise W2SError(f"{one.seconds} seconds", where=one.work.name, mend="measure it again")
    rng = np.random.default_rng(seed)
    found: dict[str, float] = {}
    drawn: dict[str, np.ndarray] = {}
    for family in dict.fromkeys(one.work.family for one in measurements):
        mine = [one for one in measurements if one.work.family == family]
        terms = [t for t in TERMS[family] if any(one.work.amounts.get(t) for one in mine)]
        used = {_key(m.work, t): 0 for t in terms for m in mine if m.work.amounts.get(t)}
        sizes = {tuple(sorted(one.work.amounts.items())) for one in mine}
        if len(sizes) < len(used):
            what = f"{len(sizes)} sizes for {len(used)} coefficients"
            raise W2SError(what, where=family, mend="measure more sizes")
        rows = np.array([_row(one, terms, list(used)) for one in mine])
        groups = np.array([one.work.model for one in mine])
        draws = []
        for _ in range(RESAMPLES):
            parts = [np.flatnonzero(groups == model) for model in sorted({*groups})]
            draws.append(_solve(rows[np.concatenate([rng.choice(p, len(p)) for p in parts])]))
        found |= dict(zip(used, _solve(rows).tolist(), strict=True))
        drawn |= dict(zip(used, np.array(draws).T, strict=True))
    return CostModel(found, drawn, rate)


def _row(one: Measurement, terms: Sequence[str], keys: Sequence[str]) -> np.ndarray:
    """The work's amounts by key, each over its seconds: the fit wants their sum to be 1."""
    row = np.zeros(len(keys))
    for term in terms:
        if amount := one.work.amounts.get(term):
            row[keys.index(_key(one.work, term))] = amount / one.seconds
    return row


def _solve(rows: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    scale = np.maximum(rows.max(0), 1e-300)  # operations are many, starts are few
    return nnls(rows / scale, np.ones(len(rows)))[0] / scale


def errors(model: CostModel, measurements: Sequence[Measurement]) -> dict[str, Estimate]:
    """Predicted over measured, less 1: the median of each work's repeats, lowest and highest."""
    found: dict[str, list[float]] = {}
    for one in measurements:
        error = model.seconds(one.work).value / one.seconds - 1
        found.setdefault(one.work.name, []).append(error)
    return {n: Estimate(float(np.median(e)), min(e), max(e)) for n, e in found.items()}


def load(path: str | Path) -> CostModel:
    """The model fitted to measurements that bench/costs.py wrote.

    Raises:
        W2SError: no such file, or something else in it.
    """
    try:
        kept = json.loads(Path(path).read_text("utf-8"))
        measured = [Measurement(Work(**row.pop("work")), **row) for row in kept["fit"]]
        rate = float(kept["rate"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        mend = "write it with `python bench/costs.py`"
        raise W2SError(f"no measurements ({error})", where=str(path), mend=mend) from error
    return fit(measured, rate)


# --- prices ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """Where a work is to be priced.

    Attributes:
        rate: operations per second of one device's matrix product.
        share: of it that a work reaches, lowest and highest; None takes what it reached where the
            costs were fitted.
        dispatch: seconds to send one block to the device, lowest and highest, in place of the
            fixed cost of steps; None keeps that as fitted. It is added, though a device may compute
            meanwhile: a bound from above.
        devices: side by side, each with a part of the texts.
        serial: share of the devices' time that more of them do not shorten (Amdahl 1967). The
            host's work they do not shorten at all.
        hourly: price of one device for an hour; watts: power of one.
        basis: where the numbers come from.
    """

    name: str
    rate: float
    share: tuple[float, float] | None = None
    dispatch: tuple[float, float] | None = None
    devices: int = 1
    serial: float = 0.0
    hourly: float | None = None
    watts: float | None = None
    basis: str = field(default="rate given, shares as fitted", compare=False)

    def __post_init__(self):
        low, high = self.share or (1.0, 1.0)
        least, most = self.dispatch or (0.0, 0.0)
        for what, good in (
            (f"a rate of {self.rate:g}", 0 < self.rate < math.inf),
            (f"a share from {low:g} to {high:g}", 0 < low <= high <= 1),
            (f"a dispatch from {least:g} to {most:g} s", 0 <= least <= most < math.inf),
            (f"{self.devices} devices", self.devices >= 1 and self.devices == int(self.devices)),
            (f"a serial share of {self.serial:g}", 0 <= self.serial <= 1),
            (f"a price of {self.hourly}", self.hourly is None or 0 <= self.hourly < math.inf),
            (f"a power of {self.watts}", self.watts is None or 0 <= self.watts < math.inf),
        ):
            if not good:
                mend = "give one in its range, the lowest first"
                raise W2SError(what, where=self.name, mend=mend)

    @property
    def speedup(self) -> float:
        """How many times faster all devices do their part than one: Amdahl's law."""
        # the host's work is no part of it, see `_on`
        return 1 / (self.serial + (1 - self.serial) / self.devices)


# NVIDIA H100 SXM data sheet: 989 TFLOP/s in bfloat16, dense, up to 700 W. Assumed, not measured:
# the share (0.03 is half of its 67 TFLOP/s in single precision, in which smollm2 writes; the best
# published for large models are 0.38 to 0.46, Grattafiori et al. 2024, table 4, and Chowdhery et
# al. 2022, table 3) and a block's ten to fifteen operations at 10 to 30 µs each.
ONE_GPU = Machine(
    name="one GPU",
    rate=989e12,
    share=(0.03, 0.3),
    dispatch=(1e-4, 5e-4),
    watts=700.0,
    basis="assumed: data sheet of an H100 SXM, 3 to 30 % of it, 0.1 to 0.5 ms a block",
)
EIGHT_GPUS = replace(
    ONE_GPU,
    name="eight GPUs",
    devices=8,
    serial=0.05,
    basis="assumed: as one GPU, one host, 5 % of the devices' time serial",
)


def laptop(model: CostModel) -> Machine:
    """The machine on which the costs were fitted."""
    return Machine("one laptop", model.rate, basis="measured here")


@dataclass(frozen=True)
class Stage:
    """One work's part of a price: hours with their range, hours of each term, bytes if kept."""

    name: str
    hours: Estimate
    parts: Mapping[str, float]
    disk: float
    memory: float

    @property
    def dominates(self) -> str:
        """The largest term and its share."""
        term = max(self.parts, key=lambda t: self.parts[t])
        return f"{WORDS[term]}, {self.parts[term] / sum(self.parts.values()):.0%}"


@dataclass(frozen=True, repr=False)
class Price(Shown):
    """Stages, their sum in hours, and money and kWh where the machine has a price and a power."""

    machine: Machine
    stages: tuple[Stage, ...]
    hours: Estimate
    money: Estimate | None
    kwh: Estimate | None

    def table(self) -> "Table":
        """Hours of each stage, what most of them go into, and bytes if all is kept."""
        from w2s_lab.report import Table

        rows = [(s.name, shown(s.hours), s.dominates, size(s.disk)) for s in self.stages]
        total = ("all", shown(self.hours), "", size(sum(s.disk for s in self.stages)))
        notes = [f"{self.machine.basis[0].upper()}{self.machine.basis[1:]}."]
        if self.money is not None:
            notes.append(f"Money: {shown(self.money)}.")
        if self.kwh is not None:
            notes.append(f"Energy of the devices: {shown(self.kwh)} kWh.")
        header = ("stage", "hours [range]", "most of it", "disk, if kept")
        return Table(f"On {self.machine.name}", (tuple(rows), (total,)), tuple(notes), header, 1)


def price(works: Sequence[Work], machine: Machine, model: CostModel) -> Price:
    """What works one after another take on a machine.

    Arithmetic scales with the machine's rate, and more devices share it and its steps; the host's
    work takes as long as where it was measured, however many there are. A range
    covers resampled measurements and the machine's own ranges; the value lies at their geometric
    middle.

    Raises:
        W2SError: no work, or one of a kind and model that was not measured.
    """
    if not works:
        raise W2SError("no work to price", where="price", mend="give one or more")
    stages, ends = [], []
    for work in works:
        parts = _on(work, machine, model, model.coefficients, 0.5)
        # the best end of the machine's ranges, then the worst; arrays of shape (resamples,)
        both = [sum(_on(work, machine, model, model.resampled, e).values()) for e in (0.0, 1.0)]
        both = [np.broadcast_to(np.asarray(b, float), (RESAMPLES,)) for b in both]
        hours = _ranged(sum(parts.values()), *both)
        stages.append(Stage(work.name, hours, parts, work.disk, work.memory))
        ends.append(both)
    best, worst = (sum(e[k] for e in ends) for k in (0, 1))
    total = _ranged(sum(s.hours.value for s in stages), best, worst)

    def times(each: float | None) -> Estimate | None:
        if each is None:
            return None
        return Estimate(*(each * machine.devices * h for h in vars(total).values()))

    watts = machine.watts
    kwh = times(None if watts is None else watts / 1000)
    return Price(machine, tuple(stages), total, times(machine.hourly), kwh)


def _on(work: Work, machine: Machine, model: CostModel, coefficients, end: float) -> dict[str, Any]:
    """Hours of each term on a machine, `end` of the way from its best numbers to its worst."""
    known = dict(coefficients)
    if machine.share is not None:
        # anything may be priced then, measured or not
        known |= {
            _key(work, t): 1 / (machine.rate * _at(machine.share, 1 - end)) for t in ARITHMETIC
        }
    else:
        own = {_key(work, t) for t in ARITHMETIC} & {*known}
        known |= {key: known[key] * model.rate / machine.rate for key in own}
    counted = work
    if machine.dispatch is not None:
        counted = replace(work, amounts={**work.amounts, "steps": 0.0})
    parts = model.parts(counted, known)
    if machine.dispatch is not None:
        parts["dispatches"] = work.amounts.get("dispatches", 0.0) * _at(machine.dispatch, end)
    faster = dict.fromkeys(ON_DEVICE, machine.speedup)
    return {term: seconds / faster.get(term, 1) / 3600 for term, seconds in parts.items()}


def _at(ends: tuple[float, float], share: float) -> float:
    """Part of the way between two numbers, on a logarithmic scale."""
    low, high = ends
    return low if share == 0 or low == high else low ** (1 - share) * high**share


def _ranged(value: Any, best, worst) -> Estimate:
    """A value with the range from the low end of `best` to the high end of `worst`."""
    tail = (1 - WITHIN) / 2
    low, high = float(np.quantile(best, tail)), float(np.quantile(worst, 1 - tail))
    return Estimate(float(value), min(low, float(value)), max(high, float(value)))


def shown(e: Estimate, scale: float = 1.0) -> str:
    """A value with its range, in three digits."""
    return "{} [{}, {}]".format(*(_digits(scale * x) for x in (e.value, e.low, e.high)))


def _digits(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def size(count: float) -> str:
    """Bytes as people say them, 0 as nothing.

    >>> size(1.27e12)
    '1.27 TB'
    """
    for unit, each in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= each:
            return f"{_digits(count / each)} {unit}"
    return f"{count:.0f} B" if count else "–"
