"""The way out of a cut model: what its last block says, mapped to what the whole one would say.

It trains nothing by gradients and needs no label. Without it a cut model hands its head states
that the head was never made for, and writes noise. After Din et al. 2024, section 3; a bias and a
small ridge are added.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from w2s_lab.assets import atomic_folder, cache_dir
from w2s_lab.features import batches_of_like_length
from w2s_lab.models import LanguageModel
from w2s_lab.progress import bar

TOKENS = 4_000  # reading stops there: seven for each number of a state of 576
READ_TOKENS = 1024  # of one batch
# first tokens of a text: their states are huge, alike, and tell nothing of it (Xiao et al. 2024,
# "Efficient streaming language models with attention sinks", section 3.1)
SINKS = 4
RIDGE = 1e-2  # of the mean square of a state's numbers; ten or a hundred times less does as well
FORMAT = "1"  # raise it when what is stored changes


def shortcut(lm: LanguageModel, depth: int, texts: Sequence[str]) -> nn.Linear:
    """The affine map from the states after block `depth` to those after the last, least squares.

    Din et al. 2024, section 3 ("Jump to conclusions: short-cutting transformers with linear
    transformations"). The model's norm and head follow it. It is kept in the cache.

    Args:
        lm: the whole model.
        texts: read without any label, until `TOKENS` tokens are together.
    """
    content = hashlib.sha256(repr((texts, TOKENS, SINKS, RIDGE)).encode("utf-8", "surrogatepass"))
    name = f"{lm.key}-{depth}-{content.hexdigest()[:20]}-{FORMAT}"

    def fill(folder: Path) -> None:
        weight, bias = least_squares(*_states(lm, depth, texts))
        np.savez(folder / "map.npz", weight=weight.numpy(), bias=bias.numpy())

    with np.load(atomic_folder(cache_dir() / "shortcuts" / name, fill) / "map.npz") as kept:
        weight, bias = (torch.from_numpy(kept[part]).float() for part in ("weight", "bias"))
    way = nn.Linear(weight.shape[1], weight.shape[0])
    way.load_state_dict({"weight": weight, "bias": bias})
    return way.to(lm.device).requires_grad_(False)


def least_squares(given: Tensor, wanted: Tensor, ridge: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Weight (dim out, dim in) and bias (dim out,) of the affine map with the least squared error.

    Args:
        given, wanted: one row for each token, (tokens, dim in) and (tokens, dim out).
        ridge: pulls the weights, not the bias, towards zero; in mean squares of `given`.
    """
    given, wanted = given.double(), wanted.double()
    centre, aim = given.mean(0), wanted.mean(0)
    x, y = given - centre, wanted - aim
    gram = x.T @ x
    pull = max(ridge * gram.diagonal().mean().item(), 1e-9)
    weight = torch.linalg.solve(gram + pull * torch.eye(len(gram), dtype=x.dtype), x.T @ y).T
    return weight, aim - weight @ centre


@torch.inference_mode()
def _states(lm: LanguageModel, depth: int, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """States of the tokens after block `depth` and before the final norm, (tokens, dim) each."""
    found = lm.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    rows = [ids for ids in found if ids] or [[lm.end]]  # where there is nothing to read
    ends = np.cumsum([len(ids) for ids in rows])
    rows = rows[: 1 + int(np.searchsorted(ends, TOKENS))]
    lengths = np.array([len(ids) for ids in rows])
    seen: dict[str, Tensor] = {}
    hooks = [
        lm.blocks[depth - 1].register_forward_hook(lambda _, __, out: seen.update(given=out)),
        lm.norm.register_forward_pre_hook(lambda _, args: seen.update(wanted=args[0])),
    ]
    kept: dict[str, list[Tensor]] = {"given": [], "wanted": []}
    try:
        with bar(total=len(rows), desc=f"{lm.name} reads for its cut", unit="text") as told:
            for batch in batches_of_like_length(lengths, READ_TOKENS):
                ids = [torch.tensor(rows[i]) for i in batch]
                padded = nn.utils.rnn.pad_sequence(ids, batch_first=True).to(lm.device)
                lm.model.model(input_ids=padded, use_cache=False)  # nobody sees what follows it
                at, sizes = torch.arange(padded.shape[1]), torch.tensor(lengths[batch])[:, None]
                real = (at < sizes) & (at >= (sizes - 1).clamp(max=SINKS))
                for name, states in kept.items():
                    states.append(seen[name][real.to(lm.device)].cpu())
                told.update(len(batch))
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(kept["given"]), torch.cat(kept["wanted"])
