# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Exercises 02 · Papers: to match its teacher, or to do better?
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
import torch

from w2s_lab.exercise import Marks, score

# %% [markdown] task="numbers" kind="recall" minutes=10 difficulty=1 objective="1, 3"
# ## What the objective says, and what it leaves out
#
# Answer each question with one letter. The numbers come from the run of lesson 02.
#
# **q1** Which change in the data of one `transfer` paper leaves the naive student's objective as it
# is?
#
# - (a) the weak text gets one more word
# - (b) another question is asked
# - (c) the opening is cut after 100 words
# - (d) the expert's sentence is replaced by another
#
# **q2** At every token a weak model gives two words a probability of 1/2 each. The student is
# distilled from these probabilities at temperature 1. How low can its loss get?
#
# - (a) to 0
# - (b) to log 2 nats per token
# - (c) to minus infinity
# - (d) to 1/2 nat per token
#
# **q3** `early stopping` got exactly the scores of `naive`, although, judged by gold, pass 1 was the
# best. Why?
#
# - (a) On weak texts of other papers the loss was lowest after the last pass, so that was kept.
# - (b) The few gold pairs chose the last pass.
# - (c) The student never came to resemble its teacher.
# - (d) The loss on the weak texts it was trained on was lowest after pass 1.
#
# **q4** The naive student repeats 30 % of its teacher's errors, where chance alone would give 27 %;
# the untouched model repeats 6 %, where chance would give 10 %. What was mostly taken over?
#
# - (a) errors about this paper or that
# - (b) phrases that the student says about any paper
# - (c) words of the paper
# - (d) words of the experts

# %% answer="numbers"
answers = {"q1": "", "q2": "", "q3": "", "q4": ""}
### BEGIN SOLUTION
answers = {"q1": "d", "q2": "b", "q3": "a", "q4": "b"}
### END SOLUTION

# %% check="numbers" points=0
marks = Marks("numbers")
with marks.case("Each question has one of the letters a to d", points=0):
    for question in ("q1", "q2", "q3", "q4"):
        marks.holds(answers[question] in list("abcd"), f"Give one letter for {question}.")
marks.total()

# %% hidden="numbers" points=4
marks = Marks("numbers", hidden=True)
with marks.case("q1: what the objective does not contain"):
    marks.same(answers["q1"], "d", mistakes={
        "The weak text is ŷ, the very thing that is made probable.": "a",
        "The question is part of x, and ŷ is made probable given x.": "b",
        "The opening is read: it is part of x. Only nobody asks the student to write it.": "c",
    })  # fmt: skip
with marks.case("q2: the least value of the loss"):
    marks.same(answers["q2"], "b", mistakes={
        "A student that agrees with its teacher still pays for the teacher's doubt.": "a",
        "A cross-entropy is never below the teacher's own entropy.": "c",
        "The doubt is measured in logarithms: twice 1/2 times log 2.": "d",
    })  # fmt: skip
with marks.case("q3: what early stopping can see"):
    marks.same(answers["q3"], "a", mistakes={
        "Early stopping sees no gold. Gold would have chosen pass 1.": "b",
        "It did, more and more: that is why the alarm stayed silent.": "c",
        "Early stopping looks at papers that were not trained on; and it kept the last pass.": "d",
    })  # fmt: skip
with marks.case("q4: habit or knowledge"):
    marks.same(answers["q4"], "b", mistakes={
        "Such errors would lie well above chance, and 30 % is hardly above 27 %.": "a",
        "An error is a word that the paper does not have.": "c",
        "An error is a word that the expert does not have.": "d",
    })  # fmt: skip
marks.total()

# %% [markdown] hints="numbers"
# 1. Write the objective down: Σ log p(ŷ | x). Which letters occur in it, and which one does not?
#
# 2. For q2 let the student have the teacher's probabilities exactly, and compute −Σ q log q.
#
# 3. For q3: which texts may early stopping look at, and after which pass did they fit best? For q4:
#    what would the share be if you exchanged the papers?

# %% [markdown] task="likelihood" kind="implement" minutes=15 difficulty=2 objective=1
# ## The objective, from a model's raw output
#
# In the lesson's example each row of probabilities stood beside the word it was about. A language
# model's output is off by one: `logits[:, t]` is its prediction of the token at `t + 1`.
#
# Write `weak_text_log_likelihood(logits, ids, mask)`, the log-likelihood of each weak text under the
# student, a tensor of shape (texts,), in nats: a **sum** over the tokens of the weak text.
#
# - `logits`: (texts, tokens, vocabulary), any real numbers; their softmax is the prediction.
# - `ids`: whole numbers, (texts, tokens): prompt, then weak text, then padding.
# - `mask`: (texts, tokens), 1 where `ids` holds a token of the weak text, 0 for prompt and padding.
#   It is 0 in the first place, which nothing predicts.
#
# Where the mask is 0, `ids` may be no token at all (−100, say). Logits that predict such a place, or
# what comes after the last one, may be huge numbers. Results may be off by 0.0001.


# %% answer="likelihood"
def weak_text_log_likelihood(logits, ids, mask):
    """Log-likelihood of each weak text, shape (texts,), from logits that are one place early."""
    ### BEGIN SOLUTION
    predicted = torch.log_softmax(logits[:, :-1], dim=-1)
    counts = mask[:, 1:] == 1
    words = torch.where(counts, ids[:, 1:], 0)  # an id of -100 cannot be looked up
    found = predicted.gather(-1, words[..., None])[..., 0]
    return torch.where(counts, found, 0.0).sum(1)
    ### END SOLUTION


# %% check="likelihood" points=1
marks = Marks("likelihood")
NO_SHIFT = "You compare logits[:, t] with the token at t; it predicts the token at t + 1."
NO_MASK_SHIFT = "Logits and ids are shifted, the mask is not: it has to go along with the ids."
PROMPT = "Prompt or padding counts in your sum. Only places where the mask is 1 count."
MEAN = "You divide by the number of tokens. This task asks for the sum."
log2 = math.log(2)
# The weak text is 0, 1, 2 with probabilities 1/2, 1/4, 1/2: together 1/16
places = [[1, 1, 6], [4, 2, 2], [1, 2, 5], [2, 2, 4], [6, 1, 1]]  # eighths
with marks.case("A prompt of two tokens, a weak text of three: log 1/16", points=0.5):
    given = torch.tensor([places], dtype=torch.float).div(8).log()
    got = weak_text_log_likelihood(
        given, torch.tensor([[1, 2, 0, 1, 2]]), torch.tensor([[0, 0, 1, 1, 1]])
    )
    marks.near(got, [-4 * log2], tolerance=1e-4, mistakes={
        NO_SHIFT: [-8 * log2],
        NO_MASK_SHIFT: [-3 * log2],
        "You shift the wrong way: drop the last logits and the first id.": [-5 * log2],
        PROMPT: [math.log(3 / 64)],
        MEAN: [-4 / 3 * log2],
        "You return a loss: turn the sign.": [4 * log2],
    })  # fmt: skip
with marks.case("Beside it a shorter text, of probability 1/4, and padding", points=0.5):
    second = [[4, 2, 2], [2, 2, 4], [2, 2, 4], [1, 1, 6], [1, 1, 6]]
    given = torch.tensor([places, second], dtype=torch.float).div(8).log()
    pair = torch.tensor([[1, 2, 0, 1, 2], [1, 0, 2, 0, 0]])
    got = weak_text_log_likelihood(given, pair, torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]]))
    marks.near(got, [-4 * log2, -2 * log2], tolerance=1e-4, mistakes={
        PROMPT: [math.log(3 / 64), -7 * log2],
        MEAN: [-4 / 3 * log2, -log2],
        "You add up the batch as well: return one number for each text.": -6 * log2,
    })  # fmt: skip
marks.total()

# %% hidden="likelihood" points=3
marks = Marks("likelihood", hidden=True)
from w2s_lab.losses import sequence_log_likelihood


def texts_drawn(k, texts=4, tokens=9, vocabulary=7):
    draw = np.random.default_rng([SEED, k])
    logits = torch.tensor(draw.normal(0, 2, (texts, tokens, vocabulary)), dtype=torch.float)
    ids = torch.tensor(draw.integers(vocabulary, size=(texts, tokens)))
    mask = torch.zeros(texts, tokens, dtype=torch.long)
    for row in range(texts):
        start = draw.integers(1, 4)
        mask[row, start : start + draw.integers(2, 5)] = 1
    return logits, ids, mask


with marks.case("Texts of your own, with prompts and padding of several lengths"):
    logits, ids, mask = texts_drawn(1)
    full = torch.ones_like(mask[:, 1:])
    right = sequence_log_likelihood(logits[:, :-1], ids[:, 1:], mask[:, 1:])
    marks.near(weak_text_log_likelihood(logits, ids, mask), right, tolerance=1e-4, mistakes={
        NO_SHIFT: sequence_log_likelihood(logits, ids, mask),
        NO_MASK_SHIFT: sequence_log_likelihood(logits[:, :-1], ids[:, 1:], mask[:, :-1]),
        PROMPT: sequence_log_likelihood(logits[:, :-1], ids[:, 1:], full),
        MEAN: right / mask.sum(1),
    })  # fmt: skip
with marks.case("Outside the mask stand ids of −100 and huge logits"):
    logits, ids, mask = texts_drawn(2)
    right = sequence_log_likelihood(logits[:, :-1], ids[:, 1:], mask[:, 1:])
    idle = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1) == 0
    huge = torch.where(idle[..., None], 1e9 * logits, logits)
    got = weak_text_log_likelihood(huge, torch.where(mask == 1, ids, -100), mask)
    marks.near(got, right, tolerance=1e-4)
with marks.case("A student that is very sure of another word", points=0.5):
    # Of the logits 200 and -200 the second was written: log-probability -400
    sure = torch.tensor([[[200.0, -200.0, 0.0], [0.0, 0.0, 0.0]]])
    got = weak_text_log_likelihood(sure, torch.tensor([[0, 1]]), torch.tensor([[0, 1]]))
    marks.near(got, [-400], tolerance=1e-3, mistakes={
        "You take the logarithm of a softmax, which has run into 0: use torch.log_softmax.":
            [-math.inf],
    })  # fmt: skip
with marks.case("A text of one token after a long prompt", points=0.5):
    logits, ids, _ = texts_drawn(3)
    last = torch.zeros_like(ids)
    last[:, -1] = 1
    right = sequence_log_likelihood(logits[:, :-1], ids[:, 1:], last[:, 1:])
    marks.near(weak_text_log_likelihood(logits, ids, last), right, tolerance=1e-4, mistakes={
        NO_SHIFT: sequence_log_likelihood(logits, ids, last),
        NO_MASK_SHIFT: torch.zeros(4),
    })  # fmt: skip
marks.total()

# %% [markdown] hints="likelihood"
# 1. Take the first visible case and draw a line from each row of logits to the token that it
#    predicts. Which row predicts nothing, and which token is predicted by none?
#
# 2. `logits[:, :-1]` belongs to `ids[:, 1:]`, and to `mask[:, 1:]`. `gather` picks the id's entry from
#    the last axis, and cannot look up −100: give such places any real token first.
#
# 3. `torch.log_softmax` of the shifted logits; `torch.where(counts, ids, 0)`; `gather`;
#    `torch.where(counts, found, 0.0).sum(1)`.

# %% [markdown] task="distil" kind="implement" minutes=20 difficulty=3 objective=1
# ## A teacher that hesitates
#
# Write `distillation(student_logits, weak_probs, mask, temperature)`: for each text the loss of
# word-level distillation, a tensor of shape (texts,). The lesson's function gives one number for the
# whole batch; here each text has its own mean.
#
# - `student_logits` and `weak_probs`: (texts, tokens, vocabulary). **They are aligned**: both are about
#   the token in that place, nothing is to be shifted. `weak_probs` are probabilities, `student_logits`
#   any real numbers.
# - `mask`: (texts, tokens), 1 where a token counts. Every text has at least one. Elsewhere anything
#   finite may stand, even rows of zeros among the probabilities.
# - `temperature`: T > 0. Flatten **both** distributions: each probability to the power 1/T, then make
#   them sum to one again. For each place take the cross-entropy from the flattened weak model to the
#   flattened student, −Σ q log p.
# - Return T² times the mean over the text's own places in the mask.
#
# A weak probability may be 0, and then counts for nothing. Results may be off by 0.0001.


# %% answer="distil"
def distillation(student_logits, weak_probs, mask, temperature):
    """T² times the cross-entropy at temperature T, averaged over each text's tokens: (texts,)."""
    ### BEGIN SOLUTION
    flat = weak_probs ** (1 / temperature)
    target = flat / flat.sum(-1, keepdim=True)
    log_probs = torch.log_softmax(student_logits / temperature, dim=-1)
    lost = -(target * log_probs).sum(-1)
    # torch.where and not a product: a row of zeros has become nan, and 0 * nan is nan
    total = torch.where(mask == 1, lost, 0.0).sum(1)
    return temperature**2 * total / mask.sum(1)
    ### END SOLUTION


# %% check="distil" points=1
marks = Marks("distil")
NO_SQUARE = "The factor T² is missing."
KL = "You subtract the weak model's own entropy (a KL divergence). Return the cross-entropy alone."
with marks.case("One place at T = 2, by hand", points=0.5):
    # Roots of 16 : 1 : 9 are 4 : 1 : 3; roots of 4 : 1 : 1 are 2 : 1 : 1
    # (4/8 log 2 + 1/8 log 4 + 3/8 log 4) times 4 is 6 log 2
    weak_here = torch.tensor([[[16.0, 1.0, 9.0]]]) / 26
    student_here = torch.tensor([[[4.0, 1.0, 1.0]]]).log()
    got = distillation(student_here, weak_here, torch.ones(1, 1), 2.0)
    marks.near(got, [6 * math.log(2)], tolerance=1e-4, mistakes={
        NO_SQUARE: [1.5 * math.log(2)],
        "Your factor is T; it has to be T².": [3 * math.log(2)],
        "The student is not flattened: divide its logits by T.": [4 * math.log(3)],
        "The weak model is not flattened: its probabilities to the power 1/T.":
            [72 / 13 * math.log(2)],
        "The powers do not sum to one: divide the weak ones by their sum.":
            [4 * (12 / math.sqrt(26)) * math.log(2)],
        "You divide logits by T without a log_softmax after it.": [-2 * math.log(2)],
        "You take the weak probabilities for logits. Raise them to the power 1/T instead.":
            [4.488336],
        KL: [1.5 * math.log(3) - 2 * math.log(2)],
    })  # fmt: skip
with marks.case("At T = 1 a one-hot teacher gives the plain cross-entropy", points=0.5):
    # The words have 1/2 and 1/8: (log 2 + log 8) / 2 is 2 log 2
    student_here = torch.tensor([[[4.0, 2.0, 2.0], [1.0, 6.0, 1.0]]]).log()
    one_hot = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    got = distillation(student_here, one_hot, torch.ones(1, 2), 1.0)
    marks.near(got, [2 * math.log(2)], tolerance=1e-4, mistakes={
        "You add up the places of a text. Divide by their number.": [4 * math.log(2)],
        "The sign is turned: a cross-entropy is minus Σ q log p.": [-2 * math.log(2)],
        "The logarithm of a weak probability of 0 got into your sum. Do without it.": [math.nan],
    })  # fmt: skip
marks.total()

# %% hidden="distil" points=3
marks = Marks("distil", hidden=True)
from w2s_lab.losses import sequence_distillation_loss


def places_drawn(k, lengths, tokens, vocabulary=6):
    draw = np.random.default_rng([SEED, k])
    size = (len(lengths), tokens, vocabulary)
    logits = torch.tensor(draw.normal(0, 2, size), dtype=torch.float)
    weak_probs = torch.tensor(draw.normal(0, 2, size), dtype=torch.float).softmax(-1)
    mask = torch.arange(tokens) < torch.tensor(lengths)[:, None]
    return logits, weak_probs, mask.long()


def by_text(logits, weak_probs, mask, temperature):
    rows = zip(logits, weak_probs, mask, strict=True)
    return torch.stack([
        sequence_distillation_loss(z[None], q[None], m[None], temperature=temperature)
        for z, q, m in rows
    ])  # fmt: skip


POOLED = "You average over the batch. Each text has a mean of its own."
WIDTH = "You divide by the padded length. Divide by the text's own number of places."
with marks.case("Texts of your own at T = 0.5 and T = 3"):
    for t in (0.5, 3.0):
        three = places_drawn(11, [5, 5, 5], 5)
        right = by_text(*three, t)
        got = distillation(*three, t)
        marks.near(got, right, tolerance=1e-4, mistakes={NO_SQUARE: right / t**2})
with marks.case("A text of one token beside one of four"):
    three = places_drawn(12, [1, 4], 5)
    right = by_text(*three, 1.0)
    sizes = three[2].sum(1)
    marks.near(distillation(*three, 1.0), right, tolerance=1e-4, mistakes={
        POOLED: (right * sizes).sum() / sizes.sum(),
        WIDTH: right * sizes / 5,
        "You divide by the tokens of the whole batch. Divide by the text's own.":
            right * sizes / sizes.sum(),
    })  # fmt: skip
with marks.case("Rows of zeros and huge logits outside the mask", points=0.5):
    logits, weak_probs, mask = places_drawn(13, [3, 4], 6)
    right = by_text(logits, weak_probs, mask, 1.0)
    idle = mask[..., None] == 0
    got = distillation(
        torch.where(idle, 1e6, logits), torch.where(idle, 0.0, weak_probs), mask, 1.0
    )
    marks.near(got, right, tolerance=1e-4, mistakes={
        "A row of zeros outside the mask became nan, and nan times 0 is nan: choose with "
        "torch.where in place of a product.": [math.nan, math.nan],
        WIDTH: right * mask.sum(1) / 6,
    })  # fmt: skip
with marks.case("A student that agrees still pays for its teacher's doubt", points=0.5):
    _, weak_probs, mask = places_drawn(14, [4, 4], 4)
    doubt = -(weak_probs * weak_probs.log()).sum(-1).mean(1)
    got = distillation(weak_probs.log() + 3, weak_probs, mask, 1.0)
    marks.near(got, doubt, tolerance=1e-4, mistakes={
        KL: [0, 0],
        "You take logits for log-probabilities: a log_softmax is missing.": doubt - 3,
    })  # fmt: skip
marks.total()

# %% [markdown] hints="distil"
# 1. One place first: two lists of three probabilities, flattened, and one cross-entropy. Compare
#    with the first visible case.
#
# 2. Probabilities to the power 1/T are the same as logits divided by T before a softmax. The weak
#    model comes with probabilities, the student with logits.
#
# 3. `weak_probs ** (1 / temperature)`, divided by its sum over the last axis, which keeps its place with
#    `keepdim=True`; `torch.log_softmax` of `student_logits / temperature`. Then one number for each
#    place, `torch.where` with the mask, the sum, divided by `mask.sum(1)`, times T².

# %% [markdown] task="scores" kind="diagnose" minutes=10 difficulty=2 objective="1, 3"
# ## A filter with a taste for short texts
#
# The remedy `likely` keeps the half of the weak texts that their writer found likeliest, per token. A
# colleague has computed the scores. In the data below, which are drawn, long and short texts are
# equally likely per token. Look at what the filter keeps.


# %% given="colleague"
def colleagues_scores(log_probs, mask):
    """Log-likelihood per token of each text, (texts,), from (texts, tokens)."""
    return torch.where(mask == 1, log_probs, 0.0).mean(1)


source = np.random.default_rng([SEED, 30])
lengths = source.integers(4, 41, size=60)
written_mask = torch.tensor(np.arange(40) < lengths[:, None]).long()
written = torch.tensor(-source.gamma(2, source.uniform(0.5, 1.5, (60, 1)), (60, 40)))

# %%
order = colleagues_scores(written, written_mask).argsort(descending=True)
print(f"tokens in a text that is kept: {lengths[order[:30]].mean():.0f} on average")
print(f"in a text that is dropped: {lengths[order[30:]].mean():.0f}")

# %% [markdown]
# Find what is wrong, and write `text_scores(log_probs, mask)` so that it gives each text's mean
# log-probability per token, shape (texts,).
#
# - `log_probs`: (texts, tokens), the log-probability of each token, in nats; `mask`: 1 where a token
#   of the text stands, 0 for padding, of the same shape.
# - At padding anything but nan may stand, −inf as well.
# - A text without any token gets −inf, so that no filter keeps it.
#
# Results may be off by 0.0001.


# %% answer="scores"
def text_scores(log_probs, mask):
    """Mean log-probability of each text's own tokens, (texts,); -inf for a text without any."""
    ### BEGIN SOLUTION
    counts = mask == 1
    tokens = counts.sum(1)
    total = torch.where(counts, log_probs, 0.0).sum(1)
    return torch.where(tokens > 0, total / tokens, -math.inf)
    ### END SOLUTION


# %% check="scores" points=1
marks = Marks("scores")
PADDED = "You still divide by the padded length, so short texts look better than they are."
SUM = "You return the sum, and long texts look worse than they are. Divide by the text's tokens."
POOL = "You divide by the tokens of the whole batch. Each text has its own number."
with marks.case("Two texts of 2 and 4 tokens, both with a mean of −2", points=0.5):
    pair = torch.tensor([[-1.0, -3.0, -9.0, -9.0], [-1.0, -1.0, -1.0, -5.0]])
    own = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    marks.near(text_scores(pair, own), [-2, -2], tolerance=1e-4, mistakes={
        PADDED: [-1, -2],
        SUM: [-4, -8],
        POOL: [-4 / 6, -8 / 6],
        "Padding counts in your sum.": [-11, -2],
    })  # fmt: skip
with marks.case("More padding changes no score", points=0.5):
    wide = torch.cat([pair, torch.full((2, 4), -9.0)], 1)
    marks.near(
        text_scores(wide, torch.cat([own, torch.zeros(2, 4).long()], 1)),
        [-2, -2],
        tolerance=1e-4,
        mistakes={PADDED: [-0.5, -1], SUM: [-4, -8], POOL: [-4 / 6, -8 / 6]},
    )
marks.total()

# %% hidden="scores" points=2
marks = Marks("scores", hidden=True)
with marks.case("Texts of many lengths, drawn", points=0.5):
    draw = np.random.default_rng([SEED, 31])
    sizes = draw.integers(1, 12, size=8)
    drawn_mask = torch.tensor(np.arange(15) < sizes[:, None]).long()
    drawn_probs = torch.tensor(-draw.gamma(2, 1, (8, 15)))
    sums = [row[:size].sum().item() for row, size in zip(drawn_probs, sizes, strict=True)]
    marks.near(text_scores(drawn_probs, drawn_mask), sums / sizes, tolerance=1e-4, mistakes={
        PADDED: np.array(sums) / 15,
        SUM: sums,
        POOL: np.array(sums) / sizes.sum(),
    })  # fmt: skip
with marks.case("−inf at the padding", points=0.5):
    padded = torch.tensor([[-1.0, -3.0, -math.inf], [-4.0, -math.inf, -math.inf]])
    got = text_scores(padded, torch.tensor([[1, 1, 0], [1, 0, 0]]))
    marks.near(got, [-2, -4], tolerance=1e-4, mistakes={
        "You multiply by the mask, and 0 times −inf is nan: choose with torch.where.":
            [math.nan, math.nan],
        PADDED: [-4 / 3, -4 / 3],
    })  # fmt: skip
with marks.case("A token of probability 1", points=0.5):
    # (0 - 1 - 2) / 3 = -1
    got = text_scores(torch.tensor([[0.0, -1.0, -2.0]]), torch.ones(1, 3).long())
    marks.near(got, [-1], tolerance=1e-4, mistakes={
        "You count the entries other than 0, and a token of probability 1 has the logarithm 0: "
        "count the places in the mask.": [-1.5],
        SUM: [-3],
    })  # fmt: skip
with marks.case("A text without a token is never the likeliest", points=0.5):
    pair = torch.tensor([[-1.0, -2.0], [-1.0, -3.0]])
    got = text_scores(pair, torch.tensor([[0, 0], [1, 1]]))
    marks.near(got, [-math.inf, -2], tolerance=1e-4, mistakes={
        "An empty text gets 0 from you, the best score there is. It has to get −inf.": [0, -2],
        "An empty text gets nan from you, from 0 divided by 0. It has to get −inf.": [math.nan, -2],
    })  # fmt: skip
marks.total()

# %% [markdown] hints="scores"
# 1. Take a text of two tokens, and pad it to 4, then to 40. What happens to the colleague's score?
#
# 2. `.mean(1)` divides by the number of columns. By what should each row be divided?
#
# 3. The sum over `torch.where(mask == 1, log_probs, 0.0)`, divided by `mask.sum(1)`; and a last
#    `torch.where` that gives −inf where that number is 0.

# %% [markdown] task="vectors" kind="diagnose" minutes=15 difficulty=3 objective=3
# ## An exclamation mark that counts for nothing
#
# The score *similarity* compares vectors of texts. Such a vector is made of a model's token states:
# the state of the **last** token, or the **mean** over all tokens. The colleague's function does both.
# Below, a vocabulary of six words and a table of drawn vectors stand in for tokenizer and model. Short
# texts are padded with id 0.

# %% given="reader"
WORDS = ["!", "it", "works", "really", "very", "well"]  # a word's place is its id
TABLE = torch.tensor(np.random.default_rng([SEED, 40]).normal(size=(6, 8)))


def colleagues_vectors(states, ids, how):
    """One vector for each text, (texts, dim), from states of shape (texts, tokens, dim)."""
    if how == "mean":
        return states.mean(1)
    last = (ids != 0).sum(1) - 1
    return states[torch.arange(len(ids)), last]


def read(texts):
    """States and ids of texts, padded on the right; a state knows the words up to its own."""
    rows = [[WORDS.index(word) for word in text.split()] for text in texts]
    width = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return TABLE[ids].cumsum(1), ids


def cosine(a, b):
    return f"{torch.cosine_similarity(a, b, dim=0).item():.2f}"


# %%
both = colleagues_vectors(*read(["it works", "it works !"]), "last")
print("last: 'it works' and 'it works !' have the cosine", cosine(*both))
alone = colleagues_vectors(*read(["it works"]), "mean")[0]
beside = colleagues_vectors(*read(["it works", "it really works very very well"]), "mean")[0]
print("mean: 'it works' alone, and the same beside a longer text:", cosine(alone, beside))

# %% [markdown]
# The first should be below 1, for the texts differ; the second should be 1. Find out why they are
# not, and write `text_vectors(states, mask, how)`, shape (texts, dim):
#
# - `states`: (texts, tokens, dim); `mask`: (texts, tokens), 1 where a token of the text stands, 0 for
#   padding. In place of the ids the function gets the mask.
# - `how`: `"last"` for the state of the text's last token, `"mean"` for the mean over its tokens.
# - Padding stands on the **right or on the left** of a text. Every text has at least one token, and
#   its tokens stand side by side. At padding the states may be any finite numbers.
#
# Results may be off by 0.0001.


# %% answer="vectors"
def text_vectors(states, mask, how):
    """One vector for each text, (texts, dim), from the states of its own tokens alone."""
    ### BEGIN SOLUTION
    if how == "mean":
        return (states * mask[..., None]).sum(1) / mask.sum(1)[:, None]
    last = (mask * torch.arange(mask.shape[1])).argmax(1)
    return states[torch.arange(len(states)), last]
    ### END SOLUTION


# %% check="vectors" points=1
marks = Marks("vectors")
# Two texts of 2 and 3 tokens, two numbers a state; 50 stands at the padding
two = torch.tensor([[[1.0, 5.0], [3.0, 7.0], [50.0, 50.0]], [[2.0, 0.0], [4.0, 0.0], [9.0, 3.0]]])
real = torch.tensor([[1, 1, 0], [1, 1, 1]])
with marks.case("The last token, padding on the right", points=0.5):
    marks.near(text_vectors(two, real, "last"), [[3, 7], [9, 3]], tolerance=1e-4, mistakes={
        "You take the last column, which is padding in the first text.": [[50, 50], [9, 3]],
        "You return the mean for both ways.": [[2, 6], [5, 1]],
        "You take one place too early: the last of n tokens has the number n − 1.":
            [[1, 5], [4, 0]],
    })  # fmt: skip
AVERAGED = "Padding is averaged in: only the text's own tokens count."
WIDE = "Padding is left out of the sum, and still you divide by the padded length."
with marks.case("The mean, padding on the right", points=0.5):
    marks.near(text_vectors(two, real, "mean"), [[2, 6], [5, 1]], tolerance=1e-4, mistakes={
        AVERAGED: [[18, 62 / 3], [5, 1]],
        WIDE: [[4 / 3, 4], [5, 1]],
    })  # fmt: skip
marks.total()

# %% hidden="vectors" points=2
marks = Marks("vectors", hidden=True)
LEFT = (
    "You take the number of tokens for the place of the last one. With padding on the left the "
    "last token stands elsewhere: ask the mask where its last 1 is."
)


def sides_drawn(k, texts=5, tokens=7, dim=3):
    """States, masks with padding on both sides of the batch, and each text's own states."""
    draw = np.random.default_rng([SEED, k])
    states = torch.tensor(draw.normal(0, 1, (texts, tokens, dim)), dtype=torch.float)
    mask = torch.zeros(texts, tokens, dtype=torch.long)
    for row in range(texts):
        size = draw.integers(1, tokens - 2)
        mask[row, slice(size) if row % 2 else slice(tokens - size, tokens)] = 1
    states = torch.where(mask[..., None] == 1, states, 1e6)
    return states, mask, [rows[chosen == 1] for rows, chosen in zip(states, mask, strict=True)]


left = torch.tensor([[[50.0, 50.0], [1.0, 5.0], [3.0, 7.0]], [[2.0, 0.0], [4.0, 0.0], [9.0, 3.0]]])
with marks.case("The last token, padding on the left", points=0.5):
    got = text_vectors(left, real.flip(1), "last")
    marks.near(got, [[3, 7], [9, 3]], tolerance=1e-4, mistakes={LEFT: [[1, 5], [9, 3]]})
with marks.case("The mean, padding on the left", points=0.5):
    marks.near(text_vectors(left, real.flip(1), "mean"), [[2, 6], [5, 1]], tolerance=1e-4, mistakes={
        AVERAGED: [[18, 62 / 3], [5, 1]],
        WIDE: [[4 / 3, 4], [5, 1]],
        "You average the first places, as many as there are tokens. Ask the mask which they are.":
            [[25.5, 27.5], [5, 1]],
    })  # fmt: skip
with marks.case("Drawn texts, padded on one side or the other: the last token", points=0.5):
    states, mask, own_states = sides_drawn(41)
    right = torch.stack([rows[-1] for rows in own_states])
    counted = states[torch.arange(5), mask.sum(1) - 1]
    got = text_vectors(states, mask, "last")
    marks.near(got, right, tolerance=1e-4, mistakes={
        LEFT: counted,
        "You take the last column, which is padding in some texts.": states[:, -1],
    })  # fmt: skip
with marks.case("Drawn texts, padded on one side or the other: the mean", points=0.5):
    states, mask, own_states = sides_drawn(42)
    right = torch.stack([rows.mean(0) for rows in own_states])
    got = text_vectors(states, mask, "mean")
    marks.near(got, right, tolerance=1e-4, mistakes={AVERAGED: states.mean(1)})
marks.total()

# %% [markdown] hints="vectors"
# 1. What is the id of "!"? And what does `ids != 0` take it for?
#
# 2. No id can tell padding from text, since padding borrows one; the mask can. For the mean, both the
#    sum and the number it is divided by depend on it.
#
# 3. `mask * torch.arange(tokens)` is largest at the last token, on whichever side the padding stands:
#    take its `argmax(1)`. The mean is `(states * mask[..., None]).sum(1) / mask.sum(1)[:, None]`.

# %% [markdown] task="remedy" kind="decide" minutes=20 difficulty=4 objective="2, 3"
# ## Which remedy goes into the large run?
#
# Remedies were tried on a small pool. One of them may go on to 100,000 papers, if it can be had for
# the training runs that are left, and if it deserves it: it has to lead the student that imitates
# everything, **and** the strong model left alone. Otherwise the model does better than another
# student, or than its teacher, but not than it did before.
#
# The scores are drawn, not measured: log-likelihood of gold, in nats per token, of the same test items
# for all. Three items belong to each paper. Below you see each remedy's training runs and its mean lead
# over `naive`, and the lead of `untouched`.


# %% given="pilot"
def drawn(rng, leads, papers=30):
    """Scores by name, each of shape (items,), and the paper of each item.

    `leads`: name → mean lead over naive, and its standard deviation from paper to paper.
    """
    paper = np.repeat(np.arange(papers), 3)
    scores = {"naive": rng.normal(-3.5, 0.5, papers)[paper]}  # some papers are hard for all
    for name, (mean, spread) in leads.items():
        ups = rng.normal(size=papers)
        ups = (ups - ups.mean()) / ups.std(ddof=1)
        within = rng.normal(0, 0.1, (papers, 3))
        within -= within.mean(1, keepdims=True)
        scores[name] = scores["naive"] + (mean + spread * ups)[paper] + within.ravel()
    return scores, paper


source = np.random.default_rng([SEED, 50])
trials = {name: (source.uniform(0, 0.2), source.uniform(0.05, 0.8)) for name in "ABCDE"}
pilot, pilot_papers = drawn(source, {"untouched": (-0.05, 0.2)} | trials)
pilot_runs = {name: int(source.integers(1, 9)) for name in trials}

# %%
for name, mine in pilot.items():
    print(f"{name:<10} {pilot_runs.get(name, '–'):>2} {(mine - pilot['naive']).mean():6.2f}")

# %% [markdown]
# Write `choose_remedy(scores, papers, runs, budget)`.
#
# - `scores`: name → array of shape (items,); `"naive"`, `"untouched"` and the remedies.
# - `papers`: which paper each item belongs to, as a number, (items,). All papers have equally many
#   items.
# - `runs`: name → training runs of each remedy, and of nothing else; `budget`: the runs that are left
#   (a remedy that takes exactly the budget is paid for).
# - One model **leads** another if the interval of its lead lies above 0. Take the difference item by
#   item, then its mean for each paper, for items of one paper share their luck. The interval is the
#   mean of these numbers, give or take 2 · s / √n, with n papers and s their standard deviation
#   (divided by n − 1).
# - Return the name of the remedy with the largest mean lead over `naive`, among those that the budget
#   pays for and that lead both `naive` and `untouched`. Return `None` where there is none. No two have
#   the same lead.
#
# Try it on the drawn remedies too: `choose_remedy(pilot, pilot_papers, pilot_runs, budget=4)`, and
# with other budgets. None may be the answer.


# %% answer="remedy"
def choose_remedy(scores, papers, runs, budget):
    """The affordable remedy with the largest lead, if it leads naive and untouched; else None."""

    ### BEGIN SOLUTION
    def lead(name, over):
        difference = scores[name] - scores[over]
        of_paper = np.array([difference[papers == one].mean() for one in np.unique(papers)])
        return of_paper.mean(), 2 * of_paper.std(ddof=1) / math.sqrt(len(of_paper))

    best, most = None, -math.inf
    for name in runs:
        leads = [lead(name, over) for over in ("naive", "untouched")]
        clear = all(mean - half > 0 for mean, half in leads)
        if runs[name] <= budget and clear and leads[0][0] > most:
            best, most = name, leads[0][0]
    return best
    ### END SOLUTION


# %% check="remedy" points=1
marks = Marks("remedy")
LUCK = "That remedy has a larger mean lead, and its interval reaches below 0."
DEAR = "That remedy takes more training runs than the budget pays for."
APART = (
    "You find that none leads. Was the interval taken of paired differences? What makes a paper "
    "hard for both models cancels in them."
)
# Four papers of two items. Paper by paper A leads naive by 0.3, 0.1, 0.3, 0.1 (0.2 ± 0.12),
# B by 0.9, -0.3, 0.7, -0.1 (0.3 ± 0.59), C by 0.5, 0.3, 0.5, 0.3 (0.4 ± 0.12)
pairs = np.repeat([0, 1, 2, 3], 2)
base = np.array([-4.5, -3.5, -2.5, -3.5])
steps = {"naive": 0, "untouched": -0.05, "A": [0.3, 0.1, 0.3, 0.1], "B": [0.9, -0.3, 0.7, -0.1],
         "C": [0.5, 0.3, 0.5, 0.3]}  # fmt: skip
table = {name: (base + np.array(up))[pairs] for name, up in steps.items()}
prices = {"A": 3, "B": 2, "C": 6}
with marks.case("Four runs: C is too dear, and B may be luck", points=0.5):
    got = choose_remedy(table, pairs, prices, 4)
    marks.same(got or "", "A", mistakes={LUCK: "B", DEAR: "C", APART: ""})
with marks.case("Six runs are enough for C, one run for nobody", points=0.5):
    got = choose_remedy(table, pairs, prices, 6)
    marks.same(got or "", "C", mistakes={
        "C takes six runs, which six pay for, and its lead is larger.": "A",
        APART: "",
    })  # fmt: skip
    nobody = choose_remedy(table, pairs, prices, 1)
    marks.holds(nobody is None, "Return None where the budget pays for none.")
marks.total()

# %% hidden="remedy" points=4
marks = Marks("remedy", hidden=True)


def tried(title, k, leads, mistakes, prices=None, change=None, papers=30):
    """One case of twenty draws, all for solid; which name plays which part is drawn too.

    The budget is 5: solid takes less, save in the one case that is about equality.
    """
    with marks.case(title, points=0.5):
        for draw in (np.random.default_rng([SEED, k, place]) for place in range(20)):
            names = dict(zip(("solid", "other"), draw.permutation(list("ABCDE")), strict=False))
            named = {str(names.get(part, part)): lead for part, lead in leads.items()}
            scores, paper = drawn(draw, {"untouched": (-0.05, 0.1)} | named, papers)
            solid, other = (str(names[part]) for part in ("solid", "other"))
            if change == "untouched":  # solid's lead is over untouched now
                scores[solid] += scores["untouched"] - scores["naive"]
            cost = {"solid": 4, "other": 2} | (prices or {})
            runs = {solid: cost["solid"], other: cost["other"]}
            if draw.uniform() < 0.5:
                runs = dict(reversed(runs.items()))
            got = choose_remedy(scores, paper, runs, 5)
            said = {"solid": solid, "other": other}
            marks.same(got or "", solid, mistakes={
                words: said.get(part, "") for words, part in mistakes.items()
            })  # fmt: skip


SOLID = (0.06, 0.05)
tried("The larger lead is not clear of 0", 51, {"solid": SOLID, "other": (0.12, 0.8)},
      {LUCK: "other", APART: ""})  # fmt: skip
tried("Three items of a paper are not three papers", 52, {"solid": SOLID, "other": (0.12, 0.45)},
      {"Over papers its interval reaches below 0. Items of one paper share their luck: "
       "average each paper first.": "other", APART: ""})  # fmt: skip
# of four papers, with n - 1: 0.14 ± 0.15; with n it would be 0.14 ± 0.13
tried("Four papers only", 58,
      {"untouched": (-0.5, 0.01), "solid": (0.06, 0.02), "other": (0.14, 0.15)},
      {"Its interval reaches below 0. s is divided by n − 1 (`ddof=1`; `np.std` divides by n unless "
       "told otherwise), and n counts papers, not items.": "other", APART: ""}, papers=4)  # fmt: skip
tried("Clear of naive, not clear of untouched", 53,
      {"untouched": (0.3, 0.75), "solid": (0.05, 0.05), "other": (0.42, 0.05)},
      {"That remedy leads naive, and not the model that learned nothing. Ask for both.": "other",
       APART: ""}, change="untouched")  # fmt: skip
tried("Too dear", 54, {"solid": SOLID, "other": (0.2, 0.05)}, {DEAR: "other", APART: ""},
      prices={"other": 6})  # fmt: skip
tried("Exactly the budget", 57, {"solid": SOLID, "other": (0.03, 0.02)},
      {"That remedy leads, by less. The one with the larger lead takes exactly the budget, and is "
       "paid for.": "other", APART: ""}, prices={"solid": 5})  # fmt: skip
tried("Two that lead", 55, {"solid": (0.09, 0.2), "other": (0.06, 0.02)},
      {"That remedy leads, by less. Asked for is the largest mean lead: not the largest lower end, "
       "the fewest runs or the first in the list.": "other", APART: ""})  # fmt: skip
with marks.case("None that leads, beside one that does", points=0.5):
    scores, paper = drawn(
        np.random.default_rng([SEED, 56]),
        {"untouched": (-0.05, 0.1), "A": (0.05, 0.6), "B": (-0.1, 0.1), "C": SOLID},
    )
    prices_here = {"A": 1, "B": 1, "C": 2}
    marks.same(choose_remedy(scores, paper, prices_here, 3) or "", "C", mistakes={APART: ""})
    none = choose_remedy(scores, paper, prices_here, 1)
    marks.holds(
        none is None,
        "None that is paid for leads, and you name one. Return None: plain naive stays.",
    )
marks.total()

# %% [markdown] hints="remedy"
# 1. Write a small function first: the mean lead of one model over another, and half the width of its
#    interval. Try it on the visible table, whose leads stand in the check's comments.
#
# 2. The order matters: subtract item by item, average each paper, and only then take mean and
#    standard deviation, of as many numbers as there are papers.
#
# 3. `[difference[papers == one].mean() for one in np.unique(papers)]`, then `.std(ddof=1)`. Keep the
#    names in `runs` with `runs[name] <= budget` whose `mean - half` is above 0 over both `"naive"` and
#    `"untouched"`; return the one of largest mean over `"naive"`.

# %% [markdown] task="risk" kind="explain" minutes=15 difficulty=3 objective="2, 3"
# ## A hundred thousand summaries
#
# A laboratory has a strong new model and hardly any experts' summaries. Its plan: the previous model,
# which is less accurate, summarises 100,000 papers, and the new one is fine-tuned until its summaries
# match those. It can train for longer, and have more papers summarised, as much as it likes.
#
# First commit yourself: which of these risks remains, however much it does of either?
#
# - (a) The new model stays too far from the older one's summaries to learn all that they can teach.
# - (b) The older model's slips, here one and there another, add up to many, and the new model learns
#   to slip more often.
# - (c) It takes on the older model's habits, bad ones too, and reads worse than it could before.
# - (d) It matches the older model on the papers it was trained on, and departs from it on others.
#
# Then explain in 60 to 200 words: why the risk follows from what is optimised, which faults more
# papers would cure and which not, what you would measure to find out, compared with which models, and
# what you would try against it.

# %% answer="risk"
position = ""
### BEGIN SOLUTION
position = "c"
### END SOLUTION

# %% [markdown] essay="risk" points=4
# The training maximises the log-probability of the older model's summaries. No expert occurs in that
# sum, so an invented result in a summary is rewarded exactly as a true one. The better the fit, the
# closer the new model comes to its teacher, errors included, and what it read better before may be
# overwritten. More papers help against random errors, which point in no common direction and average
# out. They do nothing against systematic ones: if the older model always leaves out the limitations,
# 100,000 examples teach just that. A falling loss on weak summaries of other papers cannot show the
# harm, because it measures the match. I would keep a test of experts' summaries and compare the student
# there with the untouched model and with a strong model trained on the few gold pairs, not with its
# teacher only, and count how many of the teacher's errors it repeats, beside chance. As a remedy I
# would go only part of the way from the untouched weights, and adopt it if the interval of its paired
# lead over plain imitation lies above 0.
#
# ### Rubric
# - **1** derives the risk from the objective: matching is rewarded whether the weak text is right or
#   wrong
# - **1** separates random faults, which more papers average out, from systematic ones, which they
#   teach
# - **1** asks for experts' summaries as a test, with the untouched model (or the strong one on the few
#   gold pairs) to compare with
# - **1** names a remedy and how it would be judged, or counts repeated errors beside chance
#
# ### Exemplar, 2 of 4
# The new model is trained to say what the old model says, so whenever the old model is wrong the new
# one is rewarded for being wrong as well. The loss can be very low and the summaries still bad. I
# would therefore have experts write summaries of some test papers and look whether the new model is
# better there than the old one and better than it was itself before training. If it is not, one should
# not use it and collect more data.
#
# Why: The objective and the right comparison are there. It does not ask which faults more papers cure,
# and says "more data" where systematic faults would only be taught more firmly; no remedy is judged.
#
# ### Exemplar, 1 of 4
# The main risk is garbage in, garbage out. The older model is less accurate, therefore its summaries
# contain errors, and fine-tuning rewards the new model for repeating them. With 100,000 papers there
# will be many thousands of errors in the training data. A better teacher should be used, or the
# summaries should be checked by people before the training starts, so that the data are clean.
#
# Why: It says that errors are rewarded. It counts errors without asking which of them a student
# averages out, measures nothing, and its remedy is the experts' time that the plan lacks.

# %% check="risk" points=0
marks = Marks("risk")
with marks.case("You have committed yourself to one of the letters a to d", points=0):
    marks.holds(position in list("abcd"), "Put one letter into `position`.")
marks.total()

# %% hidden="risk" points=1
marks = Marks("risk", hidden=True)
with marks.case("The risk that more of the same does not remove"):
    marks.same(position, "c", mistakes={
        "Longer training cures that, and a student that stays away from its teacher may be the "
        "better one.": "a",
        "Slips that differ from paper to paper point in no common direction: the more papers, the "
        "more of them average out.": "b",
        "More papers cure that. And matching the older model everywhere would still not make a "
        "summary right.": "d",
    })  # fmt: skip
marks.total()

# %% [markdown] hints="risk"
# 1. Suppose that the training succeeds completely. What does the new model write then?
#
# 2. Faults of two kinds: some scatter, some have a pattern. Think of each in 100 papers, and in
#    100,000.
#
# 3. Name a score that falls silent about this risk, one that does not, and the model without any
#    training beside it. Then one remedy of lesson 02, with its interval.

# %% [markdown]
# ## Your score
#
# On visible cases, for the checks that you have run:

# %%
score()
