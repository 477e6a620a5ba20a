"""What a language model loses on the targets it should write, padded or packed into rows.

It trains nothing and chooses no batches (`finetune` does). Packing without leaks: Krell et al.
2021, sections 3.1 and 3.2; transformers makes the mask from positions that begin anew.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from w2s_lab.errors import W2SError
from w2s_lab.losses import (
    distillation_loss,
    sequence_distillation_loss,
    sequence_log_likelihood,
)
from w2s_lab.resume import digest

PROBE = (5, 3, 8)  # tokens of the texts with which packing is tried
ROUNDING = 0.02  # of a logit's spread: between one order of summing up and another, in bfloat16

Loss = Callable[[nn.Module, np.ndarray], tuple[Tensor, float]]
Ids = Sequence[Sequence[int]]


def target_loss(
    model,
    prompts: Ids,
    targets: Ids,
    *,
    weights: np.ndarray | None = None,
    teacher: Sequence | None = None,
    temperature: float = 1.0,
    packed: bool = False,
) -> tuple[np.ndarray, Loss]:
    """`lengths` and `loss` for `fit`: a language model learns to write each target to its prompt.

    An encoder-decoder model reads the prompt with its encoder. In a causal one the target follows
    the prompt, and examples are padded at the end, where it never looks: none sees another. Only
    target tokens count. `loss.content()` is a digest of what is learned, which `fit` keeps with its
    state.

    Args:
        model: the one to be trained, adapted or not.
        prompts: token ids, one list for each example.
        targets: token ids to be written, the end token included.
        weights: how much each example counts, (examples,), scaled to a mean of 1 over all tokens.
        teacher: the weak model's next-token probabilities, one (target tokens, vocabulary) array
            for each example, to be matched instead of the tokens (`sequence_distillation_loss`).
        temperature: of that distillation.
        packed: whether short examples are put behind one another in rows as wide as the longest,
            so that examples of any lengths make a batch without padding (`fit` with `packed`).
            Positions begin anew with each example and none attends to another; the head reads
            targets alone. For causal models of attention; the model is tried with it first.

    Raises:
        W2SError: no example, an empty prompt or target, an example too long for the model, an id
            that is no token of its, weights or teacher that do not fit the targets, a model that
            cannot take packed examples apart.
    """
    two = model.config.is_encoder_decoder
    counts = np.array([len(ids) for ids in targets])
    read = np.array([len(ids) for ids in prompts])
    weight = _examples(model, prompts, targets, weights, teacher)
    skips = "logits_to_keep" in inspect.signature(bare(model).forward).parameters
    if packed:
        _try_packing(bare(model))

    def padded(model, rows: np.ndarray) -> tuple[Tensor, float]:
        device, inner = next(model.parameters()).device, bare(model)
        labels = _padded([targets[i] for i in rows], -100)
        if two:
            inputs = {
                "input_ids": _padded([prompts[i] for i in rows], 0),
                "attention_mask": _padded([[1] * read[i] for i in rows], 0),
                "decoder_input_ids": inner.prepare_decoder_input_ids_from_labels(labels),
            }
            told = slice(None)
        else:
            # What comes after each position, where that is a token of the target
            labels = _padded([[-100] * (read[i] - 1) + [*targets[i]] for i in rows], -100)
            inputs = {"input_ids": _padded([[*prompts[i], *targets[i]][:-1] for i in rows], 0)}
            told = (labels >= 0).any(0).nonzero()[:, 0]
            # The head is a model's widest layer: let it read no position without a label
            inputs |= {"logits_to_keep": told} if skips else {}
            labels = labels[:, told]
        inputs = {name: value.to(device) for name, value in inputs.items()}
        logits = inner(**inputs, use_cache=False).logits
        logits, labels = logits if skips else logits[:, told], labels.to(device)
        mask = labels >= 0
        if teacher is None:
            each = -sequence_log_likelihood(logits, labels, mask)
        else:
            soft = [torch.as_tensor(teacher[i]).to(device)[None] for i in rows]
            means = [
                sequence_distillation_loss(z[m][None], p, m[m][None], temperature=temperature)
                for z, m, p in zip(logits, mask, soft, strict=True)
            ]
            each = torch.stack(means) * mask.sum(1)
        return (weight[rows].to(each) * each).sum(), int(counts[rows].sum())

    def behind_one_another(model, rows: np.ndarray) -> tuple[Tensor, float]:
        texts = [[*prompts[i], *targets[i]][:-1] for i in rows]
        spans = [(read[i] - 1, read[i] - 1 + counts[i]) for i in rows]
        logits = packed_logits(bare(model), texts, spans)
        device = logits.device
        if teacher is None:
            labels = torch.tensor([token for i in rows for token in targets[i]], device=device)
            each = nn.functional.cross_entropy(logits.float(), labels, reduction="none")
        else:
            soft = torch.cat([torch.as_tensor(teacher[i]).to(device) for i in rows])
            each = distillation_loss(logits[:, None], soft[:, None], temperature=temperature)
        shares = weight[rows].repeat_interleave(torch.as_tensor(counts[rows]))
        return (shares.to(each) * each).sum(), int(counts[rows].sum())

    def content() -> str:
        soft = [] if teacher is None else [torch.as_tensor(probs) for probs in teacher]
        ids = [[[int(token) for token in one] for one in side] for side in (prompts, targets)]
        return digest([ids, weight, float(temperature), *soft])

    lengths = read + counts - (0 if two else 1)
    loss: Any = behind_one_another if packed else padded
    loss.content = content
    return lengths, loss


def bare(model):
    """The model of transformers in what peft may have put around it."""
    return getattr(model, "get_base_model", lambda: model)()


def packed_logits(model, texts: Ids, spans: Sequence[tuple[int, int]]) -> Tensor:
    """Logits after the tokens of each text within its span, text by text, (tokens, vocabulary).

    Args:
        model: a causal model of transformers that `_try_packing` lets pass.
        texts: token ids; they are put behind one another in rows as wide as the longest.
        spans: for each text the first of its tokens that is asked for and the one after the last.
    """
    device = next(model.parameters()).device
    sizes = [len(text) for text in texts]
    # Kernels without a mask (flash attention) find where a text begins in a single row only
    one_row = "flash" in (getattr(model.config, "_attn_implementation", None) or "")
    width = sum(sizes) if one_row else max(sizes)
    rows = rows_of(sizes, width)
    ids = _padded([[token for i in row for token in texts[i]] for row in rows], 0)
    positions = torch.arange(ids.shape[1]).repeat(len(rows), 1)  # those of the filling, at the end
    begins = [0] * len(texts)
    for number, row in enumerate(rows):
        start = 0
        for i in row:
            begins[i] = number * ids.shape[1] + start
            positions[number, start : start + sizes[i]] = torch.arange(sizes[i])
            start += sizes[i]
        positions[number, start:] = torch.arange(ids.shape[1] - start)
    told = [
        torch.arange(at + span[0], at + span[1]) for at, span in zip(begins, spans, strict=True)
    ]
    places = torch.cat(told).to(device)
    with _reads_only(model.get_output_embeddings(), places):
        logits = model(
            input_ids=ids.to(device), position_ids=positions.to(device), use_cache=False
        ).logits
    return logits[0] if logits.shape[:2] == (1, len(places)) else logits.flatten(0, 1)[places]


def rows_of(sizes: Sequence[int], width: int) -> list[list[int]]:
    """Which texts share a row, so that few rows of `width` tokens hold them all.

    The longest first, each in the first row with room for it (at most 11/9 of the fewest rows, and
    6/9 of one more: Dósa 2007).
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        at = next((k for k, free in enumerate(room) if free >= sizes[i]), len(rows))
        if at == len(rows):
            rows.append([])
            room.append(width)
        rows[at].append(i)
        room[at] -= sizes[i]
    return rows


@contextmanager
def _reads_only(head: nn.Module, places: Tensor) -> Iterator[None]:
    """Within it the head, a model's widest layer, reads these places of its rows, in one row."""
    hook = head.register_forward_pre_hook(lambda _, args: (args[0].flatten(0, 1)[places][None],))
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def _try_packing(model) -> None:
    """W2SError unless a text packed beside others gives the logits that it gives alone.

    What a model makes of positions that begin anew cannot be told from its name: one that passes a
    state along, or counts distances by itself, reads on from one text into the next.
    """
    kind, mend = type(model).__name__, "leave `packed` out: examples are padded then"
    if model.config.is_encoder_decoder:
        raise W2SError("an encoder-decoder model has no rows to pack", where=kind, mend=mend)
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise W2SError("it takes no positions, which part packed texts", where=kind, mend=mend)
    rng = np.random.default_rng(0)
    known = model.get_input_embeddings().num_embeddings
    texts = [rng.integers(0, known, size).tolist() for size in PROBE]
    another = [((np.array(texts[0]) + 1) % known).tolist(), *texts[1:]]
    spans = [(0, size) for size in PROBE]
    training = model.training
    model.eval()
    try:
        alone = torch.cat([packed_logits(model, [t], [(0, len(t))]) for t in texts]).float()
        beside = packed_logits(model, texts, spans).float()
        # The second text follows the first, in whichever row
        changed = packed_logits(model, another, spans).float()
    finally:
        model.train(training)
    spread = alone.std()
    leak = (changed - beside)[PROBE[0] :].abs().max()
    if leak > 1e-5 * spread or (beside - alone).abs().max() > ROUNDING * spread:
        raise W2SError("a packed text is not read as it is alone", where=kind, mend=mend)


def _examples(model, prompts, targets, weights, teacher) -> Tensor:
    """The examples' weights, (examples,), once everything fits together; W2SError if not."""
    if not len(targets) or len(prompts) != len(targets):
        what = f"{len(prompts)} prompts and {len(targets)} targets"
        raise W2SError(what, mend="give as many of each, at least one")
    two = model.config.is_encoder_decoder
    known = model.get_input_embeddings().num_embeddings
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or math.inf
    for i, (prompt, target) in enumerate(zip(prompts, targets, strict=True)):
        if not (len(prompt) and len(target)):
            kind, mend = ("target", "end it with the end token") if len(prompt) else ("prompt", "")
            raise W2SError(f"the {kind} of example {i} has no token", mend=mend)
        least, most = min(*prompt, *target), max(*prompt, *target)
        if least < 0 or most >= known:
            what = f"example {i} has ids from {least} to {most}, the model knows 0 to {known - 1}"
            raise W2SError(what, mend="use the model's own tokenizer")
        size = max(len(prompt), len(target)) if two else len(prompt) + len(target) - 1
        if size > limit:
            what = f"example {i} takes {size} positions, the model has {limit}"
            raise W2SError(what, mend="cut the texts, for all models alike")
    counts = np.array([len(ids) for ids in targets])
    if teacher is not None and [len(probs) for probs in teacher] != counts.tolist():
        raise W2SError(
            "the teacher's distributions do not match the targets' tokens",
            mend="give each example an array of shape (target tokens, vocabulary)",
        )
    weight = np.ones(len(counts)) if weights is None else np.asarray(weights, float)
    if weight.shape != counts.shape or not (weight.min() >= 0 and 0 < weight.sum() < math.inf):
        raise W2SError(
            f"{weight.size} weights of sum {weight.sum():g} for {len(counts)} examples",
            mend="give each example one, 0 or more, not all 0",
        )
    return torch.as_tensor(weight * counts.sum() / (weight @ counts)).float()


def _padded(lists: list, fill: int) -> Tensor:
    """Whole numbers (rows, longest), filled up on the right."""
    return nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in lists], batch_first=True, padding_value=fill
    )
