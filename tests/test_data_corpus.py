"""Is every passage of the kind it says, is only the store dirty, and does each corruption corrupt?

The pool is made once for this file, from verified copies in the cache.
"""

from collections import Counter

import numpy as np
import pytest

import w2s_lab
from w2s_lab.data import corpus, load_task, splits
from w2s_lab.data.corpus import CLEAN, COPY, CORRUPT, DIRT, LAB, is_prose, shifted
from w2s_lab.errors import W2SError

pytestmark = pytest.mark.slow  # models of their own, or the whole pool

SENTENCES = (
    "We train a small model on the first half of the corpus and compare it with a larger one that "
    "was trained on all of it. Both of them learn more from the second half, which is as long but "
    "has been cleaned by hand."
)


@pytest.fixture(scope="module")
def smoke():
    return load_task("corpus", size="smoke")


@pytest.fixture(scope="module")
def lab():
    return load_task("corpus", size="lab")


@pytest.fixture(params=["smoke", "lab"])
def found(request):
    return request.getfixturevalue(request.param)


def counted(task, split):
    return dict(Counter(task.kinds[task.splits[split]].tolist()))


def similarity(one, other):
    """Share of runs of five words in common, exactly."""
    one, other = splits.shingles(one), splits.shingles(other)
    return len(one & other) / len(one | other)


# --- the task -------------------------------------------------------------------------------------


def test_every_passage_carries_a_known_kind_and_gold_is_whether_that_kind_is_clean(found):
    assert found.kinds.shape == found.gold.shape == (len(found.inputs),)
    assert set(found.kinds) == {*CLEAN, *DIRT}
    assert found.classes == ("dirt", "clean") and found.protocol == "filter"
    for kind, gold in zip(found.kinds, found.gold, strict=True):
        assert gold == (kind in CLEAN), kind


def test_every_passage_is_in_one_split_under_one_name(found):
    dealt = np.concatenate(list(found.splits.values()))
    assert sorted(dealt) == list(range(len(found.inputs)))
    assert len(set(found.ids)) == len(found.ids)


def test_validation_and_test_hold_clean_passages_of_every_clean_kind_only(found):
    for split in ("validation", "test"):
        assert set(counted(found, split)) == set(CLEAN)


def test_at_lab_every_split_holds_the_wanted_number_of_each_kind(lab):
    for split, wanted in LAB.items():
        assert counted(lab, split) == wanted, split


def test_at_smoke_every_kind_is_there_in_proportion(smoke):
    # 0.17 of 54, 14 and 18 are 9.18, 2.38 and 3.06
    assert counted(smoke, "transfer") == {**dict.fromkeys((*CLEAN, *DIRT), 3)} | {
        "clean": 9,
        **dict.fromkeys(CLEAN[1:], 2),
    }
    assert set(counted(smoke, "supervise")) == {*CLEAN, *DIRT}


def test_the_store_is_mostly_dirt_and_in_no_order(lab):
    clean = lab.gold[lab.splits["transfer"]] == 1
    assert 0.25 < clean.mean() < 0.4
    third = len(clean) // 3
    for part in (clean[:third], clean[third : 2 * third], clean[2 * third :]):
        assert 0.15 < part.mean() < 0.5


def test_no_near_duplicate_and_no_paper_crosses_the_splits(found):
    splits.check_no_leak(found.inputs, found.groups, found.splits)


def test_what_is_called_a_near_duplicate_resembles_a_clean_passage_of_its_own_split(lab):
    for split in ("supervise", "transfer"):
        here = lab.splits[split]
        for copy in here[lab.kinds[here] == COPY]:
            likeness = [similarity(lab.inputs[i], lab.inputs[copy]) for i in here]
            (original,) = (i for i, s in zip(here, likeness, strict=True) if s >= 0.5 and i != copy)
            assert lab.kinds[original] in CLEAN and lab.groups[original] == lab.groups[copy]
            assert lab.ids[copy] == f"{lab.ids[original]}+"


def test_what_is_called_no_near_duplicate_resembles_nothing_else(lab):
    others = np.flatnonzero(lab.kinds != COPY)
    kept = splits.first_of_near_duplicates([lab.inputs[i] for i in others])
    assert len(kept) == len(others)


def test_a_search_for_near_duplicates_finds_one_of_nearly_every_pair_and_nothing_else(lab):
    store = lab.splits["transfer"]
    kept = store[splits.first_of_near_duplicates([lab.inputs[i] for i in store])]
    dropped = {str(name).rstrip("+") for name in lab.ids[np.setdiff1d(store, kept)]}
    pairs = {str(name).rstrip("+") for name in lab.ids[store[lab.kinds[store] == COPY]]}
    # the search estimates likeness, and the least alike of a pair lie at its threshold
    assert dropped <= pairs and len(dropped) >= 0.9 * len(pairs)
    assert len(store) - len(kept) == len(dropped)  # never both of a pair
    # and the one that it drops is the copy
    assert set(lab.kinds[np.setdiff1d(store, kept)]) == {COPY}


def test_a_near_duplicate_stands_after_its_original_so_that_the_first_of_both_is_the_clean_one(
    found,
):
    place = {name: i for i, name in enumerate(found.ids.tolist())}
    copies = [name for name in place if name.endswith("+")]
    assert copies and all(place[name] > place[name[:-1]] for name in copies)


def test_a_copy_before_its_original_changes_places_with_it_and_nothing_else_moves():
    rows = [{"id": name} for name in ("b+", "c", "a", "c+", "b", "a+")]
    ordered = [row["id"] for row in corpus._originals_first(rows)]
    assert ordered == ["b", "c", "a", "c+", "b+", "a+"]
    assert rows[0] == {"id": "b+"}  # what was given is left as it was


def test_another_deal_is_refused_since_it_would_bring_dirt_into_the_test(smoke):
    with pytest.raises(W2SError, match="corpus: its splits hold .* cannot be dealt anew; leave"):
        smoke.resplit(1)
    with pytest.raises(W2SError, match="cannot be dealt anew"):
        w2s_lab.run(smoke, split=1)


def test_passages_are_of_the_promised_length(lab):
    words = np.array([len(text.split()) for text in lab.inputs])
    low, high = corpus.WORDS
    assert words.max() <= high
    for kind in (*CLEAN, "licence", "table", "references", "equations", "other language"):
        here = [text for text, k in zip(lab.inputs, lab.kinds, strict=True) if k == kind]
        if kind in CLEAN:
            assert min(len(text.split()) for text in here) >= low, kind
        else:  # what is cut by characters may have fewer words
            assert max(map(len, here)) <= high * corpus.CHARACTERS, kind


def test_clean_passages_are_prose_and_tables_references_and_code_are_none(lab):
    assert all(is_prose(lab.inputs[i]) for i in np.flatnonzero(lab.gold == 1))
    for kind in ("table", "references", "equations", "code"):
        here = np.flatnonzero(lab.kinds == kind)
        assert sum(is_prose(lab.inputs[i]) for i in here) <= 0.05 * len(here), kind


def test_every_clean_kind_has_the_trait_it_is_named_for(lab):
    def of(kind):
        return [lab.inputs[i] for i in np.flatnonzero(lab.kinds == kind)]

    assert all(len(corpus.MEDICAL.findall(text)) >= 2 for text in of("clean: medical"))
    assert all(len(corpus.FORMULA.findall(t)) >= corpus.FORMULAS for t in of("clean: formulas"))
    plain = of("clean")
    assert all(len(corpus.MEDICAL.findall(t)) < 2 for t in plain)
    assert all(len(corpus.FORMULA.findall(t)) < corpus.FORMULAS for t in plain)


def test_it_comes_out_the_same_twice(smoke):
    again = load_task("corpus", size="smoke")
    assert again.inputs == smoke.inputs
    for name in ("gold", "kinds", "groups", "ids"):
        np.testing.assert_array_equal(getattr(again, name), getattr(smoke, name))
    for split, index in smoke.splits.items():
        np.testing.assert_array_equal(again.splits[split], index)


def test_its_sources_and_their_terms_are_told(smoke):
    told = smoke.provenance
    assert "aclsum" in told["source"].lower() and "PSF-2.0" in told["terms"]
    assert 0 < told["candidates"]["without near-duplicates"] <= told["candidates"]["candidates"]


# --- what makes a passage dirty -------------------------------------------------------------------


@pytest.mark.parametrize("kind", CORRUPT)
def test_a_corruption_changes_the_text_and_the_same_seed_changes_it_the_same(kind):
    said = [CORRUPT[kind](SENTENCES, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert said[0] == said[1] != SENTENCES
    assert said[0] != said[2]


def test_shuffling_keeps_every_word_as_often_as_it_was():
    said = corpus.shuffle(SENTENCES, np.random.default_rng(0))
    assert Counter(said.split()) == Counter(SENTENCES.split())


@pytest.mark.parametrize("seed", range(5))
def test_scanning_errors_spoil_many_words_and_leave_the_length_about_the_same(seed):
    said = corpus.scan(SENTENCES, np.random.default_rng(seed))
    assert 0.9 < len(said) / len(SENTENCES) < 1.1
    kept = Counter(said.split()) & Counter(SENTENCES.split())
    # of words of four letters and more, most have a confusion in them, and spaces are lost
    assert sum(kept.values()) < 0.7 * len(SENTENCES.split())


def test_a_scanner_makes_only_its_own_confusions():
    # no letter of this is in the list of confusions
    assert corpus.scan("XYZ,WVK.", np.random.default_rng(0)) == "XYZ,WVK."
    said = {corpus.scan("rn", np.random.default_rng(seed)) for seed in range(200)}
    # rn → m; or r, which is never confused, and n → ri
    assert said == {"rn", "m", "rri"}


def test_a_truncated_passage_keeps_the_first_half_of_each_ten_words():
    said = corpus.truncate(" ".join(f"word{i:02}" for i in range(30)), np.random.default_rng(0))
    lines = [line.split() for line in said.split("\n")]
    start = int(lines[0][0][-2:])
    assert 0 <= start < 5 and 0 < len(said.split()) <= 15
    for n, line in enumerate(lines):
        # the fifth word loses two letters
        whole = [f"word{i:02}" for i in range(start + 10 * n, min(30, start + 10 * n + 5))]
        assert line == [*whole[:-1], whole[-1][:-2]]


@pytest.mark.parametrize("seed", range(5))
def test_a_repeated_passage_is_one_run_of_its_words_again_and_again_to_its_length(seed):
    words = [f"w{i}" for i in range(33)]
    said = corpus.repeat(" ".join(words), np.random.default_rng(seed)).split()
    assert len(said) == 33
    period = len(set(said))
    assert 5 <= period <= 8
    assert said == [said[i % period] for i in range(33)]
    first = words.index(said[0])
    assert said[:period] == words[first : first + period]


def test_a_shifted_passage_begins_a_few_words_later_and_ends_as_much_later():
    text, rest = "a b c d e f g h i j", "k l m n o p q r s"
    assert shifted(text, rest, words=3) == "d e f g h i j k l m"
    assert shifted(text, rest) == "i j k l m n o p q r"  # by eight words
    assert shifted(text, "") == "i j"


# --- what is prose --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        SENTENCES,
        "The model that we use in this work is an encoder with six layers.",
        "A baseline of this kind has not been tried on their data by others.",
    ],
)
def test_prose_is_accepted(text):
    assert is_prose(text)


@pytest.mark.parametrize(
    "text",
    [
        "Model BLEU ROUGE BERT 34.1 22.9 T5 35.0 23.3 BART 36.2 24.8 Ours 37.0 25.1",
        "Model Dev Test LSTM 71.2 70.9 CNN 68.3 68.8",
        "Smith, J., Jones, K., 2019. Neural parsing. Proceedings of ACL, pages 1-10.",
        "and that is what we show in the rest of this paper on the data",  # it begins in the middle
        "x = y + z for all i",
        "",
    ],
)
def test_a_table_row_a_reference_and_half_a_sentence_are_no_prose(text):
    assert not is_prose(text)


def test_whole_sentences_are_taken_as_far_as_they_fit_and_the_rest_is_handed_back():
    text = "One two three four. Five six seven. Eight nine."
    take = corpus._whole_sentences
    assert take(text, (3, 8)) == ("One two three four. Five six seven.", "Eight nine.")
    assert take(text, (3, 4)) == ("One two three four.", "Five six seven. Eight nine.")
    assert take(text, (3, 3)) == ("", "")  # the first does not fit
    assert take(text, (9, 20)) == (text, "")
    assert take(text, (10, 20)) == ("", "")  # all of it is too short
    assert take("No end of it here", (2, 20)) == ("", "")


def test_a_cut_is_between_words_within_both_limits():
    assert corpus._cut("one two three four", (1, 3)) == "one two three"
    # 2 words have room for 14 characters
    assert corpus._cut("elevenchars ab", (1, 2)) == "elevenchars ab"
    assert corpus._cut("elevenchars abc", (1, 2)) == "elevenchars"
