"""The states of all tokens of 2,000 clauses, against the two usual ways to get them.

    python bench/token_states.py

Ours is `features.token_states` with nothing cached, written to disk in half precision. The peers
keep their states in memory, which is less work.
"""

import os
import tempfile
from pathlib import Path

os.environ["W2S_QUIET"] = "1"

import numpy as np
import torch
from measuring import alternate, main, matmul_rate, once, row

import w2s_lab as w2s
from w2s_lab import features
from w2s_lab.models import LADDER, trunk

COUNT = {"smoke": 24, "lab": 2000, "full": 13_000}
REPEATS = {"smoke": 1, "lab": 2, "full": 3}
BATCHES = {"cpu": (16, 32, 64), "cuda": (64, 256, 1024)}  # texts; the peer takes its best
TRIED = 200  # texts that are tried


def measure(size: str = "lab", device: str = "cpu") -> list[dict]:
    """Rows: the depth that the lessons read, and the whole model, against each peer."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    texts = list(w2s.load_task("indemnity", size="smoke" if size == "smoke" else "lab").inputs)
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[: COUNT[size]]]
    lesson = trunk("minilm", device=device)
    whole = lesson.at(len(lesson.blocks()))
    whole.blocks()  # loaded before the clock starts, like the peers' models
    half = getattr(torch, lesson.dtype)  # bfloat16 on a GPU that gains from it, for all alike
    encoder = SentenceTransformer(str(lesson.folder), device=device, model_kwargs={"dtype": half})
    encoder.max_seq_length = features.MAX_TOKENS
    tokenizer = AutoTokenizer.from_pretrained(lesson.folder)
    model = AutoModel.from_pretrained(lesson.folder, dtype=half).to(device).eval()

    def ours(depth):
        cache = features.cache_dir
        with tempfile.TemporaryDirectory() as folder:
            features.cache_dir = lambda: Path(folder)
            try:
                return features.token_states(depth, texts)
            finally:
                features.cache_dir = cache

    def encode(texts, batch):
        return encoder.encode(
            texts, batch_size=batch, output_value="token_embeddings", show_progress_bar=False
        )

    @torch.inference_mode()
    def plain(texts, batch):
        found = []
        for start in range(0, len(texts), batch):
            some = texts[start : start + batch]
            inputs = tokenizer(
                some, padding=True, truncation=True, max_length=384, return_tensors="pt"
            ).to(device)
            states = model(**inputs).last_hidden_state.cpu()
            found += [s[m] for s, m in zip(states, inputs["attention_mask"].bool(), strict=True)]
        return found

    def best(work) -> int:
        """The batch that suits it best, on some of the texts."""
        tried = BATCHES[torch.device(device).type]
        return min(tried, key=lambda batch: once(lambda: work(texts[:TRIED], batch), device)[0])

    sizes = best(encode), best(plain)
    works = [lambda: ours(lesson), lambda: ours(whole)]
    works += [lambda: encode(texts, sizes[0]), lambda: plain(texts, sizes[1])]
    short, deep, library, loop = alternate(*works, repeats=REPEATS[size], device=device)
    peers = {
        f"sentence-transformers `encode`, batches of {sizes[0]}": library,
        f"plain transformers loop, unsorted, batches of {sizes[1]}": loop,
    }
    _check(deep.value, loop.value)
    tokens = int(deep.value.lengths.sum())
    rate = matmul_rate(device, lesson.dtype)
    shares = {
        f"after block {LADDER['minilm'][1]}, as the lessons read": (short, lesson),
        "after the last block": (deep, whole),
    }
    return [
        row(
            f"token states of {len(texts):,} clauses, {what}",
            peer,
            mine,
            theirs,
            share=tokens * which.flops_per_token() / mine.median / rate,
            tokens=tokens,
        )
        for what, (mine, which) in shares.items()
        for peer, theirs in peers.items()
    ]


def _check(ours: features.States, theirs: list) -> None:
    """Both computed the same, up to rounding: the angle between two states of a token."""
    a = np.concatenate([states.float().numpy() for states in theirs])
    b = ours.flat.astype(np.float32)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.99, f"states of one token have a cosine of {cosine.min():.3f}"


if __name__ == "__main__":
    main(measure)
