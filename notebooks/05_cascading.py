# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 05 · Cascading: let the weak model pass the question on
#
# **Time** 60 minutes, of which a 2-core laptop computes at most 5 the first time · **Memory** under
# 4 GB
#
# After this lesson you can
#
# 1. build a cascade of models, draw its curve of cost and quality, and say what it costs to recover
#    half of the gap,
# 2. choose a threshold on validation, hold it on test, and give a guarantee with the words that
#    belong to it,
# 3. decide whether to label, to filter or to defer with a weak model, by what each buys.

# %%
import numpy as np

import w2s_lab as w2s
from w2s_lab import cascade_plots, cascade_report, metrics, plots
from w2s_lab.cascade import Answers, Cascade, Stage, average_pgr, cost_to_reach, deferral_curve
from w2s_lab.cascade_experiment import build
from w2s_lab.quiz import ask, predict, recall
from w2s_lab.widgets import dial

# %% [markdown]
# ## The scenario
#
# A team answers a very high volume of support queries. It sets up two steps: a small, fast model
# tries each query first. Where its confidence is low, the query goes on to a much larger, slower
# and more capable model. In the lessons before, the weak model worked for the strong one and then
# left. Here it stays, and *decides who answers*.

# %% tags=["predict"]
ask("05-advantage")

# %% tags=["predict"]
ask("05-steps")

# %% tags=["predict"]
ask("05-pays-both")

# %% tags=["predict", "objective-1"]
ask("05-cost")

# %% tags=["predict", "objective-1"]
ask("05-break-even")

# %% [markdown]
# ## The queue
#
# Our queries are real clauses that somebody pastes in, and the question is which desk must see
# them: **counsel** if the clause promises to indemnify, the **contracts desk** if it only mentions
# indemnity, **nobody** otherwise. The [data card](../docs/data/cascade.md) says how the queue was
# made.

# %%
task = w2s.load_task("cascade")
task

# %% [markdown]
# Both models learn from the same gold. The small one averages word vectors and draws lines through
# them; the large one is MiniLM, read after its fourth block by a head that attends to single words.
# One query costs the large model thousands of times the operations; the last line of the table
# below says how many.
#
# ## Commit yourself

# %% tags=["predict"]
predict("05-share")

# %% tags=["predict"]
predict("05-best-rule")

# %% [markdown]
# ## One curve by hand
#
# Four queries. The small model is right on two of them, the large one on three; confidence is
# given. Defer the least confident first, and look at what each step buys.

# %% tags=["objective-1"]
confidence = np.array([0.9, 0.8, 0.6, 0.5])
small_right, large_right = np.array([1, 0, 1, 0]), np.array([1, 1, 0, 1])
curve = deferral_curve(confidence, small_right, large_right, small_cost=1, large_cost=10)
for share, quality, cost in zip(curve.fraction, curve.quality, curve.cost, strict=True):
    print(f"{share:4.0%} passed on: quality {quality:.2f}, {cost:5.2f} a query")

# %% [markdown]
# The curve may go down on its way: the third query was right with the small model and is wrong with
# the large one. Two numbers sum a curve up. The **average PGR** is the area between it and the
# small model, as a share of the whole gap: a random choice of queries gets a half. **Cost to
# reach** is the smallest share to pass on that recovers so much of the gap.

# %% tags=["objective-1"]
print(
    f"average PGR {average_pgr(curve):.2f}, half of the gap after {cost_to_reach(curve, 0.5):.1%}"
)

# %% tags=["predict"]
ask("05-oracle")

# %% tags=["predict"]
ask("05-true")

# %% [markdown]
# ## The rules compete
#
# *Maximum probability*, *margin* and *entropy* read the small model's probabilities; *calibrated*
# bends them first. *learned* was fitted on validation to predict where the large model would be
# right and the small one wrong. *random* and *oracle* are the bounds.

# %%
result = w2s.run(task)
result.table()

# %% tags=["objective-1"]
plots.show(result.plot())

# %% tags=["claim", "objective-1"]
print("The large model is better than the small one:", result.gap.low > 0)
print("Confidence beats chance:", result.average_pgr("maximum probability").low > 0.5)
above = all(
    result.average_pgr("oracle").value >= result.average_pgr(r).value for r in result.methods
)
print("No rule beats the oracle:", above)

# %% [markdown]
# ### Do the rules differ at all?
#
# With two classes they cannot: all three rise and fall together, so they put the queries into the
# same order, and only the order counts.

# %% tags=["predict"]
ask("05-two-classes")

# %%
from w2s_lab.cascade import RULES

two = Answers(np.array([[0.9, 0.1], [0.45, 0.55], [0.3, 0.7]]))
three = Answers(np.array([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25], [0.45, 0.28, 0.27]]))
for name in ("maximum probability", "margin", "entropy"):
    orders = [np.argsort(RULES[name](said, said, 0)).tolist() for said in (two, three)]
    print(f"{name:<20} least sure first: of two classes {orders[0]}, of three {orders[1]}")

# %% [markdown]
# ### Is the small model as sure as it is right?

# %% tags=["predict"]
ask("05-calibration")

# %%
plots.show(cascade_plots.calibration(result))

# %% [markdown]
# Where the two lines lie on one another, there was nothing to mend: a model that draws straight
# lines through averages seldom claims more than it knows; deep models often do. Calibration is
# worth having, for a confidence of nine in ten then means what it says. For the cascade only the
# *order* of the queries matters, and one temperature changes it little.

# %% tags=["claim"]
change = result.average_pgr("calibrated").value - result.average_pgr("maximum probability").value
print("Calibration hardly changes the average PGR:", abs(change) < 0.05)

# %% [markdown]
# ## Choose a threshold, and keep your hands off
#
# A curve is drawn with the answers in hand. To *run* a cascade somebody has to fix a number before
# the queries come.

# %% tags=["predict", "objective-2"]
ask("05-threshold")

# %%
rule = result.best
chosen = result.thresholds(rule)
held = result.held(rule, chosen)
print(f"Thresholds of {rule!r} by seed, chosen on validation:", chosen.round(3))
print(f"On test: {held.of_large} of the large model's quality, {held.share} passed on,")
print(f"for {held.cost:.0%} of the operations of asking the large model every time.")

# %% tags=["objective-1", "objective-2"]
plots.show(cascade_plots.thresholds(result, rule))

# %% tags=["claim", "objective-2"]
print("On test at least 97 % of the large model's quality is kept:", held.of_large.value >= 0.97)
print("It costs less than asking the large model every time:", held.cost < 1)

# %% [markdown]
# The last percent is dear. Most of the gap comes back with the first queries that are passed on;
# what remains are mistakes about which the small model is *sure*, and to catch these one has to
# pass on nearly everything.
#
# ### A promise that can be kept
#
# "It worked on validation" is no promise: the threshold was picked because it did. *Learn then
# test* turns it into one. For each threshold it tests the hypothesis that the risk is too high,
# beginning with the safest, and stops at the first that cannot be rejected. Risk is here the share
# of queries that the small model keeps and gets wrong while the large one would have been right.

# %% tags=["predict", "objective-2"]
ask("05-guarantee")

# %% tags=["objective-2"]
cascade_report.guarantees(result, rule)

# %% tags=["objective-2"]
plots.show(cascade_plots.coverage(result, rule))

# %% tags=["claim", "objective-2"]
kept = [result.coverage(rule, level=level) for level in (0.02, 0.03, 0.05)]
print("The promise of 90 % lies within what was observed:", all(c.interval[1] >= 0.9 for c in kept))

# %% [markdown]
# To check it, our held-out queries play the whole population: calibration samples are drawn from
# them again and again, so the true risk of every threshold is known. The price of the promise is in
# the column *passed on*. With so few queries for calibration, a small risk can only be promised by
# passing on nearly all.

# %% tags=["predict", "objective-2"]
ask("05-drift")

# %% [markdown]
# ## A cascade that answers
#
# So far scores were looked up. Now queries are answered that no model has seen, by a `Cascade`:
# stages from cheap to dear, and a threshold for each but the last. It meters what it spends.

# %% tags=["objective-1"]
test = [task.inputs[i] for i in task.splits["test"]]
gold = task.gold[task.splits["test"]]
pair = build(task, ("static", "minilm+"))
answered = pair(test)
cascade_report.stages(answered, pair, gold)

# %%
query = "Customer shall defend and hold harmless the Vendor against all claims by third parties."
reply = pair([query, "This Agreement is governed by the laws of the State of Delaware."])
for text, c, s in zip((query, "Delaware"), reply.classes, reply.stage, strict=True):
    print(f"{text[:40]:<42}→ {task.classes[c]} (answered by {pair.stages[s].name})")

# %% [markdown]
# ### What if the small model were a better one?
#
# Before a small model is put in front of a dear one, it is worth asking whether it must be *that*
# small. In between we place the same word vectors, read by a head that attends to single words. It
# costs next to nothing too.

# %%
triple = build(task, ("static", "static+", "minilm+"))
answered3 = triple(test)
cascade_report.stages(answered3, triple, gold)

# %% tags=["claim", "objective-1"]
alone = metrics.accuracy(pair.stages[-1].answer(test).argmax(-1), gold)
quality = metrics.accuracy(answered3.classes, gold)
spent = answered3.flops.mean() / triple.stages[-1].flops
print("Three stages keep 99 % of the large model's quality:", quality >= 0.99 * alone)
print("They spend less than a third of its operations:", spent < 1 / 3)
print("They spend less than the two stages:", answered3.flops.mean() < answered.flops.mean())

# %% [markdown]
# That is the honest end of many cascades: a better small model does more than a better threshold.
# The middle stage sees that *hold harmless* is in the clause, which an average of words does not.
#
# ### When a model fails
#
# Machines fail in the middle of a batch. A cascade must not lose the other queries, nor this one.


# %%
import warnings


def moody(texts):
    if any("Delaware" in text for text in texts):
        raise RuntimeError("out of memory")
    return pair.stages[1].answer(texts)


fragile = Cascade((pair.stages[0], Stage("moody", moody)), pair.confidences, (np.inf,))
with warnings.catch_warnings(record=True) as told:
    some = fragile([query, "The laws of Delaware apply."])
print(told[0].message)
print("answered by stage:", some.stage, "| failed:", some.failed)

# %% [markdown]
# ## When the answer is a text
#
# A class has a probability. A text has one for every token, and the product of them all, the
# probability of the text, falls with each token that is added.

# %% tags=["predict"]
ask("05-sequence")

# %%
from w2s_lab.text_cascade import text_cascade

texts = text_cascade(w2s.load_task("code"))
texts

# %% [markdown]
# Small and large are the writers of lesson 03, both taught by the same few gold pairs. Read the
# last column first: whoever adds up log-probabilities passes on the *long* answers. Quantiles do so
# less. Then the middle: an average PGR of a half is chance. Here no confidence is shown to be worth
# much; the small writer is about equally poor everywhere, and does not know when it is not.

# %% tags=["claim"]
print("The large writer is better:", texts.gap().low > 0)
print("The sum falls with the length of the text:", texts.length_bias("sum") < -0.5)
print(
    "The lower quartile depends on length less:",
    abs(texts.length_bias(0.25)) < abs(texts.length_bias("sum")),
)

# %% [markdown]
# ## The support desk: cost, quality, delay
#
# A query that is passed on does not only cost more. It waits: first for the small model, then in
# the large one's queue. Queues have a temper: double the load on a server that is half busy, and
# the wait does not double.

# %% tags=["predict"]
ask("05-queue")

# %%
from w2s_lab.queueing import Server, expected_delay, simulate

small, large = Server(seconds=0.05), Server(seconds=2.0, count=4)
rate = 100_000 / 86_400  # queries in a second
for share in (0.2, 0.6, 0.9):
    told = expected_delay(rate, share, small, large)
    seen = simulate(rate, share, small, large, seed=1)
    print(
        f"{share:.0%} passed on: mean delay {told.mean:5.2f} s in closed form, {seen.mean:5.2f} s "
        f"simulated (± {2 * seen.error:.2f}), one in twenty waits over {seen.p95:.1f} s"
    )

# %% tags=["claim"]
told, seen = expected_delay(rate, 0.6, small, large), simulate(rate, 0.6, small, large, seed=1)
print("Simulation and closed form agree:", abs(told.mean - seen.mean) < 4 * seen.error)

# %% [markdown]
# Turn it. Set the queries a day, what an answer of the large model costs, and how long it takes on
# each of its four machines. Where the delay goes off the page, no threshold helps: queries come
# faster than they can be answered.


# %%
def day(queries, price, seconds):
    machines = {"small": small, "large": Server(seconds=seconds, count=4)}
    prices = (0.0001, price)
    return cascade_plots.queue(result, rule, queries_a_day=queries, prices=prices, **machines)


settings = ((20_000, 100_000, 200_000), (0.001, 0.01, 0.05), (0.5, 2.0, 5.0))
names = ("queries a day", "price of a large answer", "seconds of a large answer")
dial(day, settings, names, start=(100_000, 0.01, 2.0))

# %% [markdown]
# ## One weak model, three uses
#
# It labelled in lesson 01, chose in lesson 04, and defers here. Which use of *the same* weak model
# buys most? On the clauses of lesson 01, with the same account for all: operations to prepare, and
# to serve ten thousand queries.

# %% tags=["predict", "objective-3"]
predict("05-bridge")

# %% tags=["objective-3"]
from w2s_lab.three_ways import three_ways

ways = three_ways(w2s.load_task("indemnity"))
ways.table()

# %% tags=["objective-3"]
plots.show(ways.plot())

# %% tags=["objective-3"]
dial(lambda queries: str(ways.table(queries)), (100, 1_000, 10_000, 1_000_000), "queries served")

# %% tags=["claim", "objective-3"]
print(
    "Deferring recovers more per operation than labelling:",
    ways.per_flop("defer").low > ways.per_flop("label").high,
)
print(
    "The strong model alone would still be better than any of them:",
    all(ways.recovered(w).high < 1 for w in ("label", "filter", "defer")),
)

# %% [markdown]
# Do not read this as a ranking for every purpose. The three assume different things: who labels
# needs only a few gold labels; who filters needs texts that came with labels of some kind; who
# defers needs a strong model that somebody has already taught, and keeps both models running for
# ever. Labelling and filtering pay once and then serve every query with the strong model; deferring
# saves at every query. The more queries, the more that counts.
#
# ## What you predicted, what was measured

# %%
recall("05-share", measured=held.share.value)

# %%
recall("05-best-rule", measured=result.best)

# %%
recall("05-bridge", measured=ways.best())

# %% [markdown]
# ## In your own words

# %% tags=["predict", "objective-3"]
ask("05-strategy")

# %% [markdown]
# ## What was shown here
#
# - A cascade spends the large model where the small one is unsure. Most of the gap is cheap; the
#   last percent is not, because the small model is sure of some of its mistakes.
# - A threshold is chosen on validation and held. With learn-then-test it comes with a promise about new
#   queries of the same kind, and none about others.
# - Calibration repairs what confidence *means*, and hardly the order of the queries.
# - For texts, sums of log-probabilities pass on what is long. Quantiles do not, and still knew little here.
# - Delay is part of the price. Near full load it is most of it.
#
# Sources: Ong et al. 2024, *RouteLLM* (average PGR, cost to reach); Guo et al. 2017 (temperature);
# Angelopoulos et al. 2021, *Learn then Test*; Gupta et al. 2024, *Language Model Cascades*
# (quantiles, learned deferral); Chen et al. 2023, *FrugalGPT* (chains of models); Jackson 1957 and
# Kleinrock 1975 (queues in a row).

# %% [markdown]
# **Exercises:** [Exercises 05 · Who answers, and who pays](../exercises/05_cascading.ipynb), with a check and hints for each task.
