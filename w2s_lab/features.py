"""One pass of a frozen trunk over each text, ever: token states, kept in the cache by content.

It does not train. Entries are found by (weights and tokenizer, block, text), so a changed text or
weight is a miss, never a stale hit.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from w2s_lab.assets import atomic_folder, cache_dir, is_whole
from w2s_lab.models import Trunk
from w2s_lab.progress import bar

MAX_TOKENS = 384  # the longest clause of the indemnity task; longer texts are cut, for all alike
# Padded tokens of one batch: a CPU keeps their states in its cache, a GPU has to be filled
BATCH_TOKENS = {"cpu": 4096, "cuda": 65_536, "mps": 16_384}
FORMAT = "2"  # raise it when what is stored changes


@dataclass(frozen=True)
class States:
    """Ragged token states of many texts.

    Attributes:
        flat: states of all tokens, one text after another, float16, shape (tokens, dim).
        offsets: where each text begins, and the end, shape (items + 1,).
        seconds_per_token: what the trunk pass took when it was made.
    """

    flat: np.ndarray
    offsets: np.ndarray
    seconds_per_token: float

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


def token_states(trunk: Trunk, texts: Sequence[str], *, pool: bool = False) -> States:
    """The states of every token of every text after the trunk's block; cached.

    Args:
        trunk: the frozen model.
        texts: any number, in any order; repeats are computed once.
        pool: keep only the mean over each text's tokens, one row per text.

    Raises:
        W2SError: the cache cannot be written, or the disk is full.
    """
    kind = f"{trunk.key}-{trunk.layer}-{'mean' if pool else 'tokens'}-{MAX_TOKENS}-{FORMAT}"
    kind += "" if trunk.dtype == "float32" else f"-{trunk.dtype}"
    home = cache_dir() / "features" / kind
    names = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
    while True:
        shards = _shards(home)
        known = {name for shard in shards for name in shard.names}
        missing = {name: text for name, text in zip(names, texts, strict=True) if name not in known}
        if not missing:
            wanted = set(names)
            shards = [s for s in shards if not wanted.isdisjoint(s.names)] or shards
            # marks those that are read, and no others, as used; one may have been trimmed since
            if all(is_whole(shard.folder) for shard in shards):
                return _gather(shards, names)
            continue
        content = hashlib.sha256("".join(missing).encode()).hexdigest()[:20]

        def fill(folder: Path, missing: dict[str, str] = missing) -> None:
            _compute(trunk, missing, pool, folder)

        atomic_folder(home / content, fill)


@dataclass(frozen=True)
class _Shard:
    folder: Path
    names: list[str]
    offsets: np.ndarray
    seconds: float
    tokens: int


def _shards(home: Path) -> list[_Shard]:
    found = []
    for folder in sorted(home.glob("[!.]*")):
        if not is_whole(folder, mark=False):
            continue
        try:
            meta = json.loads((folder / "meta.json").read_text())
            offsets = np.load(folder / "offsets.npy")
        except OSError:  # trimmed just now
            continue
        found.append(_Shard(folder, meta["names"], offsets, meta["seconds"], meta["tokens"]))
    return found


def _gather(shards: list[_Shard], names: list[str]) -> States:
    """The named texts' rows out of all shards, in the order of `names`."""
    place = {name: (s, i) for s, shard in enumerate(shards) for i, name in enumerate(shard.names)}
    flats = [np.load(shard.folder / "states.npy", mmap_mode="r") for shard in shards]
    rows = [(s, *shards[s].offsets[i : i + 2]) for s, i in (place[name] for name in names)]
    lengths = np.array([end - start for _, start, end in rows], dtype=int)
    offsets = np.concatenate([[0], lengths.cumsum()])
    flat = np.empty((offsets[-1], flats[0].shape[1]), np.float16)
    for (s, start, end), at in zip(rows, offsets, strict=False):
        flat[at : at + end - start] = flats[s][start:end]
    seconds, tokens = (
        sum(getattr(shard, part) for shard in shards) for part in ("seconds", "tokens")
    )
    return States(flat, offsets, seconds / tokens)


def _compute(trunk: Trunk, texts: dict[str, str], pool: bool, folder: Path) -> None:
    """Writes states.npy, offsets.npy and meta.json for `texts` (name → text)."""
    ids = token_ids(trunk, list(texts.values()))
    lengths = np.array([len(row) for row in ids])
    rows = np.ones(len(ids), int) if pool else lengths
    offsets = np.concatenate([[0], rows.cumsum()])
    flat = None
    trunk.blocks()  # loads the model: its time is not the reading's
    started = time.perf_counter()
    with bar(None, f"{trunk.name} reads", len(ids), unit="text") as seen:
        for batch, states in read(trunk, ids, pool=pool):
            if flat is None:
                shape = (int(offsets[-1]), states.shape[-1])
                flat = np.lib.format.open_memmap(
                    folder / "states.npy", mode="w+", dtype=np.float16, shape=shape
                )
            for row, item in enumerate(batch):
                flat[offsets[item] : offsets[item + 1]] = states[row, : rows[item]]
            seen.update(len(batch))
    assert flat is not None  # `texts` is never empty
    flat.flush()
    np.save(folder / "offsets.npy", offsets)
    seconds = time.perf_counter() - started
    meta = {"names": list(texts), "seconds": seconds, "tokens": int(lengths.sum())}
    (folder / "meta.json").write_text(json.dumps(meta))


def token_ids(trunk: Trunk, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text, cut to `MAX_TOKENS`; at least one, so that no item is dropped."""
    tokenizer = trunk.tokenizer
    blank = tokenizer.unk_token_id or tokenizer.eos_token_id or 0
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        cut = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)
        return [row or [blank] for row in cut["input_ids"]]
    # in half the time: without lists of masks, types and offsets
    fast.enable_truncation(MAX_TOKENS, direction=tokenizer.truncation_side)
    fast.no_padding()
    return [one.ids or [blank] for one in fast.encode_batch_fast(list(texts))]


def read(
    trunk: Trunk, ids: Sequence[Sequence[int]], *, pool: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The states of texts given as token ids, batch by batch, longest first; nothing is kept.

    Args:
        pool: the mean over each text's tokens instead.

    Yields:
        places of a batch's texts in `ids`, (batch,), and their states, float16, (batch, tokens,
        dim) padded on the right; (batch, 1, dim) with `pool`.
    """
    import torch

    lengths = np.array([len(row) for row in ids])
    budget = BATCH_TOKENS[torch.device(trunk.device).type]
    for batch in batches_of_like_length(lengths, budget):
        padded = np.zeros((len(batch), lengths[batch[0]]), np.int64)  # the longest comes first
        for row, item in enumerate(batch):
            padded[row, : lengths[item]] = ids[item]
        mask = np.arange(padded.shape[1]) < lengths[batch, None]
        inputs = torch.from_numpy(padded).to(trunk.device)
        real = torch.from_numpy(mask.astype(np.int64)).to(trunk.device)
        # not around `yield`: the caller's code is none of its business
        with torch.inference_mode():
            states = trunk.states(inputs, real)
            if pool:
                states = (states.float() * real[..., None]).sum(1, keepdim=True)
                states = states / real.sum(1)[:, None, None]
            states = states.half().cpu().numpy()
        yield batch, states


def batches_of_like_length(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Item indices in batches that hold at most `budget` padded tokens each, longest first."""
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, int(budget // lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches
