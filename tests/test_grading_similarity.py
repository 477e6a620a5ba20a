"""Answers that were copied are found, others are not, and no answer can stop the search."""

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading import similarity
from w2s_lab.teach.grading.similarity import Likeness, Pair, fingerprints, similar

STARTER = '''\
def deferral_points(confidence, small, large, small_cost, large_cost):
    """Mean score and mean cost when 0, 1, ... n of the least sure queries are passed on."""
    # YOUR CODE HERE
    raise NotImplementedError()
'''
ADA = '''\
def deferral_points(confidence, small, large, small_cost, large_cost):
    """Mean score and mean cost when 0, 1, ... n of the least sure queries are passed on."""
    n = len(confidence)
    # least sure first
    order = np.argsort(confidence, kind="stable")
    gained = np.cumsum(large[order] - small[order])
    quality = (small.sum() + np.append(0.0, gained)) / n
    cost = small_cost + large_cost * np.arange(n + 1) / n
    return quality, cost
'''
# Ada's with other names, other comments in other places, a docstring, annotations, other quotes
BEN = """\
def deferral_points(sure: list, little, big, cheap: float, dear: float) -> tuple:
    # first we count
    count = len(sure)
    ranking = np.argsort(sure, kind='stable')  # sorts
    plus = np.cumsum(big[ranking] - little[ranking])
    '''the mean'''
    score = (little.sum() + np.append(0.0, plus)) / count

    # and what it costs
    price = cheap + dear * np.arange(count + 1) / count
    return score, price
"""
CLEO = '''\
def deferral_points(confidence, small, large, small_cost, large_cost):
    """Mean score and mean cost when 0, 1, ... n of the least sure queries are passed on."""
    quality, cost = [], []
    pairs = sorted(zip(confidence, small, large), key=lambda row: row[0])
    for passed in range(len(pairs) + 1):
        total = 0.0
        for place, (sure, a, b) in enumerate(pairs):
            total += b if place < passed else a
        quality.append(total / len(pairs))
        cost.append(small_cost + large_cost * passed / len(pairs))
    return np.array(quality), np.array(cost)
'''
BROKEN = "\n%time x = (\n"  # does not parse

ESSAY = (
    "The weak labels are wrong wherever a paper is long, because the opening was cut after a "
    "hundred words. A student that is trained on them learns this fault as well, and the more "
    "passes it makes over the data the better it learns it. I would hold back gold labels for "
    "long papers, compare the two groups, and stop as soon as the gap between them grows."
)
OTHER_ESSAY = (
    "Money is my first concern: nobody paid for review, so nobody will notice when the scores "
    "drift. Before launch I want an owner, a threshold at which we switch back, and one sample "
    "each week that an expert reads without knowing which model wrote it. Without those three "
    "things no accuracy figure would convince me, however narrow its interval might be."
)


def pairs(texts, starter="", **options):
    found = similar({who: {"t": text} for who, text in texts.items()}, {"t": starter}, **options)
    assert all(pair.students == tuple(sorted(pair.students)) for pair in found)
    return found


def who(found):
    return [pair.students for pair in found]


# --- code -----------------------------------------------------------------------------------------


def test_renamed_variables_and_moved_comments_do_not_hide_a_copy():
    (pair,) = pairs({"ben": BEN, "ada": ADA, "cleo": CLEO}, STARTER)
    assert pair.students == ("ada", "ben")
    assert pair.share == 1
    (task,) = pair.tasks
    assert (task.task, task.containment, task.jaccard) == ("t", 1, 1)
    assert task.shared == task.smaller == task.either == pair.shared >= 20


def test_independent_solutions_share_less_than_a_third():
    assert pairs({"ada": ADA, "cleo": CLEO}, STARTER, least=1 / 3) == []


def test_starters_that_were_left_alone_are_not_alike():
    untouched = {f"s{n}": STARTER for n in range(4)}
    assert pairs(untouched, STARTER) == []
    long = "\n".join(f"x{n} = f{n}(y{n}[{n}:], k{n}={n})" for n in range(40))
    assert who(pairs({"ada": long, "ben": long})) == [("ada", "ben")]
    assert pairs({"ada": long, "ben": long}, long) == []


def test_what_the_starter_gives_does_not_make_two_solutions_alike():
    given = "\n".join(f"x{n} = g{n}(y{n}[1:], k{n}=0)" for n in range(40)) + "\n"
    assert pairs({"ada": given + ADA, "cleo": given + CLEO}, given) == []
    assert who(pairs({"ada": given + ADA, "cleo": given + CLEO})) == [("ada", "cleo")]


def test_a_copy_with_additions_is_contained_and_not_equal():
    (pair,) = pairs({"ada": ADA, "ben": BEN + CLEO}, STARTER)
    assert pair.share > 0.9
    assert pair.tasks[0].jaccard < 0.7


def test_shares_are_those_of_the_counts():
    # 12 of the smaller 15 and of 20 different ones; with a second task 12 + 8 of 15 + 10
    first, second = Likeness("a", 12, 15, 20), Likeness("b", 8, 10, 16)
    assert (first.containment, first.jaccard) == (0.8, 0.6)
    pair = Pair(("ada", "ben"), (first, second))
    assert (pair.shared, pair.share) == (20, 0.8)


def test_a_short_answer_gives_no_pair():
    short = "def share(a, b):\n    return a.sum() / b.sum()\n"
    assert pairs({"ada": short, "ben": short}) == []


def test_what_a_large_part_of_the_class_writes_gives_no_pair():
    few = {f"s{n}": ADA for n in range(5)}
    assert len(pairs(few, STARTER)) == 10  # 5 · 4 / 2
    assert pairs(few | {"s5": ADA}, STARTER) == []
    # 6 of 120 are 5 %, not more; 7 are
    others = {f"x{n}": f"y = {'f(' * 20}{n}{')' * 20}" for n in range(114)}
    assert len(pairs(few | {"s5": ADA} | others, STARTER)) == 15
    others.pop("x0")
    assert pairs(few | {"s5": ADA, "s6": ADA} | others, STARTER) == []


def test_names_that_the_code_did_not_make_are_told_apart():
    first = "\n".join(f"x{n} = np.{name}(y{n}, 3)" for n, name in enumerate(["sum", "dot"] * 9))
    second = first.replace("np.sum", "np.max").replace("np.dot", "np.min")
    assert not fingerprints(first) & fingerprints(second)


@pytest.mark.parametrize(
    ("code", "same"),
    [
        ("y = f(x[7:], 'a', 1e-9, None)", "z = f(x[8:], 'b', 1e-3, None)"),
        ("def g(a: int) -> int:\n 'doc'\n return h(a.b, k=a)", "def q(c):\n return h(c.b, k=c)"),
        ("try:\n f()\nexcept E as e:\n g(e)", "try:\n f()\nexcept E as x:\n g(x)"),
        ("class A:\n def b(s): return s.b(1)", "class Q:\n def c(t): return t.c(1)"),
        ("import numpy as np\nnp.sum(x)", "import numpy as n\nn.sum(x)"),
    ],
)
def test_looks_change_no_item(code, same):
    assert list(similarity._items(code)) == list(similarity._items(same))


@pytest.mark.parametrize(
    ("code", "other"),
    [("x[1:]", "x[:1]"), ("x[0]", "x[1]"), ("a + b", "a - b"), ("f(True)", "f(None)")],
)
def test_structure_changes_items(code, other):
    assert list(similarity._items(code)) != list(similarity._items(other))


def test_the_items_of_a_line_are_its_nodes_from_left_to_right():
    # y is the code's own name; np, sum and x are not; 2 is telling and 0.5 is not
    assert list(similarity._items("y = np.sum(x[2:]) * 0.5  # half")) == (
        ["Module", "Assign", "Name", "BinOp", "Call", "Attribute sum", "Name np", "Subscript"]
        + ["Name x", "Slice lower", "Constant 2", "Mult", "Constant float"]
    )


# --- code that does not parse ---------------------------------------------------------------------


def test_code_that_does_not_parse_is_compared_by_its_tokens():
    renamed = re.sub(r"\b(small|large|confidence|order|gained|n|cost)\b", r"my_\1", ADA)
    renamed = renamed.replace("    # least sure first\n", "").replace(
        "return", "# done\n    return"
    )
    broken = {"ada": ADA + BROKEN, "ben": renamed + BROKEN, "cleo": CLEO + BROKEN}
    assert who(pairs(broken, STARTER)) == [("ada", "ben")]


def test_the_tokens_of_a_line_are_its_kinds():
    assert list(similarity._items("if x.sum(a_1) > 0x1F: 'q\\'' ) # no")) == (
        ["if", "name", ".sum", "(", "name", ")", ">", "number", ":", "text", ")"]
    )


# --- essays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("starter", ["YOUR ANSWER HERE", ""])
def test_essays_are_compared_by_their_words(starter):
    copied = ESSAY.upper().replace(" ", "\n").replace(",", " –") + " That is what I think."
    found = pairs({"ada": ESSAY, "ben": copied, "cleo": OTHER_ESSAY}, starter)
    assert who(found) == [("ada", "ben")]
    assert found[0].share > 0.9


def test_a_task_can_be_named_an_essay():
    # a single word, which is Python too
    found = pairs({"ada": ESSAY, "ben": ESSAY}, "Answer", essays=["t"])
    assert found[0].shared == len(fingerprints(ESSAY, essay=True))


def test_a_remark_of_twenty_words_gives_no_pair():
    short = " ".join(ESSAY.split()[:20])
    assert pairs({"ada": short, "ben": short}, "YOUR ANSWER HERE") == []


# --- winnowing ------------------------------------------------------------------------------------


def test_a_shared_stretch_of_eight_words_is_always_found():
    # runs of 5 words, windows of 4: 5 + 4 − 1 = 8 words hold one whole window
    draw = random.Random(0)
    for _ in range(200):
        stretch = " ".join(draw.choices("abcdefghij", k=8))
        texts = []
        for _ in range(2):
            before, after = ([f"w{draw.random()}" for _ in range(9)] for _ in range(2))
            texts.append(" ".join([*before, stretch, *after]))
        first, second = (fingerprints(text, essay=True) for text in texts)
        assert first & second


def test_four_shared_words_are_never_found():
    first, second = (fingerprints(f"{a} one two three four {a}", essay=True) for a in "pq")
    assert first and second and not first & second


def test_of_many_runs_about_two_in_five_are_kept():
    # the density of winnowing is 2 / (window + 1) = 2 / 5 (Schleimer et al., section 3)
    words = " ".join(f"{random.Random(n).randrange(10**8):08}" for n in range(2_000))
    assert 0.36 < len(fingerprints(words, essay=True)) / 1_996 < 0.44


def test_too_little_for_one_run_has_no_fingerprint():
    assert fingerprints("x = 1") == fingerprints("") == fingerprints("a b c d", essay=True) == set()


# --- the list -------------------------------------------------------------------------------------


def test_tasks_of_one_pair_come_together_and_strong_evidence_comes_first():
    answers = {
        "ada": {"one": ADA, "two": CLEO},
        "ben": {"one": BEN, "two": CLEO},
        "cleo": {"one": CLEO, "essay": ESSAY},
        "dan": {"essay": ESSAY},
    }
    first, second = similar(answers, {"one": STARTER, "two": STARTER, "essay": "YOUR ANSWER HERE"})
    assert first.students == ("ada", "ben")
    assert [task.task for task in first.tasks] == ["one", "two"]
    assert second.students == ("cleo", "dan")
    assert first.shared > second.shared
    backwards = {who: answers[who] for who in reversed(answers)}
    assert who(similar(backwards, {"one": STARTER, "two": STARTER})) == who([first, second])


def test_nobody_nothing_and_one_student_give_no_pair():
    assert similar({}, {}) == similar({"ada": {}}, {"t": STARTER}) == pairs({"ada": ADA}) == []
    assert pairs({"ada": "", "ben": "  \n", "cleo": ADA}) == []


@pytest.mark.parametrize("least", [0, -1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(least):
    with pytest.raises(W2SError, match=r"least is .*; give a share in \(0, 1\]"):
        similar({}, {}, least=least)


def test_the_list_says_that_it_proves_nothing():
    assert "for review" in similarity.TITLE
    assert "no proof" in similarity.NOTE


# --- hostile answers ------------------------------------------------------------------------------

HOSTILE = {
    "brackets": "(" * 19_000,
    "unary": "x = " + "-" * 19_000 + "1",
    "nots": "not " * 4_900 + "x",
    "attributes": "x" + ".a" * 9_900,
    "calls": "f" + "()" * 9_900,
    "subscripts": "x" + "[0]" * 6_000,
    "sum": "+".join("a" * 9_000),
    "powers": "**".join("a" * 6_000),
    "lambdas": "lambda: " * 2_400 + "0",
    "ifs": "".join(f"{' ' * n}if x:\n" for n in range(99)) + " " * 99 + "y",
    "elifs": "if a: b\n" + "elif a: b\n" * 1_900,
    "conditions": "a if b else " * 1_600 + "c",
    "null": "x = 1\0" * 100,
    "surrogate": "x = '\ud800'\n" * 100,
    "digits": "9" * 19_000,
    "quotes": '\\"' * 9_900,
    "open text": "'''" * 3_333 + '"""',
    "one line": "x = 1\n" * 3_300,
    "a megabyte": "+".join("a" * 500_000),
    "a megabyte of brackets": "[" * 1_000_000,
    "f-strings": "f'{x}'" * 3_000,
    "escapes": "'\\d'\n" * 3_000,
    "control": "\x1b[31m\x07\u202e" * 3_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("essay", [False, True])
def test_no_answer_can_stop_the_search_or_hide_a_pair(text, essay, recwarn):
    texts = {"ada": ADA, "ben": BEN, "eve": text, "mallory": text}
    start = time.perf_counter()
    found = pairs(texts, STARTER, essays=["t"] * essay)
    assert essay or ("ada", "ben") in who(found)
    assert time.perf_counter() - start < 5  # a tenth of a second, with room for a busy machine
    assert not recwarn.list


@given(st.dictionaries(st.text(max_size=4), st.text(max_size=200), max_size=5), st.text())
def test_any_text_can_be_compared(texts, starter):
    for essay in (False, True):
        for pair in pairs(texts, starter, essays=["t"] * essay, least=0.01):
            assert 0 < pair.share <= 1
            assert all(0 < task.jaccard <= task.containment <= 1 for task in pair.tasks)


def test_a_class_of_three_hundred_takes_seconds():
    draw = random.Random(0)
    names = ["sum", "mean", "cumsum", "argsort", "diff", "exp", "log", "where", "append", "sort"]

    def code():
        lines = [
            f"    {draw.choice('abcd')} = np.{draw.choice(names)}({draw.choice('abcd')}"
            f"{draw.choice(['', '[1:]', '[:-1]'])} {draw.choice('+-*/')} {draw.choice('abcd')})"
            for _ in range(12)
        ]
        return "def solve(a, b, c, d):\n" + "\n".join(lines) + "\n    return d\n"

    answers = {f"s{n}": {f"t{t}": code() for t in range(7)} for n in range(300)}
    answers["copy"] = {"t3": answers["s7"]["t3"].replace("solve", "mine")}
    start = time.perf_counter()
    found = similar(answers, {})
    assert who(found) == [("copy", "s7")]
    assert time.perf_counter() - start < 20  # three, with room for a busy machine
