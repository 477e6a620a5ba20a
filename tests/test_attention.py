"""Does attention without copies say what the library's says?"""

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from w2s_lab.attention import grouped


class Module(torch.nn.Module):
    """What the library's attention asks of a block: how many queries share a key."""

    num_key_value_groups = 3
    is_causal = True


@pytest.mark.parametrize("tokens", [1, 4])
@pytest.mark.parametrize("masked", [True, False])
def test_queries_that_share_keys_find_the_same(tokens, masked):
    generator = torch.Generator().manual_seed(tokens)
    query = torch.randn(2, 6, tokens, 8, generator=generator)
    total = tokens + 5 * masked
    key, value = torch.randn(2, 2, 2, total, 8, generator=generator)
    mask = None
    if masked:  # of the second row two places are padding
        mask = torch.ones(2, 1, tokens, total, dtype=torch.bool)
        mask[:, :, :, 5:] = torch.ones(tokens, tokens).tril().bool()
        mask[1, :, :, :2] = False
    given = (Module(), query, key, value, mask)
    wanted, _ = sdpa_attention_forward(*given, scaling=0.3)
    found, weights = grouped(*given, scaling=0.3)
    assert found.shape == (2, tokens, 6, 8) and weights is None
    assert torch.allclose(found, wanted, atol=1e-6)
