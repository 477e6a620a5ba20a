"""Weak writers, students and ceiling of one run with texts for answers; finished runs are kept.

It neither draws nor prints. The protocol is that of Burns et al. 2023, section 3; the objective is
the log-likelihood of what the weak model wrote.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from w2s_lab import team
from w2s_lab.assets import cache_dir
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.text_methods import TextMethod, Weak
from w2s_lab.writers import Blocks, Lead

EPOCHS = 2  # passes of a student over the transfer items: a third only fits the weak texts better
GOLD_EPOCHS = 4  # passes over the few gold pairs, of the weak model and of the strong one on them
LONGEST = 0.75  # of the gold of `supervise` is no longer than what anybody may write
WRITTEN = 12  # test items for which every model writes; all of them are scored by likelihood
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the way from the untouched model
MODELS = {  # size → weak, strong
    "smoke": ("smollm2:22", "smollm2"),
    "lab": ("smollm2:22", "smollm2"),
    "full": ("HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-1.7B-Instruct"),
}
# what a finished run depends on besides its data: another text in one of these is another run
ROOMS = (
    *("team", "targets", "blocks", "resume"),
    *("models", "generate", "shortcut", "features", "finetune", "whole", "losses"),
    *("writers", "text_methods", "text_metrics", "text_protocol"),
)


class TextBench:
    """One run's task, writers and gold: what the weak models and all students share."""

    def __init__(
        self, task: Task, weak: str, strong: str, device: str, seeds: int, labels: int | None = None
    ):
        supervise = task.splits["supervise"]
        labels = min(task.labels, len(supervise)) if labels is None else labels
        if not 1 <= labels <= len(supervise):
            raise W2SError(
                f"{labels} gold labels asked for",
                where="labels",
                mend=f"give from 1 to {len(supervise)}",
            )
        if strong == "lead":
            raise W2SError(
                "it copies and cannot learn", where="strong='lead'", mend="name a language model"
            )
        self.task, self.seeds, self.labels = task, seeds, labels
        # writers know items by their place in the splits: what is in none is never read
        self.items = np.concatenate([*(task.splits[s] for s in SPLITS[:-1]), test_items(task)])
        ends = np.cumsum([len(task.splits[s]) for s in SPLITS])
        places = np.split(np.arange(len(self.items)), ends[:-1])
        self.supervise, self.transfer, self.validation, self.test = (tuple(p) for p in places)
        self.gold = [str(task.gold[i]) for i in self.items]
        self.written = self.test[:WRITTEN]
        self.strong = self._writers(strong, device)
        self.weak = self.strong if weak == strong else self._writers(weak, device)
        self.device = self.strong.device
        self.limit = self._limit()
        self.given = [self._draw(np.random.default_rng(seed)) for seed in range(seeds)]

    def _writers(self, name: str, device: str):
        documents = [self.task.inputs[i] for i in self.items]
        questions = [self.task.questions[i] for i in self.items]
        if name == "lead":
            return Lead(documents)
        if self.task.size == "full":
            from w2s_lab.whole import Whole

            return Whole(name, documents, questions, device)
        return Blocks(name, documents, questions, device, self.transfer)

    def _limit(self) -> int:
        """What anybody may write, in tokens of the strong model, the end of the turn included."""
        tokens = self._tokens([self.gold[i] for i in self.supervise])
        return 1 + int(np.quantile(tokens, LONGEST, method="higher"))

    def _tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of the strong model each text has, cut as an answer is."""
        from w2s_lab.generate import ANSWER, cut

        said = [cut(text, ANSWER) for text in texts]
        return [
            len(ids) for ids in self.strong.tokenizer(said, add_special_tokens=False)["input_ids"]
        ]

    def _draw(self, rng) -> tuple[int, ...]:
        """The items whose gold one weak model is given: as many of each kind as can be."""
        order = rng.permutation(self.supervise)
        every = self.task.kinds if len(self.task.kinds) else np.zeros(len(self.task.inputs))
        kinds = every[self.items[order]]
        turn = np.array([np.sum(kinds[:i] == kind) for i, kind in enumerate(kinds)])
        return tuple(order[np.argsort(turn, kind="stable")][: self.labels].tolist())

    def possible(self, method: TextMethod) -> str:
        """Why this method cannot be had with this weak model; empty where it can."""
        if not method.temperature:
            return ""
        if isinstance(self.weak, Lead):
            return "has no distribution over the next token"
        theirs, ours = (w.tokenizer.get_vocab() for w in (self.weak, self.strong))
        return "" if theirs == ours else "has another vocabulary than the strong one"

    def everything(self, methods: Sequence[TextMethod]) -> dict[str, Any]:
        """Texts, likelihoods, learning curves and costs; kept in the cache like other runs."""
        if not all(m.choose.__module__.startswith("w2s_lab.") for m in methods):
            return self._compute(methods)

        def fill(folder: Path) -> None:
            found = self._compute(methods)
            arrays: dict[str, Any] = _flat(found["numbers"])
            np.savez(folder / "numbers.npz", **arrays)
            (folder / "texts.json").write_text(json.dumps(found["texts"]), encoding="utf-8")
            (folder / "facts.json").write_text(json.dumps(found["facts"]))

        folder = team.kept(cache_dir() / "results" / self._key(methods), fill)
        numbers: dict[str, dict] = {}
        with np.load(folder / "numbers.npz") as arrays:
            for key in arrays:
                part, _, name = key.partition("/")
                numbers.setdefault(part, {})[name] = arrays[key]
        texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
        facts = json.loads((folder / "facts.json").read_text())
        return {"numbers": numbers, "texts": texts, "facts": facts}

    def _key(self, methods) -> str:
        digest = hashlib.sha256()
        for room in ROOMS:
            digest.update(Path(__file__).with_name(f"{room}.py").read_bytes())
        asked = [(self.task.inputs[i], self.task.questions[i]) for i in self.items]
        traits = [{**vars(m), "choose": m.choose.__qualname__} for m in methods]
        models = [(w.key, w.name, w.device, vars(w).get("depth")) for w in (self.weak, self.strong)]
        sizes = [len(part) for part in (self.supervise, self.transfer, self.validation)]
        groups = self.task.groups[self.items].tolist()
        named = (asked, self.gold, groups, sizes, traits, models, self.given, self.seeds)
        settings = (EPOCHS, GOLD_EPOCHS, LONGEST, WRITTEN, SHARES)
        digest.update(repr((named, settings)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:24]

    def _compute(self, methods) -> dict[str, Any]:
        self.likelihood: dict[str, list] = {}
        self.texts: dict[str, list] = {}
        self.curves: dict[str, list] = {"weak": [], "gold": [], "test": []}
        self.dial: list = []
        self.chosen: dict[str, list] = {}
        self.seconds = {"weak": 0.0, "strong": 0.0}
        self._keep(self.strong, {"strong zero-shot": self.strong.untouched()}, costs="strong")
        self._keep(Lead([self.task.inputs[i] for i in self.items]), {"lead sentence": None})
        tutors = [self._weak(seed) for seed in range(max(2, self.seeds))]
        for seed in range(self.seeds):
            self._one_seed(seed, methods, tutors)
        from w2s_lab.text_metrics import SCORES, by_seed

        gold = np.array([self.gold[i] for i in self.written], object)
        numbers: dict[str, dict[str, np.ndarray]] = {
            "log_likelihood": {k: np.array(v) for k, v in self.likelihood.items()},
            "curves": {k: np.array(v) for k, v in self.curves.items() if v},
            "chosen": {k: np.array(v) for k, v in self.chosen.items()},
        }
        if self.dial:
            numbers["dial"] = {"likelihood": np.array(self.dial).swapaxes(0, 1)}
        for metric, score in SCORES.items():
            told = {name: np.array(texts, object) for name, texts in self.texts.items()}
            numbers[metric] = {name: by_seed(score, t, gold) for name, t in told.items()}
        return {"numbers": numbers, "texts": self.texts, "facts": {"cost": self._cost()}}

    def _keep(self, writers, named: Mapping[str, Any], known=None, costs: str = "") -> None:
        """One more seed of what each writer writes and of how likely it finds the gold.

        Args:
            named: writers by name; one that has two names writes once.
            known: by writer the likelihood of the test gold, as far as it was seen already.
            costs: whose seconds per text this measures, "weak" or "strong".
        """
        likelihood = dict(known or {})
        distinct = list(dict.fromkeys(named.values()))
        if not isinstance(writers, Lead):  # before the clock starts: prompts are read by then
            likelihood.update({w: self._score(w, writers) for w in distinct if w not in likelihood})
        started = time.perf_counter()
        told = f"{' and '.join(named) if len(distinct) == 1 else 'students'} writing"
        texts = dict(
            zip(distinct, writers.write_all(distinct, self.written, self.limit, told), strict=True)
        )
        if costs:
            self.seconds[costs] = (time.perf_counter() - started) / len(self.written)
        for name, writer in named.items():
            self.texts.setdefault(name, []).append(texts[writer])
            if writer in likelihood:
                self.likelihood.setdefault(name, []).append(likelihood[writer])

    def _score(self, writer, writers=None) -> np.ndarray:
        """How likely a writer finds the gold of each test item."""
        return (writers or self.strong).score(writer, self.test, [self.gold[i] for i in self.test])

    def _weak(self, seed: int) -> "Tutor":
        """A weak model with its own few gold pairs, and what it writes."""
        given = self.given[seed] if seed < self.seeds else self._draw(np.random.default_rng(seed))
        writer = None
        if not isinstance(self.weak, Lead):
            gold = [self.gold[i] for i in given]
            writer = self.weak.taught(
                given, gold, epochs=GOLD_EPOCHS, seed=seed, desc="weak learns"
            )
        # many rows side by side cost little more than few
        texts = self.weak.write(writer, self.transfer + self.validation, self.limit, "weak writes")
        told, validation = texts[: len(self.transfer)], texts[len(self.transfer) :]
        likelihood = np.full(len(told), np.nan)
        if writer is not None:
            likelihood = self.weak.score(writer, self.transfer, told)
        if seed < self.seeds:
            self._keep(self.weak, {"weak": writer}, costs="weak")
        return Tutor(given, writer, told, likelihood, validation)

    def _one_seed(self, seed: int, methods, tutors) -> None:
        tutor, other = tutors[seed], tutors[(seed + 1) % len(tutors)]
        told = Weak(tuple(tutor.told), tuple(other.told), tutor.likelihood)
        gold = [self.gold[i] for i in self.transfer]
        few = [self.gold[i] for i in tutor.given]

        def taught(rows, texts, desc, epochs=EPOCHS, **how):
            return self.strong.taught(rows, texts, epochs=epochs, seed=seed, desc=desc, **how)

        students = {
            "ceiling": taught(self.transfer, gold, "ceiling learns"),
            "strong on gold labels": taught(
                tutor.given, few, "strong learns few", epochs=GOLD_EPOCHS
            ),
        }
        known: dict[Any, np.ndarray] = {}  # likelihood of the test gold by writer
        trained: dict[Any, tuple] = {}  # methods that differ only in what follows share a training
        for m in methods:
            lesson = (m.choose, m.gold, m.temperature)
            if lesson not in trained:
                weights, rows, texts = m.choose(told), self.transfer, tutor.told
                if m.gold:
                    weights = np.concatenate([weights, np.ones(len(few))])
                    rows, texts = rows + tutor.given, texts + few
                # looking costs as much as half an epoch: only where somebody asks what was seen
                asks = [n for n in methods if (n.choose, n.gold, n.temperature) == lesson]
                looked = any(n.stops_early or n.name == "naive" for n in asks)
                watch = Watch(self, tutor.validation) if looked else None
                how: dict[str, Any] = {"weights": weights, "after_epoch": watch}
                if m.temperature:
                    how["teacher"] = (self.weak, tutor.writer, m.temperature)
                student = taught(rows, texts, f"{m.name} learns", **how)
                trained[lesson] = student, watch
                if watch is not None:
                    known[student] = watch.seen["test"][-1]
            student, watch = trained[lesson]
            if m.name == "naive":
                self._learning_curve(watch)
            student = watch.best or student if m.stops_early else student
            if m.shrinks:
                student = self._shrunk(m.name, student, tutor.given, few, known)
            students[m.name] = student
        self._keep(self.strong, students, known)

    def _learning_curve(self, watch: "Watch") -> None:
        for name, values in watch.seen.items():
            self.curves[name].append(values)

    def _shrunk(self, name: str, student, given, few, known):
        """As much of the way from the untouched model as the few gold pairs like best."""
        path = {share: self.strong.towards(student, share) for share in SHARES if share < 1}
        path[1.0] = student
        liked = {s: self.strong.score(writer, given, few).mean() for s, writer in path.items()}
        best = max(liked, key=liked.__getitem__)
        self.chosen.setdefault(name, []).append(best)
        if name == "shrink":
            known.update({w: self._score(w) for w in path.values() if w not in known})
            self.dial.append([known[path[share]] for share in SHARES])
        return path[best]

    def _cost(self) -> dict[str, dict[str, float]]:
        """Tokens, trunk operations and measured seconds per 1,000 labels, weak and strong."""
        found = {}
        said = {"weak": self.texts["weak"], "strong": self.texts["strong zero-shot"]}
        for name, writers in (("weak", self.weak), ("strong", self.strong)):
            one = writers.cost()
            wrote = 1 + float(np.mean(self._tokens([t for ts in said[name] for t in ts])))
            flops = one["prompt_tokens"] * one["read_flops"] + wrote * one["write_flops"]
            seconds = one["prompt_tokens"] * one["read_seconds"] + self.seconds[name]
            found[name] = {
                "tokens": 1000 * (one["prompt_tokens"] + wrote),
                "flops": 1000 * flops,
                "seconds": 1000 * seconds,
            }
        return found


SPLITS = ("supervise", "transfer", "validation", "test")


def test_items(task: Task) -> np.ndarray:
    """The test items in the order of a result: shuffled, so that the first are from all groups."""
    return np.random.default_rng(0).permutation(task.splits["test"])


class Tutor:
    """One weak model: the items it was given, its writer, what it wrote and how likely that is."""

    def __init__(self, given, writer, told, likelihood, validation):
        self.given, self.writer, self.told = given, writer, told
        self.likelihood, self.validation = likelihood, validation


class Watch:
    """Looks at a student after each epoch: weak and gold texts of validation, gold of test.

    Only the weak texts ever choose an epoch; gold is for the curves alone.
    """

    def __init__(self, bench: TextBench, weak_texts: Sequence[str]):
        self.bench, self.weak_texts = bench, weak_texts
        self.seen: dict[str, list] = {"weak": [], "gold": [], "test": []}
        self.best: Any = None

    def __call__(self, epoch, writer) -> None:
        bench = self.bench
        score, gold = bench.strong.score, bench.gold
        right = [gold[i] for i in bench.validation]
        weak = score(writer, bench.validation, self.weak_texts).mean()
        if not self.seen["weak"] or weak > max(self.seen["weak"]):
            # none: the student itself, once its last epoch is over
            last = epoch == EPOCHS - 1
            self.best = None if last else bench.strong.towards(writer, 1.0)
        self.seen["weak"].append(weak)
        self.seen["gold"].append(score(writer, bench.validation, right).mean())
        self.seen["test"].append(bench._score(writer))


def _flat(numbers: dict[str, dict]) -> dict[str, np.ndarray]:
    return {f"{part}/{name}": v for part, found in numbers.items() for name, v in found.items()}
