"""Whole-model fine-tuning against the `Trainer` of transformers, both at their best.

    python bench/training.py [--size smoke|lab|full] [--device cuda]

Same weights to begin with, same examples, same passes and rates, prompts masked, as many tokens to
a step. Each side may choose: the Trainer its batch on the device, padded or flattened into one row
(`DataCollatorWithFlattening`; position ids keep its texts apart with SDPA as well) and, on a GPU,
compilation and Liger's kernels where they are installed; ours whether to pack. Each call copies the
first weights, within its time. Tokens are real ones, without padding. Before and afterwards both
are asked for the loss of targets, which is not timed. The share of the matrix rate counts the
arithmetic that the examples need: the head where a target is, no padding.
"""

import copy
import gc
import importlib.util
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

os.environ["W2S_QUIET"] = "1"

import numpy as np
import torch
import transformers
from measuring import Timed, alternate, main, matmul_rate, once
from transformers.models.llama import modeling_llama

from w2s_lab.finetune import _steps_of, adapt, fit, target_loss

REPEATS = 3
AGREE = 0.2  # of the fall of the loss: the two mix their batches differently
KINDS = 16  # of tokens in the targets, so that a few steps teach something
PARTS = (1, 2, 4)  # of a step's examples, one after the other on the device


@dataclass(frozen=True)
class Size:
    """A model's shape and the examples that it learns."""

    shape: dict
    examples: int
    prompt: float  # tokens, the middle one; lengths vary by half as much again
    target: float
    batch: int  # examples of one step
    rate: float


SMOLLM2 = {  # of 135M parameters, as published
    **{"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30},
    **{"num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49_152},
    **{"tie_word_embeddings": True, "max_position_embeddings": 2048},
}
LLAMA = {  # Llama 3.2 1B
    **{"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16},
    **{"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256},
    **{"tie_word_embeddings": True, "max_position_embeddings": 4096},
}
TINY = {
    **{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512},
    **{"tie_word_embeddings": True, "max_position_embeddings": 512},
}
SIZES = {
    "smoke": Size(TINY, 24, 20, 6, 8, 1e-2),
    "lab": Size(SMOLLM2, 32, 90, 22, 8, 1e-3),  # about the functions and first lines of `code`
    "full": Size(LLAMA, 2048, 250, 60, 64, 1e-4),
}


def measure(size: str = "lab", device: str = "cpu") -> list[dict]:
    """One row: tokens a second of a pass over the examples, ours and the Trainer's."""
    one = SIZES[size]
    prompts, targets = examples(one)
    lengths = np.array([len(p) + len(t) - 1 for p, t in zip(prompts, targets, strict=True)])
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**one.shape, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    start = transformers.LlamaForCausalLM(config).to(device)
    on_gpu = device.startswith("cuda")
    learned: list = []  # the model of the last call alone

    def forget() -> None:
        learned.clear()
        gc.collect()  # the Trainer and its model refer to themselves

    def fresh():
        forget()
        learned.append(copy.deepcopy(start))
        return learned[0]

    def ours(packed: bool) -> None:
        with _as_started():
            model = fresh()
            sizes, loss = target_loss(adapt(model, "whole"), prompts, targets, packed=packed)
            budget = _budget(sizes, one, packed)
            how = {"compile": True} if on_gpu else {}
            how |= {"epochs": 1, "lr": one.rate, "warmup": 0.0, "budget": budget}
            fit(model, sizes, loss, packed=packed, **how)

    def theirs(part: int, flat: bool, compiled: bool) -> None:
        with _as_started():
            _trained(fresh(), one, prompts, targets, part, flat, compiled, on_gpu)

    def tried(work) -> tuple[float, float]:
        """Seconds and the loss afterwards; a second time on a GPU, as the first one compiles."""
        try:
            seconds = min(once(work, device)[0] for _ in range(1 + on_gpu))
        except torch.OutOfMemoryError:
            return np.inf, np.nan
        return seconds, lost(learned[0], prompts, targets)

    def alone(work):
        """The same, leaving nothing that the next one's memory would be counted on top of."""
        return lambda: (work(), forget())

    mine = [lambda packed=packed: ours(packed) for packed in (False, True)]
    # A flattened batch has another width each time, which would compile anew
    ways = [(flat, compiled) for flat in (False, True) for compiled in (False, on_gpu and not flat)]
    settings = [(part, *way) for way in dict.fromkeys(ways) for part in PARTS]
    peers = [lambda setting=setting: theirs(*setting) for setting in settings]
    tries = [[tried(work) for work in side] for side in (mine, peers)]
    best = [int(np.argmin([seconds for seconds, _ in side])) for side in tries]
    forget()
    works = alone(mine[best[0]]), alone(peers[best[1]])
    we, they = alternate(*works, repeats=REPEATS, device=device)
    losses = [lost(start, prompts, targets)]
    losses += [side[k][1] for side, k in zip(tries, best, strict=True)]
    told = [
        f"{'flattened' if flat else 'padded'}{', compiled' if compiled else ''}, "
        f"batch {one.batch // part}"
        for part, flat, compiled in settings
    ]
    return [_row(start, lengths, targets, we, they, tries, told, losses, device)]


def _budget(sizes: np.ndarray, one: Size, packed: bool) -> int:
    """The least tokens of a batch, by twentieths, for no more steps than the Trainer takes."""
    tokens = sizes.mean() * one.batch
    budgets = (int(tokens * (1 + k / 20)) for k in range(100))
    most = -(-one.examples // one.batch)
    return next(b for b in budgets if len(_steps_of(sizes, b, 1, 0, 0, packed)) <= most)


@contextmanager
def _as_started() -> Iterator[None]:
    """Within it both sides find what a new process would, whatever the Trainer has set before.

    It turns TF32 on for the whole process, and Liger puts functions into the model's module.
    """
    module = vars(modeling_llama)
    before = dict(module)
    new = hasattr(torch.backends, "fp32_precision")  # from PyTorch 2.9 on
    allowed = None if new else torch.backends.cuda.matmul.allow_tf32
    try:
        yield
    finally:
        module.update(before)
        if new:
            torch.backends.fp32_precision = "none"
        else:
            torch.backends.cuda.matmul.allow_tf32 = allowed


def examples(one: Size) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts of random tokens and targets of few kinds, in lengths as texts have them."""
    rng = np.random.default_rng(0)

    def some(middle: float, known: int) -> list[list[int]]:
        sizes = np.clip(rng.lognormal(np.log(middle), 0.5, one.examples), 2, 4 * middle).astype(int)
        return [rng.integers(3, known, size).tolist() for size in sizes]

    prompts = some(one.prompt, one.shape["vocab_size"])
    return prompts, [[*ids, 2] for ids in some(one.target, 3 + KINDS)]


@torch.no_grad()
def lost(model, prompts, targets) -> float:
    """Mean loss of the target tokens of the first examples."""
    _, loss = target_loss(model, prompts, targets)
    model.eval()
    parts = np.array_split(np.arange(min(len(prompts), 64)), 8)
    sums = np.array([[value.item(), tokens] for value, tokens in (loss(model, p) for p in parts)])
    return float(sums[:, 0].sum() / sums[:, 1].sum())


def _trained(
    model, one: Size, prompts, targets, part: int, flat: bool, compiled: bool, on_gpu: bool
) -> None:
    rows = [
        {"input_ids": [*p, *t], "labels": [-100] * len(p) + t, "length": len(p) + len(t)}
        for p, t in zip(prompts, targets, strict=True)
    ]

    def collated(batch: list[dict]) -> dict:
        def padded(name: str, fill: int):
            rows = [torch.tensor(one[name]) for one in batch]
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)

        labels = padded("labels", -100)
        sizes = torch.tensor([one["length"] for one in batch])
        mask = torch.arange(labels.shape[1])[None] < sizes[:, None]
        return {
            "input_ids": padded("input_ids", 0),
            "labels": labels,
            "attention_mask": mask.long(),
        }

    import datasets

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder,
            num_train_epochs=1,
            learning_rate=one.rate,
            lr_scheduler_type="linear",
            warmup_steps=0,  # its first step would have a rate of 0, ours has none like that
            weight_decay=0.0,
            max_grad_norm=1.0,
            per_device_train_batch_size=one.batch // part,
            gradient_accumulation_steps=part,
            train_sampling_strategy="group_by_length",
            optim="adamw_torch_fused",
            bf16=on_gpu,
            tf32=True if on_gpu else None,
            use_liger_kernel=on_gpu and importlib.util.find_spec("liger_kernel") is not None,
            torch_compile=compiled,
            use_cpu=not on_gpu,
            dataloader_pin_memory=on_gpu,
            remove_unused_columns=False,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=0,
        )
        trainer = transformers.Trainer(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(rows),
            data_collator=transformers.DataCollatorWithFlattening() if flat else collated,
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()


def _row(model, lengths, targets, we: Timed, they: Timed, tries, told, losses, device: str) -> dict:
    tokens = int(lengths.sum())
    rates = [[tokens / seconds for seconds in side.seconds] for side in (we, they)]
    ratios = [a / b for a, b in zip(*rates, strict=True)]
    half = "bfloat16" if device.startswith("cuda") else "float32"
    need = operations(model, lengths, np.array([len(t) for t in targets]))
    middle = statistics.median(rates[0])
    before, we_lost, they_lost = losses
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    return {
        "work": f"fine-tuning all of a Llama of {millions:.3g}M weights, {tokens:,} tokens",
        "peer": "Trainer of transformers, length-grouped, fused AdamW, its best way and batch",
        "ours": middle,
        "theirs": statistics.median(rates[1]),
        "unit": "tokens/s",
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "ours_mb": we.megabytes,
        "theirs_mb": they.megabytes,
        "share": need * middle / tokens / matmul_rate(device, half),
        "losses before, after ours, after theirs": [round(value, 4) for value in losses],
        "losses agree": bool(abs((before - we_lost) / (before - they_lost) - 1) < AGREE),
        "padded or packed, seconds": [round(seconds, 2) for seconds, _ in tries[0]],
        "Trainer, seconds": {
            way: round(seconds, 2) for way, (seconds, _) in zip(told, tries[1], strict=True)
        },
    }


def operations(model, lengths: np.ndarray, targets: np.ndarray) -> float:
    """Multiply-adds, counted twice, of one pass forth and back over the examples.

    Three passes' worth of products with the weights (Kaplan et al. 2020, section 2.1), and of
    attention, whose causal half alone is needed.
    """
    config = model.config
    body = sum(p.numel() for p in model.model.layers.parameters())
    head = model.lm_head.weight.numel()
    attention = 2 * config.hidden_size * config.num_hidden_layers * (lengths**2).sum()
    return 3.0 * (2 * body * lengths.sum() + 2 * head * targets.sum() + attention)


if __name__ == "__main__":
    main(measure)
