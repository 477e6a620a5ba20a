# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 02 · Papers: to match its teacher, or to do better?
#
# **Time** 60 minutes, of which a 2-core laptop computes up to 6 the first time · **Memory** under
# 4 GB
#
# After this lesson you can
#
# 1. write down what a student of weak *texts* maximises, compute it by hand and name its kin,
# 2. tell a student that does better than its teacher from one that does better than itself,
# 3. find imitation in what a student writes, and judge a remedy by its interval.

# %%
import torch

import w2s_lab as w2s
from w2s_lab import plots, reading, text_plots, text_report
from w2s_lab.losses import sequence_distillation_loss, sequence_log_likelihood
from w2s_lab.metrics import bootstrap_difference
from w2s_lab.quiz import ask, predict, recall
from w2s_lab.widgets import dial

# %% [markdown]
# ## The scenario
#
# A research group builds a strong model that is to summarise scientific papers. Experts' summaries
# are rare: they take somebody who understands the paper. But last year's model is still around. It
# is less accurate, and it never tires. The group lets it summarise 100,000 papers and fine-tunes the
# new model on the pairs, until the new model's summaries match the old one's.
#
# Read the last sentence again. It says precisely what is optimised. Is it what the group wants?

# %% tags=["predict"]
ask("02-risk")

# %% tags=["predict"]
ask("02-steps")

# %% [markdown]
# ## The papers
#
# AclSum holds 250 papers on language technology, each with an expert's sentence on three aspects: the
# **challenge**, the **approach** and the **outcome**. We use a part and give the models the
# title and the opening, up to 160 words. The [data card](../docs/data/papers.md) says for how many
# of the experts' sentences the opening holds what is needed at all.

# %%
task = w2s.load_task("papers")
task

# %%
paper = task.splits["supervise"][:3]  # three items, one for each aspect, that share an input
rows = [("opening", task.inputs[paper[0]])]
rows += [(f"{task.kinds[i]}: {task.questions[i]}", task.gold[i]) for i in paper]
reading.Texts("One paper, and what the expert wrote", tuple(rows))

# %% [markdown]
# A paper's three items stay in one split, so nobody is tested on a paper whose approach it has seen.
#
# Look at the expert's *manner* too: one sentence, of a certain length, in the third person. A model
# can learn it from a few examples and know no more about papers than before. Keep that in mind.

# %% [markdown]
# ## What is optimised
#
# Write $x$ for a paper with its question, $\hat y$ for what the weak model wrote about it, and
# $p_\theta$ for the strong model with weights $\theta$. A language model gives a text a probability,
# one token after the other, each given the paper and the tokens before:
#
# $$\log p_\theta(\hat y \mid x) = \sum_t \log p_\theta(\hat y_t \mid x, \hat y_{<t})$$

# %% tags=["predict", "objective-1"]
ask("02-objective")

# %% [markdown]
# The student looks for the weights that make the weak model's texts most probable, over the whole
# pool:
#
# $$\tilde\theta = \arg\max_\theta \sum_{x} \log p_\theta(\hat y \mid x)$$
#
# No expert occurs in this formula. And the sum over $t$ runs over the tokens of $\hat y$ alone. The
# student has to *read* the paper, and nobody asks it to *write* the paper.

# %% tags=["predict", "objective-1"]
ask("02-mask")

# %% tags=["predict", "objective-1"]
ask("02-likelihood")

# %% [markdown]
# ### By hand, with three words
#
# Let the vocabulary be *yes*, *no* and the end of the answer, *end*. The prompt ends with *no*, and
# the weak model wrote *yes end*. This is what the student gives each word at each place:
#
# | place | *yes* | *no* | *end* | the word there | counts |
# |---|---|---|---|---|---|
# | last of the prompt | 1/8 | 1/8 | 3/4 | *no* | no |
# | first of the answer | **1/2** | 1/4 | 1/4 | *yes* | yes |
# | second of the answer | 1/4 | 1/2 | **1/4** | *end* | yes |
#
# Only the two bold numbers count: $\log\frac12 + \log\frac14 = \log\frac18 = -3\log 2 \approx -2.08$
# nats, or $-\frac32\log 2 \approx -1.04$ per token. Now the function that the package uses:

# %% tags=["objective-1"]
student = torch.tensor(
    [[[1 / 8, 1 / 8, 3 / 4], [1 / 2, 1 / 4, 1 / 4], [1 / 4, 1 / 2, 1 / 4]]]
).log()
words = torch.tensor([[1, 0, 2]])  # no, yes, end
counts = torch.tensor([[0, 1, 1]])  # the mask
sequence_log_likelihood(student, words, counts)

# %% [markdown]
# Dividing by the number of target tokens, as the scores below do, moves no maximum: the texts are
# given, so their length is too.

# %% [markdown]
# ### The same number as a cross-entropy
#
# Turn the sign, and think of a teacher that answers with a *distribution* over the next token. This
# one is quite sure of itself: the word it wrote has all the probability, the others have none.

# %% tags=["predict"]
ask("02-one-hot")

# %% tags=["objective-1"]
one_hot = torch.nn.functional.one_hot(words, num_classes=3).float()
sequence_distillation_loss(student, one_hot, counts)  # nats per token

# %% [markdown]
# At each place the cross-entropy is $-\sum_v q_v \log p_v$, and a $q$ with a single 1 in it picks the
# one term $-\log p_{\hat y_t}$. So fine-tuning on weak texts *is* knowledge distillation, with the
# weak model for a teacher and all of its doubt thrown away.

# %% tags=["claim", "objective-1"]
by_hand, three_halves = torch.tensor(1 / 8).log(), 1.5 * torch.tensor(2.0).log()
likelihood = sequence_log_likelihood(student, words, counts)
print("The log-likelihood is log 1/8:", torch.allclose(likelihood, by_hand))
distilled = sequence_distillation_loss(student, one_hot, counts)
print("One-hot distillation is minus its mean:", torch.allclose(distilled, three_halves))
strange = student.clone()
strange[0, 0] = torch.tensor([9.0, -9.0, 0.0])  # whatever the student says within the prompt
again = sequence_log_likelihood(strange, words, counts)
print("What is said within the prompt counts:", not torch.equal(again, likelihood))

# %% [markdown]
# ### A teacher that may hesitate
#
# We need not throw the doubt away. Where we have the weak model itself, we can ask for its
# probabilities $q$ at every token and match those. A **temperature** $T$ decides how much of its
# second thoughts the student gets to see. Both distributions are flattened: take each probability to
# the power $1/T$, then make them sum to one again.

# %% tags=["predict", "objective-1"]
ask("02-temperature")

# %% tags=["predict", "objective-1"]
ask("02-softened")

# %% [markdown]
# One place, $T = 2$, so the power is a square root:
#
# | | *yes* | *no* | *end* | roots, up to a factor | flattened |
# |---|---|---|---|---|---|
# | weak | 9/14 | 1/14 | 4/14 | 3 : 1 : 2 | 1/2, 1/6, 1/3 |
# | student | 1/6 | 1/6 | 4/6 | 1 : 1 : 2 | 1/4, 1/4, 1/2 |
#
# The cross-entropy is $\frac12\log 4 + \frac16\log 4 + \frac13\log 2 = \frac53\log 2$. The loss is
# $T^2 = 4$ times that, $\frac{20}{3}\log 2 \approx 4.62$.

# %% tags=["objective-1"]
weak = torch.tensor([[[9.0, 1.0, 4.0]]]) / 14
learner = (torch.tensor([[[1.0, 1.0, 4.0]]]) / 6).log()
here = torch.ones(1, 1)
sequence_distillation_loss(learner, weak, here, temperature=2.0)

# %% [markdown]
# Why $T^2$? Flattening makes the two distributions alike, so there is less to learn from their
# difference, and the logits are divided by $T$ once more on the way. Each costs the gradient about a
# factor $T$.

# %% tags=["predict"]
ask("02-squared")

# %% tags=["objective-1"]
for temperature in (1.0, 2.0, 4.0, 8.0):
    logits = learner.clone().requires_grad_()
    sequence_distillation_loss(logits, weak, here, temperature=temperature).backward()
    size = logits.grad.norm()
    print(f"T = {temperature:g}: gradient {size:.3f}, without T² {size / temperature**2:.3f}")

# %% tags=["claim", "objective-1"]
softened = sequence_distillation_loss(learner, weak, here, temperature=2.0)
print("By hand and by the package alike:", torch.allclose(softened, 40 / 9 * three_halves))

# %% [markdown]
# Such a loss does not end at 0: a student that agrees with the weak model completely still pays for
# the weak model's doubt. And it asks for one thing more than texts: both models must cut text into
# the same tokens. The course has it as the method `soft`; this lesson trains on texts, as the group
# in the scenario does. To try it, run `w2s.run(task, methods=("naive", "soft"))`, or another
# temperature with `text_variant("soft", temperature=4)` from `w2s_lab.text_methods`. Both take
# minutes.

# %% [markdown]
# ## Commit yourself
#
# Six students learn from the same weak texts. `naive` imitates them all; the others each carry a
# remedy:
#
# | method | what it does | what it counts on |
# |---|---|---|
# | `early stopping` | keeps the pass that fits weak texts of *other* papers best | the task is learned before the errors |
# | `likely` | learns from the half that the weak model found likeliest | a writer in doubt errs more often |
# | `agreed` | learns from the half that a second weak model wrote most alike | two writers err differently |
# | `mixed` | adds the weak model's few gold pairs | a little truth goes a long way |
# | `shrink` | goes only part of the way from the untouched weights | what was known before is worth keeping |
#
# How far `shrink` goes is decided by the few gold pairs.

# %% tags=["predict"]
predict("02-naive-recovered")

# %% tags=["predict"]
predict("02-best-remedy")

# %% [markdown]
# ## Stage 1: the poor reader writes
#
# Both models are SmolLM2 with 135 million weights, which has read much of the web. The **weak** one is
# cut after 22 of its 30 blocks. A linear **shortcut** stands in for the eight that are gone: the
# least-squares fit, over the openings of the `transfer` papers, from what block 22 says to what the
# last one would have said. That leaves a fluent writer and a poor reader. Its top three blocks and the
# shortcut then learn from a few experts' sentences what is asked for, and it answers every question on
# the `transfer` papers. Stage 2 follows in the same call, once for each seed, with other gold pairs for
# the weak model each time.

# %%
result = w2s.run(task)
text_report.examples(result, names=("weak",), items=(0, 1, 2))

# %% [markdown]
# These are test papers, where the weak model is scored as well. Ask of each sentence: does it look
# like a summary? Is it one of *this* paper?

# %% [markdown]
# ## Stage 2: the strong model learns from it
#
# The strong model is all of SmolLM2, again with its three top blocks trained. The naive student learns
# from the weak texts of the `transfer` papers and nothing else; the ceiling from the experts'
# sentences on the same papers.
#
# The leading score is the log-likelihood of the *expert's* sentence, per token: how little the expert
# surprises the model. It needs no writing, so all test items count. A lead of 0.1 nats makes the
# expert's tokens $e^{0.1} \approx 1.11$ times as probable, on (geometric) average. The other scores
# compare what is written with what the expert wrote.

# %% tags=["objective-2"]
result.table()

# %%
plots.show(result.plot())

# %% [markdown]
# ### Two gaps, and why PGR alone flatters

# %% tags=["predict", "objective-2"]
ask("02-flatters")

# %% [markdown]
# PGR starts to count at the weak model. The worse the supervisor, the lower the start, the wider the
# gap, and the more of it is "recovered" by a strong model *that learned nothing*. So the table has a
# second column, which counts from the strong model left alone: its zero-shot score. That gap has
# nothing to do with the supervisor. A student below 0 there was better off before its training.

# %% tags=["objective-2"]
untouched = "strong zero-shot"
print("PGR of the naive student:", result.pgr("naive"))
print("PGR of the strong model that learned nothing:", result.pgr(untouched))
print("Share of its own gap that the naive student recovered:", result.recovered("naive"))
print("Its lead over the untouched model:", result.lead("naive", over=untouched))

# %% tags=["claim", "objective-2"]
print("The experts' sentences teach something:", result.lead("ceiling", over=untouched).low > 0)
print("The weak model is below the untouched one:", result.lead(untouched, over="weak").low > 0)
print("The naive student beats its teacher:", result.lead("naive", over="weak").low > 0)
print("So does the model that learned nothing:", result.pgr(untouched).value > 0)

# %% [markdown]
# ### The rival that needs no pool
#
# One more line of the table belongs here. The group has a few expert sentences, or there would be no
# weak model. *Strong on gold labels* learns from exactly these, without any weak text on top. If it
# does as well as the students, then on this task the detour by way of a weak model bought nothing.

# %% tags=["objective-2"]
lead = result.lead(result.best, over="strong on gold labels")
verdict = "clearly leads" if lead.low > 0 else "does not clearly lead"
print(f"The best student, {result.best}, {verdict} the strong model on the few gold pairs: {lead}")

# %% [markdown]
# ## Learned: the manner, or the matter?
#
# The expert's likelihood rises when a model knows what the paper says. It rises as well when a model
# has merely found out that an answer about the approach tends to open with "They". For each model,
# how many of its answers about the approach do?

# %%
asked = result.kinds[: result.written] == "approach"
written = {"gold": result.gold[None, : result.written], **result.texts}
for name in ("gold", untouched, "weak", "naive", "ceiling"):
    texts = written[name][:, asked].ravel()
    print(f"{name:<17} {sum(text.startswith('They') for text in texts)} of {len(texts)}")

# %% [markdown]
# A weak model can teach manner without understanding a single paper. That is worth something, and it
# is not what "a better summariser" promises. Where the likelihood rises and the similarity of the
# written texts to gold does not, think of manner first. This is how the naive student and the ceiling
# stand to the untouched model:

# %%
for name in ("naive", "ceiling"):
    for metric in ("log_likelihood", "similarity"):
        print(f"{name:<8} {metric:<15} {result.lead(name, over=untouched, metric=metric)}")

# %% [markdown]
# ## What goes wrong: imitation
#
# The formula rewards matching the weak text, wherever it is wrong as well. So look for the weak
# model's faults in what the student writes about *test* papers, whose weak texts it never saw. What it
# repeats there it did not memorise: it has learned to err in the same way.

# %% tags=["objective-3"]
text_report.examples(result, names=("weak", "naive", "ceiling"), items=(0, 1, 2))

# %% tags=["objective-3"]
text_report.signs(result)

# %% [markdown]
# Read every sign beside its gold: experts, too, copy words from a paper and name things that the
# opening does not. The last two columns need more care. An **error** here is a word of the weak text
# that neither the paper nor the expert has. A student may have such a word by accident, because it
# says it about every paper; that is the column *by chance*.

# %% tags=["objective-3"]
plots.show(text_plots.signs(result))

# %%
for name in (untouched, "naive"):
    again = result.reproduced(name)
    print(f"{name}: {again.share:.0%} of the weak model's errors, by chance {again.chance:.0%}")

# %% [markdown]
# The untouched model is in the list because it never saw a weak text. What it shares with the weak
# model comes from elsewhere: from the subject, and here from the family too, since our weak model is a
# part of the strong one, and its shortcut was fitted to the strong one's last states. Only what the
# student repeats *beyond* that was taken over in training.
#
# Now hold the share against *by chance*. Where both are high, the student has taken over phrases that
# its teacher puts into any sentence, true or not: an empty "new method", a loop (*repeats*). Such habits
# have a pattern, so a student that averages over many texts learns them first. What lies above chance
# is worse: errors about this one paper, which look like knowledge. A better teacher with *systematic*
# errors would give more of them.

# %% tags=["claim", "objective-3"]
share = {name: result.reproduced(name).share for name in (untouched, "naive", "shrink")}
taken = share["naive"] > 2 * share[untouched]
print("The naive student says at least twice as many of its teacher's words as before:", taken)
print("Going only part of the way takes over fewer:", share["shrink"] < share["naive"])

# %% [markdown]
# ## Overfitting to the supervisor
#
# A student can learn the task from the weak texts first and the weak model's oddities later. Then the
# two losses part.

# %% tags=["predict"]
ask("02-overfit")

# %% tags=["objective-3"]
plots.show(text_plots.overfitting(result))

# %% [markdown]
# The first curve can be had in any project: let the weak model write for some papers that the student
# is not trained on, and see how well the student fits them. The second needs experts' sentences for
# these papers. Early stopping goes by the first.

# %%
chosen = {name: ", ".join(map(str, epochs)) for name, epochs in result.epochs.items()}
print(f"Pass chosen by the weak texts, seed by seed: {chosen['weak']}; by gold: {chosen['gold']}")
print("On test, choosing by gold would have gained", result.gain_by_gold())

# %% tags=["predict"]
ask("02-cheating")

# %% [markdown]
# So the gain in the last line is not on offer. It tells what early stopping leaves on the table,
# because weak texts are all that it can see. Where they choose the last pass for every seed, early
# stopping has stopped nothing, and its row in the table repeats that of `naive`.

# %% [markdown]
# ## Remedies, judged
#
# Each remedy beside plain imitation, on the same test papers:

# %% tags=["objective-3"]
for name in result.methods[1:]:
    lead = result.lead(name, over="naive")
    verdict = "helps" if lead.low > 0 else "harms" if lead.high < 0 else "no clear difference"
    print(f"{name:<15} {verdict:<20} {lead}")

# %% [markdown]
# Not every remedy can be had at the same price. `likely` and `early stopping` cost nothing but weak
# texts; `agreed` costs a second weak model, with gold pairs of its own; `mixed` and `shrink` use the
# few gold pairs once more. The filters train on half of the texts, so they also train half as long:
# where they differ from `naive`, fewer steps are part of the reason.

# %% tags=["predict"]
ask("02-likely")

# %% [markdown]
# ## Turn it: how far should the student go?
#
# Training moves the weights from those of the untouched model to those of the naive student. Nobody
# says that the end of this road is its best point: halfway, a model may have picked up the manner and
# kept its own knowledge. Turn the dial.

# %% tags=["objective-3"]
zero = result.scores(untouched, "log_likelihood")
gains = {
    share: bootstrap_difference(scores, zero, groups=result.groups)
    for share, scores in result.dial.items()
}
line = "{:g} of the way: {} nats per token over the untouched model"
dial(lambda share: line.format(share, gains[share]), gains, "share of the way", start=0.5)

# %% tags=["objective-3"]
plots.show(text_plots.shrinking(result))

# %% [markdown]
# The figure shows test gold, which may not choose. `shrink` let the few gold pairs choose, and the
# title says what they picked. How much did their choice lose against the best point of the road?

# %%
best = max(gains, key=lambda share: gains[share].value)
lost = bootstrap_difference(result.dial[best], result.scores("shrink"), groups=result.groups)
print(f"The best share on test is {best:g}; going by the few gold pairs instead loses {lost}")

# %% [markdown]
# ## What you predicted, what was measured

# %%
recall("02-naive-recovered", measured=result.recovered("naive"))

# %%
recall("02-best-remedy", measured=result.best)

# %% [markdown]
# The second is merely the name with the highest score, chosen on the test itself. What it leads
# *clearly*, only an interval can say.

# %% [markdown]
# ## In your own words

# %% tags=["predict", "objective-1"]
ask("02-rewards")

# %% [markdown]
# ## What the claim cells prove
#
# The first two cells hold for any models, for they are arithmetic: the objective is a log-likelihood
# over target tokens, it is distillation from a one-hot teacher, and the temperature enters as derived
# by hand. The others hold for this task, these two models and these seeds. They say where the four lines
# weak, untouched, student and ceiling stand to one another, whether the student errs like its teacher,
# and whether it does so less when it goes part of the way. None of them says which remedy is best:
# that is printed with its interval, and so few test papers may not settle it.
#
# Three things to take along to any project of this kind:
#
# - The objective is to *match*. Faults that have a pattern are matched as gladly as the task, and what
#   saves the student is what it knew before. Say so before someone else does.
# - Report the student beside the untouched model, and beside the strong model on the gold that you
#   have. PGR knows neither.
# - Keep gold for a test, and let nothing be chosen by it.
#
# Our pool is tiny beside 100,000 papers. A larger one averages out more of what is random in the weak
# texts, and teaches what is systematic all the more firmly.
#
# **Next:** lesson 03, where the texts explain code, and the question is what the cheap labels are
# worth.
#
# Sources: Burns et al. 2023, *Weak-to-Strong Generalization*, sections 3 and 5.1; Xiao and Zhu 2025,
# *Foundations of Large Language Models*, chapter 4 (the objective); Hinton et al. 2015, *Distilling
# the Knowledge in a Neural Network*, section 2; Kim and Rush 2016, *Sequence-Level Knowledge
# Distillation*, section 3; Wortsman et al. 2022, *Robust Fine-Tuning of Zero-Shot Models*
# (interpolated weights); Din et al. 2024, *Jump to Conclusions* (the shortcut);
# Takeshita et al. 2024, *AclSum*.

# %% [markdown]
# **Exercises:** [Exercises 02 · Papers: to match its teacher, or to do better?](../exercises/02_papers.ipynb), with a check and hints for each task.
