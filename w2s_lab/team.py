"""The processes that train one model together: which one this is, and what they tell each other.

It starts none (`accelerate launch` and torchrun do) and is nothing but a formality for one alone.
Weights in shares: Zhao et al. 2023 (FSDP), with PyTorch's `fully_shard`, where Accelerate's own
settings file asks for it.
"""

import atexit
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_lab.errors import W2SError

if TYPE_CHECKING:
    from torch import Tensor, nn


def size() -> int:
    """How many processes work together, as their launcher told them; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def index() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def first() -> bool:
    """Whether this process is the one that prints and keeps files."""
    return index() == 0


def join(device: str = "auto") -> None:
    """Meets the other processes; on a machine with GPUs "cuda" is then this process's own.

    Raises:
        W2SError: a device by its number, or the others cannot be found.
    """
    if size() == 1:
        return
    if ":" in device:
        mend = "choose auto, cuda or cpu"
        raise W2SError("each process has a device of its own", where=device, mend=mend)
    import torch
    import torch.distributed as dist
    from accelerate import PartialState

    if dist.is_initialized():
        return
    cpu = device == "cpu" or not torch.cuda.is_available()
    try:
        PartialState(cpu=cpu)
    except (ValueError, RuntimeError) as error:
        what = f"process {index()} of {size()} cannot reach the others ({str(error).split('.')[0]})"
        mend = "start them with accelerate launch or torchrun"
        raise W2SError(what, where="RANK, WORLD_SIZE, MASTER_ADDR", mend=mend) from error
    atexit.register(_leave)


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def own_device(device: str) -> "Any":
    """The torch device of this process: "cuda" with its number, once the team has met."""
    import torch

    found = torch.device(device)
    if found.type == "cuda" and found.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return found


def share(batches: Sequence) -> list:
    """What of the batches falls to this process.

    Where the weights are in shares each process is given equally many, some perhaps twice: none can
    compute without the others.
    """
    mine = list(batches[index() :: size()])
    if in_shares() and len(mine) < -(-len(batches) // size()):
        mine.append(batches[-1])
    return mine


def gathered(part: dict) -> dict:
    """What all processes found, in each of them."""
    if size() == 1:
        return part
    from torch.distributed import all_gather_object

    parts: list = [None] * size()
    all_gather_object(parts, part)
    return {key: value for one in parts for key, value in one.items()}


def agreed(value):
    """The first process's value, in each of them."""
    return gathered({index(): value})[0]


def kept(final: Path, fill: Callable[[Path], None]) -> Path:
    """`cache.atomic_folder` for what all processes work out together and the first one keeps.

    Whether there is work is settled by the first one, once it holds the lock: who only looked
    before would work alone, or wait, if another run made the folder meanwhile. For a run that holds
    the lock the others wait no longer than PyTorch lets them (10 minutes on GPUs, 30 without).

    Raises:
        W2SError: another machine's cache is not this one's.
    """
    from w2s_lab.cache import atomic_folder, is_whole

    if size() == 1:
        return atomic_folder(final, fill)
    join()
    if first():
        called: list[bool] = []

        def fill_too(folder: Path) -> None:
            called.append(agreed(True))
            fill(folder)

        atomic_folder(final, fill_too)
        if not called:
            agreed(False)
    elif agreed(None):  # what the first one says
        with tempfile.TemporaryDirectory() as other:
            fill(Path(other))
    agreed(None)  # until the first one is done
    if not is_whole(final):
        mend = "set W2S_CACHE to a folder that all machines share"
        raise W2SError(f"process {index()} does not see it", where=str(final), mend=mend)
    return final


# Weights in shares


def in_shares() -> bool:
    """Whether the launcher's settings ask for weights in shares: `distributed_type: FSDP`."""
    return size() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def recomputes() -> bool:
    """Whether the launcher's settings ask for it: `fsdp_activation_checkpointing: true`."""
    return in_shares() and os.environ.get("FSDP_ACTIVATION_CHECKPOINTING", "").lower() == "true"


def split(model: "nn.Module", device: str, *, half: bool = False) -> None:
    """Leaves each process its share of all weights, which are put together block by block in use.

    Changed in place; the weights have to be alike in all processes, on the CPU or the device.

    Args:
        model: a model of transformers, adapted or not, which must be called itself (peft's wrapper
            around it passes on to its `forward` only).
        device: where the shares lie and the arithmetic is done.
        half: whether to compute in bfloat16.

    Raises:
        W2SError: the settings ask for FSDP 1 or to keep the shares in main memory.
    """
    import torch
    from torch.distributed import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    from w2s_lab.blocks import blocks

    for key, bad in (("FSDP_VERSION", "1"), ("FSDP_OFFLOAD_PARAMS", "true")):
        if os.environ.get(key, "").lower() == bad:
            mend = "take fsdp_version: 2 and leave fsdp_offload_params out"
            raise W2SError(f"{key.lower()}: {bad} is not supported", mend=mend)
    policy = MixedPrecisionPolicy()
    if half:
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    mesh = init_device_mesh(torch.device(device).type, (size(),))
    # True for the root as well: what stayed whole between two calls would not see new weights
    how: dict[str, Any] = {"mesh": mesh, "reshard_after_forward": True, "mp_policy": policy}
    for block in blocks(model):
        fully_shard(block, **how)
    fully_shard(model, **how)


@contextmanager
def outside_whole(model: "nn.Module") -> Iterator[None]:
    """Within it, all outside the blocks is whole: parts of the model can be called alone."""
    if not hasattr(model, "unshard"):
        yield
        return
    parts: Any = model
    parts.set_reshard_after_forward(False, recurse=False)
    parts.unshard()
    try:
        yield
    finally:
        parts.reshard()
        parts.set_reshard_after_forward(True, recurse=False)


def full(tensor: "Tensor") -> "Tensor":
    """The whole of a tensor that is in shares; all processes have to ask. Others are returned."""
    return tensor.full_tensor() if is_share(tensor) else tensor  # type: ignore[operator]


def put(place: "Tensor", whole: "Tensor") -> None:
    """Copies the whole tensor, or this process's share of it, to its place."""
    place.copy_(like(whole, place) if is_share(place) else whole)


def like(whole: "Tensor", share: "Tensor") -> "Tensor":
    """This process's share of a tensor, cut like `share`; no process asks another."""
    from torch.distributed.tensor import distribute_tensor

    mesh, cut = share.device_mesh, share.placements  # type: ignore[attr-defined]
    return distribute_tensor(whole.to(share.device), mesh, cut, src_data_rank=None)


def is_share(tensor: "Tensor") -> bool:
    """Whether a tensor is in shares."""
    return hasattr(tensor, "full_tensor")
