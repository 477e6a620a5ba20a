"""Is the way out of a cut model the least-squares map, fitted on the right tokens and kept?"""

import pytest
import torch
from tiny_models import save_writer

from w2s_lab import shortcut as room
from w2s_lab.models import language_model
from w2s_lab.shortcut import SINKS, least_squares, shortcut

TEXTS = [" ".join(f"w{(7 * i + k * k) % 40}" for k in range(6 + i % 9)) for i in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_writer(tmp_path_factory.mktemp("model"))


@pytest.fixture
def lm(folder, tmp_path, monkeypatch):
    """A model of four blocks and an empty cache."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    return language_model(str(folder), device="cpu")


# --- the map --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge, weight, bias", [(0.0, 2.0, 3.0), (1.0, 1.0, 4.0)])
def test_the_line_through_three_points_by_hand(ridge, weight, bias):
    # centred x are -1, 0, 1, so x·x = 2 and x·y = 4; a ridge of 1 makes 4 / 2 to 4 / (2 + 2)
    x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[3.0], [5.0], [7.0]])
    found = least_squares(x, y, ridge)
    assert [part.item() for part in found] == pytest.approx([weight, bias], abs=1e-6)


def test_any_affine_map_is_found_again_and_no_ridge_pulls_its_bias():
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, 5, generator=generator, dtype=torch.double) for n in (60, 3))
    bias = torch.tensor([100.0, -3.0, 0.0], dtype=torch.double)
    found = least_squares(x, x @ weight.T + bias, ridge=0.0)
    assert torch.allclose(found[0], weight, atol=1e-6) and torch.allclose(found[1], bias, atol=1e-6)
    pulled = least_squares(x - x.mean(0), torch.zeros(60, 3) + bias, ridge=1e6)
    assert torch.allclose(pulled[1], bias)


def test_a_state_that_never_changes_is_no_reason_to_fail():
    weight, bias = least_squares(torch.ones(4, 2), torch.full((4, 2), 7.0))
    assert torch.isfinite(weight).all() and bias.tolist() == pytest.approx([7, 7])


# --- the model ------------------------------------------------------------------------------------


def test_a_cut_model_comes_nearer_to_the_whole_one(lm):
    given, wanted = room._states(lm, 2, TEXTS)
    error = {
        "cut": (given - wanted).square().mean(),
        "mapped": (shortcut(lm, 2, TEXTS)(given.clone()) - wanted).square().mean(),
        "mean": (wanted.mean(0) - wanted).square().mean(),
    }
    assert error["mapped"] < 0.8 * min(error["cut"], error["mean"])


def test_after_the_last_block_there_is_nothing_to_map(lm):
    given, wanted = room._states(lm, 4, TEXTS)
    assert torch.equal(given, wanted)
    assert torch.allclose(least_squares(given, wanted, 1e-9)[0], torch.eye(32).double(), atol=1e-3)


@pytest.mark.parametrize("depth", [1, 3])
def test_states_are_those_of_the_plain_model_text_by_text(lm, depth):
    states = list(zip(*room._states(lm, depth, TEXTS[:6]), strict=True))
    seen = 0
    for text in TEXTS[:6]:
        ids = torch.tensor([lm.tokenizer(text)["input_ids"]])
        last = []
        hook = lm.norm.register_forward_pre_hook(lambda _, args, last=last: last.append(args[0]))
        with torch.inference_mode():
            hidden = lm.model(ids, output_hidden_states=True).hidden_states
        hook.remove()
        for wanted in zip(hidden[depth][0, SINKS:], last[0][0, SINKS:], strict=True):
            away = [
                sum((a - b).abs().max() for a, b in zip(state, wanted, strict=True))
                for state in states
            ]
            assert min(away) < 1e-4
            seen += 1
    assert seen == len(states) > 0  # so no state of padding or of a first token is among them


def test_reading_stops_when_there_are_enough_tokens(lm, monkeypatch):
    monkeypatch.setattr(room, "TOKENS", 12)  # TEXTS have 6, 7, 8 ... words
    assert len(room._states(lm, 2, TEXTS)[0]) == (6 - SINKS) + (7 - SINKS)


@pytest.mark.parametrize("texts", [["w1"], ["w1 w2", "", "w3"]])
def test_short_and_empty_texts_are_read_as_far_as_they_go(lm, texts):
    way = shortcut(lm, 2, texts)
    assert all(torch.isfinite(p).all() for p in way.parameters())


def test_a_short_text_lets_no_first_states_of_others_in(lm):
    assert len(room._states(lm, 2, [*TEXTS, "w1"])[0]) == 1 + len(room._states(lm, 2, TEXTS)[0])


def test_texts_of_nothing_leave_a_map_all_the_same(lm):
    assert torch.isfinite(shortcut(lm, 2, ["", ""]).bias).all()


def test_it_is_fitted_once_for_each_cut_and_each_set_of_texts(lm, monkeypatch):
    fitted, through = [], room._states

    def counting(lm, depth, texts):
        fitted.append(depth)
        return through(lm, depth, texts)

    monkeypatch.setattr(room, "_states", counting)
    first = shortcut(lm, 2, TEXTS)
    again = shortcut(lm, 2, TEXTS)
    assert fitted == [2] and torch.equal(first.weight, again.weight)
    shortcut(lm, 3, TEXTS)
    shortcut(lm, 2, TEXTS[1:])
    assert fitted == [2, 3, 2]
