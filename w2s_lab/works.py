"""What there is to do, in amounts: texts, tokens, steps, operations, bytes; no seconds.

It loads no model. Operations are counted as in Kaplan et al. 2020, section 2.1: 2 for each weight
and token forward, 6 to train, and attention besides. `costs` turns amounts into seconds.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from w2s_lab.errors import W2SError

# What the seconds of a kind of work are a sum of: no more terms than sizes that are measured
TERMS = {
    "read": ("start", "items", "tokens", "states", "flops", "attention"),
    "train": ("start", "tokens", "steps", "flops"),
    "write": ("start", "steps", "flops", "attention"),
    "tune": ("steps", "flops", "attention"),
}
ARITHMETIC = ("flops", "attention")  # scales with a machine's rate
ON_DEVICE = (*ARITHMETIC, "steps", "dispatches")  # more devices shorten it; the rest is the host's
WORDS = {
    "start": "starting",
    "items": "handling texts",
    "tokens": "handling tokens",
    "states": "handling states",
    "steps": "fixed cost of steps",
    "flops": "products with weights",
    "attention": "attention",
    "dispatches": "sending blocks to the device",
}


@dataclass(frozen=True)
class Shape:
    """The numbers in a model that its cost depends on.

    Attributes:
        blocks: how many are computed; block: weights in one of them.
        dim: numbers in a token's state.
        embed: weights of the embedding; the head that writes is tied to it.
        keys: numbers in a token's keys in one block; as many are its values.
        two_way: whether tokens see those behind them, too: twice the attention.
    """

    name: str
    blocks: int
    block: int
    dim: int
    embed: int = 0
    keys: int = 0
    two_way: bool = False

    @property
    def weights(self) -> int:
        """In the computed blocks and the embedding."""
        return self.blocks * self.block + self.embed


MINILM = Shape("minilm", 4, 1_774_464, 384, 12_066_432, two_way=True)
STATIC = replace(MINILM, name="static", blocks=0)
SMOLLM2 = Shape("smollm2", 30, 3_540_096, 576, 28_311_552, keys=192)
READER = replace(SMOLLM2, blocks=10)  # as a trunk, see `models.LADDER`


@dataclass(frozen=True)
class Texts:
    """How much text: how many, the sum of their lengths in tokens, and of the squares."""

    items: float
    tokens: float
    squares: float

    @staticmethod
    def of(lengths: Iterable[float]) -> "Texts":
        """Texts of these lengths."""
        found = np.asarray([*lengths], float)
        return Texts(len(found), float(found.sum()), float((found**2).sum()))

    def scaled(self, items: float) -> "Texts":
        """So many texts, of the same mix of lengths."""
        share = items / self.items
        return Texts(items, self.tokens * share, self.squares * share)


# The pool of task `indemnity`, in tokens of minilm and of smollm2, cut to 384
CLAUSES = Texts(13_782, 1_254_039, 154_008_705)
CLAUSES_OF = {"static": CLAUSES, "minilm": CLAUSES, "smollm2": Texts(13_782, 1_280_507, 168894493)}
# Openings of AclSum's 100 training papers, cut to `generate.DOCUMENT` = 2,400 characters
PAPERS = Texts(100, 49_621, 25_193_909)
PADDING = 1.34  # of a head's batches: of like, not of the same length
QUESTION, ANSWER, LIMIT = 19, 28, 32  # tokens: asked with its frame, an expert's mean, the most


@dataclass(frozen=True)
class Work:
    """Amounts of one work.

    Attributes:
        name: in words.
        family: "read", "train", "write" or "tune", see `TERMS`.
        model: whose arithmetic it is.
        amounts: of each term: 1 start, texts, tokens, bytes of states, steps one after another,
            operations; and "dispatches", blocks sent to the device one after another.
        disk: bytes of what is kept, where it is kept.
        memory: bytes held at once; what a batch needs on its way is left out.
    """

    name: str
    family: str
    model: str
    amounts: Mapping[str, float]
    disk: float = 0.0
    memory: float = 0.0

    def __post_init__(self):
        if self.family not in TERMS:
            mend = f"choose one of {', '.join(TERMS)}"
            raise W2SError(f"no kind of work {self.family!r}", where=self.name, mend=mend)
        for term, amount in self.amounts.items():
            if term not in WORDS or not 0 <= amount < math.inf:
                mend = "give a finite number, 0 or more, of a known term"
                raise W2SError(f"{term} is {amount}", where=self.name, mend=mend)


def forward(weights: float, tokens: float) -> float:
    """Operations of a forward pass, attention left out: 2 · weights · tokens."""
    return 2.0 * weights * tokens


def attention(shape: Shape, squares: float) -> float:
    """Operations of tokens with the tokens they see: 2 · blocks · dim · Σ length².

    Kaplan et al. 2020, table 1 ("mask"); twice that where tokens see what is behind them, too.
    """
    return (4.0 if shape.two_way else 2.0) * shape.blocks * shape.dim * squares


def read(
    shape: Shape,
    texts: Texts,
    *,
    padded: Texts | None = None,
    pooled: bool = False,
    name: str = "",
    batch: int = 65_536,
) -> Work:
    """Texts through tokenizer and frozen trunk, their states through a small head.

    Args:
        padded: the texts as long as the longest of their batches; by default as they are, which
            many texts, sorted by length, nearly reach.
        pooled: keep one mean state for each text, not one for each token.
        batch: padded tokens side by side on a GPU, see `features.BATCH_TOKENS`.
    """
    padded = padded or texts
    amounts = {"start": 1.0, "items": texts.items, "tokens": texts.tokens}
    amounts["flops"] = forward(shape.blocks * shape.block, padded.tokens)
    amounts["attention"] = attention(shape, padded.squares)
    amounts["dispatches"] = shape.blocks * math.ceil(padded.tokens / batch)
    kept = 2.0 * shape.dim * (texts.items if pooled else texts.tokens)  # float16
    amounts["states"] = kept
    name = name or f"{shape.name} reads"
    return Work(name, "read", shape.name, amounts, disk=kept, memory=4.0 * shape.weights + kept)


def train(
    texts: Texts,
    *,
    students: int,
    padding: float = PADDING,
    epochs: int = 12,
    dim: int = 192,
    full: int = 384,
    queries: int = 4,
    batch: int = 64,
    name: str = "students train",
) -> Work:
    """Attending heads on token states of `full` numbers, of which they read `dim` components.

    A head's queries meet every state twice forward and twice back: 8 operations for each number of
    a query and token. The states are frozen, so there is no gradient to compute for them.

    Args:
        padding: padded tokens for each token of the texts.
    """
    steps = epochs * math.ceil(texts.items / batch)
    passed = epochs * padding * texts.tokens
    amounts = {"start": 1.0, "tokens": passed, "steps": float(steps)}
    amounts["flops"] = 8.0 * students * queries * dim * passed
    amounts["dispatches"] = 2 * steps  # about as many operations as two blocks
    return Work(name, "train", "heads", amounts, memory=4.0 * (full + dim) * texts.tokens)


def write(
    shape: Shape,
    documents: Texts,
    *,
    padded: Texts | None = None,
    questions: int = 1,
    asked: float = QUESTION,
    answer: float = ANSWER,
    limit: int = LIMIT,
    blocks: int | None = None,
    rows: int = 96,
    name: str = "",
) -> Work:
    """Documents read once, each asked some questions, and answered token by token.

    Args:
        padded: the documents as long as the longest of their batches; by default as they are.
        questions: for each document; asked: tokens of one, with the frame of the chat.
        answer: mean tokens written; limit: the most, the steps that a batch of `rows` takes.
        blocks: that write, if fewer than read (a cut model).
    """
    blocks = shape.blocks if blocks is None else blocks
    prompts = documents.items * questions
    padded = padded or documents
    tokens, said = documents.tokens + prompts * asked, prompts * answer
    passed = padded.tokens + prompts * asked
    before = documents.tokens / documents.items
    # what is asked and said looks back at all that stands before it
    seen = shape.blocks * asked * (before + asked / 2)
    seen += blocks * answer * (before + asked + answer / 2)
    amounts = {
        "start": 1.0,
        "steps": math.ceil(prompts / rows) * limit,
        "flops": forward(shape.blocks * shape.block, passed)
        + forward(blocks * shape.block + shape.embed, said),
        "attention": attention(shape, padded.squares) + 4.0 * shape.dim * prompts * seen,
    }
    amounts["dispatches"] = amounts["steps"] * blocks + shape.blocks * math.ceil(tokens / 2048)
    held = min(rows, prompts) * (before + asked + limit) * shape.blocks * 2 * shape.keys * 4.0
    return Work(
        name or f"{shape.name} writes",
        "write",
        shape.name,
        amounts,
        disk=tokens * shape.blocks * 2 * shape.keys * 2.0,
        memory=4.0 * shape.weights + held,
    )


def tune(
    shape: Shape,
    texts: Texts,
    *,
    targets: float,
    epochs: int = 1,
    budget: int = 4096,
    name: str = "",
) -> Work:
    """All weights of a causal model trained: 6 operations for each weight and token.

    Args:
        texts: prompts with their answers.
        targets: tokens to be predicted, over all texts: the head reads no others.
        budget: tokens of one step.
    """
    once = forward(shape.blocks * shape.block, texts.tokens) + forward(shape.embed, targets)
    steps = epochs * math.ceil(texts.tokens / budget)
    amounts = {
        "steps": float(steps),
        "flops": 3 * epochs * once,
        "attention": 3 * epochs * attention(shape, texts.squares),
        "dispatches": 3.0 * steps * shape.blocks,
    }
    name = name or f"{shape.name} trains"
    # weights, gradients and AdamW's two means, in single precision
    return Work(name, "tune", shape.name, amounts, memory=16.0 * shape.weights)


def clauses(
    count: float = 10_000_000, *, strong: Shape = MINILM, taught: float = 10_000, students: int = 5
) -> list[Work]:
    """Clauses labelled by a weak model and then by a strong student taught some of those labels."""
    pool = CLAUSES_OF[strong.name]
    learned = pool.scaled(taught)
    return [
        read(STATIC, CLAUSES.scaled(count), pooled=True, name="static labels all"),
        read(strong, learned, name=f"{strong.name} reads what it learns from"),
        train(learned, students=students, full=strong.dim),
        read(strong, pool.scaled(count), name=f"{strong.name} labels all"),
    ]


def papers(count: float = 100_000, *, taught: float | None = None, epochs: int = 2) -> list[Work]:
    """Papers summarized for three questions by a cut smollm2; all of smollm2 learns from that.

    Args:
        taught: how many of them the student learns from; by default all.
        epochs: its passes over them.
    """
    answers = 3 * (count if taught is None else taught)
    length = QUESTION + ANSWER
    mean, square = PAPERS.tokens / PAPERS.items, PAPERS.squares / PAPERS.items
    longer = square + 2 * length * mean + length**2  # the mean of (document + length)²
    pairs = Texts(answers, answers * (mean + length), answers * longer)
    return [
        write(SMOLLM2, PAPERS.scaled(count), questions=3, blocks=22, name="weak writes all"),
        tune(SMOLLM2, pairs, targets=answers * ANSWER, epochs=epochs, name="student learns"),
    ]
