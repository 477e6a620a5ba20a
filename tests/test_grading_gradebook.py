"""A gradebook keeps what it was given through kills, full disks, locks, bit rot and odd names."""

import hashlib
import os
import random
import signal
import sqlite3
import stat
import time
import warnings
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading import database
from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.marks import answer, same_text
from w2s_lab.teach.grading.verdict import (
    GRADED,
    NEEDS_A_PERSON,
    REJECTED,
    Case,
    Column,
    Item,
    Sheet,
    Verdict,
)

CODE = Column("double-check", 2, task="double")
ESSAY = Column("why-essay", 4, manual=True, task="why", rubric="Model.\n")
SHEET = Sheet("07_tiny", "g1", (CODE, ESSAY))
ODD = "zo\udceb \x1b[31m"  # what os.fsdecode makes of a folder that is not UTF-8


def verdict(score=1.0, essay="Because.", code="x + x", status=GRADED, **more):
    cases = (Case("it doubles", score, 2, "" if score == 2 else "It is 1."),)
    items = (
        Item("double-check", score, 2, "told", cases),
        Item("why-essay", 0, 4, manual=True),
    )
    return Verdict(status, items, answers={"double": code, "why-essay": essay}, **more)


def graded(book, student, raw, **options):
    """Hands in, and saves a verdict under the current grader."""
    sha = book.hand_in(student, "07_tiny", raw)
    book.save(sha, book.sheet("07_tiny").grader, verdict(**options))
    return sha


def refused(work, *arguments, **options):
    with pytest.raises(W2SError) as caught:
        work(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def dump(path):
    """All rows of a gradebook but for its clock and its counts of attempts."""
    found = {}
    db = sqlite3.connect(path)
    for table in ("sheets", "contents", "hand_ins", "results", "marks"):
        names = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != "at"]
        found[table] = db.execute(
            f"SELECT {', '.join(names)} FROM {table} ORDER BY 1, 2"
        ).fetchall()
    db.close()
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "book.db"


@pytest.fixture
def book(path):
    with Gradebook(path) as made:
        made.add_sheet(SHEET)
        yield made


# --- the file -------------------------------------------------------------------------------------


def test_what_is_kept_is_there_when_the_file_is_opened_again(path):
    with Gradebook(path) as book:
        book.add_sheet(SHEET)
        sha = graded(book, "ada", b"one", score=2.0)
        book.mark("ada", "07_tiny", "why-essay", 3, "good", by="tutor")
    with Gradebook(path, create=False) as book:
        assert book.sheet() == SHEET
        assert book.submission(sha) == b"one"
        assert book.verdict("ada", "07_tiny") == verdict(score=2.0)
        mark = book.marks("ada", "07_tiny")["why-essay"]
        assert (mark.score, mark.comment, mark.by, mark.stands) == (3, "good", "tutor", True)
        assert book.damaged() == []


def test_it_is_safe_by_its_settings_and_private_by_its_rights(path, book):
    settings = {
        name: book._db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "user_version")
    }
    assert settings == {
        "journal_mode": b"wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "user_version": 1,
    }
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def foreign(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE recipes (name)")
    db.commit()
    db.close()


def newer(path):
    Gradebook(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 2")
    db.close()


def torn(path):
    with Gradebook(path) as book:
        book.add_sheet(SHEET)
        for n in range(40):
            book.hand_in(f"s{n}", "07_tiny", random.Random(n).randbytes(5000))
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 12] = random.Random(0).randbytes(4096 * 10)
    path.write_bytes(content)


UNFIT = {
    "text": (lambda path: path.write_text("my notes\n"), "is no gradebook; name another file"),
    "another program's": (foreign, "is no gradebook; name another file"),
    "a later version": (newer, "is a gradebook of version 2, and this program knows 1; use the"),
    "torn pages": (torn, "is damaged"),
    "a folder": (lambda path: path.mkdir(), "is no file; name another file"),
    "a FIFO": (os.mkfifo, "is no file; name another file"),
}


@pytest.mark.parametrize(("make", "told"), UNFIT.values(), ids=UNFIT)
def test_what_is_no_sound_gradebook_is_refused_and_left_as_it_is(path, make, told):
    make(path)
    before = path.read_bytes() if path.is_file() else None
    assert told in refused(Gradebook, path)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_without_create_nothing_is_made(path):
    assert "no such gradebook" in refused(Gradebook, path, create=False)
    assert not path.exists()
    assert "cannot be opened" in refused(Gradebook, path.parent / "none" / "book.db")


def test_a_file_that_a_kill_left_empty_becomes_a_gradebook(path):
    path.touch()
    assert "is no gradebook" in refused(Gradebook, path, create=False)
    with Gradebook(path) as book:
        assert book.assignments() == []


# --- sheets ---------------------------------------------------------------------------------------


def test_the_sheet_added_last_is_the_current_one_and_is_last_among_the_graders(book):
    book.add_sheet(SHEET)
    other = replace(SHEET, grader="g2")
    book.add_sheet(other)
    assert book.sheet("07_tiny") == other
    assert book.graders("07_tiny") == ["g1", "g2"]
    assert book.sheet("07_tiny", "g1") == SHEET
    book.add_sheet(SHEET)
    assert book.sheet() == SHEET
    assert book.graders("07_tiny") == ["g2", "g1"]
    assert len(dump(book.path)["sheets"]) == 2


def test_a_sheet_that_is_not_there_is_told_with_those_that_are(book):
    assert "has no assignment '08'; name one of: '07_tiny'" in refused(book.sheet, "08")
    assert "was never graded by 'g9'; name one of: 'g1'" in refused(book.sheet, None, "g9")
    book.add_sheet(replace(SHEET, name="08_more"))
    assert book.assignments() == ["07_tiny", "08_more"]
    assert "has 2 assignments; name one of: '07_tiny', '08_more'" in refused(book.sheet)


# --- hand-ins -------------------------------------------------------------------------------------


def test_the_latest_hand_in_counts_and_earlier_ones_stay(book):
    first, second = book.hand_in("ada", "07_tiny", b"1"), book.hand_in("ada", "07_tiny", b"2")
    assert first == hashlib.sha256(b"1").hexdigest()
    assert book.handed_in("07_tiny") == {"ada": (second, "")}
    assert book.submission(first) == b"1"
    assert book.hand_in("ada", "07_tiny", b"1") == first  # back to the first one: it counts again
    assert book.handed_in("07_tiny") == {"ada": (first, "")}


def test_the_same_bytes_again_change_nothing_not_even_the_time(book, path):
    sha = book.hand_in("ada", "07_tiny", b"1", "2025-11-21T10:00+00:00")
    before = dump(path)
    book.hand_in("ada", "07_tiny", b"1", "2025-11-25T10:00+00:00")
    assert dump(path) == before
    assert book.handed_in("07_tiny") == {"ada": (sha, "2025-11-21T10:00+00:00")}


def test_a_list_of_dated_hand_ins_that_is_read_twice_is_kept_once(book, path):
    batch = [(b"1", "t1"), (b"2", "t2"), (b"1", "t3")]
    for raw, received in batch:
        book.hand_in("ada", "07_tiny", raw, received)
    before = dump(path)
    assert len(before["hand_ins"]) == 3 and len(before["contents"]) == 2
    for raw, received in batch:
        book.hand_in("ada", "07_tiny", raw, received)
    assert dump(path) == before
    assert book.handed_in("07_tiny")["ada"][1] == "t3"


def test_what_is_no_file_is_rejected_with_its_reason_until_a_file_comes(book):
    book.refuse("ada", "07_tiny", "it is a link", "t1")
    book.refuse("ada", "07_tiny", "it is a link", "t2")
    told = book.verdict("ada", "07_tiny")
    assert (told.status, told.notes, told.score, told.max_score) == (
        REJECTED,
        ("it is a link",),
        0,
        6,
    )
    assert [item.manual for item in told.items] == [False, True]
    assert book.handed_in("07_tiny") == {"ada": ("", "t1")}
    assert book.pending(SHEET) == []
    sha = book.hand_in("ada", "07_tiny", b"1")
    assert book.pending(SHEET) == [("ada", sha, 0)]
    assert book.verdict("ada", "07_tiny") is None


@settings(max_examples=30)  # each makes a file
@given(st.text(max_size=20) | st.text(st.characters(categories=["Cs", "Cc", "Cf"]), max_size=5))
def test_any_name_any_reason_and_any_bytes_come_back(tmp_path_factory, name):
    path = tmp_path_factory.mktemp("names") / "book.db"
    with Gradebook(path) as book:
        book.add_sheet(SHEET)
        sha = book.hand_in(name, "07_tiny", name.encode("utf-8", "surrogatepass"), name)
        book.save(sha, "g1", verdict())
        book.mark(name, "07_tiny", "why-essay", 1, name, by=name)
        book.refuse(f"{name}+", "07_tiny", name)
        assert book.handed_in("07_tiny") == {name: (sha, name), f"{name}+": ("", "")}
        assert book.submission(sha) == name.encode("utf-8", "surrogatepass")
        mark = book.marks(name, "07_tiny")["why-essay"]
        assert (mark.student, mark.comment, mark.by) == (name, name, name)
        assert book.verdict(f"{name}+", "07_tiny").notes == (name,)


# --- grading --------------------------------------------------------------------------------------


def test_pending_names_each_content_once_and_what_failed_before_last(book):
    one, two = book.hand_in("cem", "07_tiny", b"1"), book.hand_in("ben", "07_tiny", b"2")
    assert book.hand_in("ada", "07_tiny", b"1") == one
    assert book.pending(SHEET) == [("ada", one, 0), ("ben", two, 0)]
    assert [book.begin(one, "g1"), book.begin(one, "g1")] == [1, 2]
    assert book.pending(SHEET) == [("ben", two, 0), ("ada", one, 2)]
    book.save(one, "g1", verdict(2.0))
    assert book.pending(SHEET) == [("ben", two, 0)]
    assert book.verdicts("07_tiny") == {"ada": verdict(2.0), "cem": verdict(2.0)}
    other = replace(SHEET, grader="g2")
    assert book.pending(other) == [("ada", one, 0), ("ben", two, 0)]


def test_only_the_latest_hand_in_is_pending(book):
    book.hand_in("ada", "07_tiny", b"1")
    sha = book.hand_in("ada", "07_tiny", b"2")
    assert book.pending(SHEET) == [("ada", sha, 0)]


def test_a_sound_result_is_never_replaced(book):
    sha = graded(book, "ada", b"1", score=2.0)
    book.save(sha, "g1", verdict(0.0))
    assert book.verdict("ada", "07_tiny") == verdict(2.0)


def test_results_of_an_old_grader_stay(book):
    sha = graded(book, "ada", b"1", score=1.0)
    book.add_sheet(replace(SHEET, grader="g2"))
    assert book.verdict("ada", "07_tiny") is None
    book.save(sha, "g2", verdict(2.0))
    assert book.verdict("ada", "07_tiny").score == 2
    assert book.verdict("ada", "07_tiny", "g1").score == 1


def test_reopened_are_those_that_need_a_person_and_no_others(book):
    bad = graded(book, "ada", b"1", status=NEEDS_A_PERSON)
    graded(book, "ben", b"2")
    book.begin(bad, "g1")
    assert book.reopen(SHEET) == 1
    assert book.pending(SHEET) == [("ada", bad, 0)]


def test_what_was_not_handed_in_is_neither_begun_nor_saved(book):
    assert "there is no submission 'f00'" in refused(book.begin, "f00", "g1")
    assert "there is no submission 'f00'" in refused(book.save, "f00", "g1", verdict())
    assert "is not there; hand it in again" in refused(book.submission, "f00")


# --- what a person gives --------------------------------------------------------------------------

BAD_MARKS = {
    "too many points": ("ada", "why-essay", 4.5, "4.5 is no score for 'why-essay'; give 0 to 4"),
    "below 0": ("ada", "why-essay", -0.5, "give 0 to 4"),
    "nan": ("ada", "why-essay", float("nan"), "give 0 to 4"),
    "infinite": ("ada", "why-essay", float("inf"), "give 0 to 4"),
    "a truth value": ("ada", "why-essay", True, "give 0 to 4"),
    "no column": ("ada", "nope", 1, "there is no column 'nope'; name one of: double-check, why"),
    "no student": ("eve", "why-essay", 1, "'eve' has handed nothing in for '07_tiny'"),
    "a hostile name": ("\x1b\n\u202e", "why-essay", 1, r"'\x1b\n\u202e' has handed nothing in"),
}


@pytest.mark.parametrize(("student", "id", "score", "told"), BAD_MARKS.values(), ids=BAD_MARKS)
def test_a_mark_that_cannot_be_is_refused_and_none_beside_it_is_kept(
    book, student, id, score, told
):
    graded(book, "ada", b"1")
    good = ("ada", "double-check", 1, "")
    assert told in refused(book.mark_all, "07_tiny", [good, (student, id, score, "")])
    assert book.marks("ada", "07_tiny") == {}


def test_the_latest_mark_counts_and_all_earlier_ones_are_told(book):
    graded(book, "ada", b"1")
    for score, comment in ((1, "hm"), (1, "hm"), (3, "yes"), (None, "see me")):
        book.mark("ada", "07_tiny", "why-essay", score, comment)
    book.mark("ada", "07_tiny", "double-check", -0.0)
    marks = book.marks("ada", "07_tiny")
    assert (marks["why-essay"].score, marks["why-essay"].comment) == (None, "see me")
    assert marks["double-check"].score == 0
    told = book.mark_history("ada", "07_tiny", "why-essay")
    assert [(one.score, one.comment) for one in told] == [(1, "hm"), (3, "yes"), (None, "see me")]
    assert len(book.mark_history("ada", "07_tiny")) == 4
    assert book.damaged() == []


def test_a_mark_stands_while_its_answer_is_the_same_text_and_no_longer(book):
    graded(book, "ada", b"1", essay="Because.", code="x + x")
    book.mark("ada", "07_tiny", "why-essay", 3)
    book.mark("ada", "07_tiny", "double-check", 2)

    def standing():
        return {id: mark.stands for id, mark in book.marks("ada", "07_tiny").items()}

    graded(book, "ada", b"2", essay="\n Because. \r\n", code="2 * x")
    assert standing() == {"why-essay": True, "double-check": False}
    graded(book, "ada", b"3", essay="Because not.", code="x + x")
    assert standing() == {"why-essay": False, "double-check": True}
    book.hand_in("ada", "07_tiny", b"4")  # what is written there is not known yet
    assert standing() == {"why-essay": False, "double-check": False}
    book.mark("ada", "07_tiny", "why-essay", 2)
    assert standing()["why-essay"]


def test_a_mark_stands_for_the_same_submission_whatever_the_grader(book):
    graded(book, "ada", b"1")
    book.mark("ada", "07_tiny", "why-essay", 3)
    book.add_sheet(replace(SHEET, grader="g2"))
    assert book.marks("ada", "07_tiny")["why-essay"].stands
    book.refuse("ada", "07_tiny", "a link")
    assert not book.marks("ada", "07_tiny")["why-essay"].stands


def test_an_essay_has_its_own_answer_and_a_test_that_of_its_task():
    told = verdict(essay="E", code="C")
    assert [answer(told, CODE), answer(told, ESSAY)] == ["C", "E"]
    only_code = replace(told, answers={"double": "C", "why": "code"})
    assert answer(only_code, ESSAY) is None
    assert same_text(" a \r\nb\t\n\n") == same_text("a\nb")
    assert same_text("a b") != same_text("ab")


# --- damage ---------------------------------------------------------------------------------------


def spoil(book, statement, *values):
    book._db.execute(statement, values)


def test_a_damaged_result_is_graded_again_and_replaced(book):
    sha = graded(book, "ada", b"1", score=2.0)
    spoil(book, "UPDATE results SET body = replace(CAST(body AS TEXT), '2.0', '1.0')")
    assert book.verdict("ada", "07_tiny") is None
    assert book.pending(SHEET) == [("ada", sha, 0)]
    assert book.damaged() == ["the result of 'ada': grade it again"]
    book.save(sha, "g1", verdict(2.0))
    assert book.verdict("ada", "07_tiny").score == 2
    assert book.damaged() == []


def test_a_damaged_submission_is_told_by_name_and_mended_by_the_same_bytes(book):
    sha = book.hand_in(ODD, "07_tiny", b"1" * 1000)
    good = book.hand_in("ben", "07_tiny", b"2")
    spoil(book, "UPDATE contents SET packed = x'789c' WHERE sha = ?", sha.encode())
    told = refused(book.submission, sha)
    assert "the submission of 'zo\\udceb \\x1b[31m' is damaged; hand it in again" in told
    assert book.damaged() == ["the submission of 'zo\\udceb \\x1b[31m': hand it in again"]
    assert book.pending(SHEET) == [("ben", good, 0)]  # it cannot stop the others
    book.hand_in(ODD, "07_tiny", b"1" * 1000)
    assert book.submission(sha) == b"1" * 1000
    assert book.damaged() == []


def test_a_damaged_mark_is_warned_of_by_name_until_it_is_given_again(book):
    graded(book, "ada", b"1")
    book.mark("ada", "07_tiny", "why-essay", 3)
    spoil(book, "UPDATE marks SET score = 4")
    line = "the mark of 'ada' for 'why-essay' in '07_tiny' is damaged (it reads 4.0): give it again"
    with pytest.warns(UserWarning, match="the mark of 'ada' for 'why-essay'"):
        assert book.marks("ada", "07_tiny") == {}
    assert book.damaged() == [line]
    book.mark("ada", "07_tiny", "why-essay", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert book.marks("ada", "07_tiny")["why-essay"].score == 3
    assert book.damaged() == []


def test_a_damaged_hand_in_and_a_damaged_sheet_are_told_and_mended(book):
    book.hand_in("ada", "07_tiny", b"1", "t1")
    spoil(book, "UPDATE hand_ins SET received = x'ff'")
    spoil(book, "UPDATE sheets SET body = x'7b7d'")
    assert book.damaged() == [
        "a hand-in of 'ada' for '07_tiny': hand it in again",
        "a sheet of '07_tiny': grade once more",
    ]
    assert book.handed_in("07_tiny") == {}
    assert book.assignments() == []
    book.add_sheet(SHEET)
    book.hand_in("ada", "07_tiny", b"1", "t1")
    assert book.handed_in("07_tiny")["ada"][1] == "t1"
    assert book.damaged() == []


# --- kills, full disks, locks, clocks -------------------------------------------------------------


def batch(path):
    """Some of everything, in the order in which a class is graded."""
    with Gradebook(path) as book:
        book.add_sheet(SHEET)
        for n in range(24):
            book.hand_in(f"s{n}", "07_tiny", b"%d" % (n % 20), f"t{n}")
        book.refuse("eve", "07_tiny", "a link")
        for _, sha, _ in book.pending(SHEET):
            book.begin(sha, "g1")
            book.save(sha, "g1", verdict(int(sha, 16) % 3, essay=sha))
        for n in range(24):
            book.mark(f"s{n}", "07_tiny", "why-essay", n % 5, "read")


def test_kill_9_loses_nothing_and_repeats_nothing(tmp_path):
    batch(tmp_path / "whole.db")
    path, draw, kills = tmp_path / "killed.db", random.Random(0), 0
    for _ in range(20):
        child = os.fork()
        if child == 0:
            batch(path)
            os._exit(0)
        time.sleep(draw.uniform(0, 0.06))
        os.kill(child, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert kills > 3  # or the batch was over before it could be hit
    batch(path)
    whole, killed = dump(tmp_path / "whole.db"), dump(path)
    by_content = sorted(whole["results"]), sorted(killed["results"])
    assert by_content[0] == by_content[1]
    assert killed == whole
    with Gradebook(path) as book:
        assert book.damaged() == []
        times = [row[0] for row in book._db.execute("SELECT times FROM attempts")]
        assert len(times) == 20 and sum(times) <= 20 + kills


@pytest.mark.parametrize("step", range(4))
def test_a_full_disk_is_told_and_leaves_everything_as_it_was(book, path, step):
    graded(book, "ada", b"1")
    noise = random.Random(0).randbytes(300_000).hex()
    sha = book.hand_in("ben", "07_tiny", b"2")
    work = (
        lambda: book.hand_in("cem", "07_tiny", random.Random(1).randbytes(300_000)),
        lambda: book.save(sha, "g1", verdict(essay=noise)),
        lambda: book.mark("ada", "07_tiny", "why-essay", 1, noise),
        lambda: book.refuse("ada", "07_tiny", noise),
    )[step]
    before = dump(path)
    pages = book._db.execute("PRAGMA page_count").fetchone()[0]
    book._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    assert "the disk is full; free some space and go on; nothing was lost" in refused(work)
    assert dump(path) == before
    book._db.execute("PRAGMA max_page_count = 1000000")
    work()
    assert dump(path) != before


def test_a_second_process_reads_meanwhile_and_writing_waits_its_turn(path, book, monkeypatch):
    monkeypatch.setattr(database, "PATIENCE", 0.05)
    graded(book, "ada", b"1")
    book._db.execute("BEGIN IMMEDIATE")
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        with Gradebook(path) as other:
            os.write(into, repr(sorted(other.verdicts("07_tiny"))).encode())
            try:
                other.hand_in("ben", "07_tiny", b"2")
            except W2SError as error:
                os.write(into, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(out, 10_000).decode()
    os.close(out), os.close(into)
    assert told.startswith("['ada']") and "another program holds it" in told
    book._db.execute("ROLLBACK")
    assert list(book.handed_in("07_tiny")) == ["ada"]


def test_a_clock_that_goes_backwards_changes_no_order(book, monkeypatch):
    real = database.datetime

    class Backwards(real):
        years = iter(range(2030, 1990, -1))

        @classmethod
        def now(cls, zone=None):
            return real(next(cls.years), 1, 1, tzinfo=zone)

    monkeypatch.setattr(database, "datetime", Backwards)
    graded(book, "ada", b"1")
    second = graded(book, "ada", b"2")
    book.mark("ada", "07_tiny", "why-essay", 1)
    book.mark("ada", "07_tiny", "why-essay", 2)
    book.add_sheet(replace(SHEET, grader="g0"))
    times = [mark.at for mark in book.mark_history("ada", "07_tiny")]
    assert times == sorted(times, reverse=True)
    assert book.handed_in("07_tiny")["ada"][0] == second
    assert book.marks("ada", "07_tiny")["why-essay"].score == 2
    assert book.graders("07_tiny") == ["g1", "g0"]


@pytest.mark.slow
def test_a_thousand_students_take_seconds(book):
    start = time.monotonic()
    for n in range(1000):
        book.hand_in(f"s{n:04}", "07_tiny", b"%d" % n)
    for _, sha, _ in book.pending(SHEET):
        book.begin(sha, "g1")
        book.save(sha, "g1", verdict())
    names = list(book.handed_in("07_tiny"))
    book.mark_all("07_tiny", [(name, "why-essay", 1, "") for name in names])
    assert len(book.verdicts("07_tiny")) == len(book.every_mark("07_tiny")) == 1000
    assert book.pending(SHEET) == [] == book.damaged()
    assert time.monotonic() - start < 60  # 2.5 s on two cores; a square of 1,000 would take hours
