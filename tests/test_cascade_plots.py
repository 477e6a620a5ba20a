"""Figures of a cascade carry their message in title, marks and words, and none of it overlaps."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image
from synthetic_cascade_result import METHODS, a_cascade_result
from synthetic_cascade_result import a_small_cascade_result as a_small_result

from w2s_lab import cascade_plots, plots
from w2s_lab.errors import W2SError
from w2s_lab.guarantee import Coverage
from w2s_lab.queueing import Server

pytestmark = pytest.mark.slow  # dozens of figures, drawn and measured
RESULT = a_cascade_result()
MACHINES = {"small": Server(0.02), "large": Server(2.0, count=2, price=1.5)}


def no_gap():
    right = {split: np.array([[1.0, 0, 1, 0]]) for split in ("validation", "test")}
    return a_small_result(small=right, large=right)


def queue(queries_a_day, **asked):
    return cascade_plots.queue(RESULT, "margin", queries_a_day=queries_a_day, **(MACHINES | asked))


FIGURES = {
    "curves": lambda: cascade_plots.curves(RESULT),
    "curves of all rules": lambda: cascade_plots.curves(
        a_cascade_result(classes=4, seeds=2, items=200), rules=METHODS
    ),
    "small curves": lambda: cascade_plots.curves(a_small_result()),
    "curves without a gap": lambda: cascade_plots.curves(no_gap()),
    "thresholds": lambda: cascade_plots.thresholds(RESULT, "margin"),
    "small thresholds": lambda: cascade_plots.thresholds(a_small_result(), "bad"),
    "calibration": lambda: cascade_plots.calibration(RESULT),
    "small calibration": lambda: cascade_plots.calibration(a_small_result(), seed=0),
    "coverage": lambda: cascade_plots.coverage(RESULT, "margin", splits=50),
    "queue by the query": lambda: queue(60_000, prices=(0.0001, 0.004)),
    "queue near its limit": lambda: queue(100_000),
    "queue overloaded": lambda: queue(200_000),
    "small model overloaded": lambda: queue(6_000_000),
}


@pytest.fixture(scope="module", params=FIGURES)
def figure(request):
    return FIGURES[request.param]()


def texts(figure):
    """The texts that are drawn, with their boxes in pixels; an annotation without its arrow."""
    figure.draw_without_rendering()
    unseen = set()  # matplotlib keeps ticks beyond the ends of an axis
    for ax in figure.axes:
        for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            for tick in axis.get_major_ticks():
                if not low <= tick.get_loc() <= high:
                    unseen |= {tick.label1, tick.label2}
    drawn = {text for text in figure.findobj(Text) if text.get_visible() and text.get_text()}
    return {text: Text.get_window_extent(text) for text in drawn - unseen}


def title(figure):
    return " ".join(figure.get_suptitle().split())


def points(ax, colour):
    """The data of marks without a line of that colour."""
    made = [line for line in ax.get_lines() if line.get_color() == colour]
    return [line.get_xydata().tolist() for line in made if line.get_marker() == "o"]


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
    assert title(figure) and figure.axes[-1].get_xlabel()
    assert all(ax.get_ylabel() for ax in figure.axes)
    assert figure.alt.startswith(title(figure) + ".")
    assert "\n" not in figure.alt and "nan" not in figure.alt and "inf" not in figure.alt


def test_no_text_is_smaller_than_a_back_row_can_read(figure):
    assert min(text.get_fontsize() for text in texts(figure)) >= 12


# Curves


def test_saved_curves_are_a_png_that_carries_its_words(tmp_path):
    figure = cascade_plots.curves(a_small_result(), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.text == {"Description": figure.alt}


def test_the_title_says_what_share_recovers_most_of_the_gap():
    share = RESULT.to_reach(RESULT.best, 0.8).value
    figure = cascade_plots.curves(RESULT)
    assert (
        title(figure) == f"Passing on {100 * share:.0f} % of the queries recovers 80 % of the gap"
    )
    (at,) = points(figure.axes[0], plots.BLUE)
    # four fifths of the way from the small model to the large one
    small, large = (scores["test"].mean() for scores in (RESULT.small, RESULT.large))
    assert at == [pytest.approx([100 * share, small + 0.8 * (large - small)])]


@pytest.mark.parametrize(
    "make, begin",
    [
        (a_small_result, "Not settled: passing on 40 % of the queries recovers 80 % of the gap"),
        (no_gap, "No gap to recover: the large model does not beat the small one"),
    ],
)
def test_the_title_claims_no_more_than_the_gap_allows(make, begin):
    assert title(cascade_plots.curves(make())) == begin


def test_rules_that_coincide_share_a_line_and_its_label():
    (ax,) = cascade_plots.curves(RESULT).axes
    labels = [" ".join(text.get_text().split()) for text in ax.get_legend().get_texts()]
    # learned has nothing but the probabilities of two classes, so it ranks like the others
    assert labels == [
        "maximum probability, margin, entropy, calibrated, learned",
        "random",
        "oracle",
    ]


def test_rules_that_differ_have_a_line_each():
    (ax,) = cascade_plots.curves(a_small_result(), rules=("maximum probability", "bad")).axes
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["maximum probability", "bad"]


def test_a_random_rule_is_the_straight_line_from_one_model_to_the_other():
    (ax,) = cascade_plots.curves(a_small_result(), rules=("bad", "random")).axes
    (line,) = (line for line in ax.get_lines() if line.get_label() == "random")
    assert line.get_ydata() == pytest.approx(np.linspace(0.5, 1, 21))


def test_curves_refuse_an_unknown_rule_and_none_at_all():
    with pytest.raises(W2SError, match="no rule 'luck'"):
        cascade_plots.curves(a_small_result(), rules=["luck"])
    with pytest.raises(W2SError, match="no rules to draw"):
        cascade_plots.curves(a_small_result(), rules=[])


# Thresholds, calibration, coverage


def test_thresholds_are_drawn_where_test_put_them():
    # asked 90 to 100 %, only the threshold that passes on all gives it: 100 % held
    figure = cascade_plots.thresholds(a_small_result(), "bad")
    top, bottom = figure.axes
    marked = {
        ax: next(line for line in ax.get_lines() if line.get_marker() in ("o", "s"))
        for ax in (top, bottom)
    }
    assert marked[top].get_xdata() == pytest.approx(np.arange(90, 101))
    assert set(marked[top].get_ydata()) == set(marked[bottom].get_ydata()) == {100}
    assert title(figure).endswith("asked for on validation, 100.0 % held on test")


def test_a_model_that_speaks_twice_too_loudly_gets_a_temperature_of_two():
    figure = cascade_plots.calibration(a_cascade_result(items=2000, validation=4000, seeds=1))
    temperature = float(title(figure).split()[3])
    assert temperature == pytest.approx(2, abs=0.15)
    assert " lowers the small model's calibration error" in title(figure)


def test_calibration_of_one_seed_tells_one_temperature():
    told = cascade_plots.calibration(RESULT, seed=1).alt
    assert told.split("by seed: ")[1].split(". A")[0].count(",") == 0
    with pytest.raises(W2SError, match="no seed 3 among 3"):
        cascade_plots.calibration(RESULT, seed=3)


def a_coverage(level, covered, interval):
    rest = {"delta": 0.1, "splits": 400, "mean_risk": 0.0, "mean_deferred": 0.5, "held_out": 0.8}
    return Coverage(level=level, covered=covered, interval=interval, **rest)


@pytest.mark.parametrize(
    "interval, message",
    [
        ((0.84, 0.91), "Promised in 90 % of calibrations, the risk is held in 88 % or more"),
        ((0.84, 0.89), "Promised in 90 % of calibrations, held in fewer at a risk of 1 %"),
    ],
)
def test_coverage_says_whether_the_promise_was_kept(interval, message):
    result = a_small_result()
    made = (a_coverage(0.01, 0.88, interval), a_coverage(0.05, 0.97, (0.95, 0.98)))
    vars(result)["_covered"] = {("bad", c.level, 0.1, 400): c for c in made}
    figure = cascade_plots.coverage(result, "bad", levels=(0.01, 0.05))
    assert title(figure) == message
    (ax,) = figure.axes
    assert points(ax, plots.BLUE) == [[[0, 88], [1, 97]]]


# The queue


def test_a_bill_grows_with_the_share_and_rent_does_not():
    cost = {}
    for name, prices in (("bill", (0.001, 0.01)), ("rent", None)):
        line = queue(60_000, prices=prices).axes[0].get_lines()[0]
        cost[name] = line.get_ydata()[[0, -1]].tolist()
    # 60,000 · .001, and 60,000 · (.001 + .01); 24 hours · 2 machines · 1.5
    assert cost == {"bill": pytest.approx([60, 660]), "rent": pytest.approx([72, 72])}


def test_the_delay_stops_where_the_large_model_is_overloaded():
    # 2 machines of 2 seconds serve 86,400 a day; 200,000 arrive: up to a share of .432
    figure = queue(200_000)
    line = figure.axes[1].get_lines()[0]
    assert line.get_xdata().max() == pytest.approx(43.2, abs=0.3)
    assert np.isfinite(line.get_ydata()).all()
    assert "Overloaded from 43 % on." in figure.alt
    assert title(figure).endswith("overloads the machines: the queue grows without bound")


def test_the_marks_stand_at_the_share_that_validation_chose():
    figure = queue(60_000)
    held = RESULT.held("margin", RESULT.thresholds("margin"))
    at = [points(ax, plots.VERMILLION)[0][0] for ax in figure.axes]
    assert [x for x, _ in at] == pytest.approx([100 * held.share.value] * 3)
    assert at[2][1] == pytest.approx(held.quality.value)
    assert "Never overloaded." in figure.alt


@pytest.mark.parametrize("queries", [0, -5, float("inf")])
def test_a_queue_needs_queries(queries):
    with pytest.raises(W2SError, match="queries a second"):
        queue(queries)
