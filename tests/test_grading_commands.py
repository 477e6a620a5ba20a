"""`w2s-lab grade` and `gradebook` as they are typed: files, status, one line for a mistake."""

import csv
import json
import os

import pytest
from grading import needs_box
from redteam.arena import FULL
from redteam.target import honest_cells, release, submission, target_notebook, told

from w2s_lab import cli

pytestmark = [pytest.mark.slow, needs_box]
EVIL = "=1+1\x1b[31m"  # a name that a terminal and a spreadsheet would read
CLASS = {
    "ada": submission(honest_cells()),
    "ben": submission(honest_cells() | {"double": "def double(x):\n    return 3 * x\n"}),
    "blank": submission(honest_cells() | {"essay": ""}),
    "cy": b"{",
    EVIL: submission(honest_cells()),
}


def mended(check):
    """The teacher's notebook with another visible test of `double`."""
    notebook = target_notebook()
    for cell in notebook["cells"]:
        if cell["id"] == "double-check":
            cell["source"] = check
    return json.dumps(notebook)


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A folder in which a class was graded from the command line, and then with a mended test."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "hand-ins").mkdir()
    for student, raw in CLASS.items():
        (folder / "hand-ins" / f"{student}.ipynb").write_bytes(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, notebook in (
            ("first.json", json.dumps(target_notebook())),
            ("second.json", mended("assert double(3) in (6, 9)")),
        ):
            (folder / "target.ipynb").write_text(notebook)
            assert grade("--json", name) == 0
        yield folder


def grade(*options):
    command = ["grade", "hand-ins", "--assignment", "target.ipynb", "--gradebook", "grades.db"]
    return cli.main([*command, *options])


@pytest.fixture
def run(graded, capsys, monkeypatch):
    """Runs a command on the graded class: its status, what it printed, what it complained of."""
    monkeypatch.chdir(graded)

    def call(*arguments):
        try:
            status = cli.main(list(map(str, arguments)))
        except SystemExit as ended:  # argparse's way
            status = ended.code
        return status, *capsys.readouterr()

    return call


def book(run, action, *options):
    status, out, err = run("gradebook", "grades.db", action, *options)
    assert status == 0
    assert "\x1b" not in err  # an export may say who is not in it
    return out


# --- grade ----------------------------------------------------------------------------------------


def test_the_json_has_the_form_that_the_course_promises(graded):
    found = json.loads((graded / "first.json").read_text())
    assert [one["student"] for one in found] == sorted(CLASS)
    for one in found:
        assert list(one) == ["student", "status", "score", "max_score", "items"]
        for item in one["items"]:
            assert list(item) == ["grade_id", "score", "max_score", "message"]
        assert one["max_score"] == FULL + 2
        assert one["score"] == sum(item["score"] for item in one["items"])
    scores = {one["student"]: (one["status"], one["score"]) for one in found}
    assert scores == {
        "ada": ("graded", FULL),
        "ben": ("graded", FULL - 3),
        "blank": ("graded", FULL),
        "cy": ("rejected", 0),
        EVIL: ("graded", FULL),
    }


def test_neither_json_tells_a_hidden_input(graded):
    assert told((graded / "first.json").read_text() + (graded / "second.json").read_text()) == []


def test_grading_says_what_it_came_to_and_where_that_is(run):
    status, out, _ = run("grade", *asked(gradebook="grades.db"))
    assert status == 0
    assert out.startswith("5 hand-ins: 4 graded, 1 rejected\nthe grades are in grades.db;")


def asked(*options, folder="hand-ins", assignment="target.ipynb", gradebook="g.db"):
    return [folder, "--assignment", assignment, "--gradebook", gradebook, *options]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (asked(folder="nowhere"), "nowhere"),
        (asked(assignment="no.ipynb"), "no.ipynb: no such file"),
        (asked(assignment="plain.ipynb"), "has no graded cell"),
        (asked(gradebook="target.ipynb"), "is no gradebook"),
        (asked(gradebook="no/g.db"), "cannot be opened"),
        (["hand-ins", "--assignment", "target.ipynb"], "required: --gradebook"),
        (["hand-ins", "--gradebook", "g.db"], "required: --assignment"),
        (asked("--workers", "0"), "'0'"),
        (asked("--memory-mb", "x"), "'x'"),
        (asked("--cell-seconds", "-1"), "'-1'"),
        (asked("--json", "no/x"), "no/x"),
        (asked("--container", "lxc"), "docker:IMAGE"),
        (asked("--cluster", "nobody", gradebook="cluster.db"), "nobody"),
        (asked("--container", "docker:i", "--trust"), "not allowed with"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_one_line_and_status_2(run, graded, arguments, said):
    plain = release()
    for cell in plain["cells"]:
        cell["metadata"] = {}
    (graded / "plain.ipynb").write_text(json.dumps(plain))
    status, out, err = run("grade", *arguments)
    assert (status, out) == (2, "")
    assert said in err and err.count("\n") == 1
    assert not os.path.exists(graded / "g.db")


def test_without_a_box_one_line_says_what_to_do(run, monkeypatch):
    from w2s_lab.teach.grading import bubblewrap

    monkeypatch.setattr(bubblewrap.shutil, "which", lambda *_, **__: None)
    status, out, err = run("grade", *asked(gradebook="none.db"))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "bubblewrap is not installed" in err
    assert not os.path.exists("none.db")


def test_trust_is_graded_without_a_box_and_shown_as_such(run, graded):
    (graded / "trusted").mkdir()
    (graded / "trusted" / "ada.ipynb").write_bytes(CLASS["ada"])
    assert run("grade", *asked("--trust", folder="trusted", gradebook="trusted.db"))[0] == 0
    _, out, _ = run("gradebook", "trusted.db", "show")
    assert "ran without isolation" in out


# --- gradebook ------------------------------------------------------------------------------------


def test_show_tells_where_everybody_stands(run):
    rows = {line.split("  ")[0]: line for line in book(run, "show").splitlines()}
    assert "8 of 10" in rows["ada"] and "waits for a person" in rows["ada"]
    assert "6 of 10" in rows["ben"]  # the mended test gave one point back
    assert "rejected" in rows["cy"] and "0 of 10" in rows["cy"]


def test_who_left_the_essay_blank_does_not_wait_for_a_person(run):
    rows = {line.split("  ")[0]: line for line in book(run, "show").splitlines()}
    assert "waits" not in rows["blank"] and "waits" not in rows["cy"]
    assert "8 of 10" in rows["blank"]


def test_no_name_controls_the_terminal(run):
    out = book(run, "show") + book(run, "changes")
    assert "\x1b" not in out and "=1+1" in out


def test_changes_lists_who_got_other_points_from_a_mended_test(run):
    lines = book(run, "changes").splitlines()
    assert any("ben" in line and "double-check" in line for line in lines)
    assert not any("ada" in line for line in lines)
    assert "1 up, 0 down" in "\n".join(lines)


def test_feedback_is_a_page_for_each_student(run, graded):
    book(run, "feedback", "--to", "pages")
    pages = [path.read_text("utf-8") for path in sorted((graded / "pages").rglob("*.html"))]
    assert len(pages) == len(CLASS)
    assert told("\n".join(pages)) == []


def test_the_report_is_one_page_for_the_teacher(run, graded):
    book(run, "report", "--to", "class.html")
    page = (graded / "class.html").read_text("utf-8")
    assert "ada" in page and "double-hidden" in page
    assert "\x1b" not in page


@pytest.mark.parametrize("format", ["csv", "canvas", "moodle", "gradescope"])
def test_each_export_writes_files_that_it_names(run, graded, format):
    out = book(run, "export", "--to", f"export-{format}", "--format", format)
    paths = [line.removeprefix("wrote ") for line in out.splitlines() if line.startswith("wrote ")]
    assert paths and all((graded / path).exists() for path in paths)
    for path in paths:
        if path.endswith(".csv"):
            with open(graded / path, encoding="utf-8-sig", newline="") as file:
                cells = [cell for row in csv.reader(file) for cell in row]
            assert not [cell for cell in cells if cell[:1] in "=@\t\r" and cell]


def test_essays_go_out_as_a_table_and_come_back_with_scores(run, graded):
    out = book(run, "essays", "--to", "essays.csv")
    assert "4 answers" in out  # one of them blank; the fifth hand-in cannot be read
    with open(graded / "essays.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    (blank,) = (row for row in rows if row["student"] == "blank")
    assert blank["answer"] == "(nothing was written here)"
    for row in rows:
        row["score"] = "" if row is blank else "1.5"
    with open(graded / "scored.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    book(run, "essays", "--from", "scored.csv", "--by", "Ms. T")
    rows = {line.split("  ")[0]: line for line in book(run, "show").splitlines()}
    assert "9.5 of 10" in rows["ada"] and "waits" not in rows["ada"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.db", "show"], "nothing.db: no such gradebook"),
        (["target.ipynb", "show"], "is no gradebook"),
        (["grades.db", "show", "--assignment", "x"], "name one of: 'target'"),
        (["grades.db", "export"], "add --to FOLDER"),
        (["grades.db", "report"], "add --to FILE.html"),
        (["grades.db", "export", "--to", "x", "--format", "pdf"], "choose from: csv"),
        (["grades.db", "show", "--policy", "no.yaml"], "no.yaml"),
        (["grades.db", "show", "--roster", "no.csv"], "no.csv"),
        (["grades.db", "essays", "--from", "no.csv"], "no.csv"),
        (["grades.db", "burn"], "invalid choice: 'burn'"),
        (["grades.db"], "required: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_with_a_gradebook_is_one_line_and_status_2(run, arguments, said):
    status, out, err = run("gradebook", *arguments)
    assert (status, out) == (2, "")
    assert said in err and err.count("\n") == 1
