# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Exercises 03 · What a cheap explanation buys
#
# Write your code where it says `YOUR CODE HERE`, in the place of `raise NotImplementedError()`, and
# run the cell below it: the check says at once what holds and what does not. Each failed case costs
# its own points only. Stuck? Unfold one hint at a time. The tasks do not build on each other. Some
# cases stay hidden until the notebook is graded.

# %% given="seed"
SEED = 0
# Your numbers are drawn with this seed; leave it as it is.

# %% given="setup"
import math
import re

import numpy as np

from w2s_lab.exercise import Marks, by_reference, score

# %% [markdown] task="strategy" kind="recall" minutes=10 difficulty=1 objective=1
# ## The plan and its price
#
# A small model explains a team's snippets of code, and the team's large model learns from these
# texts. Put one letter behind each of the first three questions.
#
# **q1** The collection grows from 5,000 snippets to 50,000. Where does the plan's main advantage
# show?
#
# - (a) each weak explanation becomes more reliable
# - (b) the large model takes fewer operations for an answer
# - (c) the gold pairs stay as few as they were, and only machine time grows
# - (d) the test needs no explanations by experts any more
#
# **q2** The small model writes "Return a string" about every function whose name begins with `get`,
# also where a number comes back. All its texts are used. What is to be feared most?
#
# - (a) that the student writes the same, and its training counts that as right
# - (b) that the training breaks off, because texts and code contradict each other
# - (c) that the student can no longer read functions with other names
# - (d) nothing, because a strong model overrules its teacher's mistakes
#
# **q3** The same money buys 200 explanations by an expert or 60,000 by a small model. Which sentence
# weighs them rightly?
#
# - (a) 60,000 are better, because mistakes cancel out in large numbers
# - (b) 200 are better, because no student gets beyond the texts that it learned from
# - (c) they are worth the same, because they cost the same
# - (d) 60,000 show more of the code, with poorer texts, and which of the two counts for more has to
#   be measured
#
# **q4** Bring these steps into the order in which they have to happen. Write six letters in one
# text, such as `"abcdef"`.
#
# - (a) The small model explains the snippets of `transfer`.
# - (b) Experts explain the snippets of `supervise` and of `test`.
# - (c) Readers compare the student with the untouched model on `test`, blind.
# - (d) The modules are divided among `supervise`, `transfer` and `test`.
# - (e) The large model is trained on the snippets of `transfer` with the texts that were written
#   for them.
# - (f) The small model learns from the gold pairs of `supervise`.

# %% answer="strategy"
answers = {"q1": "", "q2": "", "q3": "", "q4": ""}
### BEGIN SOLUTION
answers = {"q1": "c", "q2": "a", "q3": "d", "q4": "dbfaec"}
### END SOLUTION

# %% check="strategy" points=0
marks = Marks("strategy")
with marks.case("q1 to q3 have one of the letters a to d, q4 has six letters", points=0):
    for question in ("q1", "q2", "q3"):
        marks.holds(answers[question] in list("abcd"), f"Put one letter behind {question}.")
    marks.holds(
        sorted(answers["q4"]) == list("abcdef"), "q4 takes each of the letters a to f once."
    )
marks.total()

# %% hidden="strategy" points=4
marks = Marks("strategy", hidden=True)
with marks.case("q1: the advantage"):
    marks.same(answers["q1"], "c", mistakes={
        "More texts by the same writer are not better texts: it makes the same mistakes.": "a",
        "Training changes what the large model says, and not how much work an answer takes.": "b",
        "Somebody has to know whether the student explains well; weak texts cannot tell.": "d",
    })  # fmt: skip
with marks.case("q2: the risk"):
    marks.same(answers["q2"], "a", mistakes={
        "Training asks whether the weak text was matched. It never asks whether it is true.": "b",
        "What it learns about `get` is the danger, and it is not confined to losing something.": "c",
        "It can, but it is not paid to: what it is rewarded for is writing the weak text.": "d",
    })  # fmt: skip
with marks.case("q3: the trade-off"):
    marks.same(answers["q3"], "d", mistakes={
        "Only random mistakes cancel out. A habit is repeated 60,000 times.": "a",
        "A student knows more than its texts say, so it can get beyond them.": "b",
        "What a label costs is no measure of what it teaches.": "c",
    })  # fmt: skip
with marks.case("q4: the order of the steps"):
    order = answers["q4"]
    marks.holds(sorted(order) == list("abcdef"), "q4 takes each of the letters a to f once.")
    for before, after, words in (
        ("d", "b", "Divide first: until then nobody knows which snippets the experts explain."),
        ("b", "f", "The small model learns from gold pairs that nobody has written yet."),
        ("f", "a", "The small model writes for `transfer` before it was taught."),
        ("a", "e", "The large model is trained on texts that are not written yet."),
        ("e", "c", "There is no student to compare before the large model is trained."),
    ):
        marks.holds(order.index(before) < order.index(after), words)
marks.total()

# %% [markdown] hints="strategy"
# 1. For q1 and q2 ask what each part of the plan costs and what the training rewards.
#
# 2. For q3: are the small model's mistakes random, or are they habits?
#
# 3. For q4 ask of each step what it needs to have before it: texts, pairs, a trained model. The
#    step that needs nothing comes first.

# %% [markdown] task="two-gaps" kind="implement" minutes=10 difficulty=2 objective=2
# ## Two gaps
#
# The lesson's leading score is a log-likelihood. Many programs report its negative instead, where
# **lower is better**, and so do the numbers of this task: negative log-likelihood of the gold text,
# in nats per token.
#
# Write `gaps_recovered(weak, untouched, student, ceiling)`.
#
# - Each argument is an array of shape (items,), with one number for each test item. Take the mean of
#   each array first; all that follows uses the four means.
# - Return a dict with two entries: `"pgr"`, the share that the student recovered of the gap from the
#   weak model to the ceiling, and `"untouched"`, the share of the gap from the untouched strong
#   model to the ceiling.
# - Where the ceiling is not better than the model that a gap starts from, that entry is `math.nan`.
#   The other entry may be a number all the same. Raise nothing, and cut nothing off.
#
# For the lesson's naive student (weak 4.44, untouched 3.88, student 3.77, ceiling 3.20 nats) the two
# are 0.54 and 0.16. Results may be off by a millionth.


# %% answer="two-gaps"
def gaps_recovered(weak, untouched, student, ceiling):
    """The shares recovered of the gaps from `weak` and from `untouched` to `ceiling`."""
    ### BEGIN SOLUTION
    reached, best = np.mean(student), np.mean(ceiling)
    shares = {}
    for name, floor in (("pgr", np.mean(weak)), ("untouched", np.mean(untouched))):
        gap = floor - best  # lower is better, so the floor stands above the ceiling
        shares[name] = float((floor - reached) / gap) if gap > 0 else math.nan
    return shares
    ### END SOLUTION


# %% check="two-gaps" points=2
marks = Marks("two-gaps")
SIGN = (
    "You treat these numbers as scores. A lower one is better here, so there is a gap where the "
    "ceiling lies *below* the model that the gap starts from."
)
with marks.case("Means of 4, 3, 2.5 and 2 nats give a PGR of 0.75, and 0.5 from the untouched"):
    made = gaps_recovered(
        np.array([3, 5]), np.array([2.4, 3.6]), np.array([2.1, 2.9]), np.array([1.6, 2.4])
    )
    marks.near([made["pgr"], made["untouched"]], [0.75, 0.5], mistakes={
        SIGN: [math.nan, math.nan],
        "You turned one of the two differences round: the student gained, and the share is "
        "negative.": [-0.75, -0.5],
        "You take the mean of the items' quotients. Take the four means first.": [
            (9 / 14 + 21 / 26) / 2, (3 / 8 + 7 / 12) / 2],
        "You divide both gains by the gap from the weak model.": [0.75, 0.25],
        "You measure what is left of each gap, not what was recovered.": [0.25, 0.5],
    })  # fmt: skip
with marks.case("One gap may be missing while the other is there"):
    # the weak model has 3, the ceiling 2.2; the untouched model is better than the ceiling
    made = gaps_recovered(np.array([3.0]), np.array([2.0]), np.array([2.4]), np.array([2.2]))
    marks.near([made["pgr"], made["untouched"]], [0.75, math.nan], mistakes={
        SIGN: [math.nan, 2],
        "The untouched model is better than the ceiling: that is no gap to recover, so the entry "
        "is nan.": [0.75, 2],
        "Only the gap from the untouched model is missing. The PGR is defined.": [
            math.nan, math.nan],
    })  # fmt: skip
marks.total()

# %% hidden="two-gaps" points=2
marks = Marks("two-gaps", hidden=True)
with marks.case("Your numbers"):
    draw = np.random.default_rng([SEED, 1])
    for _ in range(20):
        four = np.cumsum(draw.uniform(0.1, 1, size=(4, 30)), axis=0)[::-1]  # weak is worst
        levels = four.mean(1)
        right = [(start - levels[2]) / (start - levels[3]) for start in levels[:2]]
        made = gaps_recovered(*four)
        marks.near([made["pgr"], made["untouched"]], right, mistakes={
            SIGN: [math.nan, math.nan],
            "You take the mean of the items' quotients. Take the four means first.": [
                ((start - four[2]) / (start - four[3])).mean() for start in four[:2]],
        })  # fmt: skip
with marks.case("Students worse than the untouched model and better than the ceiling", points=0.5):
    # weak 4, untouched 3, ceiling 2. Student 3.5: 0.5/2 = 0.25 and -0.5/1 = -0.5;
    # student 1.5: 2.5/2 = 1.25 and 1.5/1 = 1.5
    got = []
    for nats in (3.5, 1.5):
        made = gaps_recovered(*(np.array([x, x]) for x in (4.0, 3.0, nats, 2.0)))
        got += [made["pgr"], made["untouched"]]
    marks.near(got, [0.25, -0.5, 1.25, 1.5], mistakes={
        "You cut the shares off at 0 and 1. Harm has to show, and so has a surprise.": [0.25, 0, 1, 1],
        "You take the size of the difference. A student that got worse has to show.": [
            0.25, 0.5, 1.25, 1.5],
    })  # fmt: skip
with marks.case("No gap: a ceiling level with its start, or worse", points=0.5):
    got = []
    for nats in ((2.0, 2.0, 1.5, 2.0), (2.0, 1.8, 1.9, 2.5), (2.0, 1.8, 1.7, 1.6)):
        made = gaps_recovered(*(np.array([x]) for x in nats))
        got += [made["pgr"], made["untouched"]]
    marks.holds(
        np.isnan(np.array(got[:4], float)).all(),
        "Where the ceiling is level with the start, or worse than it, the entry is nan.",
    )
    marks.near(got[4:], [0.75, 0.5])  # 0.3/0.4 and 0.1/0.2
marks.total()

# %% [markdown] hints="two-gaps"
# 1. Both shares are the same quotient with another start. What is "gained" when a lower number is
#    better?
#
# 2. From a start to the ceiling: start − ceiling. Gained: start − student. The sign of the first
#    one says whether there is a gap.
#
# 3. Take `np.mean` of all four. For each of the two starts: where `start - ceiling > 0`, divide
#    `start - student` by it; else the entry is `math.nan`.

# %% [markdown] task="part-way" kind="implement" minutes=15 difficulty=2 objective=1
# ## Part of the way
#
# A student may go only a share of the way from the untouched model's weights to its own, so that it
# keeps the form and gives up some of the imitated mistakes. Write
# `part_way(untouched, student, share)`.
#
# - `untouched` and `student` map names to numpy arrays; arrays of the same name have the same shape
#   and dtype. `share` is a number from 0 to 1.
# - Return a new dict with the same names, and a new array for each of them. Arrays of decimal
#   numbers (float32, float64) go the share of the way from `untouched` to `student`. At share 0 and
#   at share 1 they are **exactly** those of `untouched` and of `student`, however different in size
#   the two are.
# - Arrays of whole numbers are no weights (a counter of steps, for example): they are as in
#   `untouched`.
# - Each array has the dtype that it has in `untouched`.
# - Where the two dicts do not have the same names, raise an exception, such as a `ValueError`.
# - Neither dict and none of their arrays may be changed. Models share arrays: two names of one dict
#   may hold the very same one.
#
# Between the ends, results may be off by a millionth.


# %% answer="part-way"
def part_way(untouched, student, share):
    """Weights that went this share of the way from `untouched` to `student`; new arrays."""
    ### BEGIN SOLUTION
    if untouched.keys() != student.keys():
        raise ValueError(f"names that only one has: {sorted(untouched.keys() ^ student.keys())}")
    mixed = {}
    for name, start in untouched.items():
        if np.issubdtype(start.dtype, np.floating):
            way = (1 - share) * start + share * student[name]
            mixed[name] = way.astype(start.dtype)
        else:
            mixed[name] = start.copy()
    return mixed
    ### END SOLUTION


# %% check="part-way" points=2
marks = Marks("part-way")
FROM_STUDENT = (
    "You go the share of the way from the student's side. At 0 nothing was learned: the start is "
    "the untouched model."
)
STEP = "That is the share of the change alone. Where does it start from?"
with marks.case("A quarter of the way"):
    marks.near(
        part_way(
            {"top": np.array([[1.0, 2.0], [3.0, 4.0]])},
            {"top": np.array([[3.0, 2.0], [1.0, 0.0]])},
            0.25,
        )["top"],
        [[1.5, 2.0], [2.5, 3.0]],
        mistakes={
            FROM_STUDENT: [[2.5, 2.0], [1.5, 1.0]],
            STEP: [[0.5, 0.0], [-0.5, -1.0]],
        },
    )
with marks.case("What was given stays as it was", points=0.5):
    two = (
        {"top": np.array([1.0, 2.0]), "steps": np.array([10])},
        {"top": np.array([3.0, 6.0]), "steps": np.array([30])},
    )
    with by_reference():  # the arrays themselves are looked at, not copies
        made = part_way(*two, 0.5)
    marks.near(made["top"], [2.0, 4.0])
    marks.holds(
        np.array_equal(two[0]["top"], [1, 2]) and np.array_equal(two[1]["top"], [3, 6]),
        "Your function changes the arrays that it was given: the untouched model is lost.",
    )
    marks.holds(
        not any(np.shares_memory(made["steps"], model["steps"]) for model in two),
        "You hand on an array that you were given: who changes the result changes that model too. "
        "Make a new one.",
    )
with marks.case("Dicts with different names are refused", points=0.5):
    small, large = {"top": np.ones(2)}, {"top": np.ones(2), "bias": np.zeros(2)}
    marks.near(part_way(large, large, 0.5)["bias"], [0, 0])
    for pair in ((small, large), (large, small), (small, {"head": np.ones(2)})):
        marks.refuses(
            lambda pair=pair: part_way(*pair, 0.5),
            "A name that only one model has goes unnoticed. Raise an exception, whichever has it.",
        )
marks.total()

# %% hidden="part-way" points=2
marks = Marks("part-way", hidden=True)
draw = np.random.default_rng([SEED, 2])
with marks.case("Your weights", points=0.5):
    start, end = (
        {name: draw.normal(size=shape) for name, shape in (("a", (3, 4)), ("b", 5), ("c", (2, 1)))}
        for _ in range(2)
    )
    for part in (0.1, float(draw.uniform(0.2, 0.4)), 0.9):
        made = part_way({name: start[name].copy() for name in start}, end, part)
        marks.same(sorted(made), ["a", "b", "c"])
        for name in start:
            ways = {
                "": start[name] * (1 - part) + end[name] * part,
                FROM_STUDENT: start[name] * part + end[name] * (1 - part),
                STEP: (end[name] - start[name]) * part,
            }
            marks.near(made[name], ways.pop(""), mistakes=ways)
with marks.case("Whole numbers and dtypes are kept", points=0.5):
    start = {"steps": np.array([10, 20]), "top": np.ones(2, np.float32)}
    end = {"steps": np.array([30, 60]), "top": np.zeros(2, np.float32)}
    made = part_way(start, end, np.float64(0.5))
    marks.near(made["steps"], [10, 20], mistakes={
        "You interpolate whole numbers. They are no weights and stay as they are.": [20, 40],
        "Whole numbers are those of the untouched model, not the student's.": [30, 60],
    })  # fmt: skip
    marks.near(made["top"], [0.5, 0.5])
    marks.holds(
        all(made[name].dtype == start[name].dtype for name in start),
        "An array has another dtype than in the untouched model: `astype` gives it back.",
    )
with marks.case("The two ends are exact", points=0.5):
    # beside 2**27 a float32 cannot hold a difference of 1, beside 2**60 a float64 cannot
    for big, kind in ((2.0**27, np.float32), (2.0**60, np.float64)):
        ends = np.array([[big, 1.0], [1.0, big]], kind)
        got = [part_way({"top": ends[0].copy()}, {"top": ends[1]}, x)["top"] for x in (0.0, 1.0)]
        marks.near(got[0], [big, 1.0], tolerance=0)
        marks.near(got[1], [1.0, big], tolerance=0, mistakes={
            "At 1 a small weight is lost: the difference to a large one was rounded. Weigh both "
            "ends instead of adding a difference.": [0.0, big],
        })  # fmt: skip
with marks.case("Two names that hold the same array", points=0.5):
    shared = np.array([2.0, 4.0])
    end = {name: np.array([4.0, 8.0]) for name in ("embed", "head")}
    made = part_way({"embed": shared, "head": shared}, end, 0.5)
    marks.near([made["embed"], made["head"]], [[3, 6], [3, 6]], mistakes={
        "The shared array went its way twice: you change the arrays in place.": [[3.5, 7]] * 2,
    })  # fmt: skip
    marks.near(shared, [2, 4])
marks.total()

# %% [markdown] hints="part-way"
# 1. Compare the names first. Then build a new dict, name by name, and never write into an old array.
#
# 2. Two ways to say it are equal on paper: untouched plus a share of the change, or a weighted mean
#    of the two. Which of them gives the student exactly when the share is 1?
#
# 3. `(1 - share) * start + share * end`, then `.astype(start.dtype)`; for whole numbers
#    (`np.issubdtype(start.dtype, np.floating)` is false) take `start.copy()`.

# %% [markdown] task="blind" kind="diagnose" minutes=15 difficulty=2 objective=3
# ## Not blind
#
# A colleague lets readers compare the student with the untouched model. To try the procedure out,
# she first has *the same model* write twice, and calls one of the two texts the student's. Her reader
# sees no difference, and mostly points to the left. (His choices are drawn for you.)


# %% given="reading"
def colleagues_sheet(student, untouched, seed):
    """Pairs of texts (left, right) for the reader, and the key: the side of the student's text."""
    return list(zip(student, untouched, strict=True)), ["left"] * len(student)


def colleagues_share(key, choices):
    """The share of the pairs in which the reader preferred the student's text."""
    preferred = [choice in (side, "equal") for side, choice in zip(key, choices, strict=True)]
    return float(np.mean(preferred))


once, again = (
    [f"{verb} entry {i} of the table." for i in range(200)] for verb in ("Return", "Get")
)
rng = np.random.default_rng([SEED, 10])
said = rng.choice(["left", "equal", "right"], size=200, p=[0.5, 0.3, 0.2]).tolist()

# %%
pairs, key = colleagues_sheet(once, again, seed=0)
colleagues_share(key, said)

# %% [markdown]
# In about four of five pairs the reader prefers a student that does not even exist. Find what is
# wrong, and write both functions anew.
#
# `sheet(student, untouched, seed)` takes two lists of texts, one text for each item, and returns
#
# - the list of pairs (left, right), in the order of the items,
# - the key: a list that holds `"left"` or `"right"` for each pair, the side of the student's text.
#
# The student stands left in half of the pairs (with an odd number of pairs: in one more or one less
# than right). Which pairs these are is drawn with `seed`: the same seed gives the same sheet, another
# seed in general another one.
#
# `share(key, choices)` takes that key and the reader's choices (`"left"`, `"right"` or `"equal"`, one
# for each pair, at least one pair), and returns the student's share of the preferences: a pair in
# which the reader prefers neither counts half. (The lesson's verdict counts such pairs apart.) The
# share may be off by a millionth.


# %% answer="blind"
def sheet(student, untouched, seed):
    """Pairs of texts (left, right) for the reader, and the key: the side of the student's text."""
    ### BEGIN SOLUTION
    draw = np.random.default_rng(seed)
    first = draw.permutation(np.arange(len(student)) % 2 == 0)
    both = zip(student, untouched, first, strict=True)
    shown = [(ours, theirs) if left else (theirs, ours) for ours, theirs, left in both]
    return shown, ["left" if left else "right" for left in first]
    ### END SOLUTION


def share(key, choices):
    """The student's share of the preferences, 0 to 1; a pair without one counts half."""
    ### BEGIN SOLUTION
    rated = zip(key, choices, strict=True)
    return sum(0.5 if choice == "equal" else choice == side for side, choice in rated) / len(key)
    ### END SOLUTION


# %% check="blind" points=1
marks = Marks("blind")
ALWAYS = (
    "The student always stands on the same side: a reader with a habit for that side prefers the "
    "student, whatever is written there."
)
HALF = "The student does not stand left in half of the pairs."
KEY = "The key does not say where the student's text really stands."
with marks.case("Three choices for the student, one against, one for neither", points=0.5):
    marks.near(
        share(
            ["left", "right", "right", "left", "left"],
            ["left", "right", "equal", "right", "left"],
        ),
        0.7,
        mistakes={
            "A pair without preference still counts for the student.": 0.8,
            "A pair without preference counts against the student now. It counts half.": 0.6,
            "You leave out the pairs without preference. Each of them counts half.": 0.75,
            "You count the choices for the left side. Look into the key.": 0.5,
        },
    )
with marks.case("The student stands left in half of the pairs, and the key says where", points=0.5):
    for number in range(20):
        shown, sides = map(list, sheet(list("ABCDEFGHIJ"), list("abcdefghij"), number))
        told = [pair[0 if side == "left" else 1] for pair, side in zip(shown, sides, strict=True)]
        marks.same(sorted(map(sorted, shown)), [[x, x.lower()] for x in "ABCDEFGHIJ"])
        marks.holds(told == list("ABCDEFGHIJ"), KEY)
        marks.holds(len(set(sides)) == 2, ALWAYS)
        marks.holds(sides.count("left") == 5, HALF)
marks.total()

# %% hidden="blind" points=2
marks = Marks("blind", hidden=True)
draw = np.random.default_rng([SEED, 3])
with marks.case("A reader who always points to the left prefers nobody", points=0.5):
    for _ in range(20):
        count = 2 * int(draw.integers(5, 30))
        ours, theirs = ([f"{who} {i}" for i in range(count)] for who in ("ours", "theirs"))
        shown, sides = map(list, sheet(ours, theirs, int(draw.integers(10**6))))
        marks.near(share(sides, ["left"] * count), 0.5, mistakes={ALWAYS: 1.0})
        knows = ["left" if left.startswith("ours") else "right" for left, _ in shown]
        marks.near(share(sides, knows), 1.0, mistakes={KEY: 0.5})
with marks.case("An odd number of pairs", points=0.5):
    for number in range(20):
        shown, sides = map(list, sheet(list("ABCDEFG"), list("abcdefg"), number))
        marks.holds(sides.count("left") in (3, 4), HALF)
        told = [pair[0 if side == "left" else 1] for pair, side in zip(shown, sides, strict=True)]
        marks.holds(told == list("ABCDEFG"), KEY)
with marks.case("The seed draws the sides", points=0.5):
    seeds = draw.integers(10**6, size=60).tolist()
    drawn, afresh = (
        [list(sheet(list("ABCDEFGHIJKL"), list("abcdefghijkl"), number)[1]) for number in seeds]
        for _ in range(2)
    )
    marks.holds(
        all(len(set(sides)) == 2 for sides in zip(*drawn, strict=True)),
        "With every seed the same item has the student on the same side: a reader can learn that.",
    )
    marks.holds(
        len({tuple(sides) for sides in drawn}) > 20,
        "Sixty seeds make only a few different sheets: a reader finds out the pattern.",
    )
    marks.holds(drawn == afresh, "The same seed has to give the same sheet.")
with marks.case("Your readers' choices", points=0.5):
    for _ in range(20):
        sides = draw.choice(["left", "right"], size=40).tolist()
        chosen = draw.choice(["left", "right", "equal"], size=40).tolist()
        won = sum(side == choice for side, choice in zip(sides, chosen, strict=True))
        marks.near(share(sides, chosen), (won + chosen.count("equal") / 2) / 40)
marks.total()

# %% [markdown] hints="blind"
# 1. What would the colleague's two functions say of a reader who always answers "left"? And of one
#    who always answers "equal"?
#
# 2. Two mends: the side has to be drawn, half of the pairs each way, and a pair without preference
#    has to count the same for both writers.
#
# 3. `np.random.default_rng(seed).permutation(np.arange(n) % 2 == 0)` says for which pairs the student
#    stands left. In `share`, add 0.5 for "equal" and 1 where the choice is the side in the key, and
#    divide by the number of pairs.

# %% [markdown] task="content" kind="implement" minutes=20 difficulty=3 objective=2
# ## What form cannot earn
#
# Another colleague scores explanations by their form: a verb comes first, and the length is that of
# a docstring. Below are texts from the lesson's run, all for one function (of the untouched model's
# only the first sentence).

# %% given="form"
VERBS = {"Return", "Set", "Get", "Initialize", "Create", "Cache"}


def form_score(explanation):
    """Half for a verb at the start, half for 4 to 15 words."""
    words = explanation.split()
    return 0.5 * (words[0] in VERBS) + 0.5 * (4 <= len(words) <= 15)


factory = """def setLogRecordFactory(factory):
    global _logRecordFactory
    _logRecordFactory = factory"""
wrote = {
    "naive": "Return the original value.",
    "ceiling": "Return a new instance of the setLogRecordFactory function.",
    "untouched": "This function creates a new log record factory with a specific factory function.",
}

# %%
{name: form_score(text) for name, text in wrote.items()}

# %% [markdown]
# "Return the original value." gets full marks, and it would for any function. Write two measures that
# a text about nothing cannot please.
#
# `supported(explanation, code)`: of the *different* names in the explanation, the share that occurs
# in the code.
#
# - Both texts fall into runs of the letters A to Z and a to z, digits and underscores; everything
#   else, the dot too, separates runs.
# - A run is a *name* if it has a letter, and also an underscore, a digit, or a capital letter
#   after its first character: `set_from`, `utf8`, `setFactory` and `BLEU` are names; `Return`,
#   `factory`, `A` and `2024` are none.
# - A name occurs in the code if it is a whole run of the code, capitals included: `get_size` does
#   not occur in `get_size_hint`.
# - Without any name in the explanation the result is `math.nan`.
#
# `own_and_other(explanations, codes)`: two lists of the same length, 2 or more. Return a pair: the
# mean of `supported` for each explanation with its own code, and the mean for each with the code of
# the *next* item (after the last comes the first). Explanations without names are left out of both
# means; where none is left, the pair is `(math.nan, math.nan)`.
#
# Results may be off by a millionth. `re` is imported. (Neither measure sees a false statement in
# ordinary words: for that you have to read.)


# %% answer="content"
def supported(explanation, code):
    """The share of the explanation's different names that occur in the code; nan without names."""
    ### BEGIN SOLUTION
    runs, known = (set(re.findall(r"[A-Za-z0-9_]+", text)) for text in (explanation, code))
    named = {run for run in runs if re.search("[A-Za-z]", run) and re.search("[_0-9]|.[A-Z]", run)}
    return len(named & known) / len(named) if named else math.nan
    ### END SOLUTION


def own_and_other(explanations, codes):
    """Means of `supported` with an explanation's own code and with the next item's."""
    ### BEGIN SOLUTION
    means = []
    for read in (codes, [*codes[1:], codes[0]]):
        shares = [supported(text, code) for text, code in zip(explanations, read, strict=True)]
        told = [found for found in shares if not math.isnan(found)]
        means.append(sum(told) / len(told) if told else math.nan)
    return tuple(means)
    ### END SOLUTION


# %% check="content" points=2
marks = Marks("content")
with marks.case("Two of three names occur in the code", points=0.5):
    marks.near(
        supported(
            "Return get_size of max_size, given utf8_size and max_size.",
            "def get_size_hint(self, max_size):\n"
            "    return min(self.min_size, max_size + self.utf8_size)",
        ),
        2 / 3,
        mistakes={
            "You look for names inside longer ones: `get_size` is no run of this code.": 1.0,
            "You count a name as often as it stands there. Each counts once.": 3 / 4,
            "You count ordinary words too. Which runs are names?": 2 / 7,
            "You divide by the names in the code. The explanation's names are asked for.": 2 / 4,
        },
    )
with marks.case("A text about nothing has no share", points=0.5):
    marks.near(supported(wrote["ceiling"], factory), 1)
    marks.near(supported(wrote["naive"], factory), math.nan, mistakes={
        "Without names there is nothing to support or to deny: return nan, not 0.": 0.0,
        "Without names nothing is supported: a text about nothing gets full marks again.": 1.0,
    })  # fmt: skip
with marks.case("Own code and another's: 1/2 and 1/3"):
    # own: 1, 1/2, 0, no names; with the next item's code: 0, 0, 1, no names
    marks.near(
        own_and_other(
            ["Return get_size for max_size.", "Set new_name from max_size.", "Run max_size.",
             "Return the original value."],
            ["def get_size(max_size): return max_size",
             "def set_name(self, new_name): self.name = new_name",
             "def run(self): pass",
             "def max_size(self): return self.get_size"],
        ),
        [1 / 2, 1 / 3],
        mistakes={
            "A text without names counts as 0 in your means. It is left out.": [3 / 8, 1 / 4],
            "A text without names turns the whole mean into nan. It is left out.": [math.nan] * 2,
            "You pool the names of all texts. Take the mean over texts.": [3 / 5, 1 / 5],
            "You take the item before. The other code is that of the next item.": [1 / 2, 1 / 2],
            "You return the second mean first.": [1 / 3, 1 / 2],
        },
    )  # fmt: skip
marks.total()

# %% hidden="content" points=2
marks = Marks("content", hidden=True)
CAPITAL = "A capital at the start makes no name: any sentence has one."
NUMBER = "You count numbers as names. A name has a letter."
with marks.case("What is a name", points=0.5):
    # names: HTTP, utf8, _x, readLine, B2, a_1; none: Return, The, A, Or, None, Yes, 2024, 3, 12,
    # 10_000, _. So 6 names, and 6 more with capitals, 5 without letters, of which 4 have a digit, 3
    # nothing but digits and 2 an underscore
    text = "Return HTTP. The utf8 of _x; A 2024 readLine, 3 B2 (_) a_1, 10_000 of 12. Or None, Yes."
    marks.near(supported(text, "HTTP utf8 _x"), 3 / 6, mistakes={
        CAPITAL: 3 / 12,
        NUMBER: 3 / 11,
        "You count runs of digits as names. A name has a letter.": 3 / 10,
        "You count bare numbers as names. A name has a letter.": 3 / 9,
        "You count what has no letter as a name, such as `_`.": 3 / 8,
    })  # fmt: skip
    marks.near(supported("The Reader Reads 12 of 2024", "Reader 2024"), math.nan, mistakes={
        CAPITAL: 1 / 3,
        NUMBER: 1 / 2,
    })  # fmt: skip
with marks.case("What occurs in the code", points=0.5):
    marks.near(supported("Uses os.path_sep.", "import path_sep"), 1)
    marks.near(supported("Calls getSize (max_size).", "getsize(max_size)"), 1 / 2, mistakes={
        "`getSize` and `getsize` are two names: capitals count.": 1,
    })  # fmt: skip
    marks.near(supported("Calls getSize.", ""), 0)


draw = np.random.default_rng([SEED, 5])
pool = [f"{x}{end}" for x in ("get", "set", "size", "line") for end in ("_key", "_keys", "Value")]
with marks.case("Your texts and codes"):
    told = [set(draw.choice(pool, size=size).tolist()) for size in [0, *draw.integers(0, 5, 29)]]
    known = [set(draw.choice(pool, size=6).tolist()) for _ in told]
    texts = [" ".join(["Return", *few, *few, "of it."]) for few in told]
    codes = [f"def f({', '.join(held)}): pass" for held in known]
    shares = [
        [len(few & held) / len(few) for few, held in zip(told, read, strict=True) if few]
        for read in (known, known[1:] + known[:1])
    ]
    marks.near(own_and_other(texts, codes), np.mean(shares, axis=1), mistakes={
        "A text without names turns the whole mean into nan. It is left out.": [math.nan] * 2,
        "A text without names counts as 0 in your means. It is left out.": np.sum(shares, 1) / 30,
    })  # fmt: skip
    empty = own_and_other(["Return it.", "Set it."], ["max_size", "get_size"])
    marks.near(empty, [math.nan, math.nan])
marks.total()

# %% [markdown] hints="content"
# 1. Take it in three steps: the runs of a text, those of them that are names, those of the names
#    that are runs of the code. Sets count each only once.
#
# 2. `re.findall(r"[A-Za-z0-9_]+", text)` gives the runs. A pattern for a capital after the first
#    character is `".[A-Z]"`.
#
# 3. For the second function pair the explanations with `codes`, and then with
#    `[*codes[1:], codes[0]]`. Drop what `math.isnan` says is nan before you take a mean.

# %% [markdown] task="labels" kind="decide" minutes=20 difficulty=3 objective=3
# ## What to label
#
# Before the money is spent, a team measures on a small scale what explanations buy. A row
# `(gold, gain, low, high)` says how many gold explanations were written, by how many nats per token
# the result beat the untouched model, and the ends of that gain's interval. There are two ways:
#
# - `"direct"`: the large model learns from the gold explanations alone.
# - `"via weak"`: the small model learns from them and explains **all** snippets; the large model
#   learns from these texts.
#
# The curves below are drawn for you, in the shape that such curves often have. They were not
# measured.


# %% given="curves"
def drawn_curves(rng):
    """Way → rows (gold, gain, low, high), in nats per token."""
    curves = {}
    for way, top, scale in (("direct", 0.9, 80), ("via weak", 0.6, 25)):
        counts = np.array([10, 20, 40, 80, 160, 320])
        gains = top * (1 - np.exp(-counts / scale)) - 0.1 + 0.08 * rng.normal(size=6)
        ends = zip(counts, gains, rng.uniform(0.05, 0.9, size=6), strict=True)
        curves[way] = [
            (int(n), *(round(float(x), 4) for x in (g, g - w, g + w))) for n, g, w in ends
        ]
    return curves


drawn_curves(np.random.default_rng([SEED, 20]))

# %% [markdown]
# Write `plan(curves, gold_price, weak_price, snippets, budget)`.
#
# - `curves` as above: each way has a list of rows, perhaps an empty one. `gold_price` is what one
#   gold explanation costs, `weak_price` what **a thousand** weak ones cost, all in euros; `snippets`
#   is how many the small model explains. Training is left out.
# - Only the rows can be bought, and nothing between them. Way `"via weak"` costs its gold
#   explanations and the weak ones of all snippets.
# - A row whose interval does not lie above 0 (its `low` is 0 or less) is no offer. Nor is one that
#   costs more than the budget; a price equal to the budget is paid.
# - Of the offers, take the one with the highest gain, and of equal gains the cheapest. No two offers
#   agree in both.
# - Return a dict: `"way"`, `"gold"` (how many explanations) and `"cost"` in euros. Without an offer
#   the plan is to leave the large model alone: way `"nothing"`, 0 gold explanations, cost 0.
#
# The cost may be off by a millionth.


# %% answer="labels"
def plan(curves, gold_price, weak_price, snippets, budget):
    """The offer that the budget pays for with the highest sure gain: way, gold and cost."""
    ### BEGIN SOLUTION
    offers = []
    for way, rows in curves.items():
        extra = snippets / 1000 * weak_price if way == "via weak" else 0
        for gold, gain, low, _ in rows:
            cost = gold * gold_price + extra
            if low > 0 and cost <= budget:
                offers.append((-gain, cost, way, gold))
    if not offers:
        return {"way": "nothing", "gold": 0, "cost": 0}
    _, cost, way, gold = min(offers)
    return {"way": way, "gold": gold, "cost": cost}
    ### END SOLUTION


# %% check="labels" points=2
marks = Marks("labels")
MOST = "You buy as many gold explanations as the budget pays for. Fewer gained more."
UNSURE = "The interval of that gain holds 0: it is no offer, however high the gain looks."
LOWEST = "You rank by the lower end. It says who may compete; of those the highest gain wins."
MACHINE = "You forgot what the weak explanations cost, so you call an offer paid that is not."
OVER = "That costs more than the budget."
CHEAP = "You take the cheapest. The budget is a limit, not a prize."
RATIO = "You take the highest gain for one euro. What is asked for is the highest gain."
THOUSAND = (
    "The offer via weak is missing. Its price is for a thousand explanations, not for each of them."
)
with marks.case("The lesson's run: strong on gold labels, the ceiling, and the student `likely`"):
    # 40 * 0.5 = 20, 64 * 0.5 = 32, 20 + 64/1000 * 0.083 = 20.005
    made = plan(
        {
            "direct": [(40, 0.69, 0.60, 0.79), (64, 0.68, 0.59, 0.77)],
            "via weak": [(40, 0.41, 0.34, 0.49)],
        },
        gold_price=0.5, weak_price=0.083, snippets=64, budget=32,
    )  # fmt: skip
    marks.same([made["way"], made["gold"]], ["direct", 40], mistakes={MOST: ["direct", 64]})
    marks.near(made["cost"], 20)
with marks.case("20,000 snippets, 3 euros for a gold explanation, 5 for 1,000 weak ones"):
    made = plan(
        {
            "direct": [(20, 0.05, 0.01, 0.09), (50, 0.25, 0.02, 0.48), (70, 0.28, 0.25, 0.31),
                       (90, 0.45, -0.05, 0.95), (100, 0.30, 0.20, 0.40), (200, 0.70, 0.60, 0.80)],
            "via weak": [(50, 0.35, 0.20, 0.50), (100, 0.60, 0.50, 0.70)],
        },
        gold_price=3, weak_price=5, snippets=20_000, budget=300,
    )  # fmt: skip
    marks.same([made["way"], made["gold"]], ["via weak", 50], mistakes={
        UNSURE: ["direct", 90],
        LOWEST: ["direct", 70],
        MACHINE: ["via weak", 100],
        OVER: ["direct", 200],
        CHEAP: ["direct", 20],
        RATIO: ["direct", 50],
        THOUSAND: ["direct", 100],
    })  # fmt: skip
    marks.near(made["cost"], 250, mistakes={
        "The weak explanations are missing in the cost.": 150,
        "The gold explanations are missing in the cost: the small model learned from them.": 100,
    })  # fmt: skip
marks.total()

# %% hidden="labels" points=2
marks = Marks("labels", hidden=True)


def bought(curves, gold_price, machine, budget, unsure=False, column=1, by=lambda gain, cost: gain):
    """Way and number of the best row under a rule; the rule of the task by default."""
    every = [
        (by(row[column], cost), -cost, way, row[0])
        for way, rows in curves.items()
        for row in rows
        for cost in [row[0] * gold_price + machine * (way == "via weak")]
        if cost <= budget and (unsure or row[2] > 0)
    ]
    return list(max(every)[2:]) if every else ["nothing", 0]


with marks.case("Your curves, with twenty budgets"):
    told, costs, bills, unpaid, rules = [], [], [], [], {}
    for place in range(20, 40):
        draw = np.random.default_rng([SEED, place])
        table = drawn_curves(draw)
        prices = int(draw.integers(1, 4)), int(draw.integers(2, 9))
        many, limit = 1000 * int(draw.integers(5, 30)), int(draw.integers(60, 600)) + 0.5
        rule = (table, prices[0], many / 1000 * prices[1])
        known = {
            "": bought(*rule, limit),
            UNSURE: bought(*rule, limit, unsure=True),
            LOWEST: bought(*rule, limit, column=2),
            MACHINE: bought(*rule[:2], 0, limit),
            THOUSAND: bought(*rule[:2], many * prices[1], limit),
            OVER: bought(*rule, math.inf),
            RATIO: bought(*rule, limit, by=lambda gain, cost: gain / cost),
            CHEAP: bought(*rule, limit, by=lambda gain, cost: -cost),
        }
        for words, offer in known.items():
            rules.setdefault(words, []).append(offer)
        made = plan(table, *prices, many, limit)
        told.append([made["way"], made["gold"]])
        costs.append(made["cost"])
        way, number = known[""]
        unpaid.append(number * prices[0])
        bills.append(unpaid[-1] + rule[2] * (way == "via weak"))
    # all budgets at once: at a single one, one mistake may look like another
    right = rules.pop("")
    marks.same(told, right, mistakes={w: found for w, found in rules.items() if found != right})
    words = "The weak explanations are missing in the cost."
    marks.near(costs, bills, mistakes={words: unpaid} if unpaid != bills else {})
with marks.case("Nothing is surely better than the large model alone", points=0.5):
    table = {"direct": [(20, 0.2, 0.0, 0.4)], "via weak": [(10, 0.3, -0.1, 0.7)]}
    made = plan(table, 1, 1, 1000, 100)
    marks.same([made["way"], made["gold"]], ["nothing", 0], mistakes={
        UNSURE: ["via weak", 10],
        "A `low` of 0 is not above 0.": ["direct", 20],
    })  # fmt: skip
    marks.near(made["cost"], 0)
    made = plan({"direct": [], "via weak": [(10, 0.3, 0.2, 0.4)]}, 1, 1, 1000, 10)
    marks.same([made["way"], made["gold"]], ["nothing", 0], mistakes={MACHINE: ["via weak", 10]})
    made = plan({"direct": [], "via weak": [(10, 0.3, 0.2, 0.4)]}, 1, 1, 1000, 12)
    marks.same([made["way"], made["gold"]], ["via weak", 10])  # the control: 10 + 1 = 11
with marks.case("Equal gains, and a price equal to the budget", points=0.5):
    # direct: 80; via weak: 30 + 2 * 15 = 60, and 70
    table = {
        "direct": [(80, 0.3, 0.2, 0.4)],
        "via weak": [(40, 0.3, 0.2, 0.4), (30, 0.3, 0.1, 0.5)],
    }
    for limit in (80, 60):
        for turned in (table, dict(reversed(table.items()))):
            made = plan(turned, 1, 15, 2000, limit)
            marks.same([made["way"], made["gold"]], ["via weak", 30], mistakes={
                "A price that equals the budget is paid.": ["nothing", 0],
                "Of equal gains the cheaper offer is to be taken.": ["via weak", 40],
                "Of equal gains the cheaper is to be taken, whichever way it is.": ["direct", 80],
            })  # fmt: skip
            marks.near(made["cost"], 60)
marks.total()

# %% [markdown] hints="labels"
# 1. Write down all that can be bought, with its gain and its cost, before you choose anything.
#
# 2. A row via weak costs gold × gold price + snippets / 1000 × weak price. Keep the rows whose `low`
#    is above 0 and whose cost is within the budget.
#
# 3. Put each offer into a tuple `(-gain, cost, way, gold)`: `min` of them has the highest gain, and
#    among equal gains the lowest cost. Without offers return the plan `"nothing"`.

# %% [markdown] task="advice" kind="explain" minutes=15 difficulty=3 objective="1, 2"
# ## Your opinion, please
#
# A team wants its large model to explain code. It has snippets in plenty and no explanations. It
# carries out its plan as it stands: a small model, taught with 40 gold pairs, explains 64 functions,
# and the large model imitates all of these texts. The numbers are those of the lesson's run, in nats
# per token of the gold, higher is better, with 95 % intervals.
#
# | | log-likelihood of the gold | gain over the untouched model |
# |---|---|---|
# | weak | −4.44 | |
# | strong model, untouched | −3.88 | |
# | student that imitates all (naive) | −3.77 | 0.11 [0.01, 0.21] |
# | strong model, trained on the 40 gold pairs directly | −3.19 | 0.69 [0.60, 0.79] |
# | ceiling, trained on 64 gold pairs | −3.20 | 0.68 [0.59, 0.77] |
#
# The student's PGR is 0.54 [0.49, 0.59]. What it writes has a ROUGE-L 0.06 [0.01, 0.12] *below* that
# of the untouched model. All of its texts begin with "Return"; of the gold texts 17 % do (12
# functions). Of the words that the weak model made up it repeats 35 % for the same function and 26 %
# for another one; the untouched model, which never read them, 15 % and 12 %.
#
# First commit yourself: which judgement do these numbers support?
#
# - (a) Sound if more snippets follow: a PGR of 0.54 says that half of the gap is closed, and each
#   further explanation costs next to nothing.
# - (b) Not sound as it stands: the explanations are cheap, but imitating all of them gave away most
#   of what could be gained.
# - (c) Not sound in any form: the texts of a smaller model, however they are chosen, leave a larger
#   one no better than it was.
# - (d) No judgement yet: with 64 functions and 3 seeds nobody can say which of these models is
#   better than which.
#
# Then evaluate the strategy in 60 to 200 words: its main advantage, its most significant risk, where
# these numbers show the one or the other, and what you advise the team to do.

# %% answer="advice"
position = ""
### BEGIN SOLUTION
position = "b"
### END SOLUTION

# %% [markdown] essay="advice" points=4
# The main advantage is scale. Experts are the bottleneck; once 40 gold pairs have taught the small
# model, each further snippet gets its explanation for a moment of machine time. The most significant
# risk is imitation: training rewards whatever the weak text says, so the student takes over mistakes
# and empty habits and can lose what it knew before. Here it gained 0.11 nats over the untouched
# model, with an interval that nearly touches 0. The PGR of 0.54 flatters, because it counts from a
# weak model that lies far below the untouched one. That every text begins with "Return", that
# ROUGE-L fell and that made-up words come back points to form that was learned and content that was
# lost. So I would not carry it out as it stands. The same 40 gold pairs, used directly, gained 0.69:
# that is the offer the weak texts have to beat. I would train on gold first, add only weak texts that
# the model itself finds likely, or go only part of the way, and let readers compare blind on expert
# explanations that nothing was trained on.
#
# ### Rubric
# - **1** names the main advantage: explanations for all snippets, at a cost that hardly grows
# - **1** names the most significant risk: mistakes and empty habits are rewarded and imitated
# - **1** takes the gain over the untouched model, or the texts, as evidence, and not PGR alone
# - **1** gives a judgement that follows from the numbers (on a condition, or against the plan as it
#   stands), and names a rival or a safeguard (gold directly, fewer texts, a test)
#
# ### Exemplar, 2 of 4
# The strategy is a good one because expert explanations are expensive and the small model can explain
# all snippets for almost nothing, so that the data set can be as large as one likes. There is a risk
# as well. The small model makes mistakes, and since the large model is trained to reproduce its
# texts, it will reproduce the mistakes, which is bad when users rely on the explanations. All in all
# the advantages and disadvantages have to be weighed against each other.
#
# Why: Advantage and risk are there, with their reasons. Not one of the numbers is used, and the last
# sentence is no judgement.
#
# ### Exemplar, 1 of 4
# With a PGR of 0.54 the student has recovered more than half of the gap, and the interval from 0.49
# to 0.59 is narrow, so the result is reliable. The big advantage is that no experts are needed for
# the thousands of snippets. The risk is small, because the student is better than the weak model. I
# would advise the team to go on and to use a larger weak model next time.
#
# Why: The advantage is named. PGR is taken at its word, the untouched model is not looked at, and
# imitation is not mentioned.

# %% check="advice" points=0
marks = Marks("advice")
with marks.case("You have committed yourself to one of the letters a to d", points=0):
    marks.holds(position in list("abcd"), "Put one letter into `position`.")
marks.total()

# %% hidden="advice" points=1
marks = Marks("advice", hidden=True)
with marks.case("Which judgement the numbers support"):
    marks.same(position, "b", mistakes={
        "PGR counts from the weak model. From the untouched model it is 0.11 of 0.68 nats.": "a",
        "It did learn from them: the student is better than the untouched model, by little.": "c",
        "One can: the intervals tell 0.11 and 0.69 apart beyond doubt.": "d",
    })  # fmt: skip
marks.total()

# %% [markdown] hints="advice"
# 1. What did the team have before it trained anything? Count every gain from there.
#
# 2. Which of the numbers would change if the student had only learned how a docstring begins? Which
#    of them would not?
#
# 3. One sentence each: what grows at no cost, what the training rewards, what the student gained
#    over the untouched model, what the 40 gold pairs gain without any weak text, and what you would
#    change.

# %% [markdown]
# ## Your score
#
# On visible cases, for the checks that you have run:

# %%
score()
