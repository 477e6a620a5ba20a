"""Does a score say what it claims, and is exactly that kept which the rule names, within budget?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_lab.errors import W2SError
from w2s_lab.selection import (
    DISTIL,
    KEEPS,
    SCORES,
    Score,
    Store,
    instruction_following_difficulty,
    perplexity,
    ranking,
    score,
    select,
    select_tokens,
)

NAN, INF = float("nan"), float("inf")


# --- perplexity and difficulty --------------------------------------------------------------------


def test_perplexity_is_the_number_of_tokens_a_model_wavers_between():
    # a fair choice among 4 costs ln 4 each: 3 tokens 3 ln 4, and exp(3 ln 4 / 3) = 4; no loss is 1
    assert perplexity([3 * np.log(4), 0.0], [3, 7]) == pytest.approx([4, 1])


def test_a_text_without_tokens_has_no_perplexity_and_one_beyond_numbers_an_infinite_one():
    found = perplexity([0.0, 1.0, 1e9], [0, 0, 1])
    assert np.isnan(found[:2]).all() and found[2] == INF


def test_difficulty_by_perplexity_and_by_loss_are_the_hand_worked_ratios():
    # exp(1 − 2) = 0.3679; 1 / 2 = 0.5
    assert instruction_following_difficulty(1.0, 2.0) == pytest.approx(0.3679, abs=1e-4)
    assert instruction_following_difficulty(1.0, 2.0, form="loss") == pytest.approx(0.5)
    assert isinstance(instruction_following_difficulty(1.0, 2.0), float)


def test_both_forms_are_1_for_an_instruction_that_does_not_help_and_more_for_one_that_harms():
    for form in ("perplexity", "loss"):
        found = instruction_following_difficulty([2.0, 3.0], [2.0, 2.0], form=form)
        assert found[0] == pytest.approx(1) and found[1] > 1


def test_the_two_forms_rank_two_answers_differently():
    # perplexity: exp(4 − 6) = 0.14 and exp(0.2 − 1) = 0.45; loss: 4 / 6 = 0.67 and 0.2 / 1 = 0.2
    given, alone = [4.0, 0.2], [6.0, 1.0]
    by = {f: instruction_following_difficulty(given, alone, form=f) for f in ("perplexity", "loss")}
    assert by["perplexity"] == pytest.approx([0.1353, 0.4493], abs=1e-4)
    assert by["loss"] == pytest.approx([0.6667, 0.2], abs=1e-4)
    assert by["perplexity"].argmin() != by["loss"].argmin()


@pytest.mark.parametrize(
    "given, alone, undefined",
    [
        (NAN, 1.0, {"perplexity", "loss"}),
        (1.0, NAN, {"perplexity", "loss"}),
        (1.0, 0.0, {"loss"}),  # e¹ / e⁰ is a number, 1 / 0 is none
        (0.0, 0.0, {"loss"}),
        (INF, INF, {"perplexity", "loss"}),
        (1e4, 1.0, {"perplexity"}),  # e⁹⁹⁹⁹ is beyond numbers
    ],
)
def test_difficulty_is_nan_exactly_where_its_form_is_undefined(given, alone, undefined):
    for form in ("perplexity", "loss"):
        found = instruction_following_difficulty(given, alone, form=form)
        assert np.isnan(found) == (form in undefined), form


def test_one_loss_alone_stands_for_many():
    found = instruction_following_difficulty([1.0, 2.0], 2.0, form="loss")
    assert found == pytest.approx([0.5, 1])


@pytest.mark.parametrize(
    "losses, form, told",
    [
        (([1.0], [2.0]), "ratio", "no form 'ratio'.*perplexity, loss"),
        (([-0.1, 1], [2.0, 2]), "loss", "a loss below 0.*negative log-likelihoods"),
        (([1.0], [-2.0]), "perplexity", "a loss below 0"),
    ],
)
def test_a_difficulty_that_cannot_be_is_told_in_one_line(losses, form, told):
    with pytest.raises(W2SError, match=told):
        instruction_following_difficulty(*losses, form=form)


# --- what is kept ---------------------------------------------------------------------------------

SIX = [5.0, 1.0, 3.0, 0.0, 4.0, 2.0]  # item k has rank: 5, 1, 3, 0, 4, 2


@pytest.mark.parametrize(
    "keep, fraction, kept",
    [
        ("low", 0.5, [1, 3, 5]),  # scores 1, 0, 2
        ("high", 0.5, [0, 2, 4]),  # 5, 3, 4
        ("middle", 1 / 3, [2, 5]),  # 3 and 2 lie about the median 2.5
        ("middle", 2 / 3, [1, 2, 4, 5]),  # all but 0 and 5
        ("low", 1 / 6, [3]),
        ("low", 1.0, [0, 1, 2, 3, 4, 5]),
        ("middle", 1.0, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_the_lowest_the_highest_or_the_middle_ones_are_kept_and_told_in_rising_order(
    keep, fraction, kept
):
    for seed in range(5):  # without equal scores a seed has nothing to say
        assert select(SIX, fraction=fraction, keep=keep, seed=seed).tolist() == kept


def test_a_ranking_begins_with_what_is_kept_first():
    assert ranking(SIX, keep="low").tolist() == [3, 1, 5, 2, 4, 0]
    assert ranking(SIX, keep="high").tolist() == [0, 4, 2, 5, 1, 3]
    # of odd numbers the median itself is first, then its neighbours by rank, the lower one first
    assert ranking([10.0, 0.0, 1.0, 1000.0, 2.0], keep="middle").tolist() == [4, 2, 0, 1, 3]


def test_the_middle_goes_by_rank_and_no_outlier_moves_it():
    assert select([0.0, 1, 2, 3, 1e9], fraction=0.2, keep="middle").tolist() == [2]


@pytest.mark.parametrize("keep", KEEPS)
def test_ties_are_broken_by_the_seed_and_by_nothing_else(keep):
    scores = [1.0] * 8 + [0.0, 2.0]
    kept = {tuple(select(scores, fraction=0.4, keep=keep, seed=s)) for s in range(10)}
    assert len(kept) > 1
    again = [select(scores, fraction=0.4, keep=keep, seed=3).tolist() for _ in range(2)]
    assert again[0] == again[1]
    certain = {"low": {8}, "high": {9}, "middle": set()}[keep]
    assert all(certain <= set(found) for found in kept)


@pytest.mark.parametrize("keep", KEEPS)
def test_equal_scores_make_a_fair_draw(keep):
    seeds, items = 600, 10
    times = np.zeros(items)
    for seed in range(seeds):
        times[select(np.full(items, 7.0), fraction=0.3, keep=keep, seed=seed)] += 1
    # 180 each; the standard deviation is √(600 · 0.3 · 0.7) = 11.2, four of them are 45
    assert times.sum() == 3 * seeds and abs(times - 180).max() < 45


@pytest.mark.parametrize("keep", KEEPS)
def test_an_item_whose_score_is_nan_is_never_kept(keep):
    scores = [NAN, 2.0, NAN, 1.0, 3.0]
    assert select(scores, fraction=1, keep=keep).tolist() == [1, 3, 4]
    # the share is of all five items: 0.4 · 5 = 2
    assert len(select(scores, fraction=0.4, keep=keep)) == 2
    assert 0 not in ranking(scores, keep=keep) and 2 not in ranking(scores, keep=keep)


def test_infinite_scores_are_the_highest_and_the_lowest_and_equal_to_each_other():
    scores = [INF, 0.0, -INF, 1.0, INF]
    assert select(scores, fraction=0.2, keep="low").tolist() == [2]
    assert select(scores, fraction=0.4, keep="high").tolist() == [0, 4]
    assert select(scores, fraction=0.2, keep="middle").tolist() == [3]
    assert {int(ranking(scores, keep="high", seed=s)[0]) for s in range(10)} == {0, 4}


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, 25, NAN, INF])
def test_a_fraction_outside_of_0_to_1_is_refused(fraction):
    with pytest.raises(W2SError, match="a fraction of .*above 0 and up to 1"):
        select(SIX, fraction=fraction, keep="low")


def test_a_fraction_that_keeps_nothing_is_refused_with_both_numbers():
    with pytest.raises(W2SError, match="0.05 keeps none of 6 items.*larger"):
        select(SIX, fraction=0.05, keep="low")


@pytest.mark.parametrize(
    "scores, keep, told",
    [
        (SIX, "best", "keep 'best'.*low, high, middle"),
        ([NAN] * 6, "low", "every score is nan"),
        ([[1.0, 2.0]], "low", r"shape \(1, 2\)"),
        (3.0, "low", r"shape \(\)"),
    ],
)
def test_scores_that_cannot_be_chosen_from_are_told_in_one_line(scores, keep, told):
    with pytest.raises(W2SError, match=told) as caught:
        select(scores, fraction=1, keep=keep)
    assert "\n" not in str(caught.value)


def test_no_scores_at_all_are_refused():
    with pytest.raises(W2SError):
        select([], fraction=1, keep="low")
    with pytest.raises(W2SError, match=r"shape \(0,\)"):
        ranking([], keep="low")


numbers = st.one_of(st.floats(-5, 5), st.sampled_from([NAN, INF, -INF, 0.0]))


@given(st.lists(numbers, min_size=1, max_size=12), st.sampled_from(KEEPS), st.integers(0, 9))
def test_a_ranking_is_all_items_that_have_a_score_once_each(scores, keep, seed):
    known = np.flatnonzero(~np.isnan(scores))
    if len(known):
        order = ranking(scores, keep=keep, seed=seed)
        assert sorted(order.tolist()) == known.tolist()
        if keep != "middle":
            ordered = np.array(scores)[order if keep == "low" else order[::-1]]
            assert (ordered[:-1] <= ordered[1:]).all()


# --- a budget of tokens ---------------------------------------------------------------------------


@given(
    st.lists(st.tuples(numbers, st.integers(1, 50)), min_size=1, max_size=15),
    st.floats(0, 400),
    st.sampled_from(KEEPS),
    st.integers(0, 5),
)
def test_no_choice_spends_more_than_its_budget_and_the_next_one_would_have(
    documents, budget, keep, seed
):
    scores, lengths = (np.array(part) for part in zip(*documents, strict=True))
    if np.isnan(scores).all():
        return
    order = ranking(scores, keep=keep, seed=seed)
    if lengths[order[0]] > budget:
        with pytest.raises(W2SError, match="does not buy the first"):
            select_tokens(scores, lengths, budget=budget, keep=keep, seed=seed)
        return
    kept = select_tokens(scores, lengths, budget=budget, keep=keep, seed=seed)
    assert lengths[kept].sum() <= budget
    assert kept.tolist() == order[: len(kept)].tolist()
    if len(kept) < len(order):
        assert lengths[order[: len(kept) + 1]].sum() > budget


def test_the_first_document_that_does_not_fit_ends_it_though_a_shorter_one_would_fit():
    # 10, then 20 would make 30 > 25; the third of 5 tokens is not taken instead
    assert select_tokens([1.0, 2, 3], [10, 20, 5], budget=25, keep="low").tolist() == [0]
    assert select_tokens([1.0, 2, 3], [10, 20, 5], budget=30, keep="low").tolist() == [0, 1]
    assert select_tokens([1.0, 2, 3], [10, 20, 5], budget=25, keep="high").tolist() == [2, 1]


def test_a_budget_for_all_keeps_all_that_have_a_score():
    kept = select_tokens([2.0, NAN, 1.0], [5, 5, 5], budget=1e9, keep="low")
    assert kept.tolist() == [2, 0]


@pytest.mark.parametrize(
    "lengths, budget, told",
    [
        ([1, 2], 9, r"\(2,\) lengths for scores of shape \(3,\).*one length for each"),
        ([[1, 2, 3]], 9, r"\(1, 3\) lengths"),
        ([5, 9, 9], 4, "a budget of 4 tokens does not buy the first document.*larger"),
        ([5, 9, 9], 0, "a budget of 0 tokens"),
    ],
)
def test_lengths_and_budgets_that_do_not_fit_are_told(lengths, budget, told):
    with pytest.raises(W2SError, match=told):
        select_tokens([1.0, 2.0, 3.0], lengths, budget=budget, keep="low")


# --- the registered scores ------------------------------------------------------------------------

CLEAN = (
    "we train a model on the data and we report the results of the model",
    "the results of the model on the data are better than the results of others",
    "we report the data of the model and we train others on the results",
)
DIRT = ("0.3 0.7 1.2 4.4 5.5 0.3 0.7", "0.7 1.2 0.3 5.5 4.4 0.7 1.2", "1.2 1.2 4.4 0.3 0.7 5.5 5.5")


def a_store(texts=("a", "b", "c", "d"), **changes):
    """Four documents: two lie with the clean passages in the plane, two with the dirt."""
    count = len(texts)
    side = np.array([[1.0, 0.1], [0.1, 1.0]])[np.arange(count) % 2]
    return Store(
        **{
            "texts": texts,
            "nll": np.arange(count) + 1.0,
            "nll_alone": None,
            "embeddings": side,
            "looked_at": [*CLEAN, *DIRT],
            "clean": np.array([True] * 3 + [False] * 3),
            "judged_embeddings": np.array(
                [[1.0, 0.0], [0.9, 0.2], [1.0, 0.2], [0.0, 1.0], [0.2, 0.9], [0.2, 1.0]]
            ),
            **changes,
        }
    )


def of(name, store):
    return SCORES[name].judge(store)


def test_every_score_says_what_it_keeps_and_gives_a_number_for_each_document():
    store = a_store(texts=(*CLEAN[:2], *DIRT[:2]), nll_alone=np.array([2.0, 3.0, 4.0, 5.0]))
    for name, found in SCORES.items():
        if not found.judge.__module__.startswith("w2s_lab."):
            continue  # of another test
        assert found.name == name and found.keep in KEEPS
        assert found.needs in ("", "prompts", "judged") and found.judge.__doc__
        assert np.shape(found.judge(store)) == (4,), name


def test_likely_middle_unlikely_and_distilled_are_one_number_kept_in_three_ways():
    store = a_store()
    names = ("likely", "middle", "unlikely", "distilled")
    for name in names:
        assert of(name, store).tolist() == [1, 2, 3, 4]
    assert [SCORES[name].keep for name in names] == ["low", "middle", "high", "middle"]
    assert [SCORES[name].distil for name in names] == [0, 0, 0, DISTIL]


def test_the_ngram_model_prefers_what_is_like_the_clean_passages_and_puts_gibberish_last():
    texts = (
        "we train a model on the data and we report the results",  # the clean passages' own pairs
        "the the we we a a results of of train data data",  # their words, not their pairs
        "we train a zork on the frob and we report the blix",  # a fourth of it unknown
        "zork blarg frob quux blix wug dax toma gazzer",
        "0.3 0.7 1.2 4.4 5.5 0.3 0.7",  # judged, but as dirt: as unknown as gibberish
    )
    found = of("n-gram", a_store(texts))
    assert np.isfinite(found).all()
    assert found[0] < found[1] < found[3] and found[0] < found[2] < found[3]
    assert found[:3].max() < found[3:].min()


def test_the_ngram_model_learns_nothing_from_what_was_judged_to_be_dirt():
    texts = (*CLEAN[:2], *DIRT[:2])
    other = [*CLEAN, *("quite another kind of dirt " * n for n in (1, 2, 3))]
    found = [of("n-gram", a_store(texts, looked_at=said)) for said in ([*CLEAN, *DIRT], other)]
    assert found[0] == pytest.approx(found[1])


@pytest.mark.parametrize("name", ["classifier", "neighbours"])
def test_scores_taught_by_judged_passages_tell_two_clusters_apart(name):
    found = of(name, a_store())
    assert ((found >= 0) & (found <= 1)).all()
    assert found[[0, 2]].min() > 0.5 > found[[1, 3]].max()
    turned = of(name, a_store(clean=np.array([False] * 3 + [True] * 3)))
    assert turned[[0, 2]].max() < 0.5 < turned[[1, 3]].min()


def test_neighbours_are_the_five_most_alike_whatever_their_length():
    # cosines to (1, 0) are 1, 1, 1, 1, 0 and 0: four dirty of cosine 1, one more of cosine 0 that
    # hardly votes, so 0 in 4
    judged = np.array([[1.0, 0], [2, 0], [3, 0], [4, 0], [0, 1], [0, 5]])
    store = a_store(
        ("a",),
        embeddings=np.array([[100.0, 0.0]]),
        judged_embeddings=judged,
        clean=np.array([False, False, False, True, True, True]),
    )
    assert of("neighbours", store) == pytest.approx([0.25], abs=1e-5)


LONG = tuple(" ".join(f"{letter}{i}" for i in range(40)) for letter in "abc")


def test_unique_marks_only_the_later_of_two_near_duplicates():
    shifted = " ".join([*LONG[0].split()[3:], "and", "so", "on"])  # 32 of 40 runs of five in common
    assert of("unique", a_store((LONG[0], LONG[1], shifted, LONG[2]))).tolist() == [0, 0, 1, 0]
    assert of("unique", a_store((shifted, LONG[0], LONG[0]))).tolist() == [0, 1, 1]
    assert SCORES["unique"].keep == "low"


def test_curated_is_the_classifiers_opinion_and_has_none_of_copies():
    store = a_store((LONG[0], LONG[1], LONG[0], LONG[2]))
    found, plain = of("curated", store), of("classifier", store)
    assert np.isnan(found).tolist() == [False, False, True, False]
    assert found[[0, 1, 3]] == pytest.approx(plain[[0, 1, 3]])
    assert 2 not in select(found, fraction=1, keep="high")


def test_an_answer_that_its_instruction_makes_harder_has_no_difficulty():
    # after the instruction 1, 2, 3 and 2 nats, alone 2 each: helped, no matter, harmed, no matter
    store = a_store(nll=np.array([1.0, 2.0, 3.0, 2.0]), nll_alone=np.full(4, 2.0))
    assert of("difficulty", store)[[0, 1, 3]] == pytest.approx([np.exp(-1), 1, 1])
    assert of("difficulty by loss", store)[[0, 1, 3]] == pytest.approx([0.5, 1, 1])
    for name in ("difficulty", "difficulty by loss"):
        assert np.isnan(of(name, store)[2]) and SCORES[name].keep == "high"
        assert SCORES[name].needs == "prompts"


def test_easy_is_difficulty_turned_over_and_takes_harmed_answers_last():
    store = a_store(nll=np.array([1.0, 2.0, 3.0, 1.5]), nll_alone=np.full(4, 2.0))
    order = ranking(of("easy", store), keep=SCORES["easy"].keep)
    assert order.tolist() == [0, 3, 1, 2]


# --- registering ----------------------------------------------------------------------------------


@pytest.fixture
def shelf():
    """Lets a test register scores that are gone after it."""
    before = dict(SCORES)
    yield SCORES
    SCORES.clear()
    SCORES.update(before)


def test_the_decorator_registers_a_score_and_leaves_the_function_as_it_was(shelf):
    def shortest(store):
        return np.array([len(text) for text in store.texts])

    assert (
        score("shortest", keep="low", by="a ruler", needs="judged", distil=0.5)(shortest)
        is shortest
    )
    found = shelf["shortest"]
    assert (found.name, found.judge, found.keep) == ("shortest", shortest, "low")
    assert (found.by, found.needs, found.distil) == ("a ruler", "judged", 0.5)


def test_a_score_of_an_unknown_keep_is_refused_when_it_is_made(shelf):
    for make in (
        lambda: Score("mine", lambda store: store.nll, "lowest"),
        lambda: score("mine", keep="lowest")(lambda store: store.nll),
    ):
        with pytest.raises(W2SError, match="mine: keep 'lowest'; choose one of: low, high, middle"):
            make()
    assert "mine" not in shelf


def test_registering_a_name_again_replaces_it(shelf):
    count = len(shelf)
    for keep in ("low", "high"):
        score("mine", keep=keep)(lambda store: store.nll)
    assert len(shelf) == count + 1 and shelf["mine"].keep == "high"


def test_an_unknown_score_is_told_with_the_known_ones():
    with pytest.raises(W2SError, match="unknown selection score 'best'.*classifier.*likely"):
        SCORES["best"]
