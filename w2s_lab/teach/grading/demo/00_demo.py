# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # A small assignment, to try grading with
#
# Write your code where it says `YOUR CODE HERE`, in the place of `raise NotImplementedError()`, and
# run the cell below it. Each failed case costs its own points only. The tasks do not build on each
# other. Some cases stay hidden until the notebook is graded.

# %% given="seed"
SEED = 0
# Your numbers are drawn with this seed; leave it as it is.

# %% given="setup"
import math

import numpy as np

from w2s_lab.exercise import Marks, score


def share(part, whole):
    """`part / whole`, and nan where `whole` is not above 0."""
    return part / whole if whole > 0 else math.nan


# %% [markdown] task="numbers" kind="recall" minutes=5 difficulty=1 objective="1, 2"
# ## Three words, three numbers
#
# Put one letter behind each question.
#
# **q1** On every test item a student says the same as its weak supervisor. The performance gap that
# it recovered (PGR) is
#
# - (a) 0
# - (b) 1
# - (c) undefined
#
# **q2** The student is trained on
#
# - (a) the right labels
# - (b) the labels of its supervisor
# - (c) both, mixed
#
# **q3** A cascade may hand a fifth of 50 items to the large model. These are
#
# - (a) 5 items
# - (b) 40 items
# - (c) 10 items

# %% answer="numbers"
answers = {"q1": "", "q2": "", "q3": ""}
### BEGIN SOLUTION
answers = {"q1": "a", "q2": "b", "q3": "c"}
### END SOLUTION

# %% check="numbers" points=0
marks = Marks("numbers")
with marks.case("Each question has one of the letters a to c", points=0):
    for question in ("q1", "q2", "q3"):
        marks.holds(answers[question] in list("abc"), f"Put one letter behind {question}.")
marks.total()

# %% hidden="numbers" points=3
marks = Marks("numbers", hidden=True)
with marks.case("q1: a student that copies its supervisor"):
    marks.same(answers["q1"], "a", mistakes={
        "1 would mean that it reached the ceiling. It gained nothing.": "b",
        "It is defined as long as there is a gap.": "c",
    })  # fmt: skip
with marks.case("q2: what the student learns from"):
    marks.same(answers["q2"], "b", mistakes={
        "With right labels it would be the ceiling.": "a",
        "No right label is used in training, or nothing is learned about weak supervision.": "c",
    })  # fmt: skip
with marks.case("q3: what a budget comes to"):
    marks.same(answers["q3"], "c", mistakes={
        "A tenth of 50 is 5.": "a",
        "That is what the small model keeps.": "b",
    })  # fmt: skip
marks.total()

# %% [markdown] hints="numbers"
# 1. Say each term in your own words first: supervisor, gap, budget.
#
# 2. What stands above the line of the quotient, when two scores are equal?
#
# 3. A fifth of a hundred would be 20.

# %% [markdown] task="recovered" kind="implement" minutes=10 difficulty=2 objective=1
# ## The gap recovered over several seeds
#
# Write `recovered(weak, student, ceiling)`. Each argument is a list of scores, one for each seed.
# Return the PGR **of the mean scores**, as a float; where the mean ceiling is not above the mean of
# the weak model, return `math.nan` (`share`, above, does so). Cut nothing off. Results may be off
# by a millionth.


# %% answer="recovered"
def recovered(weak, student, ceiling):
    """The PGR of the mean scores over seeds; nan where there is no gap."""
    ### BEGIN SOLUTION
    low, middle, high = map(np.mean, (weak, student, ceiling))
    return share(middle - low, high - low)
    ### END SOLUTION


# %% check="recovered" points=2
marks = Marks("recovered")
AVERAGED = "You average the PGRs of the seeds. A seed with a small gap then outweighs the others."
LEFT = "You measure what is left of the gap; PGR is the part that was recovered."
SWAPPED = "Your denominator is ceiling − student; PGR divides by ceiling − weak."
with marks.case("Two seeds, of which one gained nothing"):
    # means 0.65, 0.70, 0.80: 0.05 / 0.15; PGRs of the seeds 0.1 / 0.2 and 0 / 0.1
    marks.near(recovered([0.6, 0.7], [0.7, 0.7], [0.8, 0.8]), 1 / 3, mistakes={
        AVERAGED: 0.25, LEFT: 2 / 3, SWAPPED: 0.5,
    })  # fmt: skip
with marks.case("Without a gap the result is nan"):
    got = recovered([0.8, 0.8], [0.9, 0.9], [0.8, 0.8])
    marks.holds(math.isnan(got), "Where the ceiling is not above weak, return math.nan.")
marks.total()

# %% hidden="recovered" points=2
marks = Marks("recovered", hidden=True)
with marks.case("Numbers of your own"):
    draw = np.random.default_rng([SEED, 1])
    low, gap = draw.uniform(0.5, 0.6, 3), np.array([0.1, 0.2, 0.3])
    part = draw.uniform(0.1, 0.4, 3)
    middle, high = low + part * gap, low + gap
    want = (middle.mean() - low.mean()) / (high.mean() - low.mean())
    marks.near(recovered(low.tolist(), middle.tolist(), high.tolist()), want, mistakes={
        AVERAGED: part.mean(), LEFT: 1 - want, SWAPPED: want / (1 - want),
    })  # fmt: skip
with marks.case("A student below its supervisor"):
    # (0.5 - 0.6) / (0.8 - 0.6)
    marks.near(recovered([0.6, 0.6], [0.5, 0.5], [0.8, 0.8]), -0.5, mistakes={
        "You cut PGR off at 0. A student that got worse must show.": 0.0,
        "You take the size of the difference. A student that got worse must show.": 0.5,
    })  # fmt: skip
marks.total()

# %% [markdown] hints="recovered"
# 1. How many numbers does the quotient need, and how many do you have?
#
# 2. First three means, one for each list; then one quotient.
#
# 3. Ask whether there is a gap before you divide.

# %% [markdown] task="repeated" kind="implement" minutes=10 difficulty=2 objective=1
# ## Errors that are handed down
#
# A student that agrees with its supervisor may agree with it where it is wrong. Write
# `repeated(student, weak, gold)`: of the items on which the supervisor `weak` is wrong, the share
# on which the student gives the same wrong answer. The arguments are arrays of 0 and 1, shape
# (items,). Where the supervisor makes no error, return `math.nan`. Results may be off by a
# millionth.


# %% answer="repeated"
def repeated(student, weak, gold):
    """The share of the supervisor's errors that the student repeats."""
    ### BEGIN SOLUTION
    wrong = weak != gold
    return share((student == weak)[wrong].sum(), wrong.sum())
    ### END SOLUTION


# %% check="repeated" points=2
marks = Marks("repeated")
AGREES = "That is agreement over all items. Count only those on which the supervisor is wrong."
OVER_ALL = "You divide by all items; divide by the supervisor's errors."
MENDED = "You count the errors that the student mended; repeated ones are asked for."
gold = np.array([0, 0, 0, 0, 1, 1, 1, 1])
weak = np.array([1, 1, 0, 0, 1, 1, 0, 0])  # wrong on 4 of 8
student = np.array([1, 0, 0, 0, 1, 1, 0, 0])  # says the same on 7 of 8, on 3 of those 4
with marks.case("Three of four errors"):
    marks.near(repeated(student, weak, gold), 0.75, mistakes={
        AGREES: 0.875, OVER_ALL: 0.375, MENDED: 0.25,
        "That is the student's accuracy. What does it share with its supervisor?": 0.625,
    })  # fmt: skip
with marks.case("Without errors the result is nan"):
    words = "Where the supervisor makes no error, return math.nan."
    marks.holds(math.isnan(repeated(student, gold, gold)), words)
marks.total()

# %% hidden="repeated" points=2
marks = Marks("repeated", hidden=True)
with marks.case("Numbers of your own"):
    draw = np.random.default_rng([SEED, 2])
    gold = draw.integers(2, size=400)
    weak = np.where(draw.uniform(size=400) < 0.3, 1 - gold, gold)
    student = np.where(draw.uniform(size=400) < 0.2, 1 - weak, weak)
    same, wrong = student == weak, weak != gold
    marks.near(repeated(student, weak, gold), same[wrong].mean(), mistakes={
        AGREES: same.mean(), OVER_ALL: (same & wrong).mean(), MENDED: 1 - same[wrong].mean(),
    })  # fmt: skip
with marks.case("A student that repeats none"):
    gold, weak = np.zeros(6, int), np.array([1, 1, 0, 0, 0, 0])
    marks.near(repeated(gold, weak, gold), 0.0, mistakes={MENDED: 1.0, AGREES: 4 / 6})
marks.total()

# %% [markdown] hints="repeated"
# 1. Two questions for each item: is the supervisor wrong there, and do both say the same?
#
# 2. Select the items first; then take a mean over what is selected.
#
# 3. A comparison of two arrays is an array of True and False, and can select from another one.

# %% [markdown] task="defer" kind="decide" minutes=10 difficulty=2 objective=2
# ## What to hand to the large model
#
# A small model answers all items, and `budget` of them may go to a large one. Write
# `defer(confidence, budget)`: the places (0 for the first item) of the `budget` items with the
# lowest confidence, as a list in increasing order. Of equally sure items the earlier goes first.


# %% answer="defer"
def defer(confidence, budget):
    """The places of the items that the large model gets, in increasing order."""
    ### BEGIN SOLUTION
    return sorted(np.argsort(confidence, kind="stable")[:budget].tolist())
    ### END SOLUTION


# %% check="defer" points=2
marks = Marks("defer")
SURE = "You hand over what the small model is most sure of. It needs help with the others."
ORDER = "These are the right items in the order of confidence; the order of places is asked for."
with marks.case("A budget of 0 hands over nothing"):
    marks.same(defer([0.9, 0.55], 0), [], mistakes={"With a budget of 0 all went.": [0, 1]})
with marks.case("Two of six items"):
    marks.same(defer([0.9, 0.55, 0.7, 0.51, 0.99, 0.6], 2), [1, 3], mistakes={
        SURE: [0, 4], ORDER: [3, 1], "One item too many: `budget` is how many.": [1, 3, 5],
    })  # fmt: skip
marks.total()

# %% hidden="defer" points=2
marks = Marks("defer", hidden=True)
with marks.case("Numbers of your own"):
    sure = np.random.default_rng([SEED, 3]).permutation(np.linspace(0.5, 1, 20)).tolist()
    places = sorted(range(20), key=lambda place: sure[place])
    marks.same(defer(sure, 5), sorted(places[:5]), mistakes={
        SURE: sorted(places[-5:]), ORDER: places[:5],
    })  # fmt: skip
with marks.case("Equally sure items"):
    marks.same(defer([0.9, 0.5, 0.5, 0.5], 2), [1, 2], mistakes={
        "Of equally sure items the earlier one goes first.": [2, 3], SURE: [0, 1],
    })  # fmt: skip
marks.total()

# %% [markdown] hints="defer"
# 1. Two sortings: one decides which items go, another one puts their places in order.
#
# 2. Sort the places by confidence, and keep the first few.
#
# 3. A stable sorting leaves equal ones as they stand; `sorted` is stable.

# %% [markdown] task="claim" kind="explain" minutes=10 difficulty=2 objective="1, 2"
# ## It agrees, so it works
#
# A report says: "Our student gives the same answer as its supervisor on 95 % of the test items, so
# the method works." The supervisor is right on 80 %. Nothing else is reported.
#
# First commit yourself: what is wrong first of all?
#
# - (a) Agreement with the supervisor is no sign of quality.
# - (b) 95 % is too little.
# - (c) Agreement should be measured on the training items.
#
# Then explain in 20 to 100 words what you would ask the authors for, and why.

# %% answer="claim"
position = ""
### BEGIN SOLUTION
position = "a"
### END SOLUTION

# %% [markdown] essay="claim" points=4
# Agreement measures imitation: a student that copies each error of its supervisor agrees on 100 %.
# I would ask for scores on the right labels, of supervisor, student and ceiling, since only these
# give a gap and the share of it that was recovered. Then for the share of the supervisor's errors
# that the student repeats: mended ones are what weak supervision is about. Last, for an interval
# over seeds and test items, as one run may be luck.
#
# ### Rubric
# - **1** says that agreement measures imitation, errors included
# - **1** asks for scores on right labels, or for the PGR
# - **1** asks which of the supervisor's errors are repeated or mended
# - **1** asks for an interval, for several seeds, or for more test items
#
# ### Exemplar, 2 of 4
# Who copies everything agrees on everything, mistakes included. They should report the accuracy of
# the student on gold labels next to that of the supervisor.
#
# Why: Imitation and right labels are there; nothing on the errors, nothing on chance.
#
# ### Exemplar, 1 of 4
# One run on one test set is not enough. I would ask for five seeds before I believe it.
#
# Why: Chance is one threat. The larger one is that the number measures the wrong thing.

# %% check="claim" points=0
marks = Marks("claim")
with marks.case("You have committed yourself to one of the letters a to c", points=0):
    marks.holds(position in list("abc"), "Put one letter into `position`.")
marks.total()

# %% hidden="claim" points=1
marks = Marks("claim", hidden=True)
with marks.case("What is wrong first of all"):
    marks.same(position, "a", mistakes={
        "More agreement would not be better: with 100 % every error is copied.": "b",
        "There the student has seen the supervisor's labels; agreement would say even less.": "c",
    })  # fmt: skip
marks.total()

# %% [markdown] hints="claim"
# 1. Which student would reach 100 %?
#
# 2. Where do the two of them differ, and who is right there?
#
# 3. Think of one number about quality, one about errors, and one about chance.

# %% [markdown]
# ## Your score
#
# On visible cases, for the checks that you have run:

# %%
score()
