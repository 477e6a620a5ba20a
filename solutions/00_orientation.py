# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Exercises 00 · Four numbers and what they can hide
#
# Write your code where it says `YOUR CODE HERE`, in the place of `raise NotImplementedError()`, and
# run the cell below it: the check says at once what holds and what does not, and how near is near
# enough. Each failed case costs its own points only. Stuck? Unfold one hint at a time. The tasks do
# not build on each other. Some cases stay hidden until the notebook is graded.

# %% given="seed"
SEED = 0
# Your numbers are drawn with this seed; leave it as it is.

# %% given="setup"
import math

import numpy as np

from w2s_lab.exercise import Marks, score

# %% [markdown] task="numbers" kind="recall" minutes=10 difficulty=1 objective="1, 2"
# ## What the numbers say
#
# Put one letter behind each question.
#
# **q1** A student reaches exactly its weak teacher's score. Its PGR is
#
# - (a) 1
# - (b) 0
# - (c) undefined
# - (d) minus 1
#
# **q2** The ceiling is
#
# - (a) the best score that any model could reach
# - (b) the strong model before any training
# - (c) the strong model trained on gold labels of the same examples
# - (d) a perfect score
#
# **q3** Over five seeds the ceiling is on average no better than the weak model. The honest report is
#
# - (a) a PGR of 0
# - (b) the PGR of the one seed that has a gap
# - (c) a very large PGR
# - (d) "undefined: there is no gap to recover"
#
# **q4** Student, weak model and ceiling are scored on the same test items. A resample for the
# interval draws
#
# - (a) the same items for all three
# - (b) other items for each of the three
# - (c) only items that the weak model got wrong
# - (d) each item once, in another order

# %% answer="numbers"
answers = {"q1": "", "q2": "", "q3": "", "q4": ""}
### BEGIN SOLUTION
answers = {"q1": "b", "q2": "c", "q3": "d", "q4": "a"}
### END SOLUTION

# %% check="numbers" points=0
marks = Marks("numbers")
with marks.case("Each question has one of the letters a to d", points=0):
    for question in ("q1", "q2", "q3", "q4"):
        marks.holds(answers[question] in list("abcd"), f"Put one letter behind {question}.")
marks.total()

# %% hidden="numbers" points=4
marks = Marks("numbers", hidden=True)
with marks.case("q1: where PGR is 0"):
    marks.same(answers["q1"], "b", mistakes={
        "PGR is 1 at the ceiling, not at the teacher's score.": "a",
        "It is defined: nothing was recovered of a gap that is there.": "c",
        "Below 0 are students that end below their teacher.": "d",
    })  # fmt: skip
with marks.case("q2: what the ceiling is"):
    marks.same(answers["q2"], "c", mistakes={
        "Another model, or more gold, might do better: the ceiling is a comparison, no limit.": "a",
        "That is the zero-shot baseline.": "b",
        "No model here is perfect: the ceiling is measured.": "d",
    })  # fmt: skip
with marks.case("q3: when there is no gap"):
    marks.same(answers["q3"], "d", mistakes={
        "0 would say that there was something to recover.": "a",
        "Picking a seed by its outcome is how noise becomes a finding.": "b",
        "The quotient may be large, and it means nothing.": "c",
    })  # fmt: skip
with marks.case("q4: what a resample draws"):
    marks.same(answers["q4"], "a", mistakes={
        "Then the luck of the draw no longer cancels: the interval gets too wide.": "b",
        "The scores have to stay scores on the test set.": "c",
        "Without replacement nothing varies: each resample has the same mean.": "d",
    })  # fmt: skip
marks.total()

# %% [markdown] hints="numbers"
# 1. Write the quotient down: what is above the line when student and weak model are equal?
#
# 2. The ceiling answers: how good would the *same* training be with right labels?
#
# 3. Pairing: two models that were tried on the same hard items share their bad luck. A resample
#    should leave that as it is.

# %% [markdown] task="pgr" kind="implement" minutes=10 difficulty=1 objective=1
# ## The performance gap recovered
#
# Write `pgr(weak, student, ceiling)`: three scores in, the share of the gap between weak model and
# ceiling that the student recovered out, as a float. Where the ceiling is not above the weak model
# there is no gap: return `math.nan` there, and raise nothing. A student below its teacher has a
# negative PGR, one above the ceiling more than 1; cut nothing off.
#
# Results may be off by a millionth.


# %% answer="pgr"
def pgr(weak, student, ceiling):
    """The share of the gap between `weak` and `ceiling` that `student` recovered."""
    ### BEGIN SOLUTION
    if ceiling <= weak:
        return math.nan
    return (student - weak) / (ceiling - weak)
    ### END SOLUTION


# %% check="pgr" points=2
marks = Marks("pgr")
SWAPPED = "Your denominator is ceiling − student; PGR divides by ceiling − weak."
INVERTED = "You measure what is left of the gap; PGR is the part that was recovered."
with marks.case("A quarter of the way from 0.60 to 0.80 is a PGR of 0.25"):
    marks.near(pgr(0.60, 0.65, 0.80), 0.25, mistakes={
        SWAPPED: 1 / 3,
        INVERTED: 0.75,
        "You divide by the ceiling; PGR divides by the gap, ceiling − weak.": 0.0625,
        "You return the difference alone; PGR is a share of the gap.": 0.05,
    })  # fmt: skip
with marks.case("Without a gap the result is nan"):
    marks.holds(
        math.isnan(pgr(0.80, 0.85, 0.80)), "Where the ceiling is not above weak, return math.nan."
    )
marks.total()

# %% hidden="pgr" points=3
marks = Marks("pgr", hidden=True)
draw = np.random.default_rng([SEED, 1])
with marks.case("Numbers of your own"):
    low, gap, part = draw.uniform(0.5, 0.6), draw.uniform(0.1, 0.3), draw.uniform(0.2, 0.45)
    marks.near(
        pgr(low, low + part * gap, low + gap),
        part,
        mistakes={SWAPPED: part / (1 - part), INVERTED: 1 - part},
    )
with marks.case("Students below the weak model and above the ceiling"):
    # (0.5 - 0.6) / (0.8 - 0.6) = -0.5; (0.9 - 0.6) / (0.8 - 0.6) = 1.5
    got = [pgr(0.6, 0.5, 0.8), pgr(0.6, 0.9, 0.8)]
    marks.near(got, [-0.5, 1.5], mistakes={
        "You cut PGR off at 0 and 1. A student that got worse must show.": [0, 1],
        "You take the size of the difference. A student that got worse must show.": [0.5, 1.5],
    })  # fmt: skip
with marks.case("A ceiling below the weak model is no gap either"):
    marks.holds(
        math.isnan(pgr(0.80, 0.75, 0.70)), "A ceiling below weak gives a number; it means nothing."
    )
marks.total()

# %% [markdown] hints="pgr"
# 1. PGR answers: of all that there was to gain, how much was gained? Put a number to each half.
#
# 2. To gain: from the weak model to the ceiling. Gained: from the weak model to the student.
#
# 3. First ask whether `ceiling <= weak`, and return there; then divide the gained by the gap.

# %% [markdown] task="interval" kind="implement" minutes=20 difficulty=3 objective=2
# ## Its interval
#
# A PGR is a quotient of three means over a few seeds and a few hundred test items, so it needs an
# interval. Write `pgr_interval(weak, student, ceiling, resamples, seed)`.
#
# - `weak`, `student`, `ceiling`: arrays of shape (seeds, items), 1 where a model was right.
# - For each resample draw as many seeds and as many items as there are, both with replacement: the
#   same items for all seeds, and **the same draw for all three** arrays. Take the three means and
#   their PGR. No resample in the checks is without a gap.
# - Return the pair of the 2.5th and the 97.5th percentile.
#
# Draws differ from program to program: with 1,000 resamples an end may be off by 6 % of the
# interval's width, on average over six intervals.


# %% answer="interval"
def pgr_interval(weak, student, ceiling, resamples=2000, seed=0):
    """The ends of the 95 % interval of PGR, by a bootstrap over seeds and test items."""
    ### BEGIN SOLUTION
    draw = np.random.default_rng(seed)
    seeds, items = weak.shape
    found = []
    for _ in range(resamples):
        rows = draw.integers(seeds, size=seeds)
        columns = draw.integers(items, size=items)
        means = [scores[np.ix_(rows, columns)].mean() for scores in (weak, student, ceiling)]
        found.append((means[1] - means[0]) / (means[2] - means[0]))
    return np.percentile(found, 2.5), np.percentile(found, 97.5)
    ### END SOLUTION


# %% given="drawn"
SHARES = (0.6, 0.75, 0.9)  # about what weak model, student and ceiling get right


def drawn(rng, seeds, items):
    """Right and wrong answers of three models on the same items, shape (seeds, items) each."""
    hard = rng.uniform(size=items)  # an item that is hard for one model is hard for all
    luck = 0.1 * rng.normal(size=(3, seeds, items))
    return [(hard + noise < share).astype(float) for noise, share in zip(luck, SHARES, strict=True)]


# %% check="interval" points=3
marks = Marks("interval")
models = drawn(np.random.default_rng(7), seeds=5, items=200)
with marks.case("A student that equals the ceiling has recovered all, in every resample"):
    low, high = pgr_interval(models[0], models[2], models[2], resamples=200)
    marks.holds(
        abs(high - low) < 1e-9,
        "The three models were not resampled together: with the same seeds and items for all "
        "three, a student that equals the ceiling has a PGR of exactly 1.",
    )
    marks.near([low, high], [1, 1])
with marks.case("The interval holds the PGR of the means and has a width"):
    low, high = pgr_interval(*models, resamples=200)
    means = [scores.mean() for scores in models]
    point = (means[1] - means[0]) / (means[2] - means[0])
    marks.holds(low <= high, "The lower end comes first.")
    marks.holds(high > low, "Nothing varies from resample to resample: draw with replacement.")
    marks.holds(low < point < high, f"The PGR of the means, {point:.2f}, lies outside.")
with marks.case("Five very different seeds make it wide"):
    ones = np.ones((5, 300))
    shares = np.array([0.55, 0.65, 0.75, 0.85, 0.95])[:, None]
    varied = (np.arange(300) / 300 < shares).astype(float)
    low, high = pgr_interval(0 * ones, varied, ones, resamples=200)
    words = "Five very different seeds leave no trace: resample the seeds too, not only the items."
    marks.holds(high - low > 0.15, words)
marks.total()

# %% hidden="interval" points=3
marks = Marks("interval", hidden=True)
from w2s_lab.metrics import bootstrap_pgr

ENDS = (
    "The ends are not the 2.5th and 97.5th percentiles over seeds and items, drawn as told: the "
    "same items for all seeds and all three models."
)
for title, items in (("Many items", 200), ("Few items: the interval is wide", 60)):
    with marks.case(title):
        off = []
        for place in range(6):
            three = drawn(np.random.default_rng([SEED, items, place]), 5, items)
            right = bootstrap_pgr(*three, resamples=1000, seed=1)
            ends = np.asarray(pgr_interval(*three, resamples=1000), float)
            off.append((ends - [right.low, right.high]) / (right.high - right.low))
        marks.holds(np.abs(np.mean(off, axis=0)).max() <= 0.06, ENDS)
with marks.case("The same seed gives the same interval"):
    three = drawn(np.random.default_rng([SEED, 4]), 3, 50)
    marks.near(
        pgr_interval(*three, resamples=50, seed=5), pgr_interval(*three, resamples=50, seed=5)
    )
marks.total()

# %% [markdown] hints="interval"
# 1. Write one resample first: which rows, which columns, and one PGR. The rest is a loop.
#
# 2. `draw.integers(n, size=n)` draws n of n with replacement. Do it once for the rows and once for
#    the columns, before you touch any of the three arrays.
#
# 3. `scores[np.ix_(rows, columns)].mean()` is a resampled mean. Collect the PGRs in a list and end
#    with `np.percentile(found, 2.5), np.percentile(found, 97.5)`.

# %% [markdown] task="report" kind="diagnose" minutes=10 difficulty=1 objective=1
# ## A report that flatters
#
# A colleague's report says that the student recovered everything, and more. The numbers below come
# from it: predictions of 0 and 1 on the same test items, the weak model's labels among them.


# %% given="colleague"
def colleagues_report(weak, student, ceiling, gold):
    """Scores and PGR from predictions of shape (items,), as the colleague computes them."""
    scores = {
        "weak": (weak == gold).mean(),
        "student": (student == weak).mean(),
        "ceiling": (ceiling == gold).mean(),
    }
    gap = scores["ceiling"] - scores["weak"]
    return scores | {"pgr": (scores["student"] - scores["weak"]) / gap}


rng = np.random.default_rng([SEED, 10])
gold = rng.integers(2, size=1000)
flipped = {
    name: rng.uniform(size=1000) < share for name, share in (("weak", 0.3), ("ceiling", 0.1))
}
weak, ceiling = (np.where(flipped[name], 1 - gold, gold) for name in ("weak", "ceiling"))
student = np.where(rng.uniform(size=1000) < 0.04, 1 - weak, weak)

# %%
colleagues_report(weak, student, ceiling, gold)

# %% [markdown]
# Find what is wrong, and write `report` so that it returns the same four entries, computed as they
# should be. Results may be off by a millionth.


# %% answer="report"
def report(weak, student, ceiling, gold):
    """Scores and PGR from predictions of shape (items,), each score against the right labels."""
    ### BEGIN SOLUTION
    scores = {
        "weak": (weak == gold).mean(),
        "student": (student == gold).mean(),
        "ceiling": (ceiling == gold).mean(),
    }
    gap = scores["ceiling"] - scores["weak"]
    return scores | {"pgr": (scores["student"] - scores["weak"]) / gap}
    ### END SOLUTION


# %% check="report" points=2
marks = Marks("report")
# gold    0 0 0 0 1 1 1 1 1 1
# weak    1 1 0 0 1 1 1 1 0 0   right 6 of 10
# student 1 0 0 0 1 1 1 1 0 0   right 7 of 10, equal to weak 9 of 10
# ceiling 0 0 0 0 1 1 1 1 1 0   right 9 of 10; PGR = (0.7 - 0.6) / (0.9 - 0.6) = 1/3
rows = [[0, 0, 0, 0, 1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1, 1, 1, 0, 0],
        [1, 0, 0, 0, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1, 1, 0]]  # fmt: skip
truth, *three = map(np.array, rows)
AGREES = (
    "The student is still scored on the weak model's labels. That measures imitation: a student "
    "that copies every error gets a perfect score."
)
CEILING = "The ceiling is scored on the weak labels too. All three are scored on gold."
with marks.case("Each model is scored on gold"):
    made = report(*three, truth)
    marks.near(
        [made["weak"], made["student"], made["ceiling"]],
        [0.6, 0.7, 0.9],
        mistakes={AGREES: [0.6, 0.9, 0.9], CEILING: [0.6, 0.7, 0.7]},
    )
with marks.case("The PGR belongs to these scores"):
    marks.near(made["pgr"], 1 / 3, mistakes={
        AGREES: 1.0,
        "Your denominator is ceiling − student; PGR divides by ceiling − weak.": 0.5,
    })  # fmt: skip
marks.total()

# %% hidden="report" points=2
marks = Marks("report", hidden=True)
with marks.case("On the colleague's own numbers"):
    made = report(weak, student, ceiling, gold)
    right = [(one == gold).mean() for one in (weak, student, ceiling)]
    marks.near(
        [made["weak"], made["student"], made["ceiling"]],
        right,
        mistakes={AGREES: [right[0], (student == weak).mean(), right[2]]},
    )
with marks.case("A student that copies its teacher in everything has recovered nothing"):
    marks.near(report(weak, weak, ceiling, gold)["pgr"], 0, mistakes={
        AGREES: (1 - right[0]) / (right[2] - right[0]),
    })  # fmt: skip
marks.total()

# %% [markdown] hints="report"
# 1. Run the colleague's function with `student=weak`. What should the PGR of a perfect copy be?
#
# 2. Read the three lines that compare predictions. To what is each model compared?
#
# 3. `(student == weak)` asks whether the student agrees with its teacher. The score asks whether it
#    is right: compare with `gold`, in all three lines.

# %% [markdown] task="teacher" kind="decide" minutes=15 difficulty=3 objective=3
# ## Which teacher for the money?
#
# Lesson 00 showed that a student recovers more from a teacher that errs at random than from one that
# errs systematically. Assume for this task, more starkly than there, that it repeats a tenth of the
# random errors and nine tenths of the systematic ones, and makes no new ones. Of each teacher on
# offer you know the price of labelling the whole pool, its error rate, and the share of its errors
# that is systematic. The offers below are drawn for you.

# %% given="offers"
REPEATED = {"random": 0.1, "systematic": 0.9}


def offered(rng):
    """Six teachers: name → price in euros, error rate, share of systematic errors."""
    return {
        name: {
            "price": int(rng.integers(1, 20)) * 50,
            "error": round(float(rng.uniform(0.1, 0.4)), 2),
            "systematic": round(float(rng.uniform(0.05, 0.95)), 2),
        }
        for name in ("Ada", "Ben", "Cem", "Dee", "Eva", "Fay")
    }


offers = offered(np.random.default_rng([SEED, 20]))
offers

# %% [markdown]
# Write `choose_teacher(offers, budget)`: the name of the teacher whose *student* is expected to make
# the fewest errors, among those that the budget pays for (a price equal to the budget is paid).
# Return `None` where it pays for none. In the checks no two students are expected to be equally good.


# %% answer="teacher"
def choose_teacher(offers, budget):
    """The name of the affordable teacher with the best student; None where there is none."""

    ### BEGIN SOLUTION
    def expected_error(offer):
        systematic = offer["systematic"] * REPEATED["systematic"]
        return offer["error"] * (systematic + (1 - offer["systematic"]) * REPEATED["random"])

    paid = {name: offer for name, offer in offers.items() if offer["price"] <= budget}
    return min(paid, key=lambda name: expected_error(paid[name]), default=None)
    ### END SOLUTION


# %% check="teacher" points=2
marks = Marks("teacher")
# expected errors of the students: Ann's 0.082, Bob's 0.052, Col's 0.054, Dot's 0.2
table = {
    "Ann": {"price": 300, "error": 0.10, "systematic": 0.9},
    "Bob": {"price": 400, "error": 0.20, "systematic": 0.2},
    "Col": {"price": 200, "error": 0.30, "systematic": 0.1},
    "Dot": {"price": 100, "error": 0.40, "systematic": 0.5},
}
SCORE = (
    "You take the teacher with the fewest errors. What counts is the errors that its student keeps."
)
SHARE = "You take the smallest share of systematic errors. It is a share of how many errors?"
CHEAP = "You take the cheapest. The budget is a limit, not a prize."
OVER = "That teacher costs more than the budget."
LESS = "A price equal to the budget is paid as well."
with marks.case("With 400 euros every teacher can be paid, Bob just so, and his student is best"):
    marks.same(choose_teacher(table, 400), "Bob", mistakes={
        SCORE: "Ann", SHARE + " Or is a price equal to the budget refused?": "Col", CHEAP: "Dot",
    })  # fmt: skip
with marks.case("With 300 euros Bob is too dear"):
    marks.same(choose_teacher(table, 300), "Col", mistakes={
        OVER: "Bob", SCORE: "Ann", CHEAP: "Dot",
    })  # fmt: skip
marks.total()

# %% hidden="teacher" points=3
marks = Marks("teacher", hidden=True)


def kept(offer):
    return offer["error"] * (0.1 + 0.8 * offer["systematic"])


tables = [offered(np.random.default_rng([SEED, place])) for place in range(20, 40)]
tables = [one for one in tables if len({round(kept(offer), 9) for offer in one.values()}) == 6]


def chosen(key, most):
    """What a rule chooses from each of the tables: all together tell one rule from another."""
    paid = [{name: one[name] for name in one if one[name]["price"] <= most} for one in tables]
    return [min(one, key=lambda name: key(one[name]), default="nobody") for one in paid]


for title, budget in (("Your offers, a middling budget", 500), ("Your offers, all paid for", 950)):
    with marks.case(title):
        rules = {
            SCORE: chosen(lambda offer: offer["error"], budget),
            SHARE: chosen(lambda offer: offer["systematic"], budget),
            CHEAP: chosen(lambda offer: offer["price"], budget),
            OVER: chosen(kept, math.inf),
            LESS: chosen(kept, budget - 1),
        }
        right = chosen(kept, budget)
        marks.same(
            [choose_teacher(one, budget) or "nobody" for one in tables],
            right,
            mistakes={words: names for words, names in rules.items() if names != right},
        )
with marks.case("A budget that pays for nobody"):
    got = choose_teacher(tables[0], 0)
    marks.holds(got is None, "Return None where the budget pays for nobody.")
marks.total()

# %% [markdown] hints="teacher"
# 1. Split a teacher's errors in two kinds. Of each kind, how many does the student repeat?
#
# 2. Expected error of the student = error × (systematic × 0.9 + (1 − systematic) × 0.1).
#
# 3. First keep the offers with `price <= budget`; then `min(..., key=..., default=None)` over their
#    names.

# %% [markdown] task="headline" kind="explain" minutes=15 difficulty=2 objective=2
# ## A headline
#
# A press release says: "Our strong model, taught by a weak one alone, recovers 90 % of the
# performance gap." Further down: weak model 0.81, student 0.828, ceiling 0.83, one seed, 500 test
# items. The strong model without any training is not mentioned.
#
# First commit yourself: what is the first thing wrong with the headline?
#
# - (a) The PGR is computed wrongly.
# - (b) The gap is so small beside the noise that the quotient says next to nothing.
# - (c) A PGR of 0.9 is impossible.
# - (d) Accuracy is the wrong measure.
#
# Then explain in 60 to 200 words what you would ask the authors for before you believed them, and
# what each of the missing numbers could do to the claim.

# %% answer="headline"
position = ""
### BEGIN SOLUTION
position = "b"
### END SOLUTION

# %% [markdown] essay="headline" points=4
# The gap is two points wide, and on 500 items the standard error of one accuracy is nearly two
# points. So the quotient divides one noise by another: on other items, or with another seed, it
# could be anything, and the ceiling might come out below the weak model, where PGR is undefined. I
# would ask for an interval of PGR over several seeds and all test items, resampled together. Then
# for the baselines. If the strong model without training already scores 0.83, the weak labels taught
# it nothing and the PGR of 0.9 describes what it brought along. If it was better than 0.828, the
# training did harm. A majority class near 0.8 would mean that the weak model itself knows little.
# Last, I would ask how many students were tried before this one was reported.
#
# ### Rubric
# - **1** says that the gap is small beside the noise of 500 items, so that the quotient is unstable
# - **1** asks for an interval over seeds and items
# - **1** asks for the strong model without training and says what it could change
# - **1** names a further threat (majority class, choice among several runs, test items reused)
#
# ### Exemplar, 2 of 4
# With one seed and only 500 items the result is not significant. They should run more seeds and
# give an interval over seeds and test items. Then one could see whether 0.828 is really higher than
# 0.81, because the difference is nine items out of five hundred.
#
# Why: Noise and interval are there. No baseline is asked for, and nothing is said of what else could
# explain the score.
#
# ### Exemplar, 1 of 4
# 90 % is a lot and I do not believe it. The authors should publish their code and data so that
# others can repeat the experiment, and they should use a larger test set, because 500 items are too
# few to trust a difference of two points.
#
# Why: It sees that 500 items are few for such a gap. A call for code is reasonable, and does not say
# which number is missing.

# %% check="headline" points=0
marks = Marks("headline")
with marks.case("You have committed yourself to one of the letters a to d", points=0):
    marks.holds(position in list("abcd"), "Put one letter into `position`.")
marks.total()

# %% hidden="headline" points=1
marks = Marks("headline", hidden=True)
with marks.case("What is wrong first"):
    marks.same(position, "b", mistakes={
        "It is computed rightly: 0.018 of 0.02 is 0.9. The trouble lies in what is divided.": "a",
        "It is possible, and it happens. Here it means little.": "c",
        "Accuracy may do. With balanced classes nothing speaks against it.": "d",
    })  # fmt: skip
marks.total()

# %% [markdown] hints="headline"
# 1. How many of the 500 items lie between 0.81 and 0.83?
#
# 2. The standard error of an accuracy p on n items is √(p(1 − p)/n). Compare it with the gap.
#
# 3. Lesson 00 always shows three things beside a PGR: its interval, the strong model without
#    training, and the majority class. Go through them one by one.

# %% [markdown]
# ## Your score
#
# On visible cases, for the checks that you have run:

# %%
score()
