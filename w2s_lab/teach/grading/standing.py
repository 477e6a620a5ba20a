"""Where a student stands in one assignment after a person's scores and the course's rules.

It decides nothing: `policy` makes standings from a gradebook; feedback, exports and the class
report read them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from w2s_lab.teach.grading.verdict import Case, Column

MISSING = "missing"  # the status of somebody on the roster who handed nothing in


@dataclass(frozen=True)
class Entry:
    """One column of one student.

    Attributes:
        score: None while it waits for a person.
        message: what the tests say, for the student.
        comment: what a person wrote to it.
        bonus: its points count, and are not asked for.
        dropped: it counts for nobody.
    """

    column: Column
    score: float | None
    message: str = ""
    cases: tuple[Case, ...] = ()
    comment: str = ""
    bonus: bool = False
    dropped: bool = False


@dataclass(frozen=True)
class Standing:
    """One student in one assignment.

    Attributes:
        status: that of the verdict, or `MISSING`.
        entries: one for each column of the sheet, in its order.
        received: when it was handed in, ISO 8601 with time zone, "" if unknown.
        days_late: started days after the due date and the student's extension; 0 is in time.
        raw: points before the penalty.
        penalty: points taken off for lateness.
        score: what counts, `raw` − `penalty`, never below 0.
        max_score: the points asked for: without bonus and dropped columns.
        notes: what else the student should know.
        answers: grade id → what the student wrote there.
        isolation: where the student's code ran, "" if it did not.
    """

    student: str
    assignment: str
    status: str
    entries: tuple[Entry, ...]
    received: str = ""
    days_late: int = 0
    raw: float = 0.0
    penalty: float = 0.0
    score: float = 0.0
    max_score: float = 0.0
    notes: tuple[str, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    isolation: str = ""

    @property
    def waits(self) -> bool:
        """Whether a person has something left to grade."""
        return any(entry.score is None and not entry.dropped for entry in self.entries)
