"""Name → something that writes, scores texts and can be taught: blocks of a model, or all of it.

It knows nothing of weak and strong. `Blocks` trains the top blocks of a small model over prompts
that were read once (sizes smoke and lab); `Lead` copies instead of writing. At full size `Whole`,
in its own room, trains LoRA or all weights of any causal or encoder-decoder model.
"""

import re
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from w2s_lab.errors import W2SError

BLOCKS = 3  # trained from the top; two more or less make little difference
BATCH = 256  # target tokens of one step
RATE = 3e-4  # highest learning rate of the trained blocks


class Blocks:
    """Writers that share a small model's reading of all prompts and differ in their top blocks."""

    def __init__(
        self,
        name: str,
        documents: Sequence[str],
        questions: Sequence[str],
        device: str,
        unlabelled: Sequence[int] | None = None,
    ):
        """Finds the model; it is read when it is needed.

        Args:
            name: a rung of `models.LADDER`, "smollm2:20" for one that is cut after 20 blocks.
            documents: one for each item; cut to `DOCUMENT` characters.
            questions: what is asked about them.
            unlabelled: items whose documents a cut model may read for its `shortcut`; all of them
                by default.
        """
        from w2s_lab.models import language_model

        self.name = name
        lm = language_model(name, device=device)
        self.device, self.depth, self.key = lm.device, lm.depth, lm.key
        # a cut model reads as the whole one does, up to where it is cut
        self.lm = language_model(name.partition(":")[0], device=device) if ":" in name else lm
        self.tokenizer = self.lm.tokenizer
        self.first = max(0, self.depth - BLOCKS)
        unlabelled = range(len(documents)) if unlabelled is None else unlabelled
        self._read = [documents[i] for i in unlabelled]
        self.prompts = _prompts(self.lm, self.key, tuple(documents), tuple(questions))
        self.tell = lru_cache(maxsize=32)(self._tell)  # few texts, asked for often

    def _tell(self, rows: tuple[int, ...], texts: tuple[str, ...]):
        return self.prompts.tell(rows, texts, self.first)

    @cached_property
    def _way_out(self):
        """What stands between the last block and the head."""
        from torch import nn

        from w2s_lab.generate import DOCUMENT, cut
        from w2s_lab.shortcut import shortcut

        if self.depth == self.lm.depth:
            return self.lm.norm
        texts = [cut(text, DOCUMENT) for text in dict.fromkeys(self._read)]
        return nn.Sequential(shortcut(self.lm, self.depth, texts), self.lm.norm)

    def _top(self):
        from w2s_lab.generate import Top

        return Top(self.lm, self.first, self.depth, self._way_out)

    def untouched(self):
        """The model as it was published; a cut one with its `shortcut`."""
        return self._top().requires_grad_(False)

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
    ):
        """A writer that has learned to answer the prompts `rows` with `texts`.

        Args:
            weights: how much each text counts; those of weight 0 are left out.
            teacher: other `Blocks`, their writer and a temperature, to match the writer's
                distributions over the next token instead of its texts.
            after_epoch: called with the epoch, from 0, and the writer.
        """
        import torch
        from torch.nn.functional import cross_entropy

        from w2s_lab.finetune import fit

        weights = np.ones(len(rows)) if weights is None else np.asarray(weights, float)
        kept = np.flatnonzero(weights > 0).tolist()
        if not len(kept):
            raise W2SError("no text to learn", where=desc, mend="give one a weight above 0")
        rows, texts = tuple(rows[i] for i in kept), tuple(texts[i] for i in kept)
        told, top = self.tell(rows, texts), self._top()
        tutor = teacher[0].tell(rows, texts) if teacher else None
        # a mean of one over all tokens, so that the learning rate means the same
        counts = weights[kept] / np.average(weights[kept], weights=told.lengths)

        def loss(model, batch):
            logits, targets = model(told, batch)
            if teacher is None or tutor is None:
                each = cross_entropy(logits, targets, reduction="none")
            else:
                each = _distilled(logits, teacher[1], tutor, batch, teacher[2])
            weight = torch.from_numpy(np.repeat(counts[batch], told.lengths[batch])).to(each)
            return (each * weight).sum(), len(targets)

        def watch(epoch, model):
            if after_epoch is not None:
                after_epoch(epoch - 1, model)

        settings: dict[str, Any] = {"epochs": epochs, "lr": RATE, "seed": seed, "budget": BATCH}
        fit(top, told.lengths, loss, **settings, after_epoch=watch, desc=desc)
        return top.requires_grad_(False)

    def write(self, writer, rows: Sequence[int], limit: int, desc: str = "") -> list[str]:
        """The writer's greedy answers."""
        return self.write_all([writer], rows, limit, desc)[0]

    def write_all(self, writers, rows: Sequence[int], limit: int, desc="") -> list[list[str]]:
        """Each writer's greedy answers, side by side."""
        from w2s_lab.generate import write_all

        return write_all(writers, self.prompts, rows, limit=limit, desc=desc)

    def score(self, writer, rows: Sequence[int], texts: Sequence[str]) -> np.ndarray:
        """Mean log-probability per token of each text, in nats, end of turn included, (items,)."""
        from w2s_lab.generate import log_likelihood

        told = self.tell(tuple(rows), tuple(texts))
        return np.array([each.mean() for each in log_likelihood(writer, told)])

    def towards(self, writer, share: float):
        """A writer that went only this share of the way from the untouched model."""
        return writer.towards(share)

    def cost(self) -> dict[str, float]:
        """Mean prompt tokens, operations per token read and written, seconds per token read."""
        prompts, lm = self.prompts, self.lm
        part = sum(p.numel() for block in lm.blocks[: self.depth] for p in block.parameters())
        out = sum(p.numel() for p in self._way_out.parameters())
        return {
            "prompt_tokens": float(np.mean(prompts.lengths + 1)),
            "read_flops": 2.0 * part,
            "write_flops": 2.0 * (part + out + lm.head.weight.numel()),
            "read_seconds": prompts.seconds_per_token * self.depth / lm.depth,
        }


@lru_cache(maxsize=2)
def _prompts(lm, key, documents, questions):
    from w2s_lab.generate import Prompts

    return Prompts(lm, documents, questions)


def _distilled(logits, writer, told, batch, temperature: float):
    """`distillation_loss` of each token, from the distributions of another writer, (tokens,)."""
    import torch

    from w2s_lab.losses import distillation_loss

    with torch.no_grad():
        probs = writer(told, batch)[0].softmax(-1)
    return distillation_loss(logits[:, None], probs[:, None], temperature=temperature)


class Lead:
    """Copies the first sentence, or turns the name of a function into words: no model at all."""

    name, device, key = "lead", "cpu", "lead"

    def __init__(self, documents: Sequence[str]):
        self.documents = documents

    def write(self, writer, rows: Sequence[int], limit: int, desc: str = "") -> list[str]:
        """The lead of each document, at most `limit` words of it."""
        return [" ".join(lead(self.documents[i]).split()[:limit]) for i in rows]

    def write_all(self, writers, rows: Sequence[int], limit: int, desc="") -> list[list[str]]:
        """The leads, for each writer the same."""
        return [self.write(writer, rows, limit) for writer in writers]

    def cost(self) -> dict[str, float]:
        """Nothing that could be measured."""
        return {"prompt_tokens": 0.0, "read_flops": 0.0, "write_flops": 0.0, "read_seconds": 0.0}


def lead(document: str) -> str:
    """The first sentence below the title; of Python code, the name of the function in words.

    >>> lead("def get_terminal_size(fallback):\\n    pass")
    'Get terminal size.'
    """
    named = re.search(r"^\s*(?:async )?def\s+(\w+)", document, re.M)
    if named:
        parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", named[1])
        return " ".join(parts).capitalize() + "." if parts else named[1]
    _, _, body = document.strip().partition("\n")
    return re.split(r"(?<=[.!?])\s+(?=[A-Z0-9])", (body or document).strip(), maxsplit=1)[0]
