"""Any causal or encoder-decoder model as a writer: trained as a whole, at its top or by LoRA.

It does all that `writers.Blocks` does, for any model but without reading prompts only once; it
chooses no data. Processes share out what is trained, written and scored, and weights if asked to.
Loading and decoding are transformers', LoRA (Hu et al. 2021) is peft's.
"""

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from w2s_lab import team
from w2s_lab.errors import W2SError
from w2s_lab.features import batches_of_like_length
from w2s_lab.finetune import BUDGET, adapt, fit, target_loss
from w2s_lab.generate import ANSWER, DOCUMENT, Prompts, cut
from w2s_lab.models import LanguageModel, _found, _hush, gains_from_bfloat16, pick_device
from w2s_lab.progress import bar

# Highest learning rates. LoRA: Dettmers et al. 2023, table 9; all weights: as Alpaca was trained
RATES = {"lora": 2e-4, "top": 1e-4, "whole": 2e-5}
WRITE_TOKENS = 32_768  # of one batch, answers included: 16 GB of keys and values at 7B weights
PROBE = 8  # prompts whose reading is timed


@dataclass(frozen=True, eq=False)
class Writer:
    """What a training changed in the one model that all writers of a `Whole` share.

    Attributes:
        weights: all that was trained, by name, on the CPU.
        known: what it was seen to write, by prompt and limit, and to score, by prompt and target.
    """

    weights: dict[str, Tensor] = field(repr=False)
    known: dict[tuple, Any] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, told: "Told", batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Logits of all targets of a batch, one answer after another, and the targets.

        Returns:
            tensors of shape (targets, vocabulary) and (targets,).
        """
        with told.whole.using(self) as model:
            logits, labels = _logits(model, *told.part(batch))
        return logits[labels >= 0], labels[labels >= 0]


@dataclass(frozen=True, eq=False)
class Told:
    """Answers to some prompts of a `Whole`, both as token ids; an answer ends the turn."""

    whole: "Whole" = field(repr=False)
    prompts: list[tuple[int, ...]]
    targets: list[tuple[int, ...]]

    def part(self, batch: Sequence[int]) -> tuple[list, list]:
        """Prompts and targets of some of the answers."""
        return [self.prompts[i] for i in batch], [self.targets[i] for i in batch]


class Whole:
    """A model that is loaded once; its writers put their weights into it when they are used."""

    def __init__(
        self,
        name: str,
        documents: Sequence[str],
        questions: Sequence[str],
        device: str,
        how: str = "lora",
    ):
        """Loads the model and cuts the prompts into its tokens.

        Args:
            name: a Hub id, a local folder or a rung of `models.LADDER`.
            documents: one for each item; cut to `DOCUMENT` characters.
            questions: what is asked about them.
            how: what is trained: "lora", "whole" or "top:K", see `finetune.adapt`.

        Raises:
            W2SError: no such model or device, no language model, a prompt too long for it.
        """
        team.join(device)
        folder, depth, block = _found(name)
        if block is not None:
            mend = "leave out the number of blocks"
            raise W2SError("a cut model is not trained as a whole", where=name, mend=mend)
        lm = LanguageModel(name, folder, depth, pick_device(device))
        self.name, self.device, self.how, self.key = name, lm.device, how, lm.key
        # bfloat16 where `fit` computes in it; what is trained has to be in single precision, and
        # LoRA adds such weights to a frozen model
        self.half = gains_from_bfloat16(self.device)
        self.dtype = torch.bfloat16 if self.half and how == "lora" else torch.float32
        self.model = _loaded(lm, self.dtype).eval()
        if not team.in_shares():
            self.model.to(self.device)
        self.two = bool(self.model.config.is_encoder_decoder)
        vars(lm)["model"] = self.model  # chat format and end token are found for any model
        self.tokenizer, self.end = lm.tokenizer, lm.end
        self.ends = _be_greedy(self.model, self.end)

        if self.two:
            asked = zip(documents, questions, strict=True)
            texts = [f"{cut(document, DOCUMENT)}\n\n{question}" for document, question in asked]
            ids = [self.tokenizer(text)["input_ids"] for text in texts]
        else:
            ids = Prompts(lm, documents, questions).ids
        self.prompts = [tuple(row) or (self.end,) for row in ids]  # no item is left out
        self._check(range(len(self.prompts)), [1] * len(self.prompts))

        self._operations = _operations(self.model, self.two)
        self._kind = type(self.model)
        self._adapted = adapt(self.model, how)
        if team.in_shares():
            team.split(self.model, self.device, half=self.half)
            with torch.no_grad():  # as a whole before any part of it
                self.model(**self._first_inputs())
        self._now: Writer | None = None  # whose weights are in the model; None: they are in flux
        self._start = self._kept()

    def untouched(self) -> Writer:
        """The model as it was published."""
        return self._start

    def taught(
        self,
        rows: Sequence[int],
        texts: Sequence[str],
        *,
        epochs: int,
        seed: int,
        weights: np.ndarray | None = None,
        teacher: tuple[Any, Any, float] | None = None,
        after_epoch: Callable | None = None,
        desc: str = "",
    ) -> Writer:
        """A writer that has learned to answer the prompts `rows` with `texts`.

        The same arguments give the same writer, whatever was trained before.

        Args:
            weights: how much each text counts; those of weight 0 are left out.
            teacher: another `Whole` or `Blocks`, its writer and a temperature, to match the
                writer's distributions over the next token instead of its texts.
            after_epoch: called with the epoch, from 0, and a writer, which may be kept.

        Raises:
            W2SError: nothing to learn, a loss that is not finite, a teacher of other tokens.
        """
        weights = np.ones(len(rows)) if weights is None else np.asarray(weights, float)
        kept = np.flatnonzero(weights > 0).tolist()
        rows, texts = tuple(rows[i] for i in kept), tuple(texts[i] for i in kept)
        told = self.tell(rows, texts)
        tutor = self._tutor(teacher, rows, texts, told) if teacher else lambda batch: []
        soft: list = [*told.targets]  # a place for each one's distributions, filled batch by batch

        self._put(self._start if self.how != "lora" else self._begun(seed))
        self._now = None
        lengths, loss = target_loss(
            self._adapted,
            told.prompts,
            told.targets,
            weights=weights[kept],
            teacher=soft if teacher else None,
            temperature=teacher[2] if teacher else 1.0,
        )

        def learn(model, batch):
            for i, probs in zip(batch, tutor(batch), strict=False):
                soft[i] = probs
            lost = loss(model, batch)
            for i in batch:
                soft[i] = None
            return lost

        def watch(epoch, _):
            if after_epoch is not None:
                self._now = snapshot = self._kept()
                after_epoch(epoch - 1, snapshot)
                self._put(snapshot)
                self._now = None

        fit(
            self._adapted,
            lengths,
            learn,
            epochs=epochs,
            lr=RATES[self.how.partition(":")[0]],
            seed=seed,
            after_epoch=watch,
            desc=desc or f"{self.name} learns",
        )
        self._now = self._kept()
        return self._now

    def write(self, writer: Writer, rows: Sequence[int], limit: int, desc: str = "") -> list[str]:
        """The writer's greedy answers, of at most `limit` tokens each.

        Raises:
            W2SError: a prompt and so many tokens do not fit into the model's positions.
        """
        self._check(rows, [limit] * len(rows))
        keys = [(self.prompts[i], limit) for i in rows]
        new = _unknown(writer, keys)
        sizes = np.array([len(self.prompts[rows[i]]) + limit for i in new], int)
        batches = team.share(batches_of_like_length(sizes, WRITE_TOKENS))
        found: dict[tuple, str] = {}
        with (
            self.using(writer) if new else nullcontext(self.model) as model,
            bar(None, desc or f"{self.name} writes", len(new), unit="text") as seen,
        ):
            for batch in batches:
                # An encoder counts its positions from the left, a causal model writes on the right
                some = [rows[new[i]] for i in batch]
                inputs = self._inputs(some, "right" if self.two else "left")
                said = model.generate(**inputs, max_new_tokens=limit)
                said = said[:, 1 if self.two else inputs["input_ids"].shape[1] :].tolist()
                for i, ids in zip(batch, said, strict=True):
                    size = next((k for k, t in enumerate(ids) if t in self.ends), limit)
                    text = self.tokenizer.decode(ids[:size], skip_special_tokens=True)
                    found[keys[new[i]]] = text.strip()
                seen.update(len(batch) * team.size())
        writer.known.update(team.gathered(found) if new else {})
        return [writer.known[key] for key in keys]

    def write_all(self, writers, rows: Sequence[int], limit: int, desc="") -> list[list[str]]:
        """Each writer's greedy answers; only one can be in the model at a time."""
        return [self.write(writer, rows, limit, desc) for writer in writers]

    def score(self, writer: Writer, rows: Sequence[int], texts: Sequence[str]) -> np.ndarray:
        """Mean log-probability per token of each text, in nats, end of turn included, (items,)."""
        told = self.tell(rows, texts)
        keys = list(zip(told.prompts, told.targets, strict=True))
        new = _unknown(writer, keys)
        counts = [len(told.targets[i]) for i in new]
        sizes = np.array([len(told.prompts[i]) for i in new], int) + counts
        found: dict[tuple, float] = {}
        with bar(None, f"{self.name} scores", len(new), unit="text") as seen:
            for batch in team.share(batches_of_like_length(sizes, BUDGET)):
                logits, targets = writer(told, [new[i] for i in batch])
                lost = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
                parts = lost.cpu().double().split([counts[i] for i in batch])
                for i, part in zip(batch, parts, strict=True):
                    found[keys[new[i]]] = -part.mean().item()
                seen.update(len(batch) * team.size())
        writer.known.update(team.gathered(found) if new else {})
        return np.array([writer.known[key] for key in keys], float)

    def tell(self, rows: Sequence[int], texts: Sequence[str]) -> Told:
        """Texts to be scored or learned as answers to the prompts `rows`."""
        targets = []
        for text in texts:
            # Some encoder-decoder models begin each answer with a token of their own
            text = cut(text, ANSWER)
            ids = self.tokenizer(text_target=text, add_special_tokens=self.two)["input_ids"]
            targets.append((*(ids[:-1] if ids[-1:] == [self.end] else ids), self.end))
        self._check(rows, [len(ids) for ids in targets])
        return Told(self, [self.prompts[i] for i in rows], targets)

    def towards(self, writer: Writer, share: float) -> Writer:
        """A writer that went only this share of the way from the untouched model, 0 to 1.

        Interpolated weights: Wortsman et al. 2022, section 2. What LoRA adds to a layer is the
        product of two factors, of which one is scaled.
        """
        start, end = self._start.weights, writer.weights
        if self.how == "lora":
            return Writer({n: w * share if "lora_B" in n else w for n, w in end.items()})
        return Writer({name: start[name].lerp(w, share) for name, w in end.items()})

    def cost(self) -> dict[str, float]:
        """Mean prompt tokens, operations per token read and written, seconds per token read."""
        return {
            "prompt_tokens": float(np.mean([len(ids) for ids in self.prompts])),
            "read_flops": self._operations[0],
            "write_flops": self._operations[1],
            "read_seconds": self._read_seconds,
        }

    @cached_property
    def _read_seconds(self) -> float:
        some = np.linspace(0, len(self.prompts) - 1, PROBE).astype(int)
        inputs = self._inputs(some.tolist(), "right")
        with self.using(self._start) as model:
            stack = model.get_encoder() if self.two else model.get_decoder()
            for _ in range(2):  # the first time warms up
                started = time.perf_counter()
                stack(**inputs)[0].sum().item()  # waits for a GPU
        return (time.perf_counter() - started) / inputs["attention_mask"].sum().item()

    def _inputs(self, rows: Sequence[int], side: str) -> dict[str, Tensor]:
        """Padded prompts and their mask, both (rows, tokens)."""
        ids = [torch.tensor(self.prompts[i]) for i in rows]
        parts = {"input_ids": ids, "attention_mask": [torch.ones_like(row) for row in ids]}
        return {
            name: pad_sequence(part, batch_first=True, padding_side=side).to(self.model.device)
            for name, part in parts.items()
        }

    def _first_inputs(self) -> dict[str, Tensor]:
        """One token for every part of the model."""
        one = torch.full((1, 1), self.end, device=self.device)
        return {"input_ids": one} | ({"decoder_input_ids": one} if self.two else {})

    def _check(self, rows: Sequence[int], counts: Sequence[int]) -> None:
        """W2SError where a prompt and so many tokens to be written after it are too long."""
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        for i, count in zip(rows, counts, strict=True):
            read = len(self.prompts[i])
            size = max(read, count) if self.two else read + count - 1
            if most and size > most:
                what = f"item {i} takes {size} positions, the model has {most}"
                raise W2SError(what, where=self.name, mend="choose a model that reads longer texts")

    def _tutor(self, teacher, rows, texts, told: Told) -> Callable:
        """From a batch to the teacher's distributions over its targets, as wide as our own."""
        other, writer, _ = teacher
        theirs = other.tell(rows, texts)
        if theirs.targets != told.targets:
            raise W2SError(
                f"it cuts texts into other tokens than {self.name}, which cannot match its choices",
                where=other.name,
                mend="take two models of one family, or a method that learns from texts alone",
            )
        width = self.model.get_output_embeddings().weight.shape[0]

        def distributions(batch):
            with torch.no_grad():
                logits = writer(theirs, batch)[0].float()
            # Models of one family fill up one vocabulary to different round numbers
            probs = logits[:, :width].softmax(-1)
            probs = nn.functional.pad(probs, (0, width - probs.shape[1]))
            return probs.split([len(told.targets[i]) for i in batch])

        return distributions

    @contextmanager
    def using(self, writer: Writer) -> Iterator:
        """The model with a writer's weights and without gradients; a training step may go on after.

        Yields:
            the model of transformers, in eval mode.
        """
        before = self._kept() if self._now is None else None
        training, kind = self.model.training, torch.device(self.device).type
        # Amid a step, no cast weights may be kept: the student would compute with the teacher's
        cache = before is None
        self._put(writer)
        self.model.eval()
        try:
            with (
                team.outside_whole(self.model),
                torch.no_grad(),
                torch.autocast(kind, torch.bfloat16, enabled=self.half, cache_enabled=cache),
            ):
                yield self.model
        finally:
            self.model.train(training)
            if before is not None:
                self._put(before)
                self._now = None

    def _put(self, writer: Writer) -> None:
        if writer is not self._now:
            with torch.no_grad():
                for name, p in self._learning():
                    team.put(p, writer.weights[name])
            self._now = writer

    def _kept(self) -> Writer:
        whole = ((name, team.full(p.detach())) for name, p in self._learning())
        return Writer({name: p.to("cpu", copy=True) for name, p in whole})

    def _begun(self, seed: int) -> Writer:
        """The model as it was published, with LoRA's first factors of this seed.

        They are drawn for a model of the same build whose own weights are all one number's copies,
        so that it takes no room.
        """
        with torch.device("meta"):
            empty = self._kind._from_config(self.model.config, dtype=self.dtype)
        for module in empty.modules():
            for name, p in module.named_parameters(recurse=False):
                one = torch.zeros(1, dtype=p.dtype).expand(p.shape)
                setattr(module, name, nn.Parameter(one, requires_grad=False))
        factors = adapt(empty, self.how, seed=seed).named_parameters()
        return Writer({name: p.detach() for name, p in factors if p.requires_grad})

    def _learning(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, p) for name, p in self._adapted.named_parameters() if p.requires_grad)


def _unknown(writer: Writer, keys: Sequence[tuple]) -> list[int]:
    """The places of those keys, each once, that a writer was not asked for before."""
    first = {key: i for i, key in reversed(list(enumerate(keys))) if key not in writer.known}
    return sorted(first.values())


def _loaded(lm: LanguageModel, dtype: torch.dtype):
    """The causal or encoder-decoder model in a folder; W2SError if there is none."""
    import transformers

    _hush()
    config = transformers.AutoConfig.from_pretrained(lm.folder)
    two, mend = config.is_encoder_decoder, "choose a causal or an encoder-decoder language model"
    family = transformers.AutoModelForSeq2SeqLM if two else transformers.AutoModelForCausalLM
    decodes = two or getattr(config, "is_decoder", False)
    if type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING and not decodes:
        raise W2SError("an encoder cannot write", where=lm.name, mend=mend)
    try:
        model, said = family.from_pretrained(lm.folder, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError) as error:
        raise W2SError("this is no language model", where=lm.name, mend=mend) from error
    lacking = {*said["missing_keys"]} & {key for key, _ in model.named_parameters()}
    if lacking:  # transformers filled them with random numbers
        raise W2SError(f"its files lack {min(lacking)}", where=lm.name, mend=mend)
    return model


def _be_greedy(model, end: int) -> set[int]:
    """Makes `generate` take the likeliest token each time; the tokens that end a turn.

    What its authors recommend for decoding (beams, penalties, least lengths) is dropped, as no two
    models share it; special tokens stay.
    """
    from transformers import GenerationConfig

    theirs = model.generation_config
    found = [] if theirs.eos_token_id is None else theirs.eos_token_id
    ends = {end, *(found if isinstance(found, list) else [found])}
    model.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        bos_token_id=theirs.bos_token_id,
        eos_token_id=sorted(ends),
        pad_token_id=end,  # follows a text that is done before its neighbours
        decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
        forced_bos_token_id=theirs.forced_bos_token_id,
    )
    return ends


def _operations(model, two: bool) -> tuple[float, float]:
    """Operations per token read and written: multiply-adds counted twice, attention left out."""
    head = model.get_output_embeddings().weight
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    idle = {id(table.weight) for table in tables}  # looked up, no arithmetic
    read, written = (
        sum(p.numel() for p in stack.parameters() if id(p) not in idle)
        for stack in (model.get_encoder() if two else model.get_decoder(), model.get_decoder())
    )
    return 2.0 * read, 2.0 * (written + head.numel())


def _logits(model, prompts: Sequence, targets: Sequence) -> tuple[Tensor, Tensor]:
    """Logits (rows, tokens, vocabulary) and what they have to predict, (rows, tokens), or -100.

    Padded at the end, where a causal model never looks and an encoder is told not to.
    """

    def padded(lists, fill):
        rows = [torch.tensor(row) for row in lists]
        return pad_sequence(rows, batch_first=True, padding_value=fill).to(model.device)

    if model.config.is_encoder_decoder:
        labels = padded(targets, -100)
        found = model(
            input_ids=padded(prompts, 0),
            attention_mask=padded([[1] * len(ids) for ids in prompts], 0),
            decoder_input_ids=model.prepare_decoder_input_ids_from_labels(labels),
            use_cache=False,
        )
        return found.logits, labels
    pairs = list(zip(prompts, targets, strict=True))
    ids = padded([(*prompt, *target)[:-1] for prompt, target in pairs], 0)
    labels = padded([(*[-100] * (len(prompt) - 1), *target) for prompt, target in pairs], -100)
    told = (labels >= 0).any(0).nonzero()[:, 0]
    # The head is a model's widest layer: let it read no position without a target
    skips = "logits_to_keep" in inspect.signature(model.forward).parameters
    some = {"logits_to_keep": told} if skips else {}
    logits = model(input_ids=ids, use_cache=False, **some).logits
    return logits if skips else logits[:, told], labels[:, told]
