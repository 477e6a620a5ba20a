"""What a weak model thinks of a document, and which documents are kept for it.

It reads and trains no model: `filter_protocol` gives it likelihoods and embeddings. A new score is
one function registered with `@score("name", keep=...)`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_lab.errors import W2SError
from w2s_lab.registry import Registry

KEEPS = ("low", "high", "middle")
FORMS = ("perplexity", "loss")
ORDER = 2  # of the n-gram model: a few thousand words know pairs, hardly triples
NEIGHBOURS = 5  # looked-at passages that vote on a new one
DISTIL = 0.3  # weight of the weak model's own predictions in the loss; the labels keep 0.7


def perplexity(nll: ArrayLike, tokens: ArrayLike) -> np.ndarray:
    """exp of the mean loss per token: how many next tokens a model wavers between, on average.

    Args:
        nll: negative log-likelihood of each text, natural log, summed over its tokens, (items,).
        tokens: how many tokens that is the sum over, (items,).

    Returns:
        float array (items,); nan for a text without tokens.
    """
    nll, tokens = np.asarray(nll, float), np.asarray(tokens, float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.exp(np.where(tokens > 0, nll / tokens, np.nan))


def instruction_following_difficulty(
    conditional_nll: ArrayLike, unconditional_nll: ArrayLike, *, form: str = "perplexity"
) -> Any:
    """How little an instruction helps a model to predict the answer: near 0 a lot, 1 not at all.

    Above 1 the instruction makes the answer less likely: the two hardly belong together.

    Args:
        conditional_nll: mean loss per token of each answer after its instruction, in nats.
        unconditional_nll: the same of the answer alone. Scalars give a float, arrays broadcast.
        form: "perplexity", the ratio of the perplexities (Li et al. 2024, "Superfiltering",
            section 2), or "loss", the ratio of the losses (Li et al. 2023, "From quantity to
            quality", section 2.3). They rank differently.

    Returns:
        nan where a loss is nan or, for "loss", the answer alone has no loss to divide by.

    Raises:
        W2SError: another form, or a loss below 0.
    """
    if form not in FORMS:
        raise W2SError(f"no form {form!r}", where="form", mend=f"choose one of: {', '.join(FORMS)}")
    given, alone = np.asarray(conditional_nll, float), np.asarray(unconditional_nll, float)
    if (given < 0).any() or (alone < 0).any():
        what = "a loss below 0"
        raise W2SError(what, where="difficulty", mend="give negative log-likelihoods per token")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.exp(given - alone) if form == "perplexity" else given / alone
        ratio = np.where(np.isfinite(ratio), ratio, np.nan)
    return ratio if ratio.ndim else float(ratio)


def ranking(scores: ArrayLike, *, keep: str, seed: int = 0) -> np.ndarray:
    """Indices of the items, the first to be kept first; an item whose score is nan is left out.

    Args:
        scores: (items,).
        keep: "low" or "high" scores first; "middle": those nearest to the median, by rank.
        seed: of the order among equal scores.

    Raises:
        W2SError: scores of another shape, none that is a number, an unknown `keep`.
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 1 or not scores.size:
        raise W2SError(f"scores of shape {scores.shape}", where="select", mend="pass (items,)")
    if keep not in KEEPS:
        raise W2SError(f"keep {keep!r}", where="select", mend=f"choose one of: {', '.join(KEEPS)}")
    known = np.flatnonzero(~np.isnan(scores))
    if not len(known):
        raise W2SError("every score is nan", where="select", mend="score the items first")
    known = np.random.default_rng(seed).permutation(known)
    order = known[np.argsort(scores[known], kind="stable")]
    if keep == "high":  # a stable sort of the negated scores: equal ones stay shuffled
        order = known[np.argsort(-scores[known], kind="stable")]
    if keep == "middle":
        from_median = np.abs(np.arange(len(order)) - (len(order) - 1) / 2)
        order = order[np.argsort(from_median, kind="stable")]
    return order


def select(scores: ArrayLike, *, fraction: float, keep: str, seed: int = 0) -> np.ndarray:
    """Indices of the share of items to be kept, rising.

    `fraction` counts all items. One whose score is nan is never kept, so fewer may be left.

    Args:
        scores: (items,). fraction: in (0, 1]. keep, seed: as in `ranking`.

    Raises:
        W2SError: as `ranking`; a fraction out of range, or so small that nothing is kept.
    """
    count = round(_checked(fraction) * np.size(scores))
    if not count:
        what = f"a fraction of {fraction:g} keeps none of {np.size(scores)} items"
        raise W2SError(what, where="select", mend="choose a larger one")
    return np.sort(ranking(scores, keep=keep, seed=seed)[:count])


def select_tokens(
    scores: ArrayLike, lengths: ArrayLike, *, budget: float, keep: str, seed: int = 0
) -> np.ndarray:
    """Indices of the items to be kept, in the order of preference, until the tokens are spent.

    Documents differ in length, so equal numbers of them would not be equal amounts of text. The
    first document that does not fit ends it: the next smaller one would make short texts win.

    Args:
        scores: (items,). lengths: tokens of each item, (items,). budget: tokens to spend.
        keep, seed: as in `ranking`.

    Raises:
        W2SError: as `ranking`; lengths of another shape, or a budget that buys nothing.
    """
    lengths = np.asarray(lengths)
    if lengths.shape != np.shape(scores):
        what = f"{lengths.shape} lengths for scores of shape {np.shape(scores)}"
        raise W2SError(what, where="select", mend="give one length for each score")
    order = ranking(scores, keep=keep, seed=seed)
    kept = order[np.cumsum(lengths[order]) <= budget]
    if not len(kept):
        what = f"a budget of {budget:g} tokens does not buy the first document"
        raise W2SError(what, where="select", mend="choose a larger one")
    return kept


def _checked(fraction: float) -> float:
    if not 0 < fraction <= 1:
        mend = "choose one above 0 and up to 1"
        raise W2SError(f"a fraction of {fraction:g}", where="select", mend=mend)
    return fraction


# --- scores ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Store:
    """Documents to choose from, as weak models see them; only `looked_at` has known truth.

    Attributes:
        texts: the documents, or the answers where they answer prompts, length `items`.
        nll: the weak model's mean loss per token on each text (after its prompt), (items,).
        nll_alone: the same without the prompt; None where there are no prompts.
        embeddings: one vector per text by a small frozen encoder, (items, dim).
        looked_at: texts of passages that somebody has judged; `clean`: whether each was found to
            be clean, bool (judged,); `judged_embeddings`: (judged, dim).
    """

    texts: Sequence[str]
    nll: np.ndarray
    nll_alone: np.ndarray | None
    embeddings: np.ndarray
    looked_at: Sequence[str]
    clean: np.ndarray
    judged_embeddings: np.ndarray


@dataclass(frozen=True)
class Score:
    """One way of choosing: a number for each document, and which numbers are kept.

    Attributes:
        judge: from a `Store` to (items,).
        keep: "low", "high" or "middle".
        by: who judges, in words; empty for the weak language model.
        needs: "prompts" for instruction pairs only; "judged": needs passages of known truth.
        distil: weight of the weak model's predictions in the loss of the strong one.
    """

    name: str
    judge: Callable[[Store], np.ndarray]
    keep: str
    by: str = ""
    needs: str = ""
    distil: float = 0.0

    def __post_init__(self):
        if self.keep not in KEEPS:
            mend = f"choose one of: {', '.join(KEEPS)}"
            raise W2SError(f"keep {self.keep!r}", where=self.name, mend=mend)


SCORES = Registry("selection score")


def score(name: str, *, keep: str, by: str = "", needs: str = "", distil: float = 0.0) -> Callable:
    """Registers a function from a `Store` to (items,) as a way of choosing."""

    def add(judge):
        SCORES[name] = Score(name, judge, keep, by, needs, distil)
        return judge

    return add


@score("likely", keep="low")
def likely(store: Store) -> np.ndarray:
    """The weak model's loss per token: the documents that surprise it least."""
    return store.nll


@score("middle", keep="middle")
def middle(store: Store) -> np.ndarray:
    """The weak model's loss per token: neither what it knows by heart nor what baffles it."""
    return store.nll


@score("unlikely", keep="high")
def unlikely(store: Store) -> np.ndarray:
    """The weak model's loss per token: the documents that surprise it most."""
    return store.nll


@score("distilled", keep="middle", distil=DISTIL)
def distilled(store: Store) -> np.ndarray:
    """The middle band again; in the loss the weak model's own predictions have a share."""
    return store.nll


@score("n-gram", keep="low", by="pairs of words", needs="judged")
def ngram(store: Store) -> np.ndarray:
    """Cross-entropy per word under pairs of words counted in the clean passages, in bits.

    Moore and Lewis 2010, section 2, without a second model of the store.
    """
    from nltk.lm import Vocabulary, WittenBellInterpolated
    from nltk.lm.preprocessing import pad_both_ends, padded_everygram_pipeline
    from nltk.util import ngrams

    clean = [_words(text) for text, good in zip(store.looked_at, store.clean, strict=True) if good]
    grams, words = padded_everygram_pipeline(ORDER, clean)
    # a word seen once counts as unknown, so that unknown words have a probability
    model = WittenBellInterpolated(ORDER, vocabulary=Vocabulary(words, unk_cutoff=2))
    model.fit(grams)
    padded = [list(pad_both_ends(_words(text), n=ORDER)) for text in store.texts]
    # which the words that are unknown here have to share, or gibberish would be likely
    strange = len({word for words in padded for word in words if word not in model.vocab})
    return np.array(
        [
            model.entropy(list(ngrams(words, ORDER)))
            + np.mean([word not in model.vocab for word in words]) * np.log2(max(1, strange))
            for words in padded
        ]
    )


@score("classifier", keep="high", by="classifier\non embeddings", needs="judged")
def classifier(store: Store) -> np.ndarray:
    """How clean a logistic regression on the embeddings finds it, taught by the judged passages.

    As for GPT-3 (Brown et al. 2020, appendix A) and FineWeb-Edu (Penedo et al. 2024, section 4).
    """
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000)
    found.fit(store.judged_embeddings, store.clean)
    return found.predict_proba(store.embeddings)[:, 1]


@score("neighbours", keep="high", by="nearest judged\npassages", needs="judged")
def neighbours(store: Store) -> np.ndarray:
    """Share of clean ones among the judged passages that are nearest, by cosine similarity."""
    near = _unit(store.embeddings) @ _unit(store.judged_embeddings).T
    nearest = np.argsort(-near, axis=1, kind="stable")[:, :NEIGHBOURS]
    weight = np.take_along_axis(near, nearest, 1).clip(1e-6)
    return (weight * store.clean[nearest]).sum(1) / weight.sum(1)


@score("unique", keep="low", by="MinHash")
def unique(store: Store) -> np.ndarray:
    """0 for a document unlike all before it, 1 for a near-duplicate of one; else at random."""
    from w2s_lab.data.splits import first_of_near_duplicates

    copies = np.ones(len(store.texts))
    copies[first_of_near_duplicates(store.texts)] = 0
    return copies


@score("curated", keep="high", by="classifier and\nde-duplication", needs="judged")
def curated(store: Store) -> np.ndarray:
    """The classifier's opinion of what is no near-duplicate."""
    return np.where(unique(store) == 0, classifier(store), np.nan)


@score("difficulty", keep="high", needs="prompts")
def difficulty(store: Store) -> np.ndarray:
    """Instruction-following difficulty, by perplexities; answers that it makes harder are out."""
    return _helped(instruction_following_difficulty(store.nll, _alone(store)))


@score("difficulty by loss", keep="high", needs="prompts")
def difficulty_by_loss(store: Store) -> np.ndarray:
    """Instruction-following difficulty, by losses; answers that it makes harder are out."""
    return _helped(instruction_following_difficulty(store.nll, _alone(store), form="loss"))


@score("easy", keep="low", needs="prompts")
def easy(store: Store) -> np.ndarray:
    """Instruction-following difficulty the other way round: where the instruction helps most."""
    return instruction_following_difficulty(store.nll, _alone(store))


def _alone(store: Store) -> np.ndarray:
    if store.nll_alone is None:
        what = "these documents answer no instruction"
        raise W2SError(what, where="difficulty", mend="choose another score, or run it on `pairs`")
    return store.nll_alone


def _helped(difficulty: np.ndarray) -> np.ndarray:
    """Nan above 1: hardly an answer to its instruction (Li et al. 2023, section 2.3)."""
    return np.where(difficulty <= 1, difficulty, np.nan)


def _words(text: str) -> list[str]:
    return text.lower().split()


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
