"""Is a batch of heads as good as each head by itself, and does it see only what it is shown?

States are made up here; no model runs.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from w2s_lab import heads
from w2s_lab.features import States
from w2s_lab.heads import Heads, Inputs, Lessons, train

DIM = 6


def ragged(lengths, *, seed=0, dim=DIM):
    """Random states of texts of these lengths; no two dimensions have the same scale."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat = rng.standard_normal((offsets[-1], dim)) * np.linspace(1, 3, dim) + np.arange(dim)
    return States(flat.astype(np.float16), offsets, 0.0)


def inputs_of(states, *, fit=None, dim=None):
    fit = np.arange(len(states)) if fit is None else fit
    return Inputs(states, fit, dim=dim, device="cpu")


def lessons_for(classes, *, weight=None, alpha=0.0, seed=None, count=2):
    """Hard labels (students, items), all items alike unless weights are given."""
    classes = np.atleast_2d(classes)
    students = len(classes)
    return Lessons(
        np.eye(count)[classes],
        np.ones(classes.shape) if weight is None else np.atleast_2d(weight),
        np.broadcast_to(np.asarray(alpha, float), students).copy(),
        np.full((students, count), 1 / count),
        np.arange(students) if seed is None else np.atleast_1d(seed),
    )


@pytest.fixture(scope="module")
def crowd():
    """150 texts of 1 to 12 tokens, and the lessons of three unlike students."""
    rng = np.random.default_rng(1)
    inputs = inputs_of(ragged(rng.integers(1, 13, 150)))
    many = [
        lessons_for(rng.integers(0, 2, 150), alpha=alpha, seed=seed, weight=weight)
        for alpha, seed, weight in (
            (0.0, 5, None),
            (0.6, 9, rng.random(150) * 1e-6),  # each student has its own scale
            (0.3, 5, (np.arange(150) % 3 == 0) * 1.0),
        )
    ]
    return inputs, np.arange(150), many


@pytest.mark.parametrize("queries", [0, 4])
def test_heads_trained_together_equal_each_trained_alone(crowd, queries):
    inputs, items, many = crowd
    settings = {"epochs": 3, "queries": queries, "order_seed": 2}
    together = train(inputs, items, Lessons.stack(many), **settings).predict(inputs, items)
    assert together.shape == (3, 150, 2)
    for i, one in enumerate(many):
        alone = train(inputs, items, one, **settings).predict(inputs, items)
        np.testing.assert_allclose(together[i], alone[0], atol=1e-4)
    assert abs(together[0] - together[2]).max() > 0.01  # the lessons do differ


def test_each_head_learns_at_its_own_rate(crowd, monkeypatch):
    inputs, items, many = crowd
    settings = {"epochs": 2, "order_seed": 2}
    usual = Lessons.stack(many[:1] * 3)
    mixed = replace(usual, rate=np.array([1.0, 3.0, 0.25]))
    found = train(inputs, items, mixed, **settings).predict(inputs, items)
    base = heads.LEARNING_RATE
    for i, rate in enumerate((1.0, 3.0, 0.25)):
        monkeypatch.setattr(heads, "LEARNING_RATE", base * rate)
        alone = train(inputs, items, usual, **settings).predict(inputs, items)
        np.testing.assert_allclose(found[i], alone[i], atol=1e-5)
    assert abs(found[0] - found[1]).max() > 0.01  # the rates do matter
    stacked = Lessons.stack([mixed, usual])
    np.testing.assert_array_equal(stacked.rates, [1.0, 3.0, 0.25, 1.0, 1.0, 1.0])


def test_the_written_out_gradient_of_attention_is_the_true_one():
    torch.manual_seed(0)
    query = torch.randn(3, 4, dtype=torch.double, requires_grad=True)
    states = torch.randn(2, 5, 3, dtype=torch.double)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    attend = heads._Attend.apply
    assert torch.autograd.gradcheck(lambda q: attend(q, states, mask), (query,))
    # by hand: the shares of real tokens are a softmax over them alone
    share = (states[1, :2] @ query).softmax(0)
    torch.testing.assert_close(attend(query, states, mask)[1], share.T @ states[1, :2])


def test_an_item_of_no_weight_has_no_influence(crowd):
    inputs, items, _ = crowd
    rng = np.random.default_rng(3)
    labels, weight = rng.integers(0, 2, 150), (rng.random(150) < 0.5) * 1.0
    other = np.where(weight > 0, labels, 1 - labels)
    found = [
        train(inputs, items, lessons_for(told, weight=weight), epochs=2).predict(inputs, items)
        for told in (labels, other)
    ]
    np.testing.assert_array_equal(*found)
    whole = train(inputs, items, lessons_for(other), epochs=2).predict(inputs, items)
    assert abs(whole - found[0]).max() > 0.01


def test_only_the_ratios_of_weights_count(crowd):
    inputs, items, _ = crowd
    rng = np.random.default_rng(4)
    labels, weight = rng.integers(0, 2, 150), rng.random(150)
    found = [
        train(inputs, items, lessons_for(labels, weight=w), epochs=2).predict(inputs, items)
        for w in (weight, weight * 1000)
    ]
    np.testing.assert_allclose(*found, atol=1e-4)


def test_a_text_of_double_weight_pulls_twice_as_hard():
    # Two groups of texts, all with the one state 0 after standardization, told opposite classes:
    # only the bias can fit, and its best is the weighted share. 2 · 20 against 1 · 20 gives 2/3.
    states = States(np.zeros((40, DIM), np.float16), np.arange(41), 0.0)
    labels = np.repeat([0, 1], 20)
    lessons = lessons_for(labels, weight=np.where(labels, 2.0, 1.0))
    inputs = inputs_of(states)
    heads = train(inputs, np.arange(40), lessons, epochs=600, queries=0)
    np.testing.assert_allclose(heads.predict(inputs, np.arange(40))[0, :, 1], 2 / 3, atol=0.01)


def test_targets_that_are_no_certainty_are_matched_as_they_are():
    states = States(np.zeros((40, DIM), np.float16), np.arange(41), 0.0)
    lessons = lessons_for(np.zeros(40, int))
    lessons.target[:] = [0.3, 0.7]
    inputs = inputs_of(states)
    heads = train(inputs, np.arange(40), lessons, epochs=600, queries=0)
    np.testing.assert_allclose(heads.predict(inputs, np.array([0]))[0, 0], [0.3, 0.7], atol=0.01)


@pytest.mark.parametrize("queries", [0, 3])
def test_what_stands_in_the_padding_has_no_influence(queries):
    heads = Heads(np.array([0, 1]), DIM, 2, queries)
    rng = torch.Generator().manual_seed(0)
    states = torch.randn(2, 5, DIM, generator=rng)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], dtype=torch.bool)
    with torch.inference_mode():
        clean = heads(states, mask)
        dirty = torch.where(mask[..., None], states, torch.full_like(states, 50.0))
        torch.testing.assert_close(heads(dirty, mask), clean)
        torch.testing.assert_close(heads(states[1:, :2], mask[1:, :2]), clean[:, 1:])
        longer = torch.cat([states, states * 9], 1)
        torch.testing.assert_close(heads(longer, torch.cat([mask, ~mask & False], 1)), clean)


def test_a_linear_head_reads_the_mean_state():
    heads = Heads(np.array([0, 7]), DIM, 3, 0)
    torch.nn.init.normal_(heads.bias, generator=torch.Generator().manual_seed(0))
    states = ragged([4, 1, 3])
    inputs = inputs_of(states)
    got = heads(*inputs.batch(np.array([2, 0, 1]))).detach().numpy()
    flat = states.flat.astype(np.float32)
    flat = (flat - flat.mean(0)) / flat.std(0, ddof=1)
    means = np.stack([flat[5:8].mean(0), flat[0:4].mean(0), flat[4]])
    wanted = means @ heads.weight.detach().numpy() + heads.bias.detach().numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_an_attentive_head_reads_averages_weighted_by_its_queries():
    heads = Heads(np.array([0, 7]), DIM, 2, 3)
    states = ragged([4])
    inputs = inputs_of(states)
    got = heads(*inputs.batch(np.array([0]))).detach().numpy()
    tokens = inputs.flat.numpy()
    for h in range(2):
        score = tokens @ heads.query[:, h].detach().numpy()  # (tokens, queries)
        share = np.exp(score) / np.exp(score).sum(0)
        pooled = (share.T @ tokens).ravel()  # query by query
        wanted = pooled @ heads.weight[h].detach().numpy()
        np.testing.assert_allclose(got[h, 0], wanted, atol=1e-5)


def test_a_batch_holds_the_states_of_the_items_asked_for_in_that_order():
    inputs = inputs_of(ragged([4, 1, 3]))
    states, mask = inputs.batch(np.array([1, 0]))
    assert mask.tolist() == [[True, False, False, False], [True] * 4]
    torch.testing.assert_close(states[0, 0], inputs.flat[4])
    torch.testing.assert_close(states[1], inputs.flat[:4])


def test_no_confidence_means_that_the_prior_is_not_read(crowd):
    inputs, items, many = crowd
    plain = many[0]
    odd = Lessons(plain.target, plain.weight, plain.alpha, np.array([[0.99, 0.01]]), plain.seed)
    found = [train(inputs, items, one, epochs=2).predict(inputs, items) for one in (plain, odd)]
    np.testing.assert_array_equal(*found)
    sure = [
        Lessons(one.target, one.weight, np.array([0.5]), one.prior, one.seed)
        for one in (plain, odd)
    ]
    a, b = (train(inputs, items, one, epochs=4).predict(inputs, items) for one in sure)
    assert abs(a - found[0]).max() > 0.01  # some confidence changes the student,
    assert b[..., 0].mean() > a[..., 0].mean() + 0.02  # towards the classes of the prior


@pytest.fixture(scope="module")
def needle():
    """300 texts of 40 tokens; one token says the class, the others are noise as large."""
    rng = np.random.default_rng(0)
    gold = np.arange(300) % 2
    flat = rng.standard_normal((300, 40, 8)) * 1.5
    flat[:, :, 0] = 0
    at = rng.integers(0, 40, 300)
    flat[np.arange(300), at] = 0
    flat[np.arange(300), at, 0] = 4  # "here"
    flat[np.arange(300), at, 1] = np.where(gold, 2, -2)
    states = States(flat.reshape(-1, 8).astype(np.float16), np.arange(301) * 40, 0.0)
    return inputs_of(states, fit=np.arange(200)), gold


def test_one_telling_token_is_found_by_attention_and_drowned_in_the_mean(needle):
    inputs, gold = needle
    shown, held_out = np.arange(200), np.arange(200, 300)
    lessons = lessons_for(gold[shown])
    right = {}
    for queries in (0, 4):
        heads = train(inputs, shown, lessons, epochs=60, queries=queries)
        right[queries] = (heads.predict(inputs, held_out).argmax(-1) == gold[held_out]).mean()
    assert right[4] > 0.95
    assert right[0] < 0.8


def test_the_same_seeds_give_the_same_heads_and_others_do_not(crowd):
    inputs, items, many = crowd
    torch.manual_seed(0)
    first = train(inputs, items, many[1], epochs=2).predict(inputs, items)
    torch.manual_seed(99)
    np.random.seed(99)
    again = train(inputs, items, many[1], epochs=2).predict(inputs, items)
    np.testing.assert_array_equal(first, again)
    for change in ({"order_seed": 1}, {"epochs": 3}):
        other = train(inputs, items, many[1], **{"epochs": 2} | change).predict(inputs, items)
        assert abs(other - first).max() > 1e-4
    one = many[1]
    reseeded = Lessons(one.target, one.weight, one.alpha, one.prior, one.seed + 1)
    assert abs(train(inputs, items, reseeded, epochs=2).predict(inputs, items) - first).max() > 1e-4


def test_after_each_epoch_the_heads_so_far_can_be_looked_at(crowd):
    inputs, items, many = crowd
    seen = []

    def look(epoch, heads):
        seen.append((epoch, heads.predict(inputs, items)))

    heads = train(inputs, items, many[0], epochs=4, after_epoch=look)
    assert [epoch for epoch, _ in seen] == [1, 2, 3, 4]
    assert all(abs(a[1] - b[1]).max() > 1e-4 for a, b in zip(seen, seen[1:], strict=False))
    np.testing.assert_array_equal(seen[-1][1], heads.predict(inputs, items))
    blind = train(inputs, items, many[0], epochs=4)  # and looking changes nothing
    np.testing.assert_array_equal(blind.predict(inputs, items), seen[-1][1])


def test_predictions_are_distributions_in_the_order_of_the_items(crowd):
    inputs, items, many = crowd
    heads = train(inputs, items, Lessons.stack(many), epochs=1)
    probs = heads.predict(inputs, items)
    np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-5)
    some = np.array([140, 3, 77, 3])
    np.testing.assert_allclose(heads.predict(inputs, some), probs[:, some], atol=1e-5)


def test_training_shows_every_item_once_an_epoch():
    inputs = inputs_of(ragged(np.arange(1, 131) % 7 + 1))
    shown = []
    batch = inputs.batch
    inputs.batch = lambda items: (shown.extend(items.tolist()), batch(items))[1]
    items = np.arange(130)[::-1].copy()
    train(inputs, items, lessons_for(np.zeros(130, int)), epochs=2)
    assert sorted(shown[:130]) == sorted(shown[130:]) == list(range(130))
    assert shown[:130] != shown[130:]


def test_targets_stay_with_their_items_whatever_the_order_of_the_items(needle):
    inputs, gold = needle
    items = np.random.default_rng(5).permutation(300)[:200]
    heads = train(inputs, items, lessons_for(gold[items]), epochs=60)
    assert (heads.predict(inputs, items).argmax(-1) == gold[items]).mean() > 0.95


def test_only_the_items_to_fit_set_the_scale_and_the_axes():
    states = ragged([3, 5, 4, 2])
    changed = States(states.flat.copy(), states.offsets, 0.0)
    changed.flat[8:12] *= 30  # the third text
    for dim in (None, 3):
        a, b = (inputs_of(s, fit=np.array([0, 1, 3]), dim=dim) for s in (states, changed))
        torch.testing.assert_close(a.flat[:8], b.flat[:8])
        torch.testing.assert_close(a.flat[12:], b.flat[12:])
        c = inputs_of(changed, dim=dim)
        assert (c.flat[:8] - a.flat[:8]).abs().max() > 0.1
    plain = inputs_of(states, fit=np.array([0, 1, 3])).flat
    kept = torch.cat([plain[:8], plain[12:]])
    torch.testing.assert_close(kept.mean(0), torch.zeros(DIM), atol=1e-4, rtol=0)
    torch.testing.assert_close(kept.std(0), torch.ones(DIM), atol=1e-4, rtol=0)


def test_states_are_left_as_they_were_given():
    for dtype in (np.float16, np.float32):
        states = ragged([3, 5])
        states = States(states.flat.astype(dtype), states.offsets, 0.0)
        before = states.flat.copy()
        inputs_of(states)
        np.testing.assert_array_equal(states.flat, before)


def test_a_dimension_that_never_changes_does_no_harm():
    states = ragged([3, 5])
    states.flat[:, 2] = 1
    assert torch.isfinite(inputs_of(states).flat).all()


def test_fewer_dimensions_keep_the_distances():
    rng = np.random.default_rng(0)
    # 4 hidden directions and a little noise in 20 dimensions
    flat = rng.standard_normal((300, 4)) @ rng.standard_normal((4, 20))
    flat = (flat + 0.05 * rng.standard_normal(flat.shape)).astype(np.float16)
    states = States(flat, np.arange(301), 0.0)
    whole, small = inputs_of(states).flat, inputs_of(states, dim=4)
    assert small.dim == 4 and small.flat.shape == (300, 4)
    wanted, got = torch.pdist(whole), torch.pdist(small.flat)
    ratio = got / wanted
    assert (ratio.std() / ratio.mean()) < 0.02  # all by the same factor,
    assert float(small.flat.pow(2).mean()) == pytest.approx(1, abs=0.01)  # that of unit variance


def test_dimensions_are_not_reduced_to_as_many_or_more_than_there_are():
    states = ragged([3, 5])
    for dim in (DIM, DIM + 1):
        torch.testing.assert_close(inputs_of(states, dim=dim).flat, inputs_of(states).flat)


def three_of_two():
    """Three one-token texts in two dimensions, on one line: (0, 0), (2, 4), (4, 8)."""
    return States(np.array([[0, 0], [2, 4], [4, 8]], np.float16), np.arange(4), 0.0)


def others_of_two():
    """A text of one token, (6, 4), and one of two, (2, 4) and (4, 0)."""
    return States(np.array([[6, 4], [2, 4], [4, 0]], np.float16), np.array([0, 1, 3]), 0.0)


def test_other_texts_get_the_scale_of_the_first_ones():
    others = inputs_of(three_of_two()).like_these(others_of_two())
    # means 2 and 4, deviations 2 and 4: (6 − 2) / 2 and (4 − 4) / 4, and so on
    wanted = torch.tensor([[2.0, 0.0], [0.0, 0.0], [1.0, -1.0]])
    torch.testing.assert_close(others.flat, wanted, atol=1e-4, rtol=0)
    assert others.lengths.tolist() == [1, 2] and others.offsets.tolist() == [0, 1, 3]
    states, mask = others.batch(np.array([1, 0]))
    assert mask.tolist() == [[True, True], [True, False]]
    torch.testing.assert_close(states[1, 0], wanted[0], atol=1e-4, rtol=0)


def test_other_texts_are_rotated_as_the_first_ones_were():
    inputs = inputs_of(three_of_two(), dim=1)
    others = inputs.like_these(others_of_two())
    # standardized the three are (−1, −1), (0, 0), (1, 1): their axis is (1, 1) / √2, and the mean
    # square along it (2 + 0 + 2) / 3 = 4/3; so the third becomes √2 / √(4/3) = √1.5, and (2, 0),
    # (0, 0), (1, −1) become 2 / √2 / √(4/3) = √1.5, 0, 0. An axis has no sign of its own.
    sign = inputs.flat[2].sign()
    first, other = (part.flat[:, 0] * sign for part in (inputs, others))
    root = 1.5**0.5
    torch.testing.assert_close(first, torch.tensor([-root, 0, root]), atol=1e-4, rtol=0)
    torch.testing.assert_close(other, torch.tensor([root, 0, 0]), atol=1e-4, rtol=0)
    assert others.dim == 1


@pytest.mark.parametrize("dim", [None, 3])
def test_the_first_texts_and_the_states_given_are_left_as_they_were(dim):
    states, new = ragged([3, 5, 4]), ragged([2, 7], seed=1)
    inputs = inputs_of(states, dim=dim)
    before = {name: getattr(inputs, name) for name in ("flat", "offsets", "lengths", "mean")}
    copies = {name: value.copy() for name, value in (("states", states.flat), ("new", new.flat))}
    flat = inputs.flat.clone()
    others = inputs.like_these(new)
    assert others is not inputs and others.flat.shape == (9, dim or DIM)
    assert all(getattr(inputs, name) is value for name, value in before.items())
    torch.testing.assert_close(inputs.flat, flat)
    np.testing.assert_array_equal(states.flat, copies["states"])
    np.testing.assert_array_equal(new.flat, copies["new"])


@pytest.mark.parametrize("dim", [None, 3])
def test_the_first_texts_again_come_out_as_they_were(dim):
    states = ragged([3, 5, 4])
    inputs = inputs_of(states, dim=dim)
    torch.testing.assert_close(inputs.like_these(states).flat, inputs.flat)
