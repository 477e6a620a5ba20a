"""Figures of a choice carry their message in title, marks and words, for any result."""

import warnings

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image
from synthetic_filter_result import METHODS, a_filter_result, a_small_filter_result, with_scores
from test_plots import (  # what any figure has to be is asked of `figure` here too
    test_no_text_is_smaller_than_a_back_row_can_read,
    test_no_text_overlaps_another_or_leaves_the_figure,
    words,
)

from w2s_lab import filter_plots, plots
from w2s_lab.errors import W2SError
from w2s_lab.selection import SCORES

pytestmark = pytest.mark.slow  # dozens of figures, drawn and measured
OWN = [name for name, s in SCORES.items() if s.judge.__module__.startswith("w2s_lab.")]


def small(**levels):
    return a_small_filter_result(**with_scores(a_small_filter_result(), **levels))


FIGURES = {
    "gap": lambda: filter_plots.gap(a_filter_result()),
    "small gap": lambda: filter_plots.gap(a_small_filter_result()),
    "all below": lambda: filter_plots.gap(small(good=-4.1)),
    "by kind": lambda: filter_plots.by_kind(a_filter_result(), "likely"),
    "by kind, small": lambda: filter_plots.by_kind(a_small_filter_result(), "bad"),
    "lost": lambda: filter_plots.lost(a_filter_result()),
    "lost, two": lambda: filter_plots.lost(a_filter_result(), ["likely", "classifier"]),
}


@pytest.fixture(scope="module", params=FIGURES)
def figure(request):
    return FIGURES[request.param]()


def title(figure):
    return " ".join(figure.get_suptitle().split())


def test_every_figure_has_a_title_and_words_that_begin_with_it(figure):
    assert title(figure) and figure.alt.startswith(title(figure) + ".")
    assert "\n" not in figure.alt and "nan" not in figure.alt


def test_every_figure_has_its_axes_labelled(figure):
    (ax,) = figure.axes
    assert ax.get_xlabel()
    assert [label.get_text() for label in ax.get_yticklabels()]


def test_a_saved_figure_is_a_png_that_carries_its_words(tmp_path):
    figure = a_small_filter_result().plot(tmp_path / "gap.png")
    with Image.open(tmp_path / "gap.png") as image:
        assert image.format == "PNG"
        assert image.text == {"Description": figure.alt}


@pytest.mark.parametrize("name, told", [("a.svg", "end in .png"), ("no/a.png", "does not exist")])
def test_a_figure_that_cannot_be_saved_is_told_in_one_line(tmp_path, name, told):
    with pytest.raises(W2SError, match=told):
        filter_plots.gap(a_small_filter_result(), tmp_path / name)


# --- the gap --------------------------------------------------------------------------------------


def test_the_gap_names_every_choice_with_its_lead_and_share():
    result = a_filter_result()
    figure = filter_plots.gap(result)
    for name in METHODS:
        lead, share = result.lead(name, "random"), result.recovered(name)
        assert f"recovers {share}" in words(figure)
        assert f"{name} {lead.value:+.3f} [" in figure.alt and f"recovers {share}" in figure.alt
    assert title(figure).startswith("The best choice, classifier, recovers ")


def test_points_stand_at_their_leads_over_random_best_first():
    (ax,) = filter_plots.gap(a_small_filter_result()).axes
    marks = [line for line in ax.get_lines() if line.get_marker() == "o"]
    # good −2.5 + 4, bad −4.5 + 4
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([1.5, -0.5])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["good", "bad"]
    dashed = [line.get_xdata()[0] for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert dashed == pytest.approx([0, 2])  # random, and the oracle's lead


def test_the_title_says_that_a_choice_is_worse_than_chance_only_where_its_interval_is():
    assert title(filter_plots.gap(small(bad=-4.5))).endswith("; bad does worse than chance")
    torn = np.array([[-2.0, -6.5, -2, -6.5]] * 2)  # −0.25 on average, from +2 to −2.5
    result = a_small_filter_result()
    result = a_small_filter_result(numbers={**result.numbers, "bad": torn})
    assert "worse than chance" not in title(filter_plots.gap(result))


def test_without_a_gap_the_figure_still_tells_what_there_is():
    figure = filter_plots.gap(small(oracle=-4))
    assert "recovers undefined" in words(figure) and "nan" not in figure.alt


@pytest.mark.parametrize("oracle", [-4, -3.95])
def test_the_names_of_random_and_oracle_keep_apart_where_there_is_hardly_a_gap(oracle):
    figure = filter_plots.gap(small(oracle=oracle))
    test_no_text_overlaps_another_or_leaves_the_figure(figure)


# --- scores by kind -------------------------------------------------------------------------------


def test_kinds_stand_from_the_lowest_median_down_and_kept_documents_are_filled():
    (ax,) = filter_plots.by_kind(a_small_filter_result(), "bad").axes
    # medians of bad: x (1 and 2) 1.5, b 3, a (5 and 4) 4.5
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x", "b", "a"]
    filled = {
        x
        for marks in ax.collections
        for x in marks.get_offsets()[:, 0].tolist()
        if to_hex(marks.get_facecolor()[0]) != "#ffffff"
    }
    assert filled == {1, 2}  # documents 3 and 4


def test_the_words_of_a_score_by_kind_hold_its_medians_and_shares():
    figure = filter_plots.by_kind(a_small_filter_result(), "bad")
    # two of three on offer
    assert "x: median 1.50, 67% kept" in figure.alt and "a: median 4.50, 0% kept" in figure.alt
    assert title(figure) == "Of what 'bad' keeps, 0% is clean"


def test_a_score_that_has_none_for_some_documents_can_be_drawn():
    judged = dict(a_small_filter_result().judged) | {"good": np.array([9.0, np.nan, 8, 7, 1])}
    figure = filter_plots.by_kind(a_small_filter_result(judged=judged), "good")
    assert "a: median 9.00" in figure.alt and len(plots._png(figure)) > 0


@pytest.mark.filterwarnings("error")
def test_a_kind_of_which_no_document_has_a_score_can_be_drawn():
    judged = dict(a_small_filter_result().judged) | {"good": np.array([9.0, 8, np.nan, 7, 1])}
    figure = filter_plots.by_kind(a_small_filter_result(judged=judged), "good")
    assert "nan" not in figure.alt
    # medians of good: x (7 and 1) 4, a (9 and 8) 8.5; what has none stands last
    assert figure.alt.endswith("b: no score, 0% kept.")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["x", "a", "b"]


def test_scores_of_a_method_that_was_not_run_are_refused():
    with pytest.raises(W2SError, match="no method 'oracle'.*choose from: bad, good"):
        filter_plots.by_kind(a_small_filter_result(), "oracle")


# --- what is lost ---------------------------------------------------------------------------------


def test_shares_of_clean_kinds_stand_where_they_should_and_chance_is_dotted():
    (ax,) = filter_plots.lost(a_small_filter_result()).axes
    a, b = ax.collections[:2]
    # good kept all three of "a" on offer, bad nothing; of "b" neither anything
    assert a.get_offsets()[:, 0].tolist() == pytest.approx([100, 0])
    assert b.get_offsets()[:, 0].tolist() == pytest.approx([0, 0])
    dotted = [line.get_xdata()[0] for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert dotted == [25]


def test_the_title_names_the_method_that_treats_clean_texts_least_alike():
    figure = filter_plots.lost(a_small_filter_result())
    assert title(figure) == "'good' treats clean texts least alike: it keeps 0% of 'b'"
    assert "good: a 100%, b 0%" in figure.alt


# --- the two stages -------------------------------------------------------------------------------


def test_the_diagram_carries_the_counts_of_the_run():
    figure = filter_plots.diagram(a_small_filter_result(), "good")
    # 5 documents of 150 tokens; kept 2 texts in each seed, 50 and 30 tokens, half of them clean
    for told in ("5 texts 150 tokens", "2 texts 40 tokens", "50% clean", "strong model smollm2"):
        assert told in words(figure), told
    assert "choosing by 'good' gains +1.500 [" in title(figure)
    assert "cross-entropy to y" in figure.alt and "distillation" not in figure.alt


def test_the_diagram_names_who_judges_and_its_cost_only_where_it_is_the_weak_language_model():
    figure = filter_plots.diagram(a_filter_result(), "likely")
    assert "weak model smollm2:22" in words(figure) and "'likely': 5 TFLOP" in words(figure)
    assert "go to weak model smollm2:22, which passes on" in figure.alt
    figure = filter_plots.diagram(a_filter_result(), "classifier")
    assert "classifier on embeddings" in words(figure) and "smollm2:22" not in words(figure)
    assert "5 TFLOP" not in words(figure)
    assert "go to classifier on embeddings, which passes on" in figure.alt


@pytest.mark.parametrize("method", OWN)
def test_a_diagram_of_any_score_has_room_for_all_its_words(method):
    result = a_filter_result()
    changed = a_filter_result(
        methods=(method,),
        by={method: SCORES[method].by},
        distil={method: SCORES[method].distil},
        numbers={**result.numbers, method: result.numbers["middle"]},
        kept={**result.kept, method: result.kept["middle"]},
    )
    figure = filter_plots.diagram(changed)
    test_no_text_overlaps_another_or_leaves_the_figure(figure)
    test_every_figure_has_a_title_and_words_that_begin_with_it(figure)


def test_a_diagram_can_be_read_from_a_back_row():
    test_no_text_is_smaller_than_a_back_row_can_read(filter_plots.diagram(a_filter_result()))


@pytest.mark.parametrize("name, who", [("random", "chance"), ("oracle", "one who knows")])
def test_a_diagram_of_a_bound_does_not_say_that_the_weak_model_chose(name, who):
    figure = filter_plots.diagram(a_filter_result(), name)
    assert "smollm2:22" not in words(figure) and "5 TFLOP" not in words(figure)
    assert who in words(figure) and f"go to {who}, which passes on" in figure.alt
    test_no_text_overlaps_another_or_leaves_the_figure(figure)


def test_the_diagram_shows_the_best_choice_unless_another_is_asked_for():
    assert "'classifier'" in title(filter_plots.diagram(a_filter_result()))
    assert "'random'" in title(filter_plots.diagram(a_filter_result(), "random"))
    with pytest.raises(W2SError, match="'all data' chose nothing"):
        filter_plots.diagram(a_filter_result(), "all data")


def test_only_a_distilled_choice_has_distillation_in_its_loss():
    result = a_filter_result()
    changed = a_filter_result(
        methods=("likely", "mine"),  # the weight counts, not the name
        distil={"likely": 0.0, "mine": 0.4},
        numbers={**result.numbers, "mine": result.numbers["middle"]},
        kept={**result.kept, "mine": result.kept["middle"]},
    )
    figure = filter_plots.diagram(changed, "mine")
    told = "0.6 × cross-entropy to y + 0.4 × distillation from the weak model"
    assert told in figure.alt and told in words(figure)
    for name in ("likely", "random"):
        assert "distillation" not in filter_plots.diagram(changed, name).alt


def test_no_figure_makes_python_complain():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for draw in FIGURES.values():
            plots._png(draw())
