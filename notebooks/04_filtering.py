# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 04 · Filtering: let the weak model choose
#
# **Time** 60 minutes, of which a 2-core laptop computes at most 6 the first time · **Memory** under
# 4 GB
#
# After this lesson you can
#
# 1. score documents with a weak model, choose a subset at a fixed budget, and measure what the
#    choice was worth between a random one and an oracle's,
# 2. say what each score throws away, clean texts of a minority included, and what it lets through,
# 3. explain why choosing data with a weak model differs from relabelling it with one.

# %%
import numpy as np

import w2s_lab as w2s
from w2s_lab import filter_plots, filter_report, plots, reading
from w2s_lab.quiz import ask, predict, recall
from w2s_lab.selection import SCORES, instruction_following_difficulty, perplexity, select
from w2s_lab.widgets import dial

# %% [markdown]
# ## The scenario
#
# A team builds a language model for **medicine**. It has a vast store of text: prose from journals,
# and everything that came along when files were parsed and pages were crawled, from tables and
# lists of references to licence boilerplate, other languages, program code and scanner errors.
# Nobody can read it all. The large model is dear to train, so it should learn from a good part of
# the store. A small model is cheap enough to read every document once. It writes no label and no
# text this time. It only has to say: *this one, not that one*.

# %% tags=["predict"]
ask("04-steps")

# %% tags=["predict"]
ask("04-which-dropped")

# %% tags=["predict"]
ask("04-two-stage-steps")

# %% [markdown]
# ## The store
#
# We have no hospital's archive, but the same situation on a desk: passages from papers on language
# technology. Some of these papers are about medical texts; they are our minority. What lies between
# the passages is real dirt, out of the same parsed files and from elsewhere, plus four corruptions
# made on purpose. Each document carries its kind, which no score may see. The [data
# card](../docs/data/corpus.md) says where everything comes from.

# %%
task = w2s.load_task("corpus")
task

# %%
store = task.splits["transfer"]
kinds, counts = np.unique(task.kinds[store], return_counts=True)
for kind, count in zip(kinds, counts, strict=True):
    print(f"{count:>4} {kind}")

# %%
reading.examples(task, kinds=("clean", "clean: medical", "table", "references", "shuffled"))

# %% [markdown]
# The strong model will be judged by how likely it finds **clean prose of other papers**. That is
# what the team wants to be good at, and the store holds twice as much of everything else.
#
# ## What a weak model can say of a document
#
# The oldest score is the likelihood: how well does the model predict the next word? Summed over a
# text it would punish length, so it is averaged per token, and people like to quote e to the power
# of that loss: the **perplexity**, the number of next tokens that the model wavers between.

# %% tags=["objective-1"]
losses = np.array([3.0, 1.0, 2.0])  # of three tokens, in nats
print(f"mean loss {losses.mean():.2f} nats, perplexity {perplexity(losses.sum(), 3):.2f}")
print("Two equally likely tokens each time:", perplexity(10 * np.log(2), 10).round(2))

# %% tags=["predict", "objective-1"]
ask("04-perplexity")

# %% [markdown]
# A score is no rule yet. Whether low, high or middling scores are kept is a decision, and all of
# these are in use:

# %% tags=["objective-1"]
scores = np.array([5.1, 2.0, 3.3, np.nan, 7.9, 3.4])
for keep in ("low", "middle", "high"):
    print(f"keep {keep:<6}: documents", select(scores, fraction=1 / 3, keep=keep))

# %% [markdown]
# A document without a score (`nan`) is never chosen. Here are the choices that will compete. Those
# on the weak language model's loss come first; others compare with passages that somebody has
# judged.

# %%
for name, score in SCORES.items():
    print(f"{name:<20} keeps {score.keep:<7}{score.judge.__doc__.splitlines()[0]}")

# %% [markdown]
# The last three are for instructions with answers, to which we come back. Commit yourself before
# anything runs.

# %% tags=["predict"]
predict("04-likely")

# %% tags=["predict"]
predict("04-best-score")

# %% tags=["predict", "objective-1"]
ask("04-budget")

# %% [markdown]
# ## Two stages
#
# The weak model is SmolLM2 cut after 22 of its 30 blocks, with a linear shortcut to its head. It
# reads the store; each score then takes its documents until a quarter of the tokens is spent.
# The strong model, SmolLM2 as a whole, is fine-tuned on each choice in the same way (its last block
# learns, the blocks below have read each document once for all students). All of that three times:
# each seed offers another four fifths of the store.

# %% tags=["objective-1"]
result = w2s.run(task)
result.table()

# %% tags=["objective-1"]
plots.show(result.plot())

# %% tags=["claim", "objective-1"]
print("Training on any choice beats no training:", result.lead("likely", "untouched").low > 0)
print("The classifier's choice beats a random one:", result.lead("classifier", "random").low > 0)
print(
    "The likeliest documents are worse than the middle:", result.lead("likely", "middle").value < 0
)

# %% [markdown]
# *Gap recovered* means what it always does in this course, with other ends: 0 is a student on a
# random choice, 1 one on the choice of an oracle who sees the kinds. The last row is no rival at an
# equal budget. It shows what the whole store is worth to somebody who can pay for all of it: more
# text may beat better text. A filter has to be judged against what its budget could buy otherwise.

# %% tags=["predict"]
ask("04-low-likelihood")

# %% [markdown]
# ## Why the likeliest documents are not the best ones
#
# Each point is a document, at the loss that the weak model has on it. Filled ones were kept.

# %%
plots.show(filter_plots.by_kind(result, "likely"))

# %% tags=["claim", "objective-1"]
chance = result.precision("random")
print("Of what 'likely' keeps, less is clean than by chance:", result.precision("likely") < chance)
print("The middle keeps more clean text than chance:", result.precision("middle") > chance)
loss = {kind: result.judged["nll"][result.kinds == kind].mean() for kind in np.unique(result.kinds)}
print("Shuffled words have a higher loss than clean prose:", loss["shuffled"] > loss["clean"])
print("Repeated words have a lower one:", loss["repeated"] < loss["clean"])

# %% [markdown]
# The likelihood answers the question that it was asked: is this text *predictable*? Noise is not,
# and goes. But a phrase that repeats itself is the most predictable of all texts, and so are the
# columns of a table and the formulas of code. What the team wants sits between the two. A weak
# model can tell *strange* from *familiar*; which of the two is *useful* is not in its loss. That is
# why bands are tried, and why which band is best changes with the data (Ankner et al. 2024). Turn
# through the scores:

# %% tags=["objective-2"]
shown = {name: filter_plots.by_kind(result, name) for name in result.methods if name != "unique"}
dial(shown.get, shown, "score", start="classifier")

# %% tags=["objective-2"]
filter_report.kinds(result)

# %% [markdown]
# No column is clean from top to bottom. A repeated phrase slips past an n-gram model, which counts
# pairs of words and finds each of them in order. A near-duplicate looks as clean as its original to
# everyone who does not compare, which is what *unique* does and nothing else. *curated* puts two
# weak judges in a row.

# %% tags=["objective-2"]
filter_report.examples(result, "likely", dropped=False)

# %% [markdown]
# ## What the filter wrongly drops
#
# Back to medicine. The team's filter is a general small model. What does it make of texts that are
# good and *unlike the others*: with rare words, with formulas, from a minority?

# %% tags=["predict", "objective-2"]
ask("04-medical")

# %% tags=["objective-2"]
plots.show(filter_plots.lost(result))

# %% tags=["objective-2"]
filter_report.examples(result, "likely", dropped=True)

# %% tags=["objective-2"]
filter_report.test_kinds(result)

# %% [markdown]
# With so few texts of each kind, do not take a single cell of this table for more than a hint.
# Likelihood singles out no minority here: it drops nearly every clean text, of whatever kind. A score
# that keeps most of the clean ones, like the classifier, is where kinds begin to lie apart. Where two
# kinds lie far apart in the figure, ask who is being filtered out, and what the strong model will not
# have seen. A medical team would judge some documents of each minority by hand, look at recall *by
# kind* and not only at the mean, and set a quota where a score is blind.
#
# ## The two stages as a picture
#
# Drawn from the run above, with its counts. What the strong model's output is compared with in
# stage 2 is where implementations differ: the label that came with the data, the weak model's own
# distribution (a distillation loss), or a mixture. For a text the label is its next token.

# %% tags=["predict"]
ask("04-kd")

# %% tags=["objective-3"]
plots.show(filter_plots.diagram(result, "distilled"))

# %% tags=["claim"]
distilled, plain = result.scores("distilled").mean(), result.scores("middle").mean()
print("The same documents with a share of distillation score higher:", distilled > plain)

# %% [markdown]
# *distilled* learns from the very documents of *middle*, and has to agree with the weak model on
# three tenths of the loss. A teacher that is worse at the task than its student was before pulls it
# back. Distillation is a good idea when the teacher knows something; as a *chooser* the weak model
# only has to know which text is worth reading.
#
# ## Is the student capped by the model that chose for it?

# %% tags=["predict"]
ask("04-capped")

# %% tags=["objective-3"]
chooser, student = result.facts["weak_on_test"], result.scores("middle").mean()
print(
    f"On test, nats per token: the chooser {chooser:.2f}, the student on its choice {student:.2f}."
)

# %% tags=["claim"]
print("The student is better than the model that chose its data:", student > chooser)

# %% [markdown]
# That proves less than it seems, since the strong model was better before it was taught anything.
# So ask again where the strong model starts from nothing: with labels.
#
# ## Two plans that sound alike
#
# A team has a store of contract clauses (lesson 01) that *came with labels*, of which a fifth is
# wrong. It has a weak model of about 70 % *balanced* accuracy; on a store with few promises that
# leaves fewer right labels. Plan A: the weak model **chooses** the half whose labels it trusts, and
# they are kept as they are. Plan B: the weak model **relabels everything**, and the strong model
# learns from the new labels. Both read the store once with the weak model; in both, the strong model
# takes the same number of steps.

# %% tags=["predict", "objective-3"]
predict("04-relabel")

# %% tags=["objective-3"]
from w2s_lab.three_ways import three_ways

ways = three_ways(w2s.load_task("indemnity"))
ways.choices()

# %% tags=["claim", "objective-3"]
print("Choosing beats relabelling:", ways.lead("filter", "label").low > 0)
print("The student of the chosen half beats its chooser:", ways.lead("filter", "weak").low > 0)
print(
    "Relabelling left fewer right labels than there were:",
    ways.kept["label"] < ways.kept["as found"],
)

# %% tags=["predict", "objective-3"]
ask("04-relabel-flaw")

# %% tags=["predict", "objective-3"]
ask("04-wrong-kept")

# %% [markdown]
# Look at the column of right labels. Relabelling replaced labels that were mostly right by those of
# a model that is wrong more often, and wrong *in a system*, which is what a strong student learns
# best (lesson 00). After that the student can hardly become better than its teacher: everything it
# is told comes from there. Choosing keeps information that the weak model does not have. The weak
# model's mistakes cost some good texts; they put no wrong label into any.
#
# Note also what choosing did *not* do here: against all texts with labels as they were found it
# wins nothing clear. Labels that are wrong at random are drowned by the right ones, and a strong
# model averages over them. A filter earns its keep when the budget is tight, or the noise is not
# random.

# %% tags=["objective-3"]
print("Chosen half over everything as found:", ways.lead("filter", over="as found"))
print("Chosen half over a random half:      ", ways.lead("filter", over="random half"))

# %% [markdown]
# ## Instructions with answers: difficulty
#
# For fine-tuning on instructions there is a score of its own. Ask the weak model for its loss on
# the answer *after* the instruction and *without* it. If the instruction hardly helps, the pair is
# hard, and the strong model may have something to learn from it; above 1, answer and instruction
# hardly belong together. Two forms are published, and they do not rank alike.

# %%
given, alone = np.array([2.0, 0.5]), np.array([3.0, 1.0])  # two answers, nats per token
for form in ("perplexity", "loss"):
    print(f"{form:<10}", instruction_following_difficulty(given, alone, form=form).round(2))

# %% tags=["predict"]
ask("04-difficulty")

# %% [markdown]
# The pairs are functions with explanations, of which more than two thirds are spoilt: an answer to
# another function, empty words, a sentence cut off or shuffled. The race is run as before.

# %%
names = ("middle", "difficulty", "difficulty by loss", "easy")
pairs = w2s.run("pairs", methods=names)
pairs.table()

# %%
filter_report.kinds(pairs)

# %%
plots.show(filter_plots.by_kind(pairs, "difficulty"))

# %% tags=["claim"]
print("The easiest pairs are worse than a random choice:", pairs.lead("easy", "random").value < 0)
kept = {name: pairs.recall(name) for name in names}
print("Easy is fond of empty words:", kept["easy"]["empty words"] > kept["easy"]["true pair"])
print("Difficulty keeps none of them:", kept["difficulty"]["empty words"] < 0.05)

# %% [markdown]
# Difficulty was made for stores in which most pairs are fine. Here it does what it promises: empty
# words, which fit everywhere and are learned at a glance, are left out, and the easy pairs, which are
# full of them, harm the student. But it is fooled by what its definition cannot see. An answer that
# belongs to another function, or whose words are in no order, is *also* one that the instruction
# hardly helps with. Hard and wrong look the same from below.
#
# ## What you predicted, what was measured

# %%
recall("04-likely", measured=result.recovered("likely"))

# %%
recall("04-best-score", measured=result.best)

# %%
recall("04-relabel", measured=ways.lead("filter", "label").value)

# %% [markdown]
# ## In your own words

# %% tags=["predict", "objective-3"]
ask("04-relabel-everything")

# %% [markdown]
# ## What was shown here
#
# - A weak model that cannot write can still choose. Judged passages and a small classifier recovered
#   most of the gap to an oracle.
# - The likelihood by itself finds noise, and takes repetition, tables and code for quality.
#   Keeping the most likely documents did harm.
# - A filter has a mean and a minority. Look at recall by kind before you throw anything away.
# - Choosing keeps what is known; relabelling replaces it by what the weak model believes.
# - At equal cost: a rule is judged against a random choice of the same size, and against spending
#   the same computation on more text.
#
# **Where to next:** so far the weak model worked *before* the strong one was trained. In the next
# lesson it works beside it, and decides query by query who answers.
#
# Sources: Moore and Lewis 2010 (cross-entropy selection); Ankner et al. 2024, *Perplexed by
# Perplexity* (bands); Li et al. 2023, *From Quantity to Quality*, and Li et al. 2024,
# *Superfiltering* (difficulty by losses and by perplexities); Penedo et al. 2024, *FineWeb* (a
# small quality classifier); Hinton et al. 2015 (distillation); Din et al. 2024 (the shortcut).

# %% [markdown]
# **Exercises:** [Exercises 04 · Which documents, by whose judgement](../exercises/04_filtering.ipynb), with a check and hints for each task.
