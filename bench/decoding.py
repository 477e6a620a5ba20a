"""Batched greedy decoding against the library's own `generate`, on the same prompts.

    python bench/decoding.py

Both start from the prompts' token ids: ours reads them into an empty cache first.
"""

import os
import tempfile
from pathlib import Path

os.environ["W2S_QUIET"] = "1"

import torch
from measuring import alternate, main, matmul_rate, once, row
from transformers import AutoModelForCausalLM

import w2s_lab as w2s
from w2s_lab import generate
from w2s_lab.models import language_model

ROWS = {"smoke": 3, "lab": 64, "full": 512}
LIMIT = {"smoke": 3, "lab": 24, "full": 64}
REPEATS = {"smoke": 1, "lab": 3, "full": 5}


def measure(size: str = "lab", device: str = "cpu") -> list[dict]:
    """One row: questions about functions, answered by the strong model."""
    task = w2s.load_task("code", size="smoke" if size == "smoke" else "lab")
    rows = [*task.splits["test"], *task.splits["transfer"]][: ROWS[size]]
    documents, questions = [task.inputs[i] for i in rows], [task.questions[i] for i in rows]
    lm = language_model("smollm2", device=device)
    plain = AutoModelForCausalLM.from_pretrained(lm.folder, dtype=torch.float32).to(device).eval()
    top, limit = generate.Top(lm, lm.depth - 3, lm.depth), LIMIT[size]

    def ours() -> list[str]:
        cache = generate.cache_dir
        with tempfile.TemporaryDirectory() as folder:
            generate.cache_dir = lambda: Path(folder)
            try:
                prompts = generate.Prompts(lm, documents, questions)
                texts = generate.write(top, prompts, range(len(rows)), limit=limit)
                del prompts
            finally:
                generate.cache_dir = cache
        return texts

    ids = generate.Prompts(lm, documents, questions).ids
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))  # like lengths side by side

    def theirs(side_by_side: int) -> list[str]:
        texts = [""] * len(ids)
        for start in range(0, len(order), side_by_side):
            some = order[start : start + side_by_side]
            width = max(len(ids[i]) for i in some)
            fills = [width - len(ids[i]) for i in some]
            padded = [[0] * fill + list(ids[i]) for fill, i in zip(fills, some, strict=True)]
            mask = [[0] * fill + [1] * (width - fill) for fill in fills]
            with torch.inference_mode():
                said = plain.generate(
                    torch.tensor(padded, device=device),
                    attention_mask=torch.tensor(mask, device=device),
                    **{"do_sample": False, "max_new_tokens": limit},
                    **{"pad_token_id": 0, "eos_token_id": lm.end},
                )
            for i, one in zip(some, said, strict=True):
                texts[i] = lm.tokenizer.decode(one[width:], skip_special_tokens=True).strip()
        return texts

    sizes = (
        [size for size in (16, len(ids) // 2, len(ids)) if size] if len(ids) > 16 else [len(ids)]
    )
    tried = {size: once(lambda size=size: theirs(size), device)[0] for size in sizes}
    best = min(tried, key=tried.__getitem__)
    mine, library = alternate(ours, lambda: theirs(best), repeats=REPEATS[size], device=device)
    same = sum(a == b for a, b in zip(mine.value, library.value, strict=True))
    written = sum(len(lm.tokenizer(text)["input_ids"]) + 1 for text in mine.value)
    tokens = sum(map(len, ids))
    operations = tokens * lm.flops_per_token(head=False) + written * lm.flops_per_token()
    return [
        row(
            f"decoding, {len(rows)} prompts, up to {limit} tokens",
            f"transformers `generate`, sorted by length, {best} side by side",
            mine,
            library,
            share=operations / mine.median / matmul_rate(device),
            tried={f"{size} side by side": round(seconds, 1) for size, seconds in tried.items()},
            agreement=f"{same} of {len(rows)} texts the same",
        )
    ]


if __name__ == "__main__":
    main(measure)
