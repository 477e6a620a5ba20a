"""Figures of texts carry their message in title, marks and words, for garbage too."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image
from synthetic_text_result import (
    STUDENTS,
    a_small_text_result,
    a_text_result,
    with_weak_texts,
    without_likelihood,
)
from test_plots import (  # what any figure has to be is asked of `figure` here too
    test_every_figure_has_a_title_labelled_axes_and_words_that_begin_with_the_title,  # noqa: F401
    test_no_text_is_smaller_than_a_back_row_can_read,  # noqa: F401
    test_no_text_overlaps_another_or_leaves_the_figure,  # noqa: F401
    words,
)

from w2s_lab import plots, text_plots
from w2s_lab.errors import W2SError

pytestmark = pytest.mark.slow  # dozens of figures, drawn and measured


def a_lead_result():
    return a_text_result(numbers=without_likelihood(a_text_result()), weak="lead")


def turned():
    """An untouched model above the ceiling."""
    numbers = dict(a_text_result().numbers)
    high = {**numbers["log_likelihood"], "strong zero-shot": np.full((1, 60), -1.5)}
    return a_text_result(numbers={**numbers, "log_likelihood": high})


def garbage():
    return a_text_result(**with_weak_texts(a_text_result(), ""))


FIGURES = {
    "gap": lambda: text_plots.gap(a_text_result()),
    "small gap": lambda: text_plots.gap(a_small_text_result()),
    "gap in chrF": lambda: text_plots.gap(a_text_result(), metric="chrf"),
    "gap without weak": lambda: text_plots.gap(a_lead_result(), metric="log_likelihood"),
    "no gap": lambda: text_plots.gap(turned()),
    "gap of garbage": lambda: text_plots.gap(garbage(), metric="rouge_l"),
    "overfitting": lambda: text_plots.overfitting(a_text_result()),
    "shrinking": lambda: text_plots.shrinking(a_text_result()),
    "signs": lambda: text_plots.signs(a_text_result()),
    "signs of garbage": lambda: text_plots.signs(garbage()),
}


@pytest.fixture(scope="module", params=FIGURES)
def figure(request):
    return FIGURES[request.param]()


def title(figure):
    return " ".join(figure.get_suptitle().split())


def test_a_saved_figure_is_a_png_that_carries_its_words(tmp_path):
    figure = text_plots.gap(a_small_text_result(), tmp_path / "gap.png")
    with Image.open(tmp_path / "gap.png") as image:
        assert image.format == "PNG"
        assert image.text == {"Description": figure.alt}


@pytest.mark.parametrize("name, told", [("a.svg", "end in .png"), ("no/a.png", "does not exist")])
def test_a_figure_that_cannot_be_saved_is_told_in_one_line(tmp_path, name, told):
    with pytest.raises(W2SError, match=told):
        text_plots.gap(a_small_text_result(), tmp_path / name)


def test_the_gap_names_every_score_share_and_baseline():
    result = a_text_result()
    figure = text_plots.gap(result)
    for name in STUDENTS:
        score, share, pgr = (f(name) for f in (result.score, result.recovered, result.pgr))
        assert f"recovers {share}" in words(figure)
        assert f"{name} {score}, recovers {share}, PGR {pgr}" in figure.alt
    assert f"untouched {result.score('strong zero-shot')}" in figure.alt
    assert f"ceiling {result.score('ceiling')}" in figure.alt
    assert f"Baselines: strong on gold labels {result.score('strong on gold labels')}" in figure.alt
    assert f"weak model: {result.score('weak')}" in words(figure)
    assert "lead sentence" not in figure.alt  # it has no likelihood


def test_points_stand_at_their_scores_and_baselines_are_hollow():
    (ax,) = text_plots.gap(a_small_text_result(), metric="rouge_l").axes
    marks = [line for line in ax.get_lines() if line.get_marker() in ("o", "D")]
    # best first: good 0.4, bad 0.1; then the baselines 0.1 and 0.3
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([0.4, 0.1, 0.1, 0.3])
    hollow = [to_hex(mark.get_markerfacecolor()) == "#ffffff" for mark in marks]
    assert hollow == [False, False, True, True]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "good",
        "bad",
        "baseline: lead sentence",
        "baseline: strong on gold labels",
    ]


@pytest.mark.parametrize(
    "good, verdict",
    [
        ([-1, -3, -2, -2], "The best student, good, beats the untouched model (by 1.00 ["),
        ([0, -4, 0, -4], "The best student, good, about equals the untouched model (by 1.00 ["),
        ([-3.5] * 4, "The best student, good, is worse than the untouched model (by -0.50 ["),
    ],
)
def test_the_title_of_the_gap_claims_no_more_than_its_interval(good, verdict):
    numbers = dict(a_small_text_result().numbers)
    changed = numbers["log_likelihood"] | {"good": np.array([good], float)}
    result = a_small_text_result(numbers={**numbers, "log_likelihood": changed})
    assert title(text_plots.gap(result)).startswith(verdict)


@pytest.mark.parametrize(
    "weak, gold, message",
    [
        ([-3, -2, -1], [-3, -2, -2.5], "After epoch 2 the student fits its teacher better, gold w"),
        ([-3, -2, -1], [-3, -2.5, -2], "The weak texts and gold agree on how long the student"),
        ([-3, -1, -2], [-3, -2.5, -2], "After epoch 2 the student fits gold better, its teacher w"),
    ],
)
def test_the_learning_curve_says_who_would_have_stopped_when(weak, gold, message):
    curves = {name: np.array([values], float) for name, values in (("weak", weak), ("gold", gold))}
    figure = text_plots.overfitting(a_small_text_result(curves=curves))
    assert figure.alt.startswith(message)
    # a loss is a likelihood turned over, and is least where that is most
    drawn = [line.get_ydata().tolist() for line in figure.axes[0].get_lines()]
    assert drawn == [[-v for v in weak], [-v for v in gold]]
    assert f"weak texts from 3.00 to {-weak[-1]:.2f}, lowest at epoch " in figure.alt


@pytest.mark.parametrize(
    "draw, told", [(text_plots.overfitting, '"naive"'), (text_plots.shrinking, '"shrink"')]
)
def test_a_figure_of_a_method_that_was_not_run_is_refused(draw, told):
    with pytest.raises(W2SError, match=f"run the method {told}"):
        draw(a_small_text_result())


def test_the_dial_begins_at_the_untouched_model_and_is_measured_from_it():
    # untouched −3: half of the way −2 leads by 1, all of it −3.5 by −0.5
    dial = {0.5: np.full((1, 4), -2.0), 1.0: np.full((1, 4), -3.5)}
    chosen = {"shrink": np.array([1.0])}
    figure = text_plots.shrinking(a_small_text_result(dial=dial, chosen=chosen))
    (line,) = (line for line in figure.axes[0].get_lines() if line.get_marker() == "o")
    assert line.get_xydata().tolist() == [[0, 0], [0.5, 1], [1, -0.5]]
    assert title(figure) == "Best after 0.5 of the way; the few gold pairs chose 1"


def test_where_no_step_helps_the_best_is_to_stay_untouched():
    dial = {1.0: np.full((1, 4), -3.5)}
    chosen = {"shrink": np.array([1.0])}
    figure = text_plots.shrinking(a_small_text_result(dial=dial, chosen=chosen))
    assert title(figure).startswith("Best after 0 of the way")


def test_repeated_errors_stand_beside_those_to_be_expected_by_chance():
    figure = text_plots.signs(a_small_text_result())
    chance, here = (part for part in figure.axes[0].collections if part.get_label()[0] != "_")
    # untouched, bad, good, ceiling
    assert here.get_offsets()[:, 0].tolist() == [0, 0, 50, 0]
    assert chance.get_offsets()[:, 0].tolist() == [0, 100, 0, 0]
    assert title(figure) == "Of its teacher's made-up words, the bad student repeats 0 %"
    assert "good 50 % (by chance 0 %)" in figure.alt


def test_a_weak_model_that_made_nothing_up_gives_a_titled_figure_without_marks():
    figure = text_plots.signs(garbage())
    assert title(figure) == "The weak model made up no words that could be repeated"
    assert "naive - (by chance -)" in figure.alt


def test_one_gold_text_for_all_leaves_chance_undefined_and_the_figure_whole():
    # items of one source are not other inputs to each other
    figure = text_plots.signs(a_small_text_result(sources=np.full(4, "cats sleep", object)))
    assert "good 50 % (by chance -)" in figure.alt and len(plots._png(figure)) > 0


@pytest.mark.parametrize("text", ["", "same words", "same\nwords $x_1$"])
def test_garbage_of_the_weak_model_can_be_drawn(text):
    result = a_small_text_result(**with_weak_texts(a_small_text_result(), text))
    for made in (text_plots.gap(result, metric="rouge_l"), text_plots.signs(result)):
        assert "nan" not in made.alt and len(plots._png(made)) > 0
