"""The map of the course names what belongs together and tells what is missing on it."""

import re

import pytest
from test_teach_exercises import SOURCE, cell, changed, read

from w2s_lab.errors import W2SError
from w2s_lab.quiz import Question
from w2s_lab.teach.build import TAGS
from w2s_lab.teach.outline import gaps, objectives, page, questions

# the lesson of SOURCE; test_teach_course.py builds it as well
LESSON = """\
# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 07 · Tiny
#
# **Time** a minute
#
# After this lesson you can
#
# 1. double a number
#    in two ways,
# 2. say why.
#
# It ends there.

# %% tags=["objective-1"]
2 + 2

# %% [markdown]
# ## Adding
#
# ### Twice | once

# %% [markdown] tags=["objective-2", "objective-1"]
# Nothing is new here.

# %% tags=["objective-1"]
2 * 2

# %% [markdown] tags=["objective-2"]
# ## The end
"""
LIST = "# 1. double a number\n#    in two ways,\n# 2. say why.\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return read(tmp_path_factory.mktemp("source"))


def found(folder, lesson, tasks):
    path = folder / "lesson" / "07_tiny.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(lesson, "utf-8")
    return objectives(path, TAGS, tasks)


def lines(folder, tasks, lesson=LESSON):
    """The gaps, without those that two tasks cannot help having."""
    told = list(gaps(found(folder, lesson, tasks), tasks))
    needed = ("tasks, fewer than", "no task to")
    assert all("\n" not in line for line in told)
    return [line for line in told if not any(words in line for words in needed)]


# --- objectives -----------------------------------------------------------------------------------


def test_objectives_are_the_list_that_opens_the_lesson_with_its_sections_and_tasks(tmp_path, tiny):
    first, second = found(tmp_path, LESSON, tiny)
    assert (first.lesson, first.number, first.text) == (
        "07_tiny",
        1,
        "double a number in two ways",
    )
    assert first.sections == ("07 · Tiny", "Twice | once")
    assert [task.name for task in first.exercises] == ["double", "why"]
    assert (second.number, second.text) == (2, "say why")
    assert second.sections == ("Twice | once", "The end")
    assert [task.name for task in second.exercises] == ["why"]


def test_a_list_may_end_the_cell_and_have_ten_items(tmp_path, tiny):
    ten = "".join(f"# {n}. do {n},\n" for n in range(1, 11))
    lesson = changed(LESSON, LIST + "#\n# It ends there.\n", ten)
    assert [(one.number, one.text) for one in found(tmp_path, lesson, tiny)] == [
        (n, f"do {n}") for n in range(1, 11)
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (LIST, "# 1) double\n"),
        (LIST, "# - double\n"),
        ("After this lesson you can\n#\n", "After this lesson you can\n"),
        ("After this lesson", "Now"),
        ("#\n# After", "# %% [markdown]\n# After"),
    ],
)
def test_a_lesson_without_its_list_is_refused_with_its_line(tmp_path, tiny, old, new):
    with pytest.raises(W2SError) as caught:
        found(tmp_path, changed(LESSON, old, new), tiny)
    path = tmp_path / "lesson" / "07_tiny.py"
    assert str(caught.value) == (
        f"{path}:9: the lesson names no objectives; write `After this lesson you can`, "
        "a blank line, and a numbered list"
    )


# --- gaps -----------------------------------------------------------------------------------------


def test_a_complete_map_has_no_gaps(tmp_path, tiny):
    assert lines(tmp_path, tiny) == []


def test_an_objective_without_a_cell_is_a_gap(tmp_path, tiny):
    lesson = LESSON.replace(', "objective-1"', "").replace(' tags=["objective-1"]', "")
    told = "07_tiny, objective 1: no cell of the lesson is tagged objective-1"
    assert lines(tmp_path, tiny, lesson) == [told]


def test_an_objective_without_an_exercise_is_a_gap(tmp_path):
    tasks = read(tmp_path, changed(SOURCE, 'objective="1, 2"', "objective=1"))
    assert lines(tmp_path, tasks) == ["07_tiny, objective 2: no exercise"]


def test_a_task_for_an_objective_that_is_not_there_is_told_with_its_line(tmp_path):
    tasks = read(tmp_path, changed(SOURCE, "objective=1\n", 'objective="1, 3, 4"\n'))
    assert lines(tmp_path, tasks) == [
        f"{tasks.path}:22: there is no objective 3",
        f"{tasks.path}:22: there is no objective 4",
    ]


def more(*kinds):
    """SOURCE with further tasks of these kinds."""
    double = "".join(cell(f'{role}="double"') for role in ("answer", "check", "hidden", "hints"))
    double = cell('task="double"') + double
    added = ""
    for number, kind in enumerate(kinds):
        named = double.replace('"double"', f'"double{number}"')
        added += named.replace('"implement"', f'"{kind}"')
    return changed(SOURCE, "# %%\nscore()", added + "# %%\nscore()")


def test_few_tasks_and_missing_kinds_are_told(tmp_path, tiny):
    assert list(gaps(found(tmp_path, LESSON, tiny), tiny)) == [
        f"{tiny.path}: 2 tasks, fewer than 5",
        f"{tiny.path}: no task to recall",
        f"{tiny.path}: no task to diagnose",
        f"{tiny.path}: no task to decide",
    ]
    four = read(tmp_path / "four", more("recall", "diagnose"))
    assert list(gaps(found(tmp_path, LESSON, four), four)) == [
        f"{four.path}: 4 tasks, fewer than 5",
        f"{four.path}: no task to decide",
    ]
    five = read(tmp_path / "five", more("recall", "diagnose", "decide"))
    assert list(gaps(found(tmp_path, LESSON, five), five)) == []


# --- the page -------------------------------------------------------------------------------------


def tables(text):
    """The tables of a Markdown page, each a list of rows; a row is a list of cells."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", row)[1:-1] for row in block.splitlines()] for block in blocks]


@pytest.fixture
def course(tmp_path):
    """Two assignments; titles and headings hold what could break a table."""
    piped = changed(more("recall"), "# ## Why twice?", "# ## P(a | b)?")
    first = read(tmp_path / "first", SOURCE)
    second = read(tmp_path / "second", changed(piped, "07 · Tiny", "08 · More"), "08_more")
    return [(one, found(tmp_path, LESSON, one)) for one in (first, second)]


def test_the_page_is_made_of_valid_tables(course):
    made = tables(page(course))
    assert len(made) == 5  # one for the course; for each assignment one of tasks, one of objectives
    for head, rule, *rows in made:
        assert set(rule) == {"---"}
        assert rows
        assert {len(row) for row in (rule, *rows)} == {len(head)}
    assert page(course).endswith("|\n")


def test_the_page_sums_up_minutes_and_points(course):
    [_, _, *rows] = tables(page(course))[0]
    # tasks, minutes, points, visible, hidden, essays; `more` adds a task of 5 minutes, 1 + 1.5
    assert [[text.strip() for text in row] for row in rows] == [
        ["`07_tiny`", "2", "15", "7.5", "1", "2.5", "4"],
        ["`08_more`", "3", "20", "10", "2", "4", "4"],
        ["together", "5", "35", "17.5", "3", "6.5", "8"],
    ]


def test_the_page_lists_tasks_in_their_order_with_kind_and_points(course):
    [_, _, *rows] = tables(page(course))[1]
    assert [[text.strip() for text in row] for row in rows] == [
        ["1 · Twice", "implement", "5", "1 of 5", "2.5"],
        ["2 · Why twice?", "explain", "10", "5 of 5", "5"],
    ]


def test_each_objective_names_the_columns_of_its_tasks_once(course):
    for (_, known), table in zip(course, tables(page(course))[2::2], strict=True):
        for one, row in zip(known, table[2:], strict=True):
            expected = [id for task in one.exercises for id in task.columns]
            assert re.findall(r"`(.+?)`", row[3]) == expected
            assert len(set(expected)) == len(expected)
    row = tables(page(course))[2][3]
    assert row[0].strip() == "2. say why"
    assert row[3].strip() == "`why-check`, `why-hidden`, `why-essay`"


def test_every_column_of_the_gradebook_is_on_the_page(course):
    text = page(course)
    for assignment, _ in course:
        for task in assignment.exercises:
            assert all(f"`{id}`" in text for id in task.columns)


def test_questions_are_counted_by_lesson_and_kind():
    def question(id, kind):
        return Question(id, kind, "?", ("a", "b"), ("c", "d"))

    kinds = [("00-x", "choice"), ("00-y", "choice"), ("01-z", "essay")]
    table = questions([question(*one) for one in kinds]).splitlines()
    assert table[-5].split(" | ")[1:4] == ["choice", "true-false", "order"]
    assert table[-3] == "| 00 | 2 | 0 | 0 | 0 | 0 | 0 | 2 |"
    assert table[-2] == "| 01 | 0 | 0 | 0 | 0 | 0 | 1 | 1 |"
    assert table[-1] == "| together | 2 | 0 | 0 | 0 | 0 | 1 | 3 |"
