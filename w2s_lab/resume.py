"""The state of a training in a file: written whole or not at all, read by a run of the same kind.

It neither trains nor decides when to keep. The file holds whole tensors, whether the weights lie in
one place or in shares (`team`), so a run may go on with other processes than it began with.
"""

import hashlib
import os
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from w2s_lab import team
from w2s_lab.errors import W2SError

UNREADABLE = (OSError, RuntimeError, KeyError, pickle.UnpicklingError, EOFError, ValueError)


def restore(file: Path | None, run: dict, model, optimizer) -> tuple[list[float], bool]:
    """The means so far and whether the run was stopped; model and optimizer as they were then.

    Raises:
        W2SError: the folder takes no file, what is there is another run or is damaged.
    """
    if file is None:
        return [], False
    with _writable(file) as part:  # a folder that cannot hold the state is refused before training
        part.touch()
    if not file.exists():
        return [], False
    try:
        kept = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        other = {key: kept["run"].get(key) for key in run if kept["run"].get(key) != run[key]}
        if not other:
            _put(kept, model, optimizer)
            return kept["means"], kept["stopped"]
    except torch.OutOfMemoryError:  # the file is not to blame
        raise
    except UNREADABLE as error:
        mend = "delete it to start anew"
        raise W2SError("the state cannot be read", where=str(file), mend=mend) from error
    key, value = next(iter(other.items()))
    raise W2SError(
        f"it holds another run: {key} {value} there, {run[key]} here",
        where=str(file),
        mend="choose another folder, or delete it",
    )


def save(file: Path, run: dict, model, optimizer, means: list[float], stopped: bool) -> None:
    """Writes the state beside `file` and puts it there in one go: it is never half written.

    All processes have to call it, the first one writes.
    """
    frozen = {n for n, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    weights = {n: _whole(value) for n, value in model.state_dict().items() if n not in frozen}
    rest = optimizer.state_dict()
    moments = {
        i: {key: _whole(value) for key, value in each.items()} for i, each in rest["state"].items()
    }
    state = {"run": run, "weights": weights, "optimizer": {**rest, "state": moments}}
    if not team.first():
        return
    with _writable(file) as part:
        with part.open("wb") as stream:
            torch.save({**state, "means": means, "stopped": stopped}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, file)


def digest(things: Iterable[Any]) -> str:
    """The same few letters for the same tensors, to the last bit, and for the same plain values."""
    found = hashlib.sha256()
    for thing in things:
        if isinstance(thing, Tensor):
            found.update(f"{thing.dtype}{tuple(thing.shape)}".encode())
            plain = thing.detach().cpu().contiguous().reshape(-1)
            found.update(plain.view(torch.uint8).numpy())
        else:
            found.update(repr(thing).encode())
    return found.hexdigest()[:12]


def weights_digest(model: nn.Module) -> str:
    """The first process's `digest` of all weights, frozen ones included; all have to ask."""
    named = ((name, team.full(value)) for name, value in model.state_dict().items())
    parts = (part for pair in named for part in pair)
    if team.first():
        return team.agreed(digest(parts))
    for _ in parts:  # shares are put together by all
        pass
    return team.agreed("")


def _whole(value: Tensor) -> Tensor:
    return team.full(value).cpu() if team.is_share(value) else value


def _put(kept: dict, model: nn.Module, optimizer) -> None:
    """The kept weights and moments into their places, cut into shares where the places are."""
    places = model.state_dict()
    weights = {
        name: team.like(value, places[name]) if team.is_share(places[name]) else value
        for name, value in kept["weights"].items()
    }
    model.load_state_dict(weights, strict=False)
    # Cut before they are loaded: whole moments of all weights would not fit on the device
    places = [p for group in optimizer.param_groups for p in group["params"]]
    moments = {
        i: {key: _placed(value, places[i]) for key, value in each.items()}
        for i, each in kept["optimizer"]["state"].items()
    }
    optimizer.load_state_dict({**kept["optimizer"], "state": moments})


def _placed(value: Tensor, place: Tensor) -> Tensor:
    if team.is_share(place) and value.shape == place.shape:  # the number of steps is one for all
        return team.like(value, place)
    return value.clone()  # what is read lies in the file, which the next state replaces


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
