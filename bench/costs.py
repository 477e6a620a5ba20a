"""How cost grows with work: measured at four sizes, fitted, tested on a fifth, priced elsewhere.

    python bench/costs.py            # seven minutes; writes docs/costs.md and docs/costs.json
    python bench/costs.py --smoke    # some minutes, only printed, and too small to be believed
    python bench/costs.py --machine "my GPU" --rate 60e12 --hourly 2.5 --watts 400
                                     # measures nothing: prices for a machine of yours

Every work is real and starts from nothing but models and data: what the cache would give is deleted
before each measurement. Sizes differ in number and length of texts; the fifth is the largest. Turns
go round all works and sizes, so that a slow minute hits all alike.
"""

import argparse
import gc
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ |= {"W2S_QUIET": "1"}

import measuring
import numpy as np

from w2s_lab import costs, works
from w2s_lab.costs import Measurement
from w2s_lab.errors import W2SError
from w2s_lab.works import Texts, Work

ROOT = Path(__file__).resolve().parent.parent
PAGE, KEPT = ROOT / "docs" / "costs.md", ROOT / "docs" / "costs.json"
START, END = "<!-- figures of bench/costs.py -->", "<!-- end of the figures -->"
AIM = 0.2  # largest error at the fifth size
REPEATS = 2
SHORT, MIDDLE, LONG, ALL = (0, 0.5), (0.3, 0.7), (0.6, 1), (0, 1)  # quantiles of the lengths
# Four sizes to fit and the fifth to test, the last in each list
TOKENS = "static tokens"  # tells what states cost: no block, and a state for each token
CLAUSES = {  # clauses, and which of them
    "static": [(500, SHORT), (1500, MIDDLE), (1500, LONG), (4000, ALL), (10_000, ALL)],
    TOKENS: [(300, SHORT), (800, MIDDLE), (700, LONG), (2000, ALL), (5000, ALL)],
    "minilm": [(100, SHORT), (200, MIDDLE), (150, LONG), (400, ALL), (1000, ALL)],
    "smollm2": [(20, SHORT), (40, MIDDLE), (30, LONG), (70, ALL), (170, ALL)],
}
HEADS = [  # clauses, which, students
    *((300, SHORT, 5), (600, MIDDLE, 20), (500, LONG, 10)),
    *((1200, ALL, 15), (3000, ALL, 30)),
]
WRITING = [  # papers, characters, questions for each, tokens of an answer
    *((4, 600, 3, 8), (8, 600, 1, 24), (4, 1200, 3, 16)),
    *((6, 2400, 1, 12), (10, 2400, 3, 24)),
]
TUNING = [  # examples, tokens of a prompt, tokens of a target
    *((2, 64, 16), (4, 64, 16), (4, 128, 16)),
    *((2, 400, 24), (4, 400, 32)),
]
BUDGET = 256  # tokens of one step of tuning
EPOCHS = 12  # of heads, as in the task


@dataclass(frozen=True)
class Job:
    """One size of one work: what it amounts to, how to do it, and whether it is the fifth."""

    work: Work
    do: Callable[[], object]
    fifth: bool


def fewer(count: int, smoke: bool) -> int:
    """A twentieth of them, where it is only to be seen whether all works."""
    return max(2, count // 20) if smoke else count


# --- works ----------------------------------------------------------------------------------------


def clauses(name: str, smoke: bool) -> Iterator[Job]:
    """Labels by a head on static or minilm; by smollm2, token states alone. In `CLAUSES`."""
    from w2s_lab.features import BATCH_TOKENS, MAX_TOKENS, token_states
    from w2s_lab.heads import Heads, Inputs
    from w2s_lab.models import trunk

    model, pooled = name.partition(" ")[0], name == "static"
    reader = trunk(model, device="cpu")
    shape = {"static": works.STATIC, "minilm": works.MINILM, "smollm2": works.READER}[model]
    texts, lengths = _pool(reader, MAX_TOKENS)
    reader.blocks()  # loads the model

    scale = head = None
    if name != "smollm2":  # what a run has by then: a scale and trained heads
        first = token_states(reader, texts[:64], pool=pooled)
        scale = Inputs(first, np.arange(64), dim=None if pooled else 192, device="cpu")
        head = Heads(np.arange(5), scale.dim, 2, 0 if pooled else 4)

    for size, (count, band) in enumerate(CLAUSES[name]):
        chosen = _between(lengths, fewer(count, smoke), band)
        some = [texts[i] for i in chosen]

        def do(some=some):
            states = token_states(reader, some, pool=pooled)
            return head.predict(scale.like_these(states), np.arange(len(some))) if head else states

        amount, grown = Texts.of(lengths[chosen]), padded(lengths[chosen], BATCH_TOKENS["cpu"])
        named = f"{name}: {amount.items:,.0f} clauses, {amount.tokens:,.0f} tokens"
        work = works.read(shape, amount, padded=grown, pooled=pooled, name=named)
        yield Job(work, do, size == 4)


def heads(smoke: bool) -> Iterator[Job]:
    """Students on token states: those of static, which have as many numbers as minilm's."""
    from w2s_lab.features import MAX_TOKENS, token_states
    from w2s_lab.heads import BATCH, Inputs, Lessons, _shuffled, train
    from w2s_lab.models import trunk

    reader = trunk("static", device="cpu")
    texts, lengths = _pool(reader, MAX_TOKENS)
    for size, (count, band, students) in enumerate(HEADS):
        chosen = _between(lengths, fewer(count, smoke), band)
        states = token_states(reader, [texts[i] for i in chosen])
        items = np.arange(len(chosen))
        target = np.full((students, len(items), 2), 0.5)
        told = Lessons(
            target,
            np.ones(target.shape[:2]),
            np.zeros(students),
            np.full((students, 2), 0.5),
            np.arange(students),
        )

        def do(states=states, items=items, told=told):
            inputs = Inputs(states, items[: len(items) // 2], dim=192, device="cpu")
            return train(inputs, items, told, epochs=EPOCHS)

        amount = Texts.of(lengths[chosen])
        much = f"{amount.items:,.0f} clauses, {amount.tokens:,.0f} tokens"
        named = f"heads: {students} students, {much}"
        batches = _shuffled(lengths[chosen], BATCH, np.random.default_rng(0))
        padding = sum(len(b) * lengths[chosen][b].max() for b in batches) / amount.tokens
        work = works.train(amount, students=students, padding=padding, epochs=EPOCHS, name=named)
        yield Job(work, do, size == 4)


def writing(smoke: bool) -> Iterator[Job]:
    """Papers read and asked; no answer ends early, so that every amount is known beforehand."""
    from w2s_lab.data.papers import ASPECTS, QUESTIONS
    from w2s_lab.generate import READ_TOKENS, Prompts, Top, cut
    from w2s_lab.generate import write as written
    from w2s_lab.models import LanguageModel, language_model

    known = language_model("smollm2", device="cpu")
    lm = LanguageModel(known.name, known.folder, known.depth, known.device)
    vars(lm).update(model=known.model, tokenizer=known.tokenizer, key=known.key, end=-1)
    top, papers = Top(lm, lm.depth - 3, lm.depth), _papers()
    for size, (count, characters, questions, limit) in enumerate(WRITING):
        some = [cut(text, characters) for text in papers[: fewer(count, smoke)]]
        documents = [text for text in some for _ in range(questions)]
        asked = [QUESTIONS[aspect] for _ in some for aspect in ASPECTS[:questions]]

        def do(documents=documents, asked=asked, limit=limit):
            prompts = Prompts(lm, documents, asked)
            return written(top, prompts, range(len(asked)), limit=limit)

        prompts = Prompts(lm, documents, asked)
        lengths = np.array([len(ids) for ids in prompts._places[0]])
        amount = Texts.of(lengths)
        rest = np.mean([len(ids) for ids in prompts._rest])
        named = f"smollm2: {len(asked)} answers of {limit}, {amount.tokens:,.0f} tokens of papers"
        work = works.write(
            works.SMOLLM2,
            amount,
            padded=padded(lengths, READ_TOKENS),
            questions=questions,
            asked=float(rest),
            answer=limit,
            limit=limit,
            name=named,
        )
        yield Job(work, do, size == 4)


def tuning(smoke: bool) -> Iterator[Job]:
    """One epoch over examples of one length; the learning rate is next to nothing."""
    from transformers import AutoModelForCausalLM

    from w2s_lab.finetune import _steps_of, adapt, fit, target_loss
    from w2s_lab.models import language_model

    lm = language_model("smollm2", device="cpu")
    model = AutoModelForCausalLM.from_pretrained(lm.folder, dtype=lm.model.dtype).eval()
    model = adapt(model, "whole")
    words = lm.tokenizer(" ".join(_papers()), add_special_tokens=False)["input_ids"]
    for size, (count, prompt, target) in enumerate(TUNING):
        if smoke:
            count, prompt, target = 2, prompt // 8, target // 8
        rows = [words[i * (prompt + target) :][: prompt + target] for i in range(count)]
        prompts, targets = [row[:prompt] for row in rows], [row[prompt:] for row in rows]
        lengths, _ = target_loss(model, prompts, targets)

        def do(prompts=prompts, targets=targets):
            lengths, loss = target_loss(model, prompts, targets)
            return fit(model, lengths, loss, epochs=1, lr=1e-9, budget=BUDGET)

        amount = Texts.of(lengths)
        named = f"smollm2: {count} examples, {amount.tokens:,.0f} tokens"
        work = works.tune(works.SMOLLM2, amount, targets=count * target, name=named)
        steps = float(len(_steps_of(np.asarray(lengths), BUDGET, 1, 0, 0)))
        # as many steps as `fit` really takes: batches here are far from full
        yield Job(replace(work, amounts={**work.amounts, "steps": steps}), do, size == 4)


def padded(lengths: np.ndarray, budget: int) -> Texts:
    """The texts as long as the longest of their batches of so many tokens."""
    from w2s_lab.features import batches_of_like_length

    batches = batches_of_like_length(lengths, budget)
    return Texts.of(lengths[batch].max() for batch in batches for _ in batch)


def _pool(reader, longest: int) -> tuple[list[str], np.ndarray]:
    """The clauses of task `indemnity` and their lengths in tokens."""
    import w2s_lab as w2s

    texts = list(w2s.load_task("indemnity", size="lab").inputs)
    found = reader.tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
    return texts, np.array([len(ids) for ids in found])


def _between(lengths: np.ndarray, count: int, band: tuple[float, float]) -> np.ndarray:
    """So many texts, evenly from those whose length lies in that band of quantiles."""
    order = np.argsort(lengths, kind="stable")
    low, high = (int(end * (len(order) - 1)) for end in band)
    return np.sort(order[np.linspace(low, high, count).astype(int)])


def _papers() -> list[str]:
    """Abstracts and introductions of AclSum's training papers."""
    from w2s_lab.assets import fetch
    from w2s_lab.data.papers import tidy

    lines = (fetch("aclsum") / "train.jsonl").read_text("utf-8").strip().split("\n")
    sentences = [json.loads(line)["sentences"] for line in lines]
    return [tidy(" ".join(one["abstract"] + one["introduction"])) for one in sentences]


# --- measuring ------------------------------------------------------------------------------------


def jobs(smoke: bool) -> list[Job]:
    """Everything there is to measure; models are loaded by then."""
    found = [job for name in CLAUSES for job in clauses(name, smoke)]
    return [*found, *heads(smoke), *writing(smoke), *tuning(smoke)]


def measure(smoke: bool, cache: Path) -> tuple[list[Measurement], list[Measurement], dict]:
    """Measurements of the four sizes, of the fifth, and bytes on disk by work."""
    every, disk = jobs(smoke), {}
    found: tuple[list, list] = ([], [])
    # the first call of anything is slower: one job of each kind, which its name begins with
    warm = {(j.work.family, j.work.name.partition(":")[0]): j for j in reversed(every)}
    for job in warm.values():
        _cleared(cache)
        job.do()
    for turn in range(1 if smoke else REPEATS):
        for job in every:
            _cleared(cache)
            gc.collect()
            seconds, megabytes, value = measuring.once(job.do)
            del value
            found[job.fifth].append(Measurement(job.work, seconds, megabytes))
            disk[job.work.name] = _written(cache)
            line = f"turn {turn + 1}  {job.work.family:<6} {job.work.name:<60} {seconds:8.2f} s"
            print(line, flush=True)
    return *found, disk


def _cleared(cache: Path) -> None:
    """Deletes what earlier work left in the cache, but not models and data."""
    for name in ("features", "prompts"):
        shutil.rmtree(cache / name, ignore_errors=True)


def _written(cache: Path) -> int:
    files = [p for n in ("features", "prompts") for p in (cache / n).rglob("*.npy")]
    return sum(p.stat().st_size for p in files)


def linked(cache: Path) -> None:
    """Makes the temporary folder the cache, with links to models and data; W2S_CACHE names it."""
    from w2s_lab import assets
    from w2s_lab.models import language_model

    assets.fetch_all()
    language_model("smollm2", device="cpu")  # unpacks it, if nobody has
    for name in ("assets", "converted", "tasks"):
        if (assets.cache_dir() / name).exists():
            (cache / name).symlink_to(assets.cache_dir() / name)
    os.environ["W2S_CACHE"] = str(cache)


# --- telling --------------------------------------------------------------------------------------


def told(model, measured: list[Measurement], fifth: list[Measurement], disk: dict) -> list[str]:
    """Measured against predicted, all sizes of all works; memory and disk of the fifth."""
    lines = ["| work | measured | predicted | error | |", "|---|---|---|---|---|"]
    seconds: dict[str, list[float]] = {}
    for one in [*measured, *fifth]:
        seconds.setdefault(one.work.name, []).append(one.seconds)
    error = costs.errors(model, [*measured, *fifth])
    tested = {one.work.name for one in fifth}
    by_name = {one.work.name: one.work for one in [*measured, *fifth]}
    for name, work in sorted(
        by_name.items(), key=lambda pair: list(works.TERMS).index(pair[1].family)
    ):
        each, off = seconds[name], error[name]
        lines.append(
            f"| {work.family}, {name} | {statistics.median(each):.2f} s, "
            f"{min(each):.2f} to {max(each):.2f} | {model.seconds(work).value:.2f} s "
            f"| {100 * off.value:+.0f} % [{100 * off.low:+.0f}, {100 * off.high:+.0f}] "
            f"| {'**test**' if name in tested else ''} |"
        )
    worst = max((error[name] for name in tested), key=lambda e: abs(e.value))
    kept = sum(abs(error[name].value) <= AIM for name in tested)
    lines += [
        "",
        f"Of {len(tested)} fifth sizes {kept} are predicted within {AIM:.0%}; "
        f"the largest error is {100 * worst.value:+.0f} % "
        f"(repeats {100 * worst.low:+.0f} to {100 * worst.high:+.0f} %).",
        "",
        "| fifth size | disk, counted | on disk | memory, counted | process grew by |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one.work.name for one in fifth):
        grew = max(one.megabytes for one in fifth if one.work.name == name) * 1e6
        work, size = by_name[name], costs.size
        cells = (f"{work.family}, {name}", size(work.disk), size(disk[name]), size(work.memory))
        lines.append(f"| {' | '.join(cells)} | {size(max(grew, 0))} |")
    return lines


def priced(model, machines) -> list[str]:
    """The price list, a table for each scenario."""
    scenarios = {
        "100,000 papers, three questions each; the student learns from all": works.papers(),
        "The same; the student learns from 2,000 papers": works.papers(taught=2_000),
        "10 million clauses, strong student on minilm": works.clauses(),
        "10 million clauses, strong student on smollm2": works.clauses(strong=works.READER),
    }
    lines = []
    for what, some in scenarios.items():
        head = ("machine", "stage", "hours [range]", "most of it", "kWh", "money", "basis")
        lines += [f"**{what}**", "", _line(head), "|---" * len(head) + "|"]
        for machine in machines:
            found = costs.price(some, machine, model)
            for s in found.stages:
                hours = costs.shown(s.hours)
                lines.append(_line((machine.name, s.name, hours, s.dominates, "", "", "")))
            kwh, money = (costs.shown(e) if e else "–" for e in (found.kwh, found.money))
            hours = costs.shown(found.hours)
            basis = machine.basis.partition(":")[0]
            lines.append(_line((machine.name, "**all**", hours, "", kwh, money, basis)))
        kept = ", ".join(f"{costs.size(w.disk)} ({w.name})" for w in some if w.disk)
        lines += ["", f"Disk, if everything were kept: {kept}.", ""]
    return lines


def _line(cells) -> str:
    return f"| {' | '.join(cells)} |"


def fitted(model) -> list[str]:
    """The coefficients as a table, and the rate they are compared with."""
    table = model.table()
    head = [_line(table.header), "|---" * len(table.header) + "|"]
    return [*head, *map(_line, table.rows), "", *table.notes]


def machines(model, args) -> list[costs.Machine]:
    """The three of the price list, or the one of the command line."""
    if args.machine is None:
        return [costs.laptop(model), costs.ONE_GPU, costs.EIGHT_GPUS]
    rate, basis = args.rate, "rate given"
    if args.device:
        dtype = "bfloat16" if args.device.startswith("cuda") else "float32"
        rate, basis = measuring.matmul_rate(args.device, dtype), f"rate measured in {dtype}"
    if rate is None:
        raise SystemExit("give the machine's --rate, or a --device to measure it on")
    named = {key: getattr(args, key) for key in ("devices", "serial", "hourly", "watts")}
    share, dispatch = (tuple(x) if x else None for x in (args.share, args.dispatch))
    basis += ", share given" if share else ", share as fitted"
    own = costs.Machine(args.machine, rate, share, dispatch, **named, basis=basis)
    return [own]


def parsed(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="some minutes, no page")
    parser.add_argument("--machine", help="price for a machine of this name; measure no work")
    parser.add_argument("--rate", type=float, help="operations per second of one device")
    parser.add_argument("--device", help="measure that rate here instead: cpu, cuda")
    parser.add_argument("--share", type=float, nargs=2, help="of the rate, lowest and highest")
    parser.add_argument("--dispatch", type=float, nargs=2, help="seconds to send a block")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--serial", type=float, default=0.0, help="share that they do not shorten")
    parser.add_argument("--hourly", type=float, help="price of a device for an hour")
    parser.add_argument("--watts", type=float, help="power of a device")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    try:
        run(parsed(words))
    except W2SError as error:
        sys.exit(str(error))


def run(args: argparse.Namespace) -> None:
    """Measures all and tells it; with a machine given, its prices from what was kept."""
    if args.machine:
        model = costs.load(KEPT)
        print("\n".join(priced(model, machines(model, args))))
        return
    load, started = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("W2S_CACHE")
        try:
            linked(Path(folder))
            rate = measuring.matmul_rate("cpu", size=512 if args.smoke else None)
            measured, fifth, disk = measure(args.smoke, Path(folder))
        finally:
            os.environ.pop("W2S_CACHE", None)
            if before is not None:
                os.environ["W2S_CACHE"] = before
    took = time.perf_counter() - started
    model = costs.fit(measured, rate)
    where = measuring.environment()
    about = ", ".join(f"{name} {value}" for name, value in where.items())
    tables = [*told(model, measured, fifth, disk), "", *fitted(model)]
    tables += ["", *priced(model, machines(model, args))]
    figures = [f"{about}; load average before {load:.1f}; it took {took:,.0f} s.", "", *tables]
    print("\n".join(figures))
    if args.smoke:
        return
    kept = {"rate": rate, "environment": where, "load": load, "seconds": took, "disk": disk}
    kept |= {"fit": [asdict(m) for m in measured], "test": [asdict(m) for m in fifth]}
    KEPT.write_text(json.dumps(kept, indent=1), "utf-8")
    front, _, rest = PAGE.read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([front + START, "", *figures, "", END]) + after, "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)} and {KEPT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
