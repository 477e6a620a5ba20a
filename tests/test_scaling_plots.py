"""The study's figures show each value with its interval, say what is settled, and hide no gap."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from synthetic_result import COST, a_result
from test_plots import texts

from w2s_lab import plots, scaling, scaling_plots
from w2s_lab.errors import W2SError
from w2s_lab.metrics import Estimate

RUNGS = {"static": 0, "minilm:1": 3.5e6, "minilm:2": 7.1e6, "minilm": 14.2e6, "smollm2": 71e6}


def at(result, weak, strong):
    """The result as one of these rungs: per token the operations above."""
    tokens = COST["strong"]["tokens"]
    cost = {
        role: {**COST["strong"], "flops": tokens * RUNGS[name]}
        for role, name in (("weak", weak), ("strong", strong))
    }
    return replace(result, weak=weak, strong=strong, cost=cost)


def row(weak, *, level=False):
    """One supervisor's students; where `level`, no ceiling beats it."""
    made = a_result(items=120)
    if level:
        made = replace(made, probs={**made.probs, "ceiling": made.probs["weak"]})
    names = list(RUNGS)
    return {name: at(made, weak, name) for name in names[names.index(weak) :]}


LADDER = {"static": row("static"), "minilm": row("minilm")}
COUNTS = {n: a_result(items=120) for n in (50, 100, 200, 400, 909)}
FIGURES = {
    "sizes": lambda: scaling_plots.sizes(LADDER),
    "recovered": lambda: scaling_plots.recovered(LADDER, "confidence"),
    "undefined": lambda: scaling_plots.recovered(
        {"static": LADDER["static"], "level": row("minilm", level=True)}
    ),
    "agreement": lambda: scaling_plots.agreement(LADDER["static"]),
    "methods": lambda: scaling_plots.methods(LADDER["static"]),
    "texts": lambda: scaling_plots.amount(COUNTS, "transfer texts"),
    "labels": lambda: scaling_plots.amount(COUNTS, "gold labels", "score"),
}


@pytest.fixture(scope="module", params=FIGURES)
def figure(request):
    return FIGURES[request.param]()


def test_no_text_overlaps_another_or_leaves_the_figure(figure):
    boxes = texts(figure)
    width, height = figure.bbox.size
    for text, box in boxes.items():
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, text
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        along = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across < 1 or along < 1, (one, other)


def test_every_figure_has_title_axes_and_words_that_begin_with_the_title(figure):
    (ax,) = figure.axes
    title = " ".join(figure.get_suptitle().split())
    assert title and ax.get_xlabel() and "95 % intervals" in ax.get_ylabel()
    assert figure.alt.startswith(title + ".")
    assert "nan" not in figure.alt and "\n" not in figure.alt
    assert figure.get_suptitle().count("\n") <= 2
    assert min(text.get_fontsize() for text in texts(figure)) >= 12


def test_the_words_tell_each_value_of_each_line():
    alt = scaling_plots.recovered(LADDER).alt
    for weak, students in LADDER.items():
        for result in students.values():
            assert f"{weak}: " in alt and str(result.pgr("naive")) in alt


def lines(figure, *, mark="None"):
    (ax,) = figure.axes
    return [line for line in ax.get_lines() if line.get_marker() == mark]


def test_the_dial_is_in_doublings_and_word_vectors_stand_one_before_the_least():
    (ax,) = scaling_plots.sizes(LADDER).axes
    places = ax.get_xticks()
    assert places[0] == pytest.approx(np.log2(3.5e6) - 1)
    assert places[1:] == pytest.approx(np.log2(list(RUNGS.values())[1:]))
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["0", "3.5", "7.1", "14", "71"]


def test_an_undefined_pgr_is_marked_at_the_edge_and_named():
    figure = FIGURES["undefined"]()
    (ax,) = figure.axes
    crosses = [line for line in lines(figure, mark="x") if len(line.get_xdata())]
    assert [len(line.get_xdata()) for line in crosses] == [2]
    assert set(crosses[0].get_ydata()) == {ax.get_ylim()[0]}
    assert "×: undefined" in ax.get_xlabel() and "level: undefined at 14" in figure.alt
    assert "×" not in FIGURES["recovered"]().axes[0].get_xlabel()


def test_an_interval_that_is_cut_has_no_cap_where_it_is_cut():
    _, ax = plots.axes(1)
    ax.set_ylim(-1, 1)
    scaling_plots._whisker(ax, 0, Estimate(0.0, -np.inf, 0.5), plots.BLUE)
    bar, caps = ax.get_lines()
    assert bar.get_ydata().tolist() == [-1, 0.5] and list(caps.get_ydata()) == [0.5]


def test_an_endless_interval_does_not_press_the_values_flat():
    estimates = [Estimate(0.2, -400.0, 900.0), Estimate(2.5, -np.inf, np.inf)]
    low, high = scaling_plots._y_limits(estimates, scaling_plots.PGR_SPAN)
    assert -1.5 < low <= -1 and 2.5 <= high < 3  # values outside the span are still shown


def test_the_supervisors_own_score_is_hollow_at_its_own_compute():
    figure = scaling_plots.sizes(LADDER)
    hollow = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    weak = LADDER["static"]["minilm"].score("weak").value
    assert [line.get_ydata()[0] for line in hollow] == pytest.approx([weak, weak])
    left, right = (line.get_xdata()[0] for line in hollow)
    assert left < right and "hollow" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize(
    "trend, told",
    [
        (Estimate(0.2, 0.1, 0.3), "rises"),
        (Estimate(-0.2, -0.3, -0.1), "falls"),
        (Estimate(0.2, -0.1, 0.3), "is not settled"),
        (Estimate(0.2, -np.inf, 0.3), "is not settled"),
        (Estimate(1e-17, 1e-17, 1e-17), "is not settled"),  # by rounding only
        (Estimate(np.nan, np.nan, np.nan), "is undefined"),
    ],
)
def test_a_trend_is_called_what_its_interval_settles(trend, told):
    assert scaling_plots.direction(trend) == told


def test_a_title_tells_lines_apart_that_go_different_ways():
    told = {"a": Estimate(0.2, 0.1, 0.3), "b": Estimate(0, -1, 1), "c": Estimate(0.3, 0.2, 0.4)}
    title = scaling_plots._headline("PGR", told, "the texts")
    assert title == "PGR rises with the texts for a and c, is not settled for b"
    title = scaling_plots._headline("their PGR", told, "compute", of="naive students", by="under")
    assert title == (
        "Naive students: their PGR rises with compute under a and c, is not settled under b"
    )
    told = {"b": told["b"], "d": Estimate(np.nan, np.nan, np.nan)}
    title = scaling_plots._headline("PGR", told, "the texts")
    assert title == "The trend of PGR with the texts is not settled for b, is undefined for d"


def test_a_title_of_one_line_has_its_slope():
    one = {"a": Estimate(0.2, 0.1, 0.3)}
    title = scaling_plots._headline("the score", one, "the texts")
    assert title == "The score rises with the texts: +0.20 [+0.10, +0.30] per doubling"
    title = scaling_plots._headline("the score", {"a": Estimate(0, -1, 1)}, "the texts")
    assert title == (
        "Whether the score changes with the texts is not settled: +0.00 [-1.00, +1.00] per doubling"
    )


def test_two_students_of_one_size_do_not_become_one():
    twice = {**LADDER["minilm"], "again": LADDER["minilm"]["smollm2"]}
    with pytest.raises(W2SError, match="two students of one size: again and smollm2"):
        scaling_plots.agreement(twice)


def test_a_figure_of_nothing_is_refused():
    for draw in (scaling_plots.sizes, scaling_plots.recovered, scaling_plots.agreement):
        with pytest.raises(W2SError, match="nothing to draw"):
            draw({})
    with pytest.raises(W2SError, match="nothing to draw"):
        scaling_plots.amount({}, "texts")


def test_a_line_of_one_student_has_no_trend_and_is_still_drawn():
    one = {"minilm": LADDER["minilm"]["minilm"]}
    figure = scaling_plots.recovered({"minilm": one})
    assert "is undefined" in figure.get_suptitle()
    assert str(one["minilm"].pgr("naive")) in figure.alt


def test_the_same_study_draws_the_same_file():
    first, second = (plots._png(scaling_plots.agreement(LADDER["static"])) for _ in range(2))
    assert first == second


def test_all_of_a_supervisors_errors_are_a_share_of_what_is_drawn():
    figure = scaling_plots.agreement(LADDER["static"], "soft")
    wrong = scaling.measured(LADDER["static"]["minilm"], "soft", "where wrong")
    assert f"it is wrong: {wrong}" in figure.alt
