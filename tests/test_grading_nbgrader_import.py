"""The real nbgrader reads our grades out of its gradebook: each score, each total, each comment."""

import csv
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from test_grading_exports import CLASS, COLUMNS, NAME, missing, refused, standing

from w2s_lab.teach.grading.exports.nbgrader import _safe, export, import_into
from w2s_lab.teach.grading.verdict import NEEDS_A_PERSON, Sheet

pytest.importorskip("nbgrader", reason="needs the extra `grade`")

STARTERS = {"loss": "def loss(): ...", "why-essay": "Write here."}
SHEET = Sheet(NAME, "", COLUMNS, STARTERS)
BIN = Path(sys.executable).parent


def commented(one, place, text):
    entries = list(one.entries)
    entries[place] = replace(entries[place], comment=text)
    return replace(one, entries=tuple(entries))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A new gradebook, without alembic: the slow tests show that it does its part."""
    from nbgrader.api import Gradebook

    path = tmp_path_factory.mktemp("empty") / "gradebook.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nbgrader.api.get_alembic_version", lambda: "none")
        Gradebook(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A gradebook that `nbgrader generate_assignment` has filled."""
    from nbformat import v4, write
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    folder = tmp_path_factory.mktemp("course")
    cells = [cell(v4, "loss", "code", solution=True)]
    for column in COLUMNS:
        kind = "markdown" if column.manual else "code"
        more = {"solution": column.manual, "points": column.points}
        cells.append(cell(v4, column.grade_id, kind, grade=True, **more))
    source = folder / "source" / NAME / f"{NAME}.ipynb"
    source.parent.mkdir(parents=True)
    write(v4.new_notebook(cells=cells), source)
    config = Config()
    config.CourseDirectory.root = str(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PATH", str(BIN), prepend=os.pathsep)
        said = NbGraderAPI(config=config).generate_assignment(NAME, force=True)
    assert said["success"], said["log"]
    return folder / "gradebook.db"


def cell(v4, id, kind, **about):
    plain = {"grade": False, "solution": False, "locked": not about.get("solution"), "task": False}
    about = plain | {"grade_id": id, "schema_version": 3} | about
    make = v4.new_code_cell if kind == "code" else v4.new_markdown_cell
    return make("1", metadata={"nbgrader": about})


@pytest.fixture
def db(tmp_path, empty):
    return Path(shutil.copy(empty, tmp_path))


@pytest.fixture(params=["empty", pytest.param("generated", marks=pytest.mark.slow)])
def either(tmp_path, request):
    """An empty gradebook, and one that knows the assignment."""
    return Path(shutil.copy(request.getfixturevalue(request.param), tmp_path))


def opened(db):
    from nbgrader.api import Gradebook

    return Gradebook(f"sqlite:///{db}")


def grades(db, student):
    with opened(db) as book:
        notebook = book.find_submission_notebook(NAME, NAME, student)
        return {
            grade.name: (grade.auto_score, grade.manual_score, grade.extra_credit)
            for grade in notebook.grades
        }


def totals(db):
    with opened(db) as book:
        found = book.assignment_submissions(NAME)
        return {
            one.student.id: (one.score, one.late_submission_penalty, one.max_score) for one in found
        }


def contents(db):
    """Every row of every table."""
    with sqlite3.connect(db) as connection:
        names = [row[0] for row in connection.execute("select name from sqlite_master")]
        tables = [name for name in names if not name.startswith("sqlite_")]
        found = {
            name: sorted(map(repr, connection.execute(f"select * from {name}"))) for name in tables
        }
    connection.close()
    return found


# --- scores ---------------------------------------------------------------------------------------


def test_nbgrader_has_each_score_where_it_looks_for_it(either):
    import_into(CLASS, SHEET, either)
    assert grades(either, "ada") == {
        "loss-check": (2, None, None),
        "loss-hidden": (1, None, None),
        "why-essay": (None, 4, None),
        "more-check": (0, None, 0.5),  # a bonus is extra credit
        "old-check": (None, None, None),  # dropped
    }


def test_nbgraders_totals_are_ours(either):
    import_into(CLASS, SHEET, either)
    assert totals(either) == {
        "ada": (7.5, 0, 10),  # 2 + 1 + 4 + 0.5 of 2 + 3 + 5
        "ben": (11, 1.1, 10),  # 2 + 3 + 5 + 1
        "cy": (2, 0, 10),
    }
    with opened(either) as book:
        assert [student.id for student in book.students] == ["ada", "ben", "cy", "dee"]


@pytest.mark.slow
def test_nbgraders_own_export_says_what_our_summary_says(either):
    import_into(CLASS, SHEET, either)
    folder = either.parent
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "nbgrader", "export", f"--db=sqlite:///{either}"]
    subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, timeout=120
    )
    with open(folder / "grades.csv", encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    names = ["raw_score", "late_submission_penalty", "score", "max_score"]
    assert {row["student_id"]: [float(row[name]) for name in names] for row in found} == {
        one.student: [one.raw, one.penalty, pytest.approx(one.score), one.max_score]
        for one in CLASS
    }


def test_what_waits_for_a_person_waits_in_nbgrader_too(db):
    failed = standing("eve", *[None] * 5, status=NEEDS_A_PERSON)
    import_into([*CLASS, failed], SHEET, db)
    with opened(db) as book:
        waiting = {
            one.student.id: [
                grade.name for grade in one.notebooks[0].grades if grade.needs_manual_grade
            ]
            for one in book.assignment_submissions(NAME)
        }
    ids = [column.grade_id for column in COLUMNS[:4]]  # the last one is dropped
    waiting["eve"].sort(key=ids.index)
    assert waiting == {"ada": [], "ben": [], "cy": ["why-essay"], "eve": ids}


def test_times_are_utc_without_a_zone(db):
    late = standing("ben", received="2025-03-01T23:30:00-05:00")
    import_into([CLASS[0], late, standing("cy", received="soon")], SHEET, db)
    with opened(db) as book:
        when = {one.student.id: one.timestamp for one in book.assignment_submissions(NAME)}
    # 10:00 + 01:00 is 9:00, 23:30 − 05:00 is 4:30 of the next day
    assert when == {
        "ada": datetime(2025, 3, 1, 9, 0),
        "ben": datetime(2025, 3, 2, 4, 30),
        "cy": None,
    }


# --- again ----------------------------------------------------------------------------------------


def test_a_second_import_changes_nothing(either):
    told = [commented(CLASS[0], 2, "Good."), *CLASS[1:]]
    import_into(told, SHEET, either)
    before = contents(either)
    assert before["grade"]
    import_into(told, SHEET, either)
    assert contents(either) == before


def test_a_new_grade_takes_the_place_of_the_old_one_and_of_a_persons_in_nbgrader(db):
    import_into([commented(CLASS[0], 2, "Good."), *CLASS[1:]], SHEET, db)
    with opened(db) as book:
        grade = book.find_grade("loss-check", NAME, NAME, "ada")
        grade.manual_score = 99
        book.db.commit()
    dropless = [standing("ada", 2, 3, 5, 0, 0), missing("ben")]
    import_into(dropless, SHEET, db)
    found = totals(db)
    assert found["ada"] == (10, 0, 10)
    assert found["ben"] == (0, 0, 10)  # there was a submission, so there is one
    assert found["cy"] == (2, 0, 10)  # not in this import
    with opened(db) as book:
        assert book.find_comment("why-essay", NAME, NAME, "ada").comment is None


def test_a_column_that_is_no_longer_a_bonus_is_asked_for(db):
    import_into(CLASS, SHEET, db)
    entries = tuple(replace(entry, bonus=False) for entry in CLASS[0].entries)
    import_into([replace(CLASS[0], entries=entries, max_score=11)], SHEET, db)
    assert totals(db)["ada"] == (7.5, 0, 11)
    assert grades(db, "ada")["more-check"] == (0.5, None, None)


# --- comments -------------------------------------------------------------------------------------


def test_comments_stand_at_the_answer_that_they_are_about(either, capsys):
    one = commented(commented(commented(CLASS[0], 2, "Well\nput."), 0, "Mind"), 1, "the rest.")
    import_into([one], SHEET, either)
    with opened(either) as book:
        notebook = book.find_submission_notebook(NAME, NAME, "ada")
        found = {comment.name: comment.comment for comment in notebook.comments if comment.comment}
    assert found == {"why-essay": "Well\nput.", "loss": "Mind\n\nthe rest."}
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_comment_that_nbgrader_has_no_place_for_is_told(tmp_path, generated, capsys):
    db = shutil.copy(generated, tmp_path)
    import_into([commented(CLASS[0], 3, "Nice."), CLASS[1]], SHEET, db)
    said = capsys.readouterr().err
    assert said == "nbgrader: 1 have comments to cells where it keeps none: ada\n"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x][y]\n\n[y]: javascript:alert(1)",
        "![x](https://example.org/seen.png)",
        "<javascript:alert(1)>",
    ],
)
def test_no_comment_becomes_a_tag_or_a_hidden_link_in_nbgraders_feedback(text):
    from nbconvert.filters import markdown2html

    made = markdown2html(_safe(text))
    assert set(re.findall(r"<(\w+)", made)) <= {"p", "a"}
    # a bare address becomes a link, and shows where it leads
    links = re.findall(r'<a href="(.*?)">(.*?)</a>', made)
    assert made.count("href") == len(links)
    assert all(shown == to and to.startswith("https://") for to, shown in links)


# --- what does not fit ----------------------------------------------------------------------------


def other(db, grade_id="loss-check", points=2.0):
    """The sheet with one column changed, the points too, and grades for it."""
    columns = (replace(COLUMNS[0], grade_id=grade_id, points=points), *COLUMNS[1:])
    one = standing("ada")
    entries = tuple(
        replace(entry, column=column) for entry, column in zip(one.entries, columns, strict=True)
    )
    return [replace(one, entries=entries)], replace(SHEET, columns=columns), db


def test_an_assignment_with_other_cells_there_is_refused_by_name(db):
    import_into(CLASS, SHEET, db)
    before = contents(db)
    start = f"sqlite:///{db}: the cells of {NAME} differ there: it "
    said = refused(import_into, *other(db, "new-check"))
    assert said.startswith(f"{start}lacks new-check; has besides loss-check; import into another")
    said = refused(import_into, *other(db, points=7))
    assert said.startswith(f"{start}has other points for loss-check; import into another")
    assert contents(db) == before


def test_an_assignment_with_another_notebook_there_is_refused(db):
    with opened(db) as book:
        book.add_assignment(NAME)
        book.add_notebook("problem1", NAME)
    said = refused(import_into, CLASS, SHEET, db)
    assert said.startswith(f"sqlite:///{db}: {NAME} has other notebooks there (problem1); import")


def test_an_assignment_that_has_no_notebook_yet_gets_one(db):
    with opened(db) as book:
        book.add_assignment(NAME, duedate="2025-03-01 09:00 UTC")
    import_into(CLASS, SHEET, db)
    assert totals(db)["ada"] == (7.5, 0, 10)
    with opened(db) as book:
        assert book.find_assignment(NAME).duedate == datetime(2025, 3, 1, 9, 0)


def test_grades_that_do_not_fit_the_sheet_never_reach_the_gradebook(tmp_path):
    db = tmp_path / "new.db"
    less = replace(SHEET, columns=COLUMNS[:4])
    said = refused(import_into, CLASS, less, db)
    assert said == f"{NAME}: the grades of ada have other columns (old-check); grade it again"
    off = replace(CLASS[0], raw=8.0)
    said = refused(import_into, [off], SHEET, db)
    assert said.startswith(f"{NAME}: ada has 8 points, but the columns add up to 7.5; grade")
    said = refused(import_into, CLASS, replace(SHEET, name="08"), db)
    assert said == f"the grades are of {NAME}, not of 08; export each alone"
    assert not db.exists()


def test_an_id_that_would_break_nbgraders_csv_stays_out_and_is_told(db, capsys):
    bad = ["=cmd", "a,b", "a\nb", "../x", "ada\u202e", "\ud800", "a" * 129, 'a"b']
    import_into([*map(standing, bad), *CLASS[:2], standing("zoë")], SHEET, db)
    assert list(totals(db)) == ["ada", "ben", "zoë"]
    said = capsys.readouterr().err
    assert said.startswith("nbgrader: 8 cannot be ids there and have no grade in it: =cmd, a,b, ")
    assert said.count("\n") == 1
    assert said.isascii()


BROKEN = {
    "an old one": "alter table grade drop column extra_credit",
    "one that cannot be written": """create trigger full before insert on submitted_assignment
        begin select raise(abort, 'disk is full'); end""",
}


def test_a_file_that_is_no_gradebook_is_one_line(db):
    db.write_bytes(b"not a database, but a text of some length" * 100)
    said = refused(import_into, CLASS, SHEET, db)
    assert said.startswith(f"{db}: nbgrader cannot use this gradebook (file is not a database); ")


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_gradebook_that_nbgrader_cannot_use_is_one_line(db, change, capfd, caplog):
    with sqlite3.connect(db) as connection:
        connection.execute(change)
    connection.close()
    said = refused(import_into, CLASS, SHEET, db)
    assert said.startswith(f"{db}: nbgrader cannot use this gradebook (")
    assert said.endswith(
        "; close other programs that use it; `nbgrader db upgrade` mends an old one"
    )
    assert capfd.readouterr().err == ""
    assert not caplog.records  # nbgrader would log a traceback


def test_a_gradebook_behind_a_symbolic_link_is_refused(tmp_path, db):
    link = tmp_path / "link.db"
    link.symlink_to(db)
    said = refused(import_into, CLASS, SHEET, link)
    assert said == f"{link}: is a symbolic link; name the file itself"


def test_without_nbgrader_one_line_says_how_to_get_it(monkeypatch, db):
    monkeypatch.setitem(sys.modules, "nbgrader.api", None)
    said = refused(import_into, CLASS, SHEET, db)
    assert said == "nbgrader: needs nbgrader; install it: pip install 'w2s-lab[grade]'"


@pytest.mark.slow
def test_the_export_makes_a_gradebook_though_alembic_is_not_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert export(CLASS, tmp_path / "to") == [tmp_path / "to" / "gradebook.db"]
    assert os.environ["PATH"] == "/nowhere"
    assert totals(tmp_path / "to" / "gradebook.db")["ben"] == (11, 1.1, 10)
