"""Malformed and hostile files among honest ones: each gets what is due to it, and harms nobody."""

import os
from pathlib import Path

import pytest
from grading import needs_box
from redteam import malformed
from redteam.arena import as_text, pages
from redteam.malformed import FULL, GRADED, REJECTED, SECRET
from redteam.target import honest_cells, submission, target_notebook, told

from w2s_lab.teach.grading.hand_ins import Refused, read_bytes
from w2s_lab.teach.grading.process import Limits
from w2s_lab.teach.grading.session import Options, grade_class

pytestmark = [pytest.mark.slow, needs_box]
HONEST = ("ada", "zoe")  # one before, one after all the others


def outside(folder):
    """What lies beside the hand-ins, and must stay as it is."""
    found = {}
    for path in sorted((folder / "outside").rglob("*")):
        about = path.lstat()
        found[path.name] = (about.st_size, about.st_mtime_ns, path.read_bytes())
    return found


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Everything in one session: what is due, verdicts, and what lay outside before and after."""
    folder = tmp_path_factory.mktemp("malformed")
    expected = malformed.build(folder)
    for student in HONEST:
        place = folder / "submitted" / student / "target"
        place.mkdir(parents=True)
        (place / "target.ipynb").write_bytes(submission(honest_cells()))
    assignment = folder / "source" / "target.ipynb"
    assignment.parent.mkdir()
    assignment.write_text(as_text(target_notebook()))
    before = outside(folder), sorted(os.listdir(folder))
    limits = Limits(cell_seconds=10, call_seconds=5, notebook_seconds=30)
    options = Options(limits=limits, workers=2)
    verdicts = grade_class(folder, assignment, folder / "grades.db", options)
    after = outside(folder), sorted(set(os.listdir(folder)) - {"grades.db"})
    return expected, verdicts, before, after, folder


def hidden(student, due):
    """Whether a folder or file is hidden, as `.ipynb_checkpoints` is: it is no hand-in."""
    return student.startswith(".") or Path(due.path).name.startswith(".")


def test_every_hand_in_comes_to_what_is_due(graded):
    expected, verdicts, *_ = graded
    wrongs = []
    for student, due in expected.items():
        if hidden(student, due):
            continue
        verdict = verdicts.get(student)
        if verdict is None:
            wrongs.append(f"{student!r}: nothing")
            continue
        shown = " ".join(verdict.notes).casefold()
        if (verdict.status, verdict.score) != (due.status, due.deserved):
            wrongs.append(f"{student!r}: {verdict.status}, {verdict.score}, not {due}: {shown}")
        elif due.reason.casefold() not in shown:
            wrongs.append(f"{student!r}: {due.reason!r} is not in {shown!r}")
    assert not wrongs, "\n".join(wrongs)


def test_all_sorts_were_tried(graded):
    expected, *_ = graded
    assert len(expected) >= 100
    assert sum(one.status == REJECTED for one in expected.values()) >= 40
    assert sum(one.status == GRADED for one in expected.values()) >= 50


def test_nobody_is_graded_who_handed_nothing_in(graded):
    expected, verdicts, *_ = graded
    shown = {student for student in expected if not student.startswith(".")}
    assert set(verdicts) == {*shown, *HONEST}


def test_a_hidden_file_can_be_read_by_who_names_it(graded):
    expected, *_, folder = graded
    paths = [due.path for student, due in expected.items() if hidden(student, due)]
    assert len(paths) >= 2
    for path in paths:
        assert read_bytes(path, below=folder / "submitted").startswith(b"{")


def test_honest_hand_ins_between_them_keep_full_marks(graded):
    _, verdicts, *_ = graded
    assert [verdicts[student].score for student in HONEST] == [FULL, FULL]
    assert not any(verdicts[student].notes for student in HONEST)


def test_a_rejected_one_is_told_why_and_gets_nothing(graded):
    _, verdicts, *_ = graded
    for verdict in verdicts.values():
        if verdict.status == REJECTED:
            assert verdict.score == 0
            assert verdict.max_score == FULL + 2  # and an essay of 2
            (reason,) = verdict.notes
            assert reason.startswith("Your notebook ") and len(reason) < 250


def test_nothing_outside_is_read_or_changed(graded):
    _, verdicts, before, after, _ = graded
    assert before == after
    for verdict in verdicts.values():
        shown = "\n".join(pages(verdict))
        assert SECRET not in shown
        assert told(shown) == []
        assert "<script>alert" not in shown


def test_links_and_devices_are_still_where_they_were(graded):
    expected, *_ = graded
    assert all(os.path.lexists(one.path) for one in expected.values())


def test_a_path_with_a_link_in_it_is_refused_wherever_the_link_is(graded):
    *_, folder = graded
    for student in ("link-to-file", "link-above", "link-dangling", "fifo", "hard-link"):
        path = folder / "submitted" / student / "target" / malformed.NOTEBOOK
        if os.path.lexists(Path(path).parent):
            with pytest.raises(Refused):
                read_bytes(path, below=folder / "submitted")
