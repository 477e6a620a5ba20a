"""The one training loop, which part of a model it trains, and the losses of language models.

It does not cut texts, choose data or score; the model trains on the device where it lies.
LoRA is Hu et al. 2021, through peft; several processes work together through Accelerate.
"""

import hashlib
import inspect
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from w2s_lab.errors import W2SError
from w2s_lab.features import batches_of_like_length
from w2s_lab.losses import sequence_distillation_loss, sequence_log_likelihood
from w2s_lab.progress import bar

RANK = 16  # with LoRA on every linear layer, 8 to 64 score alike (Dettmers et al. 2023, appendix A)
BUDGET = 4096  # padded tokens of one batch
STRETCH = 6  # batches' worth of shuffled examples that are sorted by length together
CLIP = 1.0  # largest norm of a step's gradient

Loss = Callable[[nn.Module, np.ndarray], tuple[Tensor, float]]
Ids = Sequence[Sequence[int]]


def adapt(model, how: str, *, seed: int = 0):
    """The Hub model with the part to be trained unfrozen and all else frozen; changed in place.

    Args:
        model: a causal or encoder-decoder language model of transformers, in single precision.
        how: "whole"; "lora", low-rank additions to every linear layer but the language-model head;
            "top:K", the last K blocks (of the decoder) and the final norm.
        seed: of LoRA's first weights. The additions start as zero whatever it is.

    Returns:
        The model to go on with; for "lora" a peft model around it.

    Raises:
        W2SError: another `how`, or a K that the model does not have.
    """
    if how == "whole":
        return model.requires_grad_(True)
    if how == "lora":
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
        with _fork_rng(model), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that GPT-2's linear layers are stored transposed
            torch.manual_seed(seed)
            return get_peft_model(model, config)
    kind, _, count = how.partition(":")
    if kind != "top" or not count.isdecimal():
        raise W2SError("no such way to adapt a model", where=how, mend="whole, lora or top:K")
    stack = model.get_decoder()
    blocks = max((m for m in stack.children() if isinstance(m, nn.ModuleList)), key=len)
    if not 1 <= int(count) <= len(blocks):
        raise W2SError("no such number of blocks", where=how, mend=f"give 1 to {len(blocks)}")
    model.requires_grad_(False)
    blocks[-int(count) :].requires_grad_(True)
    for name, child in stack.named_children():
        if "norm" in type(child).__name__.lower() and "emb" not in name:  # BART's is an input's
            child.requires_grad_(True)
    return model


def fit(
    model: nn.Module,
    lengths: np.ndarray,
    loss: Loss,
    *,
    epochs: int,
    lr: float,
    seed: int = 0,
    budget: int = BUDGET,
    accumulate: int = 1,
    warmup: float = 0.1,
    weight_decay: float = 0.0,
    folder: str | Path | None = None,
    after_epoch: Callable[[int, nn.Module], bool | None] | None = None,
    desc: str = "fine-tuning",
) -> list[float]:
    """Trains `model` in place and leaves it in eval mode; the mean training loss of each epoch.

    AdamW on all that requires a gradient; the learning rate rises on a line, then falls on one. A
    step's gradient is that of the mean over all its target tokens, however they are split into
    batches, accumulated or spread over processes, each of which has a whole copy of the model. A
    GPU that gains from bfloat16 computes in it. The same arguments give the same weights, on a CPU
    to the last bit, and PyTorch's global random state is left as it was.

    Args:
        model: any module whose weights to be trained are in single precision.
        lengths: tokens of each example, (examples,); a batch is made of examples of like length.
        loss: from the model and a batch's examples (indices into `lengths`) to the summed loss, a
            scalar with its gradient, and the number of target tokens that it is the sum over.
        epochs: passes over the examples.
        lr: highest learning rate.
        seed: of the order of examples and of dropout.
        budget: padded tokens of one batch.
        accumulate: batches of one step, in each process.
        warmup: share of the steps in which the learning rate rises, in [0, 1).
        folder: where the state is kept after each epoch. A later call with the same arguments,
            model and data goes on from there to the same result.
        after_epoch: called with the number of epochs done and the model, in eval mode; True ends
            the training (in every process alike). A resumed run calls it again for the last epoch
            that was kept.

    Raises:
        W2SError: an argument out of range, nothing to train, a loss or gradient that is not finite,
            a folder that holds another run or cannot be written.
    """
    from accelerate import Accelerator
    from accelerate.utils import broadcast

    lengths = np.asarray(lengths)
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    _check(learning, lengths, epochs, lr, seed, budget, accumulate, warmup)
    team = Accelerator()  # the processes that `accelerate launch` or torchrun started, else one
    if team.num_processes > 1:
        model.to(team.device)
        broadcast([p.data for p in learning.values()])
    device = next(iter(learning.values())).device
    optimizer = torch.optim.AdamW(learning.values(), lr, weight_decay=weight_decay, fused=True)

    size = accumulate * team.num_processes
    plan = [_steps_of(lengths, budget, size, seed, epoch) for epoch in range(epochs)]
    steps = sum(map(len, plan))
    rise = warmup * steps
    run = {
        **{"epochs": epochs, "lr": lr, "seed": seed, "budget": budget, "warmup": warmup},
        **{"weight_decay": weight_decay, "batches of a step": size, "lengths": _digest(lengths)},
        "trained weights": _digest([(name, tuple(p.shape)) for name, p in learning.items()]),
    }
    file = Path(folder) / "fit.pt" if folder is not None else None
    means, stopped = _restore(file, run, model, optimizer)

    def keep() -> None:
        if file is not None and team.is_main_process:
            _save(file, run, model, optimizer, means, stopped)
        team.wait_for_everyone()

    try:
        with _fork_rng(model), bar(None, desc, steps, unit="step") as seen:
            step = sum(map(len, plan[: len(means)]))
            seen.update(step)
            while not stopped:
                model.eval()
                if means and after_epoch is not None:
                    stopped = bool(after_epoch(len(means), model))
                epoch = len(means)
                if stopped or epoch == epochs:
                    break
                # Dropout depends on the epoch's number, so that a resumed run needs no generator
                chance = np.random.SeedSequence([seed, epoch, team.process_index])
                torch.manual_seed(int(chance.generate_state(1)[0]))
                model.train()
                sums = torch.zeros(2, device=device)
                for batches in plan[epoch]:
                    optimizer.zero_grad()
                    total = _gradient(model, learning, loss, batches, team)
                    norm = nn.utils.clip_grad_norm_(learning.values(), CLIP)
                    if not torch.stack([*total, norm]).isfinite().all():
                        raise W2SError(
                            f"in step {step + 1} of {steps} the loss is {total[0] / total[1]:g}, "
                            f"the norm of its gradient {norm:g}",
                            where=desc,
                            mend=f"lower the learning rate, now {lr:g}, or look for broken inputs",
                        )
                    for group in optimizer.param_groups:
                        group["lr"] = lr * min(
                            (step + 1) / (rise + 1), (steps - step) / (steps - rise)
                        )
                    optimizer.step()
                    sums += total
                    step += 1
                    seen.update()
                means.append((sums[0] / sums[1]).item())
                keep()
            if stopped:
                keep()
    finally:
        optimizer.zero_grad()
        model.eval()
    return means


def _gradient(model, learning: dict, loss: Loss, batches: list[np.ndarray], team) -> Tensor:
    """Summed loss and target tokens of all batches of a step, (2,), over all processes.

    Leaves the gradient of their quotient in the weights. Dividing comes last, once all tokens are
    counted: the mean of batch means would favour the tokens of small batches.
    """
    device = next(iter(learning.values())).device
    gains = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    total = torch.zeros(2, device=device)
    for rows in batches[team.process_index :: team.num_processes]:
        with torch.autocast(device.type, torch.bfloat16, enabled=gains):
            lost, tokens = loss(model, rows)
        lost.backward()
        total += torch.stack([lost.detach().float(), total.new_tensor(tokens)])
    total = team.reduce(total, "sum")
    for p in learning.values():
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        if team.num_processes > 1:
            p.grad = team.reduce(p.grad, "sum")
        p.grad /= total[1]
    return total


def target_loss(
    model,
    prompts: Ids,
    targets: Ids,
    *,
    weights: np.ndarray | None = None,
    teacher: Sequence | None = None,
    temperature: float = 1.0,
) -> tuple[np.ndarray, Loss]:
    """`lengths` and `loss` for `fit`: a language model learns to write each target to its prompt.

    An encoder-decoder model reads the prompt with its encoder. In a causal one the target follows
    the prompt, and examples are padded at the end, where it never looks: none sees another. (To
    pack several into one row would save the padding, some percent where lengths are alike, but
    needs a mask of the row's square, which costs more.) Only target tokens count.

    Args:
        model: the one to be trained, adapted or not.
        prompts: token ids, one list for each example.
        targets: token ids to be written, the end token included.
        weights: how much each example counts, (examples,), scaled to a mean of 1 over all tokens.
        teacher: the weak model's next-token probabilities, one (target tokens, vocabulary) array
            for each example, to be matched instead of the tokens (`sequence_distillation_loss`).
        temperature: of that distillation.

    Raises:
        W2SError: no example, an empty prompt or target, an example too long for the model, an id
            that is no token of its, weights or teacher that do not fit the targets.
    """
    bare = getattr(model, "get_base_model", lambda: model)()  # what peft wraps
    two = model.config.is_encoder_decoder
    counts = np.array([len(ids) for ids in targets])
    read = np.array([len(ids) for ids in prompts])
    weight = _examples(model, prompts, targets, weights, teacher)
    skips = "logits_to_keep" in inspect.signature(bare.forward).parameters

    def loss(model, rows: np.ndarray) -> tuple[Tensor, float]:
        device = next(model.parameters()).device
        labels = _padded([targets[i] for i in rows], -100)
        if two:
            inputs = {
                "input_ids": _padded([prompts[i] for i in rows], 0),
                "attention_mask": _padded([[1] * read[i] for i in rows], 0),
                "decoder_input_ids": bare.prepare_decoder_input_ids_from_labels(labels),
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
        logits = model(**inputs, use_cache=False).logits
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

    return read + counts - (0 if two else 1), loss


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


def _steps_of(
    lengths: np.ndarray, budget: int, size: int, seed: int, epoch: int
) -> list[list[np.ndarray]]:
    """An epoch's steps, each a list of `size` batches of like length, in random order."""
    rng = np.random.default_rng([seed, epoch])
    parts = max(2, -(-int(lengths.sum()) // (STRETCH * budget)))  # 2: another mix in each epoch
    if len(lengths) * lengths.max() <= budget:
        parts = 1
    stretches = np.array_split(rng.permutation(len(lengths)), parts)
    batches = [s[b] for s in stretches for b in batches_of_like_length(lengths[s], budget)]
    rng.shuffle(batches)
    return [batches[i : i + size] for i in range(0, len(batches), size)]


def _check(learning, lengths, epochs, lr, seed, budget, accumulate, warmup) -> None:
    """W2SError unless `fit` can work with these."""
    for name, value, good in (
        ("epochs", epochs, epochs >= 1),
        ("lr", lr, 0 < lr < math.inf),
        ("seed", seed, seed >= 0),
        ("budget", budget, budget >= 1),
        ("accumulate", accumulate, accumulate >= 1),
        ("warmup", warmup, 0 <= warmup < 1),
    ):
        if not good:
            raise W2SError(f"{name} is {value}", where="fit", mend="choose one in its range")
    if lengths.ndim != 1 or not lengths.size or lengths.min() < 1:
        raise W2SError("no lengths, or one below 1", where="fit", mend="give each example's tokens")
    if not learning:
        raise W2SError("the model has nothing to train", where="fit", mend="`adapt` it first")
    half = [p.dtype for p in learning.values() if p.dtype in (torch.float16, torch.bfloat16)]
    if half:
        raise W2SError(
            f"the weights to train are {half[0]}: small steps would be rounded away",
            where="fit",
            mend="load the model with dtype=torch.float32; bfloat16 is used where it helps",
        )


def _digest(thing) -> str:
    """The same few letters for the same numbers and names."""
    thing = thing.tolist() if isinstance(thing, np.ndarray) else thing
    return hashlib.sha256(repr(thing).encode()).hexdigest()[:12]


def _fork_rng(model: nn.Module):
    """A context after which PyTorch's random state, here and on the model's GPU, is as before."""
    device = next(model.parameters()).device
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def _restore(file: Path | None, run: dict, model, optimizer) -> tuple[list[float], bool]:
    """The means so far and whether the run was stopped; model and optimizer as they were then."""
    if file is None:
        return [], False
    with _writable(file) as part:  # a folder that cannot hold the state is refused before training
        part.touch()
    if not file.exists():
        return [], False
    try:
        kept = torch.load(file, map_location="cpu", weights_only=True)
        other = {key: kept["run"].get(key) for key in run if kept["run"].get(key) != run[key]}
        if not other:
            model.load_state_dict(kept["weights"], strict=False)
            optimizer.load_state_dict(kept["optimizer"])
            return kept["means"], kept["stopped"]
    except Exception as error:
        mend = "delete it to start anew"
        raise W2SError("the state cannot be read", where=str(file), mend=mend) from error
    key, value = next(iter(other.items()))
    raise W2SError(
        f"it holds another run: {key} {value} there, {run[key]} here",
        where=str(file),
        mend="choose another folder, or delete it",
    )


def _save(file: Path, run: dict, model, optimizer, means: list[float], stopped: bool) -> None:
    """Writes the state beside `file` and puts it there in one go: it is never half written."""
    frozen = {n for n, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    weights = {name: value for name, value in model.state_dict().items() if name not in frozen}
    state = {"run": run, "weights": weights, "optimizer": optimizer.state_dict()}
    with _writable(file) as part:
        with part.open("wb") as stream:
            torch.save({**state, "means": means, "stopped": stopped}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, file)


@contextmanager
def _writable(file: Path) -> Iterator[Path]:
    """A name beside `file` to write to, gone afterwards; W2SError where the folder takes none."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield part
    except OSError as error:
        mend = "free some space or choose another folder"
        what = f"the state cannot be kept there ({error.strerror})"
        raise W2SError(what, where=str(file), mend=mend) from error
    finally:
        with suppress(OSError):
            part.unlink()
