"""A secret is seen wherever it lies in what students receive, and what is no secret is not."""

import base64
import copy
import html
import json

import pytest
from nbformat import v4
from test_teach_exercises import SOURCE, changed, read

from w2s_lab.teach import leaks as gate
from w2s_lab.teach.assignments import release_notebook
from w2s_lab.teach.build import canonical
from w2s_lab.teach.leaks import LEAST, LONG, leaks, packed, secrets

# The lines of SOURCE between solution marks, in hidden cells and in the essay that have at least 10
# characters beside their spaces and stand nowhere else in SOURCE, as marks.total() does.
SECRETS = [
    "    doubled_in_the_solution = x + x",
    "    return doubled_in_the_solution",
    'marks = Marks("double", hidden=True)',
    'with marks.case("Your own number", points=1.5):',
    "    own_number_of_the_student = 1000 + SEED",
    "    marks.near(double(own_number_of_the_student), 2 * own_number_of_the_student)",
    'position = "because"',
    'reason = "twofold, naturally"',
    "Twice is once and once again, and whoever doubles adds.",
    "- **1.5** says that once and once",
    "  again is twice",
    "- **2.5** says that to double is to add",
    "### Exemplar, 2.5 of 4",
    "To double is to add.",
    "Why: It says what doubling is, and not",
    "what twice is.",
    "### Exemplar, 0 of 4",
    "Because it is so.",
    "Why: It says nothing.",
    'marks = Marks("why", hidden=True)',
    'with marks.case("The position"):',
    '    marks.same(position, "because")',
]
LONG_ONES = [line for line in SECRETS if len(packed(line)) >= LONG]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return read(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def opened(tiny):
    """A maker of releases cut down to a text and a code cell, so that many are soon searched."""
    notebook = release_notebook(tiny)
    del notebook.cells[2:]
    return lambda: copy.deepcopy(notebook)


def told(tiny, folder, content, name="07_tiny.ipynb"):
    """What the gate says of one file: a notebook, a text or bytes."""
    path = folder / name
    if isinstance(content, str | bytes):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    else:
        path.write_text(canonical(content), "utf-8")
    found = leaks([tiny], folder)
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in found)
    return [line.removeprefix(f"{path}: ") for line in found]


def gives_away(line):
    return [f"gives away {packed(line)[:60]!r}"]


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_the_secrets_of_a_source_are_these_lines(tiny):
    assert secrets([tiny]) == {packed(line) for line in SECRETS}


def test_a_release_gives_nothing_away(tiny, tmp_path):
    assert told(tiny, tmp_path, release_notebook(tiny)) == []


def test_an_empty_folder_gives_nothing_away(tiny, tmp_path):
    assert leaks([tiny], tmp_path) == []


# --- where a secret may lie -----------------------------------------------------------------------


def code(cell, **output):
    cell.outputs = [v4.new_output(**output)]


def result(**data):
    data = {kind.replace("_", "/"): content for kind, content in data.items()}
    return {"output_type": "execute_result", "data": data}


def deep(notebook, value):
    notebook.metadata["a"] = {"b": [{"c": 1}, ["é", value]]}


# how a line gets into a notebook: cell 1 is code, cell 0 a text
PLACES = {
    "text": lambda n, line: n.cells.append(v4.new_markdown_cell(line)),
    "code": lambda n, line: n.cells[1].update(source=f"x = 1\n{line}\ny = 2"),
    "raw cell": lambda n, line: n.cells.append(v4.new_raw_cell(line)),
    "stream": lambda n, line: code(
        n.cells[1], output_type="stream", name="stdout", text=f"a\n{line}\n"
    ),
    "result": lambda n, line: code(n.cells[1], **result(text_plain=line)),
    "result of many lines": lambda n, line: code(n.cells[1], **result(text_plain=f"a\n{line}\nb")),
    "json result": lambda n, line: code(n.cells[1], **result(application_json={"a": [line, 1]})),
    "lines without ends": lambda n, line: code(
        n.cells[1], **result(application_json=["a", line, "b"])
    ),
    "traceback": lambda n, line: code(
        n.cells[1], output_type="error", ename="E", evalue="", traceback=["a", line]
    ),
    "metadata": lambda n, line: deep(n, line),
    "key of metadata": lambda n, line: deep(n, {line: 0}),
    "metadata of a cell": lambda n, line: n.cells[0].metadata.update(comment=line),
    "attachment": lambda n, line: n.cells[0].update(
        attachments={"a.txt": {"text/plain": encoded(line)}}
    ),
    "attachment of many lines": lambda n, line: n.cells[0].update(
        attachments={"é.txt": {"text/plain": encoded(f"é\n{line}\n")}}
    ),
    "encoded twice": lambda n, line: deep(n, encoded(encoded(line))),
    "encoded in lines": lambda n, line: deep(n, "\n".join(encoded(line))),
    "notebook in a string": lambda n, line: deep(n, json.dumps({"cells": [{"source": [line]}]})),
    "notebook in an attachment": lambda n, line: n.cells[0].update(
        attachments={"a": {"b": encoded(json.dumps([line, 1]))}}
    ),
    "html": lambda n, line: code(n.cells[1], **result(text_html=html.escape(f"a\n{line}\nb"))),
    "coloured html": lambda n, line: code(
        n.cells[1],
        **result(text_html=f"<pre>a\n<b>{html.escape(line).replace(' ', '</b> <b>')}</b>\nb</pre>"),
    ),
    "source of a string": lambda n, line: code(
        n.cells[1], **result(text_plain=repr(f"a\n{line}\nb"))
    ),
    "indented": lambda n, line: n.cells[1].update(source=f"if x:\n\t        {line}"),
    "spaced": lambda n, line: n.cells[1].update(source=f"{line.replace(' ', '  ')}   \n"),
    "without spaces": lambda n, line: n.cells[1].update(source="".join(line.split())),
    "in other quotes": lambda n, line: n.cells[1].update(source=line.replace('"', "'")),
    "behind letters that base64 lacks": lambda n, line: (
        n.cells[0].update(source="é" * 12),
        n.cells.append(v4.new_markdown_cell(line)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("plant", PLACES.values(), ids=PLACES)
def test_each_secret_is_seen_in_a_notebook(tiny, tmp_path, opened, plant):
    for line in SECRETS:
        notebook = opened()
        plant(notebook, line)
        assert told(tiny, tmp_path, notebook) == gives_away(line), line


WITHIN = {
    "sentence": "Do not forget that {} is right, said the teacher.",
    "comment": "# {}  # noqa",
    "quotation": "> {}",
    "list": "- {}",
    "code in a text": "Write `{}`.",
}


@pytest.mark.parametrize("around", WITHIN.values(), ids=WITHIN)
def test_a_long_secret_is_seen_inside_a_line(tiny, tmp_path, opened, around):
    assert len(LONG_ONES) == 14
    for line in LONG_ONES:
        notebook = opened()
        notebook.cells.append(v4.new_markdown_cell(around.format(line.strip())))
        assert gives_away(line)[0] in told(tiny, tmp_path, notebook), line


def test_a_long_secret_is_seen_across_lines(tiny, tmp_path, opened):
    for line in LONG_ONES:
        notebook = opened()
        notebook.cells.append(v4.new_markdown_cell(line.strip().replace(" ", "\n")))
        assert gives_away(line)[0] in told(tiny, tmp_path, notebook), line


def test_a_secret_of_several_lines_is_seen_in_several_cells(tiny, tmp_path, opened):
    two, notebook = SECRETS[:2], opened()
    notebook.cells += [v4.new_code_cell(line) for line in two]
    assert told(tiny, tmp_path, notebook) == sorted(gives_away(two[0]) + gives_away(two[1]))


FILES = {
    "notes.txt": lambda line: f"a\n{line}\nb\n",
    ".hidden": lambda line: line,
    "07_tiny.py": lambda line: f"# %%\n{line}\n",
    "list.csv": lambda line: f"id\r\n{line}\r\n",
    "page.html": lambda line: f"<p>a</p>\n<p>{html.escape(line)}</p>\n",
    "marked.txt": lambda line: f"\ufeff{line}",
    "marked.json": lambda line: "\ufeff" + json.dumps({"a": encoded(line)}),
    "lines.jsonl": lambda line: '{"a": 1}\n' + json.dumps({"a": f"a\n{line}\n"}) + "\n",
    "twice.json": lambda line: f'{{"a": "x\\n{line.replace(chr(34), chr(39))}\\n", "a": 1}}',
    "code.b64": encoded,
}  # fmt: skip


@pytest.mark.parametrize(("name", "content"), FILES.items(), ids=FILES)
def test_each_secret_is_seen_in_a_file_beside_a_notebook(tiny, tmp_path, name, content):
    for line in SECRETS:
        assert told(tiny, tmp_path, content(line), name) == gives_away(line), line


def test_a_file_in_a_folder_below_is_searched(tiny, tmp_path):
    (tmp_path / "a" / ".ipynb_checkpoints").mkdir(parents=True)
    (tmp_path / "a" / ".ipynb_checkpoints" / "x").write_text(SECRETS[0])
    assert len(leaks([tiny], tmp_path)) == 1


UNREADABLE = {
    "zip": b"PK\x03\x04\x14\x00\x00\x00",
    "gzip": b"\x1f\x8b\x08\x00",
    "UTF-16": SECRETS[0].encode("utf-16"),
    "UTF-16, unmarked": SECRETS[0].encode("utf-16-le"),
    "Latin-1": "é".encode("latin-1"),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_is_no_text_is_told_since_it_cannot_be_searched(tiny, tmp_path, content):
    assert told(tiny, tmp_path, content, "x.zip") == [
        "is no text and cannot be searched; remove it"
    ]


@pytest.mark.parametrize(
    "mark",
    [
        "### BEGIN SOLUTION",
        "### END SOLUTION",
        "### begin solution",
        "###END_SOLUTION",
        "# BEGIN  SOLUTION",
        "### BEGIN HIDDEN TESTS",
        "### END HIDDEN TESTS",
        "=== BEGIN MARK SCHEME ===",
    ],
)
def test_a_mark_tells(tiny, tmp_path, opened, mark):
    for plant in (PLACES["code"], PLACES["stream"], PLACES["attachment"], PLACES["metadata"]):
        notebook = opened()
        plant(notebook, mark)
        [said] = told(tiny, tmp_path, notebook)
        assert said.startswith("has the mark ")


# --- what is no secret ----------------------------------------------------------------------------

PUBLIC = [
    line
    for cell in ("SEED = 0", "def double(x):", '"""Twice x."""', "marks.near(double(2), 4,")
    for line in (cell, f"    {cell}")
]
PUBLIC += ["marks.total()", "position = ''", "# YOUR CODE HERE", "raise NotImplementedError()"]
PUBLIC += ["Write `double(x)`, which gives twice x.", "3. Return `x + x`.", "YOUR ANSWER HERE"]


def test_a_public_line_tells_nothing(tiny, tmp_path, opened):
    for line in PUBLIC:
        for plant in map(PLACES.get, ("text", "code", "stream", "metadata", "attachment", "html")):
            notebook = opened()
            plant(notebook, line)
            assert told(tiny, tmp_path, notebook) == [], line


def test_a_line_that_answer_and_given_code_share_is_no_secret(tmp_path):
    shared = "    doubled_in_the_solution = x + x"
    diagnose = changed(
        SOURCE,
        "import Marks, score\n",
        f"import Marks, score\n\ndef theirs(x):\n{shared}\n    return x\n",
    )
    assert packed(shared) not in secrets([read(tmp_path, diagnose)])


@pytest.mark.parametrize(("length", "secret"), [(LEAST - 1, False), (LEAST, True)])
def test_a_line_of_fewer_than_ten_characters_is_no_secret(tmp_path, length, secret):
    line = "v = " + "7" * (length - 2)  # two characters beside the digits, spaces aside
    tiny = read(tmp_path / "a", changed(SOURCE, '= "because"\n', f'= "because"\n{line}\n'))
    assert (packed(line) in secrets([tiny])) is secret
    folder = tmp_path / "b"
    folder.mkdir()
    assert bool(told(tiny, folder, line, "x")) is secret


@pytest.mark.parametrize(("length", "seen"), [(LONG - 1, False), (LONG, True)])
def test_a_line_of_fewer_than_24_characters_is_looked_for_as_a_whole_line(tmp_path, length, seen):
    line = "v = " + "7" * (length - 2)
    tiny = read(tmp_path / "a", changed(SOURCE, '= "because"\n', f'= "because"\n{line}\n'))
    folder = tmp_path / "b"
    folder.mkdir()
    assert told(tiny, folder, line, "x") == gives_away(line)
    assert told(tiny, folder, f"a {line} b", "x") == (gives_away(line) if seen else [])


def test_a_short_line_that_another_assignment_shows_is_an_idiom_and_a_long_one_is_not(tmp_path):
    idiom, formula = "    marks.same(", "    return doubled_in_the_solution"
    one = read(tmp_path, changed(SOURCE, "marks.same(position", "marks.same(\n        position"))
    shows = changed(
        SOURCE,
        "marks.holds(position, ",
        "marks.same(\n        1, 1\n    )\n    marks.holds(position, ",
        "import Marks, score\n",
        f"import Marks, score\n\ndef other():\n{formula}\n",
    )
    other = read(tmp_path, shows, "08_other")
    assert {packed(idiom), packed(formula)} <= secrets([one])
    assert packed(idiom) not in secrets([one, other])
    assert packed(formula) in secrets([one, other])
    folder = tmp_path / "released"
    folder.mkdir()
    (folder / "08_other.ipynb").write_text(canonical(release_notebook(other)))
    assert [line.partition(": ")[2] for line in leaks([one, other], folder)] == gives_away(formula)


def test_a_secret_of_any_assignment_is_looked_for_in_every_file(tiny, tmp_path):
    answer = "squared_in_the_other_solution = x * x"
    other = changed(SOURCE, "doubled_in_the_solution = x + x", answer)
    other = read(tmp_path / "source", other, "08_other")
    folder = tmp_path / "released"
    folder.mkdir()
    (folder / "07_tiny.ipynb").write_text(answer)
    assert leaks([tiny], folder) == []
    assert len(leaks([tiny, other], folder)) == 1


def test_the_gate_does_not_trust_the_code_that_makes_releases(tiny, tmp_path, monkeypatch):
    from w2s_lab.teach import assignments

    monkeypatch.setattr(assignments, "_cleared", lambda cell, role, assignment: cell.text)
    found = told(tiny, tmp_path, release_notebook(tiny))
    assert len([line for line in found if line.startswith("gives away")]) == len(SECRETS)
    assert "release_notebook" not in vars(gate)


# --- what it cannot see ---------------------------------------------------------------------------

UNSEEN = {
    "a line cut in two": "doubled_in_the\nEND\n_solution = x + x",
    "other names": "twofold = x + x",
    "other words": "Twice is one time and one more time, so whoever doubles adds.",
    "a short line with something behind it": 'position = "because"  # so',
    "base64 in a sentence": f"Decode {encoded(SECRETS[0])} at home.",
    "reversed": SECRETS[0][::-1],
}


@pytest.mark.parametrize("text", UNSEEN.values(), ids=UNSEEN)
def test_what_the_gate_cannot_see_is_known(tiny, tmp_path, text):
    assert told(tiny, tmp_path, text, "x.txt") == []
