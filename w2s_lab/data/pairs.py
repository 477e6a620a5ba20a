"""Functions with explanations, some of which are spoilt on purpose; each pair says which.

It does not filter. Functions and first docstring sentences are those of `code`.
"""

import sys

import numpy as np

from w2s_lab.data import Task, code, splits, task

CLASSES = ("dirt", "clean")
CHARACTERS = 200  # of a function, about 60 tokens: half of what `code` reads
CLEAN = "true pair"
DIRT = ("another's answer", "empty words", "cut off", "shuffled")
SHARES = {"supervise": 0.2, "transfer": 0.5, "validation": 0.05, "test": 0.25}
LAB = {
    "supervise": {CLEAN: 24, **dict.fromkeys(DIRT, 6)},
    "transfer": {CLEAN: 60, **dict.fromkeys(DIRT, 36)},
    "validation": {CLEAN: 6},
    "test": {CLEAN: 96},
}
SIZES = {"smoke": 0.25, "lab": 1, "full": 4}  # times the numbers above
SEED = 0
EMPTY = (  # true of any function, and no help to anybody
    "This function does what its name says.",
    "A simple and useful function.",
    "This is a Python function that takes arguments and returns a result.",
    "Performs the operation and handles the data as needed.",
)


@task("pairs")
def load(size: str) -> Task:
    """Python functions, each with an explanation to learn from; gold says whether it is a true one.

    `questions` are the instructions (the code, and what is asked), `inputs` the answers. Splits are
    made by module; `test` holds true pairs only.

    Args:
        size: "lab" has 204 pairs to choose from, "smoke" a quarter, "full" four times as many.
    """
    rows = [row for row in code.functions() if len(row["code"]) <= CHARACTERS]
    groups = np.array([row["group"] for row in rows])
    dealt = splits.deal_groups(groups, np.zeros(len(rows), int), SHARES, seed=SEED)
    made: list[tuple[str, dict, str, str]] = []  # split, function, kind, answer
    for split, index in dealt.items():
        rng = np.random.default_rng([SEED, len(made)])
        wanted = {k: max(1, round(n * SIZES[size])) for k, n in LAB[split].items()}
        kinds = rng.permutation([kind for kind, n in wanted.items() for _ in range(n)])
        drawn = [rows[i] for i in rng.permutation(index)]
        for n, kind in enumerate(kinds[: len(drawn)]):
            stranger = drawn[n - 1]["gold"]  # of another function of the split
            made.append((split, drawn[n], str(kind), spoil(drawn[n]["gold"], kind, stranger, rng)))
    kinds = np.array([kind for _, _, kind, _ in made])
    owner = np.array([split for split, *_ in made])
    found = Task(
        name="pairs",
        size=size,
        inputs=tuple(answer for *_, answer in made),
        questions=tuple(f"{row['code']}\n\n{code.QUESTION}" for _, row, *_ in made),
        gold=(kinds == CLEAN).astype(int),
        groups=np.array([row["group"] for _, row, *_ in made]),
        ids=np.array([row["id"] for _, row, *_ in made]),
        splits={split: np.flatnonzero(owner == split) for split in dealt},
        classes=CLASSES,
        metric="log_likelihood",
        kinds=kinds,
        protocol="filter",
        provenance={"source": "standard library", "python": sys.version, "terms": "PSF-2.0"},
    )
    splits.check_no_leak([row["code"] for _, row, *_ in made], found.groups, found.splits)
    return found


def spoil(answer: str, kind: str, stranger: str, rng: np.random.Generator) -> str:
    """The answer, spoilt as `kind` says; a true pair's as it is.

    Args:
        stranger: the answer to another instruction.
    """
    words = answer.split()
    return {
        CLEAN: answer,
        "another's answer": stranger,
        "empty words": str(rng.choice(EMPTY)),
        "cut off": " ".join(words[: max(2, len(words) // 3)]),
        "shuffled": " ".join(rng.permutation(words)),
    }[kind]
