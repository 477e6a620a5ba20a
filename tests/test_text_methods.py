"""Methods choose by what the weak model wrote, and leave exactly what they say out."""

import numpy as np
import pytest

from w2s_lab.errors import W2SError
from w2s_lab.text_methods import TEXT_METHODS, Weak, text_method, text_variant


def told(texts=("a",), others=None, likelihood=None):
    likelihood = np.full(len(texts), np.nan) if likelihood is None else np.array(likelihood, float)
    return Weak(tuple(texts), tuple(others or texts), likelihood)


def weights(name, weak):
    return TEXT_METHODS[name].choose(weak).tolist()


@pytest.mark.parametrize("name", ["naive", "early stopping", "shrink", "mixed", "soft"])
def test_a_method_that_is_no_filter_leaves_nothing_out(name):
    assert weights(name, told(("a", "", "a"), likelihood=[-9, 0, -1])) == [1, 1, 1]


def test_the_likeliest_half_is_kept():
    # likeliest first: −1, −2 | −3, −4
    assert weights("likely", told("abcd", likelihood=[-4, -1, -3, -2])) == [0, 1, 0, 1]


@pytest.mark.parametrize("items, kept", [(1, 1), (2, 1), (4, 2), (5, 2), (6, 3), (7, 4)])
def test_half_of_the_items_is_kept_and_at_least_one(items, kept):
    # an odd number's half is rounded to the even neighbour: 2.5 to 2, 3.5 to 4; 0.5 to 0, then 1
    chosen = weights("likely", told("x" * items, likelihood=np.arange(items)))
    assert chosen == [0] * (items - kept) + [1] * kept


def test_of_equally_likely_texts_the_first_are_kept():
    assert weights("likely", told("x" * 4, likelihood=np.zeros(4))) == [1, 1, 0, 0]
    # many, for a sort that is not stable keeps the order of a few: of 200 there are 66 twos, all
    # kept, and of the 67 ones at 1, 4, … the first 34, up to 1 + 3 · 33 = 100
    value = np.arange(200) % 3
    kept = (value == 2) | ((value == 1) & (np.arange(200) <= 100))
    assert weights("likely", told("x" * 200, likelihood=value)) == kept.tolist()


@pytest.mark.parametrize("likelihood", [[np.nan] * 4, [-1, np.nan, -2, -3], [-1, -np.inf, -2, -3]])
def test_without_a_likelihood_for_each_text_nothing_is_left_out(likelihood):
    assert weights("likely", told("abcd", likelihood=likelihood)) == [1, 1, 1, 1]


def test_texts_are_kept_where_a_second_weak_model_wrote_nearly_the_same():
    texts = ("reads a file", "sorts the list", "opens a socket", "adds two numbers")
    others = ("makes coffee", "sorts the lists", "zzz", "adds two numbers")
    # likelihood would choose the other two
    assert weights("agreed", told(texts, others, [-1, -9, -1, -9])) == [0, 1, 0, 1]


def test_weak_models_that_write_nothing_agree_on_every_text_alike():
    # chrF of an empty text is 0 for all: a tie, of which the first half is kept
    assert weights("agreed", told(("",) * 4)) == [1, 1, 0, 0]


def test_each_method_has_the_traits_it_is_named_for():
    def traits(name):
        return {k: v for k, v in vars(TEXT_METHODS[name]).items() if k not in ("name", "choose")}

    plain = {"gold": False, "temperature": 0.0, "stops_early": False, "shrinks": False}
    assert traits("naive") == traits("likely") == traits("agreed") == plain
    assert traits("early stopping") == plain | {"stops_early": True}
    assert traits("shrink") == plain | {"shrinks": True}
    assert traits("mixed") == plain | {"gold": True}
    assert traits("soft") == plain | {"temperature": 2.0}
    assert all(method.name == name for name, method in TEXT_METHODS.items())


@pytest.mark.parametrize(
    "name, traits, called",
    [
        ("likely", {"shrinks": True}, "likely (shrinks)"),
        ("soft", {"temperature": 1.0}, "soft (temperature 1)"),
        ("naive", {"gold": True, "temperature": 0.5}, "naive (gold, temperature 0.5)"),
    ],
)
def test_a_variant_is_named_for_its_traits_and_changes_nothing_else(name, traits, called):
    before = vars(TEXT_METHODS[name]).copy()
    variant = text_variant(name, **traits)
    assert vars(variant) == before | {"name": called} | traits
    assert vars(TEXT_METHODS[name]) == before


def test_an_unknown_method_is_told_in_one_line_with_those_that_there_are():
    with pytest.raises(W2SError, match="unknown text method 'best'.*agreed, .*soft"):
        text_variant("best", shrinks=True)


def test_a_new_method_is_one_function():
    @text_method("short", shrinks=True)
    def short(weak):
        return np.array([float(len(text) < 3) for text in weak.texts])

    try:
        assert TEXT_METHODS["short"].shrinks
        assert weights("short", told(("a", "abc"))) == [1, 0]
    finally:
        del TEXT_METHODS["short"]
