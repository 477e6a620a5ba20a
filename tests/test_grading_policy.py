"""Rules give the points that were worked out by hand, and a rule that will not do is refused."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_grading_gradebook import SHEET, graded, refused

from w2s_lab.teach.grading.gradebook import Gradebook
from w2s_lab.teach.grading.policy import NO_TIME, UNGRADED, Policy, standings
from w2s_lab.teach.grading.standing import MISSING
from w2s_lab.teach.grading.verdict import GRADED, NEEDS_A_PERSON, REJECTED, Column, Item, Verdict

DUE = datetime(2025, 11, 21, 23, 59, tzinfo=UTC)
# 5 + 3 + 2 + 1 = 11 points; `bonus-check` and `old-check` get other parts in some tests
COLUMNS = (
    Column("a-check", 5, task="a"),
    Column("why-essay", 3, manual=True, task="why"),
    Column("bonus-check", 2, task="more"),
    Column("old-check", 1, task="old"),
)
WIDE = replace(SHEET, columns=COLUMNS)


@pytest.fixture
def book(tmp_path):
    with Gradebook(tmp_path / "book.db") as made:
        made.add_sheet(WIDE)
        yield made


def hand_in(book, student, scores=(4.0, 2.0, 1.0), received="", status=GRADED, **more):
    """A graded hand-in; scores of the three tested columns."""
    a, more_points, old = scores
    items = (
        Item("a-check", a, 5, "told"),
        Item("why-essay", 0, 3, manual=True),
        Item("bonus-check", more_points, 2),
        Item("old-check", old, 1),
    )
    sha = book.hand_in(student, "07_tiny", repr((student, scores, more)).encode(), received)
    told = Verdict(status, items, answers={"a": "code", "why-essay": "E"} | more)
    book.save(sha, "g1", told)


def points(one):
    return one.raw, one.penalty, one.score, one.max_score


# --- standings ------------------------------------------------------------------------------------


def test_without_rules_the_points_are_those_of_tests_and_people(book):
    hand_in(book, "ada")
    book.mark("ada", "07_tiny", "why-essay", 2.5, "good")
    [one] = standings(book)
    assert points(one) == (9.5, 0, 9.5, 11)  # 4 + 2.5 + 2 + 1 of 5 + 3 + 2 + 1
    assert [entry.score for entry in one.entries] == [4, 2.5, 2, 1]
    assert one.entries[0].message == "told" and one.entries[1].comment == "good"
    assert (one.status, one.waits, one.notes) == (GRADED, False, ())
    assert one.answers == {"a": "code", "why-essay": "E"} and one.isolation == "box"


def test_an_essay_without_a_score_counts_0_and_waits(book):
    hand_in(book, "ada")
    book.mark("ada", "07_tiny", "why-essay", None, "see me")
    [one] = standings(book)
    assert one.entries[1].score is None and one.entries[1].comment == "see me"
    assert one.waits
    assert points(one) == (7, 0, 7, 11)  # 4 + 2 + 1


def test_a_persons_score_counts_in_place_of_the_tests_until_the_answer_changes(book):
    hand_in(book, "ada", (1.0, 2.0, 1.0))
    book.mark("ada", "07_tiny", "a-check", 5, "a right way that the tests do not know")
    assert standings(book)[0].entries[0].score == 5
    hand_in(book, "ada", (1.5, 2.0, 1.0))
    assert standings(book)[0].entries[0].score == 5  # the code in it is the same
    hand_in(book, "ada", (1.25, 2.0, 1.0), a="other code")
    entry = standings(book)[0].entries[0]
    assert (entry.score, entry.comment) == (1.25, "")


def test_what_is_said_of_an_essay_goes_when_a_person_has_scored_it(book):
    columns = (Column("why-essay", 3, manual=True), Column("a-check", 5))
    book.add_sheet(replace(WIDE, grader="g2", columns=columns))
    sha = book.hand_in("ada", "07_tiny", b"1")
    waits = Item("why-essay", 0, 3, "A person will grade it.", manual=True)
    book.save(sha, "g2", Verdict(GRADED, (waits, Item("a-check", 1, 5, "Too low."))))

    def messages():
        return [entry.message for entry in standings(book)[0].entries]

    assert messages() == ["A person will grade it.", "Too low."]
    book.mark("ada", "07_tiny", "why-essay", None, "see me")  # a comment grades nothing
    assert messages() == ["A person will grade it.", "Too low."]
    book.mark("ada", "07_tiny", "why-essay", 0)
    book.mark("ada", "07_tiny", "a-check", 5)
    assert messages() == ["", "Too low."]  # what tests say of code stays true


def test_bonus_adds_points_that_are_not_asked_for_and_dropped_counts_for_nobody(book):
    hand_in(book, "ada", (5.0, 2.0, 0.0))
    book.mark("ada", "07_tiny", "why-essay", 3)
    [one] = standings(book, policy=Policy(bonus=("more",), dropped=("old-check",)))
    assert points(one) == (10, 0, 10, 8)  # 5 + 3 + 2 of 5 + 3
    assert [entry.bonus for entry in one.entries] == [False, False, True, False]
    assert [entry.dropped for entry in one.entries] == [False, False, False, True]
    [both] = standings(book, policy=Policy(bonus=("more",), dropped=("bonus-check", "why-essay")))
    assert points(both) == (5, 0, 5, 6)  # 5 + 0 of 5 + 1
    assert not both.entries[2].bonus


def test_a_dropped_essay_keeps_nobody_waiting(book):
    hand_in(book, "ada")
    [one] = standings(book, policy=Policy(dropped=("why",)))
    assert one.entries[1].score is None and not one.waits


def test_everybody_on_the_roster_is_there_in_order_and_those_without_work_are_missing(book):
    hand_in(book, "cem")
    found = standings(book, roster=["eve", "ben", "cem"])
    assert [(one.student, one.status) for one in found] == [
        ("ben", MISSING), ("cem", GRADED), ("eve", MISSING)]  # fmt: skip
    assert points(found[0]) == (0, 0, 0, 11) and not found[0].waits
    assert found[0].isolation == "" and found[0].notes == ()


def test_what_is_not_graded_yet_or_could_not_be_waits_for_a_person(book):
    book.hand_in("ada", "07_tiny", b"1")
    hand_in(book, "ben", status=NEEDS_A_PERSON)
    book.refuse("cem", "07_tiny", "it is a link")
    ada, ben, cem = standings(book)
    assert (ada.status, ada.notes, ada.waits) == (NEEDS_A_PERSON, (UNGRADED,), True)
    assert (ben.status, ben.raw, ben.waits) == (NEEDS_A_PERSON, 0, True)
    assert (cem.status, cem.notes, cem.waits) == (REJECTED, ("it is a link",), False)
    book.mark("cem", "07_tiny", "a-check", 4, "by mail")
    assert standings(book)[2].score == 4


def test_another_grader_gives_other_standings(book):
    hand_in(book, "ada", (4.0, 2.0, 1.0))
    book.add_sheet(replace(WIDE, grader="g2"))
    assert standings(book)[0].notes == (UNGRADED,)
    assert standings(book, grader="g1")[0].raw == 7


# --- lateness -------------------------------------------------------------------------------------

LATE = Policy(due=DUE, grace=timedelta(minutes=15), per_day=0.1, most_days=3)
# raw 7 of 11 points: a day takes 1.1
TIMES = {
    "early": ("2025-11-01T00:00+00:00", 0, 0.0),
    "on the minute": ("2025-11-21T23:59+00:00", 0, 0.0),
    "the end of the grace": ("2025-11-22T00:14:00+00:00", 0, 0.0),
    "a second later": ("2025-11-22T00:14:01+00:00", 1, 1.1),
    "a day after the grace": ("2025-11-23T00:14:00+00:00", 1, 1.1),
    "the next day begins": ("2025-11-23T00:14:01+00:00", 2, 2.2),
    "the last day": ("2025-11-25T00:14:00Z", 3, 3.3),
    "too late": ("2025-11-25T00:14:01Z", 4, 7.0),
    "in another zone, in time": ("2025-11-22T01:14:00+01:00", 0, 0.0),
    "in another zone, late": ("2025-11-21T19:14:01-05:00", 1, 1.1),
}


@pytest.mark.parametrize(("received", "days", "penalty"), TIMES.values(), ids=TIMES)
def test_each_started_day_after_the_grace_costs_its_share(book, received, days, penalty):
    hand_in(book, "ada", received=received)
    [one] = standings(book, policy=LATE)
    assert (one.days_late, one.received) == (days, received)
    assert points(one) == (7, penalty, pytest.approx(7 - penalty), 11)


def test_a_penalty_is_of_the_points_asked_for_and_never_more_than_there_are(book):
    day_late = "2025-11-22T12:00+00:00"
    hand_in(book, "ada", (5.0, 2.0, 0.0), day_late)
    hand_in(book, "ben", (0.5, 0.0, 0.0), day_late)
    rules = replace(LATE, bonus=("more",), dropped=("old",))
    ada, ben = standings(book, policy=rules)
    assert points(ada) == (7, 0.8, 6.2, 8)  # a tenth of 5 + 3, not of the 7 reached
    assert points(ben) == (0.5, 0.5, 0, 8)


def test_a_floor_is_what_lateness_leaves_as_far_as_it_was_reached():
    rules = Policy(due=DUE, per_day=0.3, most_days=2, floor=0.5)
    # of 10 points 5 are left at least; raw 8: 8 − 3 = 5, then 8 − 6 = 2 < 5, then the floor
    assert [rules.penalty(8, 10, days) for days in range(4)] == [0, 3, 3, 3]
    assert [rules.penalty(4, 10, days) for days in range(4)] == [0, 0, 0, 0]  # 4 < 5 stays
    gone = replace(rules, floor=0)
    assert [gone.penalty(8, 10, days) for days in range(4)] == [0, 3, 6, 8]
    assert Policy(due=DUE, most_days=0).penalty(8, 10, 1) == 8
    assert Policy(due=DUE).penalty(8, 10, 9) == 0


@given(st.floats(0, 20), st.floats(0.1, 20), st.floats(0, 1), st.floats(0, 1), st.integers(0, 9))
def test_a_later_day_never_brings_more_points_and_no_day_takes_more_than_all(
    raw, most, per_day, floor, last
):
    rules = Policy(due=DUE, per_day=per_day, most_days=last, floor=floor)
    penalties = [rules.penalty(raw, most, days) for days in range(12)]
    assert penalties == sorted(penalties)
    assert penalties[0] == 0 and penalties[-1] <= raw


def test_an_extension_is_another_due_date_for_one_student(book):
    late = "2025-11-24T10:00+00:00"
    hand_in(book, "ada", received=late), hand_in(book, "ben", received=late)
    rules = replace(LATE, extensions={"ada": DUE + timedelta(days=2)})
    ada, ben = standings(book, policy=rules)
    assert (ada.days_late, ben.days_late) == (1, 3)


def test_an_unknown_time_counts_as_in_time_and_is_told(book):
    for student, received in (("ada", ""), ("ben", "yesterday"), ("cem", "2025-12-01T10:00")):
        hand_in(book, student, received=received)
    for one in standings(book, policy=LATE):
        assert (one.days_late, one.penalty, one.notes) == (0, 0, (NO_TIME,))
    assert standings(book)[0].notes == ()  # nothing is due


def test_a_day_has_24_hours_also_when_clocks_change():
    berlin = ZoneInfo("Europe/Berlin")  # back from 3:00 to 2:00 on 26 October 2025
    rules = Policy(due=datetime(2025, 10, 25, 12, tzinfo=berlin), per_day=0.1)  # 10:00 UTC
    # 11:00 in Berlin is 10:00 UTC then: 24 hours; by the clocks it would be 23
    assert rules.days_late("ada", "2025-10-26T11:00+01:00") == 1
    assert rules.days_late("ada", "2025-10-26T11:01+01:00") == 2
    assert rules.days_late("ada", "2025-10-26T10:01+00:00") == 2


@given(st.integers(-10_000, 10_000), st.integers(-14 * 60, 14 * 60), st.integers(-14 * 60, 14 * 60))
def test_the_zone_in_which_a_time_is_written_changes_nothing(minutes, there, here):
    received = DUE + timedelta(minutes=minutes)
    moved = received.astimezone(timezone(timedelta(minutes=there))).isoformat()
    due = DUE.astimezone(timezone(timedelta(minutes=here)))
    assert Policy(due=due).days_late("ada", moved) == max(0, -(-minutes // 1440))


# --- rules that do not fit ------------------------------------------------------------------------


def test_rules_for_columns_and_students_that_are_not_there_are_refused(book):
    hand_in(book, "ada")
    assert refused(standings, book, policy=Policy(bonus=("a-chek",), source="p.yaml")) == (
        "p.yaml: `bonus` names 'a-chek', which '07_tiny' does not have; choose from: a, a-check, "
        "bonus-check, more, old, old-check, why, why-essay"
    )
    rules = Policy(due=DUE, extensions={"eve": DUE})
    assert "`extensions` names 'eve', who is not" in refused(standings, book, None, rules, ["ada"])
    assert standings(book, policy=rules)[0].score == 7  # without a roster nobody can tell
    assert "has no assignment '09'" in refused(standings, book, "09")


def test_a_due_date_without_a_zone_is_refused():
    assert "has no time zone; give it one" in refused(Policy, due=datetime(2025, 11, 21))


def test_the_order_of_hand_ins_and_roster_changes_no_standing(tmp_path):
    names, found = [f"s{n:02}" for n in range(12)], []
    for seed in (1, 2):
        random.Random(seed).shuffle(names)
        with Gradebook(tmp_path / f"{seed}.db") as book:
            book.add_sheet(SHEET)
            for name in names:
                if name < "s08":
                    graded(book, name, name.encode(), score=1.5)
            found.append(standings(book, roster=names))
    assert found[0] == found[1]
    assert [one.status for one in found[0]] == [GRADED] * 8 + [MISSING] * 4
