"""The class in one assignment, for the teacher: one page of HTML, and the numbers behind it.

It changes no grade. It shows what students must not see: messages of hidden cases, who is late,
whose answers are alike. Item analysis as in Crocker and Algina 1986, "Introduction to Classical and
Modern Test Theory", chapter 14; intervals as in Wilson 1927.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from w2s_lab.teach.grading import similarity
from w2s_lab.teach.grading.feedback import render, title
from w2s_lab.teach.grading.plain import NAME, plain
from w2s_lab.teach.grading.similarity import Pair
from w2s_lab.teach.grading.standing import MISSING, Entry, Standing
from w2s_lab.teach.grading.verdict import GRADED, NEEDS_A_PERSON, REJECTED, TRUST, Column, Sheet

Z = statistics.NormalDist().inv_cdf(0.975)  # 1.96: intervals of 95 %
FEWEST = 3  # students for a correlation: any two lie on a line
# rows of a table: messages that tell a value are as many as students; pairs have to be read
ROWS = 50
SLACK = 1e-9  # points: a sum of parts may miss full marks by rounding


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
    """A message of a case, and how many students got it.

    Attributes:
        said: as it came: not escaped, and of any length.
        of: students whom the case was tried on.
    """

    column: Column
    case: str
    said: str
    count: int
    of: int


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
    """What was said to cases of graded students, hidden ones included, the most frequent first.

    A student counts once for each message, however often they got it.
    """
    told: Counter[tuple[Column, str, str]] = Counter()
    tried: Counter[tuple[Column, str]] = Counter()
    for standing in standings:
        if standing.status == GRADED:
            cases = [(e.column, case) for e in standing.entries for case in e.cases]
            tried.update({(column, case.title) for column, case in cases})
            told.update({(column, case.title, case.said) for column, case in cases if case.said})
    return [
        Misconception(column, case, said, count, tried[column, case])
        for (column, case, said), count in told.most_common()
    ]


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
        mistakes=mistakes[:ROWS],
        more_mistakes=len(mistakes[ROWS:]),
        waiting=_waiting(graded),
        open=[one for one in standings if one.status in (REJECTED, NEEDS_A_PERSON, MISSING)],
        late=late,
        pairs=pairs[:ROWS],
        more_pairs=len(pairs[ROWS:]),
        similarity=similarity,
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
    width = next((w for w in (0.25, 0.5, 1, 2, 5, 10, 20, 50) if most / w <= 20), most / 20)
    bars = [0] * (int(most / width + SLACK) + 1)
    for score in scores:
        bars[min(int(score / width + SLACK), len(bars) - 1)] += 1

    figure, ax = plots.axes(3.6)
    ax.bar([i * width for i in range(len(bars))], bars, width * 0.9, align="edge", color=plots.BLUE)
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
    ax.set_xlim(0, len(bars) * width)
    ax.set_xlabel(f"points of {asked:g}, in steps of {width:g}", fontsize=plots.TEXT)
    ax.set_ylabel("students", fontsize=plots.TEXT)
    steps = (f"{n} from {i * width:g}" for i, n in enumerate(bars) if n)
    words = f"Histogram of {len(scores)} scores in steps of {width:g} points, median {middle:.4g}"
    data, told = plots.described(figure, f"{words}: {', '.join(steps)}.")._repr_mimebundle_()
    return data["image/png"], told["image/png"]["alt"]
