"""Prompts that are read once; from them, batched decoding and the likelihood of given texts.

It does not train (`finetune` does). A prompt is a document and a question about it. What the
untouched model makes of a prompt, its keys and values in every block, is computed once and kept:
every writer, score and student after that pays for the written tokens only.
"""

import copy
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor, nn

from w2s_lab.assets import atomic_folder, cache_dir
from w2s_lab.errors import W2SError
from w2s_lab.features import batches_of_like_length
from w2s_lab.models import LanguageModel
from w2s_lab.progress import bar

DOCUMENT = 2400  # characters; longer inputs are cut before any model sees them, for all alike
ANSWER = 400  # characters, the same for what is to be written
READ_TOKENS = 2048  # of one batch while prompts are read: its keys and values take 100 MB
WRITE_ROWS = 96  # texts written side by side: keys and values of papers take 1.4 GB
SCORE_TOKENS = 512  # of one batch while texts are scored: logits over the vocabulary take 100 MB
FORMAT = "1"  # raise it when what is stored changes

Past = dict[int, Tensor]  # block → keys and values, (2, batch, heads, tokens, size)


def cut(text: str, characters: int) -> str:
    """The text, or its beginning up to the last space within so many characters."""
    if len(text) <= characters:
        return text
    return text[: characters + 1].rpartition(" ")[0] or text[:characters]


class Prompts:
    """Documents with questions, read by a frozen language model; the reading is kept in the cache.

    A document with several questions is read once. Keys and values are stored in half precision.

    Attributes:
        lm: the model.
        ids: token ids of each prompt, document and question, length `items`.
    """

    def __init__(self, lm: LanguageModel, documents: Sequence[str], questions: Sequence[str]):
        self.lm = lm
        before, after = lm.frame
        heads = [before + cut(text, DOCUMENT) + "\n\n" for text in documents]
        tails = [text + after for text in questions]

        def tokens(text: str) -> tuple[int, ...]:
            # one at least, even of an empty text: a writer begins by taking in the last one
            return tuple(lm.tokenizer(text, add_special_tokens=False)["input_ids"]) or (lm.end,)

        self._first = [tokens(text) for text in heads]
        self._rest = [tokens(text) for text in tails]
        self.ids = [a + b for a, b in zip(self._first, self._rest, strict=True)]
        # the last token is not stored: it is the first that a writer takes in
        self.lengths = np.array([len(ids) - 1 for ids in self.ids])
        # (block, prompt, answer) → states, as long as some `Told` holds them
        self.states: WeakValueDictionary = WeakValueDictionary()

    @cached_property
    def _places(self) -> tuple[dict, list[range], list[range]]:
        """Where each document's and each question's tokens lie in the store."""
        documents: dict[tuple, range] = {}
        end = 0
        for ids in self._first:
            if ids not in documents:
                documents[ids] = range(end, end := end + len(ids))
        rest = []
        for ids in self._rest:
            rest.append(range(end, end := end + len(ids) - 1))
        return documents, [documents[ids] for ids in self._first], rest

    @cached_property
    def _read_once(self) -> tuple[Tensor, float]:
        """Keys and values, float16, shape (blocks, 2, tokens, heads, size), mapped from disk.

        And the seconds that it took to compute them.
        """
        content = hashlib.sha256(repr((self._first, self._rest)).encode()).hexdigest()[:20]
        home = cache_dir() / "prompts" / f"{self.lm.key}-{self.lm.depth}-{FORMAT}" / content
        folder = atomic_folder(home, self._read)
        # "c": torch wants memory that could be written; what is written would not reach the file
        store = torch.from_numpy(np.load(folder / "past.npy", mmap_mode="c"))
        return store, json.loads((folder / "seconds.json").read_text())

    @cached_property
    def seconds_per_token(self) -> float:
        """What the reading took when it was done, per token of the prompts."""
        return self._read_once[1] / float(self.lengths.sum())

    @torch.inference_mode()
    def _read(self, folder: Path) -> None:
        started = time.perf_counter()
        documents, firsts, rests = self._places
        tokens = max(places.stop for places in [*firsts, *rests])
        config = self.lm.model.config
        shape = (self.lm.depth, 2, tokens, config.num_key_value_heads, self.lm.head_size)
        store = np.lib.format.open_memmap(folder / "past.npy", "w+", np.float16, shape)
        rest = [(self._rest[i][:-1], firsts[i], rests[i]) for i in range(len(self.ids))]
        parts = [(ids, range(0), places) for ids, places in documents.items()]
        with bar(total=len(parts) + len(rest), desc=f"{self.lm.name} reads", unit="text") as seen:
            for stage in (parts, [part for part in rest if len(part[0])]):
                lengths = np.array([len(ids) + len(before) for ids, before, _ in stage])
                for batch in batches_of_like_length(lengths, READ_TOKENS) if stage else []:
                    self._read_batch(store, [stage[i] for i in batch])
                    seen.update(len(batch))
        store.flush()
        (folder / "seconds.json").write_text(json.dumps(time.perf_counter() - started))

    def _read_batch(self, store, parts) -> None:
        """Reads token ids, each after what is stored of the text before them."""
        ids = _padded([torch.tensor(ids) for ids, _, _ in parts])
        before = [[places] for _, places, _ in parts]
        past, known = _gathered(torch.from_numpy(store), before, 0, self.lm.depth)
        grown = Grown(past)
        positions = known.sum(1, keepdim=True) + torch.arange(ids.shape[1])
        hidden = self.lm.embed(ids.to(self.lm.device))
        blocks = self.lm.blocks[: self.lm.depth]
        _run(self.lm, blocks, hidden, positions, _mask(known, ids.shape[1]), grown)
        for block, new in grown.new.items():
            for row, (part, _, places) in enumerate(parts):
                said = new[:, row, :, : len(part)].transpose(1, 2)
                store[block, :, places.start : places.stop] = said.half().cpu().numpy()

    def past(
        self, rows: Sequence[int], first: int, last: int, room: int = 0
    ) -> tuple[Past, Tensor]:
        """Keys and values of the prompts in blocks `first` to `last`, and which of them are real.

        Args:
            room: empty places to leave behind each prompt, for tokens to come.

        Returns:
            by block a tensor (2, batch, heads, tokens + room, size), filled from the right up to
            the room, and a bool tensor (batch, tokens), False where a shorter prompt has none.
        """
        _, firsts, rests = self._places
        places = [(firsts[i], rests[i]) for i in rows]
        found, known = _gathered(self._read_once[0], places, first, last, room)
        return {block: past.to(self.lm.device) for block, past in found.items()}, known

    def tell(self, rows: Sequence[int], texts: Sequence[str], first: int) -> "Told":
        """Texts to be scored or learned as answers to the prompts `rows`: see `Told`."""
        end = [self.lm.end]
        ids = [
            (*self.lm.tokenizer(cut(text, ANSWER), add_special_tokens=False)["input_ids"], *end)
            for text in texts
        ]
        return Told(self, tuple(int(i) for i in rows), ids, first)


@dataclass
class Told:
    """Answers to some prompts, as token ids that end the turn, and the frozen states below them.

    Attributes:
        rows: the prompt of each answer.
        targets: token ids of each answer.
        first: block from which on a writer works; the states are what the blocks below it make of
            the tokens that predict the targets, half precision, one (tokens, dim) per answer. Their
            last bits depend on the company in which an answer was first passed.
    """

    prompts: Prompts
    rows: tuple[int, ...]
    targets: list[tuple[int, ...]]
    first: int
    states: list[Tensor] = field(init=False, repr=False)

    def __post_init__(self):
        self.lengths = np.array([len(ids) for ids in self.targets])
        keys = [(self.first, *told) for told in zip(self.rows, self.targets, strict=True)]
        found = {
            key: states for key in keys if (states := self.prompts.states.get(key)) is not None
        }
        new = np.array([i for i, key in enumerate(keys) if key not in found], int)
        with torch.inference_mode():
            for batch in batches_of_like_length(self.lengths[new], SCORE_TOKENS):
                for i, states in zip(new[batch], self._pass(new[batch]), strict=True):
                    found[keys[i]] = self.prompts.states[keys[i]] = states
        self.states = [found[key] for key in keys]

    def _pass(self, batch) -> list[Tensor]:
        lm = self.prompts.lm
        # the prompt's last token predicts the first target, each target the next
        said = [
            torch.tensor([self.prompts.ids[self.rows[i]][-1], *self.targets[i][:-1]]) for i in batch
        ]
        hidden = lm.embed(_padded(said).to(lm.device))
        if self.first:
            past, known = self.prompts.past([self.rows[i] for i in batch], 0, self.first)
            positions = known.sum(1, keepdim=True) + torch.arange(hidden.shape[1])
            mask = _mask(known, hidden.shape[1])
            hidden = _run(lm, lm.blocks[: self.first], hidden, positions, mask, Grown(past))
        halves = hidden.half().cpu()
        return [halves[row, : self.lengths[i]].clone() for row, i in enumerate(batch)]


class Top(nn.Module):
    """Blocks `first` to `last` of a language model and the way to its head: what is trained.

    The prompt is read by the untouched model; these blocks, trained or not, take in the written
    tokens and look back at that reading. Blocks above `last` are left out: a cut model.
    """

    def __init__(self, lm: LanguageModel, first: int, last: int, way_out: nn.Module | None = None):
        """Copies the blocks.

        Args:
            way_out: what the last block's states pass through before the head; by default the
                model's norm. A cut model needs a `shortcut` before that.
        """
        super().__init__()
        if not 0 <= first < last <= lm.depth:
            raise W2SError(
                f"no blocks {first} to {last}", where=lm.name, mend=f"stay within 0 to {lm.depth}"
            )
        # in a list, so that untouched weights do not count as this module's
        self._untouched = [lm, way_out or lm.norm]
        self.first, self.last = first, last
        self.blocks = copy.deepcopy(lm.blocks[first:last]).requires_grad_()
        self.way_out = copy.deepcopy(way_out or lm.norm).requires_grad_()

    @property
    def lm(self) -> LanguageModel:
        return self._untouched[0]

    def forward(self, told: Told, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Logits of all targets of a batch, one answer after another, and the targets.

        Returns:
            tensors of shape (targets, vocabulary) and (targets,).
        """
        hidden = _padded([told.states[i].float() for i in batch]).to(self.lm.device)
        past, known = told.prompts.past([told.rows[i] for i in batch], self.first, self.last)
        positions = known.sum(1, keepdim=True) + torch.arange(hidden.shape[1])
        mask = _mask(known, hidden.shape[1])
        hidden = self.way_out(_run(self.lm, self.blocks, hidden, positions, mask, Grown(past)))
        real = torch.arange(hidden.shape[1]) < torch.tensor(told.lengths[list(batch)])[:, None]
        targets = torch.tensor([t for i in batch for t in told.targets[i]])
        return self.lm.head(hidden[real.to(hidden.device)]), targets.to(hidden.device)

    def towards(self, share: float) -> "Top":
        """A copy that has gone only this share of the way from the untouched weights, 0 to 1.

        Interpolated weights: Wortsman et al. 2022, section 2.
        """
        mixed = Top(self.lm, self.first, self.last, self._untouched[1])
        with torch.no_grad():
            for ours, theirs in zip(mixed.parameters(), self.parameters(), strict=True):
                ours.lerp_(theirs, share)
        return mixed.requires_grad_(False)


@torch.inference_mode()
def log_likelihood(top: Top, told: Told) -> list[np.ndarray]:
    """Log-probability of every target token, natural log, one array (tokens,) per answer."""
    found: list[np.ndarray] = [np.empty(0)] * len(told.rows)
    for batch in batches_of_like_length(told.lengths, SCORE_TOKENS):
        logits, targets = top(told, batch)
        each = -nn.functional.cross_entropy(logits, targets, reduction="none").cpu().numpy()
        ends = np.cumsum(told.lengths[batch])[:-1]
        for i, values in zip(batch, np.split(each.astype(float), ends), strict=True):
            found[i] = values
    return found


def write(
    top: Top, prompts: Prompts, rows: Sequence[int], *, limit: int, desc: str = ""
) -> list[str]:
    """What one writer answers to the prompts `rows`: see `write_all`."""
    return write_all([top], prompts, rows, limit=limit, desc=desc)[0]


@torch.inference_mode()
def write_all(
    tops: Sequence[Top], prompts: Prompts, rows: Sequence[int], *, limit: int, desc: str = ""
) -> list[list[str]]:
    """Greedy answers of each writer: the likeliest token each time, until the turn ends.

    What lies below the trained blocks is the same for all writers and runs once for all of them.
    Texts of like prompt length are written side by side; one that has ended leaves the batch, so
    nobody waits for the longest. The same text comes out alone and in company, up to ties that
    rounding decides.

    Args:
        tops: writers that train the same blocks of the same model.
        rows: the prompts, the same for every writer.
        limit: tokens after which a text that has not ended is cut off.

    Returns:
        for each writer its texts, an empty one where it ended the turn at once.
    """
    lm, rows = tops[0].lm, list(rows)
    if any((top.lm, top.first, top.last) != (lm, tops[0].first, tops[0].last) for top in tops):
        raise W2SError("other blocks are trained", where="writers", mend="let each write alone")
    # a job is a writer and a prompt
    whose, which = (a.ravel() for a in np.indices((len(tops), len(rows))))
    said: list[list[int]] = [[] for _ in whose]
    order = np.argsort(-prompts.lengths[rows][which], kind="stable")
    with bar(total=len(said), desc=desc or f"{lm.name} writes", unit="text") as seen:
        for start in range(0, len(order), WRITE_ROWS):
            alive = np.sort(order[start : start + WRITE_ROWS])  # a writer's rows lie together
            asked = [rows[i] for i in which[alive]]
            past, known = prompts.past(asked, 0, tops[0].last, room=limit)
            kept = Room(past, used=known.shape[1])
            place = known.sum(1, keepdim=True)
            token = torch.tensor([prompts.ids[i][-1] for i in asked])
            for step in range(limit):
                known = torch.cat([known, known.new_ones(len(known), 1)], 1)
                states = _step(tops, whose[alive], token, place + step, known, kept)
                token = lm.head(states).argmax(-1).cpu()
                for i, t in zip(alive, token.tolist(), strict=True):
                    said[i].append(t)
                goes_on = torch.nonzero(token != lm.end)[:, 0]
                seen.update(len(token) - len(goes_on))
                if not len(goes_on):
                    break
                kept.advance(goes_on)
                alive, token = alive[goes_on.numpy()], token[goes_on]
                known, place = known[goes_on], place[goes_on]
            else:
                seen.update(len(alive))  # cut off at the limit
            del past, kept  # before those of the next batch are gathered
    ended = [ids[: ids.index(lm.end)] if lm.end in ids else ids for ids in said]
    texts = [lm.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in ended]
    return [texts[k * len(rows) : (k + 1) * len(rows)] for k in range(len(tops))]


def _step(tops, whose: np.ndarray, token: Tensor, at: Tensor, known: Tensor, kept: "Room"):
    """States before the head of one more token in each row, (rows, dim); `whose` is sorted."""
    lm = tops[0].lm
    mask = known[:, None, None].to(lm.device)
    hidden = lm.embed(token[:, None].to(lm.device))
    hidden = _run(lm, lm.blocks[: tops[0].first], hidden, at, mask, kept)
    states = []
    for writer in np.unique(whose):
        part = slice(*np.searchsorted(whose, [writer, writer + 1]))
        own = _run(lm, tops[writer].blocks, hidden[part], at[part], mask[part], kept.part(part))
        states.append(tops[writer].way_out(own)[:, 0])
    return torch.cat(states)


class Grown:
    """Keys and values of prompts, to which a forward pass appends its own; gradients flow.

    `Room` does the same in place, for decoding. A block calls `update` as it would a cache of
    transformers.
    """

    def __init__(self, past: Past):
        self.past = past
        self.new: Past = {}

    def update(self, keys: Tensor, values: Tensor, block: int, *_, **__) -> Tensor:
        self.new[block] = torch.stack([keys, values])
        if block not in self.past:
            return self.new[block]
        return torch.cat([self.past[block], self.new[block]], 3)


class Room:
    """Keys and values of prompts with room for the tokens to come: nothing is copied per step.

    Attributes:
        held: by block a tensor (2, batch, heads, places, size).
        used: how many of the places are taken.
    """

    def __init__(self, held: Past, used: int):
        self.held, self.used = held, used

    def update(self, keys: Tensor, values: Tensor, block: int, *_, **__) -> Tensor:
        held, end = self.held[block], self.used + keys.shape[2]
        held[0, :, :, self.used : end], held[1, :, :, self.used : end] = keys, values
        return held[:, :, :, :end]

    def part(self, rows: slice) -> "Room":
        """Some of the rows; what is written there is written here."""
        part = copy.copy(self)
        part.held = {block: held[:, rows] for block, held in self.held.items()}
        return part

    def advance(self, rows: Tensor) -> None:
        """One token on, for these rows; those that ended are given up at once."""
        self.used += 1
        if len(rows) < next(iter(self.held.values())).shape[1]:
            for block, held in self.held.items():
                self.held[block] = held[:, rows]


def _run(
    lm: LanguageModel, blocks, hidden: Tensor, positions: Tensor, mask: Tensor, past
) -> Tensor:
    positions, mask = positions.to(hidden.device), mask.to(hidden.device)
    turned = lm.rotary(hidden, positions)
    for block in blocks:
        hidden = block(
            hidden,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=past,
            position_embeddings=turned,
        )
    return hidden


def _mask(known: Tensor, tokens: int) -> Tensor:
    """Who sees whom, bool (batch, 1, tokens, past + tokens): the prompt, and what came before."""
    causal = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    sees = known[:, None, :].expand(-1, tokens, -1)
    return torch.cat([sees, causal.expand(len(known), -1, -1)], 2)[:, None]


def _gathered(
    store: Tensor, places: Sequence[Sequence[range]], first: int, last: int, room: int = 0
) -> tuple[Past, Tensor]:
    """Stored keys and values at the `places` of each row, shorter rows filled from the right."""
    sizes = [sum(len(part) for part in row) for row in places]
    width = max(sizes)
    known = torch.arange(width) >= width - torch.tensor(sizes)[:, None]
    past = {}
    for block in range(first, last) if width + room else ():
        _, _, _, heads, size = store.shape
        past[block] = torch.empty(2, len(places), heads, width + room, size)
        for i, row in enumerate(places):
            at = width - sizes[i]
            past[block][:, i, :, :at] = 0
            for part in row:
                stored = store[block, :, part.start : part.stop]
                past[block][:, i, :, at : at + len(part)] = stored.transpose(1, 2)
                at += len(part)
    return past, known


def _padded(rows: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
