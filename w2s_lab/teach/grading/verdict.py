"""What an assignment asks for, and what grading one submission came to; plain values only.

It grades nothing and stores nothing: `judge` makes verdicts, `gradebook` keeps them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

GRADED, REJECTED, NEEDS_A_PERSON = "graded", "rejected", "needs a person"
BOX, CONTAINER, TRUST = "box", "container", "trust"


@dataclass(frozen=True)
class Column:
    """One graded cell of an assignment.

    Attributes:
        grade_id: the cell's name, unique in its assignment.
        points: the most it can bring; may be 0.
        manual: a person grades it (an essay), not a test.
        task: the exercise that it belongs to; the grade id itself where nothing else is known.
        title: the exercise's title for people, may be "".
        hidden: students must never see what is in the cell.
        rubric: for a manual cell, what the teacher's copy has there: model answer, criteria.
    """

    grade_id: str
    points: float
    manual: bool = False
    task: str = ""
    title: str = ""
    hidden: bool = False
    rubric: str = ""


@dataclass(frozen=True)
class Sheet:
    """What a gradebook has to know of an assignment.

    Attributes:
        name: the notebook's name without its ending.
        grader: a hash of everything that a grade depends on except the submission.
        columns: the graded cells, in the notebook's order.
        starters: grade id of an answer → the text that students receive in its place.
    """

    name: str
    grader: str
    columns: tuple[Column, ...]
    starters: Mapping[str, str] = field(default_factory=dict)

    @property
    def max_score(self) -> float:
        """All points, manual ones included."""
        return sum(column.points for column in self.columns)

    def to_json(self) -> str:
        """The sheet as JSON text, the same for equal sheets."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Sheet":
        """The inverse of `to_json`."""
        told = json.loads(text)
        columns = tuple(Column(**column) for column in told.pop("columns"))
        return cls(columns=columns, **told)


@dataclass(frozen=True)
class Case:
    """One case of a test cell: `said` is what was wrong, "" where it holds."""

    title: str
    points: float
    most: float
    said: str = ""


@dataclass(frozen=True)
class Item:
    """What one graded cell came to.

    Attributes:
        message: what the student may read of it; never a hidden input or expected value.
        cases: where the test cell has cases, each of them; students may read these as well.
        manual: waits for a person's score; `score` is 0 until then.
    """

    grade_id: str
    score: float
    max_score: float
    message: str = ""
    cases: tuple[Case, ...] = ()
    manual: bool = False


def unscored(sheet: Sheet, message: str) -> tuple[Item, ...]:
    """An item without points for each column, all with the same words."""
    return tuple(Item(one.grade_id, 0.0, one.points, message) for one in sheet.columns)


@dataclass(frozen=True)
class Verdict:
    """What grading one submission came to.

    Attributes:
        status: `GRADED`, `REJECTED` (nothing could be read), `NEEDS_A_PERSON` (the grader failed).
        items: one for each column of the sheet, in its order.
        notes: what else the student should know: a cell that stopped, a cell that is missing.
        answers: grade id → the text of the student's answer; essays, and code for comparisons.
        isolation: where the student's code ran: `BOX`, `CONTAINER` or `TRUST`.
        seconds: wall time; not part of equality, since it differs from run to run.
    """

    status: str
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    isolation: str = BOX
    seconds: float = field(default=0.0, compare=False)

    @property
    def score(self) -> float:
        """The points of all items."""
        return round(sum(item.score for item in self.items), 9)

    @property
    def max_score(self) -> float:
        """The most that the items can bring."""
        return round(sum(item.max_score for item in self.items), 9)

    def to_json(self) -> str:
        """The verdict as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Verdict":
        """The inverse of `to_json`.

        Raises:
            ValueError, KeyError, TypeError: text that is no verdict.
        """
        told = json.loads(text)
        items = tuple(
            Item(cases=tuple(Case(**case) for case in item.pop("cases")), **item)
            for item in told.pop("items")
        )
        return cls(items=items, notes=tuple(told.pop("notes")), **told)
