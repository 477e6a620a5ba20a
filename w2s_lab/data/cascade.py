"""A queue of clauses, each for one of three desks: the clauses of `indemnity`, dealt for a cascade.

It has no splits for weak labels: both models learn from gold, and what is left chooses thresholds
and tests them.
"""

from dataclasses import replace

import numpy as np

from w2s_lab.data import Task, indemnity, splits, task

# Who has to see the clause; the kinds are those of `indemnity`, in the same order
CLASSES = ("nobody", "contracts desk", "counsel")
KINDS = ("risk", "mention", "promise")
# Many are left for thresholds and test: a guarantee is about rare events, and needs numbers
SHARES = {"transfer": 0.35, "validation": 0.30, "test": 0.35}
IDLE = 0.5  # share of the queue that is for nobody; without thinning it would be six of seven
SEED = 1


@task("cascade")
def load(size: str) -> Task:
    """Clauses and the desk that must see them: a promise goes to counsel, a mention to contracts.

    `transfer` holds the gold that both models learn from, `validation` chooses thresholds, `test`
    holds them. Splits are made by owner. Half of the queue (validation and test) is for nobody.

    Args:
        size: "lab" has the clauses of `indemnity` that speak of risk; "smoke" those of a third of
            the owners who indemnify; "full" LEDGAR's provisions, for two desks.
    """
    whole = indemnity.load(size)
    scored = np.sort(np.concatenate(list(whole.splits.values())))
    gold = whole.gold
    classes: tuple[str, ...] = (CLASSES[0], CLASSES[2])
    if len(whole.kinds):
        gold = np.array([KINDS.index(k) if k in KINDS else 0 for k in whole.kinds])
        classes = CLASSES
    dealt = splits.deal_groups(whole.groups[scored], gold[scored], SHARES, seed=SEED)
    found = {name: scored[index] for name, index in dealt.items()}
    for name in ("validation", "test"):
        found[name] = _thinned(found[name], gold)
    splits.check_no_leak([whole.inputs[i] for i in scored], whole.groups[scored], dealt)
    return replace(
        whole,
        name="cascade",
        gold=gold,
        classes=classes,
        splits=found,
        metric="accuracy",
        descriptions=(),
        protocol="cascade",
    )


def _thinned(items: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """The items, of the first class only so many that they are the share `IDLE`."""
    busy, idle = items[gold[items] > 0], items[gold[items] == 0]
    room = round(len(busy) * IDLE / (1 - IDLE))
    return np.sort(np.concatenate([busy, np.random.default_rng(SEED).permutation(idle)[:room]]))
