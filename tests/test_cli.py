"""The commands do their work or say in one line why not, and their exit status tells which."""

import json
import os
import subprocess
import sys
import warnings

import pytest
from synthetic_result import a_small_result

from w2s_lab import assets, cli, data, experiment
from w2s_lab.check import Finding
from w2s_lab.errors import W2SError
from w2s_lab.text_methods import TEXT_METHODS

LOOK = "w2s_lab.check.check"


@pytest.fixture
def runs(monkeypatch):
    """What `run` was called with, as (task, options); it answers at once with four items."""
    calls = []

    def run(task, **options):
        calls.append((task, options))
        return a_small_result()

    monkeypatch.setattr(experiment, "run", run)
    monkeypatch.setattr(data, "load_task", lambda name, **options: (name, options))
    return calls


def one_line(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("w2s-lab: ") and captured.err.count("\n") == 1
    return captured.err


def test_list_names_what_run_knows_with_what_it_is(capsys):
    assert cli.main(["list"]) == 0
    told = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert "naive The student imitates the weak model's hard labels." in lines
    for name in ("indemnity Clauses", "static ", "minilm ", "smollm2 ", "early stopping ", "FILE "):
        assert any(line.startswith(name) for line in lines), name


def test_list_says_which_tasks_and_methods_are_for_texts_and_what_these_do(capsys):
    assert cli.main(["list"]) == 0
    classes, rest = capsys.readouterr().out.split("methods where the answer is a text\n")
    texts, stores = rest.split("methods where a weak model chooses the data\n")
    assert "  papers " in classes and "  code " in classes and "  soft " in classes
    for name in ("corpus", "pairs", "cascade"):
        assert f"  {name} " in classes
    assert "  difficulty by loss " in stores and "  maximum probability " in stores
    told = {line[2:23].strip(): line[23:] for line in texts.splitlines()}
    assert list(told) == list(TEXT_METHODS)
    assert told["naive"] == "Imitate every weak text."
    assert told["mixed"] == "Imitate every weak text, with the weak model's few gold pairs."


def test_list_and_help_load_nothing_heavy():
    code = (
        "import sys; from w2s_lab import cli; print(cli.main([sys.argv[1]]));"
        "print(sorted({'torch', 'transformers', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    for argument in ("list", "--help"):
        ran = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True)
        assert ran.stdout.splitlines()[-2:] == ["0", "[]"], ran.stderr


def test_help_tells_every_command(capsys):
    assert cli.main(["--help"]) == 0
    told = capsys.readouterr().out
    for command in ("list", "fetch", "check", "cache", "run", "label", "build", "bench", "cluster"):
        assert f"\n    {command} " in told


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["rum"],
        ["run"],
        ["run", "a", "b"],
        ["run", "a", "--seeds", "0"],
        ["run", "a", "--seeds", "two"],
        ["run", "a", "--labels", "-3"],
        ["run", "a", "--split", "1.5"],
        ["run", "a", "--meth", "naive"],
        ["list", "--all"],
        ["build", "--chek"],
    ],
)
def test_a_misspelt_command_line_is_status_2_and_runs_nothing(arguments, runs, capsys):
    assert cli.main(arguments) == 2
    assert runs == []
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith("w2s-lab")
    assert len(told) == 1 or arguments[0] == "build"  # which has a parser of its own


def test_run_passes_every_option_on(runs):
    line = "run indemnity --weak a --strong b --method naive,soft --method filter --seeds 3"
    line += " --size smoke --device cpu --labels 8 --split 7 --cluster tcp://h:1"
    assert cli.main(line.split()) == 0
    assert runs == [
        (
            ("indemnity", {"size": "smoke"}),
            {
                "weak": "a",
                "strong": "b",
                "methods": ["naive", "soft", "filter"],
                "seeds": 3,
                "size": "smoke",
                "device": "cpu",
                "labels": 8,
                "split": 7,
                "cluster": "tcp://h:1",
            },
        )
    ]


def test_run_without_options_takes_the_defaults_of_the_package(runs):
    assert cli.main(["run", "indemnity"]) == 0
    ((task, options),) = runs
    assert task == ("indemnity", {"size": None})
    assert options["methods"] is None and options["labels"] is None and options["split"] is None
    # what they are depends on the task, and `run` knows
    assert (options["weak"], options["strong"], options["seeds"]) == (None, None, None)


def test_the_defaults_of_the_command_are_those_of_the_function():
    given = vars(cli._parser().parse_args(["run", "indemnity"]))
    for name, default in experiment.run.__kwdefaults__.items():
        assert given[{"methods": "method"}.get(name, name)] == default, name


def test_a_method_with_a_space_and_one_named_twice_are_understood(runs):
    assert cli.main(["run", "x.csv", "--method", "early stopping, naive,naive"]) == 0
    assert runs[0][1]["methods"] == ["early stopping", "naive"]


def test_columns_are_for_data_of_ones_own(runs, capsys):
    assert cli.main(["run", "x.csv", "--text", "clause", "--label", "kind"]) == 0
    assert runs[0][0] == ("x.csv", {"size": None, "text": "clause", "label": "kind"})
    capsys.readouterr()
    assert cli.main(["run", "indemnity", "--text", "clause"]) == 2
    assert "--text: indemnity is no file" in one_line(capsys)
    assert len(runs) == 1


def test_run_prints_the_table_and_where_the_files_went(runs, capsys, tmp_path):
    files = [str(tmp_path / name) for name in ("r.json", "r.png")]
    assert cli.main(["run", "indemnity", "--json", files[0], "--figure", files[1]]) == 0
    captured = capsys.readouterr()
    wrote = "".join(f"wrote {file}\n" for file in files)
    assert captured.out == f"{a_small_result().table()}\n{wrote}" and captured.err == ""
    assert json.loads((tmp_path / "r.json").read_text())["weak"]["score"] == 0.5
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "option, file, told",
    [
        ("--json", "no/r.json", "does not exist"),
        ("--json", "", "is a folder"),
        ("--json", ".", "is a folder"),
        ("--figure", "no/r.png", "does not exist"),
        ("--figure", "r.svg", "end in .png"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_any_training(
    option, file, told, runs, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "indemnity", option, file]) == 2
    assert told in one_line(capsys)
    assert runs == [] and list(tmp_path.iterdir()) == []


def test_an_unknown_task_is_one_line_and_status_2(capsys):
    assert cli.main(["run", "nosuch"]) == 2
    assert (
        one_line(capsys)
        == "w2s-lab: unknown task 'nosuch'; choose one of: cascade, code, corpus, indemnity, "
        "pairs, papers\n"
    )


def raises(error):
    def run(*_, **__):
        raise error

    return run


def test_an_error_of_several_lines_is_told_in_one(runs, monkeypatch, capsys):
    monkeypatch.setattr(experiment, "run", raises(OSError("it is\n  not there")))
    assert cli.main(["run", "indemnity"]) == 2
    assert one_line(capsys) == "w2s-lab: it is not there\n"


def test_an_interruption_is_one_line_and_status_130(runs, monkeypatch, capsys):
    monkeypatch.setattr(experiment, "run", raises(KeyboardInterrupt()))
    assert cli.main(["run", "indemnity"]) == 130
    assert one_line(capsys) == "w2s-lab: interrupted\n"


def test_a_bug_keeps_its_traceback(runs, monkeypatch):
    monkeypatch.setattr(experiment, "run", raises(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["run", "indemnity"])


def test_a_warning_about_the_data_is_one_line_without_a_file_name(runs, monkeypatch, capsys):
    def load(name, **_):
        warnings.warn(f"{name}: 3 of 9 rows left out", stacklevel=2)

    monkeypatch.setattr(data, "load_task", load)
    assert cli.main(["run", "x.csv"]) == 0
    assert capsys.readouterr().err == "w2s-lab: x.csv: 3 of 9 rows left out\n"


def test_a_reader_that_leaves_early_gets_no_traceback():
    # the pipe is closed before the program starts, so its first write fails
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "w2s_lab.cli", "list"]
    ran = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_one_line():
    command = [sys.executable, "-m", "w2s_lab.cli", "list"]
    with open("/dev/full", "w") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 2
    assert ran.stderr.startswith("w2s-lab: ") and ran.stderr.count("\n") == 1


def test_a_terminal_without_unicode_still_gets_its_table(tmp_path):
    code = "import w2s_lab.cli as c; c._list = lambda _: print('α') or 0; c.main(['list'])"
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (ran.stdout, ran.stderr) == ("?\n", "")


def test_fetch_takes_all_assets_or_those_named(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(assets, "fetch", lambda name: asked.append(name) or f"/cache/{name}")
    assert cli.main(["fetch", "minilm"]) == 0
    assert capsys.readouterr().out == "minilm: /cache/minilm\n"
    assert cli.main(["fetch"]) == 0
    assert asked == ["minilm", *assets.ASSETS]


def test_a_misspelt_asset_is_told_before_anything_is_downloaded(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(assets, "fetch", asked.append)
    assert cli.main(["fetch", "minilm", "maxilm"]) == 2
    assert "'maxilm': no such asset" in one_line(capsys)
    assert asked == []


@pytest.mark.parametrize("ok, status", [(True, 0), (None, 0), (False, 1)])
def test_check_fails_only_where_something_must_be_mended(ok, status, monkeypatch, capsys):
    monkeypatch.setattr(LOOK, lambda: [Finding("python", True, "3"), Finding("disk", ok, "1 GB")])
    assert cli.main(["check"]) == status
    assert "disk    1 GB" in capsys.readouterr().out


def test_build_hands_over_its_names_and_tells_what_it_found(monkeypatch, capsys):
    from w2s_lab.teach import course

    given = []
    monkeypatch.setattr(course, "build", lambda names, size: given.append((names, size)))
    monkeypatch.setattr(course, "check", lambda names: given.append(names) or names)
    assert cli.main(["build", "00_x", "--size", "smoke"]) == 0
    assert cli.main(["build", "--check"]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(["build", "--check", "00_x", "01_y"]) == 1
    assert capsys.readouterr().err == "00_x\n01_y\n"
    assert given == [(["00_x"], "smoke"), [], ["00_x", "01_y"]]


@pytest.mark.parametrize("more", [[], ["--check"]])
def test_build_refuses_an_unknown_size_before_anything_is_built(more, monkeypatch, capsys):
    from w2s_lab.teach import course

    for work in ("build", "check"):
        monkeypatch.setattr(course, work, raises(AssertionError("it went on")))
    assert cli.main(["build", "--size", "huge", *more]) == 2
    assert one_line(capsys).startswith("w2s-lab: size: unknown size 'huge'; choose one of")


def test_a_users_mistake_deep_in_a_run_is_one_line(runs, monkeypatch, capsys):
    mistake = W2SError("99 gold labels asked for, 43 there", where="labels", mend="ask for fewer")
    monkeypatch.setattr(experiment, "run", raises(mistake))
    assert cli.main(["run", "indemnity", "--labels", "99"]) == 2
    told = "w2s-lab: labels: 99 gold labels asked for, 43 there; ask for fewer\n"
    assert one_line(capsys) == told


@pytest.mark.slow
def test_a_real_run_at_smoke_size_writes_what_it_prints(tmp_path):
    options = {"size": "smoke", "seeds": 2, "method": "naive", "json": "r.json", "figure": "r.png"}
    given = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "w2s_lab.cli", "run", "indemnity", *given]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    told = json.loads((tmp_path / "r.json").read_text())
    assert told["size"] == "smoke" and told["seeds"] == 2 and list(told["methods"]) == ["naive"]
    assert f"\nweak                   {told['weak']['score']:.2f} [" in ran.stdout
    assert ran.stdout.endswith("wrote r.json\nwrote r.png\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.png"]
