"""The one training loop, and which part of a model it trains.

It does not cut texts, choose data or score; what a language model loses is in `targets`, what is
kept of a training in `resume`, how processes work together in `team`. LoRA (Hu et al. 2021) is
peft's.
"""

import hashlib
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from w2s_lab import team
from w2s_lab.blocks import checkpointed, compiled, quick_products
from w2s_lab.errors import W2SError
from w2s_lab.features import batches_of_like_length
from w2s_lab.models import gains_from_bfloat16
from w2s_lab.progress import bar
from w2s_lab.resume import restore, save, weights_digest
from w2s_lab.targets import Loss
from w2s_lab.targets import target_loss as target_loss  # for those who train with both

RANK = 16  # with LoRA on every linear layer, 8 to 64 score alike (Dettmers et al. 2023, appendix A)
BUDGET = 4096  # padded tokens of one batch
STRETCH = 6  # batches' worth of shuffled examples that are sorted by length together
CLIP = 1.0  # largest norm of a step's gradient
WORTH = 100  # steps from which on half a minute of compiling pays


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
    packed: bool = False,
    checkpoint: bool = False,
    compile: bool | None = None,
    folder: str | Path | None = None,
    after_epoch: Callable[[int, nn.Module], bool | None] | None = None,
    desc: str = "fine-tuning",
) -> list[float]:
    """Trains `model` in place and leaves it in eval mode; the mean training loss of each epoch.

    AdamW on all that requires a gradient; the learning rate rises on a line, then falls on one. A
    step's gradient is that of the mean over all its target tokens, however they are split into
    batches, accumulated or spread over processes: those share out the examples of each step, so
    dropout and rounding aside their number changes the time it takes and not the result. A GPU that
    gains from bfloat16 computes in it, and takes TF32 for what stays in single precision. The same
    arguments give the same weights, on a CPU to the last bit, and PyTorch's global random state is
    left as it was.

    Args:
        model: any module whose weights to be trained are in single precision; each process has a
            whole copy of it, or its share (`team.split`).
        lengths: tokens of each example, (examples,); a batch is made of examples of like length.
        loss: from the model and a batch's examples (indices into `lengths`) to the summed loss, a
            scalar with its gradient, and the number of target tokens that it is the sum over.
        epochs: passes over the examples.
        lr: highest learning rate.
        seed: of the order of examples and of dropout.
        budget: tokens of one batch, padding included.
        accumulate: batches of one step.
        warmup: share of the steps in which the learning rate rises, in [0, 1).
        packed: whether a batch takes examples as they come, of any lengths: for a loss that pads
            none (`target_loss` with `packed`).
        checkpoint: whether blocks keep their input alone for the backward pass and compute all else
            again (Chen et al. 2016): much less memory, a third more arithmetic. Models of
            transformers only.
        compile: whether blocks are compiled; left out, on a GPU if the training is long enough
            and the weights are whole.
        folder: where the state is kept after each epoch. A later call with the same arguments,
            model and data goes on from there to the same result. Other first weights are refused,
            and other data where the loss can tell them (`target_loss`).
        after_epoch: called with the number of epochs done and the model, in eval mode; True ends
            the training (in every process alike). A resumed run calls it again for the last epoch
            that was kept.

    Raises:
        W2SError: an argument out of range, nothing to train, a loss or gradient that is not finite,
            a folder that holds another run, cannot be written or is another one for each process,
            a model without checkpoints.
    """
    lengths = np.asarray(lengths)
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    _check(learning, lengths, epochs, lr, seed, budget, accumulate, warmup)
    _meet(model, learning)
    device = next(iter(learning.values())).device
    optimizer = torch.optim.AdamW(learning.values(), lr, weight_decay=weight_decay, fused=True)

    plan = [_steps_of(lengths, budget, accumulate, seed, e, packed) for e in range(epochs)]
    steps = sum(map(len, plan))
    rise = warmup * steps
    run = {
        **{"epochs": epochs, "lr": lr, "seed": seed, "budget": budget, "warmup": warmup},
        **{"weight_decay": weight_decay, "batches of a step": accumulate, "packed": packed},
        "lengths": _digest(lengths),
        "trained weights": _digest([(name, tuple(p.shape)) for name, p in learning.items()]),
    }
    file = Path(folder) / "fit.pt" if folder is not None else None
    if file is not None:
        run["first weights"] = weights_digest(model)
        # A loss of the caller's own may have none: then its data cannot be told apart
        run |= {"data": loss.content()} if hasattr(loss, "content") else {}
    means, stopped = restore(file, run, model, optimizer)
    if len({*team.gathered({team.index(): (len(means), stopped)}).values()}) > 1:
        mend = "give a folder that all machines share"
        raise W2SError("the processes found different states", where=str(file), mend=mend)
    on_gpu = device.type == "cuda"
    # In shares only if asked to: whether it pays there has not been measured
    pays = on_gpu and steps >= WORTH and not any(map(team.is_share, learning.values()))
    worth = pays if compile is None else compile

    def keep() -> None:
        if file is not None:
            save(file, run, model, optimizer, means, stopped)
            team.agreed(None)  # until it is there for all

    try:
        with (
            _fork_rng(model),
            checkpointed(model, checkpoint or team.recomputes()),
            compiled(model, worth) as plainly,
            quick_products(on_gpu),
            bar(None, desc, steps, unit="step") as seen,
        ):
            step = sum(map(len, plan[: len(means)]))
            seen.update(step)
            while not stopped:
                model.eval()
                if means and after_epoch is not None:
                    with plainly():
                        stopped = bool(after_epoch(len(means), model))
                epoch = len(means)
                if stopped or epoch == epochs:
                    break
                # Dropout depends on the epoch's number, so that a resumed run needs no generator
                chance = np.random.SeedSequence([seed, epoch, team.index()])
                torch.manual_seed(int(chance.generate_state(1)[0]))
                model.train()
                sums = torch.zeros(2, device=device)
                for batches in plan[epoch]:
                    optimizer.zero_grad()
                    total = _gradient(model, learning, loss, batches)
                    norm = team.full(nn.utils.clip_grad_norm_(learning.values(), CLIP))
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


def _meet(model: nn.Module, learning: dict) -> None:
    """The model on this process's device, with the first process's weights."""
    if team.size() == 1:
        return
    here = next(iter(learning.values()))
    team.join("cpu" if here.device.type == "cpu" else "auto")
    if team.is_share(here):
        return
    from torch.distributed import broadcast

    model.to(team.own_device(here.device.type))
    for p in learning.values():
        broadcast(p.data, 0)


def _gradient(model, learning: dict, loss: Loss, batches: list[np.ndarray]) -> Tensor:
    """Summed loss and target tokens of all batches of a step, (2,), over all processes.

    Leaves the gradient of their quotient in the weights. Dividing comes last, once all tokens are
    counted: the mean of batch means would favour the tokens of small batches.
    """
    some = next(iter(learning.values()))
    device, size = some.device, team.size()
    gains = gains_from_bfloat16(device.type)
    total = torch.zeros(2, device=device)
    parts = -(-size // len(batches))  # of a batch, each of like lengths, where processes outnumber
    pieces = [batch[k::parts] for batch in batches for k in range(min(parts, len(batch)))]
    mine = pieces[team.index() :: size]
    if team.is_share(some) and len(mine) < -(-len(pieces) // size):
        mine.append(pieces[0][:0])  # none can compute without the others
    for rows in mine:
        idle = not len(rows)
        with torch.autocast(device.type, torch.bfloat16, enabled=gains):
            lost, tokens = loss(model, batches[0][:1] if idle else rows)
        (lost * 0 if idle else lost).backward()
        if not idle:
            total += torch.stack([lost.detach().float(), total.new_tensor(tokens)])
    if size > 1:
        from torch.distributed import all_reduce

        all_reduce(total)
    for p in learning.values():
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        if team.is_share(p):
            p.grad /= total[1] / size  # `fully_shard` has left the mean over the processes
            continue
        if size > 1:
            all_reduce(p.grad)
        p.grad /= total[1]
    return total


def _steps_of(
    lengths: np.ndarray, budget: int, size: int, seed: int, epoch: int, packed: bool = False
) -> list[list[np.ndarray]]:
    """An epoch's steps, each a list of `size` batches, in random order.

    A batch is of like length, or `packed`: of examples as they come, as many as the budget holds.
    """
    rng = np.random.default_rng([seed, epoch])
    if packed:
        order = rng.permutation(len(lengths))
        full = _filled(lengths[order], budget)
        batches = np.split(order, full)
        return [batches[i : i + size] for i in range(0, len(batches), size)]
    parts = max(2, -(-int(lengths.sum()) // (STRETCH * budget)))  # 2: another mix in each epoch
    if len(lengths) * lengths.max() <= budget:
        parts = 1
    stretches = np.array_split(rng.permutation(len(lengths)), parts)
    batches = [s[b] for s in stretches for b in batches_of_like_length(lengths[s], budget)]
    rng.shuffle(batches)
    return [batches[i : i + size] for i in range(0, len(batches), size)]


def _filled(lengths: np.ndarray, budget: int) -> list[int]:
    """Where new batches begin, so that none holds more tokens than the budget, if it can be."""
    begins, held = [], 0
    for i, length in enumerate(lengths.tolist()):
        if held and held + length > budget:
            begins.append(i)
            held = 0
        held += length
    return begins


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
