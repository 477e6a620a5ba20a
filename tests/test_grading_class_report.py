"""The class report's numbers are those of the arithmetic, and no markup in it is a student's."""

import base64
import math
import re
import struct
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_grading_feedback import ATTACKS, Page, filled, hostile

from w2s_lab import exercise
from w2s_lab.teach.grading import class_report as module
from w2s_lab.teach.grading.class_report import (
    Misconception,
    class_report,
    item_statistics,
    misconceptions,
    percent,
    wilson,
)
from w2s_lab.teach.grading.similarity import NOTE, TITLE, Likeness, Pair
from w2s_lab.teach.grading.standing import MISSING, Entry, Standing
from w2s_lab.teach.grading.verdict import (
    GRADED,
    NEEDS_A_PERSON,
    REJECTED,
    TRUST,
    Case,
    Column,
    Sheet,
)

A = Column("a-check", 2, task="a", title="Ratios")
B = Column("b-hidden", 4, task="b", title="Curves", hidden=True)
E = Column("e-essay", 4, manual=True, task="e", title="Desk")
SHEET = Sheet("05_cascading", "grader", (A, B, E))


def student(name, *scores, columns=(A, B, E), marks=None, **changes):
    """A graded student with these scores in these columns."""
    pairs = zip(columns, scores, strict=False)
    entries = tuple(Entry(c, s, **(marks or {}).get(c.grade_id, {})) for c, s in pairs)
    total = sum(s or 0 for s in scores)
    told = {"status": GRADED, "raw": total, "score": total, "max_score": 10, **changes}
    return Standing(name, "05_cascading", entries=entries, **told)


def page(standings, *pairs):
    return Page(class_report(standings, SHEET, pairs))


# --- item statistics ------------------------------------------------------------------------------

FOUR = [
    student("s1", 2, 4),
    student("s2", 1, 2),
    student("s3", 0, 1),
    student("s4", 2, 3),
]


def test_difficulty_is_the_mean_share_of_points():
    a, b = item_statistics(FOUR)
    assert (a.column, a.count, b.column, b.count) == (A, 4, B, 4)
    assert a.share == pytest.approx((2 + 1 + 0 + 2) / 4 / 2)  # 0.625
    assert b.share == pytest.approx((4 + 2 + 1 + 3) / 4 / 4)  # 0.625
    assert (a.full, a.zero, b.full, b.zero) == (0.5, 0.25, 0.25, 0)


def test_discrimination_is_the_correlation_with_the_other_columns():
    # deviations of a: 0.75, −0.25, −1.25, 0.75; of b: 1.5, −0.5, −1.5, 0.5
    # products 1.125 + 0.125 + 1.875 + 0.375 = 3.5; squares 2.75 and 5; 3.5 / √13.75 = 0.94388
    a, b = item_statistics(FOUR)
    assert a.discrimination == pytest.approx(0.94388, abs=1e-5)
    assert b.discrimination == a.discrimination  # of two columns each is the other's rest


def test_the_rest_is_without_the_column_itself():
    # rest of a: b + e = 4, 4, 5, 5 against 0, 0, 1, 1: exactly 1
    # rest of b: a + e = 3, 2, 3, 4 against 1, 2, 3, 2: products of deviations 0, 0, 0, 0: exactly 0
    rows = [(0, 1, 3), (0, 2, 2), (1, 3, 2), (1, 2, 3)]
    a, b, e = item_statistics([student(f"s{n}", *row) for n, row in enumerate(rows)])
    assert a.discrimination == pytest.approx(1)
    assert b.discrimination == pytest.approx(0, abs=1e-12)
    # rest of e: a + b = 1, 2, 4, 3 (mean 2.5) against 3, 2, 2, 3 (mean 2.5):
    # −0.75 + 0.25 − 0.75 + 0.25 = −1; squares 5 and 1; −1 / √5 = −0.44721
    assert e.discrimination == pytest.approx(-0.44721, abs=1e-5)


def test_an_interval_is_wilsons():
    # n = 4, share 0.625, z² = 3.841459: centre (0.625 + 0.480182) / 1.960365 = 0.563764,
    # half width 1.959964 · √(0.234375 / 4 + 3.841459 / 64) / 1.960365 = 0.344337
    a = item_statistics(FOUR)[0]
    assert (a.low, a.high) == pytest.approx((0.219427, 0.908101), abs=1e-5)


def test_a_class_that_has_everything_right_is_not_certain():
    low, high = wilson(1, 10)
    assert low == pytest.approx(10 / (10 + 3.841459))  # n / (n + z²)
    assert high == pytest.approx(1) and high <= 1
    assert wilson(0, 10) == pytest.approx((0, 1 - low))


@given(st.floats(0, 1), st.integers(1, 1_000))
def test_an_interval_holds_the_share_and_stays_within_0_and_1(share, count):
    low, high = wilson(share, count)
    assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1


@pytest.mark.parametrize(
    "rows",
    [
        [(1, 1), (1, 2), (1, 3)],  # nobody differs in a, nor in the rest of b
        [(0, 1), (1, 2)],  # two points lie on every line
        [(0, 1)],
    ],
)
def test_discrimination_is_undefined_where_it_says_nothing(rows):
    found = item_statistics([student(f"s{n}", *row) for n, row in enumerate(rows)])
    assert [item.discrimination for item in found] == [None, None]
    assert all(item.share is not None for item in found)


def test_rounding_is_no_difference():
    # 0.1 + 0.2 is not 0.3 to a computer
    parts = (Column("p", 1), Column("q", 1), Column("r", 1))
    rows = [(0, 0.1, 0.2), (1, 0.3, 0.0), (0, 0.2, 0.1)]
    found = item_statistics([student(f"s{n}", *row, columns=parts) for n, row in enumerate(rows)])
    assert found[0].discrimination is None
    full = student("s", 0.3 - 1e-12, columns=(Column("p", 0.3),))
    assert item_statistics([full])[0].full == 1


def test_only_graded_students_and_columns_with_points_count():
    zero = Column("z", 0)
    row = student("s1", 2, 4, 0, columns=(A, B, zero))
    others = [replace(row, status=status) for status in (MISSING, REJECTED, NEEDS_A_PERSON)]
    found = item_statistics([row, *others])
    assert [(item.column.grade_id, item.count) for item in found] == [
        ("a-check", 1),
        ("b-hidden", 1),
    ]
    assert item_statistics(others) == item_statistics([]) == []


def test_what_waits_is_left_out_of_its_column_and_of_everybodys_rest():
    rows = [(0, 1, None), (1, 2, 4), (2, 3, 0), (1, 2, 2)]
    standings = [student(f"s{n}", *row) for n, row in enumerate(rows)]
    a, b, e = item_statistics(standings)
    assert (a.discrimination, b.discrimination) == pytest.approx((1, 1))  # e would spoil it
    assert e.count == 3 and e.share == pytest.approx((4 + 0 + 2) / 3 / 4)
    # rest of e: a + b = 3, 5, 3 against 4, 0, 2: deviations −2/3, 4/3, −2/3 and 2, −2, 0:
    # −4/3 − 8/3 = −4; squares 8/3 and 8; −4 / √(64/3) = −0.86603
    assert e.discrimination == pytest.approx(-0.86603, abs=1e-5)
    waits = item_statistics([student(f"s{n}", 1, 2, None) for n in range(3)])[2]
    assert (waits.count, waits.share, waits.low, waits.full) == (0, None, None, None)


def test_a_dropped_column_has_statistics_and_is_in_nobodys_rest():
    rows = [(0, 1, 4), (1, 2, 0), (2, 3, 2), (1, 2, 4)]
    marks = {"e-essay": {"dropped": True}, "b-hidden": {"bonus": True}}
    a, b, e = item_statistics([student(f"s{n}", *r, marks=marks) for n, r in enumerate(rows)])
    assert (a.discrimination, b.discrimination) == pytest.approx((1, 1))
    assert e.dropped and e.discrimination is not None
    assert b.bonus and not a.bonus


def test_more_than_all_points_is_all_points():
    (item,) = item_statistics([student("s1", 3), student("s2", 1)])
    assert (item.share, item.full) == (0.75, 0.5)  # (1 + 0.5) / 2


# --- misconceptions -------------------------------------------------------------------------------


def told(name, *said, column=B, status=GRADED):
    cases = tuple(Case(f"case {n}", 0, 1, words) for n, words in enumerate(said))
    return Standing(name, "x", status, (Entry(column, 0, cases=cases),))


def test_equal_messages_of_a_task_are_one_whatever_case_and_column_says_them():
    visible = replace(B, grade_id="b-check", hidden=False)
    both = replace(told("s3", "Sum.", "Too low."), entries=(
        Entry(visible, 0, cases=(Case("seen", 0, 1, "Too low."),)),
        *told("s3", "Sum.", "Too low.").entries,
    ))  # fmt: skip
    standings = [
        both,
        replace(told("s1", "", "Too low.", "Mean."), entries=(
            Entry(visible, 1, cases=(Case("seen", 1, 1),)),
            *told("s1", "", "Too low.", "Mean.").entries,
        )),
        told("s4", "Sum.", status=REJECTED),
    ]  # fmt: skip
    assert misconceptions(standings) == [
        # s3 got it in two cases, s1 in one of them
        Misconception(visible, "Too low.", ("case 1", "seen"), 2, 2),
        Misconception(visible, "Sum.", ("case 0",), 1, 2),
        Misconception(visible, "Mean.", ("case 2",), 1, 2),
    ]


def test_the_same_words_in_two_tasks_are_two_messages():
    standings = [told("s1", "No."), told("s2", "No.", column=A), told("s3", "", column=A)]
    found = misconceptions(standings)
    assert [(one.column, one.count, one.of) for one in found] == [(B, 1, 1), (A, 1, 2)]


def test_a_student_counts_once_for_a_message():
    twice = (Case("c", 0, 1, "No."), Case("c", 0, 1, "No."))
    standings = [Standing("s", "x", GRADED, (Entry(A, 0, cases=twice),))]
    assert misconceptions(standings) == [Misconception(A, "No.", ("c",), 1, 1)]
    assert misconceptions([told("s", "")]) == misconceptions([]) == []


def test_a_test_without_cases_is_heard_and_an_essay_is_not():
    entries = (Entry(A, 0, message="You sum."), Entry(E, None, message="A person will grade it."))
    holds = (Entry(A, 2), Entry(E, None))
    standings = [Standing("s", "x", GRADED, entries), Standing("t", "x", GRADED, holds)]
    assert misconceptions(standings) == [Misconception(A, "You sum.", (), 1, 2)]


def test_sentences_of_authors_come_first_however_rare_they_are():
    generic = "The result is not the expected one."
    standings = [told("s1", generic), told("s2", generic), told("s3", "You sum."), told("s4", "")]
    found = misconceptions(standings)
    assert [(one.said, one.count, one.of) for one in found] == [
        ("You sum.", 1, 4),
        (generic, 2, 4),
    ]
    said = page(standings).text
    first, _, second = said.partition("Sentences by the author of the tests")[2].partition(
        "The sentences of the grader itself"
    )
    assert "You sum. Curves 1 of 4 25 %" in first and generic not in first
    assert f"{generic} Curves case 0 2 of 4 50 %" in second


def said_by_marks():
    """What a test cell says by itself of answers of every kind, visible and hidden."""

    def stops(error):
        raise error

    def undefined():
        return nobody_defined_this  # noqa: F821

    answers = [None, "", len, "3", {}, [1, 2], math.nan, 2, 1.0000001, [[1], [1, 2]]]
    calls = [lambda got=got: got for got in answers]
    calls += [lambda e=e: stops(e) for e in (ValueError("x"), NotImplementedError(), OSError())]
    for hidden in (False, True):
        marks = exercise.Marks("t", hidden=hidden)
        for call in (*calls, undefined):
            with marks.case("near"):
                marks.near(call(), 1, tolerance=1e-9)
            with marks.case("same"):
                marks.same(call(), [7])
        yield from (case.said for case in marks.cases if case.said)


def test_what_the_grader_says_by_itself_is_generic_and_what_an_author_wrote_is_not(capsys):
    own = {*said_by_marks(), "A hidden test does not hold.", "No answer came back."}
    own |= {"ValueError: x (at `f()`)", "KeyError", "This does not hold: assert f(1) == 2"}
    own |= {"Your code could not be tested: it took too long.", "Part of it holds."}
    assert len(own) > 15
    for said in own:
        assert Misconception(A, said, (), 1, 1).generic, said
    for said in (
        "It is defined as long as there is a gap.",
        "Your code divides by the sum.",
        "Errors of the supervisor are asked for.",
        "This case is at fault, not your answer: tell your teacher.",
        "1 would mean that it reached the ceiling.",
    ):
        assert not Misconception(A, said, (), 1, 1).generic, said


def test_a_message_of_megabytes_is_told_apart_at_once():
    assert not Misconception(A, "It is ;" + " ;" * 10**6, (), 1, 1).generic


# --- the page -------------------------------------------------------------------------------------


def test_everybody_is_in_one_row_of_the_statuses():
    standings = [
        *FOUR,
        student("w", 1, 1, None),
        student("r", status=REJECTED, notes=("It is a picture.",)),
        student("m", status=MISSING),
        student("n", status=NEEDS_A_PERSON, isolation=TRUST),
        student("o", status="odd"),
    ]
    said = page(standings).text
    assert "9 students, 3 graded cells, 10 points asked for" in said
    assert (
        "graded 4 graded but for what waits for a person 1 "
        "rejected: the file could not be graded 1 "
        "the grader could not finish: a person has to look 1 nothing handed in 1 odd 1"
    ) in said
    assert "Without a box: the code of 1 student ran on this machine in full trust" in said
    assert "r rejected It is a picture." in said and "m missing" in said
    assert "Desk (e-essay) 1 student w" in said  # who waits, and for what
    assert "Without a box" not in page(FOUR).text


def test_the_page_shows_the_numbers():
    said = page([*FOUR, told("s5", "You divide by the sum.")]).text
    # 5 students with b: (4 + 2 + 1 + 3 + 0) / 5 / 4 = 50 %
    assert "Curves (b-hidden) 4 5 50 %" in said
    assert "You divide by the sum. Curves 1 of 5 20 %" in said
    # points 6, 3, 1, 5: quartiles 2.5, 4 and 5.25, mean 3.75
    said = page(FOUR).text
    assert "lowest 1 lower quartile 2.5 median 4 upper quartile 5.25 highest 6 mean 3.75" in said
    assert "Ratios (a-check) 2 4 62 % 22 % to 91 % 0.94 50 % 25 %" in said


def test_late_students_are_listed_the_latest_first():
    standings = [
        student("s1", 2, days_late=1, penalty=0.5, received="2025-03-02T10:00:00+00:00"),
        student("s2", 2, days_late=3, penalty=1.5, received="2025-03-04T09:30:00+00:00"),
        student("s3", 2),
    ]
    said = page(standings).text
    assert "s2 4 March 2025, 09:30 UTC 3 1.5 s1 2 March 2025, 10:00 UTC 1 0.5" in said
    assert "s3" not in said
    assert "Nobody was late." in page(FOUR).text


def test_pairs_are_listed_for_review_and_accuse_nobody():
    pair = Pair(("ada", "ben"), (Likeness("curve", 12, 15, 20), Likeness("desk", 8, 10, 16)))
    said = page(FOUR, pair).text
    assert TITLE in said and NOTE in said
    assert "ada and ben 80 % curve : 12 of 15; 60 % of both together desk : 8 of 10; 50 %" in said
    assert "No pairs are listed." in page(FOUR).text and NOTE in page(FOUR).text


def test_the_figure_is_a_png_with_words():
    tag = next(dict(attrs) for tag, attrs in page(FOUR).tags if tag == "img")
    assert tag["alt"] == (
        "Histogram of 4 scores in steps of 1 point, median 4: "
        "1 with 1, 1 with 3, 1 with 5, 1 with 6."
    )
    png = base64.b64decode(tag["src"].removeprefix("data:image/png;base64,"), validate=True)
    assert png.startswith(b"\x89PNG")
    # a PNG's width and height lie at bytes 16 to 24
    assert struct.unpack(">II", png[16:24]) == (int(tag["width"]), int(tag["height"]))


@pytest.mark.parametrize(
    ("scores", "most", "words"),
    [
        ([0, 0], 0, "in steps of 1 point, median 0: 2 with 0."),
        ([19, 20], 20, "in steps of 1 point, median 19.5: 1 with 19, 1 with 20."),
        ([9.5, 10], 10, "in steps of 0.5 points, median 9.75: 1 with 9.5, 1 with 10."),
        # 2 does not divide 39 and 9: the last step, from 38 to 40, has full marks
        ([39, 40, 9], 40, "in steps of 2 points, median 39: 1 from 8, 2 from 38."),
        ([20, 20.5], 20, "in steps of 2 points, median 20.25: 2 from 20."),
        ([0.3, 0.1 + 0.2], 5, "in steps of 0.25 points, median 0.3: 2 from 0.25."),
        ([5_000, 1_000], 5_000, "in steps of 250 points, median 3000: 1 with 1000, 1 with 5000."),
    ],
)
def test_each_score_is_in_one_bar(scores, most, words):
    standings = [student(f"s{n}", score=s, max_score=most) for n, s in enumerate(scores)]
    alt = next(dict(attrs)["alt"] for tag, attrs in page(standings).tags if tag == "img")
    assert alt.endswith(words)


@pytest.mark.parametrize(
    ("scores", "most", "ends"),
    # a bar over each value reaches half a step beyond it; other bars end with the points
    [([20, 3], 20, (-0.5, 20.5)), ([39, 40, 9], 40, (0, 40)), ([0.3, 5], 5, (0, 5))],
)
def test_all_points_are_on_the_axis_and_its_numbers_are_whole(monkeypatch, scores, most, ends):
    from w2s_lab import plots

    drawn = []
    described = plots.described
    monkeypatch.setattr(plots, "described", lambda *told: drawn.append(told[0]) or described(*told))
    page([student(f"s{n}", score=s, max_score=most) for n, s in enumerate(scores)])
    [axis] = drawn[0].axes
    assert axis.get_xlim() == ends
    assert sum(bar.get_height() for bar in axis.patches) == len(scores)
    assert all(ends[0] <= bar.get_x() <= ends[1] - bar.get_width() for bar in axis.patches)
    assert all(float(tick).is_integer() for tick in axis.get_xticks())


@pytest.mark.parametrize("standings", [[], [student("m", status=MISSING)]])
def test_a_class_without_a_grade_has_a_page(standings):
    found = page(standings)
    assert "Nobody has been graded yet." in found.text
    assert "img" not in {tag for tag, _ in found.tags}


def test_the_page_needs_nothing_else_and_is_in_order():
    html = class_report([*FOUR, student("w", 1, 1, None, days_late=1)], SHEET)
    found = Page(html)
    assert {tag for tag, _ in found.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "img"),
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "div", "bdi", "details"),
        *("summary", "strong", "br"),
    }
    assert "default-src 'none'; style-src 'sha256-" in html and "img-src data:;" in html
    assert found.levels().count(1) == 1
    assert all(b <= a + 1 for a, b in zip(found.levels(), found.levels()[1:], strict=False))
    assert all(dict(a).get("scope") in ("col", "row") for t, a in found.tags if t == "th")
    assert all("alt" in dict(attrs) for tag, attrs in found.tags if tag == "img")


def test_long_tables_are_cut_with_a_remark():
    said = page([told(f"s{n}", f"It is {n}.") for n in range(70)]).text
    assert "Rarer messages that are not shown: 20." in said
    pairs = [Pair((f"a{n}", f"b{n}"), (Likeness("t", 9, 9, 9),)) for n in range(51)]
    assert "Pairs with less in common that are not shown: 1." in page(FOUR, *pairs).text


def hostile_class(text):
    one = filled(text)
    others = [replace(one, status=status) for status in (REJECTED, MISSING, "s" + text())]
    late = replace(one, student="l" + text(), days_late=1, isolation=TRUST)
    pair = Pair(("a" + text(), "b" + text()), (Likeness("t" + text(), 9, 9, 9),))
    sheet = Sheet("n" + text(), "g" + text(), tuple(e.column for e in one.entries))
    return class_report([one, late, *others], sheet, [pair])


@pytest.fixture(scope="module")
def no_figure():
    """A figure takes most of the time, and nothing of it is text of a student's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_picture", lambda graded: ("", "A histogram."))
        yield


@settings(max_examples=40)
@given(st.data())
def test_no_text_adds_a_tag_or_an_attribute_or_anything_unseen(no_figure, data):
    html = hostile_class(lambda: data.draw(hostile))
    html.encode()
    assert Page(html).tags == Page(hostile_class(lambda: "")).tags
    kinds = {unicodedata.category(char) for char in html if char not in "\n\t\u200c\u200d"}
    assert not kinds & {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}


def test_all_attacks_at_once_are_only_text():
    html = hostile_class(lambda: "".join(ATTACKS))
    assert [t for t, _ in Page(html).tags] == [t for t, _ in Page(hostile_class(lambda: "")).tags]
    assert not re.search(r"<script|onerror=alert\(1\)>|<b>|<i>", html)


def test_a_page_stays_small_when_texts_are_huge():
    assert len(hostile_class(lambda: "<\u202e" * 300_000)) < 500_000


@pytest.mark.parametrize(
    ("share", "text"), [(None, "–"), (0, "0 %"), (0.625, "62 %"), (1, "100 %")]
)
def test_a_share_is_shown_in_percent(share, text):
    assert percent(share) == text
