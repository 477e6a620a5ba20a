"""Token sequences with known next tokens: read once by a frozen model, then learned by its top.

It neither chooses nor scores documents. What the blocks below the trained ones make of a sequence
is computed once and kept; a student after that pays for its own blocks only.
"""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from w2s_lab.assets import atomic_folder, cache_dir
from w2s_lab.features import batches_of_like_length
from w2s_lab.finetune import fit
from w2s_lab.models import LanguageModel
from w2s_lab.progress import bar
from w2s_lab.shortcut import SINKS

MAX_TOKENS = 512
READ_TOKENS = 2048  # of one batch while sequences are read
STEP_TOKENS = 360  # of one training step, on average; 5,000 tokens to learn from are 14 steps
SCORE_TOKENS = 2048
LR = 1e-3  # of the last block; of 3e-4, 6e-4 and 1e-3 the best for random and oracle alike
FORMAT = "1"  # raise it when what is stored changes


@dataclass(frozen=True)
class Sequences:
    """Texts, each after its prompt, as token ids; only the text's tokens are to be predicted.

    Attributes:
        ids: token ids with the prompt, (tokens,) each; without one a text follows a start token.
        starts: place of the first token to be predicted, at least 1, (items,).
        vocabulary: the tokens that any of these texts uses, rising. Probabilities are among them:
            a shortlist (Jean et al. 2015, section 3), which saves most of the head's work.
    """

    ids: tuple[np.ndarray, ...]
    starts: np.ndarray
    vocabulary: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Tokens that a model takes in: all but the last one, (items,)."""
        return np.array([len(ids) - 1 for ids in self.ids])

    @property
    def counts(self) -> np.ndarray:
        """Tokens to be predicted, (items,)."""
        return self.lengths + 1 - self.starts


def sequences(
    lm: LanguageModel,
    texts: Sequence[str],
    prompts: Sequence[str] = (),
    *,
    vocabulary: np.ndarray | None = None,
    ended: bool | None = None,
) -> Sequences:
    """The texts as the model's tokens, each after its prompt in the model's chat format.

    Args:
        prompts: one for each text, or none at all.
        vocabulary: take this shortlist (it must hold every token of the texts).
        ended: whether the end of turn belongs to a text; by default where it answers a prompt.
    """
    before, after = lm.frame
    first = lm.tokenizer.bos_token_id
    start = [lm.end if first is None else first]
    said = lm.tokenizer([*texts], add_special_tokens=False)["input_ids"]
    asked = [start] * len(said)
    if len(prompts):
        framed = [before + prompt + after for prompt in prompts]
        asked = lm.tokenizer(framed, add_special_tokens=False)["input_ids"]
    if len(prompts) > 0 if ended is None else ended:
        said = [[*ids, lm.end] for ids in said]
    ids = [
        np.array([*a, *(s or [lm.end])])[: max(MAX_TOKENS, len(a) + 1)]
        for a, s in zip(asked, said, strict=True)
    ]
    starts = np.array([len(a) for a in asked])
    used = np.unique(np.concatenate([i[s:] for i, s in zip(ids, starts, strict=True)]))
    return Sequences(tuple(ids), starts, used if vocabulary is None else vocabulary)


class Read:
    """What a frozen model's blocks make of sequences: states of every token, kept in the cache.

    Attributes:
        states: by number of blocks passed, one (tokens, dim) tensor per sequence, half precision.
    """

    def __init__(self, lm: LanguageModel, found: Sequences, after: Sequence[int]):
        """Reads up to the highest block of `after`, or finds that it has been read."""
        self.lm, self.found = lm, found
        self.ends = np.concatenate([[0], np.cumsum(found.lengths)])
        content = hashlib.sha256()
        for ids in found.ids:
            content.update(ids.astype(np.int32).tobytes() + b"|")
        name = f"{lm.key}-{'.'.join(map(str, sorted(after)))}-{FORMAT}"
        home = cache_dir() / "features" / name / content.hexdigest()[:20]

        def fill(folder):
            for block, states in self._read(sorted(after)).items():
                np.save(folder / f"{block}.npy", states)

        folder = atomic_folder(home, fill)
        self.states = {b: torch.from_numpy(np.load(folder / f"{b}.npy")) for b in after}

    @torch.inference_mode()
    def _read(self, after: Sequence[int]) -> dict[int, np.ndarray]:
        lm, lengths = self.lm, self.found.lengths
        dim = lm.model.config.hidden_size
        kept = {block: np.empty((self.ends[-1], dim), np.float16) for block in after}
        with bar(total=len(lengths), desc=f"{lm.name} reads", unit="text") as seen:
            for batch in batches_of_like_length(lengths, READ_TOKENS):
                ids = [torch.from_numpy(self.found.ids[i][:-1]) for i in batch]
                hidden = lm.embed(nn.utils.rnn.pad_sequence(ids, batch_first=True).to(lm.device))
                for passed in range(max(after) + 1):
                    hidden = run(lm, [lm.blocks[passed - 1]], hidden) if passed else hidden
                    if passed in kept:
                        halves = hidden.half().cpu().numpy()
                        for row, i in enumerate(batch):
                            kept[passed][self.ends[i] : self.ends[i + 1]] = halves[
                                row, : lengths[i]
                            ]
                seen.update(len(batch))
        return kept

    def after_start(self, items: np.ndarray) -> dict[int, Tensor]:
        """States of some sequences by blocks passed, (tokens, dim), without the first tokens.

        Those are huge and tell nothing of a text: see `shortcut.SINKS`.
        """
        lengths = self.found.lengths[items]
        starts = self.ends[items] + np.minimum(SINKS, lengths - 1)
        spans = zip(starts, self.ends[items] + lengths, strict=True)
        rows = np.concatenate([np.arange(*span) for span in spans])
        return {block: states[rows].float() for block, states in self.states.items()}

    def padded(self, block: int, batch: Sequence[int]) -> Tensor:
        """States after `block` of some sequences, (batch, tokens, dim), in single precision."""
        rows = [self.states[block][self.ends[i] : self.ends[i + 1]].float() for i in batch]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.lm.device)

    def predicting(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Which states of `padded` predict a text's token, bool (batch, tokens), and those tokens.

        The tokens are places in the shortlist, (targets,), one text after another.
        """
        lengths, starts = self.found.lengths[batch], self.found.starts[batch]
        at = np.arange(lengths.max())
        real = (at >= starts[:, None] - 1) & (at < lengths[:, None])
        targets = np.concatenate([self.found.ids[i][self.found.starts[i] :] for i in batch])
        places = np.searchsorted(self.found.vocabulary, targets)
        device = self.lm.device
        return torch.from_numpy(real).to(device), torch.from_numpy(places).to(device)


def run(lm: LanguageModel, blocks, hidden: Tensor) -> Tensor:
    """States (batch, tokens, dim) after these blocks; each token sees those before it."""
    positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
    turned = lm.rotary(hidden, positions)
    for block in blocks:
        # without a mask attention is causal; what pads a row lies behind all that counts
        hidden = block(
            hidden, attention_mask=None, position_ids=positions, position_embeddings=turned
        )
    return hidden


class Tail(nn.Module):
    """The last blocks of a model, and its norm: what a student trains; the head is shared."""

    def __init__(self, read: Read, first: int):
        super().__init__()
        lm = read.lm
        shortlist = torch.from_numpy(read.found.vocabulary).to(lm.device)
        # in a list, so that what is not trained does not count as this module's
        self._shared = [read, lm.head.weight.detach()[shortlist]]
        self.first = first
        self.blocks = copy.deepcopy(lm.blocks[first : lm.depth]).requires_grad_()
        self.norm = copy.deepcopy(lm.norm).requires_grad_()

    def forward(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Logits over the shortlist of all texts' tokens of a batch, and the true ones.

        Returns:
            tensors of shape (targets, shortlist) and (targets,).
        """
        read, head = self._shared
        hidden = run(read.lm, self.blocks, read.padded(self.first, batch))
        real, targets = read.predicting(batch)
        return self.norm(hidden[real]) @ head.T, targets


def cut_log_probs(read: Read, depth: int, way_out: nn.Module, batch: Sequence[int]) -> Tensor:
    """Log-probabilities by the model cut after block `depth`, (targets, shortlist).

    Args:
        way_out: what the states pass before the model's norm and head, a `shortcut`.
    """
    lm = read.lm
    real, _ = read.predicting(batch)
    shortlist = torch.from_numpy(read.found.vocabulary).to(lm.device)
    states = lm.norm(way_out(read.padded(depth, batch)[real]))
    return (states @ lm.head.weight[shortlist].T).log_softmax(-1)


def learn(
    tail: Tail,
    items: np.ndarray,
    *,
    epochs: int = 1,
    lr: float = LR,
    seed: int = 0,
    teacher=None,
    share: float = 0.0,
    desc: str = "student",
) -> Tail:
    """The tail, trained in place on the sequences `items`.

    The loss is (1 − share) · cross-entropy to the texts' own tokens + share · cross-entropy to the
    teacher's distribution (Hinton et al. 2015, section 2, temperature 1).

    Args:
        teacher: from a batch of sequences to log-probabilities (targets, shortlist).
        share: weight of the teacher, 0 to 1.
    """
    read = tail._shared[0]

    def loss(model, batch):
        logits, targets = model(items[batch])
        total = (1 - share) * nn.functional.cross_entropy(logits, targets, reduction="sum")
        if share:
            with torch.inference_mode():
                said = teacher(items[batch])
            told = nn.functional.cross_entropy(logits, said.exp().clone(), reduction="sum")
            total = total + share * told
        return total, len(targets)

    # With so few steps, batches of like length would be batches of like kind: the lengths count as
    # equal, which wastes some padding in the trained blocks.
    alike = np.full(len(items), max(1, round(read.found.lengths[items].mean())))
    fit(tail, alike, loss, epochs=epochs, lr=lr, seed=seed, budget=STEP_TOKENS, desc=desc)
    return tail


@torch.inference_mode()
def mean_loss(read: Read, items: np.ndarray, log_probs, *, desc: str = "") -> np.ndarray:
    """Mean loss per token of each text in nats, (items,).

    Args:
        log_probs: from a batch of sequences to (targets, shortlist), normalized or not.
    """
    losses = np.empty(len(items))
    counts = read.found.counts[items]
    batches = batches_of_like_length(read.found.lengths[items], SCORE_TOKENS)
    with bar(total=len(items), desc=desc or "scoring", unit="text") as seen:
        for batch in batches:
            logits = log_probs(items[batch])
            _, targets = read.predicting(items[batch])
            each = nn.functional.cross_entropy(logits, targets, reduction="none").cpu().numpy()
            ends = np.cumsum(counts[batch])[:-1]
            losses[batch] = [part.mean() for part in np.split(each.astype(float), ends)]
            seen.update(len(batch))
    return losses
