"""Dials and blind pairs: what they show without a browser, what a hand on them does.

Widgets are turned and pressed without a page; only the last test starts a kernel.
"""

import re
import sys
from types import SimpleNamespace

import IPython
import ipywidgets
import pytest
from matplotlib.figure import Figure

from w2s_lab import plots
from w2s_lab.errors import W2SError
from w2s_lab.widgets import Blind, blind, dial, live

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


# --- blind pairs ----------------------------------------------------------------------------------

A = ["a0", "same", "a2", "a3", "a4"]
B = ["b0", " same\n", "b2", "b3", "b4"]


def rated(*choices, a=A, b=B, inputs=("i0", "i1", "i2", "i3", "i4"), **options):
    """Pairs of two writers, rated so far; "a" and "b" choose that writer wherever it stands."""
    made = blind(a, b, inputs=inputs, names=("student", "zero-shot"), **options)
    for choice in choices:
        swapped = made.drawn[len(made._said)][1]
        side = {"a": "right" if swapped else "left", "b": "left" if swapped else "right"}
        made.rate(side.get(choice, choice))
    return made


def test_a_pair_is_shown_with_its_input_and_without_its_writers():
    made = rated(pairs=1)
    ((item, swapped),) = made.drawn
    left, right = (B[item], A[item]) if swapped else (A[item], B[item])
    assert repr(made) == (
        f"Pair 1 of 1\n\ninput:\n  i{item}\n\nleft:\n  {left}\n\nright:\n  {right}\n\n"
        'Which is better? ab = blind(...), then ab.rate("left") or ab.rate("right") or '
        'ab.rate("equal")'
    )
    assert "student" not in repr(rated("a", "b")) and "zero-shot" not in repr(rated("a", "b"))


def test_rating_shows_the_next_pair_and_after_the_last_the_verdict(capsys):
    made = rated("left", "equal", "right")
    shown = [text.split("\n\n")[:2] for text in re.split("(?=Pair)", capsys.readouterr().out)[1:]]
    items = [item for item, _ in made.drawn]
    assert shown == [[f"Pair {k + 1} of 4", f"input:\n  i{items[k]}"] for k in (1, 2, 3)]
    made.show()
    assert capsys.readouterr().out.startswith("Pair 4 of 4")
    made.rate("left")
    assert capsys.readouterr().out == f"{made.verdict()}\n" == f"{made}\n"


def test_what_both_wrote_alike_is_not_rated():
    assert sorted(item for item, _ in rated().drawn) == [0, 2, 3, 4]


def test_ten_pairs_are_drawn_unless_fewer_are_asked_for_and_no_item_twice():
    many = [f"a{i}" for i in range(30)], [f"b{i}" for i in range(30)]
    drawn = [item for item, _ in blind(*many, inputs=many[0]).drawn]
    assert len(drawn) == len(set(drawn)) == 10
    assert len(blind(*many, inputs=many[0], pairs=3).drawn) == 3


def test_the_seed_alone_decides_items_and_sides_and_each_writer_stands_left_in_half():
    many = [f"a{i}" for i in range(30)], [f"b{i}" for i in range(30)]
    draws = [blind(*many, inputs=many[0], seed=seed).drawn for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert [sum(swapped for _, swapped in drawn) for drawn in draws] == [5, 5, 5]
    assert draws[0] != tuple(sorted(draws[0]))
    sides = [[swapped for _, swapped in drawn] for drawn in draws]
    assert sides[0] != sides[2]
    # ... and a single pair is not always shown in one order
    assert {rated(pairs=1, seed=seed).drawn[0][1] for seed in range(9)} == {False, True}


def test_the_verdict_counts_preferences_and_holds_them_against_a_coin():
    # 3 of 3: a coin is as uneven with 2 / 2^3; 95% interval from 0.025^(1/3) = 0.292 to 1
    title, you = told(rated("a", "a", "equal", "a"))[:2]
    assert title == "4 of 4 pairs rated."
    assert you == (
        "[you] student in 3, zero-shot in 0, neither in 1 of 4 pairs. That leaves 29% to 100% for "
        "student among all such preferences (95% interval); a coin is as uneven with probability "
        "0.25."
    )
    # 1 of 4: 2 (1 + 4) / 2^4 = 0.625; Clopper-Pearson 0.0063 to 0.8059
    you = told(rated("b", "b", "a", "b"))[1]
    assert "student in 1, zero-shot in 3, neither in 0 of 4" in you
    assert "1% to 81% for student" in you and you.endswith("0.62.")


def test_someone_without_a_preference_is_told_so():
    assert told(rated(*["equal"] * 4))[1].endswith("neither in 4 of 4 pairs. No preference at all.")


def test_always_choosing_one_side_prefers_nobody():
    assert "student in 2, zero-shot in 2" in told(rated(*["left"] * 4))[1]


def test_agreement_with_a_score_counts_only_pairs_in_which_both_prefer_one():
    made = rated()
    order = [item for item, _ in made.drawn]
    # you: a, a, b, equal; the score: a, b, equal, a. Both prefer one in the first two, agree once
    score = {order[0]: (1, 0), order[1]: (0, 1), order[2]: (5, 5), order[3]: (2, 1)}
    both = tuple([score.get(i, (9, 9))[side] for i in range(5)] for side in (0, 1))
    lines = told(rated("a", "a", "b", "equal", scores={"chrF": both, "flat": ([0] * 5, [0] * 5)}))
    assert lines[2] == (
        "[chrF] student in 2, zero-shot in 1, neither in 1 of 4 pairs. You agree in 1 of the 2 "
        "pairs in which both prefer one."
    )
    assert lines[3].startswith("[flat] student in 0, zero-shot in 0, neither in 4 of 4 pairs.")
    assert "You agree in 0 of the 0 pairs" in lines[3]


def test_the_verdict_tells_who_stood_where_and_the_gold():
    golds = [f"gold {i}" for i in range(5)]
    made = rated("a", "b", "equal", "a", gold=golds, scores={"chrF": ([1] * 5, [0] * 5)})
    (item, swapped), (other, _), *_ = made.drawn
    left, right = ("zero-shot", "student") if swapped else ("student", "zero-shot")
    lines = told(made)
    assert lines[3] == (
        f"[pair 1] left was {left}, right was {right}. Better for you: student; chrF: student. "
        f"Gold: gold {item}"
    )
    assert f"you: zero-shot; chrF: student. Gold: gold {other}" in lines[4]
    assert "you: equal; chrF: student" in lines[5]
    assert told(rated("a", "b", "equal", "a"))[2].endswith("Better for you: student.")


def told(made):
    """The verdict's paragraphs, each in one line."""
    return [" ".join(part.split()) for part in str(made.verdict()).split("\n\n")]


def test_before_the_last_pair_the_verdict_tells_no_writer():
    assert str(rated("a", "a").verdict()) == (
        "2 of 4 pairs rated; the verdict comes after the last one."
    )


def test_an_empty_text_is_shown_as_nothing():
    made = blind([" \n"], ["b"], inputs=["  def f():\n      pass"])
    assert ":\n  (nothing)\n" in repr(made)
    assert "input:\n    def f():\n        pass\n" in repr(made)  # the code keeps its indent


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: rated().rate("Left"), "'Left' is no choice; choose one of: left, right, equal"),
        (lambda: rated(*["equal"] * 4).rate("left"), "all 4 pairs are rated; see verdict()"),
        (
            lambda: rated(b=A),
            "nothing to rate: both wrote the same for every item",
        ),
        (
            lambda: rated(gold=["g"]),
            "gold: shape (1,) beside (5,); give one for each item, and of each score a list for "
            "either writer",
        ),
        (
            lambda: rated(scores={"chrF": [0.5] * 5}),
            "scores of chrF: shape () beside (5,); give one for each item, and of each score a "
            "list for either writer",
        ),
        (
            lambda: rated(a="text", b="text"),
            "a: shape () beside (items,); give one for each item, and of each score a list for "
            "either writer",
        ),
        (
            lambda: rated(pairs=0),
            "0 pairs by 'student' and 'zero-shot'; ask for one pair or more, by two names",
        ),
        (
            lambda: blind(A, B, inputs=A, names=("x", "x")),
            "10 pairs by 'x' and 'x'; ask for one pair or more, by two names",
        ),
    ],
)
def test_what_cannot_be_rated_is_told_in_one_line(call, line):
    with pytest.raises(W2SError) as caught:
        call()
    assert str(caught.value) == line


def parts(box):
    """Progress, input, left and right text, and the three buttons of a box of pairs."""
    progress, read, asked = box.children
    texts, buttons = asked.children
    return progress, read, *texts.children, buttons.children


def test_pressing_a_button_rates_the_pair_and_shows_the_next(capsys):
    made = rated()
    box = made.widget()
    progress, read, left, right, buttons = parts(box)
    assert [button.description for button in buttons] == [
        "left is better",
        "right is better",
        "equally good",
    ]
    for k, button in enumerate([buttons[0], buttons[2], buttons[1]]):
        item, swapped = made.drawn[k]
        assert progress.value == f'<div role="status">Pair {k + 1} of 4</div>'
        assert f"i{item}" in read.value
        assert f"{'b' if swapped else 'a'}{item}" in left.value
        assert f"{'a' if swapped else 'b'}{item}" in right.value
        button.click()
    assert made._said == ["left", "equal", "right"]
    assert capsys.readouterr().out == ""


def test_after_the_last_pair_the_box_shows_the_verdict_and_no_buttons(monkeypatch):
    made = rated("a", "a", "a")
    box = made.widget()
    progress, read, left, right, buttons = parts(box)
    assert "student" not in "".join(part.value for part in (progress, read, left, right))
    buttons[2].click()
    assert progress.value == '<div role="status">All 4 pairs are rated.</div>'
    assert "student in 3" in read.value and "<table>" in read.value
    assert box.children[2].layout.display == "none"
    noted = []
    monkeypatch.setattr(Blind, "_note", lambda self, choice: noted.append(choice))
    buttons[2].click()  # the second click of a double one
    assert noted == []


def test_a_pair_that_was_rated_elsewhere_is_not_rated_unseen():
    made = rated()
    _, _, left, _, buttons = parts(made.widget())
    made.rate("equal")
    buttons[0].click()
    assert made._said == ["equal"]
    item, swapped = made.drawn[1]
    assert f"{'b' if swapped else 'a'}{item}" in left.value


def test_what_a_model_wrote_is_shown_and_never_interpreted():
    bad = "<img src=x onerror=alert(1)>"
    made = blind([bad], [bad + "2"], inputs=[bad], gold=[bad], names=("<b>", "<i>"))
    box = made.widget()
    progress, read, left, right, buttons = parts(box)
    for part in (read, left, right):
        assert "<img" not in part.value and "&lt;img src=x" in part.value
    buttons[0].click()
    for tag in ("<img", "<b>", "<i>"):
        assert tag not in read.value
    assert "&lt;img" in read.value and bad in str(made)


def test_texts_scroll_and_can_be_reached_by_the_keyboard():
    _, read, left, right, _ = parts(rated().widget())
    for name, part in (("input", read), ("left", left), ("right", right)):
        assert 'tabindex="0"' in part.value and f'aria-label="{name}"' in part.value
        assert "overflow:auto" in part.value


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
    "from w2s_lab.widgets import blind, dial\n"
    "pair = blind(['x'], ['y'], inputs=['z'])\n"
    "def turn(): return dial({1: 'one', 2: 'two'}.get, [1, 2], 'n')",
    "os.environ['W2S_QUIET'] = '1'\nask('00-capped')",
    "turn()",
    "os.environ.pop('W2S_QUIET'); os.environ.pop('PYTEST_CURRENT_TEST', None)\nask('00-capped')",
    "turn()",
    "pair",
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
    _, quiet_ask, quiet_dial, live_ask, live_dial, live_pair = [
        cell.outputs for cell in notebook.cells
    ]
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
    assert sorted(live_pair[0].data) == sorted([view, "text/plain"])
    assert live_pair[0].data["text/plain"].startswith("Pair 1 of 1")
