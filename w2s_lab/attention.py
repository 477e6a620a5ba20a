"""Attention for decoders in which several query heads share keys and values.

The library copies keys and values once for each query head. While texts are written these copies
are most of the work: a step takes in one token and copies the whole prompt.
"""

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED = "grouped"  # the name by which a model is loaded with it


def grouped(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **rest,
) -> tuple[Tensor, None]:
    """What transformers' `sdpa_attention_forward` returns; nothing is copied.

    Query heads that share a key head stand in line as if they were more tokens (Ainslie et al.
    2023, section 2.2, has the heads).

    Args:
        query: (batch, heads, tokens, size).
        key, value: (batch, shared heads, past and tokens, size).
        attention_mask: (batch, 1, tokens, past and tokens), as in `sdpa_attention_forward`.

    Returns:
        a tensor (batch, tokens, heads, size), and None for the weights.
    """
    if attention_mask is None:  # causal: the order of tokens matters then
        return sdpa_attention_forward(
            module, query, key, value, None, dropout=dropout, scaling=scaling, **rest
        )
    batch, heads, tokens, size = query.shape
    shared = key.shape[1]
    mask = attention_mask.repeat(1, 1, heads // shared, 1)
    found = scaled_dot_product_attention(
        query.reshape(batch, shared, -1, size), key, value, mask, dropout, scale=scaling
    )
    return found.reshape(batch, heads, tokens, size).transpose(1, 2).contiguous(), None


AttentionInterface.register(GROUPED, grouped)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
