"""What is read of a hand-in, from the folder to the cells; nearly all of it hostile."""

import copy
import json
import os
import pickle
import signal
import socket
import sys
import threading
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading import submission
from w2s_lab.teach.grading.submission import (
    Cell,
    HandIn,
    Refused,
    Submission,
    found,
    plain,
    read_bytes,
    read_cells,
)

NAME = "07_tiny"
posix = pytest.mark.skipif(sys.platform == "win32", reason="files that Windows does not have")


def put(path, content=b"{}", *, at=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if at is not None:
        os.utime(path, (at, at))
    return path


def listed(folder, assignment=NAME):
    return {
        one.student: one.path.relative_to(folder).as_posix() for one in found(folder, assignment)
    }


def said(work, *arguments, error=Refused, **options):
    """What a refusal says; it must be one plain line."""
    with pytest.raises(error) as caught:
        work(*arguments, **options)
    line = str(caught.value)
    if error is Refused:
        assert line == caught.value.reason
        assert_plain(line)
    assert "\n" not in line
    return line


def assert_plain(line):
    assert line == line.strip() and 0 < len(line) <= 200
    assert all(unicodedata.category(char)[0] != "C" for char in line)  # control, bidi, surrogate


# --- which files there are ------------------------------------------------------------------------


def test_files_named_after_students_are_found_in_their_order(tmp_path):
    for name in ("cem.ipynb", "ada.ipynb", "ben.x.ipynb", "Zoe.IPYNB", "roster.csv", ".ipynb"):
        put(tmp_path / name)
    put(tmp_path / ".ipynb_checkpoints" / "ada-checkpoint.ipynb")
    assert list(listed(tmp_path).items()) == [
        ("Zoe", "Zoe.IPYNB"),
        ("ada", "ada.ipynb"),
        ("ben.x", "ben.x.ipynb"),
        ("cem", "cem.ipynb"),
    ]


@pytest.mark.parametrize("top", ["", "submitted/"])
def test_nbgraders_tree_is_found_with_and_without_its_course_folder(tmp_path, top):
    put(tmp_path / f"{top}ben/{NAME}/{NAME}.ipynb")
    put(tmp_path / f"{top}ada/{NAME}/{NAME}.ipynb")
    put(tmp_path / f"{top}ada/{NAME}/data.csv")
    put(tmp_path / f"{top}ada/08_more/08_more.ipynb")
    put(tmp_path / f"{top}cem/08_more/08_more.ipynb")  # has not handed this one in
    if top:
        put(tmp_path / "nbgrader_config.py")
        put(tmp_path / f"source/{NAME}/{NAME}.ipynb")
    assert listed(tmp_path) == {
        "ada": f"{top}ada/{NAME}/{NAME}.ipynb",
        "ben": f"{top}ben/{NAME}/{NAME}.ipynb",
    }


def test_a_notebook_right_in_the_students_folder_is_found(tmp_path):
    put(tmp_path / f"ada/{NAME}.ipynb")
    put(tmp_path / "ada/08_more.ipynb")
    put(tmp_path / f"ben/{NAME} (1).ipynb")  # a browser's name for a second download
    put(tmp_path / "cem/notes.txt")
    put(tmp_path / f"dov/{NAME}/renamed.ipynb")
    assert listed(tmp_path) == {
        "ada": f"ada/{NAME}.ipynb",
        "ben": f"ben/{NAME} (1).ipynb",
        "dov": f"dov/{NAME}/renamed.ipynb",
    }


def test_who_handed_in_something_else_is_listed_and_told(tmp_path):
    put(tmp_path / f"ada/{NAME}/one.ipynb")
    put(tmp_path / f"ada/{NAME}/two.ipynb")
    put(tmp_path / f"ben/{NAME}/answers.docx")
    put(tmp_path / f"cem/{NAME}")  # a file where the folder should be
    assert listed(tmp_path) == {
        "ada": f"ada/{NAME}/{NAME}.ipynb",
        "ben": f"ben/{NAME}/{NAME}.ipynb",
        "cem": f"cem/{NAME}",
    }
    for one in found(tmp_path, NAME)[:2]:
        assert said(read_bytes, one.path, below=tmp_path) == (
            f"is not there: hand it in under the name {NAME}.ipynb"
        )


def test_both_layouts_may_be_mixed_but_not_for_one_student(tmp_path):
    put(tmp_path / "ada.ipynb")
    put(tmp_path / f"ben/{NAME}/{NAME}.ipynb")
    assert list(listed(tmp_path)) == ["ada", "ben"]
    put(tmp_path / "ben.ipynb")
    line = said(found, tmp_path, NAME, error=W2SError)
    assert "'ben' has two hand-ins" in line and line.endswith("; move one of them away")


def test_a_folder_without_hand_ins_is_named(tmp_path):
    mend = f"put STUDENT.ipynb or STUDENT/{NAME}/{NAME}.ipynb there"
    assert said(found, tmp_path, NAME, error=W2SError) == f"{tmp_path}: holds no hand-ins; {mend}"
    put(tmp_path / "readme.md")
    (tmp_path / "ada").mkdir()
    assert "holds no hand-ins" in said(found, tmp_path, NAME, error=W2SError)


def test_what_is_no_folder_is_named(tmp_path):
    path = tmp_path / "none"
    assert said(found, path, NAME, error=W2SError).startswith(f"{path}: cannot be read (No such")
    put(path)
    assert said(found, path, NAME, error=W2SError).startswith(f"{path}: cannot be read (Not a dir")


def test_a_course_folder_without_hand_ins_does_not_make_students_of_its_sources(tmp_path):
    put(tmp_path / "nbgrader_config.py")
    put(tmp_path / f"source/{NAME}/{NAME}.ipynb")
    line = said(found, tmp_path, NAME, error=W2SError)
    assert "is a course folder without `submitted`" in line


@posix
def test_links_are_listed_as_they_are_and_refused_when_read(tmp_path):
    secret = put(tmp_path / "elsewhere" / NAME / f"{NAME}.ipynb")
    folder = tmp_path / "class"
    for student in ("cem", "dov"):
        (folder / student).mkdir(parents=True)
    (folder / "ada.ipynb").symlink_to(secret)
    (folder / "ben").symlink_to(secret.parent.parent)
    (folder / "cem" / NAME).symlink_to(secret.parent)
    (folder / "dov" / NAME).mkdir()
    (folder / "dov" / NAME / f"{NAME}.ipynb").symlink_to(secret)
    (folder / "eve").symlink_to("nowhere")
    assert listed(folder) == {
        "ada": "ada.ipynb",
        "ben": "ben",
        "cem": f"cem/{NAME}",
        "dov": f"dov/{NAME}/{NAME}.ipynb",
        "eve": "eve",
    }
    for one in found(folder, NAME):
        assert one.received  # the link's own time
        for below in (folder, None):
            line = said(read_bytes, one.path, below=below)
            assert line == "is a symbolic link: hand in the notebook itself"


@posix
def test_a_linked_folder_of_all_hand_ins_is_not_followed(tmp_path):
    put(tmp_path / "real" / "ada.ipynb")
    (tmp_path / "course").mkdir()
    (tmp_path / "course" / "submitted").symlink_to(tmp_path / "real")
    line = said(found, tmp_path / "course", NAME, error=W2SError)
    assert line.endswith("is a symbolic link; name the folder that it leads to")
    (tmp_path / "named").symlink_to(tmp_path / "real")  # the teacher's own word is taken
    assert list(listed(tmp_path / "named")) == ["ada"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_a_name_may_hold_any_bytes(tmp_path):
    names = [b"zo\xeb", b"\x1b[31mred", b"=cmd", b"a\nb", b" ", b"<b>", "\u202eada".encode()]
    for name in names:
        put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name + b".ipynb")), b"1")
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")) / NAME / f"{NAME}.ipynb", b"1")
    hand_ins = found(tmp_path, NAME)
    assert {os.fsencode(one.student) for one in hand_ins} == {*names, b"\xff"}
    assert [read_bytes(one.path, below=tmp_path) for one in hand_ins] == [b"1"] * 8


# --- when -----------------------------------------------------------------------------------------

# date -u -d @1700000000 +%FT%T gives 2023-11-14T22:13:20
MODIFIED = "2023-11-14T22:13:20+00:00"
TIMES = {
    "2024-02-02 15:58:23.948203 UTC": "2024-02-02T15:58:23+00:00",  # as nbgrader writes it
    "2024-02-02 15:58:23.948203 UTC\n": "2024-02-02T15:58:23+00:00",
    "2024-02-02 15:58:23": "2024-02-02T15:58:23+00:00",
    "2024-02-02T15:58:23+05:30": "2024-02-02T10:28:23+00:00",  # 15:58 − 5:30 = 10:28
    "2024-02-02T00:30:00+01:00": "2024-02-01T23:30:00+00:00",
    "": MODIFIED,
    "yesterday": MODIFIED,
    "2024-02-02 15:58:23 CEST": MODIFIED,
    "1970-01-01 00:00:00 UTC": MODIFIED,
    "0001-01-01T00:00:00+14:00": MODIFIED,  # before year 1 in UTC
    "9999-12-31T23:59:59-14:00": MODIFIED,
    "2024-02-02 15:58:23 UTC" + " " * 200: MODIFIED,
    "\ud800": MODIFIED,
}


@pytest.mark.parametrize(("told", "expected"), TIMES.items(), ids=map(ascii, TIMES))
def test_nbgraders_time_counts_where_it_is_sound(tmp_path, told, expected):
    put(tmp_path / f"ada/{NAME}/{NAME}.ipynb", at=1_700_000_000)
    put(tmp_path / f"ada/{NAME}/timestamp.txt", told.encode(errors="surrogatepass"))
    [one] = found(tmp_path, NAME)
    assert one == HandIn("ada", tmp_path / f"ada/{NAME}/{NAME}.ipynb", expected)


def test_nobody_hands_in_tomorrow(tmp_path):
    path = put(tmp_path / f"ada/{NAME}/{NAME}.ipynb", at=1_700_000_000)
    later = datetime.now(UTC) + timedelta(days=2)
    put(path.parent / "timestamp.txt", later.isoformat().encode())
    assert found(tmp_path, NAME)[0].received == MODIFIED


@posix
def test_a_time_is_not_read_through_a_link_or_a_pipe(tmp_path):
    time = put(tmp_path / "time", b"2024-02-02 15:58:23 UTC")
    for student, make in (("ada", lambda path: path.symlink_to(time)), ("ben", os.mkfifo)):
        path = put(tmp_path / "class" / student / NAME / f"{NAME}.ipynb", at=1_700_000_000)
        make(path.parent / "timestamp.txt")
    assert [one.received for one in found(tmp_path / "class", NAME)] == [MODIFIED] * 2


def test_in_a_folder_of_all_students_a_time_is_nobodys(tmp_path):
    put(tmp_path / "ada.ipynb", at=1_700_000_000)
    put(tmp_path / "timestamp.txt", b"2024-02-02 15:58:23 UTC")
    assert found(tmp_path, NAME)[0].received == MODIFIED


# --- the bytes ------------------------------------------------------------------------------------


@pytest.fixture
def hurried():
    """Ends a test that blocks."""
    if not hasattr(signal, "alarm"):
        yield
        return

    def late(*_):
        raise AssertionError("it blocks")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_a_file_is_read_to_its_end_up_to_the_limit(tmp_path, size):
    path = put(tmp_path / "ada.ipynb", b"\0\r\n" * 33 + b"x" if size == 100 else b"x" * size)
    assert read_bytes(path, most=100) == path.read_bytes()
    assert len(read_bytes(path, most=100)) == size


def test_a_file_of_several_chunks_is_read_whole(tmp_path):
    content = os.urandom(1000) * 2500  # 2.5 MB
    assert read_bytes(put(tmp_path / "ada.ipynb", content)) == content


def test_one_byte_too_many_is_refused(tmp_path):
    path = put(tmp_path / "ada.ipynb", b"x" * 2_000_001)
    assert len(read_bytes(path, most=2_000_001)) == 2_000_001
    # 2,000,001 / 100,000 rounded up is 21 tenths
    assert said(read_bytes, path, most=2_000_000).startswith("is 2.1 MB; the limit is 2 MB: clear")


def test_a_hundred_megabytes_of_nothing_are_refused_unread(tmp_path, hurried):
    path = put(tmp_path / "ada.ipynb")
    os.truncate(path, 100_000_000)
    assert said(read_bytes, path) == (
        "is 100 MB; the limit is 20 MB: clear its outputs (Kernel, Restart and clear output) "
        "and hand it in again"
    )
    os.truncate(path, 1 << 40)  # 2^40 = 1,099,511,627,776, rounded up to a tenth of a million
    assert said(read_bytes, path).startswith("is 1,099,511.7 MB; the limit is 20 MB")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_a_file_that_says_it_is_empty_and_is_not_is_read_to_the_limit():
    path = Path("/proc/self/maps")
    assert path.stat().st_size == 0
    assert said(read_bytes, path, most=1000).startswith("is 0.1 MB; the limit is 0.001 MB")


def test_a_folder_is_no_notebook(tmp_path):
    (tmp_path / "ada.ipynb").mkdir()
    [one] = found(tmp_path, NAME)
    assert said(read_bytes, one.path) == "is a folder: hand in the notebook itself"


@posix
def test_pipes_sockets_and_devices_do_not_block(tmp_path, hurried):
    os.mkfifo(tmp_path / "ada.ipynb")
    here = os.getcwd()
    os.chdir(tmp_path)  # a socket's address has at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind("ben.ipynb")
    finally:
        os.chdir(here)
    for path in (*(one.path for one in found(tmp_path, NAME)), Path("/dev/zero")):
        assert said(read_bytes, path).startswith("is not a file but a device or a pipe")


@posix
def test_a_pipe_that_replaces_the_file_after_it_was_looked_at_does_not_block(
    tmp_path, hurried, monkeypatch
):
    path = put(tmp_path / "ada.ipynb")
    look = submission._look

    def swap(about, *, last):
        look(about, last=last)
        monkeypatch.setattr(submission, "_look", look)
        path.unlink()
        os.mkfifo(path)

    monkeypatch.setattr(submission, "_look", swap)
    assert said(read_bytes, path).startswith("is not a file but a device or a pipe")


@posix
@pytest.mark.parametrize("part", ["folder", "file"])
def test_a_link_that_appears_after_the_look_is_not_followed(tmp_path, monkeypatch, part):
    secret = put(tmp_path / "elsewhere" / "x.ipynb", b"secret")
    path = put(tmp_path / "class" / "ada" / "x.ipynb")
    target = path.parent if part == "folder" else path
    look = submission._look

    def swap(about, *, last):
        look(about, last=last)
        if last == (part == "file") and not target.is_symlink():
            target.rename(tmp_path / "moved")
            target.symlink_to(secret.parent if part == "folder" else secret)

    monkeypatch.setattr(submission, "_look", swap)
    line = said(read_bytes, path, below=tmp_path / "class")
    assert line.startswith("cannot be read where it is graded (")


@posix
def test_a_second_name_of_somebody_elses_file_is_refused(tmp_path):
    put(tmp_path / "ada.ipynb")
    os.link(tmp_path / "ada.ipynb", tmp_path / "ben.ipynb")
    assert said(read_bytes, tmp_path / "ben.ipynb") == (
        "has more than one name on disk (a hard link): hand in a copy of it"
    )


def test_a_folder_may_have_the_name_of_the_notebook(tmp_path):
    path = put(tmp_path / "x.ipynb" / "x.ipynb" / "x.ipynb", b"1")
    assert read_bytes(path, below=tmp_path) == b"1"


def test_a_file_on_the_way_is_refused(tmp_path):
    put(tmp_path / "ada")
    line = said(read_bytes, tmp_path / "ada" / "x.ipynb", below=tmp_path)
    assert line.startswith("lies in something that is not a folder")


@pytest.mark.parametrize("path", ["../other/ada.ipynb", "ada/../../x", "."])
def test_nothing_outside_the_folder_is_read(tmp_path, path):
    with pytest.raises(ValueError, match="is not below"):
        read_bytes(tmp_path / path, below=tmp_path)
    with pytest.raises(ValueError, match="subpath"):
        read_bytes(tmp_path.parent / "x", below=tmp_path)


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    assert "(its name)" in said(read_bytes, tmp_path / "a\0b")
    assert said(read_bytes, tmp_path / ("x" * 9999)).startswith("cannot be read where it is graded")


@posix
def test_no_file_stays_open(tmp_path):
    opened = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    path = put(tmp_path / "ada" / NAME / "x.ipynb", b"x" * 10)
    (tmp_path / "ben").symlink_to("ada")
    for _ in range(5):
        read_bytes(path, below=tmp_path)
        said(read_bytes, path, below=tmp_path, most=1)
        said(read_bytes, path.parent, below=tmp_path)
        said(read_bytes, tmp_path / "ben" / NAME / "x.ipynb", below=tmp_path)
        said(read_bytes, path.parent / "none", below=tmp_path)
    if opened is not None:
        assert len(os.listdir("/proc/self/fd")) == opened


@posix
def test_without_dir_fd_the_same_things_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "supports_dir_fd", set())  # as on Windows
    path = put(tmp_path / "ada" / "x.ipynb", b"1")
    (tmp_path / "ben").symlink_to("ada")
    (tmp_path / "ada" / "y.ipynb").symlink_to("x.ipynb")
    assert read_bytes(path, below=tmp_path) == b"1"
    for link in ("ben/x.ipynb", "ada/y.ipynb"):
        assert said(read_bytes, tmp_path / link, below=tmp_path) == submission.LINK
    assert "is a folder" in said(read_bytes, path.parent, below=tmp_path)
    assert "is not there" in said(read_bytes, tmp_path / "none", below=tmp_path)


# --- the cells ------------------------------------------------------------------------------------

KNOWN = ("double", "double-check", "why")


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
    assert read_cells(read_bytes(path), KNOWN, NAME) == read(SOUND)


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
    "NaN": (b'{"a": NaN}', "holds NaN, which JSON does not have: clear its outputs"),
    "infinity": (b"[-Infinity]", "holds -Infinity, which JSON does not have"),
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


def test_a_refusal_survives_the_way_between_processes():
    again = pickle.loads(pickle.dumps(Refused("is \x1b[1mlong\u202e: " + "x" * 500)))
    assert again.reason == str(again) == "is long: " + "x" * 190 + "…"  # 9 + 190 + 1 = 200


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


@given(st.text(st.characters(), max_size=300), st.integers(2, 200))
@example("\x1b[31mred\x1b[0m", 200)
@example("\u202e\u2066\u200b\ufeff\ue000\ud800\x9b\x7f\0", 200)
@example("a\r\nb\u2028c\td", 200)
def test_plain_text_is_one_short_line_without_anything_unseen(text, most):
    line = plain(text, most)
    assert line == line.strip() and len(line) <= most
    assert all(unicodedata.category(char)[0] != "C" for char in line)
    assert not set(line) & set("\n\r\t\u2028\u2029\x1b")
    assert plain(line, most) == line


@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=200))
def test_plain_text_keeps_what_can_be_seen(text):
    assert plain(text) == text


def test_plain_text_loses_colours_whole():
    assert plain("\x1b[1;31mred\x1b[0m  and\tblue") == "red and blue"
    assert plain("x" * 201) == "x" * 199 + "…"


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
