"""Weak scores of a store, the subsets they choose, and a student on each; finished runs are kept.

It neither draws nor prints. Equal token budgets, a random and an all-knowing chooser as bounds.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from w2s_lab import team
from w2s_lab.assets import cache_dir
from w2s_lab.data import Task
from w2s_lab.errors import W2SError
from w2s_lab.selection import Score, Store, select_tokens

FLOOR, ORACLE, EVERYTHING, UNTOUCHED = "random", "oracle", "all data", "untouched"
FRACTION = 0.25  # of the store's tokens are learned from
OFFERED = 0.8  # of the store is there to choose from, in each seed another part
EPOCHS = {"texts": 1, "pairs": 2}  # an answer is a tenth as long as a passage
TRAINED = 1  # blocks of the strong model, from the top
WEAK_EMBEDDER = "minilm"
MODELS = ("smollm2:22", "smollm2")
# what a finished run depends on besides its data: another text in one of these is another run
ROOMS = (
    *("team", "targets", "blocks", "resume"),
    *("models", "features", "finetune", "shortcut", "sequences", "selection", "filter_protocol"),
    "data/splits",
)


def offered(documents: int, seed: int) -> np.ndarray:
    """The part of a store that is there to choose from in one seed, as indices."""
    chosen = np.random.default_rng([seed, 0]).permutation(documents)
    return chosen[: round(OFFERED * documents)]


def check_scores(task: Task, methods: Sequence[Score]) -> None:
    """Nothing, if these scores can compete on this task.

    Raises:
        W2SError: two of one name, a name that a bound has, a score without what it needs.
    """
    names = [m.name for m in methods]
    for m in methods:
        if m.name in (FLOOR, ORACLE, EVERYTHING, UNTOUCHED, "nll") or names.count(m.name) > 1:
            mend = "give each score a name of its own"
            raise W2SError("the name is taken", where=m.name, mend=mend)
        if m.needs == "prompts" and not len(task.questions):
            mend = "choose another, or run it on `pairs`"
            raise W2SError("these documents answer no instruction", where=m.name, mend=mend)


class FilterBench:
    """One run's store, weak opinions and students."""

    def __init__(
        self,
        task: Task,
        weak: str,
        strong: str,
        device: str,
        seeds: int,
        fraction: float = FRACTION,
        labels: int | None = None,
    ):
        from w2s_lab.models import language_model

        self.task, self.seeds, self.fraction = task, seeds, fraction
        if not 0 < fraction <= 1:
            mend = "choose one above 0 and up to 1"
            raise W2SError(f"a fraction of {fraction:g}", where="fraction", mend=mend)
        judged = task.splits["supervise"]
        self.labels = len(judged) if labels is None else labels
        if not 2 <= self.labels <= len(judged):
            what, mend = f"{self.labels} judged passages", f"give from 2 to {len(judged)}"
            raise W2SError(what, where="labels", mend=mend)
        self.strong = language_model(strong, device=device)
        self.weak = language_model(weak, device=device)
        if self.strong.depth <= TRAINED:
            what, mend = f"{self.strong.depth} blocks", f"name a model with more than {TRAINED}"
            raise W2SError(what, where=strong, mend=mend)
        self.device = self.strong.device
        self.store, self.test = task.splits["transfer"], task.splits["test"]
        self.judged = self._draw(judged)
        self.items = np.concatenate([self.store, self.test])  # sequences are known by place in it
        self.in_test = len(self.store) + np.arange(len(self.test))
        self.in_store = np.arange(len(self.store))

    def _draw(self, judged: np.ndarray) -> np.ndarray:
        """The judged passages: some of each class, and as many of either as they can be."""
        order = np.random.default_rng(0).permutation(judged)
        turn = np.empty(len(order))
        for gold in (0, 1):
            members = self.task.gold[order] == gold
            turn[members] = np.arange(members.sum()) / max(1, members.sum())
        return order[np.argsort(turn, kind="stable")][: self.labels]

    # --- the weak model's part --------------------------------------------------------------------

    @cached_property
    def prompted(self) -> bool:
        return len(self.task.questions) > 0

    def _texts(self, items) -> list[str]:
        return [self.task.inputs[i] for i in items]

    def _prompts(self, items) -> list[str]:
        return [self.task.questions[i] for i in items] if self.prompted else []

    @cached_property
    def read(self):
        """The sequences, passed by the strong model and, where it is the same one cut, the weak."""
        from w2s_lab.sequences import Read, sequences

        found = sequences(self.strong, self._texts(self.items), self._prompts(self.items))
        blocks = {self.strong.depth - TRAINED}
        if self.weak.key == self.strong.key:  # what it makes of a text, the strong one passes by
            blocks |= {self.weak.depth, self.strong.depth}
        return Read(self.strong, found, sorted(blocks))

    @cached_property
    def _weak_read(self):
        """The sequences as the weak model passed them."""
        from w2s_lab.sequences import Read, sequences

        if self.weak.key == self.strong.key:
            return self.read
        found = sequences(self.weak, self._texts(self.items), self._prompts(self.items))
        return Read(self.weak, found, [self.weak.depth])

    @cached_property
    def _way_out(self):
        """What leads from the weak model's last block to its head; fitted without any label."""
        import torch

        from w2s_lab.models import language_model
        from w2s_lab.shortcut import least_squares, shortcut

        if self.weak.key == self.strong.key and self.weak.depth < self.strong.depth:
            late = self.read.after_start(self.in_store)
            found = least_squares(late[self.weak.depth], late[self.strong.depth])
            weight, bias = (part.float().to(self.device) for part in found)
            return lambda states: torch.nn.functional.linear(states, weight, bias)
        whole = language_model(self.weak.name.partition(":")[0], device=self.device)
        if self.weak.depth == whole.depth:
            return torch.nn.Identity()
        return shortcut(whole, self.weak.depth, self._texts(self.store))

    def weak_log_probs(self, batch):
        """Log-probabilities by the weak model, (targets, shortlist)."""
        from w2s_lab.sequences import cut_log_probs

        return cut_log_probs(self._weak_read, self.weak.depth, self._way_out, batch)

    def _nll_alone(self) -> np.ndarray:
        """The weak model's loss on answers without their prompts, (store,)."""
        from w2s_lab.sequences import Read, cut_log_probs, mean_loss, sequences

        shortlist = self._weak_read.found.vocabulary
        # with the end of turn, which is scored with the prompt too
        found = sequences(self.weak, self._texts(self.store), vocabulary=shortlist, ended=True)
        read = Read(self.weak, found, [self.weak.depth])

        def said(batch):
            return cut_log_probs(read, self.weak.depth, self._way_out, batch)

        return mean_loss(read, self.in_store, said, desc="answers alone")

    def opinions(self) -> Store:
        """All that the weak models say of the store."""
        from w2s_lab.features import token_states
        from w2s_lab.models import trunk
        from w2s_lab.sequences import mean_loss

        encoder = trunk(WEAK_EMBEDDER, device=self.device)
        both = self._texts(np.concatenate([self.store, self.judged]))
        vectors = token_states(encoder, both, pool=True).flat.astype(np.float32)
        here, judged = np.split(vectors, [len(self.store)])
        return Store(
            texts=self._texts(self.store),
            nll=mean_loss(self._weak_read, self.in_store, self.weak_log_probs, desc="weak scores"),
            nll_alone=self._nll_alone() if self.prompted else None,
            embeddings=here,
            looked_at=self._texts(self.judged),
            clean=self.task.gold[self.judged] == 1,
            judged_embeddings=judged,
        )

    # --- choosing, and the students ---------------------------------------------------------------

    def choose(self, judged: dict[str, np.ndarray], methods: Sequence[Score]) -> dict:
        """The kept documents of each chooser, by name a list over seeds of indices into the store.

        Every chooser of a seed is offered the same part of the store and the same tokens.
        """
        lengths, clean = self.read.found.counts[self.in_store], self.task.gold[self.store] == 1
        known = {FLOOR: (np.zeros(len(clean)), "low"), ORACLE: (clean.astype(float), "high")}
        known |= {m.name: (judged[m.name], m.keep) for m in methods}
        kept: dict[str, list[np.ndarray]] = {name: [] for name in known}
        for seed in range(self.seeds):
            here = offered(len(clean), seed)
            budget = self.fraction * lengths[here].sum()
            for name, (scores, keep) in known.items():
                scores = np.where(clean, 1.0, np.nan) if name == ORACLE else scores
                asked = {"budget": budget, "keep": keep, "seed": seed}
                kept[name].append(here[select_tokens(scores[here], lengths[here], **asked)])
        return kept

    def _can_judge(self, methods: Sequence[Score]) -> None:
        """Nothing, if the judged passages and the weak model serve these scores.

        Raises:
            W2SError: passages of one sort only for a score that learns from them; or a weak model
                that distils and has other tokens, whose probabilities would be matched wrongly.
        """
        for gold, name in enumerate(self.task.classes):
            if (
                any(m.needs == "judged" for m in methods)
                and gold not in self.task.gold[self.judged]
            ):
                what = f"no judged passage is {name!r}"
                raise W2SError(what, where="labels", mend="judge some of either sort")
        mine, weak = self.strong.tokenizer.get_vocab(), self.weak.tokenizer.get_vocab()
        for m in methods:
            if m.distil and mine != weak:
                what = f"{self.weak.name} has other tokens than {self.strong.name}"
                raise W2SError(what, where=m.name, mend="choose a weak model of its family")

    def everything(self, methods: Sequence[Score]) -> dict:
        """Test log-likelihoods and kept documents by name, the scores, costs and counts.

        Kept in the cache, under all that they depend on, where the scores are the package's own.
        """
        self._can_judge(methods)
        if not all(m.judge.__module__.startswith("w2s_lab.") for m in methods):
            return self._compute(methods)

        def fill(folder: Path) -> None:
            found = self._compute(methods)
            arrays = {f"scores/{k}": v for k, v in found["scores"].items()}
            arrays |= {f"judged/{k}": v for k, v in found["judged"].items()}
            for name, kept in found["kept"].items():
                arrays |= {f"kept/{name}/{seed}": index for seed, index in enumerate(kept)}
            np.savez(folder / "arrays.npz", **arrays)
            (folder / "facts.json").write_text(json.dumps(found["facts"]))

        folder = team.kept(cache_dir() / "results" / self._key(methods), fill)
        found: dict = {"scores": {}, "judged": {}, "kept": {}}
        with np.load(folder / "arrays.npz") as arrays:
            for key in arrays:
                kind, _, name = key.partition("/")
                if kind == "kept":
                    name, _, seed = name.rpartition("/")
                    found["kept"].setdefault(name, {})[int(seed)] = arrays[key]
                else:
                    found[kind][name] = arrays[key]
        found["kept"] = {k: [v[s] for s in sorted(v)] for k, v in found["kept"].items()}
        return found | {"facts": json.loads((folder / "facts.json").read_text())}

    def _key(self, methods: Sequence[Score]) -> str:
        from w2s_lab.models import trunk

        digest = hashlib.sha256(b"filter")
        for room in ROOMS:
            digest.update((Path(__file__).parent / f"{room}.py").read_bytes())
        for text in (*self.task.inputs, *self.task.questions):
            digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        for array in (self.task.gold, self.judged, *self.task.splits.values()):
            digest.update(np.ascontiguousarray(array).tobytes() + b"|")
        models: list[tuple] = [(m.key, m.depth, m.device) for m in (self.weak, self.strong)]
        encoder = trunk(WEAK_EMBEDDER, device=self.device)
        models.append((encoder.key, encoder.layer))
        traits = [(m.name, m.judge.__qualname__, m.keep, m.distil) for m in methods]
        digest.update(repr((models, traits, self.seeds, self.fraction)).encode())
        return digest.hexdigest()[:24]

    def _compute(self, methods: Sequence[Score]) -> dict:
        started = time.perf_counter()
        store = self.opinions()
        judged = {m.name: np.asarray(m.judge(store), float) for m in methods}
        for name, values in judged.items():
            if values.shape != (len(self.store),):
                what, mend = f"scores of shape {values.shape}", f"give ({len(self.store)},)"
                raise W2SError(what, where=name, mend=mend)
        scored = time.perf_counter()
        kept = self.choose(judged, methods)
        scores = {UNTOUCHED: self._score(self._tail())[None]}
        every = {EVERYTHING: [self.in_store]}  # once: it costs four times as much as a choice
        distil = {m.name: m.distil for m in methods}
        for name, choices in {**kept, **every}.items():
            done = [self._student(name, c, s, distil.get(name, 0)) for s, c in enumerate(choices)]
            scores[name] = np.stack(done)
        seconds = {"weak": scored - started, "students": time.perf_counter() - scored}
        return {
            "scores": scores,
            "judged": {"nll": store.nll, **judged},
            "kept": kept,
            "facts": self._facts(seconds),
        }

    def _tail(self):
        from w2s_lab.sequences import Tail

        return Tail(self.read, self.strong.depth - TRAINED)

    def _student(self, name: str, chosen: np.ndarray, seed: int, distil: float) -> np.ndarray:
        """Test log-likelihoods of the strong model fine-tuned on the chosen documents, (test,)."""
        from w2s_lab.sequences import learn

        said = f"{name}, {len(chosen)} texts, seed {seed}"
        teacher = self.weak_log_probs if distil else None
        epochs = EPOCHS["pairs" if self.prompted else "texts"]
        asked: dict = {"epochs": epochs, "seed": seed, "teacher": teacher, "share": distil}
        return self._score(learn(self._tail(), chosen, **asked, desc=said))

    def _score(self, tail) -> np.ndarray:
        from w2s_lab.sequences import mean_loss

        tail.eval()
        return -mean_loss(self.read, self.in_test, lambda batch: tail(batch)[0], desc="test texts")

    def _facts(self, seconds: dict[str, float]) -> dict:
        """Counts and costs: what was offered, and operations of each part for the whole store."""
        found, lm = self.read.found, self.strong
        tokens = int(found.lengths[self.in_store].sum())
        head = 2.0 * len(found.vocabulary) * lm.model.config.hidden_size
        trained = 2.0 * sum(p.numel() for p in self._tail().parameters())
        below = lm.flops_per_token(head=False) - trained
        epochs = EPOCHS["pairs" if self.prompted else "texts"]
        learned = epochs * self.fraction * OFFERED * tokens
        test = self._weak_read
        weak_head = 2.0 * len(test.found.vocabulary) * self.weak.model.config.hidden_size
        from w2s_lab.sequences import mean_loss

        weak_test = mean_loss(test, self.in_test, self.weak_log_probs, desc="weak on test")
        return {
            "weak_on_test": float(-weak_test.mean()),
            "tokens": tokens,
            "counts": found.counts[self.in_store].tolist(),
            "test_counts": found.counts[self.in_test].tolist(),
            "shortlist": len(found.vocabulary),
            "epochs": epochs,
            "flops": {
                "weak scores": tokens * (self.weak.flops_per_token(head=False) + weak_head),
                # forward through all, backward (twice as much) through what is trained and the head
                "one student": learned * (below + 3 * trained + 2 * head),
                "all data": epochs * tokens * (below + 3 * trained + 2 * head),
            },
            "seconds": seconds,
        }
