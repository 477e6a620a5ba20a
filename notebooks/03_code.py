# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 03 · Code: is a cheap explanation worth its price?
#
# **Time** 50 minutes, of which a 2-core laptop computes at most 6 the first time · **Memory** under
# 4 GB
#
# After this lesson you can
#
# 1. weigh a plan to train on cheap explanations: its main advantage, its most significant risk,
# 2. tell a student's gain in *form* from a gain in *content*, and say when PGR flatters,
# 3. turn scores and prices into a decision, and check it against your own blind judgement.

# %%
import w2s_lab as w2s
from w2s_lab import plots, text_plots, text_report
from w2s_lab.quiz import ask, predict, recall
from w2s_lab.widgets import blind, dial

# %% [markdown]
# ## The scenario
#
# A team wants a large general model to become excellent at **explaining code**. Snippets it has in
# plenty, but nobody has explained them, and experts who could are dear. Two models are at hand: the
# large one, powerful and costly to run, and a small one that costs next to nothing. The plan:
#
# 1. **Explain.** The small model writes an explanation of every snippet.
# 2. **Learn.** The large model is fine-tuned on the pairs of snippet and explanation.
#
# You are asked for an opinion. Is that sound? Before you read on, say what speaks for it and what
# against it.

# %% tags=["predict", "objective-1"]
ask("03-advantage")

# %% tags=["predict", "objective-1"]
ask("03-risk")

# %% tags=["predict", "objective-1"]
ask("03-trade-off")

# %% tags=["predict", "objective-1"]
ask("03-steps")

# %% tags=["predict"]
ask("03-capped")

# %% [markdown]
# ## The snippets
#
# Ours are functions from the standard library of the very Python that runs this page. The docstring
# is cut out, and its first sentence is gold: what the author, an expert if anyone is, wrote to
# explain the function. Another version of Python has other functions, so your numbers can differ
# from a neighbour's. The [data card](../docs/data/code.md) says what was left out and how good the
# pairs are.

# %%
task = w2s.load_task("code")
task

# %%
print("Python", task.provenance["python"].split()[0])
for stage, count in task.provenance["functions"].items():
    print(f"{count:>7,} {stage}")

# %% [markdown]
# Read a few before any model does. Could you have written the sentence from the code alone? How
# much of it stands in the function's name?

# %%
for i in task.splits["supervise"][:3]:
    print(task.ids[i], task.inputs[i].strip(), f"GOLD: {task.gold[i]}", sep="\n", end="\n\n")

# %% [markdown]
# All functions of a module are in the same split, so a student cannot learn `email` in training and
# be tested on it. One leak no split can stop: these sources are public, and a language model has
# probably read some of them, docstrings included, in its pretraining. That helps the strong model
# untouched, taught and at the ceiling alike, so compare them with one another, and do not take any
# of their scores for what they would be on your company's own code.

# %% tags=["predict"]
ask("03-name")

# %% [markdown]
# ## Commit yourself

# %% tags=["predict"]
predict("03-share")

# %% tags=["predict"]
predict("03-blind")

# %% [markdown]
# ## Stage 1: cheap explanations
#
# The strong model is SmolLM2, with 30 blocks. The weak one is the same model **cut short**: it has
# to speak after block 22. A linear shortcut, fitted to the code of the `transfer` functions alone,
# stands in for the blocks that would have turned its thoughts into words; then the shortcut and the top
# three blocks learn from a few gold pairs. Stage 2 follows in the same call, three times over, each time with other gold
# pairs.

# %%
result = w2s.run(task)
print(f"{result.labels} gold pairs taught each weak model; it then explained {result.transfer}.")

# %% [markdown]
# Here is what it writes, for test functions, so that gold can stand beside it. Read it as a
# customer would. What is wrong with it, and what does it get right all the same?

# %%
text_report.examples(result, names=("weak",), items=(0, 1, 2, 3))

# %% [markdown]
# ## Stage 2: the strong model learns from them
#
# The student is the whole model with its top three blocks trained on the weak explanations. The
# ceiling is trained the same way on the authors' own sentences. Three baselines come first in the
# table:
#
# - **lead sentence**, here the function's name in words: no model at all;
# - **strong zero-shot**: the untouched model, asked the same question. It is what the team has now;
# - **strong on gold labels**: no weak model, but the same few gold pairs that taught it.
#
# The leading score asks how likely a model finds the *gold* sentence, per token. It needs no
# writing and counts every test function. The other three compare what was actually written.

# %%
result.table()

# %%
plots.show(result.plot())

# %% [markdown]
# ## Why PGR alone flatters
#
# The zero of PGR is the weak model. Suppose that nobody trains a student at all, and the untouched
# strong model is handed in instead. What is its PGR?

# %% tags=["objective-2"]
print("PGR of the untouched model:", result.pgr("strong zero-shot"))
print("PGR of the naive student:  ", result.pgr("naive"))
print("Its share of the gap from the untouched model:", result.recovered("naive"))

# %% tags=["claim", "objective-2"]
print("Weak is worse than untouched:", result.lead("weak", "strong zero-shot").high < 0)
print("A model that was taught nothing has a PGR above 0:", result.pgr("strong zero-shot").low > 0)
pgr, share = result.pgr("naive").value, result.recovered("naive").value
print("The naive student's PGR is higher than its share from untouched:", pgr > share)

# %% tags=["predict", "objective-2"]
ask("03-flatters")

# %% tags=["predict", "objective-2"]
ask("03-recovered")

# %% [markdown]
# Whenever the weak model lies below the untouched one, part of the "gap" was never open: the strong
# model crossed it before its first lesson. A worse teacher makes that part larger, and PGR kinder.
# The last column of the table measures from the untouched model, which is where the team stands.

# %% tags=["claim", "objective-2"]
ceiling = result.lead("ceiling", "strong zero-shot")
print("There is a gap from untouched to ceiling:", ceiling.low > 0)
print("The naive student's PGR interval lies above 0:", result.pgr("naive").low > 0)

# %% [markdown]
# Nor is beating the untouched model the end of the matter. Does the best student beat the name of
# the function, and the strong model that skipped the detour?

# %%
for name, metric in (("lead sentence", "similarity"), ("strong on gold labels", None)):
    lead = result.lead(result.best, name, metric)
    verdict = "beats" if lead.low > 0 else "loses to" if lead.high < 0 else "ties with"
    print(f"The best student ({result.best}) {verdict} {name}: {lead} ({metric or result.metric})")

# %% [markdown]
# The best was picked on these test functions, which is kind to it: if it wins by little, it may not
# have won.
#
# ## Form or content?
#
# There are two ways of explaining better. A model can learn what an explanation *looks like*: one
# short sentence, beginning with a verb, then stop. Or it can learn what *this code does*. The weak
# texts may be full of the first and poor in the second. Look for yourself.

# %%
text_report.examples(result, names=("strong zero-shot", "weak", "naive", "ceiling"))

# %% [markdown]
# Form can be counted. These are the first words of what each one wrote.

# %% tags=["objective-2"]
from collections import Counter

wrote = {"gold": result.gold[: result.written], **result.texts}
for name in ("gold", "strong zero-shot", "weak", "naive", "ceiling"):
    texts = wrote[name].ravel()
    first = Counter(next(iter(text.split()), "(nothing)") for text in texts).most_common(4)
    words = result.signs(name).words
    print(f"{name:<17}{words:4.0f} words;", *[f"{w} {n / len(texts):.0%}" for w, n in first])

# %% [markdown]
# Content is harder, but there is a trick. Form is the same for all functions, so a model that has
# learned form alone writes something that is closer to *any* gold. Compare each text with the gold
# of its own function and with that of another one: only what is said about *this* code sets its own
# gold apart.

# %%
import numpy as np

from w2s_lab.text_metrics import similarity

other = np.roll(result.gold[: result.written], result.written // 2)
print(f"{'similarity to':<23}own gold  another's  difference")
for name in ("lead sentence", "weak", "strong zero-shot", "naive", "ceiling"):
    own = result.scores(name, "similarity")[0].mean()
    strange = similarity(result.texts[name][0], other).mean()
    print(f"{name:<23}{own:8.2f}{strange:11.2f}{own - strange:12.2f}")

# %% tags=["predict", "objective-2"]
ask("03-form")

# %% [markdown]
# A column that rises from *strong zero-shot* to *naive* in both places is form. A difference that
# rises is content; one that falls is content lost, which the model had before it was taught. The lead
# sentence shows how far the name alone gets you. (First seed only, and no interval: a hint, not a
# verdict.)
#
# The four scores may disagree as well. Likelihood rewards whoever expects the author's manner of
# speaking; similarity cares more for the subject. Where the first rises and the second does not,
# suspect form.

# %% tags=["objective-2"]
for metric in ("log_likelihood", "rouge_l", "chrf", "similarity"):
    lead = result.lead("naive", "strong zero-shot", metric)
    verdict = "gains" if lead.low > 0 else "loses" if lead.high < 0 else "no clear difference"
    print(f"{metric:<16}{verdict:<21}{lead}")

# %% [markdown]
# ### Does it repeat its teacher's inventions?
#
# Take a word that the weak model made up: neither code nor gold has it. Does the student use the
# same word for the same function? Some of that is chance, since all of them like the same words,
# and the untouched model never read the weak texts. What lies above both is imitation.

# %% tags=["objective-2"]
text_report.signs(result)

# %%
plots.show(text_plots.signs(result))

# %% [markdown]
# No such count sees a false statement in ordinary words, which is the dangerous kind. For that you
# have to read.
#
# ## Turn it: how far should the student go?
#
# Training moves the student's weights from the untouched model's to others. Nothing forces us to go
# all the way: take the untouched weights and add only a *share* of the change. At 0 nothing was
# learned, at 1 it is the naive student.

# %% tags=["predict"]
ask("03-shrinking")

# %%
plots.show(text_plots.shrinking(result))

# %%
from w2s_lab.metrics import bootstrap_difference

zero, families = result.scores("strong zero-shot"), result.groups
leads = {s: bootstrap_difference(x, zero, groups=families) for s, x in result.dial.items()}
told = {s: f"{s:.0%} of the way: {lead} nats per token" for s, lead in leads.items()}
dial(told.get, told, "share of the way", start=0.5)

# %% [markdown]
# Why might a part of the way be better than all of it? If the weak texts agree on little but the
# form, the first steps point there, and the mistakes of single texts take longer to fit. Whether
# that is what happened here, the curve says: a peak before the end means that the last part of the
# way did harm, and a curve that climbs to the end means that it did not.
#
# The peak was found on test, which no project may do. The method *shrink* picks its share with the
# few gold pairs that the weak model was taught with.

# %%
shares = ", ".join(f"{share:g}" for share in result.chosen["shrink"])
lead = result.lead("shrink", over="naive")
verdict = "better than" if lead.low > 0 else "worse than" if lead.high < 0 else "no different from"
print(f"Shares chosen by the few gold pairs: {shares}")
print(f"Shrink is {verdict} naive imitation: {lead} nats per token")

# %% tags=["claim"]
print("Some share of the way beats going nowhere:", max(x.value for x in leads.values()) > 0)

# %% [markdown]
# ## Is it worth it?
#
# An explanation has a price, whoever writes it. For a model it can be counted in tokens, in
# operations (TFLOP) and in seconds. Seconds depend on the computer and on what else it was doing,
# so rely on operations where the two disagree. For a person, you set the price. Take what an expert
# earns in the minutes that one good sentence takes.

# %% tags=["predict"]
ask("03-costs")

# %% tags=["predict", "objective-3"]
ask("03-same-money")

# %% tags=["objective-3"]
prices = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
sheets = {price: str(text_report.costs(result, human=price)) for price in prices}
dial(sheets.get, prices, "price of one explanation by a person", start=0.5)

# %%
ratio = result.cost["weak"]["flops"] / result.cost["strong"]["flops"]
print(f"A label by our weak model takes {ratio:.0%} of the operations of one by the strong model.")

# %% [markdown]
# So ours is a modest saving: a model cut short still has most of its blocks. (The whole model read the
# snippets once, to fit the shortcut; that is not counted.) What makes a real weak
# model cheap is that it has a hundredth of the weights. The protocol is the same, and so is the
# question: not "what does a label cost", but "what is *gained* for the money". Three offers lie on
# the table. Each is measured by its gain over leaving the large model alone, which costs nothing.

# %% tags=["objective-3"]
hour = 1.0  # what an hour of this computer costs: put in your own price
machine = hour * result.transfer / 1000 * result.cost["weak"]["seconds"] / 3600
offers = {  # explanations by people, and the price of the machine that adds its own
    "strong on gold labels": (result.labels, 0),
    result.best: (result.labels, machine),
    "ceiling": (result.transfer, 0),
}
gains = {name: result.lead(name, "strong zero-shot") for name in offers}

# %% tags=["objective-3"]
bills = {}
for price in prices:
    costs = {name: people * price + extra for name, (people, extra) in offers.items()}
    bills[price] = "\n".join(
        f"{name:<22}costs {cost:8.2f}, gains {gains[name]}: {gains[name].value / cost:7.4f} for 1"
        for name, cost in costs.items()
    )
dial(bills.get, prices, "price of one explanation by a person", start=0.5)

# %% [markdown]
# Training the large model is left out, since all three have to pay for it. Note what the second
# offer contains: *the same gold pairs* as the first, because the weak model needs them too. At any
# price by a person, then, the weak model's part in it is what the second adds to the first.

# %% tags=["objective-3"]
extra = result.lead(result.best, over="strong on gold labels")
adds = (
    "add to" if extra.low > 0 else "take away from" if extra.high < 0 else "change nothing clear in"
)
print(f"{result.transfer} cheap explanations {adds} what {result.labels} gold pairs give: {extra}")

# %% tags=["claim", "objective-1", "objective-3"]
fewer = result.cost["weak"]["flops"] < result.cost["strong"]["flops"]
print("A weak label takes fewer operations than a strong one:", fewer)

# %% [markdown]
# If they add, the plan has earned its place. If they change nothing or take away, the honest advice
# to the team is to have a few good explanations written and to train on those directly. A cheap
# label that buys nothing is not cheap.
#
# - **The advantage** is scale. After the first few gold pairs, each further explanation costs a
#   moment of machine time, and no expert has to be found.
# - **The risk** is imitation. The objective pays the student for writing what the weak model wrote,
#   errors, vagueness and habits included. For form the weak texts may be all that is needed; for
#   content they hold nothing that the weak model did not have. Whatever the student explains
#   better than they do, it knew before.
#
# ## Judge for yourself, blind
#
# Scores are stand-ins for a reader, so be one. Ten functions, each with an explanation by the best
# student and one by the untouched model, sides shuffled. In a live notebook you get buttons. Where
# there are none, `ab.show()` shows the next pair, `ab.rate("left")`, `ab.rate("right")` or
# `ab.rate("equal")` notes your choice, and after the last pair `ab.verdict()` tells who wrote what,
# whether your preference is more than a coin's, and how often each score agrees with you.

# %% tags=["objective-3"]
seen, untouched = result.written, "strong zero-shot"
scores = {
    m: tuple(result.scores(n, m)[0] for n in (result.best, untouched))
    for m in ("chrf", "similarity")
}
texts = (result.texts[result.best][0], result.texts[untouched][0])
given = {"inputs": result.sources[:seen], "gold": result.gold[:seen], "scores": scores}
ab = blind(*texts, **given, names=("student", "untouched"))
ab

# %% [markdown]
# Ask two things of each pair: is it *true* of this code, and would it *help* somebody who has not
# read it? A tidy sentence that is false should lose. Ten pairs settle little, and both writers'
# manners may give them away; a real study has more readers and more pairs.
#
# ## What you predicted, what was measured

# %%
recall("03-share", measured=result.recovered("naive"))

# %% [markdown]
# For the blind test, set `yours` to "student", "untouched" or "neither", as your verdict says. As
# long as it is `None`, the similarity to gold speaks in your place.

# %%
yours = None
lead = result.lead(result.best, untouched, "similarity")
by_score = "student" if lead.low > 0 else "untouched" if lead.high < 0 else "neither"
recall("03-blind", measured=yours or by_score)

# %% [markdown]
# ## Your advice to the team
#
# Write five sentences. Good advice
#
# - names the main advantage (labels at scale, at little cost) and the most significant risk (the
#   student imitates what is wrong or empty in them), and does not treat them as equally certain,
# - quotes a gain over the *untouched* model with its interval, and not PGR alone,
# - says whether that gain looks like form or like content, and what that was seen from,
# - compares with spending the same gold pairs directly,
# - asks for a small set of expert explanations that nothing is trained on, and a blind reading.

# %% [markdown]
# ## In your own words

# %% tags=["predict", "objective-1"]
ask("03-evaluate")

# %% [markdown]
# ## What was shown here
#
# - A model that was taught nothing can have a fine PGR. Show the gap from the untouched model too.
# - A rise in likelihood does not say whether form or content was learned. Another function's gold,
#   the name of the function and your own eyes help to tell.
# - How far to follow a weak teacher is a dial, and a few gold pairs can turn it.
# - The price of a label means something only beside what it buys, and beside the next best offer.
#
# **Where to next:** so far every weak text was taken, or half of them. Which ones deserve to be
# learned from, and when it pays to ask the expensive model after all, are the questions of the
# lessons to come.
#
# Sources: Burns et al. 2023, *Weak-to-Strong Generalization* (protocol, section 3; imitation,
# section 5.1); Wortsman et al. 2022, *Robust fine-tuning of zero-shot models* (shrinking towards
# the untouched model); Din et al. 2024, *Jump to Conclusions* (the shortcut); Popović
# 2015 (chrF).

# %% [markdown]
# **Exercises:** [Exercises 03 · What a cheap explanation buys](../exercises/03_code.ipynb), with a check and hints for each task.
