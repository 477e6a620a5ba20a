"""The repository's lessons: built from their sources, and with claims that nbval can refute.

nbval itself runs on them by `make test`; here it is only shown to fail when it should.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from w2s_lab import quiz
from w2s_lab.teach import build

ROOT = Path(__file__).parent.parent
LESSONS = ROOT / "notebooks"


def unproved(notebook) -> list[str]:
    """Why nbval could pass this notebook without having compared anything."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    reasons = [f"{cell.id} was not executed" for cell in code if cell.execution_count is None]
    claims = [cell for cell in code if "nbval-check-output" in cell.metadata.get("tags", [])]
    said = [any(output.get("text", "").strip() for output in cell.outputs) for cell in claims]
    return reasons + [f"{sum(said)} claims with output, fewer than 3"] * (sum(said) < 3)


def test_the_committed_lessons_are_what_their_sources_build():
    assert build.check(LESSONS) == []


def test_every_lesson_proves_at_least_three_claims_and_was_executed():
    notebooks = sorted(LESSONS.glob("*.ipynb"))
    assert notebooks, "there are no lessons"
    reasons = {path.name: unproved(nbformat.read(path, 4)) for path in notebooks}
    assert not any(reasons.values()), reasons


def test_each_question_of_the_bank_is_asked_once_in_its_own_lesson():
    for source in build.sources(LESSONS):
        asked = re.findall(r'^(?:ask|predict)\("([\w-]+)"\)$', source.read_text("utf-8"), re.M)
        assert sorted(asked) == sorted(id for id in quiz.bank() if id[:2] == source.name[:2])


def test_each_prediction_comes_back_with_what_was_measured():
    for source in build.sources(LESSONS):
        text = source.read_text("utf-8")
        kinds = {id: question.kind for id, question in quiz.bank().items()}
        predicted = [id for id in kinds if id[:2] == source.name[:2] and kinds[id] == "predict"]
        assert predicted, source.name
        for id in predicted:
            assert text.index(f'predict("{id}")') < text.index(f'recall("{id}", measured=')


NOISY = "import sys\nprint('noise', file=sys.stderr)\n'shown'"


def lesson():
    """Three claims after a cell that claims nothing, as a build would have left them."""
    cells = [v4.new_markdown_cell("# Tiny"), v4.new_code_cell(NOISY)]
    cells[1].outputs = [v4.new_output("execute_result", {"text/plain": "'shown'"})]
    for n in range(3):
        claim = v4.new_code_cell(f"print('{n} is less than 3:', {n} < 3)")
        claim.metadata.tags = ["claim", "nbval-check-output"]
        claim.outputs = [v4.new_output("stream", name="stdout", text=f"{n} is less than 3: True\n")]
        cells.append(claim)
    for count, cell in enumerate(cells[1:], start=1):
        cell.execution_count = count
    return v4.new_notebook(cells=cells)


def strip(notebook):
    for cell in notebook.cells[1:]:
        cell.outputs, cell.execution_count = [], None


CHANGES = {
    "unaltered": lambda notebook: None,
    "other_output": lambda notebook: notebook.cells[1].outputs[0].data.update({"text/plain": "?"}),
    "claim_altered": lambda notebook: notebook.cells[3].outputs[0].update(text="1 is more: True\n"),
    "claim_emptied": lambda notebook: notebook.cells[3].update(outputs=[]),
    "stripped": strip,
}


@pytest.mark.slow
def test_nbval_fails_an_altered_claim_and_passes_a_stripped_notebook(tmp_path):
    for name, change in CHANGES.items():
        notebook = lesson()
        change(notebook)
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    # the flags that `make test` gives, so that this holds for the command that counts
    flags = re.search(
        r"-m pytest (--nbval.*) notebooks solutions$", (ROOT / "Makefile").read_text(), re.M
    )
    assert flags
    command = [sys.executable, "-m", "pytest", *flags[1].split(), "-q", "-p", "no:cacheprovider"]
    command += ["--color=no", f"-c{ROOT / 'pyproject.toml'}", f"--rootdir={tmp_path}", tmp_path]
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    ran = subprocess.run(command, env=own, capture_output=True, text=True)
    failed = re.findall(r"^FAILED .*?(\w+)\.ipynb::Cell (\d)", ran.stdout, re.M)
    # cells are counted from 0 and code cells only: 2 is the notebook's fourth cell.
    # A stripped notebook passes without a word: that is what the guard is for.
    assert sorted(failed) == [("claim_altered", "2"), ("claim_emptied", "2")], ran.stdout
    assert "18 passed" in ran.stdout  # 5 notebooks of 4 code cells, 2 failures


@pytest.mark.parametrize(
    ("name", "caught"), [("unaltered", 0), ("claim_emptied", 1), ("stripped", 5)]
)
def test_the_guard_catches_what_would_pass_vacuously(name, caught):
    notebook = lesson()
    CHANGES[name](notebook)
    assert len(unproved(notebook)) == caught
