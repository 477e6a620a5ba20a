"""The repeated layers of a model, and how a GPU or a small memory has them run while it trains.

It trains nothing and changes no result but by rounding. Checkpoints: Chen et al. 2016.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import nn

from w2s_lab.errors import W2SError
from w2s_lab.targets import bare


def blocks(model: nn.Module) -> list[nn.Module]:
    """The repeated layers of a model, of its encoder first; empty where it has no list of them."""
    found: list = []
    for child in model.children():
        found += list(child) if isinstance(child, nn.ModuleList) else blocks(child)
    return found


@contextmanager
def checkpointed(model: nn.Module, on: bool) -> Iterator[None]:
    """Within it the blocks of a model in training mode keep no more than their input."""
    inner = bare(model)
    if not on:
        yield
        return
    if not getattr(inner, "supports_gradient_checkpointing", False):
        mend = "leave `checkpoint` out and lower the budget"
        raise W2SError("the model has no checkpoints", where=type(inner).__name__, mend=mend)
    # newer and older releases of transformers 5
    kind = "activation" if hasattr(inner, "activation_checkpointing_enable") else "gradient"
    getattr(inner, f"{kind}_checkpointing_enable")({"use_reentrant": False})
    try:
        yield
    finally:
        getattr(inner, f"{kind}_checkpointing_disable")()


@contextmanager
def compiled(model: nn.Module, on: bool) -> Iterator[Callable]:
    """Within it the model's blocks are compiled, once for batches of all widths.

    Yields:
        a context in which they are not: writing would compile anew for each token's cache.
    """
    if not on:
        yield nullcontext
        return
    parts = blocks(model) or [model]
    for part in parts:
        part.compile(dynamic=True)
    try:
        yield lambda: torch.compiler.set_stance("force_eager")
    finally:
        for part in parts:
            part._compiled_call_impl = None  # what `compile` has set; no public way leads back


@contextmanager
def quick_products(on: bool) -> Iterator[None]:
    """Within it a GPU rounds what it multiplies in single precision to TF32's ten bits."""
    if not on:
        yield
        return
    parts = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    new: list[Any] = [part for part in parts if hasattr(part, "fp32_precision")]  # PyTorch 2.9
    fine = [part.fp32_precision for part in new]
    before = None
    # It fails once somebody has used the newer way (transformers with `tf32=True`)
    with suppress(RuntimeError):
        before = torch.get_float32_matmul_precision()
    if before is None:
        new[0].fp32_precision = "tf32"
    else:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        if before is not None:
            torch.set_float32_matmul_precision(before)
        for part, precision in zip(new, fine, strict=True):  # the older way leaves other names
            part.fp32_precision = precision
