"""Lessons built from sources: ids, refusals, execution, and the drift check, on small sources.

The repository's own lessons are the business of test_notebooks.py.
"""

import base64
import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat import v4

from w2s_lab import cli
from w2s_lab.errors import W2SError
from w2s_lab.teach import build

HEADER = """\
# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

"""
TITLE = "# %% [markdown]\n# # Tiny\n\n"
LESSON = """\
# %%
import os
import sys
import warnings

print(os.environ["W2S_SIZE"], os.environ["W2S_QUIET"], os.path.basename(os.getcwd()))
print(os.environ["MPLBACKEND"])

# %% tags=["claim", "slow"]
for n in (1, 2):
    print("Two is even:", 2 % 2 == 0, flush=True)


# %%
from IPython.display import display
import ipywidgets

warnings.warn("noise on standard error")
display(ipywidgets.interactive(lambda x: print(x), x=(0, 3)))
sys.executable == os.environ["THE_INTERPRETER"]

# %% tags=["raises-exception"]
1 / 0
"""


def write(folder: Path, body: str, name: str = "01_tiny.py", header: str = HEADER) -> Path:
    path = folder / name
    path.write_text(header + body, "utf-8")
    return path


def ids(path: Path) -> list[str]:
    return [cell.id for cell in build.read_source(path).cells]


# --- sources --------------------------------------------------------------------------------------


def test_a_source_gives_this_notebook_to_the_byte(tmp_path):
    source = write(tmp_path, TITLE + '# %% tags=["claim"]\nprint("yes")\n\n\n# %%\n"é"\n')
    # the ids end in the first 8 digits of sha256sum of "markdown\n# Tiny", 'code\nprint("yes")'
    # and 'code\n"é"' (no newline at the end)
    golden = """\
{
 "cells": [
  {
   "cell_type": "markdown",
   "id": "01_tiny-2e5a1013",
   "metadata": {},
   "source": [
    "# Tiny"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "id": "01_tiny-b3d61f17",
   "metadata": {
    "tags": [
     "claim",
     "nbval-check-output"
    ]
   },
   "outputs": [],
   "source": [
    "print(\\"yes\\")"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "id": "01_tiny-b408c605",
   "metadata": {},
   "outputs": [],
   "source": [
    "\\"é\\""
   ]
  }
 ],
 "metadata": {
  "kernelspec": {
   "display_name": "Python 3 (ipykernel)",
   "language": "python",
   "name": "python3"
  },
  "language_info": {
   "name": "python"
  }
 },
 "nbformat": 4,
 "nbformat_minor": 5
}
"""
    assert nbformat.writes(build.read_source(source)) + "\n" == golden


def test_a_cell_put_in_renames_no_other(tmp_path):
    before = ids(write(tmp_path, TITLE + "# %%\na = 1\n\n# %%\nb = 2\n"))
    after = ids(write(tmp_path, TITLE + "# %%\nnew = 0\n\n# %%\na = 1\n\n# %%\nb = 2\n"))
    assert [after[0], *after[2:]] == before


def test_a_text_cell_and_a_code_cell_that_read_alike_have_different_ids(tmp_path):
    same = ids(write(tmp_path, TITLE + "# %%\nx\n\n# %% [markdown]\n# x\n"))
    assert len(set(same)) == 3


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["a = 1", "b = 2", "c = 3"]), min_size=1, max_size=12))
def test_ids_are_unique_and_valid_however_often_a_cell_repeats(tmp_path_factory, cells):
    body = TITLE + "".join(f"# %%\n{cell}\n\n" for cell in cells)
    longest = "12_" + "n" * 40 + ".py"
    notebook = build.read_source(write(tmp_path_factory.getbasetemp(), body, longest))
    assert [cell.source for cell in notebook.cells[1:]] == cells
    found = {cell.id for cell in notebook.cells}
    assert len(found) == len(cells) + 1
    # nbformat puts random ids in the place of repeated ones: the form must be ours
    assert all(re.fullmatch(r"12_n{40}-[0-9a-f]{8}(-\d+)?", name) for name in found)
    assert max(map(len, found)) <= 64


MALFORMED = {
    "no header": ("", TITLE, 1, "no jupytext header"),
    "no extension": (HEADER.replace("extension: .py", "x: y"), TITLE, 1, "extension: .py"),
    "another format": (HEADER.replace("percent", "light"), TITLE, 1, "format_name: percent"),
    "empty": (HEADER, "", 9, "no cells"),
    "no title": (HEADER, "# %% [markdown]\n# Tiny\n", 9, "no title"),
    "code first": (HEADER, "# %%\n# # Tiny\nx = 1\n", 9, "no title"),
    "stray text": (HEADER, "x = 1\n" + TITLE, 10, "before the first cell"),
    "unclosed kind": (HEADER, TITLE + "# %% [markdown\n# x\n", 12, "not a cell marker"),
    "unclosed tags": (HEADER, TITLE + '# %% tags=["claim"\nx = 1\n', 12, "not a cell marker"),
    "unquoted tag": (HEADER, TITLE + "# %% tags=[claim]\nx = 1\n", 12, "not a cell marker"),
    "other metadata": (HEADER, TITLE + '# %% tag=["claim"]\nx = 1\n', 12, "not a cell marker"),
    "cell title": (HEADER, TITLE + "# %% Imports\nx = 1\n", 12, "not a cell marker"),
    "raw cell": (HEADER, TITLE + "# %% [raw]\n# x\n", 12, "not a cell marker"),
    "cell magic": (HEADER, TITLE + "# %%\n# %%time\nx = 1\n", 13, "not a cell marker"),
    "unknown tag": (HEADER, TITLE + '# %% tags=["clam"]\nx = 1\n', 12, "unknown tag 'clam'"),
    "nbval's tag": (HEADER, TITLE + '# %% tags=["nbval-skip"]\nx = 1\n', 12, "unknown tag"),
    "nbval's word": (HEADER, TITLE + "# %%\n# NBVAL_SKIP\nx = 1\n", 12, "overrules"),
    "text as claim": (HEADER, TITLE + '# %% [markdown] tags=["claim"]\n# x\n', 12, "be a claim"),
    "empty cell": (HEADER, TITLE + "# %%\n\n# %%\nx = 1\n", 12, "is empty"),
    "unclosed string": (HEADER, TITLE + '# %%\nx = """\n\n# %%\ny = 1\n', 12, "close its quotes"),
    "unclosed text": (
        HEADER,
        TITLE + '# %% [markdown]\n"""\nx\n\n# %%\ny\n',
        12,
        "close its quotes",
    ),
}


@pytest.mark.parametrize(("header", "body", "line", "what"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_source_stops_with_its_file_and_line(tmp_path, header, body, line, what):
    source = write(tmp_path, body, header=header)
    with pytest.raises(W2SError) as caught:
        build.read_source(source)
    assert str(caught.value).startswith(f"{source}:{line}: ")
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_name_without_its_number_is_refused(tmp_path):
    with pytest.raises(W2SError, match="NN_name"):
        build.read_source(write(tmp_path, TITLE, "tiny.py"))


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path):
    source = write(tmp_path, TITLE)
    source.write_bytes(source.read_bytes() + b"# \xff\n")
    with pytest.raises(W2SError, match=r":12: is not UTF-8"):
        build.read_source(source)


# --- outputs that should not be committed ---------------------------------------------------------


def say(text, name="stdout"):
    return v4.new_output("stream", name=name, text=text)


def show(metadata=None, **data):
    data = {kind.replace("_", "/"): content for kind, content in data.items()}
    return v4.new_output("display_data", data, metadata=metadata or {})


PNG = base64.b64encode(b"\x89PNG").decode()
ALT = {"image/png": {"alt": "a line that rises"}}
ERROR = v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
FAULTY = {
    "error": ([], [ERROR], "ended in ValueError: no"),
    "no error": (["raises-exception"], [], "raised nothing"),
    "silent claim": (["claim"], [], "prints nothing"),
    "blank claim": (["claim"], [say(" \n")], "prints nothing"),
    "claim on stderr": (["claim"], [say("yes"), say("no", "stderr")], "more than printed text"),
    "claim with a figure": (["claim"], [say("yes"), show(ALT, image_png=PNG)], "more than printed"),
    "claim with a number": (["claim"], [say("above 0.45: True")], r"decimal \(0.4\)"),
    "address": ([], [show(text_plain="<A at 0x7fe3a1b2c3d0>")], "changes from run to run"),
    "kernel's folder": ([], [say("/x/ipykernel_4711/1.py:1")], "changes from run to run"),
    "environment": ([], [say(f"File {sys.prefix}/lib/x.py")], "path of this machine"),
    "project": ([], [say(f"File {build.__file__}:1")], "path of this machine"),
    "no alt": ([], [show(image_png=PNG)], "without alt text"),
    "empty alt": ([], [show({"image/png": {"alt": " "}}, image_png=PNG)], "without alt text"),
    "html, no alt": ([], [show(text_html='<img alt="x"><img src="y">')], "without alt text"),
    "html, empty alt": ([], [show(text_html='<img alt="" src="y">')], "without alt text"),
    "large": ([], [show(ALT, image_png="A" * 200_001)], "200,001 characters of image/png"),
}
FAULTLESS = {
    "text": ([], [say("0.45 at 0x12")]),
    "error asked for": (["raises-exception"], [ERROR]),
    "claim": (["claim"], [say("The gap is above zero: True")]),
    "figure": ([], [show(ALT, image_png="A" * 200_000)]),
    "html figure": ([], [show(text_html='<p><img src="y" alt="a line">')]),
}


def faults(tags, outputs, count=1):
    cell = v4.new_code_cell("x", outputs=outputs, execution_count=count, metadata={"tags": tags})
    text = v4.new_markdown_cell("# Tiny")
    return list(build.faults(v4.new_notebook(cells=[text, cell])))


@pytest.mark.parametrize(("tags", "outputs", "what"), FAULTY.values(), ids=FAULTY)
def test_output_that_should_not_be_committed_is_named_with_its_cell(tags, outputs, what):
    [(number, told)] = faults(tags, outputs)
    assert number == 2
    assert re.search(what, told)


@pytest.mark.parametrize(("tags", "outputs"), FAULTLESS.values(), ids=FAULTLESS)
def test_output_that_is_as_it_should_be_passes(tags, outputs):
    assert faults(tags, outputs) == []


def test_a_cell_that_was_not_executed_is_a_fault():
    assert faults([], [], count=None) == [(2, "was not executed")]


# --- execution ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    """A folder with one lesson, built while the user's own `python3` kernel is a broken one."""
    folder = tmp_path_factory.mktemp("project") / "notebooks"
    folder.mkdir()
    broken = folder.parent / "jupyter" / "kernels" / "python3"
    broken.mkdir(parents=True)
    spec = {"argv": ["/nowhere/python", "{connection_file}"], "display_name": "x", "language": "x"}
    (broken / "kernel.json").write_text(json.dumps(spec))
    write(folder, TITLE + LESSON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder.parent / "jupyter"))
        patch.setenv("THE_INTERPRETER", sys.executable)
        patch.setenv("W2S_SIZE", "smoke")
        patch.delenv("W2S_QUIET")
        assert build.build(folder) == [folder / "01_tiny.ipynb"]
    return folder


def test_a_lesson_runs_in_its_folder_at_lab_size_in_this_interpreter(lessons):
    cells = nbformat.read(lessons / "01_tiny.ipynb", 4).cells
    assert cells[1].outputs == [say("lab 1 notebooks\nmodule://matplotlib_inline.backend_inline\n")]
    assert cells[2].outputs == [say("Two is even: True\nTwo is even: True\n")]
    # the warning and the live slider are left out; what it drew, at the middle of 0 to 3, stays
    assert cells[3].outputs[0] == say("1\n")
    assert [output.data for output in cells[3].outputs[1:]] == [{"text/plain": "True"}]
    assert cells[4].outputs[0].ename == "ZeroDivisionError"
    assert [cell.execution_count for cell in cells[1:]] == [1, 2, 3, 4]


def test_the_notebook_holds_no_timing_and_no_widget_state(lessons):
    notebook = nbformat.read(lessons / "01_tiny.ipynb", 4)
    assert notebook.metadata == build.METADATA
    assert [cell.metadata.get("tags") for cell in notebook.cells] == [
        None,
        None,
        ["claim", "slow", "nbval-check-output"],
        None,
        ["raises-exception"],
    ]
    assert not any(set(cell.metadata) - {"tags"} for cell in notebook.cells)


def test_two_builds_give_the_same_bytes_and_leave_no_other_file(lessons, tmp_path, monkeypatch):
    again = tmp_path / "notebooks"
    again.mkdir()
    shutil.copy(lessons / "01_tiny.py", again)
    monkeypatch.setenv("THE_INTERPRETER", sys.executable)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["build", "01_tiny"]) == 0
    assert (again / "01_tiny.ipynb").read_bytes() == (lessons / "01_tiny.ipynb").read_bytes()
    assert sorted(path.name for path in again.iterdir()) == ["01_tiny.ipynb", "01_tiny.py"]


FAILING = {
    "error": ('\nraise ValueError("first\\nsecond")', r"ValueError: first second; mend"),
    "dead kernel": ("\nimport os\nos._exit(1)", "Kernel died"),
    "time-out": ("\nimport time\ntime.sleep(60)", "timed out"),
    "address": ("\nobject()", "changes from run to run"),
    "claim that warns": (
        ' tags=["claim"]\nprint(1)\nimport warnings\nwarnings.warn("x")',
        "more than",
    ),
}


@pytest.mark.parametrize(("code", "told"), FAILING.values(), ids=FAILING)
def test_a_failed_cell_is_named_and_the_old_notebook_stays(tmp_path, monkeypatch, code, told):
    monkeypatch.setattr(build, "CELL_SECONDS", 2)
    source = write(tmp_path, TITLE + f"# %%\n1\n\n# %%{code}\n")
    old = source.with_suffix(".ipynb")
    old.write_text("old")
    with pytest.raises(W2SError, match=told) as caught:
        build.build(tmp_path)
    assert f"{source}: cell 3 " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert old.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["01_tiny.ipynb", "01_tiny.py"]


def test_a_notebook_that_cannot_be_written_leaves_no_part_of_itself(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    (folder / "01_tiny.ipynb").mkdir(parents=True)
    write(folder, TITLE)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["build"]) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["01_tiny.ipynb", "01_tiny.py"]


def test_a_malformed_source_stops_the_build_before_any_cell_runs(tmp_path):
    write(tmp_path, TITLE + "# %%\nopen('ran', 'w')\n")
    write(tmp_path, "", "02_empty.py")
    with pytest.raises(W2SError, match=r"02_empty\.py:\d+: there are no cells"):
        build.build(tmp_path)
    assert not (tmp_path / "ran").exists()


# --- drift ----------------------------------------------------------------------------------------


@pytest.fixture
def copied(lessons, tmp_path):
    return Path(shutil.copytree(lessons, tmp_path / "notebooks"))


def test_a_built_lesson_has_no_drift(copied):
    assert build.check(copied) == []


def edit(change):
    """A change of the committed notebook's JSON, written back in canonical form."""

    def apply(folder):
        path = folder / "01_tiny.ipynb"
        notebook = nbformat.v4.reads(path.read_text("utf-8"))
        change(notebook)
        path.write_text(nbformat.v4.writes(notebook) + "\n", "utf-8")

    return apply


def replace(name, old, new):
    def apply(folder):
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), "utf-8")

    return apply


DRIFT = {
    "cell edited": (edit(lambda n: n.cells[2].update(source="x")), r"cell 3 \(.*\) differs"),
    "text edited": (edit(lambda n: n.cells[0].update(source="# x")), r"cell 1 \(.*\) differs"),
    "cells swapped": (edit(lambda n: n.cells.insert(1, n.cells.pop(2))), r"cell 2 \(.*\) differs"),
    "cell deleted": (edit(lambda n: n.cells.pop(2)), "has 4 cells, its source 5"),
    "kind changed": (edit(lambda n: n.cells[0].update(cell_type="raw")), "cell 1 .* differs"),
    "id changed": (edit(lambda n: n.cells[1].update(id="x")), r"cell 2 \(x\) differs"),
    "tag lost": (edit(lambda n: n.cells[2].metadata.clear()), r"cell 3 \(.*\) differs"),
    "cell metadata": (edit(lambda n: n.cells[1].metadata.update(x=1)), r"cell 2 \(.*\) differs"),
    "metadata": (edit(lambda n: n.metadata.update(title="x")), "metadata differ"),
    "minor version": (edit(lambda n: n.update(nbformat_minor=6)), "differs in form"),
    "form": (replace("01_tiny.ipynb", '"cells": [', '"cells":  ['), "differs in form"),
    "not JSON": (replace("01_tiny.ipynb", '"cells": [', '"cells": '), "not a valid notebook"),
    "no cells": (replace("01_tiny.ipynb", '"cells"', '"cell"'), "not a valid notebook"),
    "no ids": (edit(lambda n: [c.pop("id") for c in n.cells]), "not a valid notebook"),
    "source edited": (replace("01_tiny.py", "(1, 2)", "(1, 3)"), r"cell 3 \(.*\) differs"),
    "source tag": (replace("01_tiny.py", ', "slow"', ""), r"cell 3 \(.*\) differs"),
    "source broken": (replace("01_tiny.py", "[markdown]", "[mark]"), r"01_tiny.py:9: not a cell"),
    "claim emptied": (edit(lambda n: n.cells[2].update(outputs=[])), "cell 3 .*prints nothing"),
    "claim failed": (edit(lambda n: n.cells[2].update(outputs=[ERROR])), "cell 3 .*ValueError"),
    "not executed": (edit(lambda n: n.cells[1].update(execution_count=None)), "cell 2 .*not exec"),
    "no notebook": (
        lambda folder: (folder / "01_tiny.ipynb").unlink(),
        "01_tiny.ipynb: is missing",
    ),
    "no source": (lambda f: (f / "02_x.ipynb").write_text("{}"), "02_x.ipynb: has no source"),
}


@pytest.mark.parametrize(("change", "what"), DRIFT.values(), ids=DRIFT)
def test_drift_is_found_and_told(copied, change, what):
    change(copied)
    findings = build.check(copied)
    assert findings
    assert re.search(what, findings[0])
    assert all("\n" not in line for line in findings)


def test_outputs_of_cells_that_claim_nothing_may_differ(copied):
    edit(lambda n: n.cells[1].update(outputs=[say("other")], execution_count=9))(copied)
    assert build.check(copied) == []


# --- the command ----------------------------------------------------------------------------------


def test_the_exit_status_tells_agreement_drift_and_mistakes_apart(copied, monkeypatch, capsys):
    monkeypatch.chdir(copied.parent)
    assert cli.main(["build", "--check"]) == 0
    assert cli.main(["build", "--check", "notebooks/01_tiny.ipynb"]) == 0
    assert capsys.readouterr() == ("", "")
    assert cli.main(["build", "--check", "03_none"]) == 2
    assert "no source '03_none'; choose from: 01_tiny" in capsys.readouterr().err
    (copied / "01_tiny.ipynb").unlink()
    assert cli.main(["build", "--check"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_project_without_lessons_is_a_mistake_and_not_agreement(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["build", "--check"]) == 2
    (tmp_path / "notebooks").mkdir()
    assert cli.main(["build", "--check"]) == 2
    assert cli.main(["build"]) == 2
