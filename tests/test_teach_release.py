"""A course folder holds what it should for whom it should, and is written whole or not at all."""

import hashlib
import re
from pathlib import Path

import pytest
from test_teach_exercises import SOURCE, changed, write

from w2s_lab import cli
from w2s_lab.errors import W2SError
from w2s_lab.teach.assignments import release_notebook, solution_notebook
from w2s_lab.teach.build import canonical
from w2s_lab.teach.exercises import read_assignment
from w2s_lab.teach.release import read_roster, release, student_seed

SECOND = changed(SOURCE, "07 · Tiny", "08 · More")
CLASS = "id,name\nada,Ada\nben,Ben\n"
NAMES = ("07_tiny", "08_more")
TEACHERS = ["README.md", "nbgrader_config.py", *(f"source/{n}/{n}.ipynb" for n in NAMES)]


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory):
    """The working folder of all tests here: two assignments."""
    folder = tmp_path_factory.mktemp("project")
    write(folder / "solutions")
    write(folder / "solutions", SECOND, "08_more")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def saved(folder, content, name="class.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def refused(work, *arguments, **options):
    with pytest.raises(W2SError) as caught:
        work(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the roster -----------------------------------------------------------------------------------

ROSTERS = {
    "commas": "id\nada\nben\n",
    "other columns": "name,id,mail\nA,ada,a@x\nB,ben,b@x\n",
    "semicolons": "name;id\nLovelace, Ada;ada\nB;ben\n",
    "student": "student\nada\nben\n",
    "student_id": "name,student_id\nA,ada\nB,ben\n",
    "id before student": "student,id\nA,ada\nB,ben\n",
    "BOM": "\ufeffid,name\nada,A\nben,B\n",
    "Windows": "id,name\r\nada,A\r\nben,B\r\n",
    "spaces": " id , name\n ada , A\nben ,B\n",
    "quotes": '"name","id"\n"Lovelace, Ada","ada"\n"B","ben"\n',
    "quoted line break": '"name","id"\n"Love\nlace","ada"\n"B","ben"\n',
    "blank lines": "id\n\nada\n\nben\n\n",
    "semicolon in a name": 'id,"first; last"\nada,A\nben,B\n',
    "no end": "id\nada\nben",
    "other case": "Name,ID\nA,ada\nB,ben\n",
    "two words": "Student ID;Name\nada;A\nben;B\n",
    "longer rows": "id\nada,1,2\nben\n",
}


@pytest.mark.parametrize("content", ROSTERS.values(), ids=ROSTERS)
def test_a_roster_is_read_in_its_order(tmp_path, content):
    assert read_roster(saved(tmp_path, content)) == ["ada", "ben"]


@pytest.mark.parametrize("id", ["z", "007", "a.b-c_d@uni.example", "A" * 64])
def test_what_can_name_a_folder_can_be_an_id(tmp_path, id):
    assert read_roster(saved(tmp_path, f"id\n{id}\nada\n")) == [id, "ada"]


REFUSED = {
    "no column": ("name,mail\nA,a@x\n", ":1: has no column `id` (it has: name, mail); name the"),
    "open quotes": ('id,name\nada,"Ada L.\nben,Ben\ncy,Cy\n', ": is not sound csv ("),
    "a Windows device": ("id\ncon\n", ":2: 'con' cannot be a student's id"),
    "a device with a suffix": ("id\nLPT1.x\n", ":2: 'LPT1.x' cannot be a student's id"),
    "dot at the end": ("id\nada.\n", ":2: 'ada.' cannot be a student's id"),
    "empty file": ("", ":1: has no column `id` (it has: nothing)"),
    "no students": ("id,name\n", ": has no students; give each a line"),
    "empty id": ("id,name\nada,A\n,B\n", ":3: '' cannot be a student's id; use up to 64 letters"),
    "blank id": ("id,name\nada,A\n  ,B\n", ":3: '' cannot be a student's id"),
    "short row": ("name,id\nA,ada\nB\n", ":3: '' cannot be a student's id"),
    "slash": ("id\na/b\n", ":2: 'a/b' cannot be a student's id"),
    "backslash": ("id\na\\b\n", ":2: 'a\\\\b' cannot be a student's id"),
    "parent": ("id\n..\n", ":2: '..' cannot be a student's id"),
    "here": ("id\n.\n", ":2: '.' cannot be a student's id"),
    "hidden": ("id\n.ada\n", ":2: '.ada' cannot be a student's id"),
    "option": ("id\n-ada\n", ":2: '-ada' cannot be a student's id"),
    "space": ("id\nada l\n", ":2: 'ada l' cannot be a student's id"),
    "letter": ("id\nzoë\n", ":2: 'zoë' cannot be a student's id"),
    "line break": ('id\n"a\nb"\n', ":3: 'a\\nb' cannot be a student's id"),
    "too long": (f"id\n{'A' * 65}\n", " cannot be a student's id"),
    "twice": ("id\nada\nben\nada\n", ":4: 'ada' is there already, in line 2; remove or rename"),
    "twice but for case": ("id\nada\nAda\n", ":3: 'Ada' is there already, in line 2"),
    "not UTF-8": (b"id\nzo\xeb\n", ": is not UTF-8; save it as UTF-8"),
}


@pytest.mark.parametrize(("content", "told"), REFUSED.values(), ids=REFUSED)
def test_a_roster_that_will_not_do_is_refused_in_one_line(tmp_path, content, told):
    path = saved(tmp_path, content)
    said = refused(read_roster, path)
    assert said.startswith(f"{path}:")
    assert told in said


def test_a_roster_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "class.csv"
    assert refused(read_roster, path) == f"{path}: no such file; name the roster's csv file"


# --- seeds ----------------------------------------------------------------------------------------


def test_a_seed_is_made_of_the_two_names_alone():
    digest = hashlib.sha256(b"07_tiny/ada").hexdigest()
    assert student_seed("ada", "07_tiny") == 1 + int(digest[:12], 16) % 999_999
    # python3 -c 'import hashlib; print(hashlib.sha256(b"07_tiny/ada").hexdigest()[:12])'
    # gives 15c51d98bceb
    assert student_seed("ada", "07_tiny") == 226081


def test_seeds_differ_from_student_to_student_and_from_assignment_to_assignment():
    seeds = {student_seed(f"s{n}", name) for n in range(100) for name in NAMES}
    assert len(seeds) == 200  # the chance that two of 200 agree by luck is 2 %
    assert min(seeds) >= 1 and max(seeds) <= 999_999


# --- the folder -----------------------------------------------------------------------------------


def test_without_seeds_everybody_gets_the_same_notebooks(tmp_path):
    folder = tmp_path / "course"
    roster = saved(tmp_path, "\ufeff" + CLASS.replace("\n", "\r\n"))
    written = release(folder, roster=roster)
    found = files(folder)
    assert sorted(found) == sorted(
        [*TEACHERS, "roster.csv", *(f"release/{n}/{n}.ipynb" for n in NAMES)]
    )
    assert sorted(path.relative_to(folder).as_posix() for path in written) == sorted(found)
    for name in NAMES:
        made = read_assignment(Path("solutions") / f"{name}.py")
        source = solution_notebook(made)
        for cell in source.cells:
            cell.metadata.pop("tags", None)  # they are nbval's
        assert found[f"release/{name}/{name}.ipynb"] == canonical(release_notebook(made)).encode()
        assert found[f"source/{name}/{name}.ipynb"] == canonical(source).encode()
    assert found["roster.csv"] == CLASS.encode()
    assert b"| `release/` | students |" in found["README.md"]
    assert b"course_id = 'course'" in found["nbgrader_config.py"]


def test_no_roster_is_needed_without_seeds_and_one_assignment_may_be_named(tmp_path):
    release(tmp_path / "course", ["08_more"])
    assert sorted(files(tmp_path / "course")) == [
        "README.md",
        "nbgrader_config.py",
        "release/08_more/08_more.ipynb",
        "source/08_more/08_more.ipynb",
    ]


@pytest.fixture(scope="module")
def personal(tmp_path_factory):
    """A course folder with each student's own numbers."""
    folder = tmp_path_factory.mktemp("personal") / "course"
    roster = saved(folder.parent, CLASS)
    release(folder, roster=roster, seed_by_student=True)
    return folder


def test_with_seeds_each_student_has_a_folder(personal):
    found = files(personal)
    own = [f"personal/{who}/{n}/{n}.ipynb" for who in ("ada", "ben") for n in NAMES]
    assert sorted(found) == sorted([*TEACHERS, "roster.csv", *own])
    assert b"| `personal/STUDENT/` | this student alone" in found["README.md"]
    assert b"`release/`" not in found["README.md"]


def test_what_teachers_keep_lies_in_no_folder_of_the_students(personal, tmp_path):
    release(tmp_path)
    for folder, kept in ((tmp_path, "release"), (personal, "personal")):
        handed = {name: text for name, text in files(folder).items() if name.startswith(kept)}
        assert handed
        for name, text in handed.items():
            assert "source" not in name.split("/")
            assert b"BEGIN" not in text and b"doubled_in_the_solution" not in text


def test_notebooks_of_two_students_differ_in_their_seed_and_its_checksum_alone(personal):
    def lines(student):
        text = (personal / f"personal/{student}/07_tiny/07_tiny.ipynb").read_text("utf-8")
        return text.splitlines()

    ada, ben = lines("ada"), lines("ben")
    differing = [pair for pair in zip(ada, ben, strict=True) if pair[0] != pair[1]]
    seeds = [f'    "SEED = {student_seed(who, "07_tiny")}\\n",' for who in ("ada", "ben")]
    [(first, second)] = [pair for pair in differing if "checksum" not in pair[0]]
    assert [first, second] == seeds
    assert len(differing) == 2  # nbgrader's fingerprint covers the line


def test_a_grader_makes_each_notebook_again_from_the_roster_alone(personal, project):
    for student in read_roster(personal / "roster.csv"):
        for name in NAMES:
            seed = student_seed(student, name)
            again = release_notebook(
                read_assignment(project / "solutions" / f"{name}.py"), seed=seed
            )
            path = personal / "personal" / student / name / f"{name}.ipynb"
            assert path.read_bytes() == canonical(again).encode()


def test_a_notebook_depends_on_no_other_student_and_no_order(personal, tmp_path):
    roster = saved(tmp_path, "student;name\ncem;C\nben;B\nada;A\n")
    release(tmp_path / "course", ["07_tiny"], roster=roster, seed_by_student=True)
    for student in ("ada", "ben"):
        path = f"personal/{student}/07_tiny/07_tiny.ipynb"
        assert (tmp_path / "course" / path).read_bytes() == (personal / path).read_bytes()


# --- a second time --------------------------------------------------------------------------------


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_second_release_writes_nothing_and_loses_nothing(tmp_path, capsys):
    folder, roster = tmp_path / "course", saved(tmp_path, CLASS)
    assert len(release(folder, roster=roster, seed_by_student=True)) == 9
    (folder / "submitted" / "ada").mkdir(parents=True)
    (folder / "submitted" / "ada" / "07_tiny.ipynb").write_text("mine")
    before = times(folder)
    capsys.readouterr()
    assert release(folder, roster=roster, seed_by_student=True) == []
    assert times(folder) == before
    assert "0 files written, 9 were there" in capsys.readouterr().err


def test_what_is_missing_is_added(tmp_path):
    release(tmp_path)
    lost = tmp_path / "release/07_tiny/07_tiny.ipynb"
    text = lost.read_bytes()
    lost.unlink()
    assert release(tmp_path) == [lost]
    assert lost.read_bytes() == text


@pytest.mark.parametrize("content", [b"{}", b"", "the old one with \\r\\n"])
def test_a_file_that_differs_stops_it_before_anything_is_written(tmp_path, content):
    folder = tmp_path / "course"
    target = folder / "release/08_more/08_more.ipynb"
    if isinstance(content, str):
        made = canonical(release_notebook(read_assignment("solutions/08_more.py")))
        content = made.replace("\n", "\r\n").encode()
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    assert refused(release, folder) == (
        f"{target}: is there already and differs; release into another folder, or remove the old "
        "file"
    )
    assert list(files(folder).values()) == [content]


def test_a_roster_that_lies_in_the_folder_stays_as_it_is(tmp_path):
    content = ("\ufeff" + CLASS.replace("\n", "\r\n")).encode()  # as a spreadsheet writes it
    roster = saved(tmp_path, content, "roster.csv")
    release(tmp_path, roster=roster, seed_by_student=True)
    assert roster.read_bytes() == content
    assert (tmp_path / "personal" / "ben").is_dir()


# --- what stops it --------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A project of its own for a source that is not fit."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


HINTED = changed(SOURCE, "`x + x`.", "`doubled_in_the_solution = x + x`.")
# with seed 0 the solution is right, with every other one it is wrong
LUCKY = changed(
    SOURCE,
    "doubled_in_the_solution = x + x",
    "doubled_in_the_solution = x + x + (SEED > 0 and x > 9)",
)


def test_a_leak_stops_it_and_names_the_file_and_nothing_is_written(elsewhere):
    write(elsewhere / "solutions", HINTED)
    assert refused(release, elsewhere / "course") == (
        "release/07_tiny/07_tiny.ipynb: gives away 'doubled_in_the_solution=x+x'; "
        "move it behind a mark in the source"
    )
    assert not (elsewhere / "course").exists()


def test_a_solution_that_fails_with_a_students_numbers_stops_it(elsewhere):
    write(elsewhere / "solutions", LUCKY)
    roster = saved(elsewhere, CLASS)
    release(elsewhere / "everybody")
    seed = student_seed("ada", "07_tiny")
    said = refused(release, elsewhere / "course", roster=roster, seed_by_student=True)
    assert said.startswith(
        f"solutions/07_tiny.py, SEED = {seed}: double-hidden: the solution gets 0 of 1.5"
    )
    assert not (elsewhere / "course").exists()


def test_a_solution_that_fails_for_everybody_stops_it(elsewhere):
    write(elsewhere / "solutions", changed(SOURCE, "solution = x + x", "solution = x + x + 1"))
    assert "the solution gets" in refused(release, elsewhere / "course")
    assert not (elsewhere / "course").exists()


def test_what_lies_where_students_get_theirs_is_searched_too(tmp_path):
    release(tmp_path)
    planted = tmp_path / "release/07_tiny/teacher.ipynb"
    planted.write_bytes((tmp_path / "source/07_tiny/07_tiny.ipynb").read_bytes())
    said = refused(release, tmp_path)
    assert said.startswith(f"{planted}: ")
    assert said.endswith("; take it out of what students get")


def test_seeds_need_a_roster(tmp_path):
    said = refused(release, tmp_path / "course", seed_by_student=True)
    assert said == "--seed-by-student needs a roster; name the class list with --roster"
    assert not (tmp_path / "course").exists()


def test_an_unknown_assignment_and_a_bad_roster_write_nothing(tmp_path):
    assert "no source '09_none'" in refused(release, tmp_path / "course", ["09_none"])
    roster = saved(tmp_path, "id\n../ada\n")
    assert "cannot be" in refused(release, tmp_path / "course", roster=roster)
    assert not (tmp_path / "course").exists()


# --- the command ----------------------------------------------------------------------------------


def test_the_command_tells_success_and_mistakes_apart(tmp_path, capsys):
    folder, roster = tmp_path / "course", saved(tmp_path, CLASS)
    command = ["release", "07_tiny", "--to", str(folder), "--roster", str(roster)]
    assert cli.main([*command, "--seed-by-student"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "6 files written, 0 were there",
        f"Give each student their own folder in {folder / 'personal'}, "
        f"and keep {folder / 'source'} to yourself",
    ]
    assert cli.main(command) == 2  # its README names another folder
    assert cli.main(["release", "--to", str(folder), "--roster", "none.csv"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f"w2s-lab: {folder / 'README.md'}: is there already and differs; ")
    assert told[1:] == ["w2s-lab: none.csv: no such file; name the roster's csv file"]
    assert cli.main(["release", "07_tiny"]) == 2  # --to is needed
    assert re.search("--to", capsys.readouterr().err)
