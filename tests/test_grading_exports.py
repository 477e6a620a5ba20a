"""Other programs get every grade, nobody is lost unseen, and no student's text does harm there."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.exports import FORMATS, gradescope
from w2s_lab.teach.grading.exports.cells import guarded, save, unguarded
from w2s_lab.teach.grading.exports.tables import SUMMARY, canvas, moodle, summaries
from w2s_lab.teach.grading.plain import named
from w2s_lab.teach.grading.standing import MISSING, Entry, Standing
from w2s_lab.teach.grading.verdict import BOX, GRADED, TRUST, Case, Column

NAME = "07_tiny"
# 2 + 3 + 5 are asked for; the bonus and the dropped column are not
COLUMNS = (
    Column("loss-check", 2, task="loss", title="The loss"),
    Column("loss-hidden", 3, task="loss", title="The loss", hidden=True),
    Column("why-essay", 5, manual=True, task="why", title="Why", rubric="MODEL ANSWER"),
    Column("more-check", 1, task="more"),
    Column("old-check", 4, task="old"),
)
CASES = (Case("a mean of one number", 1, 1), Case("an empty batch", 2, 2, "It is nan there."))


def standing(student, *scores, **changes):
    """A student's scores in the order of COLUMNS: the fourth is a bonus, the fifth is dropped."""
    scores = scores or (2, 1, 4, 0.5, 4)
    entries = tuple(
        Entry(column, score, bonus=n == 3, dropped=n == 4)
        for n, (column, score) in enumerate(zip(COLUMNS, scores, strict=True))
    )
    raw = sum(score or 0 for score in scores[:4])
    told = {"raw": raw, "score": raw - changes.get("penalty", 0), "max_score": 10}
    told |= {"received": "2025-03-01T10:00:00+01:00", "isolation": BOX} | changes
    return Standing(student, NAME, changes.pop("status", GRADED), entries, **_without(told))


def _without(told):
    return {key: value for key, value in told.items() if key != "status"}


def missing(student):
    return standing(student, 0, 0, 0, 0, 0, status=MISSING, received="", isolation="")


CLASS = [
    standing("ada"),  # 2 + 1 + 4 + 0.5 = 7.5; the 4 of the dropped column do not count
    # 2 + 3 + 5 + 1 = 11 of 10, less 1.1
    standing("ben", 2, 3, 5, 1, 0, days_late=2, penalty=1.1, isolation=TRUST, notes=("Late.",)),
    standing("cy", 2, 0, None, 0, 4),
    missing("dee"),
]


def rows(path, encoding="utf-8"):
    return list(csv.reader(io.StringIO(path.read_text(encoding), newline="")))


def refused(work, *arguments, **options):
    with pytest.raises(W2SError) as caught:
        work(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- cells ----------------------------------------------------------------------------------------

# what begins a formula for one spreadsheet or another, behind what one or another skips
RISKY = st.builds(
    "".join, st.tuples(st.text(" '\"\u200b\xa0\ufeff"), st.sampled_from("=+-@\t\r\n＝＋－＠"))
)
TEXT = st.text(st.characters(codec=None, categories=None), max_size=40)  # lone surrogates too
NASTY = st.builds("".join, st.lists(st.one_of(RISKY, TEXT, st.sampled_from([";", "'", "\t"]))))


@given(NASTY)
def test_a_guard_is_taken_off_again_without_a_trace(text):
    assert unguarded(guarded(text)) == text
    assert unguarded(guarded(guarded(text))) == guarded(text)


@given(RISKY, TEXT)
def test_no_cell_can_begin_a_formula(lead, rest):
    assert guarded(lead + rest).startswith("'")


@given(st.text(" '\"\u200b\xa0\ufeff"), st.sampled_from("=+-@|%＝＋－＠"), TEXT)
def test_no_part_of_a_cell_can_begin_a_formula(lead, sign, rest):
    # a program that parts cells at semicolons, or knows no lines within a cell, makes cells of them
    for end in ";\t\r\n":
        assert f"x{end}'" in guarded(f"x{end}{lead}{sign}{rest}")


def test_paragraphs_and_blank_lines_are_no_formulas():
    assert guarded("One.\n\nTwo; three.\n") == "One.\n\nTwo; three.\n"
    assert guarded("A list:\n- one\n\n- two") == "A list:\n'- one\n\n'- two"


@pytest.mark.parametrize("text", ["", "ada", "3.5", "a=b", "x - y", "O'Brien", "'quoted'", "a@b.c"])
def test_a_harmless_text_is_left_as_it_is(text):
    assert guarded(text) == text


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["to", "to/results", "to/results/a.csv"])
def test_nothing_is_written_through_a_symbolic_link(tmp_path, link):
    aim = tmp_path / "aim"
    aim.mkdir()
    place = tmp_path / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(aim)
    assert f"{place}: is a symbolic link" in refused(save, tmp_path / "to", "results/a.csv", "x")
    assert not list(aim.iterdir())


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_refuses_a_folder_that_is_a_file(tmp_path, name):
    (tmp_path / "file").write_text("")
    assert "cannot be written (" in refused(FORMATS[name], CLASS, tmp_path / "file")


WRONG = {
    "nobody": ([], "there is nobody to export; grade the assignment first"),
    "twice": ([CLASS[0]] * 2, "ada has two grades for 07_tiny; keep one of them"),
    "two assignments": (
        [CLASS[0], replace(CLASS[1], assignment="08")],
        "the grades are of several assignments (07_tiny, 08); export each alone",
    ),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("standings", "told"), WRONG.values(), ids=WRONG)
def test_each_format_refuses_standings_that_make_no_table(tmp_path, name, standings, told):
    assert refused(FORMATS[name], standings, tmp_path / "to") == told
    assert not (tmp_path / "to").exists()


# --- csv ------------------------------------------------------------------------------------------


def test_the_two_tables_are_what_a_teacher_reads(tmp_path):
    summary, questions = summaries(CLASS, tmp_path / "new")
    assert summary.read_bytes().startswith(b"\xef\xbb\xbfstudent,")  # Excel's sign of UTF-8
    when = "2025-03-01T10:00:00+01:00"
    assert rows(summary, "utf-8-sig") == [
        SUMMARY.split(","),
        ["ada", "graded", "7.5", "10", "0", "0", "no", "box", when, ""],
        ["ben", "graded", "9.9", "10", "2", "1.1", "no", "TRUST: ran without a box", when, "Late."],
        ["cy", "graded", "2", "10", "0", "0", "yes", "box", when, ""],
        ["dee", "missing", "0", "10", "0", "0", "no", "", "", ""],
    ]
    names = ["loss-check", "loss-hidden", "why-essay", "more-check (bonus)", "old-check (dropped)"]
    assert rows(questions, "utf-8-sig") == [
        ["student", *names, "raw"],
        ["points", "2", "3", "5", "1", "4", "10"],
        ["ada", "2", "1", "4", "0.5", "4", "7.5"],
        ["ben", "2", "3", "5", "1", "0", "11"],
        ["cy", "2", "0", "", "0", "4", "2"],
        ["dee", "0", "0", "0", "0", "0", "0"],
    ]


@given(st.lists(NASTY, min_size=1, max_size=4, unique=True), NASTY)
def test_whatever_students_write_each_has_one_row_with_the_right_score(tmp_path_factory, ids, text):
    folder = tmp_path_factory.getbasetemp() / "nasty"
    one = [
        standing(id, 2, 0, 0, 0, place, notes=(text,), received=text)
        for place, id in enumerate(ids)
    ]
    paths = summaries(one, folder)
    tables = [rows(path, "utf-8-sig") for path in paths]
    assert [len(table) for table in tables] == [len(ids) + 1, len(ids) + 2]
    # a reader that knows no quotes finds no more lines
    assert [len(p.read_text("utf-8-sig").splitlines()) for p in paths] == [len(t) for t in tables]
    assert {len(row) for row in tables[0]} == {10}
    assert [row[2] for row in tables[0][1:]] == ["2"] * len(ids)
    assert [row[5] for row in tables[1][2:]] == [str(place) for place in range(len(ids))]
    assert [unguarded(row[0]) for row in tables[0][1:]] == [named(id) for id in ids]
    for cell in (cell for table in tables for row in table for cell in row):
        assert cell == guarded(unguarded(cell))


def test_a_score_below_zero_stays_a_number(tmp_path):
    summary, _ = summaries([standing("ada", -0.5, 0.1 + 0.2, 0, 0, 0)], tmp_path)
    assert rows(summary, "utf-8-sig")[1][2] == "-0.2"  # not '-0.2, not -0.19999999999999996


# --- Canvas ---------------------------------------------------------------------------------------

ROSTER = """\
Student,ID,SIS User ID,SIS Login ID,Section,Seminar,06_old (11),07_tiny (12),Final Score
    Points Possible,,,,,,5,10,(read only)
"Byron, Ada",501,S1,ada@uni,A,x,4,3,80
"=HYPERLINK(""a"")",502,S2,BEN,A and B,x,4,,80
Cyra,503,S3,cy,B,x,4,6.5,80
"Student, Test",599,,d00d,A,,,,
"""


def roster(folder, text, name="roster.csv"):
    path = folder / name
    path.write_text(text, "utf-8-sig")
    return path


def test_canvas_gets_a_table_of_logins_where_there_is_no_roster(tmp_path, capsys):
    assert rows(*canvas(CLASS, tmp_path)) == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "07_tiny"],
        ["Points Possible", "", "", "", "", "10"],
        ["ada", "", "", "ada", "", "7.5"],
        ["ben", "", "", "ben", "", "9.9"],
        ["dee", "", "", "dee", "", "0"],
    ]
    said = capsys.readouterr().err
    assert said == "canvas.csv: 1 wait for a person and have no grade in it: cy\n"


def test_canvas_own_table_gets_our_column_and_keeps_no_other_grade(tmp_path, capsys):
    path = roster(tmp_path, ROSTER)
    class_ = [standing("501"), standing("ben"), standing("eve"), standing("cy", 2, 0, None, 0, 0)]
    assert rows(*canvas(class_, tmp_path, roster=path)) == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "07_tiny (12)"],
        ["Points Possible", "", "", "", "", "10"],
        ["Byron, Ada", "501", "S1", "ada@uni", "A", "7.5"],
        ['\'=HYPERLINK("a")', "502", "S2", "BEN", "A and B", "7.5"],
        ["Cyra", "503", "S3", "cy", "B", "6.5"],  # half graded: what Canvas has stays
        ["Student, Test", "599", "", "d00d", "A", ""],
    ]
    assert capsys.readouterr().err == (
        "canvas.csv: 1 wait for a person and have no grade in it: cy\n"
        f"canvas.csv: 1 are not in {path} and have no grade in it: eve\n"
    )


def test_canvas_table_with_semicolons_and_without_the_assignment_gets_a_new_column(tmp_path):
    text = "Student;ID;SIS Login ID;Section\r\nB;7;ben;A\r\nA;8;ada;A\r\n"
    assert rows(*canvas(CLASS[:1], tmp_path, roster=roster(tmp_path, text))) == [
        ["Student", "ID", "SIS Login ID", "Section", "07_tiny"],
        ["Points Possible", "", "", "", "10"],
        ["B", "7", "ben", "A", ""],
        ["A", "8", "ada", "A", "7.5"],
    ]


def test_nobody_gets_the_row_of_somebody_whose_id_looks_alike(tmp_path, capsys):
    text = "Student,ID,SIS Login ID,Section\nA,8,ada,A\nB,9,twin,A\nC,10,twin,A\n"
    class_ = [standing(id, 0, 0, 0, 0, 0) for id in ("ADA", "8", "ada ", "twin")]
    table = rows(*canvas([*class_, CLASS[0]], tmp_path, roster=roster(tmp_path, text)))
    assert [row[-1] for row in table[2:]] == ["7.5", "", ""]
    assert capsys.readouterr().err.endswith(r"no grade in it: ADA, 8, ada\x20, twin" + "\n")


WRONG_ROSTERS = {
    "empty": ("", "is empty"),
    "another table": ("name,mark\nA,3\n", "has no column 'ID' (it has: name, mark)"),
    "one endless cell": ('Student,ID,Section\n"' + "x" * 200_000, "is no sound csv ("),
}


@pytest.mark.parametrize(("text", "told"), WRONG_ROSTERS.values(), ids=WRONG_ROSTERS)
def test_what_is_no_canvas_table_is_refused_in_one_line(tmp_path, text, told):
    path = roster(tmp_path, text)
    assert refused(canvas, CLASS, tmp_path, roster=path).startswith(f"{path}: {told}")
    assert not (tmp_path / "canvas.csv").exists()


def test_a_roster_that_is_not_there_is_named(tmp_path):
    said = refused(moodle, CLASS, tmp_path, roster=tmp_path / "none.csv")
    assert said.startswith(f"{tmp_path / 'none.csv'}: no such file; export it again")


# --- Moodle ---------------------------------------------------------------------------------------


def test_moodle_gets_grades_with_feedback(tmp_path, capsys):
    told = replace(CLASS[1].entries[2], comment="<b>Good</b>,\nif\x1b[1m x < 3")
    ben = replace(CLASS[1], entries=(*CLASS[1].entries[:2], told, *CLASS[1].entries[3:]))
    table = rows(*moodle([CLASS[0], ben, *CLASS[2:]], tmp_path))
    assert table[0] == ["Username", "07_tiny", "07_tiny (feedback)"]
    assert [row[:2] for row in table[1:]] == [["ada", "7.5"], ["ben", "9.9"], ["dee", "0"]]
    assert table[2][2] == (  # the loss: 2 + 3 of 2 + 3
        "9.9 of 10 points · 1.1 taken off, 2 days late · The loss: 5 of 5 · "
        "Why: 5 of 5 (&lt;b&gt;Good&lt;/b&gt;, if x &lt; 3) · more: 1 of 1 (bonus) · Late."
    )
    assert table[3][2].startswith("0 of 10 points · Nothing was handed in.")
    assert "The loss" not in table[3][2]
    said = capsys.readouterr().err
    assert said == "moodle.csv: 1 wait for a person and have no grade in it: cy\n"


def test_moodle_reads_of_each_task_once_and_nothing_of_what_brings_no_points(tmp_path):
    pairs = [
        (Column("form-check", 0, task="form"), 0, ""),
        (Column("a-check", 0, task="a", title="A"), 0, "Neat."),
        (Column("a-hidden", 3, task="a", title="A", hidden=True), 1.5, "Nearly."),
        (Column("a-more", 2, task="a", title="A"), 1, ""),
        (Column("b-check", 0, task="b"), 0.5, ""),  # a person gave more than it has
    ]
    entries = tuple(Entry(c, s, comment=t, bonus=c.grade_id == "a-more") for c, s, t in pairs)
    [_, row] = rows(*moodle([replace(CLASS[0], entries=entries)], tmp_path))
    assert row[2] == (
        "7.5 of 10 points · A: 1.5 of 3 (Neat. Nearly.) · A: 1 of 2 (bonus) · b: 0.5 of 0"
    )


def test_moodle_takes_ids_for_what_they_look_like_or_for_what_it_is_told(tmp_path):
    mails = [replace(one, student=f"{one.student}@uni") for one in CLASS[:2]]
    assert rows(*moodle(mails, tmp_path))[0][0] == "Email address"
    assert rows(*moodle(mails, tmp_path, identifier="ID number"))[0][0] == "ID number"
    said = refused(moodle, mails, tmp_path, identifier="name")
    assert said == (
        "Moodle does not know students by 'name'; use one of: Email address, ID number, Username"
    )


def test_moodle_own_table_says_who_is_who(tmp_path, capsys):
    text = (
        "First name,ID number,Email address,Quiz\nAda,ada,Ada@Uni,1\nBen,B2,ben,2\nDee,dee,d@u,\n"
    )
    path = roster(tmp_path, text)
    table = rows(*moodle([*CLASS[:2], standing("eve")], tmp_path, roster=path))
    # e-mail addresses as Moodle writes them: it minds their case
    assert [row[:2] for row in table] == [
        ["Email address", "07_tiny"],
        ["Ada@Uni", "7.5"],
        ["ben", "9.9"],
    ]
    assert capsys.readouterr().err == (
        f"moodle.csv: 1 are not in {path} and have no grade in it: eve\n"
    )


def test_moodle_looks_only_where_it_is_told_to(tmp_path, capsys):
    path = roster(tmp_path, "Email address,ID number,username\nada,ben,x\nben,ada,y\n")
    table = rows(*moodle(CLASS[:2], tmp_path, roster=path, identifier="id number"))
    # ben's row is the first: 9.9 points
    assert [row[:2] for row in table] == [["ID number", "07_tiny"], ["ben", "9.9"], ["ada", "7.5"]]
    assert rows(*moodle(CLASS[:2], tmp_path, roster=path, identifier="Username")) == [
        ["username", "07_tiny", "07_tiny (feedback)"]
    ]
    assert "2 are not in" in capsys.readouterr().err
    path = roster(tmp_path, "Email address\nada\n")
    said = refused(moodle, CLASS, tmp_path, roster=path, identifier="Username")
    assert said.startswith(f"{path}: has no column 'Username' (it has: Email address)")


def test_moodle_is_told_by_the_column_that_everybody_has(tmp_path):
    text = "ID number,Email address\nada,\nben,ben@uni\n"
    table = rows(*moodle(CLASS[:2], tmp_path, roster=roster(tmp_path, text)))
    assert [row[0] for row in table] == ["ID number", "ada", "ben"]


# --- Gradescope -----------------------------------------------------------------------------------


def told(one, folder):
    (path,) = gradescope.export([one], folder)
    return json.loads(path.read_text())


def test_gradescope_gets_one_file_for_each_student(tmp_path):
    paths = gradescope.export(CLASS, tmp_path)
    assert paths == [tmp_path / "results" / one.student / "results.json" for one in CLASS]
    scores = [json.loads(path.read_text())["score"] for path in paths]
    assert scores == [7.5, 9.9, 2, 0]


def test_gradescope_reads_what_its_specification_asks_for(tmp_path):
    result = told(CLASS[1], tmp_path)
    assert result["output"] == "1.1 points are taken off: 2 days late.\nLate."
    assert result["visibility"] == "after_published"
    assert result["stdout_visibility"] == "hidden"
    assert result["extra_data"]["max_score"] == 10
    assert result["tests"][0] == {
        "name": "The loss · loss-check",
        "name_format": "text",
        "number": "1",
        "score": 2,
        "max_score": 2,
        "status": "passed",
        "output": "",
        "output_format": "text",
        "visibility": "visible",
    }
    assert [test["number"] for test in result["tests"]] == ["1", "2", "3", "4", "5"]
    assert [test["name"] for test in result["tests"][3:]] == [
        "more-check (bonus)",
        "old-check (does not count)",
    ]


def test_gradescope_calls_nothing_passed_or_failed_that_waits(tmp_path):
    result = told(CLASS[2], tmp_path)
    essay = result["tests"][2]
    assert essay["output"] == "A person has yet to grade this."
    assert not {"score", "status"} & set(essay)
    assert result["output"] == "A person has not graded all of it yet."
    assert told(CLASS[3], tmp_path)["output"] == "Nothing was handed in."


def test_a_hidden_column_shows_the_authors_words_alone_and_late(tmp_path):
    entries = list(CLASS[0].entries)
    for place in (0, 1):
        entries[place] = replace(
            entries[place], message="tried on 42", cases=CASES, comment="Look at (3)."
        )
    seen, hidden = told(replace(CLASS[0], entries=tuple(entries)), tmp_path)["tests"][:2]
    words = "✓ a mean of one number\n✗ an empty batch\n  It is nan there.\nLook at (3)."
    assert seen["output"] == f"tried on 42\n{words}"
    assert seen["visibility"] == "visible"
    assert seen["status"] == "failed"  # all its points, but a case that does not hold
    assert hidden["output"] == words
    assert hidden["visibility"] == "after_published"


def test_gradescope_never_sees_the_model_answer_or_the_score_before_it_is_published(tmp_path):
    result = told(CLASS[0], tmp_path)
    assert "MODEL ANSWER" not in json.dumps(result)
    assert "7.5" not in result["output"]


def test_no_text_of_gradescope_is_markup(tmp_path):
    nasty = "<script>x</script>\x1b[31m\u202e\ud800\n" + "y" * 10**6
    entries = (replace(CLASS[0].entries[0], message=nasty, comment=nasty),)
    path = gradescope.export([replace(CLASS[0], entries=entries, notes=(nasty,))], tmp_path)[0]
    assert path.stat().st_size < 20_000
    result = json.loads(path.read_text("ascii"))
    for holder in (result, *result["tests"]):
        formats = {key: value for key, value in holder.items() if key.endswith("_format")}
        assert formats and set(formats.values()) == {"text"}
    assert result["tests"][0]["output"].startswith("<script>x</script>⟨U+202E⟩⟨U+D800⟩\ny")
    result["tests"][0]["output"].encode()


@given(
    st.lists(st.one_of(NASTY, st.sampled_from(["..", "a/../b", "CON", "Ada", "ada"])), unique=True)
)
def test_every_id_gets_a_folder_of_its_own_that_every_system_can_have(ids):
    taken = set()
    folders = [gradescope._folder(id, taken) for id in ids]
    assert len({folder.lower() for folder in folders}) == len(ids)
    assert all(re.fullmatch(r"[\w.@-]{1,64}", folder, re.ASCII) for folder in folders)
    assert not {"con", ".", ".."} & {folder.lower() for folder in folders}
