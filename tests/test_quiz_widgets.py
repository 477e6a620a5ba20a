"""The forms of questions, filled in by simulated clicks: numbers, essays, and what is read out."""

import html

import pytest

from w2s_lab import quiz_widgets
from w2s_lab.errors import W2SError
from w2s_lab.quiz import Number, Question

NUMBER = Question("99-n", "numeric", "How < many?", (), ("So.",), number=Number(1, unit="<m>"))
ESSAY = Question(
    "99-e",
    "essay",
    "Why <b>now</b>?",
    ("It is <i>late</i>", "It is cheap", "It is right"),
    ("Time & tide.", "Money.", "Truth."),
    words=(2, 4),
)


def written(text):
    """The essay's box with a text in it, and its parts."""
    box = quiz_widgets.essay(ESSAY, "Compare & tick:")
    prompt, field, button, said, points = box.children
    field.value = text
    return prompt, field, button, said, points


def ticks(points):
    """The checkboxes, the explanations under them, and the count below."""
    *pairs, count = points.children
    return pairs[::2], pairs[1::2], count


def test_what_was_typed_goes_to_the_reply_at_a_press_and_its_words_are_read_out():
    asked = []
    box = quiz_widgets.form(NUMBER, lambda *given: asked.append(given) or "a < b\nand on")
    prompt, field, button, said = box.children
    assert (field.description, button.description) == ("Your answer", "Check")
    field.value = "3,5"
    assert not asked
    button.click()
    assert asked == [("99-n", "3,5")]
    assert said.value == '<div role="alert">a &lt; b<br>and on</div>'


def test_an_error_of_the_reply_is_shown_and_does_not_escape():
    def reply(*_):
        raise W2SError("not <that>", mend="try again")

    *_, button, said = quiz_widgets.form(NUMBER, reply).children
    button.click()
    assert said.value == '<div role="alert">not &lt;that&gt;; try again</div>'


@pytest.mark.parametrize("question", [NUMBER, ESSAY])
def test_prompt_and_limits_stand_above_the_field_as_text(question):
    make = quiz_widgets.essay if question is ESSAY else quiz_widgets.form
    above = make(question, "").children[0].value
    shown = above.removeprefix(quiz_widgets.STYLE)
    assert f"<p>{html.escape(question.prompt)}</p><p>{html.escape(question.limits)}</p>" == shown


@pytest.mark.parametrize("text", ["", "Now", "one two three four five"])
def test_no_point_is_in_the_box_before_an_essay_of_fitting_length(text):
    _, field, button, said, points = written(text)
    assert (field.description, button.description) == ("Your answer", "Compare")
    assert points.children == ()
    button.click()
    assert points.children == () and "Too " in said.value
    assert said.value.startswith('<div role="alert">')


def test_points_appear_with_their_reasons_and_are_counted_as_they_are_ticked():
    *_, button, said, points = written("It is late")
    button.click()
    assert said.value == '<div role="alert">Compare &amp; tick:</div>'
    boxes, whys, count = ticks(points)
    assert [box.description for box in boxes] == [*ESSAY.options]
    assert [why.value for why in whys] == [
        "<p>Time &amp; tide.</p>",
        "<p>Money.</p>",
        "<p>Truth.</p>",
    ]
    assert count.value == '<div role="status">0 of 3</div>'
    boxes[0].value = boxes[2].value = True
    assert count.value == '<div role="status">2 of 3</div>'
    boxes[0].value = False
    assert count.value == '<div role="status">1 of 3</div>'


def test_a_point_is_never_taken_for_markup():
    *_, button, _, points = written("It is late")
    button.click()
    boxes, _, _ = ticks(points)
    assert not any(box.description_allow_html for box in boxes)


def test_a_text_made_too_short_hides_the_points_and_keeps_the_ticks():
    _, field, button, said, points = written("It is late")
    button.click()
    ticks(points)[0][1].value = True
    field.value = "Late"
    button.click()
    assert points.children == () and "Too short" in said.value
    field.value = "Late it is"
    button.click()
    boxes, _, count = ticks(points)
    assert boxes[1].value and "1 of 3" in count.value
