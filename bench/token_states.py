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
from measuring import alternate, main, matmul_rate, row

import w2s_lab as w2s
from w2s_lab import features
from w2s_lab.models import LADDER, trunk

COUNT = {"smoke": 24, "lab": 2000, "full": 13_000}
REPEATS = {"smoke": 1, "lab": 3, "full": 3}
BATCH = 32  # the default of `encode`, and what tutorials take


def measure(size: str = "lab", device: str = "cpu") -> list[dict]:
    """Rows: the depth that the lessons read, and the whole model, against each peer."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    texts = list(w2s.load_task("indemnity", size="smoke" if size == "smoke" else "lab").inputs)
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[: COUNT[size]]]
    lesson = trunk("minilm", device=device)
    whole = lesson.at(len(lesson.blocks()))
    whole.blocks()  # loaded before the clock starts, like the peers' models
    encoder = SentenceTransformer(str(lesson.folder), device=device)
    encoder.max_seq_length = features.MAX_TOKENS
    tokenizer = AutoTokenizer.from_pretrained(lesson.folder)
    model = AutoModel.from_pretrained(lesson.folder, dtype=torch.float32).to(device).eval()

    def ours(depth):
        cache = features.cache_dir
        with tempfile.TemporaryDirectory() as folder:
            features.cache_dir = lambda: Path(folder)
            try:
                return features.token_states(depth, texts)
            finally:
                features.cache_dir = cache

    def encode():
        return encoder.encode(
            texts, batch_size=BATCH, output_value="token_embeddings", show_progress_bar=False
        )

    @torch.inference_mode()
    def plain():
        found = []
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            inputs = tokenizer(
                some, padding=True, truncation=True, max_length=384, return_tensors="pt"
            ).to(device)
            states = model(**inputs).last_hidden_state.cpu()
            found += [s[m] for s, m in zip(states, inputs["attention_mask"].bool(), strict=True)]
        return found

    works = [lambda: ours(lesson), lambda: ours(whole), encode, plain]
    short, deep, library, loop = alternate(*works, repeats=REPEATS[size], device=device)
    peers = {"sentence-transformers `encode`": library, "plain transformers loop": loop}
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
    """Both computed the same: half precision keeps 11 bits."""
    flat = np.concatenate([states.float().numpy() for states in theirs])
    wrong = abs(flat - ours.flat.astype(np.float32)).max()
    assert wrong < 0.05, f"the states differ by {wrong:g}"


if __name__ == "__main__":
    main(measure)
