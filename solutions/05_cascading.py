# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Exercises 05 · Who answers, and who pays
#
# Write your code where it says `YOUR CODE HERE`, in the place of `raise NotImplementedError()`, and
# run the cell below it: the check says at once what holds and what does not. Each failed case costs
# its own points only. Stuck? Unfold one hint at a time. The tasks do not build on each other. Some
# cases stay hidden until the notebook is graded.
#
# Throughout, a query is *passed on* when the large model answers it in place of the small one, and
# results may be off by a millionth.

# %% given="seed"
SEED = 0
# Your numbers are drawn with this seed; leave it as it is.

# %% given="setup"
import math

import numpy as np

from w2s_lab.exercise import Marks, score

# %% [markdown] task="facts" kind="recall" minutes=8 difficulty=1 objective="1, 2"
# ## What a cascade lives on
#
# Put one letter behind each question.
#
# **q1** For which pair of models does a cascade pay most?
#
# - (a) The large model is better on every query, and the small one is unsure of every answer.
# - (b) Both are equally often right, and the large model is ten times as dear.
# - (c) The small model is right on most queries, and unsure on most of the others.
# - (d) The small model is wrong on many queries, and sure of all its answers.
#
# **q2** A cascade has three stages, whose answers cost 1, 3 and 20 cents. Of 100 queries the first
# answers 60, the second 30 and the third 10. A query costs on average
#
# - (a) 4.2 cents
# - (b) 3.5 cents
# - (c) 3.9 cents
# - (d) 24 cents
#
# **q3** To save validation queries, a team chooses the threshold that keeps 99 % of the large
# model's quality on the very queries that the small model was trained on. In service the cascade
# will probably keep
#
# - (a) more than 99 %
# - (b) less than 99 %
# - (c) 99 %, for confidence needs no gold
# - (d) 99 %, at a lower cost than was foreseen
#
# **q4** In the lesson, thresholds that *learn then test* certified for a risk of at most 1 % passed
# on 100 % of the queries. From this it follows that
#
# - (a) at every threshold that keeps some queries, the risk is above 1 %
# - (b) the large model is wrong on more than 1 % of the queries
# - (c) such a promise needs a threshold chosen on test
# - (d) with so few calibration queries, a risk above 1 % could not be ruled out for any threshold
#   that keeps some queries

# %% answer="facts"
answers = {"q1": "", "q2": "", "q3": "", "q4": ""}
### BEGIN SOLUTION
answers = {"q1": "c", "q2": "a", "q3": "b", "q4": "d"}
### END SOLUTION

# %% check="facts" points=0
marks = Marks("facts")
with marks.case("Each question has one of the letters a to d", points=0):
    for question in ("q1", "q2", "q3", "q4"):
        marks.holds(answers[question] in list("abcd"), f"Put one letter behind {question}.")
marks.total()

# %% hidden="facts" points=4
marks = Marks("facts", hidden=True)
with marks.case("q1: which pair of models"):
    marks.same(answers["q1"], "c", mistakes={
        "Then all is passed on: you pay for both models and could have asked the large one.": "a",
        "Then there is no gap to recover, and the small model alone does the work.": "b",
        "Mistakes that the small model is sure of are kept, and the large model never sees them.":
            "d",
    })  # fmt: skip
with marks.case("q2: what three stages cost"):
    # all pay 1, the 40 that reach the second stage pay 3, the 10 that reach the third pay 20:
    # 1 + 0.4 · 3 + 0.1 · 20 = 4.2
    marks.same(answers["q2"], "a", mistakes={
        "You let a query pay only the stage that answers it. It was read by all stages before.": "b",
        "You let the second stage read only what it answers. It reads what it passes on as well.": "c",
        "That is the price of a query which reaches the last stage; most stop before.": "d",
    })  # fmt: skip
with marks.case("q3: a threshold from the training queries"):
    marks.same(answers["q3"], "b", mistakes={
        "The other way round: among new queries that it keeps, the small model is wrong more often "
        "than among those that it has learned from.": "a",
        "Confidence needs no gold, but how right a confident answer is does; and that looks better "
        "on training queries than it is.": "c",
        "New queries are harder for the small model. Neither the quality nor the cost gets better "
        "than it was on the training queries.": "d",
    })  # fmt: skip
with marks.case("q4: what a guarantee at 100 % says"):
    # the lesson calibrates on 105 queries: even if none of them went wrong, that would happen with
    # chance 0.99 ** 105 = 0.35 at a risk of 1 %, and the promise allows for 0.1
    marks.same(answers["q4"], "d", mistakes={
        "What was not shown to be at most 1 % is not thereby shown to be more.": "a",
        "The risk counts what the small model keeps and gets wrong. Whatever the large model does, "
        "a threshold that keeps nothing has no risk.": "b",
        "A threshold chosen on test comes without any promise.": "c",
    })  # fmt: skip
marks.total()

# %% [markdown] hints="facts"
# 1. Ask of each answer to q1: which queries are passed on, and what does that change?
#
# 2. q2: how many of the 100 queries does each of the three stages read? q3: on which queries is a
#    model right more often, on old ones or on new ones?
#
# 3. q4: suppose that at some threshold none of 100 calibration queries goes wrong. Is a risk of 1 %
#    ruled out by that? How often does it happen, if 99 of 100 queries go well in the long run?

# %% [markdown] task="curve" kind="implement" minutes=15 difficulty=2 objective=1
# ## One query after another
#
# Write `deferral_points(confidence, small, large, small_cost, large_cost)`: what the cascade is
# worth and what it costs for every number of queries passed on.
#
# - `confidence`, `small`, `large`: arrays of shape (n,): how sure the small model is of each query,
#   and the score that each model's answer gets. Scores are any numbers. n is at least 1.
# - `small_cost`, `large_cost`: what one answer of each model costs.
# - Return the pair `quality, cost`, two arrays of shape (n + 1,). Entry k belongs to the case that
#   the k least sure queries are passed on: the mean score over all n queries, and the mean cost of
#   a query. A query that is passed on pays for both models.
# - Where two queries are equally sure, the one that stands first in the array goes first.
#
# The lesson's own curve passes on equally sure queries together; yours does not.


# %% answer="curve"
def deferral_points(confidence, small, large, small_cost, large_cost):
    """Mean score and mean cost when 0, 1, ... n of the least sure queries are passed on."""
    ### BEGIN SOLUTION
    n = len(confidence)
    order = np.argsort(confidence, kind="stable")
    gained = np.cumsum(large[order] - small[order])
    quality = (small.sum() + np.append(0.0, gained)) / n
    cost = small_cost + large_cost * np.arange(n + 1) / n
    return quality, cost
    ### END SOLUTION


# %% check="curve" points=1
marks = Marks("curve")
LAST_FIRST = "You pass on the surest queries first. Those of which the small model doubts go first."
NOTHING = "There is no entry for passing on nothing."
ONE_PAYS = "A query that is passed on pays for one model only. The small one has read it before."
four = (
    np.array([0.9, 0.5, 0.7, 0.6]),
    np.array([1.0, 0.0, 1.0, 0.0]),
    np.array([1.0, 1.0, 0.0, 1.0]),
)
with marks.case("Four queries: the quality goes up, and down again", points=0.5):
    marks.near(deferral_points(*four, 2, 6)[0], [0.5, 0.75, 1, 0.75, 0.75], mistakes={
        LAST_FIRST: [0.5, 0.5, 0.25, 0.5, 0.75],
        "You pass on in the order of the array; sort by confidence.": [0.5, 0.5, 0.75, 0.5, 0.75],
        NOTHING: [0.75, 1, 0.75, 0.75],
        "There is no entry for passing on everything: n queries make n + 1 entries.":
            [0.5, 0.75, 1, 0.75],
        "You add the scores up; divide by the number of queries.": [2, 3, 4, 3, 3],
    })  # fmt: skip
with marks.case("Four queries: what they cost", points=0.5):
    marks.near(deferral_points(*four, 2, 6)[1], [2, 3.5, 5, 6.5, 8], mistakes={
        NOTHING: [3.5, 5, 6.5, 8],
        ONE_PAYS: [2, 3, 4, 5, 6],
        "You charge the large model alone. All queries pay for the small one.": [0, 1.5, 3, 4.5, 6],
        "That is the cost of all queries together; divide by their number.": [8, 14, 20, 26, 32],
    })  # fmt: skip
marks.total()

# %% hidden="curve" points=3
marks = Marks("curve", hidden=True)
from w2s_lab.cascade import deferral_curve

for title, part in (("Queries of your own: the quality", 0), ("Queries of your own: the cost", 1)):
    with marks.case(title):
        for place in range(20, 40):
            draw = np.random.default_rng([SEED, place])
            size = int(draw.integers(2, 60))
            sure, low, high = draw.uniform(size=(3, size))
            prices = {"small_cost": draw.uniform(1, 2), "large_cost": draw.uniform(5, 20)}
            wanted = deferral_curve(sure, low, high, **prices)
            wrong = [
                {LAST_FIRST: deferral_curve(-sure, low, high, **prices).quality},
                {ONE_PAYS: wanted.cost - wanted.fraction * prices["small_cost"]},
            ]
            marks.near(
                deferral_points(sure, low, high, **prices)[part],
                (wanted.quality, wanted.cost)[part],
                mistakes={NOTHING: (wanted.quality, wanted.cost)[part][1:], **wrong[part]},
            )
with marks.case("Equally sure queries go one by one, the first in the array first"):
    draw = np.random.default_rng([SEED, 40])
    sure = draw.integers(1, 5, size=200) / 5
    low, high = draw.uniform(size=(2, 200))
    moved = sorted(range(200), key=lambda i: (sure[i], i))
    mixed = [np.where(np.isin(np.arange(200), moved[:k]), high, low).mean() for k in range(201)]
    backward = sorted(range(200), key=lambda i: (-sure[i], i))
    surest = [np.where(np.isin(np.arange(200), backward[:k]), high, low).mean() for k in range(201)]
    together = [np.where(sure <= s, high, low).mean() for s in np.sort(sure)]
    got = deferral_points(sure, low, high, 1, 10)[0]
    marks.holds(np.shape(got) == (201,), "Each number of queries passed on, 0 to n, has its entry.")
    marks.holds(not np.allclose(got, surest), LAST_FIRST)
    marks.holds(
        not np.allclose(got, [low.mean(), *together]),
        "You pass on all equally sure queries at once. Here they go one by one.",
    )
    marks.holds(
        np.allclose(got, mixed),
        "Equally sure queries do not go in the order of the array. A sort keeps that order only if "
        "it is a stable one.",
    )
marks.total()

# %% [markdown] hints="curve"
# 1. Start with k = 0: only the small model answers. What does the mean score become when one more
#    query changes hands?
#
# 2. Passing on query i adds `large[i] - small[i]` to the sum of the scores, and `large_cost` to the
#    sum of the costs. Sums that grow step by step are what `np.cumsum` makes.
#
# 3. `np.argsort` with `kind="stable"` gives the order of passing on. Then take the sum of `small`,
#    plus 0 and the `np.cumsum` of the differences in that order, and divide by n.

# %% [markdown] task="area" kind="implement" minutes=15 difficulty=3 objective=1
# ## A curve in two numbers
#
# Write `sum_up(fraction, quality, share)`, which returns the pair `average, least`.
#
# - `fraction`: array of shape (points,), shares of the queries passed on, rising from 0 to 1, not
#   always in equal steps. `quality`: the mean score at each of them. `share`: a number above 0 and
#   below 1.
# - The PGR at a point says how much of the gap between the first quality (the small model alone)
#   and the last (the large model alone) is recovered there. It may lie below 0 or above 1.
# - `average`: the area under the PGR over the fraction, by the trapezoid rule: between two
#   neighbouring points, the width times the mean of both heights.
# - `least`: the smallest fraction at which the PGR reaches `share`, on straight lines drawn between
#   neighbouring points, even if the curve falls again afterwards.
# - Where the last quality is not above the first, there is no gap: return `math.nan` twice.


# %% answer="area"
def sum_up(fraction, quality, share):
    """The average PGR of a curve, and the least fraction that recovers `share` of the gap."""
    ### BEGIN SOLUTION
    gap = quality[-1] - quality[0]
    if gap <= 0:
        return math.nan, math.nan
    pgr = (quality - quality[0]) / gap
    average = np.sum(np.diff(fraction) * (pgr[1:] + pgr[:-1]) / 2)
    after = int(np.argmax(pgr >= share))
    before = after - 1
    part = (share - pgr[before]) / (pgr[after] - pgr[before])
    return average, fraction[before] + part * (fraction[after] - fraction[before])
    ### END SOLUTION


# %% check="area" points=2
marks = Marks("area")
HEIGHTS = "You average over the points. Wide steps count for more: weight by the width of each."
RAW = "You take the area under the quality itself; turn it into PGR first."
LEFT = "Each strip is as high as its left end; take the mean of both ends."
RIGHT = "Each strip is as high as its right end; take the mean of both ends."
STEP = "You take the first of the points given. The line may reach the share between two points."
CUT = "You cut the PGR off at 0 and 1. Below and above count as well."
RISES = (
    "It is right for curves that only rise. This one goes up and down, and neither np.interp nor a "
    "search by halves is made for that: look for the first point that is high enough."
)
LATE = "You take the last place where the curve gets that high. The first one needs fewer queries."
steps, scores = np.array([0, 0.2, 0.4, 1]), np.array([0.50, 0.60, 0.55, 0.75])
with marks.case("The average PGR of a curve with a dip"):
    marks.near(sum_up(steps, scores, 0.3)[0], 0.46, mistakes={
        HEIGHTS: 0.4, RAW: 0.615, LEFT: 0.2, RIGHT: 0.72,
    })  # fmt: skip
with marks.case("The least fraction that recovers 30 % of the gap"):
    marks.near(sum_up(steps, scores, 0.3)[1], 0.15, mistakes={STEP: 0.2, LATE: 0.475})
marks.total()

# %% hidden="area" points=2
marks = Marks("area", hidden=True)
from w2s_lab.cascade import Curve, average_pgr, cost_to_reach

# In the visible cases: PGR 0, 0.4, 0.2, 1 and widths 0.2, 0.2, 0.6, so the area is
# 0.2 · 0.2 + 0.2 · 0.3 + 0.6 · 0.6 = 0.46; 0.3 is reached at 0.2 · 0.3 / 0.4 = 0.15
drawn = []
for place in range(50, 70):
    draw = np.random.default_rng([SEED, place])
    across = np.concatenate([[0], np.sort(draw.uniform(0.02, 0.98, size=14)), [1]])
    height = np.concatenate([[0], draw.uniform(-0.2, 1.1, size=14), [1]])
    if place % 2:  # a narrow peak, which a search by halves passes by
        height[1:12] = draw.uniform(-0.2, 0.15, size=11)
        height[4] = 0.95
    drawn.append((across, 0.6 + 0.3 * height, draw.uniform(0.2, 0.8), height))


def crossing(across, height, wanted, last=False):
    above = height >= wanted
    after = int(np.flatnonzero(~above)[-1]) + 1 if last else int(above.argmax())
    return np.interp(wanted, height[after - 1 : after + 1], across[after - 1 : after + 1])


with marks.case("Curves of your own: the average PGR", points=0.5):
    marks.near(
        [sum_up(x, y, part)[0] for x, y, part, _ in drawn],
        [average_pgr(Curve(x, y, x, x)) for x, y, _, _ in drawn],
        mistakes={
            HEIGHTS: [h.mean() for _, _, _, h in drawn],
            RAW: [np.trapezoid(y, x) for x, y, _, _ in drawn],
            LEFT: [np.diff(x) @ h[:-1] for x, _, _, h in drawn],
            RIGHT: [np.diff(x) @ h[1:] for x, _, _, h in drawn],
            CUT: [np.trapezoid(h.clip(0, 1), x) for x, _, _, h in drawn],
        },
    )
with marks.case("Curves of your own: the least fraction", points=0.5):
    places = [sum_up(x, y, part)[1] for x, y, part, _ in drawn]
    first = [cost_to_reach(Curve(x, y, x, x), part) for x, y, part, _ in drawn]
    rising = [sum_up(x, np.sort(y), part)[1] for x, y, part, _ in drawn]
    risen = [cost_to_reach(Curve(x, np.sort(y), x, x), part) for x, y, part, _ in drawn]
    wrong = {
        STEP: [x[(h >= part).argmax()] for x, _, part, h in drawn],
        LATE: [crossing(x, h, part, last=True) for x, _, part, h in drawn],
        CUT: [crossing(x, h.clip(0, 1), part) for x, _, part, h in drawn],
    }
    if np.allclose(rising, risen) and not np.allclose(places, first, rtol=0, atol=1e-6):
        # np.interp gives one thing or another there, by its version
        wrong[RISES] = places
    marks.near(places, first, mistakes=wrong)
with marks.case("Passing on does harm at first", points=0.5):
    # PGR 0, -0.5, 1 at 0, 0.4, 1: the area is 0.4 · (-0.25) + 0.6 · 0.25 = 0.05
    marks.near(
        sum_up(np.array([0, 0.4, 1]), np.array([0.6, 0.5, 0.8]), 0.5)[0],
        0.05,
        mistakes={CUT: 0.3, HEIGHTS: 1 / 6, RAW: 0.61, LEFT: -0.3, RIGHT: 0.4},
    )
with marks.case("No gap gives nan twice, a gap gives numbers", points=0.5):
    marks.holds(
        np.isfinite(np.asarray(sum_up(np.array([0.0, 1]), np.array([0.6, 0.7]), 0.8), float)).all(),
        "From 0.6 to 0.7 there is a gap: return two numbers.",
    )
    for last in (0.6, 0.5):
        got = sum_up(np.array([0, 0.5, 1]), np.array([0.6, 0.9, last]), 0.8)
        marks.holds(
            np.shape(got) == (2,) and np.isnan(np.asarray(got, float)).all(),
            "Where the large model is no better than the small one, return math.nan twice.",
        )
marks.total()

# %% [markdown] hints="area"
# 1. Turn the qualities into PGR first. Both numbers are then read off the same line from 0 to 1.
#
# 2. The area: `np.diff(fraction)` are the widths of the strips, `(pgr[1:] + pgr[:-1]) / 2` their
#    heights. The fraction: which is the first point with `pgr >= share`, and which one is before
#    it?
#
# 3. Let that point be number j. The line from j − 1 to j has gone the part
#    `(share - pgr[j - 1]) / (pgr[j] - pgr[j - 1])` of its way when it reaches `share`; go the same
#    part of the way between both fractions.

# %% [markdown] task="threshold" kind="diagnose" minutes=15 difficulty=3 objective=2
# ## Just a fifth, and nothing gained
#
# A colleague was to pass on the 20 % of the queries of which the small model is least sure. Just
# 20 % were passed on, says the output below, and the cascade is no better than the small model. "So
# the large model is not worth its price." The numbers are drawn: the small model's confidence in
# 1,000 validation and 1,000 test queries, and which of the latter each model gets right.


# %% given="colleague"
def colleagues_choice(validation, test, share):
    """A threshold, and which test queries are passed on, as the colleague computes them."""
    count = round(share * len(test))
    limit = np.sort(test)[-count]
    return limit, test >= limit


rng = np.random.default_rng([SEED, 10])
validation, test = rng.uniform(1 / 3, 1, size=(2, 1000))
small_right = rng.uniform(size=1000) < test
large_right = rng.uniform(size=1000) < 0.92

# %%
threshold, gone = colleagues_choice(validation, test, 0.2)
print(f"passed on {gone.mean():.1%} at a threshold of {threshold:.2f}")
print(f"quality: small alone {small_right.mean():.2f}, large alone {large_right.mean():.2f},")
print(f"cascade {np.where(gone, large_right, small_right).mean():.2f}")

# %% [markdown]
# There are two mistakes. Write `pass_on(validation, test, share)` without them. It returns the pair
# `threshold, passed`.
#
# - `threshold` is chosen as for a cascade that goes into service before the test queries come: the
#   confidence of the k-th least sure validation query, where k is `share` times the number of
#   validation queries. (k is always a whole number, at least 1, and no two validation queries are
#   equally sure.)
# - `passed`: array of bool, one for each test query: it is passed on where its confidence is at
#   most the threshold. How many these are is not for you to fix.


# %% answer="threshold"
def pass_on(validation, test, share):
    """The threshold, and which test queries are passed on at it."""
    ### BEGIN SOLUTION
    count = round(share * len(validation))
    limit = np.sort(validation)[count - 1]
    return limit, test <= limit
    ### END SOLUTION


# %% check="threshold" points=1
marks = Marks("threshold")
ON_TEST = (
    "You choose on the test queries. In service they have not come yet: choose on validation and "
    "hold the threshold on test."
)
SURE = "You pass on what the small model is surest of. The other end needs the large model."
BETWEEN = (
    "Your threshold lies beside the k-th least sure validation query. Take that query's own "
    "confidence: sort, and mind that Python counts from 0."
)
STRICT = "A query exactly at the threshold is passed on too."
asked = np.array([0.9, 0.6, 0.8, 0.55, 0.7, 0.95, 0.65, 0.85, 0.75, 0.5])
later = np.array([0.52, 0.97, 0.55, 0.51, 0.61, 0.99, 0.53, 0.98, 0.92, 0.94])
with marks.case("Two of ten validation queries make the threshold", points=0.5):
    marks.near(pass_on(asked, later, 0.2)[0], 0.55, mistakes={
        ON_TEST: 0.52,
        f"{ON_TEST} And take the other end.": 0.98,
        SURE: 0.9,
        BETWEEN: 0.6,
        "That is a quantile between two confidences. Take the k-th least sure query's own.":
            np.quantile(asked, 0.2),
    })  # fmt: skip
with marks.case("On test the threshold decides, and not a number of queries", points=0.5):
    marks.same(pass_on(asked, later, 0.2)[1], later <= 0.55, mistakes={
        ON_TEST: later <= 0.52,
        SURE: later >= 0.9,
        f"{SURE} And the threshold comes from the test queries.": later >= 0.98,
        "The threshold is on the right end, and you pass on what lies above it.": later >= 0.55,
        "You pass on all but the surest fifth.": later <= 0.9,
        STRICT: later < 0.55,
    })  # fmt: skip
marks.total()

# %% hidden="threshold" points=2
marks = Marks("threshold", hidden=True)
pairs = []
for place in range(70, 90):
    draw = np.random.default_rng([SEED, place])
    # as new queries may be harder or easier, test is drawn from another range; all are multiples
    # of 0.005, so that some are equal to a threshold
    old = draw.permutation(np.arange(60, 200))[:64] / 200
    new = draw.integers(int(draw.integers(40, 100)), 200, size=200) / 200
    # 64ths, so that the share times the number is whole to the last digit
    pairs.append((old, new, int(draw.integers(1, 26)) / 64))


def kth(values, part, end=1):
    count = round(part * len(values))
    return np.sort(values)[count - 1 if end == 1 else -count]


with marks.case("Queries of your own: the threshold", points=0.5):
    marks.near(
        [pass_on(*one)[0] for one in pairs],
        [kth(old, part) for old, _, part in pairs],
        mistakes={
            ON_TEST: [kth(new, part) for _, new, part in pairs],
            SURE: [kth(old, part, end=-1) for old, _, part in pairs],
            f"{ON_TEST} And take the other end.": [
                kth(new, part, end=-1) for _, new, part in pairs
            ],
            "Quantiles may lie between two confidences. Take the k-th least sure query's own.": [
                np.quantile(old, part) for old, _, part in pairs
            ],
        },
    )  # fmt: skip
with marks.case("Queries of your own: which are passed on", points=0.5):
    masks = [np.asarray(pass_on(*one)[1]) for one in pairs]
    marks.holds(
        any(mask.sum() != round(one[2] * 200) for mask, one in zip(masks, pairs, strict=True)),
        "You pass on just that share of the test queries, whatever the threshold. Compare each of "
        "them with it, and let their number come out as it will.",
    )
    marks.same(
        masks,
        [new <= kth(old, part) for old, new, part in pairs],
        mistakes={
            ON_TEST: [new <= kth(new, part) for _, new, part in pairs],
            SURE: [new >= kth(old, part, end=-1) for old, new, part in pairs],
            f"{SURE} And the threshold comes from the test queries.": [
                new >= kth(new, part, end=-1) for _, new, part in pairs
            ],
            STRICT: [new < kth(old, part) for old, new, part in pairs],
        },
    )
with marks.case("Other test queries leave the threshold as it is", points=0.5):
    old, new, part = pairs[0]
    found = [pass_on(old, harder, part)[0] for harder in (new, new - 0.2, new[:7])]
    marks.holds(
        np.ptp(found) < 1e-9, "With other test queries you choose another threshold. Hold it."
    )
    marks.near(found, [kth(old, part)] * 3, mistakes={SURE: [kth(old, part, end=-1)] * 3})
with marks.case("Single test queries, one unsure and one sure", points=0.5):
    old, _, part = pairs[1]
    made = [pass_on(old, np.array([one]), part)[1] for one in (0.01, 0.999)]
    marks.same(made, [[True], [False]], mistakes={
        "You pass on both. Compare each with the threshold that validation chose.":
            [[True], [True]],
        "You keep both. Compare each with the threshold; how many come does not matter.":
            [[False], [False]],
        SURE: [[False], [True]],
    })  # fmt: skip
marks.total()

# %% [markdown] hints="threshold"
# 1. Which queries should a large model see: those with high confidence or those with low? And which
#    of the two arrays is there before the cascade goes into service?
#
# 2. The colleague counts and sorts the *test* confidences, takes an entry from the end, and passes
#    on what lies above it. On which end are the unsure queries?
#
# 3. Count with `len(validation)`, sort `validation`, and take the entry `count - 1` from the front.
#    Pass on with `test <= limit`.

# %% [markdown] task="texts" kind="implement" minutes=10 difficulty=2 objective="1, 2"
# ## How sure is a whole text?
#
# A small model that writes has a log-probability for every token and none for its text. To put
# texts in order for a cascade, you want one number that falls less with each token added than the
# sum does. Write `text_confidence(log_probs, lengths, quantile)`.
#
# - `log_probs`: array of shape (texts, tokens), natural logarithms. Text i has `lengths[i]` tokens,
#   at the front of its row; what follows is padding and may hold any number.
# - `quantile`: from 0 to 1. Return an array of shape (texts,): for each text this quantile of its
#   own tokens' log-probabilities, between two of them interpolated as `np.quantile` does it. At 0 a
#   text is as sure as its least sure token.
# - A text without tokens gets `-math.inf`: it is passed on first.


# %% answer="texts"
def text_confidence(log_probs, lengths, quantile):
    """How sure each text is: a quantile of its tokens' log-probabilities."""
    ### BEGIN SOLUTION
    rows = zip(log_probs, lengths, strict=True)
    return np.array(
        [np.quantile(row[:length], quantile) if length else -math.inf for row, length in rows]
    )
    ### END SOLUTION


# %% check="texts" points=1
marks = Marks("texts")
PADDED = "You count the padding as tokens. Only the first lengths[i] of a row belong to the text."
SUM = "You add the tokens up, so that long texts look unsure. Take a quantile of them."
MEAN = "You take the mean of the tokens, where one doubtful token drowns. Take a quantile."
UPPER = "You take the quantile from the sure end. At 0 it is the least sure token."
two = (np.array([[-0.1, -2.0, -0.3, 0.0, 0.0], [-0.4, -0.5, -0.6, -0.4, -0.5]]), np.array([3, 5]))
with marks.case("The lower quartile of two texts whose sums are equal", points=0.5):
    marks.near(text_confidence(*two, 0.25), [-1.15, -0.5], mistakes={
        PADDED: [-0.3, -0.5],
        SUM: [-2.4, -2.4],
        MEAN: [-0.8, -0.48],
        UPPER: [-0.2, -0.4],
        "You take a token without interpolating. Between two tokens, do as np.quantile does.":
            [-2.0, -0.5],
    })  # fmt: skip
with marks.case("At quantile 0 the least sure token speaks", points=0.5):
    marks.near(text_confidence(*two, 0), [-2.0, -0.6], mistakes={
        UPPER: [-0.1, -0.4],
        SUM: [-2.4, -2.4],
        MEAN: [-0.8, -0.48],
    })  # fmt: skip
marks.total()

# %% hidden="texts" points=2
marks = Marks("texts", hidden=True)
# In the visible cases: sorted, -2.0, -0.3, -0.1 and -0.6, -0.5, -0.5, -0.4, -0.4. A quarter lies at
# position 0.25 · 2 = 0.5 and at 0.25 · 4 = 1: (-2.0 - 0.3) / 2 = -1.15, and -0.5
from w2s_lab.cascade import token_quantile

draw = np.random.default_rng([SEED, 90])
long = draw.integers(1, 30, size=40)
long[:2] = 3, 30
told = [-draw.exponential(size=size) for size in long]
wide = np.zeros((40, 30))
for row, tokens in zip(wide, told, strict=True):
    row[: len(tokens)] = tokens
with marks.case("Texts of your own, at several quantiles", points=0.5):
    levels = (0.1, 0.25, 0.5, 0.8)
    marks.near(
        [text_confidence(wide, long, level) for level in levels],
        [token_quantile(told, level) for level in levels],
        mistakes={
            PADDED: [np.quantile(wide, level, axis=1) for level in levels],
            SUM: [wide.sum(axis=1)] * 4,
            MEAN: [wide.sum(axis=1) / long] * 4,
            UPPER: [token_quantile(told, 1 - level) for level in levels],
        },
    )
with marks.case("Whatever the padding holds, it is no token", points=0.5):
    inside = np.arange(30) < long[:, None]
    for filler in (-99.0, 7.0, math.nan):
        marks.near(
            text_confidence(np.where(inside, wide, filler), long, 0.3),
            token_quantile(told, 0.3),
            mistakes={
                PADDED: np.quantile(np.where(inside, wide, filler), 0.3, axis=1),
                SUM: wide.sum(axis=1),
                MEAN: wide.sum(axis=1) / long,
                UPPER: token_quantile(told, 0.7),
            },
        )
with marks.case("A text said twice is as sure as said once", points=0.5):
    for once in told[:2]:
        twice = np.tile(once, 2)
        sheet = np.zeros((2, len(twice)))
        sheet[0, : len(once)], sheet[1] = once, twice
        marks.near(
            text_confidence(sheet, np.array([len(once), len(twice)]), 0),
            [once.min()] * 2,
            mistakes={
                SUM: [once.sum(), twice.sum()],
                MEAN: [once.mean()] * 2,
                UPPER: [once.max()] * 2,
            },
        )
with marks.case("A text without tokens is passed on first", points=0.5):
    # with one token, whoever takes a sum or a mean loses nothing here
    got = text_confidence(np.array([[-3.0], [0.0]]), np.array([1, 0]), 0.5)
    marks.near(got, [-3.0, -math.inf], mistakes={
        "An empty text looks perfectly sure, and nobody will ever see it. Give it -math.inf.":
            [-3.0, 0],
    })  # fmt: skip
marks.total()

# %% [markdown] hints="texts"
# 1. Take one row. Which of its entries are tokens of the text, and which are not?
#
# 2. `row[:length]` are its tokens. `np.quantile` takes them and the quantile, and fails without
#    any.
#
# 3. Go through `zip(log_probs, lengths)`, write `np.quantile(row[:length], quantile)` where there
#    is a token and `-math.inf` where there is none, and make an array of the list.

# %% [markdown] task="uses" kind="decide" minutes=15 difficulty=3 objective=3
# ## Label, filter or defer?
#
# The numbers below come from the lesson's run on the clauses of lesson 01: the share of the gap
# that each use of the weak model recovers (`gap`), the lower end of its interval (`low`),
# tera-operations to prepare it once (`prepare`) and to serve 10,000 queries (`serve`), and what
# must be at hand.

# %% given="uses-table"
USES = {
    "label": {
        "gap": 0.08,
        "low": -0.06,
        "prepare": 1.6,
        "serve": 18.0,
        "needs": ["gold for the weak model"],
    },
    "filter": {
        "gap": 0.35,
        "low": 0.23,
        "prepare": 0.8,
        "serve": 18.0,
        "needs": ["gold for the weak model", "texts with labels"],
    },
    "defer": {
        "gap": 0.45,
        "low": 0.33,
        "prepare": 1.6,
        "serve": 5.3,
        "needs": ["gold for the weak model", "strong model trained on gold"],
    },
}
EVERYTHING = ["gold for the weak model", "texts with labels", "strong model trained on gold"]

# %% [markdown]
# Write `choose_use(uses, queries, at_hand)`: the name of the use to be built.
#
# - `uses`: a dict like `USES`; its numbers may be others. `queries`: how many will be served, in
#   all. `at_hand`: a list of what there is.
# - A use comes into question if all that it needs is at hand and its interval lies above 0; one
#   that begins at 0 or below has not been shown to recover anything.
# - Of these, take the one that recovers most of the gap *per operation*, preparing it once and
#   serving all the queries. Return `None` where no use comes into question. There are no ties.


# %% answer="uses"
def choose_use(uses, queries, at_hand):
    """The use that buys most of the gap per operation; None where none comes into question."""

    ### BEGIN SOLUTION
    def bought(use):
        return use["gap"] / (use["prepare"] + use["serve"] * queries / 10_000)

    open_to_us = [
        name
        for name, use in uses.items()
        if use["low"] > 0 and all(need in at_hand for need in use["needs"])
    ]
    return max(open_to_us, key=lambda name: bought(uses[name]), default=None)
    ### END SOLUTION


# %% check="uses" points=1
marks = Marks("uses")
with marks.case("The lesson's numbers, 100 queries and 10,000", points=0.5):
    marks.same(
        [choose_use(USES, queries, EVERYTHING) for queries in (100, 10_000)],
        ["filter", "defer"],
        mistakes={
            "You take the same use for 100 queries as for 10,000. With few queries most of the "
            "bill is the preparation: add it, and let the serving grow with the queries.": [
                "defer",
                "defer",
            ],
            "You leave the serving out: `serve` is for 10,000 queries and has to be scaled.": [
                "filter",
                "filter",
            ],
        },
    )
with marks.case("One thing is missing: first the trained strong model, then texts", points=0.5):
    kits = [EVERYTHING[:2], EVERYTHING[::2]]
    found = [
        choose_use(USES, queries, kit) for queries, kit in zip((10_000, 100), kits, strict=True)
    ]
    marks.same(found, ["filter", "defer"], mistakes={
        "You choose a use whose needs are not at hand.": ["defer", "filter"],
        "You choose deferring where nobody has trained a strong model on gold.": ["defer", "defer"],
        "You choose filtering where no texts came with labels.": ["filter", "filter"],
        "Labelling needs least, but its interval begins below 0.": ["label", "label"],
    })  # fmt: skip
marks.total()

# %% hidden="uses" points=3
marks = Marks("uses", hidden=True)
# With the lesson's numbers, per tera-operation: for 100 queries filter 0.35 / (0.8 + 0.18) = 0.357
# and defer 0.45 / (1.6 + 0.053) = 0.272; for 10,000 0.35 / 18.8 = 0.019 and 0.45 / 6.9 = 0.065


def drawn_uses(draw, alike=False, doubtful=False):
    made = {}
    for name in USES:
        gap = draw.uniform(0.1, 0.6)
        low = draw.choice([-0.05, 0.0, 0.05]) if doubtful else gap * draw.uniform(0.1, 0.9)
        made[name] = {
            "gap": gap,
            "low": float(low),
            # alike: who divides by something else loses nothing where that is not the question
            "prepare": 2.0 if alike else float(np.exp(draw.uniform(-1, 3))),
            "serve": 8.0 if alike else draw.uniform(1, 30),
            "needs": USES[name]["needs"],
        }
    return made


def chosen(uses, worth, here=EVERYTHING, lowest=1e-9):
    names = [
        name
        for name, use in uses.items()
        if use["low"] >= lowest and all(need in here for need in use["needs"])
    ]
    return max(names, key=lambda name: worth(uses[name]), default=None)


def operations(use, queries):
    return use["prepare"] + use["serve"] * queries / 10_000


def worth_for(queries):
    return lambda use: use["gap"] / operations(use, queries)


sizes = (100, 1_000, 5_000, 20_000)
tables = [
    (drawn_uses(np.random.default_rng([SEED, place])), sizes[place % 4])
    for place in range(100, 140)
]
with marks.case("Numbers of your own, everything at hand"):
    wrong = {
        "You take the largest gap, whatever it costs. Divide by the operations.": [
            chosen(uses, lambda use: use["gap"]) for uses, _ in tables
        ],
        "You count the serving of 10,000 queries, however many there are.": [
            chosen(uses, worth_for(10_000)) for uses, _ in tables
        ],
        "You count the preparation alone. Serving is paid at every query.": [
            chosen(uses, worth_for(0)) for uses, _ in tables
        ],
        "The preparation hardly counts in your bill. It is paid once, and `serve` is the cost of "
        "10,000 queries, not of one.": [
            chosen(uses, worth_for(10_000 * queries)) for uses, queries in tables
        ],
        "The preparation does not count in your bill. It is paid once, beside the serving.": [
            chosen(uses, lambda use: use["gap"] / use["serve"]) for uses, _ in tables
        ],
        "You take the cheapest use. It has to recover something for its operations.": [
            chosen(uses, lambda use, served=queries: -operations(use, served))
            for uses, queries in tables
        ],
    }
    best = [chosen(uses, worth_for(queries)) for uses, queries in tables]
    marks.same(
        [choose_use(uses, queries, EVERYTHING) for uses, queries in tables],
        best,
        mistakes={words: names for words, names in wrong.items() if names != best},
    )
with marks.case("Not everything is at hand"):
    kits = (EVERYTHING[:2], EVERYTHING[::2], EVERYTHING[:1])
    cases = [
        (drawn_uses(np.random.default_rng([SEED, place]), alike=True), 1_000, kits[place % 3])
        for place in range(140, 170)
    ]
    marks.same(
        [choose_use(*one) for one in cases],
        [chosen(uses, worth_for(queries), kit) for uses, queries, kit in cases],
        mistakes={
            "You choose uses whose needs are not at hand. Check all of them.": [
                chosen(uses, worth_for(queries)) for uses, queries, _ in cases
            ]
        },
    )
with marks.case("Some intervals do not lie above 0", points=0.5):
    unsure = [
        drawn_uses(np.random.default_rng([SEED, place]), alike=True, doubtful=True)
        for place in range(170, 210)
    ]
    marks.same(
        [choose_use(uses, 1_000, EVERYTHING) for uses in unsure],
        [chosen(uses, worth_for(1_000)) for uses in unsure],
        mistakes={
            "You choose uses whose interval includes 0: they have not been shown to help.": [
                chosen(uses, worth_for(1_000), lowest=-1) for uses in unsure
            ],
            "An interval that begins at 0 includes 0.": [
                chosen(uses, worth_for(1_000), lowest=0) for uses in unsure
            ],
        },
    )
with marks.case("The lesson's numbers with nothing but the weak model's gold", points=0.5):
    # only labelling is possible, and its interval begins at -0.06
    marks.same(
        [choose_use(USES, queries, EVERYTHING[:1]) for queries in (100, 10_000)],
        [None, None],
        mistakes={
            "Labelling is all that you could do, and its interval includes 0: return None.": [
                "label",
                "label",
            ],
            "You choose uses whose needs are not at hand. Check all of them.": ["filter", "defer"],
        },
    )
    marks.same(choose_use(USES, 10_000, EVERYTHING), "defer")
marks.total()

# %% [markdown] hints="uses"
# 1. Two questions, one after the other: which uses come into question at all, and which of them
#    buys most?
#
# 2. Operations of a use: `prepare`, once, and `serve` for each 10,000 queries. So 100 queries pay a
#    hundredth of `serve`.
#
# 3. Keep the names with `low > 0` and `all(need in at_hand for need in needs)`; then
#    `max(..., key=..., default=None)` with `gap / (prepare + serve * queries / 10_000)`.

# %% [markdown] task="desk" kind="explain" minutes=20 difficulty=4 objective="1, 2"
# ## A plan for the support desk
#
# A phone company receives 200,000 support queries a day. It plans to let a small, quick model
# answer first, and to hand a query over to a large model only where the small one has little
# confidence. The large model knows far more, takes its time, and costs fifty times as much for an
# answer. The board asks what this buys that neither model alone can give, and what could spoil it.
#
# First commit yourself. A sample of queries with known answers is looked at. Which finding speaks
# most against the plan?
#
# - (a) The large model is right far more often than the small one.
# - (b) The small model is as sure of its wrong answers as of its right ones.
# - (c) A query that is handed over waits longer than if the large model had got it at once.
# - (d) Where the small model says 0.9 it is right in 80 of 100 cases, where it says 0.6, in 50.
#
# Then write to the board, in 60 to 200 words: what is the strategic advantage of the plan, on what
# does it rest, when does it fail, and what would you measure before and after it starts?

# %% answer="desk"
position = ""
### BEGIN SOLUTION
position = "b"
### END SOLUTION

# %% [markdown] essay="desk" points=3
# Most queries are easy, and on those the small model does as well. So the large model's price and
# time are spent only where its ability changes the answer: if a fifth is handed over, a query costs
# a fifth of a large answer and a fiftieth more for the small one, and the quality can stay near
# that of the large model. All this rests on the small model being less sure where it is wrong. A
# mistake that it is sure of goes out to the customer, and the large model never sees the query. If
# its confidence says nothing, the threshold picks queries by chance; if nearly all are handed over,
# we pay for two models and get the work of one. Before the start I would draw the curve of cost and
# quality, choose the threshold on validation and measure it on test. A guarantee then holds for
# queries of the same kind only. A new tariff brings others, and a rush of hard ones fills the large
# model's queue. So I would watch the share handed over and the delays, and have samples of the kept
# answers checked.
#
# ### Rubric
# - **1** says that the large model is paid only where it is needed, and most of its quality stays
# - **1** says how the small model's confidence can spoil it, and what to measure before the start
# - **1** names a failure after the start (queries of another kind, a full queue) and what to watch
#
# ### Exemplar, 2 of 3
# The advantage is efficiency without much loss of quality. The cheap model handles the bulk of
# simple queries and the expensive one is called only when it is needed, so the company can serve
# 200,000 queries a day for a fraction of the price. It depends on the confidence of the small
# model. If it gives wrong answers confidently, customers receive these and the large model never
# sees them. The team should therefore compare confidence and correctness on a validation set, and
# set the threshold there.
#
# Why: Advantage and confidence are explained, with a measurement. Nothing is said of what may
# change once the plan is in service.
#
# ### Exemplar, 1 of 3
# The small model is fast and cheap, and the large model is only used for the difficult queries, so
# the company saves a lot of money and keeps a good quality. Two models are also more reliable than
# one because the large model can correct the mistakes of the small one. The plan could fail if the
# models are not good enough or if the servers break down, so both should be tested well.
#
# Why: The advantage is there. That mistakes are corrected holds only for those of which the small
# model is unsure, which is the very point that is missing; "tested well" names no measurement.

# %% check="desk" points=0
marks = Marks("desk")
with marks.case("You have committed yourself to one of the letters a to d", points=0):
    marks.holds(position in list("abcd"), "Put one letter into `position`.")
marks.total()

# %% hidden="desk" points=1
marks = Marks("desk", hidden=True)
with marks.case("What speaks most against the plan"):
    marks.same(position, "b", mistakes={
        "That speaks for it: without a gap between the two, the small model alone would do.": "a",
        "That is so in every cascade and known beforehand, and only those handed over wait.": "c",
        "It claims too much, but it is less sure where it is wrong more often. The order of the "
        "queries is right, and only the order counts for a threshold.": "d",
    })  # fmt: skip
marks.total()

# %% [markdown] hints="desk"
# 1. What decides which of the two models answers? Go through the four findings and ask of each
#    whether that decision gets worse.
#
# 2. Draw the curve in your mind for a small model that is as sure when it is wrong: which of the
#    lesson's bounds does it lie on?
#
# 3. Begin with the price of 100 queries of which 20 are handed over. Then: a mistake that the small
#    model is sure of; a share handed over that is far larger; queries of another kind than on
#    validation; a large model that is nearly fully busy.

# %% [markdown]
# ## Your score
#
# On visible cases, for the checks that you have run:

# %%
score()
