"""`w2s-lab`: the course's commands, for a terminal or a script.

It does nothing that the package does not; each command is a few lines around one function.
Exit status: 0 the work was done, 1 something was found wanting, 2 a mistake to mend, 130 Ctrl-C.
"""

import argparse
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading import commands as commands_of_grading

# Everything heavy is imported by the command that needs it, so that `list` and `--help` are quick.


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of `w2s-lab`; what a user can mend is told in one line, without traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if hasattr(sys.stdout, "reconfigure"):  # a terminal without a letter shows "?" for it
        sys.stdout.reconfigure(errors="replace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: _say(str(message))
            status = _command(argv)
        sys.stdout.flush()
        return status
    except SystemExit as done:  # argparse has said what is wrong, or has shown its help
        return int(done.code or 0)
    except W2SError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        _flush_what_can_be()
        return 141
    except OSError as error:
        _say(str(error))
        _flush_what_can_be()
        return 2


def _command(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    return options.command(options)


def _say(words: str) -> None:
    print("w2s-lab:", " ".join(words.split()), file=sys.stderr)


def _flush_what_can_be() -> None:
    """Empties standard output; where that fails, Python would complain of it again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, as every other mistake is told."""

    def error(self, message: str):
        self.exit(2, f"w2s-lab: {message}; see `{self.prog} --help`\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "w2s-lab",
        description="Weak-to-strong generalization: real data, any laptop, honest numbers.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable, about: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        one.set_defaults(command=command)
        return one

    add("list", _list, "the tasks, models and methods that `run` knows")
    fetch = add("fetch", _fetch, "models and data in your cache, verified by hash")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    add("check", _check, "what is missing on this machine and how to mend it")
    about = "lessons, solutions and exercises, from their sources; --check only compares"
    build = add("build", _build, about)
    one = "a lesson and its exercises; with a folder, as solutions/00_orientation, one of the two"
    build.add_argument("names", nargs="*", metavar="NAME", help=f"{one}; default: all, and the map")
    build.add_argument("--check", action="store_true", help="only report what differs or leaks")
    build.add_argument("--size", default="lab", help="smoke, lab or full; default: lab")

    release = add("release", _release, "a course folder for a class, in nbgrader's layout")
    release.add_argument("names", nargs="*", metavar="NAME", help="an assignment; default: all")
    release.add_argument("--to", required=True, metavar="FOLDER", help="the course folder")
    release.add_argument("--roster", metavar="FILE", help="csv of the students, with their `id`")
    release.add_argument(
        "--seed-by-student", action="store_true", help="other numbers for each student"
    )

    commands_of_grading.register(add, _at_least)

    run = add("run", _run, "one experiment: a table, and files where you ask for them")
    run.add_argument("task", metavar="TASK", help="a name, a csv, jsonl or parquet file, a Hub id")
    by_task = "default: {}; for texts and stores {}"
    run.add_argument("--weak", metavar="MODEL", help=by_task.format("static", "smollm2:22"))
    run.add_argument("--strong", metavar="MODEL", help=by_task.format("minilm", "smollm2"))
    run.add_argument(
        "--method",
        action="append",
        metavar="NAMES",
        help="one, or several with commas, or given again; default: all",
    )
    run.add_argument("--seeds", type=_at_least(1), metavar="N", help=by_task.format(5, 3))
    run.add_argument("--size", metavar="SIZE", help="smoke, lab or full; default: W2S_SIZE or lab")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda or mps; default: auto")
    run.add_argument("--labels", type=_at_least(1), metavar="N", help="gold labels for the weak")
    run.add_argument("--split", type=_at_least(0), metavar="SEED", help="deal the splits anew")
    run.add_argument("--text", metavar="COLUMN", help="of your own data; default: text")
    run.add_argument("--label", metavar="COLUMN", help="of your own data; default: label")
    run.add_argument("--group", metavar="COLUMN", help="of your own data: what must not be split")
    run.add_argument("--json", metavar="FILE", help="write the result there")
    run.add_argument("--figure", metavar="FILE", help="draw the gap there, as PNG")
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return int(text)

    return whole


def _list(_: argparse.Namespace) -> int:
    from w2s_lab.assets import ASSETS
    from w2s_lab.cascade import RULES
    from w2s_lab.methods import METHODS
    from w2s_lab.models import LADDER
    from w2s_lab.selection import SCORES
    from w2s_lab.text_methods import TEXT_METHODS

    rungs = {
        name: f"{ASSETS[asset].holds}, read after block {block}"
        for name, (asset, block) in LADDER.items()
    }
    sections = {
        "tasks": {name: _about(task) for name, task in _tasks().items()}
        | {"FILE": "your own csv, jsonl or parquet; or owner/name on the Hugging Face Hub"},
        "models": rungs | {"FOLDER": "a transformer of your own; or owner/name on the Hub"},
        "methods": {name: _about(method.teach) for name, method in METHODS.items()},
        "methods where the answer is a text": {
            name: _about(method.choose).rstrip(".") + _traits(method) + "."
            for name, method in TEXT_METHODS.items()
        },
        "methods where a weak model chooses the data": {
            name: _about(score.judge) for name, score in SCORES.items()
        },
        "methods where a small model passes questions on": {
            name: _about(rule) for name, rule in RULES.items()
        },
    }
    width = max(len(name) for names in sections.values() for name in names)
    for section, names in sections.items():
        print(section)
        for name, about in names.items():
            print(f"  {name:{width}}  {about}")
    return 0


def _tasks() -> dict[str, Callable]:
    from w2s_lab import data

    data.register()

    return data.TASKS


def _traits(method) -> str:
    """What a text method does besides choosing texts, in words."""
    told = {
        "gold": "with the weak model's few gold pairs",
        "temperature": "and the weak model's doubts between tokens",
        "stops_early": "up to the epoch that fits weak validation texts best",
        "shrinks": "and go only part of the way from the untouched model",
    }
    return "".join(f", {words}" for trait, words in told.items() if getattr(method, trait))


def _about(function: Callable) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _fetch(options: argparse.Namespace) -> int:
    from w2s_lab.assets import ASSETS, fetch, is_fetched

    names = options.names or list(ASSETS)
    for name in names:
        is_fetched(name)  # a misspelt name is told before anything is downloaded
    for name in names:
        print(f"{name}: {fetch(name)}")
    return 0


def _check(_: argparse.Namespace) -> int:
    from w2s_lab.check import check, render

    findings = check()
    print(render(findings))
    return 1 if any(finding.ok is False for finding in findings) else 0


def _build(options: argparse.Namespace) -> int:
    from w2s_lab.data import default_size
    from w2s_lab.teach import course

    size = default_size(options.size)  # a misspelt one is told before anything is built
    if not options.check:
        course.build(options.names, size=size)
        return 0
    findings = course.check(options.names)
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


def _release(options: argparse.Namespace) -> int:
    from w2s_lab.teach.release import release

    by_student = options.seed_by_student
    release(options.to, options.names, roster=options.roster, seed_by_student=by_student)
    return 0


def _run(options: argparse.Namespace) -> int:
    from w2s_lab import experiment
    from w2s_lab.data import load_task
    from w2s_lab.report import writable

    # before the work, not after it
    if options.json is not None:
        writable(options.json)
    if options.figure is not None:
        writable(options.figure, suffix=".png")
    methods = [name.strip() for names in options.method or () for name in names.split(",")]
    columns = {k: v for k in ("text", "label", "group") if (v := getattr(options, k)) is not None}
    if columns and options.task in _tasks():
        where = " and ".join(f"--{name}" for name in columns)
        what = f"{options.task} is no file of yours and has its own columns"
        raise W2SError(what, where=where, mend="leave it out")
    task = load_task(options.task, size=options.size, **columns)
    result = experiment.run(
        task,
        weak=options.weak,
        strong=options.strong,
        methods=list(dict.fromkeys(methods)) or None,
        seeds=options.seeds,
        size=options.size,
        device=options.device,
        labels=options.labels,
        split=options.split,
    )
    # first the files: whoever reads the table may stop reading
    if options.json:
        result.to_json(options.json)
    if options.figure:
        result.plot(options.figure)
    print(result.table())
    for path in filter(None, (options.json, options.figure)):
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
