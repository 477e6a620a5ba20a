"""Batched greedy decoding against the library's own `generate`, on the same batch, in one run.

    python bench/decoding.py

Both start from the prompts' token ids: ours reads them into a fresh cache first.
"""

import os
import tempfile
import time
from pathlib import Path

os.environ["W2S_QUIET"] = "1"

import torch
from transformers import AutoModelForCausalLM

import w2s_lab as w2s
from w2s_lab import assets, generate
from w2s_lab.models import language_model

ROWS, LIMIT, REPEATS = 64, 24, 3


def main() -> None:
    task = w2s.load_task("code")
    rows = task.splits["test"][:ROWS]
    documents, questions = [task.inputs[i] for i in rows], [task.questions[i] for i in rows]
    lm = language_model("smollm2")
    plain = AutoModelForCausalLM.from_pretrained(lm.folder, dtype=torch.float32).eval()
    top, cache = generate.Top(lm, lm.depth - 3, lm.depth), assets.cache_dir

    def ours() -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            generate.cache_dir = lambda: Path(folder)
            prompts = generate.Prompts(lm, documents, questions)
            texts = generate.write(top, prompts, range(len(rows)), limit=LIMIT)
            del prompts
        generate.cache_dir = cache
        return texts

    def theirs() -> list[str]:
        ids = generate.Prompts(lm, documents, questions).ids
        width = max(map(len, ids))
        padded = torch.tensor([[0] * (width - len(one)) + list(one) for one in ids])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids])
        options = {"do_sample": False, "max_new_tokens": LIMIT, "pad_token_id": 0}
        with torch.inference_mode():
            said = plain.generate(padded, attention_mask=mask, eos_token_id=lm.end, **options)
        decode = lm.tokenizer.decode
        return [decode(one[width:], skip_special_tokens=True).strip() for one in said]

    same = [a == b for a, b in zip(ours(), theirs(), strict=True)]
    ratios = []
    for _ in range(REPEATS):
        seconds = []
        for work in (ours, theirs):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
        ratios.append(seconds[1] / seconds[0])
        print(f"ours {seconds[0]:.1f} s, generate {seconds[1]:.1f} s, ratio {ratios[-1]:.2f}")
    middle = sorted(ratios)[REPEATS // 2]
    print(
        f"{ROWS} prompts, up to {LIMIT} tokens; {sum(same)} texts agree; median ratio {middle:.2f}"
    )


if __name__ == "__main__":
    main()
