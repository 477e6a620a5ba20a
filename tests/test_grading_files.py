"""A file that the grader writes is there whole, or the old one is; and nobody else reads it."""

import os
import stat

import pytest
from test_grading_gradebook import refused

from w2s_lab.teach.grading.files import write


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "deep" / "er" / "file.txt"
    for text in ("old and longer", "new\n"):
        assert write(path, text) == path
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == b"new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = write(tmp_path / "a.csv", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    said = refused(write, path, "new")
    assert said == f"{path}: cannot be written (No space left on device); name another place"
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.csv": "old"}


def test_a_text_that_cannot_be_encoded_leaves_the_old_file(tmp_path):
    path = write(tmp_path / "a.csv", "old")
    with pytest.raises(UnicodeEncodeError):  # a mistake in the program, not in the place
        write(path, "\ud800")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.csv": "old"}


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path):
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_text("precious")
    link.symlink_to(victim)
    write(link, "new")
    assert (victim.read_text(), link.read_text(), link.is_symlink()) == ("precious", "new", False)


def test_a_name_of_any_length_that_a_system_allows_can_be_written(tmp_path):
    assert write(tmp_path / ("x" * 255), "text").read_text() == "text"


def test_a_device_or_a_pipe_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "cannot be written (it is no ordinary file)" in refused(write, tmp_path / "pipe", "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_place_that_is_no_folder_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written (" in refused(write, tmp_path / "file" / "a.csv", "x")
    assert "cannot be written (" in refused(write, tmp_path, "x")


def test_excel_is_told_that_it_is_utf_8(tmp_path):
    assert (
        write(tmp_path / "a.csv", "ë", encoding="utf-8-sig").read_bytes() == b"\xef\xbb\xbf\xc3\xab"
    )
