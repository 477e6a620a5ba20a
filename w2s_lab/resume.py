"""The state of a training in a file: written whole or not at all, read by a run of the same kind.

It neither trains nor decides when to keep. The file holds whole tensors, whether the weights lie in
one place or in shares (`team`), so a run may go on with other processes than it began with.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from w2s_lab import team
from w2s_lab.errors import W2SError


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
        kept = torch.load(file, map_location="cpu", weights_only=True)
        other = {key: kept["run"].get(key) for key in run if kept["run"].get(key) != run[key]}
        if not other:
            _put(kept, model, optimizer)
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
    optimizer.load_state_dict(kept["optimizer"])
    for p, moments in optimizer.state.items():
        for key, value in moments.items():
            if team.is_share(p) and value.shape == p.shape:  # the number of steps is one for all
                moments[key] = team.like(value, p)


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
