"""Which hand-ins are found, and how their bytes are read; nearly all of it hostile."""

import os
import pickle
import socket
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading import hand_ins
from w2s_lab.teach.grading.hand_ins import HandIn, Refused, found, read_bytes
from w2s_lab.teach.grading.plain import plain

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
    look = hand_ins._look

    def swap(about, *, last):
        look(about, last=last)
        monkeypatch.setattr(hand_ins, "_look", look)
        path.unlink()
        os.mkfifo(path)

    monkeypatch.setattr(hand_ins, "_look", swap)
    assert said(read_bytes, path).startswith("is not a file but a device or a pipe")


@posix
@pytest.mark.parametrize("part", ["folder", "file"])
def test_a_link_that_appears_after_the_look_is_not_followed(tmp_path, monkeypatch, part):
    secret = put(tmp_path / "elsewhere" / "x.ipynb", b"secret")
    path = put(tmp_path / "class" / "ada" / "x.ipynb")
    target = path.parent if part == "folder" else path
    look = hand_ins._look

    def swap(about, *, last):
        look(about, last=last)
        if last == (part == "file") and not target.is_symlink():
            target.rename(tmp_path / "moved")
            target.symlink_to(secret.parent if part == "folder" else secret)

    monkeypatch.setattr(hand_ins, "_look", swap)
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
        assert said(read_bytes, tmp_path / link, below=tmp_path) == hand_ins.LINK
    assert "is a folder" in said(read_bytes, path.parent, below=tmp_path)
    assert "is not there" in said(read_bytes, tmp_path / "none", below=tmp_path)


# --- words ----------------------------------------------------------------------------------------


def test_a_refusal_survives_the_way_between_processes():
    again = pickle.loads(pickle.dumps(Refused("is \x1b[1mlong\u202e: " + "x" * 500)))
    assert again.reason == str(again) == "is long: " + "x" * 190 + "…"  # 9 + 190 + 1 = 200


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
    assert plain(text, 200) == text


def test_plain_text_loses_a_terminals_sequences_whole():
    assert plain("\x1b[1;31mred\x1b[0m  and\tblue", 200) == "red and blue"
    assert plain("a\x1b]0;title\x07b\x1b]8;;https://x\x1b\\c", 200) == "abc"
    assert plain("a\x1b]0;no end", 200) == "a]0;no end"  # half a sequence does nothing
    assert plain("x" * 201, 200) == "x" * 199 + "…"
