"""What is read of a notebook that was handed in; nearly all of it hostile."""

import copy
import json
import threading
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from w2s_lab.teach.grading.submission import Cell, Refused, Submission, read_cells

NAME = "07_tiny"
KNOWN = ("double", "double-check", "why")


def said(work, *arguments, **options):
    """What a refusal says; it must be one plain line."""
    with pytest.raises(Refused) as caught:
        work(*arguments, **options)
    line = str(caught.value)
    assert line == caught.value.reason
    assert_plain(line)
    return line


def assert_plain(line):
    assert line == line.strip() and 0 < len(line) <= 200
    assert all(unicodedata.category(char)[0] != "C" for char in line)  # control, bidi, surrogate


# --- the cells ------------------------------------------------------------------------------------


def cell(source="x = 1", *, kind="code", grade_id=None, id=None, **more):
    made = {"cell_type": kind, "metadata": {}, "source": source, **more}
    if kind == "code" and not more:
        made |= {"execution_count": None, "outputs": []}
    if id is not None:
        made["id"] = id
    if grade_id is not None:
        made["metadata"] = {"nbgrader": {"grade_id": grade_id, "schema_version": 3, "points": 99}}
    return made


def notebook(*cells, **more):
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5} | more


def read(made, known=KNOWN, assignment=NAME):
    return read_cells(json.dumps(made).encode(), known, assignment)


SOUND = notebook(
    cell("# Tiny\n", kind="markdown", id="a1"),
    cell(["def double(x):\n", "    return x + x"], grade_id="double", id=f"{NAME}-double"),
    cell("...", grade_id="double-check", id=f"{NAME}-double-check"),
    cell("Because ä ≤ 😀.", kind="markdown", grade_id="why", id=f"{NAME}-why"),
    metadata={
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "version": "3.11.7"},
    },
)


def test_a_sound_notebook_is_read_without_a_note():
    assert read(SOUND) == Submission(
        cells=(
            Cell(None, "markdown", "# Tiny\n"),
            Cell("double", "code", "def double(x):\n    return x + x"),
            Cell("double-check", "code", "..."),
            Cell("why", "markdown", "Because ä ≤ 😀."),
        ),
        notes=(),
    )


def test_what_jupyter_writes_is_read(tmp_path):
    import nbformat

    path = tmp_path / "x.ipynb"
    made = nbformat.from_dict(copy.deepcopy(SOUND))
    nbformat.write(made, path)
    assert read_cells(path.read_bytes(), KNOWN, NAME) == read(SOUND)


def test_an_own_notebook_is_read_with_all_its_grade_ids():
    from w2s_lab.teach.assignments import release_notebook
    from w2s_lab.teach.build import canonical
    from w2s_lab.teach.exercises import read_assignment

    source = next(iter(sorted((Path(__file__).parents[1] / "solutions").glob("*.py"))))
    made = release_notebook(read_assignment(source))
    ids = [one.metadata.get("nbgrader", {}).get("grade_id") for one in made.cells]
    known = [id for id in ids if id]
    told = read_cells(canonical(made).encode(), known, source.stem)
    assert [one.grade_id for one in told.cells] == ids and len(known) > 3
    assert [one.source for one in told.cells] == [one.source for one in made.cells]
    assert told.notes == ()
    for one in made.cells:  # an editor that knows nothing of nbgrader
        one.metadata = {}
    lost = read_cells(canonical(made).encode(), known, source.stem)
    assert lost.cells == told.cells
    # 10 are named; one note for all of them leaves room for others
    [note] = lost.notes
    assert note.endswith(
        f" and {len(known) - 10} more: the grade id was lost, and taken from the cell's own id."
    )


@pytest.mark.parametrize("schema", [1, 2, 3, None, "x", [[]]])
def test_the_schema_of_nbgraders_metadata_does_not_matter(schema):
    made = notebook(cell("1", grade_id="double"))
    made["cells"][0]["metadata"]["nbgrader"]["schema_version"] = schema
    assert read(made).cells == (Cell("double", "code", "1"),)


def test_nothing_else_in_a_cell_matters():
    plain_one = cell("1", grade_id="why", id="x")
    other = copy.deepcopy(plain_one) | {"outputs": "x", "execution_count": [], "attachments": 7}
    other["metadata"] |= {"tags": 1, "locked": {}}
    other["metadata"]["nbgrader"] |= {"points": "a", "locked": 3, "solution": None, "grade": {}}
    assert read(notebook(other)) == read(notebook(plain_one))


REFUSED = {
    "empty": (b"", "is empty: open it in Jupyter"),
    "blanks": (b" \n\t ", "is empty: "),
    "no JSON": (b"hello", "is not a sound notebook file (Expecting value, line 1): open it"),
    "web page": (b"<html>", "is not a sound notebook file (Expecting value, line 1)"),
    "cut off": (b'{"cells": [\n', "is not a sound notebook file (Expecting value, line 2)"),
    "two": (b"{} {}", "is not a sound notebook file (Extra data, line 1)"),
    "merge": (b'{\n<<<<<<< HEAD\n"a": 1}', "(Expecting property name enclosed in double quotes"),
    "control": (b'{"a": "\x01"}', "is not a sound notebook file (Invalid control character at"),
    "UTF-8 mark": (b"\xef\xbb\xbf{}", "starts with a byte order mark: save it as UTF-8"),
    "UTF-16": ("{}".encode("utf-16"), "is UTF-16 or UTF-32, not UTF-8"),
    "UTF-16 without mark": ("{}".encode("utf-16-be"), "is UTF-16 or UTF-32, not UTF-8"),
    "UTF-32": ("{}".encode("utf-32-le"), "is UTF-16 or UTF-32, not UTF-8"),
    "Latin-1": (b'{"a": "zo\xeb"}', "is not UTF-8: open it"),
    "raw surrogate": (b'{"a": "\xed\xa0\x80"}', "is not UTF-8: open it"),
    "deep": (b"[" * 100_000, "is nested too deeply: clear its outputs"),
    "deep dicts": (b'{"a":' * 100_000, "is nested too deeply: clear its outputs"),
    "many parts": (b"[],{}" * 500_001, "has too many parts: clear its outputs"),
    "long number": (b"9" * 5000, "holds a number that is too long: clear its outputs"),
    "twice": (b'{"a": 1, "a": 1}', "says something twice in one place: open it"),
    "twice below": (b'{"cells": [{"source": "", "source": ""}]}', "says something twice"),
    "list": (b"[]", "is not a notebook: hand in the .ipynb file"),
    "null": (b"null", "is not a notebook: hand in the .ipynb file"),
    "other JSON": (b'{"a": 1}', "is not a notebook (it names no nbformat): hand in"),
    "format as text": (b'{"nbformat": "4"}', "is not a notebook (it names no nbformat)"),
    "format as truth": (b'{"nbformat": true}', "is not a notebook (it names no nbformat)"),
    "format 2": (b'{"nbformat": 2}', "is in notebook format 2, not 4: save it in a current"),
    "format 5": (b'{"nbformat": 5, "cells": []}', "is in notebook format 5, not 4: save it"),
    "format -1": (b'{"nbformat": -1}', "is in notebook format -1, not 4: save it"),
    "long format": (b'{"nbformat": ' + b"9" * 4000 + b"}", "is in notebook format 999"),
    "no cells": (b'{"nbformat": 4}', "has no list of cells: open it"),
    "cells as text": (b'{"nbformat": 4, "cells": "abc"}', "has no list of cells: open it"),
    "no sheets": (b'{"nbformat": 3, "cells": []}', "has no list of cells: open it"),
    "odd sheets": (b'{"nbformat": 3, "worksheets": [{"cells": 5}]}', "has no list of cells"),
    "odd sheet": (b'{"nbformat": 3, "worksheets": [5]}', "has no list of cells"),
}


@pytest.mark.parametrize(("raw", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_notebook_is_refused_with_what_to_do(raw, told, hurried):
    line = said(read_cells, raw)
    assert told in line
    assert ":" in line.removeprefix(told.partition(":")[0])


def test_a_notebook_that_exhausts_memory_is_refused(monkeypatch):
    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr(json, "loads", exhausted)
    assert said(read_cells, b"{}").startswith("needs too much memory: clear its outputs")


LANGUAGES = {
    "R": ({"kernelspec": {"language": "R"}}, "is written in R: choose the Python kernel"),
    "info": ({"language_info": {"name": "julia"}}, "is written in julia: choose the Python"),
    "both": (
        {"kernelspec": {"language": "python"}, "language_info": {"name": "bash"}},
        "is written in bash",
    ),
    "hostile": ({"kernelspec": {"language": "\x1b[31m\u202eR\ud800\n<b>"}}, "is written in R <b>:"),
    "invisible": ({"kernelspec": {"language": "\u200b\0"}}, "is written in another language:"),
    # at most 60 characters, the last of them …
    "long": ({"kernelspec": {"language": "x" * 10**6}}, f"is written in {'x' * 59}…: choose"),
}


@pytest.mark.parametrize(("metadata", "told"), LANGUAGES.values(), ids=LANGUAGES)
def test_another_language_is_refused_by_its_name(metadata, told):
    assert said(read, notebook(metadata=metadata)).startswith(told)


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"language": "Python"}},
        {"language_info": {"name": "ipython"}},
        {"kernelspec": {"name": "w2s"}},
        {"kernelspec": {"language": ""}, "language_info": {"name": None}},
        {"kernelspec": [], "language_info": "R"},
        [],
        None,
    ],
)
def test_python_or_no_word_on_the_language_will_do(metadata):
    assert read(notebook(cell("1"), metadata=metadata)).cells == (Cell(None, "code", "1"),)


LEFT_OUT = {
    "number": 5,
    "nothing": None,
    "list": [],
    "no type": {"source": "1"},
    "raw": cell(kind="raw"),
    "unhashable type": cell(kind=[]),
    "no source": {"cell_type": "code"},
    "source number": cell(7),
    "source dict": cell({}),
    "mixed lines": cell(["a", 1]),
    "long": cell("x" * 1_000_001),
    "long in lines": cell(["xy"] * 500_001),
}


@pytest.mark.parametrize("odd", LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_cell_that_is_none_costs_only_itself(odd):
    told = read(notebook(cell("1"), odd, cell("2", grade_id="why")))
    assert told.cells == (Cell(None, "code", "1"), Cell("why", "code", "2"))
    assert told.notes == ("Cell 2: left out, no code or Markdown of at most 1,000,000 characters.",)


def test_a_cell_of_a_million_characters_and_two_thousand_cells_are_read():
    assert len(read(notebook(cell("x" * 1_000_000))).cells[0].source) == 1_000_000
    assert len(read(notebook(*[cell("")] * 2_000)).cells) == 2_000
    assert said(read, notebook(*[5] * 2_001)) == (
        "has 2,001 cells; the limit is 2,000: delete those that belong to no task"
    )


REPAIRED = {
    "a\0b": "a\ufffdb",
    "a\ud800": "a\ufffd",
    "\udc00\ud800": "\ufffd\ufffd",
}


@pytest.mark.parametrize(("source", "expected"), REPAIRED.items(), ids=map(ascii, REPAIRED))
def test_characters_that_are_none_are_replaced_with_a_note(source, expected):
    told = read(notebook(cell(source, grade_id="why")))
    assert told.cells == (Cell("why", "code", expected),)
    assert told.notes == ("Cell 1: characters that are none were replaced by \ufffd.",)


def test_a_character_that_was_cut_between_two_lines_is_whole_again():
    assert read(notebook(cell(["'\ud83d", "\ude00'"]))).cells[0].source == "'😀'"


def test_format_3_is_read():
    code = {"cell_type": "code", "input": ["a\n", "b"], "language": "python", "outputs": []}
    code["metadata"] = {"nbgrader": {"grade_id": "double", "schema_version": 1}}
    text = {"cell_type": "markdown", "source": "words", "metadata": {}}
    made = {"nbformat": 3, "metadata": {"name": ""}, "worksheets": [{"cells": [code]}]}
    made["worksheets"].append({"cells": [text]})
    assert read(made) == Submission(
        (Cell("double", "code", "a\nb"), Cell(None, "markdown", "words"))
    )


# --- grade ids ------------------------------------------------------------------------------------


def test_a_cells_own_id_stands_in_for_a_lost_grade_id():
    told = read(notebook(cell("1", id=f"{NAME}-double")))
    assert told.cells == (Cell("double", "code", "1"),)
    assert told.notes == ("Cell 1: the grade id was lost, and taken from the cell's own id.",)


@pytest.mark.parametrize("id", ["double", "08_more-double", f"{NAME}-none", f"{NAME}-", 5, [], ""])
def test_any_other_id_does_not(id):
    assert read(notebook(cell("1", id=id))) == Submission((Cell(None, "code", "1"),))


def test_an_id_says_nothing_where_the_assignment_is_not_told():
    made = notebook(cell("1", id=f"{NAME}-double"), cell("1", id="-double"))
    assert [one.grade_id for one in read(made, assignment="").cells] == [None, None]
    assert [one.grade_id for one in read(made, known=()).cells] == [None, None]


@pytest.mark.parametrize(
    "odd", ["none", "", "Double", 5, [], {}, "x" * 10**6, "\x1b[31m", "\ud800"]
)
def test_an_unknown_grade_id_is_taken_away_with_a_note(odd):
    told = read(notebook(cell("1", grade_id=odd)))
    assert told.cells == (Cell(None, "code", "1"),)
    assert told.notes == ("Cell 1: a grade id that this assignment does not know was ignored.",)


def test_a_cells_own_id_also_stands_in_for_an_unknown_grade_id():
    told = read(notebook(cell("1", grade_id="cell-5f3a", id=f"{NAME}-why")))
    assert told.cells == (Cell("why", "code", "1"),)


def test_where_no_grade_ids_are_told_those_are_kept_that_can_be_shown():
    odd = ["double", "a b", "ä", "", " a", "a\nb", "\u202ea", "\ud800", "x" * 60, "x" * 61, 5]
    told = read(notebook(*(cell("1", grade_id=one) for one in odd)), known=())
    assert [one.grade_id for one in told.cells] == (
        ["double", "a b", "ä", None, None, None, None, None, "x" * 60, None, None]
    )


@pytest.mark.parametrize("odd", [5, "x", [], {"nbgrader": []}, {"nbgrader": {}}, None])
def test_metadata_of_any_shape_is_no_grade_id(odd):
    made = notebook(cell("1"))
    made["cells"][0]["metadata"] = odd
    assert read(made) == Submission((Cell(None, "code", "1"),))


def test_of_two_cells_with_one_grade_id_the_last_counts_and_the_other_stays():
    told = read(notebook(cell("1", grade_id="double"), cell("2"), cell("3", grade_id="double")))
    assert told.cells == (
        Cell(None, "code", "1"),
        Cell(None, "code", "2"),
        Cell("double", "code", "3"),
    )
    assert told.notes == (
        "2 cells have the grade id double; the last one that is not blank counts. "
        "Delete the others.",
    )


@pytest.mark.parametrize(
    ("sources", "counts"), [(["1", " \n"], 0), (["", "1", ""], 1), (["", " "], 1), (["1", "2"], 1)]
)
def test_a_blank_copy_takes_nothing_from_the_answer(sources, counts):
    told = read(notebook(*(cell(source, grade_id="why") for source in sources)))
    assert [one.grade_id for one in told.cells].index("why") == counts
    assert [one.grade_id for one in told.cells].count("why") == 1


def test_a_lost_grade_id_and_a_kept_one_are_duplicates_as_well():
    told = read(notebook(cell("1", grade_id="why"), cell("2", id=f"{NAME}-why")))
    assert [one.grade_id for one in told.cells] == [None, "why"]
    assert len(told.notes) == 2


def test_a_duplicate_that_is_left_out_does_not_count():
    told = read(notebook(cell("1", grade_id="why"), cell(5, grade_id="why")))
    assert told.cells == (Cell("why", "code", "1"),)


# --- notes ----------------------------------------------------------------------------------------


def test_a_note_names_the_first_ten_cells_and_counts_the_rest():
    def numbers(count):
        [note] = read(notebook(*[None] * count)).notes
        return note.partition(":")[0]

    assert numbers(1) == "Cell 1"
    assert numbers(2) == "Cells 1, 2"
    assert numbers(10) == "Cells 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"
    assert numbers(2000) == "Cells 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 1990 more"


@pytest.mark.parametrize(("doubled", "rest"), [(19, ""), (20, ""), (21, "2"), (1000, "981")])
def test_there_are_at_most_twenty_notes_and_the_last_counts_the_rest(doubled, rest):
    cells = [cell("1", grade_id=f"g{number}") for number in range(doubled)]
    notes = read(notebook(*cells, *cells), known=()).notes
    assert len(notes) == min(doubled, 20)
    # of 21 notes 19 are shown and 2 counted, of 1,000 it is 1,000 − 19 = 981
    counted = [note for note in notes if "more notes" in note]
    assert counted == ([f"There are {rest} more notes like these."] if rest else [])
    assert all(note.startswith("2 cells have the grade id g") for note in notes[:19])


# --- anything at all ------------------------------------------------------------------------------


def check(raw):
    """Either it is refused or it is a submission in which everything is bounded and clean."""
    try:
        told = read_cells(raw, KNOWN, NAME)
    except Refused as refused:
        assert_plain(refused.reason)
        return
    assert isinstance(told, Submission)
    assert len(told.notes) <= 20 and len(told.cells) <= 2000
    for note in told.notes:
        assert_plain(note)
    ids = [one.grade_id for one in told.cells if one.grade_id is not None]
    assert len(set(ids)) == len(ids) and set(ids) <= set(KNOWN)
    for one in told.cells:
        assert one.kind in ("code", "markdown")
        assert "\0" not in one.source and len(one.source) <= 1_000_000
        one.source.encode()  # no lone surrogates


anything = st.text(st.characters(), max_size=20)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), anything, st.sampled_from(KNOWN)
)
KEYS = [
    "cells",
    "nbformat",
    "metadata",
    "nbgrader",
    "grade_id",
    "source",
    "cell_type",
    "id",
    "code",
]
KEYS += ["kernelspec", "language", "language_info", "name", "worksheets", "input", "markdown"]
keys = st.one_of(st.sampled_from(KEYS), anything)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
quick = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(st.one_of(st.binary(), anything.map(lambda text: text.encode(errors="surrogatepass"))))
def test_any_bytes_are_read_or_refused(raw):
    check(raw)


@quick
@given(values, st.integers(2, 5))
def test_any_json_is_read_or_refused(value, version):
    check(json.dumps(value).encode())
    check(json.dumps({"nbformat": version, "cells": value}).encode())
    check(json.dumps({"nbformat": version, "cells": [value], "metadata": value}).encode())
    check(json.dumps({"nbformat": 3, "worksheets": [{"cells": [value]}, value]}).encode())


def places(value, path=()):
    """All places in a JSON value, as paths."""
    yield path
    if isinstance(value, dict | list):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in inside:
            yield from places(part, (*path, key))


PLACES = [path for path in places(SOUND) if path]


@quick
@given(st.lists(st.tuples(st.sampled_from(PLACES), values), min_size=1, max_size=3))
def test_a_sound_notebook_with_anything_anywhere_is_read_or_refused(changes):
    made = copy.deepcopy(SOUND)
    for (*way, last), value in changes:
        part = made
        try:
            for key in way:
                part = part[key]
            part[last] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    check(json.dumps(made).encode())


@quick
@given(st.data())
def test_a_sound_notebook_with_bytes_cut_or_changed_is_read_or_refused(data):
    raw = bytearray(json.dumps(SOUND, indent=1).encode())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    check(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    check(bytes(raw))


def test_a_small_stack_does_not_break_it():
    outcome = []
    size = threading.stack_size(512 * 1024)
    try:
        deep = b'{"nbformat":4,"cells":[' + b"[" * 900 + b"]" * 900 + b"]}"
        thread = threading.Thread(target=lambda: outcome.append(check(deep)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    assert outcome == [None]


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", ['"ab",', '"😀a",', "1.5,", "9" * 4000 + ",", '"\\u0000",', '{"cell_type":"code"},']
)
def test_twenty_megabytes_of_anything_take_seconds_at_most(unit, hurried):
    part = unit.encode()
    check(b'{"nbformat":4,"cells":[' + part * (19_999_000 // len(part)) + b"1]}")
    # one cell's source, in lines
    middle = b'{"nbformat":4,"cells":[{"cell_type":"code","source":['
    check(middle + part * (19_999_000 // len(part)) + b'""]}]}')
