"""`w2s-lab grade` and `w2s-lab gradebook`: the grader's part of the command line.

Everything heavy is imported by the command that needs it.
"""

import argparse
import inspect
import json
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from w2s_lab.errors import W2SError

Add = Callable[[str, Callable, str], argparse.ArgumentParser]


def register(add: Add, at_least: Callable) -> None:
    """Adds the commands to a parser."""
    grade = add("grade", _grade, "grades a class's notebooks, which may be hostile, in a box")
    grade.add_argument("submissions", metavar="SUBMISSIONS", help="a folder, see docs/grade.md")
    grade.add_argument("--assignment", required=True, metavar="FILE", help="the teacher's notebook")
    grade.add_argument("--gradebook", required=True, metavar="FILE", help="made or gone on with")
    grade.add_argument("--json", metavar="FILE", help="write the grades there as well")
    _add_options(grade, at_least)

    about = "what a gradebook holds: shown, completed by a person, handed on"
    book = add("gradebook", _gradebook, about)
    book.add_argument("file", metavar="GRADEBOOK")
    book.add_argument(
        "action", choices=ACTIONS, help="; ".join(f"{k}: {v[1]}" for k, v in ACTIONS.items())
    )
    book.add_argument("--assignment", metavar="NAME", help="default: the only one in it")
    book.add_argument("--policy", metavar="FILE", help="yaml: due date, lateness, bonus, dropped")
    book.add_argument("--roster", metavar="FILE", help="csv of the students, with their `id`")
    book.add_argument("--to", metavar="PATH", help="the file or folder to write")
    book.add_argument(
        "--format", default="csv", help="of an export: csv, canvas, moodle, gradescope, nbgrader"
    )
    book.add_argument(
        "--match", metavar="FILE", help="Canvas's or Moodle's own csv of the course, to find ids in"
    )
    book.add_argument(
        "--identifier",
        default="",
        metavar="NAME",
        help="what ids are to Moodle: email address, ID number or username",
    )
    book.add_argument("--from", dest="source", metavar="FILE", help="a csv to take scores from")
    book.add_argument("--by", default="", metavar="NAME", help="who grades the essays")

    about = "a class that is made up, handed in and graded before your eyes"
    demo = add("demo-class", _demo_class, about)
    demo.add_argument("--students", type=at_least(8), default=30, metavar="N", help="default: 30")
    demo.add_argument("--to", default="demo-class", metavar="FOLDER", help="default: demo-class")


def _add_options(grade: argparse.ArgumentParser, at_least: Callable) -> None:
    from_one = at_least(1)
    grade.add_argument(
        "--workers", type=from_one, metavar="N", help="at a time; default: one a core"
    )
    for name, unit in (("cell", 60), ("call", 10), ("notebook", 180)):
        about = f"wall time of a {name}; default: {unit}"
        grade.add_argument(
            f"--{name}-seconds", type=from_one, default=unit, metavar="N", help=about
        )
    about = "memory of a submission's processes; default: 2048"
    grade.add_argument("--memory-mb", type=from_one, default=2048, metavar="N", help=about)
    grade.add_argument("--seed-by-student", action="store_true", help="as the course was released")
    grade.add_argument("--cluster", default="", metavar="ADDRESS", help="of a Dask scheduler")
    where = grade.add_mutually_exclusive_group()
    where.add_argument("--container", default="", metavar="ENGINE:IMAGE", help="docker or podman")
    where.add_argument("--trust", action="store_true", help="no isolation; the gradebook says so")


def _grade(options: argparse.Namespace) -> int:
    from w2s_lab.report import writable
    from w2s_lab.teach.grading.files import write
    from w2s_lab.teach.grading.process import Limits
    from w2s_lab.teach.grading.session import Options, grade_class

    if options.json is not None:
        writable(options.json)  # before the work, not after it
    limits = Limits(
        cell_seconds=options.cell_seconds,
        call_seconds=options.call_seconds,
        notebook_seconds=options.notebook_seconds,
        memory_mb=options.memory_mb,
    )
    settings = Options(
        limits=limits,
        container=options.container,
        trust=options.trust,
        workers=options.workers,
        scheduler=options.cluster,
        seed_by_student=options.seed_by_student,
    )
    verdicts = grade_class(options.submissions, options.assignment, options.gradebook, settings)
    if options.json is not None:
        write(options.json, json.dumps([told(*one) for one in verdicts.items()], indent=1))
    counts = Counter(verdict.status for verdict in verdicts.values())
    print(
        f"{len(verdicts)} hand-ins: " + ", ".join(f"{n} {status}" for status, n in counts.items())
    )
    print(f"the grades are in {options.gradebook}; see `w2s-lab gradebook --help`")
    return 0


def told(student: str, verdict) -> dict:
    """A verdict in the form that `--json` writes."""
    items = [
        {
            "grade_id": item.grade_id,
            "score": item.score,
            "max_score": item.max_score,
            "message": item.message,
        }
        for item in verdict.items
    ]
    return {
        "student": student,
        "status": verdict.status,
        "score": verdict.score,
        "max_score": verdict.max_score,
        "items": items,
    }


def _demo_class(options: argparse.Namespace) -> int:
    from w2s_lab.teach.grading.demo_class import demo_class

    demo_class(options.to, options.students)
    return 0


def _gradebook(options: argparse.Namespace) -> int:
    from w2s_lab.teach.grading.gradebook import Gradebook

    act, _, needs = ACTIONS[options.action]
    if needs and not options.to:
        mend = f"add --to {needs}"
        raise W2SError("where to?", where=f"gradebook {options.action}", mend=mend)
    if options.action != "export" and (options.match or options.identifier):
        what, mend = "takes no --match and no --identifier", "they are for export"
        raise W2SError(what, where=f"gradebook {options.action}", mend=mend)
    with Gradebook(options.file, create=False) as book:
        options.assignment = book.sheet(options.assignment).name
        act(book, options)
        return 0


def _standings(book, options: argparse.Namespace) -> list:
    from w2s_lab.teach.grading.policy import Policy, standings
    from w2s_lab.teach.grading.policy_file import read_policy
    from w2s_lab.teach.release import read_roster

    policy = read_policy(options.policy) if options.policy else Policy()
    roster = read_roster(options.roster) if options.roster else ()
    return standings(book, options.assignment, policy, roster)


def _show(book, options: argparse.Namespace) -> None:
    from w2s_lab.teach.grading.plain import named, plain

    standings = _standings(book, options)
    rows = [("student", "status", "points", "remarks")]
    rows += [
        (named(one.student, 40), one.status, f"{one.score:g} of {one.max_score:g}", _remarks(one))
        for one in standings
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    print(_sums(standings))
    for line in book.damaged():
        print(plain(line, 400))


def _sums(standings: Sequence) -> str:
    """The class in one line, over those who have been graded."""
    from w2s_lab.teach.grading.verdict import GRADED

    scores = [one.score for one in standings if one.status == GRADED]
    told = f"{len(standings)} student{'s' * (len(standings) != 1)}, {len(scores)} graded"
    if not scores:
        return told
    mean, median = statistics.fmean(scores), statistics.median(scores)
    return f"{told}: mean {mean:.4g}, median {median:.4g} of {standings[0].max_score:g} points"


def _remarks(one) -> str:
    from w2s_lab.teach.grading.exports.tables import late

    remarks = []
    if one.waits:
        remarks.append("waits for a person")
    if one.days_late:
        remarks.append(f"{late(one.days_late)}, −{one.penalty:g}")
    if one.isolation == "trust":
        remarks.append("ran without isolation")
    return ", ".join(remarks)


def _essays(book, options: argparse.Namespace) -> None:
    from w2s_lab.teach.grading import essay_tables, essays

    if options.source:
        count = essay_tables.scores_from_csv(
            book, options.assignment, options.source, by=options.by
        )
        print(f"took {count} scores and comments")
    elif options.to:
        count = essay_tables.scores_to_csv(book, options.assignment, options.to)
        print(f"wrote {count} answers to {options.to}")
    else:
        essays.grade_essays(book, options.assignment, by=options.by)


def _feedback(book, options: argparse.Namespace) -> None:
    from w2s_lab.teach.grading.feedback import write_feedback

    pages = write_feedback(_standings(book, options), options.to)
    print(f"wrote {len(pages)} pages to {options.to}")


def _export(book, options: argparse.Namespace) -> None:
    from w2s_lab.teach.grading.exports import FORMATS

    if options.format not in FORMATS:
        mend = f"choose from: {', '.join(FORMATS)}"
        raise W2SError(f"unknown format {options.format!r}", where="--format", mend=mend)
    given = {}
    for option, name in (("match", "roster"), ("identifier", "identifier")):
        if value := getattr(options, option):
            use = [
                one for one, work in FORMATS.items() if name in inspect.signature(work).parameters
            ]
            if options.format not in use:
                what, mend = f"has no use for --{option}", f"it is for {' and '.join(use)}"
                raise W2SError(what, where=f"--format {options.format}", mend=mend)
            given[name] = value
    for path in FORMATS[options.format](_standings(book, options), Path(options.to), **given):
        print(f"wrote {path}")


def _report(book, options: argparse.Namespace) -> None:
    from w2s_lab.teach.grading.class_report import class_report
    from w2s_lab.teach.grading.files import write
    from w2s_lab.teach.grading.similarity import similar

    standings, sheet = _standings(book, options), book.sheet(options.assignment)
    pairs = similar({one.student: one.answers for one in standings}, sheet.starters)
    write(options.to, class_report(standings, sheet, pairs))
    print(f"wrote {options.to}")


def _changes(book, options: argparse.Namespace) -> None:
    from w2s_lab.teach.grading.changes import changes, render

    graders = book.graders(options.assignment)
    if len(graders) < 2:
        print(f"{options.assignment} was graded with one set of tests only; nothing to compare")
        return
    print(render(changes(book, options.assignment, *graders[-2:])))


# action → what does it, what it is for, what it needs as --to
ACTIONS: dict[str, tuple[Callable, str, str]] = {
    "show": (_show, "where everybody stands", ""),
    "essays": (_essays, "grade what waits for a person, here or by csv (--to, --from)", ""),
    "feedback": (_feedback, "a page for each student", "FOLDER"),
    "report": (_report, "a page about the class, for the teacher", "FILE.html"),
    "changes": (_changes, "who got other points from mended tests", ""),
    "export": (_export, "for spreadsheets and other programs", "FOLDER"),
}
