"""The class in one assignment, for the teacher: one page of HTML, and the numbers behind it.

It changes no grade. It shows what students must not see: messages of hidden cases, who is late,
whose answers are alike. Item analysis as in Crocker and Algina 1986, "Introduction to Classical and
Modern Test Theory", chapter 14; intervals as in Wilson 1927.
"""

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from w2s_lab.teach.grading import similarity
from w2s_lab.teach.grading.feedback import by_task, render, title
from w2s_lab.teach.grading.plain import NAME, plain
from w2s_lab.teach.grading.similarity import Pair
from w2s_lab.teach.grading.standing import MISSING, Entry, Standing
from w2s_lab.teach.grading.verdict import GRADED, NEEDS_A_PERSON, REJECTED, TRUST, Column, Sheet

Z = statistics.NormalDist().inv_cdf(0.975)  # 1.96: intervals of 95 %
FEWEST = 3  # students for a correlation: any two lie on a line
# rows of a table: messages that tell a value are as many as students; pairs have to be read
ROWS = 50
SLACK = 1e-9  # points: a sum of parts may miss full marks by rounding
# What the grader says by itself (`exercise`, `words`, `judge`) of answers that no author foresaw
GENERIC = re.compile(
    r"The result is not the expected one\.|Nothing is written here yet\.|There is no name '"
    r"|It is None: |It is a function: |It is a \w+ where numbers|It is .*; .* was expected"
    r"|Its shape is \(|It contains nan: |Your code (?:stopped with|could not be tested)"
    r"|What your code returned cannot|No answer came back|A hidden test does not hold"
    r"|This does not hold: |It does not hold\.|Part of it holds\.|\w*(?:Error|Exception)\b"
)
BEGINNING = 400  # characters of a message that tell whose it is
CASES = 3  # titles of cases that are shown beside a message


@dataclass(frozen=True)
class ItemStatistics:
    """How a class did in one column; None is undefined.

    Attributes:
        count: graded students who have a score there.
        share: mean share of the column's points, from 0 (hard) to 1 (easy): its difficulty.
        low, high: 95 % interval of it, where the class is taken as a sample of those to come.
        discrimination: correlation with the points of the other columns, −1 to 1.
        full, zero: share of students with all the points, and with none.
    """

    column: Column
    count: int
    share: float | None
    low: float | None
    high: float | None
    discrimination: float | None
    full: float | None
    zero: float | None
    dropped: bool = False
    bonus: bool = False


@dataclass(frozen=True)
class Misconception:
    """A message about answers to one task, and how many students got it.

    Attributes:
        column: the first of the task's columns; `title` names the task by it.
        said: as it came: not escaped, and of any length.
        cases: titles of the cases that said it, the most frequent first.
        count: students whom it was said to.
        of: students whom the task's tests were tried on.
    """

    column: Column
    said: str
    cases: tuple[str, ...]
    count: int
    of: int

    @property
    def generic(self) -> bool:
        """Whether the grader says so by itself, rather than the test's author."""
        return GENERIC.match(self.said[:BEGINNING]) is not None


def item_statistics(standings: Sequence[Standing]) -> list[ItemStatistics]:
    """The statistics of each column that has points, in the sheet's order, over graded students.

    Difficulty is the mean share of points, its interval Wilson's with that share in the place of a
    proportion; for partial credit it is too wide rather than too narrow, since no variable between
    0 and 1 varies more than a proportion. Discrimination is the corrected item–rest correlation:
    Pearson's, with the points of the other columns, without those that are dropped or wait for
    anybody. It is undefined with fewer than three students, or where nobody differs. Source:
    Crocker and Algina 1986, chapter 14; Wilson 1927.
    """
    graded = [one for one in standings if one.status == GRADED]
    rows = [{entry.column.grade_id: entry for entry in one.entries} for one in graded]
    first = {entry.column.grade_id: entry for row in rows for entry in row.values()}
    counts = [
        grade_id
        for grade_id, entry in first.items()
        if not entry.dropped
        and all(grade_id in row and row[grade_id].score is not None for row in rows)
    ]
    return [_statistics(entry, rows, counts) for entry in first.values() if entry.column.points > 0]


def misconceptions(standings: Sequence[Standing]) -> list[Misconception]:
    """What was said to graded students, hidden cases included; what authors wrote comes first.

    Within each of the two kinds the most frequent comes first, then the sheet's order. Equal
    messages of one task are one, and a student counts once for it.
    """
    told: dict[tuple[Column, str], Counter[str]] = defaultdict(Counter)  # titles of cases
    students: Counter[tuple[Column, str]] = Counter()
    tried: Counter[Column] = Counter()
    for standing in standings:
        for entries in by_task(standing.entries) if standing.status == GRADED else []:
            task = entries[0].column
            tested = [entry for entry in entries if not entry.column.manual]
            tried[task] += bool(tested)
            heard = dict.fromkeys(pair for entry in tested for pair in _heard(entry))
            students.update({(task, said) for _, said in heard})
            for case, said in heard:
                told[task, said].update([case] if case else [])
    order = list(tried)
    found = [
        Misconception(*one, tuple(c for c, _ in cases.most_common()), students[one], tried[one[0]])
        for one, cases in told.items()
    ]
    return sorted(found, key=lambda one: (one.generic, -one.count, order.index(one.column)))


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share of `count` students; count is above 0."""
    centre = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    spread = math.sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2) / (1 + Z**2 / count)
    return max(0.0, centre - Z * spread), min(1.0, centre + Z * spread)


def class_report(standings: Sequence[Standing], sheet: Sheet, pairs: Sequence[Pair] = ()) -> str:
    """The teacher's page on a class: for the teacher alone.

    Args:
        pairs: see `similarity.similar`; listed for review.
    """
    graded = [one for one in standings if one.status == GRADED]
    image, alt = _picture(graded) if graded else ("", "")
    mistakes = misconceptions(standings)
    late = sorted((one for one in standings if one.days_late), key=lambda one: -one.days_late)
    return render(
        "class_report.html",
        sheet=sheet,
        students=len(standings),
        asked=max((one.max_score for one in standings), default=sheet.max_score),
        statuses=_statuses(standings),
        trusted=[one.student for one in standings if one.isolation == TRUST],
        scores=_scores(graded),
        image=image,
        alt=alt,
        items=item_statistics(standings),
        authors=[one for one in mistakes if not one.generic],
        generic=[one for one in mistakes if one.generic],
        rows=ROWS,
        most_cases=CASES,
        waiting=_waiting(graded),
        open=[one for one in standings if one.status in (REJECTED, NEEDS_A_PERSON, MISSING)],
        late=late,
        pairs=pairs[:ROWS],
        more_pairs=len(pairs[ROWS:]),
        similarity=similarity,
        title=title,
        part=part,
        percent=percent,
    )


def part(column: Column) -> str:
    """A column's name for the teacher: the task, and which part of it."""
    return f"{title(column)} ({plain(column.grade_id, NAME)})"


def percent(share: float | None) -> str:
    """A share as 42 %, "–" where it is undefined."""
    return "–" if share is None else f"{100 * share:.0f} %"


def _statistics(
    entry: Entry, rows: Sequence[dict[str, Entry]], counts: Sequence[str]
) -> ItemStatistics:
    column = entry.column
    points: list[float] = []
    rest: list[float] = []
    for row in rows:
        score = row[column.grade_id].score if column.grade_id in row else None
        if score is not None:
            points.append(score)
            others = (row[name].score or 0 for name in counts if name != column.grade_id)
            rest.append(round(math.fsum(others), 9))
    marks = {"dropped": entry.dropped, "bonus": entry.bonus}
    n = len(points)
    if not n:
        return ItemStatistics(column, 0, None, None, None, None, None, None, **marks)
    # A person may have given more than a column has
    share = statistics.fmean(min(max(score / column.points, 0), 1) for score in points)
    low, high = wilson(share, n)
    full = sum(score >= column.points - SLACK for score in points) / n
    zero = sum(score <= SLACK for score in points) / n
    return ItemStatistics(
        column, n, share, low, high, _correlation(points, rest), full, zero, **marks
    )


def _correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    if len(a) < FEWEST or len(set(a)) == 1 or len(set(b)) == 1:
        return None
    return statistics.correlation(a, b)


def _heard(entry: Entry) -> list[tuple[str, str]]:
    """(title of the case, message) of what was said; "" where no case objects, but the test."""
    said = [(case.title, case.said) for case in entry.cases if case.said]
    return said or [("", entry.message)] * bool(entry.message.strip())


def _statuses(standings: Sequence[Standing]) -> dict[str, int]:
    """Students by status; each is in one row."""
    names = {
        REJECTED: "rejected: the file could not be graded",
        NEEDS_A_PERSON: "the grader could not finish: a person has to look",
        MISSING: "nothing handed in",
    }
    known = ["graded", "graded but for what waits for a person", *names.values()]
    counts = dict.fromkeys(known, 0)
    for one in standings:
        if one.status == GRADED:
            name = known[1] if one.waits else known[0]
        else:
            name = names.get(one.status, plain(one.status, NAME))
        counts[name] = counts.get(name, 0) + 1
    return counts


def _scores(graded: Sequence[Standing]) -> dict[str, float]:
    """Lowest, quartiles and highest, and the mean, in points."""
    scores = [one.score for one in graded]
    if not scores:
        return {}
    lower, middle, upper = (
        statistics.quantiles(scores, n=4, method="inclusive") if len(scores) > 1 else scores * 3
    )
    return {
        "lowest": min(scores),
        "lower quartile": lower,
        "median": middle,
        "upper quartile": upper,
        "highest": max(scores),
        "mean": statistics.fmean(scores),
    }


def _waiting(graded: Sequence[Standing]) -> list[tuple[Column, list[str]]]:
    """Columns with the students whose answers there wait for a person."""
    found: dict[Column, list[str]] = defaultdict(list)
    for one in graded:
        for entry in one.entries:
            if entry.score is None and not entry.dropped:
                found[entry.column].append(one.student)
    return list(found.items())


def _picture(graded: Sequence[Standing]) -> tuple[str, str]:
    """The distribution of scores as a PNG in base64, and the same in words."""
    from w2s_lab import plots

    scores = [one.score for one in graded]
    asked = max(one.max_score for one in graded)
    most = max(asked, *scores, 1.0)  # with a bonus there can be more than is asked for
    middle = statistics.median(scores)
    # steps that are whole points where possible, 10 to 20 of them
    finer = () if all(abs(score - round(score)) < SLACK for score in scores) else (0.25, 0.5)
    width = next((w for w in (*finer, 1, 2, 5, 10, 20, 50) if most / w <= 20), most / 20)
    places = [max(0.0, score / width) for score in scores]
    # Where only whole steps occur, a bar stands over each. Otherwise it stands on the step that
    # begins there, and the last one has full marks as well.
    exact = all(abs(place - round(place)) < SLACK for place in places)
    bars = [0] * (int(most / width + SLACK) + 1 if exact else math.ceil(most / width - SLACK))
    for place in places:
        bars[min(round(place) if exact else int(place + SLACK), len(bars) - 1)] += 1
    left = -width / 2 if exact else 0.0

    figure, ax = plots.axes(3.6)
    ax.bar(
        [left + (i + 0.05) * width for i in range(len(bars))],
        bars,
        width * 0.9,
        align="edge",
        color=plots.BLUE,
    )
    ax.axvline(middle, color=plots.VERMILLION, linewidth=2, linestyle="--")
    near_end = middle > most / 2
    ax.annotate(
        f"median {middle:.4g}",
        (middle, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if near_end else 6, 2),
        textcoords="offset points",
        ha="right" if near_end else "left",
        fontsize=plots.TEXT,
        color="#8F3F00",  # vermillion, dark enough for letters
    )
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.xaxis.get_major_locator().set_params(integer=float(asked).is_integer())
    ax.set_xlim(left, left + len(bars) * width)
    ax.set_xlabel(f"points of {asked:g}, in steps of {width:g}", fontsize=plots.TEXT)
    ax.set_ylabel("students", fontsize=plots.TEXT)
    at = "with" if exact else "from"
    steps = (f"{n} {at} {i * width:g}" for i, n in enumerate(bars) if n)
    unit = "point" if width == 1 else "points"
    words = f"Histogram of {len(scores)} scores in steps of {width:g} {unit}, median {middle:.4g}"
    data, told = plots.described(figure, f"{words}: {', '.join(steps)}.")._repr_mimebundle_()
    return data["image/png"], told["image/png"]["alt"]
