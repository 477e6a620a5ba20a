"""Figures carry their message in title, marks and words, and none of it overlaps."""

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from nbformat import v4
from PIL import Image
from synthetic_result import a_result, a_small_result

from w2s_lab import plots
from w2s_lab.errors import W2SError
from w2s_lab.metrics import Estimate
from w2s_lab.teach import build

pytestmark = pytest.mark.slow  # dozens of figures, drawn and measured

LEVEL = [Estimate(0.5, 0.4, 0.6)] * 3
INF = float("inf")


def seven_lines():
    series = {name: LEVEL for name in ("weak", "ceiling", "a", "b", "c", "d", "e")}
    return plots.dial((1, 2, 3), series, "labels", "score", "Seven lines that end in one point")


FIGURES = {
    "gap": lambda: plots.gap(a_result()),
    "small gap": lambda: plots.gap(a_small_result()),
    "no gap": lambda: plots.gap(a_result(weak=0.93, ceiling=0.9)),
    "curve": lambda: plots.learning_curve(a_result()),
    "errors": lambda: plots.errors(a_result()),
    "reliability": lambda: plots.reliability(a_result(), ("weak", "naive", "soft", "ceiling")),
    "dial": seven_lines,
}


@pytest.fixture(scope="module", params=FIGURES)
def figure(request):
    return FIGURES[request.param]()


def texts(figure):
    """The texts that are drawn, with their boxes in pixels; an annotation without its arrow."""
    figure.draw_without_rendering()
    (ax,) = figure.axes
    unseen = set()  # matplotlib keeps ticks beyond the ends of an axis
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        for tick in axis.get_major_ticks():
            if not low <= tick.get_loc() <= high:
                unseen |= {tick.label1, tick.label2}
    drawn = {text for text in figure.findobj(Text) if text.get_visible() and text.get_text()}
    return {text: Text.get_window_extent(text) for text in drawn - unseen}


def words(figure):
    return " ".join(" ".join(text.get_text().split()) for text in texts(figure))


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


def test_every_figure_has_a_title_labelled_axes_and_words_that_begin_with_the_title(figure):
    title = " ".join(figure.get_suptitle().split())
    (ax,) = figure.axes
    assert title and ax.get_xlabel()
    assert ax.get_ylabel() or [label.get_text() for label in ax.get_yticklabels()]
    assert figure.alt.startswith(title + ".")
    assert "\n" not in figure.alt and "nan" not in figure.alt


def test_no_text_is_smaller_than_a_back_row_can_read(figure):
    assert min(text.get_fontsize() for text in texts(figure)) >= 12


def test_a_saved_figure_is_a_png_that_carries_its_words(tmp_path):
    figure = plots.gap(a_small_result(), tmp_path / "gap.png")
    with Image.open(tmp_path / "gap.png") as image:
        assert image.format == "PNG"
        assert image.text == {"Description": figure.alt}
    assert [path.name for path in tmp_path.iterdir()] == ["gap.png"]


def test_words_beyond_latin_1_are_saved_too(tmp_path):
    plots.save(plots.described(Figure(), "PGR − 0.41, α ≥ ½"), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.text["Description"] == "PGR − 0.41, α ≥ ½"


def test_the_same_result_gives_the_same_file():
    assert plots._png(plots.gap(a_result())) == plots._png(plots.gap(a_result()))


@pytest.mark.parametrize("name, told", [("a.svg", "end in .png"), ("no/a.png", "does not exist")])
def test_a_figure_that_cannot_be_saved_is_told_in_one_line(tmp_path, name, told):
    with pytest.raises(W2SError, match=told):
        plots.save(plots.described(Figure(), "nothing"), tmp_path / name)


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_figure_without_words_is_refused(text, tmp_path):
    with pytest.raises(W2SError, match="alt text"):
        plots.described(Figure(), text)
    with pytest.raises(W2SError, match="alt text"):
        plots.save(Figure(), tmp_path / "a.png")
    with pytest.raises(W2SError, match="alt text"):
        plots.show(Figure())


def faults_of(output):
    cell = v4.new_code_cell("x", outputs=[output], execution_count=1)
    return [what for _, what in build.faults(v4.new_notebook(cells=[cell]))]


def test_a_shown_figure_satisfies_the_check_of_lessons(monkeypatch):
    seen = []
    monkeypatch.setattr("IPython.get_ipython", object)
    monkeypatch.setattr(
        "IPython.display.display", lambda data, **options: seen.append((data, options))
    )
    plots.show(plots.gap(a_result()))
    ((data, options),) = seen
    assert options["raw"] and "PGR" in options["metadata"]["image/png"]["alt"]
    output = v4.new_output("display_data", data=data, metadata=options["metadata"])
    assert faults_of(output) == []
    output.metadata = {}
    assert faults_of(output) == ["has a figure without alt text"]


def test_outside_of_a_notebook_show_prints_the_words(capsys):
    figure = plots.gap(a_small_result())
    plots.show(figure)
    assert capsys.readouterr().out == figure.alt + "\n"


def test_a_figure_as_the_last_value_of_a_cell_is_shown_with_its_words():
    from IPython.core.formatters import DisplayFormatter

    figure = plots.gap(a_small_result())
    data, metadata = DisplayFormatter().format(figure)
    assert set(data) == {"image/png", "text/plain"} and data["text/plain"] == figure.alt
    assert metadata == {"image/png": {"alt": figure.alt}}


def test_a_learners_own_pyplot_figure_is_closed_once_shown():
    from matplotlib import pyplot

    figure = pyplot.figure()
    plots.show(plots.described(figure, "an empty page"))
    assert not pyplot.fignum_exists(figure.number)


def test_drawing_needs_no_pyplot():
    code = "import sys, w2s_lab.plots as p; p.axes(3); print('matplotlib.pyplot' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_the_gap_is_told_with_its_best_student():
    result = a_result()
    figure = plots.gap(result)
    message = f"The best student, relabel, recovers {result.pgr('relabel')} of the gap"
    assert " ".join(figure.get_suptitle().split()) == message
    for name in result.methods:
        assert f"PGR {result.pgr(name)}" in words(figure)
        assert f"{name} {result.score(name)}, PGR {result.pgr(name)}" in figure.alt
    for name in ("weak", "ceiling", *result.baselines):
        assert f"{name} {result.score(name)}" in figure.alt


def test_points_stand_at_their_scores_and_baselines_are_hollow():
    (ax,) = plots.gap(a_small_result()).axes
    marks = [line for line in ax.get_lines() if line.get_marker() in ("o", "D")]
    # best first: good 0.75, bad 0.25; then the baselines 1.0 and 0.5
    assert [mark.get_xdata()[0] for mark in marks] == [0.75, 0.25, 1.0, 0.5]
    hollow = [to_hex(mark.get_markerfacecolor()) == "#ffffff" for mark in marks]
    assert hollow == [False, False, True, True]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "good",
        "bad",
        "baseline: bag of words",
        "baseline: majority",
    ]


@pytest.mark.parametrize(
    "pgr, message",
    [
        (Estimate(0.41, 0.16, 0.63), "The best student, x, recovers 0.41 [0.16, 0.63] of the gap"),
        (Estimate(0.41, -0.1, INF), "Not settled: the best student, x, recovers 0.41 [-0.10, inf]"),
        (Estimate(-0.4, -0.6, -0.1), "No student beats its teacher; the best, x, recovers -0.40"),
        (Estimate(*[float("nan")] * 3), "No gap to recover"),
    ],
)
def test_the_title_of_the_gap_claims_no_more_than_its_interval(pgr, message):
    assert plots._headline("x", pgr).startswith(message)


def test_a_student_that_falls_back_on_gold_is_said_to_overfit():
    # gold: 0.83 − 0.2 e^−t − 0.006 t is highest where 0.2 e^−t = 0.006, t = 3.5: at epoch 4
    assert "After epoch 4 " in plots.learning_curve(a_result()).alt


def test_a_student_that_does_not_fall_back_is_not_said_to_overfit():
    curves = dict(a_result().curves)
    curves["naive"] = np.stack([np.linspace(0.6, 0.9, 12), np.linspace(0.6, 0.8, 12)], 1)
    assert "does not fall back" in plots.learning_curve(a_result(curves=curves)).alt


def test_learning_curves_of_a_method_that_was_not_run_are_refused():
    with pytest.raises(W2SError, match="no learning curve of 'soft'.*naive"):
        plots.learning_curve(a_result(), "soft")


def test_the_bars_are_the_hand_worked_shares():
    # of four items: good mends 1, repeats 1, spoils 0; bad mends 0, repeats 2, spoils 1
    figure = plots.errors(a_small_result())
    corrected, imitated, new = figure.axes[0].containers
    assert [bar.get_width() for bar in corrected] == [0.25, 0]
    assert [bar.get_width() for bar in imitated] == [0.25, 0.5]
    assert [(bar.get_x(), bar.get_width()) for bar in new] == [(0.5, 0), (0.5, 0.25)]
    assert "25 / 25 / 0 %" in words(figure) and "0 / 50 / 25 %" in words(figure)
    assert "The weak model is wrong on 50.0% of the test items" in figure.alt
    assert figure.get_suptitle() == "Of its teacher's errors, good corrects 50 %"


def test_a_third_way_to_be_wrong_is_drawn_where_there_are_three_classes():
    answers = {"weak": [0, 1, 1, 2], "ceiling": [0, 0, 1, 1], "good": [0, 2, 1, 1]}
    probs = {name: np.eye(3)[[classes]] for name, classes in answers.items()}
    changes = {"probs": probs, "methods": ("good",), "baselines": (), "classes": ("a", "b", "c")}
    figure = plots.errors(a_small_result(**changes))
    labels = [part.get_label() for part in figure.axes[0].containers]
    assert labels == ["corrected", "imitated", "wrong in another way", "new errors"]
    # item 1: weak says 1, the student 2, gold is 0; item 3 is mended
    assert [part[0].get_width() for part in figure.axes[0].containers] == [0.25, 0, 0.25, 0]


def test_errors_of_chosen_methods_keep_the_order_asked_for_and_unknown_ones_are_refused():
    figure = plots.errors(a_result(), ("soft", "filter", "soft"))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["soft", "filter"]
    with pytest.raises(W2SError, match="no method 'weak'"):
        plots.errors(a_result(), ("weak",))


def test_a_weak_model_without_errors_gives_an_empty_but_titled_figure():
    small = a_small_result()
    result = a_small_result(probs={**small.probs, "weak": small.probs["ceiling"]})
    assert "makes no errors" in plots.errors(result).get_suptitle()


def test_reliability_names_each_line_once_with_its_calibration_error():
    result = a_result()
    figure = plots.reliability(result, ("weak", "relabel", "relabel"))
    for name in ("weak", "relabel"):
        assert words(figure).count(f"{name}, ECE {result.calibration_error(name):.2f}") == 1
    with pytest.raises(W2SError, match="no 'nobody'"):
        plots.reliability(result, ("nobody",))


def test_overconfidence_is_told_from_underconfidence():
    # right on 3 of 4: sure of 0.99 is too sure, sure of 0.6 is not sure enough
    for sure, told in ((0.99, "is surer than it is right"), (0.6, "is less sure than it is right")):
        probs = dict(a_small_result().probs)
        probs["good"] = np.where(probs["good"] == 1, sure, 1 - sure)
        figure = plots.reliability(a_small_result(probs=probs), ("good",))
        # |0.99 − 0.75| = 0.24, |0.6 − 0.75| = 0.15
        assert told in figure.alt and f"ECE {abs(sure - 0.75):.2f}" in words(figure)


def test_a_dial_draws_each_value_and_its_interval():
    series = {"a": [Estimate(0.2, 0.1, 0.3), Estimate(0.6, 0.5, 0.8)]}
    figure = plots.dial((10, 40), series, "wrong (%)", "PGR", "It falls")
    (ax,) = figure.axes
    assert ax.get_lines()[0].get_xydata().tolist() == [[10, 0.2], [40, 0.6]]
    band = ax.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band} == {(10, 0.1), (10, 0.3), (40, 0.5), (40, 0.8)}
    assert "a: 0.20 [0.10, 0.30] at 10, 0.60 [0.50, 0.80] at 40" in figure.alt


def test_an_unbounded_interval_reaches_the_edge_and_an_undefined_value_is_left_out():
    undefined = Estimate(*[float("nan")] * 3)
    series = {"a": [Estimate(0.2, -INF, INF), Estimate(0.6, 0.5, 0.8), undefined]}
    (ax,) = plots.dial((1, 2, 3), series, "x", "y", "t").axes
    floor, top = ax.get_ylim()
    assert np.isfinite([floor, top]).all()
    band = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
    assert {floor, top} <= set(band[band[:, 0] == 1, 1])
    assert np.isnan(ax.get_lines()[0].get_ydata()[2])
    assert not (band[:, 0] == 3).any()


def test_a_dial_of_nothing_defined_can_still_be_drawn():
    figure = plots.dial((1,), {"a": [Estimate(*[float("nan")] * 3)]}, "x", "y", "t")
    assert "a: undefined at 1" in figure.alt and len(plots._png(figure)) > 0


def test_words_on_a_dial_are_set_apart_evenly():
    (ax,) = plots.dial(("few", "some", "all"), {"a": LEVEL}, "x", "y", "t").axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["few", "some", "all"]
    assert np.ptp(np.diff(ax.get_xticks())) == 0


@pytest.mark.parametrize("x, series", [((1, 2), {"a": LEVEL}), ((), {"a": []}), ((1,), {})])
def test_a_dial_without_a_value_for_each_place_is_refused(x, series):
    with pytest.raises(W2SError):
        plots.dial(x, series, "x", "y", "t")


def test_weak_and_ceiling_look_the_same_on_a_dial_as_in_the_gap():
    looks = plots._looks(("a", "weak", "ceiling"))
    assert {looks["weak"][0], looks["ceiling"][0]} == {plots.VERMILLION, plots.GREEN}
    drawn = {to_hex(line.get_color()) for line in plots.gap(a_result()).axes[0].get_lines()}
    assert {plots.VERMILLION.lower(), plots.GREEN.lower()} <= drawn


@pytest.mark.parametrize("names", ["abcdefg", ("weak", "ceiling", *"abcde")])
def test_seven_lines_differ_in_colour_mark_and_line(names):
    looks = plots._looks(names)
    for part in zip(*looks.values(), strict=True):
        assert len(set(part)) == 7


def test_an_unbounded_interval_reaches_the_edge():
    _, ax = plots.axes(1)
    ax.set_xlim(0, 1)
    assert plots.within(Estimate(0.5, -np.inf, np.inf), ax).tolist() == [0, 1]
