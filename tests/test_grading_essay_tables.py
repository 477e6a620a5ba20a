"""The table comes back as it went, whatever a spreadsheet did to it; mistakes keep nothing."""

import csv

import pytest
from test_grading_essays import ONE, scores
from test_grading_gradebook import ODD, graded, refused

from w2s_lab.teach.grading.essay_tables import scores_from_csv, scores_to_csv
from w2s_lab.teach.grading.gradebook import Gradebook


@pytest.fixture
def book(tmp_path):
    with Gradebook(tmp_path / "book.db") as made:
        made.add_sheet(ONE)
        yield made


@pytest.fixture
def table(tmp_path):
    return tmp_path / "scores.csv"


def read(table):
    with table.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def fill(table, typed, delimiter=","):
    """Types (score, comment) of students into a table, as a spreadsheet saves it."""
    rows = read(table)
    for row in rows:
        row["score"], row["comment"] = typed.get(row["student"], (row["score"], row["comment"]))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def test_a_table_has_a_line_for_each_manual_column_and_student(book, table):
    graded(book, "ada", b"1", essay="=1+1")
    graded(book, "ben", b"2", essay="Zoë\nsaid")
    book.refuse("cem", "07_tiny", "a link")
    book.mark("ada", "07_tiny", "why-essay", 2.5, "@you")
    assert scores_to_csv(book, "07_tiny", table) == 2
    assert [list(row.values()) for row in read(table)] == [
        ["ada", "why-essay", "4", "'=1+1", "2.5", "'@you"],
        ["ben", "why-essay", "4", "Zoë\nsaid", "", ""],
    ]
    assert table.read_bytes().startswith(b"\xef\xbb\xbfstudent,grade_id,max_score,answer,score")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_scores_from_a_table_are_kept_and_a_second_time_nothing_is_new(book, table, delimiter):
    for who in ("ada", "ben", "cem", ODD, "'quoted", "=cmd()", '"x', "007"):
        graded(book, who, who.encode("utf-8", "surrogatepass"), essay=f"- {who}, '=x")
    book.mark("cem", "07_tiny", "why-essay", 1, "-1 for form")
    scores_to_csv(book, "07_tiny", table)
    names = [row["student"] for row in read(table)]
    typed = {name: (f"{n / 4:g}".replace(".", ","), f"'=note {n}") for n, name in enumerate(names)}
    fill(table, typed | {"cem": ("", "only words"), "ada": ("", "")}, delimiter)
    assert scores_from_csv(book, "07_tiny", table, by="tutor") == 7
    found = scores(book)
    assert set(found) == {"ben", "cem", ODD, "'quoted", "=cmd()", '"x', "007"}
    assert found["cem"] == (1, "only words")
    in_order = sorted(book.handed_in("07_tiny"))
    for n, who in enumerate(in_order):
        if who not in ("ada", "cem"):
            assert found[who] == (n / 4, f"=note {n}")
    assert scores_from_csv(book, "07_tiny", table, by="another") == 0


def test_a_table_that_was_written_and_not_touched_changes_nothing(book, table):
    graded(book, "ada", b"1")
    book.mark("ada", "07_tiny", "why-essay", 1 / 3, "tab\tand\x1bescape\r\n= x")
    scores_to_csv(book, "07_tiny", table)
    assert scores_from_csv(book, "07_tiny", table) == 0
    assert book.marks("ada", "07_tiny")["why-essay"].comment == "tab\tand\x1bescape\r\n= x"


LINES = {
    "too much": ("ada,why-essay,4,A,9,", "'9' is no score from 0 to 4"),
    "words": ("ada,why-essay,4,A,good,", "'good' is no score from 0 to 4"),
    "nan": ("ada,why-essay,4,A,nan,", "'nan' is no score"),
    "nobody": ("eve,why-essay,4,A,1,", "nobody has to grade 'why-essay' of 'eve'; mend the names"),
    "no essay": ("ada,double-check,2,A,1,", "nobody has to grade 'double-check' of 'ada'"),
    "another answer": ("ada,why-essay,4,B,1,", "the answer is another one now; write the table"),
    "escapes": ("\x1b[2J,why-essay,4,A,1,", r"'\x1b[2J'"),
    "twice": ("ben,why-essay,4,B,2,", "the same student and column as in line 3"),
}


@pytest.mark.parametrize(("line", "told"), LINES.values(), ids=LINES)
def test_each_mistake_has_its_line_and_then_nothing_is_kept(book, table, capsys, line, told):
    graded(book, "ada", b"1", essay="A")
    graded(book, "ben", b"2", essay="B")
    head = 'student,grade_id,max_score,answer,score,comment\n"","",,,,"a\nb"\n'
    # the first line below the head has two lines
    table.write_text(head.replace('"a\nb"', "") + f"ben,why-essay,4,B,1,\n{line}\nx,y,4,A,2,\n")
    assert "2 lines will not do, and none was taken over" in refused(
        scores_from_csv, book, "07_tiny", table
    )
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{table}:4: ") and told in first
    assert second.startswith(f"{table}:5: nobody has to grade 'y' of 'x'")
    assert scores(book) == {}


def test_a_line_is_counted_from_its_start_also_below_a_cell_of_several_lines(book, table, capsys):
    table.write_text('student,grade_id,score,comment\nx,y,,"a\nb"\n\nx,z,1,\n')
    refused(scores_from_csv, book, "07_tiny", table)
    assert [line.split(": ")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"{table}:2", f"{table}:5"]  # fmt: skip


FILES = {
    "no column": ("id,score\n", ":1: has no column `student`; its first line is `student,"),
    "empty": ("", ":1: has no column `student`"),
    "open quotes": ('student,grade_id,score,comment\nada,"', "is not sound csv"),
    "not UTF-8": (b"student,\xff", "is not UTF-8; save it as CSV UTF-8"),
}


@pytest.mark.parametrize(("content", "told"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_table_is_refused(book, table, content, told):
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert told in refused(scores_from_csv, book, "07_tiny", table)


def test_a_score_whose_answer_changed_is_left_empty_in_the_table(book, table):
    graded(book, "ada", b"1", essay="Old.")
    book.mark("ada", "07_tiny", "why-essay", 3, "fine")
    graded(book, "ada", b"2", essay="New.")
    scores_to_csv(book, "07_tiny", table)
    assert [list(row.values())[3:] for row in read(table)] == [["New.", "", ""]]


def test_a_table_that_somebody_has_filled_in_is_not_overwritten(book, table):
    graded(book, "ada", b"1")
    assert scores_to_csv(book, "07_tiny", table) == scores_to_csv(book, "07_tiny", table) == 1
    fill(table, {"ada": ("2", "")})
    filled = table.read_bytes()
    assert "is there already and differs" in refused(scores_to_csv, book, "07_tiny", table)
    assert table.read_bytes() == filled
    assert "cannot be written" in refused(scores_to_csv, book, None, table / "x.csv")
    assert [path.name for path in table.parent.glob("scores*")] == ["scores.csv"]
