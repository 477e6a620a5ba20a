# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 00 · Orientation: can a student outgrow its teacher?
#
# **Time** 30 minutes · **Memory** under 3 GB · **Needs** no GPU, no account
#
# After this lesson you can
#
# 1. name the four numbers of a weak-to-strong experiment and compute the gap recovered from them,
# 2. say when that number is undefined, and why an interval belongs beside it,
# 3. predict from the *kind* of a teacher's errors how much a student can recover.

# %%
import w2s_lab as w2s
from w2s_lab import plots
from w2s_lab.metrics import bootstrap_pgr, performance_gap_recovered
from w2s_lab.noise import noise_dial
from w2s_lab.quiz import ask, predict, recall
from w2s_lab.widgets import dial

# %% [markdown]
# One cell tells whether your machine has what the lessons need. If a line appears under it, that
# line says what to do.

# %%
from w2s_lab.check import check

missing = [finding for finding in check() if finding.ok is False]
print(*[f"{finding.name}: {finding.mend}" for finding in missing] or ["Ready."], sep="\n")

# %% [markdown]
# ## The idea
#
# We usually teach a machine by giving it answers that are better than its own. Sooner or later a
# model is stronger than anyone who could correct it: nobody can check a million contracts, or a
# proof that takes a year to read. What happens then, when the teacher knows *less* than the
# student?
#
# We cannot wait for such models to find out, so we stage the problem with two models we have. A
# **weak** model learns a task from a few true labels ("gold"). It then labels a larger set of texts,
# with all its mistakes. A **student**, a stronger model, is trained on those labels and never sees
# gold. The hope rests on what the student already knows from its pretraining: the labels may be
# enough to *point out* the task, and the student need not copy each mistake to get the point.
#
# Four numbers describe such an experiment, all measured on the same held-out test items:
#
# | name | what it is |
# |---|---|
# | P_weak | the weak model itself: the **floor** |
# | P_weak→strong | the student, taught by the weak model |
# | P_ceiling | the same strong model taught with gold: the **ceiling** |
# | PGR | the share of the gap from floor to ceiling that the student closed |
#
# $$\mathrm{PGR} = \frac{P_{weak \to strong} - P_{weak}}{P_{ceiling} - P_{weak}}$$

# %% [markdown]
# Take a floor of 70 %, a ceiling of 90 % and a student at 80 %. Work it out in your head first.

# %% tags=["objective-1"]
performance_gap_recovered(weak=0.70, student=0.80, ceiling=0.90)

# %% [markdown]
# Half of the gap. Now say what other values would mean. Pick an option below; where no buttons are
# shown, the text says what to type.

# %% tags=["predict", "objective-1"]
ask("00-pgr-zero")

# %% tags=["predict", "objective-1"]
ask("00-pgr-one")

# %% tags=["predict", "objective-1"]
ask("00-pgr-negative")

# %% tags=["predict", "objective-1"]
ask("00-pgr-compute")

# %% tags=["predict", "objective-1"]
ask("00-student-score")

# %% [markdown]
# ## When the gap is too small to divide by
#
# PGR has the gap in its denominator. If the ceiling is no better than the weak model, there is no
# gap, and no share of it. `nan` is then the only honest answer.

# %% tags=["predict", "objective-2"]
ask("00-pgr-undefined")

# %% tags=["claim", "objective-2"]
undefined = performance_gap_recovered(weak=0.90, student=0.95, ceiling=0.90)
print("PGR without a gap is a number:", undefined == undefined)

# %% [markdown]
# A gap that is *almost* nothing is worse, because the division works. Below, 200 test items: the
# weak model gets 140 right, the student 143, the ceiling 144. The point value looks splendid. The
# interval, found by drawing test items again and again, tells the truth.

# %% tags=["objective-2"]
import numpy as np

items = np.arange(200) / 200
almost_nothing = bootstrap_pgr(weak=items < 0.70, student=items < 0.715, ceiling=items < 0.72)
almost_nothing

# %% tags=["claim", "objective-2"]
print("This interval excludes 0:", almost_nothing.excludes(0))

# %% [markdown]
# So in this course every PGR comes with its interval, over test items *and* over repetitions with
# other seeds. When an interval is wide, the experiment did not settle the question, whatever its
# point value.

# %% [markdown]
# ## A small real run
#
# The task is the one of lesson 01: does a clause of a licence agreement promise to indemnify
# somebody? At size `smoke` it has a few hundred clauses, which takes seconds, and shows what too few
# test items do to an interval.

# %%
small = w2s.run("indemnity", size="smoke", methods=("naive", "confidence"), seeds=3)
small.table()

# %% tags=["objective-2"]
plots.show(small.plot())

# %% [markdown]
# Read the table from the top. The **baselines** come first, since each of them could embarrass the
# experiment: the majority class (no learning at all), a bag of words on the same few gold labels
# (no neural model), the strong model without any training (zero-shot), the strong model on the few
# gold labels (no weak model). Then the floor, the students, the ceiling.

# %% tags=["predict", "objective-2"]
ask("00-baseline")

# %% [markdown]
# ## Turn the dial: it matters *how* a teacher errs
#
# Two teachers are right equally often. One errs **at random**: which clauses it gets wrong has
# nothing to do with what they say. The other errs **systematically**: it is wrong on clauses that
# are like one another, as someone is who has misunderstood a word. A student is trained on each.

# %% tags=["predict", "objective-3"]
predict("00-noise-kind")

# %% [markdown]
# We make such teachers to order from gold labels, with 20 to 40 % errors, and train students of each
# on the full set of clauses. Only the students' training labels are spoilt; the test is not.

# %%
task = w2s.load_task("indemnity")
noisy = noise_dial(task, rates=(0.2, 0.3, 0.4), seeds=10)

# %% tags=["objective-3"]
figure = plots.dial(
    [100 * rate for rate in noisy.rates],
    {f"{kind} errors": estimates for kind, estimates in noisy.pgr.items()},
    xlabel="labels that are wrong (%)",
    ylabel="performance gap recovered",
    title="Two kinds of errors, equally many",
)
plots.show(figure)

# %% [markdown]
# Move the slider to read the values one rate at a time.

# %% tags=["objective-3"]
rows = {}
for i, rate in enumerate(noisy.rates):
    told = [f"{kind} errors: PGR {estimates[i]}" for kind, estimates in noisy.pgr.items()]
    rows[f"{rate:.0%}"] = "; ".join(told)
dial(rows.get, rows, "wrong labels", start="30%")

# %% [markdown]
# Both teachers are equally good, so the two students can also be compared directly. This is by how
# much the student of random errors scores higher.

# %%
dict(zip(rows, noisy.advantage, strict=True))

# %% tags=["claim", "objective-3"]
print("At 30 % random errors the student beats its teacher:", noisy.pgr["random"][1].low > 0)
print("At 30 % errors, random ones teach better:", noisy.advantage[1].low > 0)

# %% [markdown]
# Random errors do not repeat, so nothing about a clause predicts them. The only regularity the
# student can find is the task itself, and the errors average out. Systematic errors *are* a
# regularity. A strong student finds it as well as it finds the task, and learns both.
#
# There is a catch: the students above passed over their labels only a few times. Let them go on, and
# they memorize the random errors too. With weak labels, training longer is not training better.
#
# Real weak models lie between the two. How much a student recovers from one is therefore a question
# for measurement, and lesson 01 measures it.

# %% tags=["objective-3"]
apart = noisy.advantage[1].low > 0
recall("00-noise-kind", measured="random" if apart else "neither")

# %% [markdown]
# ## Is the student capped by its teacher?

# %% tags=["predict"]
ask("00-capped")

# %% [markdown]
# The claim cell above has already answered it, for one kind of teacher.

# %% [markdown]
# ## In your own words

# %% tags=["predict", "objective-2"]
ask("00-report")

# %% [markdown]
# ## What was shown here
#
# - PGR is a share of a gap. Without a gap it is undefined; over a tiny one its interval says next to
#   nothing, or has no bounds.
# - Two teachers of equal accuracy teach different things.
# - A number without its baselines and its interval is not a result.
#
# **Next:** [01 · Indemnity](01_indemnity.ipynb), where the teacher is a real weak model and the
# baselines bite.
#
# Source of the setting, of PGR and of the dial's idea: Burns et al. 2023, *Weak-to-Strong
# Generalization*, sections 3 and 5.1.

# %% [markdown]
# **Exercises:** [Exercises 00 · Four numbers and what they can hide](../exercises/00_orientation.ipynb), with a check and hints for each task.
