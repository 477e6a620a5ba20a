"""`w2s-lab`: the course's commands, for a terminal or a script.

It does nothing that the package does not; each command is a few lines around one function.
Exit status: 0 the work was done, 1 something was found wanting, 2 a mistake to mend, 130 Ctrl-C.
"""

import argparse
import inspect
import json
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
    about = "how large the cache is, by kind; --trim and --clear make room"
    cache = add("cache", _cache, about)
    less = cache.add_mutually_exclusive_group()
    about = "remove what was not used for longest; default: down to the limit, W2S_CACHE_GB"
    less.add_argument("--trim", nargs="?", const="", metavar="GB", help=about)
    about = "remove all of some kinds; default: of all but assets"
    less.add_argument("--clear", nargs="*", metavar="KIND", help=about)
    cache.add_argument("--json", metavar="FILE", help="write what is left there")
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
    run.add_argument("--cluster", metavar="ADDRESS", help="of a Dask scheduler, or a settings file")
    run.add_argument("--json", metavar="FILE", help="write the result there")
    run.add_argument("--figure", metavar="FILE", help="draw the gap there, as PNG")

    about = "weak labels for each row of a file of any size; stopped, it goes on where it was"
    label = add("label", _label, about)
    label.add_argument("source", metavar="FILE", help="csv, jsonl, parquet, a folder, a Hub id")
    label.add_argument("--to", required=True, metavar="FILE", help=".parquet, .jsonl or .csv")
    label.add_argument("--task", metavar="TASK", help="whose gold labels the weak model learns")
    label.add_argument("--weak", metavar="MODEL", help="default: static")
    label.add_argument("--labels", type=_at_least(1), metavar="N", help="gold labels for the weak")
    label.add_argument("--seed", type=_at_least(0), metavar="N", help="which of them; default: 0")
    label.add_argument("--size", metavar="SIZE", help="of the task; default: W2S_SIZE or lab")
    label.add_argument("--labeller", metavar="FILE", help="a saved one, instead of --task")
    label.add_argument("--save-labeller", metavar="FILE", help="keep the weak model there")
    label.add_argument("--text", default="text", metavar="COLUMN", help="default: text")
    label.add_argument("--id", metavar="COLUMN", help="to be copied beside the row's number")
    label.add_argument("--with-text", action="store_true", help="copy the texts too")
    label.add_argument("--encoding", default="utf-8", help="of csv and jsonl; default: utf-8")
    label.add_argument("--split", default="train", help="of a Hub data set; default: train")
    label.add_argument("--device", default="auto", help="auto, cpu, cuda or mps; default: auto")
    label.add_argument("--cluster", metavar="ADDRESS", help="of a Dask scheduler, or settings")

    about = "the engine against its peers on this machine; from a clone of the repository"
    bench = add("bench", _bench, about)
    bench.add_argument("--only", action="append", metavar="NAME", help="one of the works")
    bench.add_argument("--size", metavar="SIZE", help="smoke, lab (default) or full")
    bench.add_argument("--device", default="auto", help="auto, cpu or cuda; default: auto")
    bench.add_argument("--json", metavar="FILE", help="write the rows there")
    bench.add_argument("--write", action="store_true", help="renew docs/benchmarks/engine.md")

    about = "the workers of a Dask cluster, and what keeps runs from them"
    cluster = add("cluster", _cluster, about)
    cluster.add_argument("where", metavar="ADDRESS", help="of a scheduler, or a settings file")
    cluster.add_argument("--json", metavar="FILE", help="write the same there")
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


def _cache(options: argparse.Namespace) -> int:
    from w2s_lab import cache

    if options.json is not None:
        from w2s_lab.report import writable, write_whole

        writable(options.json)
    if options.trim is not None:
        most = cache.gigabytes(options.trim, where="--trim") if options.trim else cache.limit()
        print(cache.trim(most))
    elif options.clear is not None:
        print(cache.clear(options.clear))
    else:
        print(cache.table())
    if options.json is not None:
        write_whole(options.json, json.dumps(cache.facts(), indent=2).encode() + b"\n")
        print(f"wrote {options.json}")
    return 0


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
    from w2s_lab import experiment, team
    from w2s_lab.data import load_task
    from w2s_lab.report import writable

    if not team.first():  # it works with the first process, which speaks for all
        os.environ["W2S_QUIET"] = "1"
        options.json = options.figure = None
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
        cluster=options.cluster,
    )
    if not team.first():
        return 0
    # first the files: whoever reads the table may stop reading
    if options.json:
        result.to_json(options.json)
    if options.figure:
        result.plot(options.figure)
    print(result.table())
    for path in filter(None, (options.json, options.figure)):
        print(f"wrote {path}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    import runpy
    from pathlib import Path

    from w2s_lab.data import default_size
    from w2s_lab.models import pick_device
    from w2s_lab.report import writable

    peers = Path(__file__).parents[1] / "bench" / "peers.py"
    if not peers.exists():
        mend = "clone the repository and install it with `pip install -e .`"
        raise W2SError("the benchmarks do not come with an installed package", mend=mend)
    if options.json is not None:
        writable(options.json)
    size, device = default_size(options.size), pick_device(options.device)
    measure = runpy.run_path(str(peers))["measure"]
    measure(options.only, size=size, device=device, json_to=options.json, page=options.write)
    return 0


def _cluster(options: argparse.Namespace) -> int:
    from w2s_lab import workers
    from w2s_lab.cluster import opened
    from w2s_lab.models import LADDER
    from w2s_lab.report import writable, write_whole

    if options.json is not None:
        writable(options.json)
    with opened(options.where) as client:
        scheduler = [error for error in [workers.scheduler_problem(client)] if error]
        found = list(workers.found(client, LADDER).values())
    wrong = {one.address: [str(error) for error in workers.problems(one)] for one in found}
    if options.json:
        told = [{**vars(one), "problems": wrong[one.address]} for one in found]
        write_whole(options.json, json.dumps(told, indent=2).encode() + b"\n")
    print(workers.table(found, scheduler))
    return 1 if scheduler or any(wrong.values()) else 0


def _label(options: argparse.Namespace) -> int:
    from contextlib import ExitStack
    from dataclasses import replace
    from functools import partial

    from w2s_lab import labelling
    from w2s_lab.labeller import Labeller, weak_labeller

    if bool(options.task) == bool(options.labeller):
        mend = "give one of the two"
        raise W2SError("either a task or a saved labeller", where="--task, --labeller", mend=mend)
    for name in ("weak", "labels", "seed", "size", "save_labeller"):
        if options.labeller and getattr(options, name) is not None:
            where = f"--{name.replace('_', '-')}"
            raise W2SError("a saved labeller is fitted already", where=where, mend="leave it out")
    options.weak, options.seed = options.weak or "static", options.seed or 0
    fit = {name: getattr(options, name) for name in ("weak", "labels", "seed", "size", "device")}
    names = ("task", "labeller", "text", "id", "with_text", "encoding", "split")
    more = fit | {name: getattr(options, name) for name in names}
    with ExitStack() as stack:
        if options.cluster:
            from w2s_lab.cluster import alive, connect
            from w2s_lab.workers import in_full

            trunk = more["weak"] = in_full(options.weak)
            if options.labeller:
                made = Labeller.load(options.labeller)
                trunk = in_full(made.trunk)
                more["labeller"] = replace(made, trunk=trunk)
            executor, threads = stack.enter_context(connect(options.cluster, [trunk]))
            more |= {"executor": executor, "ahead": 2 * threads}  # none waits for its next part
            more["alive"] = partial(alive, executor)
        print(labelling.label_file(options.source, options.to, **more))
    if options.save_labeller:  # once all the rest has turned out to be right; fitted only once
        weak_labeller(options.task, **fit).save(options.save_labeller)
        print(f"wrote {options.save_labeller}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
