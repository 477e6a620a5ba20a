"""Dials: what they show without a browser, that they redraw, and that nothing is drawn twice."""

import sys
from types import SimpleNamespace

import IPython
import ipywidgets
import pytest
from matplotlib.figure import Figure

from w2s_lab import plots
from w2s_lab.errors import W2SError
from w2s_lab.widgets import dial, live

SCORES = {20: "student 0.71", 40: "student 0.76", 80: "student 0.80"}
HINT = (
    "Shown at lawyer's labels = 40. For another: d = dial(...), then d.at(80). "
    "lawyer's labels: 20, 40, 80"
)


def scores(drawn=None, **options):
    """A dial over `SCORES`, which notes in `drawn` what it was asked to draw."""
    drawn = [] if drawn is None else drawn

    def draw(count):
        drawn.append(count)
        return SCORES[count]

    return dial(draw, SCORES, "lawyer's labels", **options)


def figure_dial():
    def draw(count):
        figure = Figure()
        figure.alt = f"A bar at {count}."
        return figure

    return dial(draw, [20, 40], "labels")


@pytest.fixture
def shown(monkeypatch):
    """The figures that were shown."""
    figures = []
    monkeypatch.setattr(plots, "show", figures.append)
    return figures


# --- without a browser ----------------------------------------------------------------------------


def test_the_plain_form_is_the_start_value_and_one_line_on_how_to_see_another(capsys):
    made = scores(start=40)
    assert repr(made) == f"student 0.76\n{HINT}"
    made._ipython_display_()
    assert capsys.readouterr().out == f"student 0.76\n{HINT}\n"


def test_a_dial_starts_at_its_first_value_unless_told_otherwise():
    assert repr(scores()).startswith("student 0.71\nShown at lawyer's labels = 20.")


def test_a_sentence_stands_below_what_is_drawn(capsys):
    made = scores(start=40, describe=lambda count: f"A lawyer read {count} clauses.")
    assert repr(made) == f"student 0.76\nA lawyer read 40 clauses.\n{HINT}"
    made.at(20)
    assert capsys.readouterr().out == "student 0.71\nA lawyer read 20 clauses.\n"


def test_no_value_is_drawn_twice_and_none_before_it_is_asked_for(capsys):
    drawn = []
    made = scores(drawn)
    assert drawn == []
    repr(made), made.at(80), made.at(20), made.at(80)
    assert drawn == [20, 80]


def test_a_figure_is_shown_and_its_dial_is_told_in_words(shown, capsys):
    made = figure_dial()
    made._ipython_display_()
    made.at(40)
    assert [figure.alt for figure in shown] == ["A bar at 20.", "A bar at 40."]
    assert capsys.readouterr().out.startswith("Shown at labels = 20.")
    assert repr(made).startswith("A bar at 20.\nShown at")


def test_a_figure_outside_of_a_notebook_is_its_alt_text(capsys):
    figure_dial().at(40)
    assert capsys.readouterr().out == "A bar at 40.\n"


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: scores().at(30), "lawyer's labels has no 30; choose one of: 20, 40, 80"),
        (lambda: scores(start="x"), "lawyer's labels has no x; choose one of: 20, 40, 80"),
        (lambda: scores().at(), "0 values for 1 sliders; give one for each of: lawyer's labels"),
        (lambda: dial(str, [], "x"), "a dial without values for x; give it at least one"),
        (lambda: pair().at(1, 0.3), "weight has no 0.3; choose one of: 0, 0.5"),
    ],
)
def test_a_value_that_the_dial_lacks_is_told_with_those_it_has(call, line):
    with pytest.raises(W2SError) as caught:
        call()
    assert str(caught.value) == line


# --- sliders --------------------------------------------------------------------------------------


def test_moving_the_slider_redraws_and_says_so(capsys):
    drawn = []
    made = scores(drawn, describe=lambda count: f"{count} < 99")
    slider, _, sentence = made.widget().children
    assert sentence.value == '<div role="status">20 &lt; 99</div>'
    slider.value = 80
    assert drawn == [20, 80]
    assert sentence.value == '<div role="status">80 &lt; 99</div>'
    assert capsys.readouterr().out.rstrip().endswith("student 0.80")


def test_everything_is_drawn_inside_the_output_area_of_the_dial(monkeypatch):
    depths = []

    class Area(ipywidgets.Output):
        depth = 0

        def __enter__(self):
            Area.depth += 1
            return super().__enter__()

        def __exit__(self, *error):
            Area.depth -= 1
            return super().__exit__(*error)

    def draw(value):
        depths.append(Area.depth)
        return str(value)

    monkeypatch.setattr(ipywidgets, "Output", Area)
    slider, *_ = dial(draw, [1, 2], "n").widget().children
    slider.value = 2
    assert depths == [1, 1]


def test_the_slider_is_labelled_and_stands_at_the_start():
    slider, *_ = scores(start=40).widget().children
    assert (slider.description, slider.value) == ("lawyer's labels", 40)
    assert slider.options == (("20", 20), ("40", 40), ("80", 80))


def test_a_redrawn_figure_comes_with_its_alt_text_as_a_sentence(shown):
    slider, _, sentence = figure_dial().widget().children
    slider.value = 40
    assert [figure.alt for figure in shown] == ["A bar at 20.", "A bar at 40."]
    assert "A bar at 40." in sentence.value


def pair(drawn=None):
    def draw(count, weight):
        if drawn is not None:
            drawn.append((count, weight))
        return f"{count} and {weight}"

    return dial(draw, ([1, 2], [0, 0.5]), ("labels", "weight"), start=(2, 0))


def test_two_sliders_turn_one_drawing(capsys):
    drawn = []
    labels, weight, *_ = pair(drawn).widget().children
    assert (labels.description, weight.description) == ("labels", "weight")
    weight.value = 0.5
    labels.value = 1
    weight.value = 0.5
    assert drawn == [(2, 0), (2, 0.5), (1, 0.5)]


def test_the_plain_form_of_two_sliders_names_both():
    assert repr(pair()) == (
        "2 and 0\nShown at labels = 2, weight = 0. For another: d = dial(...), then d.at(2, 0.5). "
        "labels: 1, 2; weight: 0, 0.5"
    )


# --- a real kernel --------------------------------------------------------------------------------


def test_widgets_are_live_only_where_a_person_watches(monkeypatch):
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel="one"))
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    monkeypatch.setenv("W2S_QUIET", "1")
    assert not live()
    monkeypatch.delenv("W2S_QUIET")
    assert live()
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "x")
    assert not live()
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # as if it were not installed
    assert not live()


def test_without_a_kernel_nothing_is_live(monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    monkeypatch.delenv("W2S_QUIET", raising=False)
    assert not live()


CELLS = [
    "import os\n"
    "from w2s_lab.quiz import ask\n"
    "from w2s_lab.widgets import dial\n"
    "def turn(): return dial({1: 'one', 2: 'two'}.get, [1, 2], 'n')",
    "os.environ['W2S_QUIET'] = '1'\nask('00-capped')",
    "turn()",
    "os.environ.pop('W2S_QUIET'); os.environ.pop('PYTEST_CURRENT_TEST', None)\nask('00-capped')",
    "turn()",
]


def test_a_kernel_stores_widgets_only_when_live_and_readable_text_always():
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbformat import v4

    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in CELLS])
    here = KernelSpecManager(kernel_dirs=[])  # then `python3` is this interpreter
    kernels = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=here)
    client = NotebookClient(notebook, km=kernels, timeout=60)
    client.widget_registry = {}  # what an Output widget shows is then output of its cell
    client.execute()
    _, quiet_ask, quiet_dial, live_ask, live_dial = [cell.outputs for cell in notebook.cells]
    view = "application/vnd.jupyter.widget-view+json"
    text = quiet_ask[0].data["text/plain"]
    assert [list(output.data) for output in quiet_ask] == [["text/plain"]]
    assert text.startswith("A student whose only labels")
    assert [output.output_type for output in quiet_dial] == ["stream"]
    assert quiet_dial[0].text.startswith("one\nShown at n = 1.")
    assert sorted(live_ask[0].data) == sorted([view, "text/plain"])
    assert live_ask[0].data["text/plain"] == text
    stored = [output for output in live_dial if view in output.get("data", {})]
    assert [output.data["text/plain"] + "\n" for output in stored] == [quiet_dial[0].text]
