# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Exercises 04 · Which documents, by whose judgement
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
from collections import Counter

import numpy as np

from w2s_lab.exercise import Marks, score

# %% [markdown] task="stages" kind="recall" minutes=10 difficulty=1 objective="1, 2, 3"
# ## Two stages and what they are measured by
#
# q1 asks for an order: write five letters as one text, such as `"abcde"`. Put one letter behind
# each of the others. All numbers are those of lesson 04.
#
# **q1** A new score is to be compared fairly with the others. What comes first, what last?
#
# - (a) train the strong model on each choice apart, always in the same way
# - (b) set clean test texts aside
# - (c) fill each choice, a random one among them, up to the same number of tokens
# - (d) let the weak model read what remains in the store
# - (e) compare the students' losses on the test texts
#
# **q2** `middle` recovers 0.44 of the gap. That says:
#
# - (a) 44 % of the text that it keeps is clean
# - (b) its student is 44 % of the way from the untouched model to the student of the whole store
# - (c) its student is 44 % of the way from the student of a random choice to that of the oracle's
#   choice
# - (d) it keeps 44 % of the clean documents
#
# **q3** A store holds each clean document twice, in almost the same words. Which score drops the
# second copy?
#
# - (a) `likely`
# - (b) `middle`
# - (c) `classifier`
# - (d) none of these three
#
# **q4** `distilled` learns from the very documents of `middle`, and its student is worse
# (log-likelihood −3.831 against −3.792). Why?
#
# - (a) a part of its loss asks it to agree with a model that predicts worse than itself
# - (b) it may spend fewer tokens
# - (c) the weak model chooses again while it learns
# - (d) a student cannot learn from probabilities

# %% answer="stages"
answers = {"q1": "", "q2": "", "q3": "", "q4": ""}
### BEGIN SOLUTION
answers = {"q1": "bdcae", "q2": "c", "q3": "d", "q4": "a"}
### END SOLUTION

# %% check="stages" points=0
marks = Marks("stages")
with marks.case("q1 has the letters a to e, and the others one of a to d", points=0):
    marks.holds(sorted(answers["q1"]) == list("abcde"), "Put each letter from a to e once into q1.")
    for question in ("q2", "q3", "q4"):
        marks.holds(answers[question] in list("abcd"), f"Put one letter behind {question}.")
marks.total()

# %% hidden="stages" points=4
marks = Marks("stages", hidden=True)
ORDERS = {
    "bcdae": "You fill the choices before the weak model has read anything: by what would you choose?",
    "dbcae": "You let the weak model read the store first. It reads what remains without the test.",
    "dcbae": "You set the test aside too late: its texts may already be among the chosen ones.",
    "dcabe": "You set the test aside too late: the students may have learned from its texts.",
    "bdace": "You train before anything is chosen.",
}
with marks.case("q1: the order of the steps"):
    words = ORDERS.get(answers["q1"], "Ask of each step which other one it has to wait for.")
    marks.holds(answers["q1"] == "bdcae", words)
with marks.case("q2: what a share of the gap says"):
    marks.same(answers["q2"], "c", mistakes={
        "That would be the share of clean text, which says nothing of a student yet.": "a",
        "The ends are other ones: both students learn from a choice at the same budget.": "b",
        "That would be recall. The gap is measured on students, not on documents.": "d",
    })  # fmt: skip
with marks.case("q3: who sees a copy"):
    marks.same(answers["q3"], "d", mistakes={
        "A copy is about as likely as its original, and no less so.": "a",
        "A copy lies where its original lies: both are in the middle, or neither is.": "b",
        "To the classifier a copy is as clean as its original.": "c",
    })  # fmt: skip
with marks.case("q4: what distillation cost"):
    marks.same(answers["q4"], "a", mistakes={
        "They are the same documents, so they have the same tokens.": "b",
        "The choice is made once, before the strong model learns anything.": "c",
        "It can, and does where the teacher knows something. This one knows less than it does.": "d",
    })  # fmt: skip
marks.total()

# %% [markdown] hints="stages"
# 1. For q1, begin at the end: what must there be before anything can be compared, and before that?
#
# 2. For q2 and q4, ask whose loss is meant, and which two students stand at 0 and at 1.
#
# 3. For q3: each of the three looks at one document at a time. What would it take to see a copy?

# %% [markdown] task="difficulty" kind="implement" minutes=15 difficulty=2 objective=1
# ## Perplexity and difficulty, from the losses of tokens
#
# Models give their losses token by token, in matrices that are filled up on the right or the left.
# A mask of the same shape says which tokens count: 1 for those, 0 for all others. **Where the mask
# is 0 the matrix may hold anything, nan too.** Losses are in nats.
#
# - `text_perplexity(losses, mask)`: arrays of shape (texts, tokens) in, an array (texts,) out: the
#   perplexity of each text over the tokens that count. A text of which no token counts has nan.
# - `answer_difficulty(given, given_mask, alone, alone_mask)`: the instruction-following difficulty
#   of each pair, an array (pairs,), in its form by perplexities: that of the answer after its
#   instruction, divided by that of the answer without it. `given` holds the losses of an instruction
#   and its answer in one row, and `given_mask` is 1 on the answer only. `alone` holds the losses of
#   the answer by itself; its width may differ. Return nan where one of the two perplexities is nan,
#   and also where the difficulty is **above** 1, since answer and instruction hardly belong together
#   there. Exactly 1 stays.
#
# Results may be off by a millionth.


# %% answer="difficulty"
def text_perplexity(losses, mask):
    """Perplexity of each text over the tokens where `mask` is 1, (texts,)."""
    ### BEGIN SOLUTION
    counts = np.asarray(mask) > 0
    tokens = counts.sum(axis=1)
    total = np.where(counts, losses, 0).sum(axis=1)
    mean = np.full(len(tokens), math.nan)
    np.divide(total, tokens, out=mean, where=tokens > 0)
    return np.exp(mean)
    ### END SOLUTION


def answer_difficulty(given, given_mask, alone, alone_mask):
    """Perplexity of each answer after its instruction over that without; nan above 1."""
    ### BEGIN SOLUTION
    ratio = text_perplexity(given, given_mask) / text_perplexity(alone, alone_mask)
    return np.where(ratio > 1, math.nan, ratio)
    ### END SOLUTION


# %% check="difficulty" points=2
marks = Marks("difficulty")
PADDING = "You average over the padding too; divide by the number of tokens that count."
BY_LOSS = "You divide losses. That is the other form, and it ranks differently."
with marks.case("Two tokens, each one of 2, and four tokens: one of 8, of 2, of 4 and of 4"):
    # e to the power of log 2; (log 8 + log 2 + log 4 + log 4) / 4 = log 4
    made = text_perplexity(
        np.log([[2.0, 2, 1, 1], [8, 2, 4, 4]]), np.array([[1, 1, 0, 0], [1, 1, 1, 1]])
    )
    marks.near(made, [2, 4], mistakes={
        PADDING: [2**0.5, 4],
        "You average after the exponential; the mean is over losses.": [2, 4.5],
        "You sum the losses; a long text would be perplexing by its length alone.": [4, 256],
        "That is the mean loss; perplexity is e to the power of it.": [np.log(2), np.log(4)],
    })  # fmt: skip
with marks.case("With its instruction an answer has perplexity 2, without it 8"):
    both, only = np.array([[1, 1, np.log(2), np.log(2)]]), np.log([[8.0, 8, 1]])
    made = answer_difficulty(both, np.array([[0, 0, 1, 1]]), only, np.array([[1, 1, 0]]))
    marks.near(made, [0.25], mistakes={
        BY_LOSS: [1 / 3],
        "You count the tokens of the instruction; only the answer is scored.": [
            np.exp((2 + 2 * np.log(2)) / 4) / 8
        ],
        PADDING: [2**0.5 / 4],
        # alone, three tokens of which one is padding: (log 8 + log 8 + 0) / 3 = log 4
        "You leave out both masks; only the tokens of the answer count.": [
            np.exp((2 + 2 * np.log(2)) / 4) / 4
        ],
        "You divide the wrong way round: with the instruction stands above the line.": [4],
    })  # fmt: skip
marks.total()

# %% hidden="difficulty" points=2
marks = Marks("difficulty", hidden=True)
from w2s_lab import selection as reference


def drawn_losses(rng, texts, tokens, fewest):
    """Losses with nan wherever the mask is 0, and the mask."""
    lengths = rng.integers(fewest, tokens + 1, size=texts)
    counts = (np.arange(tokens) < lengths[:, None]).astype(int)
    return np.where(counts == 1, rng.uniform(0, 2, (texts, tokens)), np.nan), counts


with marks.case("Padding that holds nan", points=0.5):
    rows, counts = drawn_losses(np.random.default_rng([SEED, 1]), 20, 12, 2)
    words = "Nan times 0 is nan: pick the tokens that count, do not multiply by the mask."
    made = np.asarray(text_perplexity(rows, counts), float)
    marks.holds(not np.isnan(made).any(), words)
    sums = [row[m == 1].sum() for row, m in zip(rows, counts, strict=True)]
    marks.near(made, reference.perplexity(sums, counts.sum(axis=1)))
with marks.case("A text of which no token counts", points=0.5):
    made = text_perplexity(np.log([[4.0, 4, 1], [1, 1, 1]]), np.array([[1, 1, 0], [0, 0, 0]]))
    marks.near(made, [4, np.nan], mistakes={
        "You give a text without tokens a perplexity of 1, the best there is; return nan.": [4, 1],
        "You give a text without tokens a perplexity of 0, the best there is; return nan.": [4, 0],
    })  # fmt: skip
with marks.case("Difficulties of a quarter, of exactly 1 and above 1", points=0.5):
    # perplexities 2 and 8, e^2 and e^2, 4 and 2
    made = answer_difficulty(
        np.array([[np.log(2), np.log(2), 9], [1, 2, 3], [np.log(4), np.log(4), 9]]),
        np.array([[1, 1, 0], [1, 1, 1], [1, 1, 0]]),
        np.array([[np.log(8), np.log(8), 9], [1, 2, 3], [np.log(2), np.log(2), 9]]),
        np.array([[1, 1, 0], [1, 1, 1], [1, 1, 0]]),
    )
    marks.near(made, [0.25, 1, np.nan], mistakes={
        "You let pairs above 1 through, and they would rank as the hardest; they get nan.": [
            0.25, 1, 2],
        "You cut to 1 what is above it. Such pairs would still be chosen; they get nan.": [
            0.25, 1, 1],
        "You leave out a difficulty of exactly 1; only those above 1 go.": [0.25, np.nan, np.nan],
        BY_LOSS: [1 / 3, 1, np.nan],
    })  # fmt: skip
with marks.case("Drawn pairs, one answer without tokens among them", points=0.5):
    rng = np.random.default_rng([SEED, 2])
    with_it, with_mask = drawn_losses(rng, 60, 9, 1)
    without, without_mask = drawn_losses(rng, 60, 6, 1)
    with_it, with_mask = with_it[:, ::-1], with_mask[:, ::-1]
    without_mask[3] = 0
    means = [
        [row[m == 1].mean() if m.any() else np.nan for row, m in zip(rows, counts, strict=True)]
        for rows, counts in ((with_it, with_mask), (without, without_mask))
    ]
    ratio = reference.instruction_following_difficulty(*means)
    made = answer_difficulty(with_it, with_mask, without, without_mask)
    marks.near(made, np.where(ratio <= 1, ratio, np.nan))
marks.total()

# %% [markdown] hints="difficulty"
# 1. Three steps for a perplexity: which tokens count, what is their mean loss, then `exp`. Which of
#    them is in danger when a padded place holds nan?
#
# 2. `np.where(mask > 0, losses, 0)` has no nan left, so its sum is safe. Divide it by
#    `mask.sum(axis=1)`, not by the width, and put nan where that is 0.
#
# 3. Call `text_perplexity` twice, once for `given` and once for `alone`, and divide. Nan in one of
#    them gives nan by itself; `np.where(ratio > 1, ...)` puts it where the quotient is too large.

# %% [markdown] task="band" kind="implement" minutes=15 difficulty=3 objective=1
# ## The middle band, under a budget of tokens
#
# Write `middle_band(scores, tokens, budget)`. It gets one score and one number of tokens for each
# document, as arrays of shape (documents,), and returns the indices of the documents to keep, **the
# first choice first**.
#
# - A score of nan means that there is none. Such a document is never kept, and has no part in the
#   median.
# - The document whose score is nearest to the median of the scores comes first. Nearness is the
#   difference of two scores (not of ranks). Of equally near ones the lower index comes first.
# - Documents are kept in this order while all kept tokens together are at most `budget`. The first
#   document that does not fit **ends** the choice: if shorter ones could slip in behind it, short
#   texts would win.
# - Where nothing can be kept, return an empty list.


# %% answer="band"
def middle_band(scores, tokens, budget):
    """Indices of the documents nearest to the median score, until the tokens are spent."""
    ### BEGIN SOLUTION
    known = np.flatnonzero(~np.isnan(scores))
    if not len(known):
        return []
    away = np.abs(scores[known] - np.median(scores[known]))
    order = known[np.argsort(away, kind="stable")]
    return order[np.cumsum(tokens[order]) <= budget].tolist()
    ### END SOLUTION


# %% check="band" points=2
marks = Marks("band")
with marks.case("Five documents of 10 tokens, and 30 to spend"):
    # the median is 4, so they are 2, 1, 1, 5 and 0 away from it
    made = middle_band(np.array([2.0, 5, 3, 9, 4]), np.full(5, 10), 30)
    marks.same(made, [4, 1, 2], mistakes={
        "The right ones, sorted by index; return the first choice first.": [1, 2, 4],
        "Of equally near documents the lower index comes first.": [4, 2, 1],
        "You measure from the mean, and one odd score moves it; take the median.": [1, 4, 2],
        "A document that spends the budget to the last token still fits.": [4, 1],
        "You keep the lowest scores; the middle is wanted.": [0, 2, 4],
        "You keep the highest scores; the middle is wanted.": [3, 1, 4],
    })  # fmt: skip
with marks.case("The same, but the second choice has 25 tokens"):
    made = middle_band(np.array([2.0, 5, 3, 9, 4]), np.array([10, 25, 10, 10, 10]), 30)
    marks.same(made, [4], mistakes={
        "You skip what does not fit and go on; the first that does not fit ends it.": [4, 2, 0],
        "You keep the document that breaks the budget; it has to fit as a whole.": [4, 1],
    })  # fmt: skip
marks.total()

# %% hidden="band" points=2
marks = Marks("band", hidden=True)


def kept_by_hand(scores, tokens, budget):
    """The rule of the specification, one document at a time."""
    known = [i for i in range(len(scores)) if scores[i] == scores[i]]
    if not known:
        return []
    centre = np.median([scores[i] for i in known])
    kept = []
    for i in sorted(known, key=lambda i: (abs(scores[i] - centre), i)):
        budget -= tokens[i]
        if budget < 0:
            break
        kept.append(i)
    return kept


with marks.case("Documents without a score, and tokens for all", points=0.5):
    # of 3, 1, 2 and 8 the median is 2.5; they are 0.5, 1.5, 0.5 and 5.5 away from it
    made = middle_band(np.array([np.nan, 3, 1, 2, np.nan, 8]), np.full(6, 10), 100)
    marks.same(made, [1, 3, 2, 5], mistakes={
        "You keep documents without a score, after all others; leave them out.": [1, 3, 2, 5, 0, 4],
        "With nan among the scores their median is nan: take it of the known ones.": [*range(6)],
        "You let nan count as 0, so it moves the median and can be kept.": [2, 3, 0, 1, 4, 5],
        "With nan among the scores you keep nothing: take the median of the known ones.": [],
    })  # fmt: skip
with marks.case("A gap in the scores", points=0.5):
    # the median is 3: 2, 1, 0, 7 and 8 away
    made = middle_band(np.array([1.0, 2, 3, 10, 11]), np.full(5, 10), 30)
    RANKS = "You go by rank. A score far from the median is far, even if none lies between."
    marks.same(made, [2, 1, 0], mistakes={RANKS: [2, 1, 3]})
with marks.case("A budget spent to the last token, and budgets that buy nothing", points=0.5):
    # the median is 4: 0, 1 and 2 away
    near, sizes = np.array([4.0, 5, 2]), np.array([7, 5, 9])
    marks.same(middle_band(near, sizes, 12), [0, 1], mistakes={
        "A document that spends the budget to the last token still fits.": [0],
    })  # fmt: skip
    marks.same(middle_band(near, sizes, 6), [], mistakes={
        "You skip what does not fit and go on; the first that does not fit ends it.": [1],
        "You keep a first document that the budget does not pay for.": [0],
    })  # fmt: skip
    marks.same(middle_band(np.full(2, np.nan), np.ones(2), 10), [])
with marks.case("Drawn stores", points=0.5):
    for place in range(20):
        rng = np.random.default_rng([SEED, 10, place])
        # quarters, so that many are equally near and no rounding decides
        found = rng.integers(0, 25, size=40) / 4 + np.where(rng.uniform(size=40) < 0.3, 4, 0)
        found[rng.integers(0, 40, size=4)] = np.nan
        sizes = rng.integers(5, 60, size=40)
        order = kept_by_hand(found, sizes, sizes.sum())
        # enough for some documents to the last token; in every other draw one token too few
        some = int(sizes[order[: rng.integers(5, 30)]].sum()) - place % 2
        some = some if place < 18 else int(sizes.sum())
        marks.same(middle_band(found, sizes, some), kept_by_hand(found, sizes, some))
marks.total()

# %% [markdown] hints="band"
# 1. First make the order of all documents that have a score, and forget the budget. Then see how far
#    down the list the budget reaches.
#
# 2. `np.flatnonzero` turns "has a score" into indices `known`; take the median of `scores[known]`.
#    `np.argsort(..., kind="stable")` leaves equal entries in their order.
#
# 3. Sums of tokens along the order only grow, so `np.cumsum(tokens[order]) <= budget` is true up to
#    the first document that does not fit, and false from there on.

# %% [markdown] task="dirt" kind="diagnose" minutes=15 difficulty=2 objective="1, 2"
# ## A filter that keeps the dirt
#
# A colleague keeps documents whose loss per token lies in a band around that of clean prose, from
# 4.5 to 6 nats. The store below is drawn. Its losses lie about where the kinds lay in lesson 04
# (medians: clean 5.17, repeated 2.72, scanning errors 7.11, shuffled 7.40); lengths are invented.
# Rows are filled up with 0 on the right, and the mask is 1 on real tokens. "broken" are documents
# with a letter that the model could not read: the loss of that one token is nan. "empty" ones have
# no token at all.


# %% given="filter"
def colleagues_filter(losses, mask, low, high):
    """Indices of the documents whose loss per token lies between `low` and `high`."""
    mean = losses.mean(axis=1)
    outside = (mean < low) | (mean > high)
    return np.flatnonzero(~outside)


WIDTH = 60
KINDS = {  # kind: documents, loss per token, fewest and most tokens
    "clean": (30, 5.2, 30, 36),
    "repeated": (15, 2.7, 50, 60),
    "scanning errors": (15, 7.1, 40, 48),
    "shuffled": (15, 7.4, 39, 46),
    "broken": (10, 5.2, 30, 36),
    "empty": (5, 5.2, 0, 0),
}
chance = np.random.default_rng([SEED, 20])
store_kinds = np.repeat(list(KINDS), [many for many, *_ in KINDS.values()])
store_lengths = np.array(
    [chance.integers(KINDS[kind][2], KINDS[kind][3] + 1) for kind in store_kinds]
)
store_mask = (np.arange(WIDTH) < store_lengths[:, None]).astype(int)
store_levels = np.array([KINDS[kind][1] for kind in store_kinds])[:, None]
store_losses = (store_levels + 0.3 * chance.normal(size=store_mask.shape)) * store_mask
store_losses[store_kinds == "broken", 7] = np.nan

# %%
Counter(store_kinds[colleagues_filter(store_losses, store_mask, 4.5, 6)].tolist())

# %% [markdown]
# Not one clean document is left. Find out why, and write `keep_between(losses, mask, low, high)`:
# the indices of the documents whose mean loss over real tokens is at least `low` and at most `high`,
# rising. A document without a real token, or with nan among the losses of its real tokens, has no
# mean and is never kept, whatever the limits are. The limits are any two numbers.


# %% answer="dirt"
def keep_between(losses, mask, low, high):
    """Indices of the documents whose mean loss over real tokens lies from `low` to `high`."""
    ### BEGIN SOLUTION
    tokens = mask.sum(axis=1)
    mean = np.full(len(losses), math.nan)
    np.divide((losses * mask).sum(axis=1), tokens, out=mean, where=tokens > 0)
    return np.flatnonzero((mean >= low) & (mean <= high))
    ### END SOLUTION


# %% check="dirt" points=2
marks = Marks("dirt")
PASSES = (
    "You keep documents that have no mean. Nan is neither below the one limit nor above the other: "
    "ask what lies inside, not what does not lie outside."
)
with marks.case("Four documents of 2, 3, 4 and 4 tokens"):
    # means over real tokens 5, 7, 5 and 2
    some = np.array([[5.0, 5, 0, 0], [7, 7, 7, 0], [5, 5, 5, 5], [2, 2, 2, 2]])
    marks.same(keep_between(some, (some > 0).astype(int), 4.5, 6), [0, 2], mistakes={
        "You still average over the padding: it makes short clean texts look too easy, and lets "
        "errors in.": [1, 2],
        "You keep what lies outside the limits.": [1, 3],
        "You return a yes or no for each document; return indices.": [True, False, True, False],
    })  # fmt: skip
with marks.case("A document with a loss that is nan"):
    some = np.array([[5.0, np.nan, 5, 0], [5, 5, 5, 5]])
    marks.same(keep_between(some, np.array([[1, 1, 1, 0], [1, 1, 1, 1]]), 4.5, 6), [1], mistakes={
        "You keep a document with nan among its losses. It has no mean, so no limits hold it; do "
        "not average over the other tokens either.": [0, 1],
    })  # fmt: skip
marks.total()

# %% hidden="dirt" points=2
marks = Marks("dirt", hidden=True)
with marks.case("A document without tokens, and a band that begins at 0", points=0.5):
    some = np.array([[0.0, 0, 0], [5, 5, 5], [7, 7, 7]])
    marks.same(keep_between(some, (some > 0).astype(int), 0, 6), [1], mistakes={
        "You keep a document without tokens. It has no mean; 0 would be a perfect one.": [0, 1],
    })  # fmt: skip
with marks.case("Means that lie on the limits", points=0.5):
    some = np.array([[4.0, 5], [6, 6], [7, 7]])
    marks.same(keep_between(some, np.ones((3, 2), int), 4.5, 6), [0, 1], mistakes={
        "You drop documents that lie on the limits; they belong to the band.": [],
        "You drop the document that lies on the lower limit.": [1],
        "You drop the document that lies on the upper limit.": [0],
    })  # fmt: skip
with marks.case("One nan among forty losses", points=0.5):
    some = np.full((2, 40), 5.2)
    some[0, 11] = np.nan
    marks.same(keep_between(some, np.ones((2, 40), int), 4.5, 6), [1], mistakes={
        "One nan among many losses goes under: you count it as 0, or leave it out.": [0, 1],
    })  # fmt: skip
with marks.case("The colleague's store", points=0.5):
    made = keep_between(store_losses, store_mask, 4.5, 6)
    right = np.flatnonzero(store_kinds == "clean")
    clean = np.isin(store_kinds, ["clean", "broken"])
    marks.same(made, right, mistakes={
        "It is the colleague's own choice.": colleagues_filter(store_losses, store_mask, 4.5, 6),
        PASSES: np.flatnonzero(clean | (store_kinds == "empty")),
        "You keep the documents that have nan among their losses.": np.flatnonzero(clean),
    })  # fmt: skip
marks.total()

# %% [markdown] hints="dirt"
# 1. Take one clean document from the store, and compare its mean in the colleague's function with
#    that of its real tokens. Then take a broken one: which of the two comparisons is true?
#
# 2. Two places to look at: what the mean divides by, and what `~outside` makes of nan.
#
# 3. `losses.mean(axis=1)` divides by the width of the matrix, and `~outside` is true for nan; the
#    first fault hides what the second does to empty documents. Divide `(losses * mask).sum(axis=1)`
#    by `mask.sum(axis=1)`, let it be nan where there is no token, and keep where
#    `(mean >= low) & (mean <= high)`.

# %% [markdown] task="account" kind="implement" minutes=15 difficulty=3 objective="1, 2"
# ## What the choice was worth, and whom it cost
#
# Lesson 04 asked two things of a filter: how good is the student, and whose clean texts are gone?
# Write `account(random, choice, oracle, clean, kept, traits)`.
#
# - `random`, `choice`, `oracle`: **losses** per token, in nats, of the three students on test texts,
#   arrays of shape (seeds, texts). Lower is better.
# - `clean`: for each document of the store whether it is clean, a list of `True` and `False`.
# - `kept`: the list of the indices of the documents that were kept.
# - `traits`: for each document of the store a list of texts, such as `["medical", "formulas"]`. It
#   may be empty, and dirt may have traits too.
#
# Return a dict of two entries:
#
# - `"recovered"`: the share of the gap between random choice and oracle's that the choice recovered,
#   of the means over all seeds and texts. Cut nothing off. It is `math.nan` where the oracle's mean
#   is not better than the random one.
# - `"dropped"`: for each trait that at least one clean document has, the share of the clean
#   documents with this trait that were not kept, a dict. Other traits do not appear in it.
#
# Results may be off by a millionth.


# %% answer="account"
def account(random, choice, oracle, clean, kept, traits):
    """The share of the gap that was recovered, and by trait the share of clean texts dropped."""
    ### BEGIN SOLUTION
    gap = random.mean() - oracle.mean()
    recovered = (random.mean() - choice.mean()) / gap if gap > 0 else math.nan
    having = Counter()
    lost = Counter()
    for index, own in enumerate(traits):
        if clean[index]:
            having.update(own)
            lost.update(own if index not in kept else ())
    dropped = {trait: lost[trait] / having[trait] for trait in having}
    return {"recovered": recovered, "dropped": dropped}
    ### END SOLUTION


# %% check="account" points=2
marks = Marks("account")
FOUR, SOME, LEAST = np.array([[3.9, 4.1], [4.2, 3.8]]), np.full((2, 2), 3.9), np.full((2, 2), 3.6)
with marks.case("From a loss of 4.0 to 3.9, where the oracle's choice leads to 3.6"):
    made = account(FOUR, SOME, LEAST, [True], [0], [["medical"]])
    marks.near(made["recovered"], 0.25, mistakes={
        "You see no gap. These are losses: the oracle's lies below the random one.": np.nan,
        "You measure what is left of the gap; the share that was recovered is wanted.": 0.75,
        "You divide by what is left; divide by the whole gap, random − oracle.": 1 / 3,
        "You have the sign of a score. A loss that falls is a gain.": -0.25,
    })  # fmt: skip
with marks.case("Of 4 clean medical texts 2 are dropped, of 3 with rare words 2"):
    own = [["medical"], ["medical", "rare words"], [], ["rare words"], ["medical"], ["medical"], [],
           ["medical", "rare words"]]  # fmt: skip
    good = [True, True, True, True, False, True, True, True]
    made = account(FOUR, SOME, LEAST, good, [0, 2, 4, 7], own)["dropped"]
    marks.same(sorted(made), ["medical", "rare words"])
    marks.near([made["medical"], made["rare words"]], [1 / 2, 2 / 3], mistakes={
        "You count dirt with the trait as well; only clean documents count.": [2 / 5, 2 / 3],
        "You give the share that was kept; the dropped share is wanted.": [1 / 2, 1 / 3],
        "You count each document for one of its traits only; it counts for all of them.": [
            1 / 2, 1],
        "You divide by all clean documents that were dropped; divide by all that have the trait.": [
            1 / 2, 1 / 2],
        "You divide by all clean documents; divide by those that have the trait.": [2 / 7, 2 / 7],
    })  # fmt: skip
marks.total()

# %% hidden="account" points=2
marks = Marks("account", hidden=True)


def share_of(start, reached, end):
    """What the learner's function says of three mean losses."""
    losses = [np.full((2, 3), mean) for mean in (start, reached, end)]
    return account(*losses, [True], [0], [["formulas"]])["recovered"]


with marks.case("Worse than chance, and better than the oracle's", points=0.5):
    # (4.0 - 4.2) / (4.0 - 3.6) = -0.5; (4.0 - 3.5) / (4.0 - 3.6) = 1.25
    marks.near([share_of(4.0, 4.2, 3.6), share_of(4.0, 3.5, 3.6)], [-0.5, 1.25], mistakes={
        "You cut the share off at 0 and 1. A choice that did harm must show.": [0, 1],
        "You take the size of the difference. A choice that did harm must show.": [0.5, 1.25],
        "You have the sign of a score. A loss that falls is a gain.": [0.5, -1.25],
    })  # fmt: skip
with marks.case("An oracle that is no better than chance", points=0.5):
    marks.near([share_of(4.0, 3.9, 3.6), share_of(3.5, 3.9, 4.0)], [0.25, np.nan], mistakes={
        "You see a gap where the oracle's choice is worse than chance: its loss is higher.": [
            0.25, -0.8],
        "You see a gap where the oracle's choice is worse than chance.": [0.25, 0.8],
        "You test for the gap the wrong way round. These are losses.": [np.nan, -0.8],
    })  # fmt: skip
    level = share_of(4.0, 3.9, 4.0)
    marks.holds(level != level, "An oracle level with chance leaves no gap: return nan.")
with marks.case("A trait that only dirt has", points=0.5):
    own = [["medical"], ["tables"], ["medical", "formulas"]]
    made = account(FOUR, SOME, LEAST, [True, False, True], [2], own)["dropped"]
    words = "A trait that no clean document has does not appear in the dict."
    marks.holds("tables" not in made, words)
    words = "A trait of which nothing was dropped appears in the dict, with 0."
    marks.holds("formulas" in made, words)
    marks.near([made["medical"], made["formulas"]], [0.5, 0])
with marks.case("Drawn stores", points=0.5):
    told, right, by_seed = [], [], []
    for place in range(20):
        rng = np.random.default_rng([SEED, 30, place])
        start, reached, end = (rng.normal(m, 0.1, size=(3, 8)) for m in (4, 3.8, 3.5))
        good = (rng.uniform(size=60) < 0.5).tolist()
        names = np.array(["medical", "formulas", "rare words"])
        own = [names[rng.uniform(size=3) < 0.4].tolist() for _ in range(60)]
        taken = rng.permutation(60)[:20].tolist()
        made = account(start, reached, end, good, taken, own)
        told.append(made["recovered"])
        right.append((start.mean() - reached.mean()) / (start.mean() - end.mean()))
        by_seed.append(((start - reached).mean(axis=1) / (start - end).mean(axis=1)).mean())
        for name in names.tolist():
            here = {i for i in range(60) if good[i] and name in own[i]}
            marks.near(made["dropped"][name], len(here - {*taken}) / len(here))
    # all stores at once: in a single one the two shares may agree by chance
    words = "You average the shares of the seeds; take the share of the means over all seeds."
    marks.near(told, right, mistakes={words: by_seed})
marks.total()

# %% [markdown] hints="account"
# 1. Two questions, two pieces of code. For the first write down which of the three mean losses
#    should be the highest, and what difference each half of the quotient stands for.
#
# 2. Recovered: `(random.mean() - choice.mean()) / (random.mean() - oracle.mean())`, where the part
#    below the line is above 0.
#
# 3. Dropped: go once through the clean documents. For each of its traits count the document, and
#    count it a second time elsewhere if its index is not in `kept`. Divide at the end.

# %% [markdown] task="price" kind="decide" minutes=15 difficulty=3 objective=1
# ## Which score for this much computing?
#
# The shares of the gap and their intervals below are those that lesson 04 measured. So is what the
# weak model computes: 4 TFLOP for the 294 texts of the store, which is 13.6 GFLOP a text. **The
# other prices are drawn for you**: `fixed` in TFLOP, once (to read judged passages, to fit
# something to them, to try settings out), and `per_text` in GFLOP for each text of the store (1
# TFLOP is 1,000 GFLOP).

# %% given="prices"
MEASURED = {  # share of the gap recovered, and the ends of its 95 % interval, from lesson 04
    "classifier": (1.01, 0.86, 1.19),
    "curated": (0.97, 0.85, 1.08),
    "n-gram": (0.83, 0.25, 1.11),
    "neighbours": (0.61, 0.29, 0.79),
    "middle": (0.44, 0.20, 0.61),
    "unique": (0.16, -0.18, 0.38),
    "unlikely": (-0.15, -0.90, 0.28),
    "likely": (-1.20, -2.19, -0.75),
}
WEAK_READS = 13.6  # GFLOP a text


def priced(rng):
    """Each score with its measured share, and prices that are drawn where none was measured."""

    def price(name):
        if name in ("middle", "likely", "unlikely"):
            return {"fixed": 0, "per_text": WEAK_READS}
        fixed = 0 if name == "unique" else int(rng.integers(4, 40))
        return {"fixed": fixed, "per_text": round(float(rng.uniform(0.5, 9)), 1)}

    ends = ("recovered", "low", "high")
    return {name: dict(zip(ends, MEASURED[name], strict=True)) | price(name) for name in MEASURED}


offers = priced(np.random.default_rng([SEED, 40]))
offers

# %% [markdown]
# Write `choose_score(offers, texts, budget)` for a store of so many texts and a budget in TFLOP. It
# returns the name of the score that recovered most, among those
#
# - whose price, fixed part and all texts together, the budget pays for (a price equal to the budget
#   is paid), and
# - whose interval lies wholly above 0. An end of exactly 0 is not above 0, nor is nan, which stands
#   there where an interval is undefined.
#
# Where there is none, return `"random"`: a random choice costs nothing. No two scores recovered the
# same share.


# %% answer="price"
def choose_score(offers, texts, budget):
    """The affordable score with the highest share among those surely above 0; else "random"."""
    ### BEGIN SOLUTION
    good = {}
    for name, offer in offers.items():
        price = offer["fixed"] + offer["per_text"] * texts / 1000
        if price <= budget and offer["low"] > 0:
            good[name] = offer["recovered"]
    return max(good, key=good.get, default="random")
    ### END SOLUTION


# %% check="price" points=2
marks = Marks("price")
# for 1,000 texts: band 10 TFLOP, vote 7, judge 25, guess 2, hand 3.5
table = {
    "band": {"recovered": 0.4, "low": 0.35, "high": 0.45, "fixed": 0, "per_text": 10},
    "vote": {"recovered": 0.6, "low": 0.3, "high": 0.9, "fixed": 5, "per_text": 2},
    "judge": {"recovered": 0.9, "low": 0.1, "high": 1.3, "fixed": 20, "per_text": 5},
    "guess": {"recovered": 1.1, "low": -0.3, "high": 2.1, "fixed": 1, "per_text": 1},
    "hand": {"recovered": 0.2, "low": 0.15, "high": 0.25, "fixed": 1, "per_text": 2.5},
}
UNSURE = "The interval of that score reaches to 0 or below: it may be no better than chance."
LOWEST = "You rank by the lower end. It says who may compete; of those the highest share wins."
DEAR = "That score costs more than the budget: fixed part and all texts together have to be paid."
CHEAP = "You take the cheapest. The budget is a limit, not a prize."
RATIO = "You take the highest share for one TFLOP. What is asked for is the highest share."
UNITS = "You find nothing to pay for. 1 TFLOP is 1,000 GFLOP."
FIXED = "You leave out the fixed part. It is paid once, beside all the texts."
with marks.case("With 30 TFLOP for 1,000 texts every score can be paid"):
    marks.same(choose_score(table, 1000, 30), "judge", mistakes={
        UNSURE: "guess", LOWEST: "band", RATIO: "vote", CHEAP: "hand", UNITS: "random",
    })  # fmt: skip
with marks.case("With 20 TFLOP one of them is too dear"):
    marks.same(choose_score(table, 1000, 20), "vote", mistakes={
        DEAR: "judge", UNSURE: "guess", LOWEST: "band", CHEAP: "hand", UNITS: "random",
    })  # fmt: skip
marks.total()

# %% hidden="price" points=2
marks = Marks("price", hidden=True)


def full_price(offer, texts):
    return offer["fixed"] + offer["per_text"] * texts / 1000


def shaken(rng):
    """The same prices with other shares and intervals."""
    made = priced(rng)
    for name in made:
        share, wide = rng.uniform(-0.3, 1.2), rng.uniform(0.05, 0.9)
        made[name] |= {"recovered": share, "low": share - wide, "high": share + wide}
    return made


NONE = 'Return "random" where no score can be both paid and trusted.'
for title, draw in (("The lesson's shares at other prices", priced), ("Other shares", shaken)):
    with marks.case(title, points=0.5):
        told, rules = [], {}
        for place in range(150):
            rng = np.random.default_rng([SEED, 50, place])
            drawn, texts = draw(rng), int(rng.integers(300, 3000))
            # between the prices, whose fifth digit is 0: no rounding decides
            for budget in (3.01235, 12.01235, 25.01235, 50.01235):
                paid = [name for name in drawn if full_price(drawn[name], texts) <= budget]
                sure = [name for name in drawn if drawn[name]["low"] > 0]
                both = [name for name in paid if name in sure]
                light = [n for n in sure if drawn[n]["per_text"] * texts / 1000 <= budget]
                mixed = [
                    n for n in sure if drawn[n]["fixed"] + drawn[n]["per_text"] * texts <= budget
                ]
                best = {
                    "": max(both, key=lambda n: drawn[n]["recovered"], default="random"),
                    UNSURE: max(paid, key=lambda n: drawn[n]["recovered"], default="random"),
                    LOWEST: max(both, key=lambda n: drawn[n]["low"], default="random"),
                    CHEAP: min(both, key=lambda n: full_price(drawn[n], texts), default="random"),
                    FIXED: max(light, key=lambda n: drawn[n]["recovered"], default="random"),
                    UNITS: max(mixed, key=lambda n: drawn[n]["recovered"], default="random"),
                    DEAR: max(sure, key=lambda n: drawn[n]["recovered"], default="random"),
                    RATIO: max(
                        both,
                        key=lambda n: drawn[n]["recovered"] / full_price(drawn[n], texts),
                        default="random",
                    ),
                }
                for words, name in best.items():
                    rules.setdefault(words, []).append(name)
                told.append(choose_score(drawn, texts, budget))
        # all at once: in a single draw one mistake may look like another
        right = rules.pop("")
        rules[NONE] = [None if name == "random" else name for name in right]
        marks.same(told, right, mistakes={w: n for w, n in rules.items() if n != right})
narrow = {"recovered": 0.5, "low": 0.0, "high": 1.0, "fixed": 1, "per_text": 1}
exact = {"recovered": 0.3, "low": 0.2, "high": 0.4, "fixed": 2, "per_text": 3}
undefined = {"recovered": 0.9, "low": np.nan, "high": np.nan, "fixed": 1, "per_text": 1}
with marks.case("A price equal to the budget, and a lower end of exactly 0", points=0.5):
    # 2 + 3 × 2,000 / 1,000 = 8
    marks.same(choose_score({"narrow": narrow, "exact": exact}, 2000, 8), "exact", mistakes={
        "A lower end of exactly 0 is not above 0.": "narrow",
        "A price equal to the budget is paid.": "random",
    })  # fmt: skip
with marks.case("Nothing that can be paid and trusted", points=0.5):
    UNDEFINED = "An interval of nan does not lie above 0, though it does not lie below it either."
    marks.same(choose_score({"odd": undefined, "exact": exact}, 2000, 8), "exact", mistakes={
        UNDEFINED: "odd",
    })  # fmt: skip
    for these, most in (({"odd": undefined}, 8), ({"exact": exact}, 7), ({}, 8)):
        marks.holds(choose_score(these, 2000, most) == "random", NONE)
marks.total()

# %% [markdown] hints="price"
# 1. Three questions for each score, in this order: can it be paid, is it surely better than chance,
#    and is it better than the best one so far?
#
# 2. The price in TFLOP is `offer["fixed"] + offer["per_text"] * texts / 1000`. The interval lies
#    wholly above 0 when its lower end does, and `nan > 0` is false.
#
# 3. Put name and share of those that pass into a dict `good`; then
#    `max(good, key=good.get, default="random")`.

# %% [markdown] task="letters" kind="explain" minutes=15 difficulty=4 objective="2, 3"
# ## Rare words, plain words
#
# A hospital builds a model that is to read doctors' letters. A small general model reads its store,
# and documents with more than 6 nats per token are dropped. These figures are invented: 4 % of the
# papers in plain prose are dropped, 90 % of the scanning errors, and 61 % of the doctors' letters,
# which are full of drug names and abbreviations. (The medical papers of lesson 04 were no less
# likely than other prose, with medians of 4.97 and 5.17 nats; letters are written differently.) On
# a test set of plain prose the strong model does better than after a random choice. Two proposals
# are on the table:
#
# - **Rewrite.** The small model writes every dropped document anew, in words that it finds likely,
#   and the strong model learns from these versions in place of the originals, beside the documents
#   that were kept.
# - **Rejudge.** Two hundred passages, letters among them, are judged by doctors. Documents are
#   chosen by their likeness to good ones, as they stand, with a quota for letters.
#
# First commit yourself. The team should
#
# - (a) change nothing, since the test shows that the filter works
# - (b) rewrite, since then no document is lost
# - (c) raise the limit until as few letters as papers are dropped
# - (d) rejudge, since what is wrong is the choice and not the texts
#
# Then explain in 60 to 200 words why this filter drops letters, what speaks against the other
# proposal, and how you would measure at an equal budget whether yours has helped.

# %% answer="letters"
position = ""
### BEGIN SOLUTION
position = "d"
### END SOLUTION

# %% [markdown] essay="letters" points=3
# A loss says how predictable a text is for the model that reads it. Drug names and abbreviations
# surprise a general model as much as broken letters do, so doctors' letters and scanning errors lie
# at the same end, and one limit cannot part them. Raising it would bring the errors back as well. To
# rewrite replaces what the letters know by what the small model believes: where it does not know a
# drug it writes something likelier, and the strong model learns exactly these mistakes, about the
# very patients it was built for. In lesson 04 relabelling brought right labels down from 79 % to
# 60 %. Choosing may lose a text; it puts no wrong word into one. To see whether rejudging helped I
# would give the present filter, a random choice and the new one the same number of tokens, train the
# strong model on each with several seeds, and compare losses on clean letters that nobody trained
# on, with intervals, beside those on plain prose. I would also report by kind which share of the
# clean documents each filter drops, since a test without letters could not show that they are gone.
#
# ### Rubric
# - **1** says that the loss measures what is predictable for the general model, so that rare terms
#   look like errors (not that letters are of low quality)
# - **1** says that rewriting puts the small model's knowledge and mistakes in the place of the text,
#   while choosing leaves the text as it is
# - **1** asks for a test on letters, or for the share of clean letters dropped, against another
#   choice of the same number of tokens
#
# ### Exemplar, 2 of 3
# The small model has hardly ever seen drug names, so each of them costs many nats, and a letter full
# of them looks like a page full of scanning errors. The filter confuses strange with useless. If the
# small model rewrites the letters, it leaves out or replaces what it does not know, and just that is
# what the strong model should have learned. Therefore the doctors should judge. Afterwards one can
# see from the test set whether the loss has gone down further.
#
# Why: The cause and the flaw of rewriting are there. The test named is the one of plain prose, which
# cannot show what became of letters, and no budget is held equal.
#
# ### Exemplar, 1 of 3
# Doctors' letters are important for a hospital, so it is bad that 61 % of them are dropped. Rewriting
# is risky because the small model is weak and would make mistakes about drugs, which the strong model
# would then learn instead of what the doctors wrote. Doctors know best which documents are good. The
# team should therefore let doctors judge as many documents as it can afford and train on those.
#
# Why: It sees what rewriting does. It does not say why letters have a high loss, and proposes no
# measurement.

# %% check="letters" points=0
marks = Marks("letters")
with marks.case("You have committed yourself to one of the letters a to d", points=0):
    marks.holds(position in list("abcd"), "Put one letter into `position`.")
marks.total()

# %% hidden="letters" points=1
marks = Marks("letters", hidden=True)
with marks.case("What the team should do"):
    marks.same(position, "d", mistakes={
        "You trust a test of plain prose. It cannot show what became of the letters.": "a",
        "You keep each document's place and lose what stood in it: the small model writes what "
        "it knows.": "b",
        "You let the scanning errors in with the letters: both lie above the limit.": "c",
    })  # fmt: skip
marks.total()

# %% [markdown] hints="letters"
# 1. Which two kinds of text surprise a general model most, and can a single limit on its loss tell
#    them apart?
#
# 2. Compare with the two plans of lesson 04: which of them can put something wrong into a text that
#    was right?
#
# 3. For the measurement name three things: the choices that are compared, what is the same for all
#    of them, and on which texts their students are tested.

# %% [markdown]
# ## Your score
#
# On visible cases, for the checks that you have run:

# %%
score()
