"""Scores of written texts, one for each item, and signs of bad writing and of imitation.

Pure functions of texts: nothing is written or trained here, and none of them knows what is true.
ROUGE-L is Lin 2004, chrF Popović 2015, copied fragments are Grusky et al. 2018.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from w2s_lab.errors import W2SError
from w2s_lab.features import token_states
from w2s_lab.models import trunk
from w2s_lab.registry import Registry

ENCODER = "minilm:6"  # its last block, which MiniLM was trained to be compared by
# Words that carry grammar and no content. Larger lists also drop content words such as "find",
# "name" and "show", which are what an explanation of a function consists of
FUNCTION = """
a about above after again against all along also although am among an and another any are around
as at be because been before behind being below between beyond both but by can could did do does
doing done down during each either etc ever every few for from had has have having he hence her
here him his how however i if in into is it its just least less let many may me might more most
much must my neither never no nor not of off on once only onto or other our out over own per same
shall she should so some such than that the their them then there therefore these they this those
though through throughout thus to too toward towards under until up upon us very via was we were
what when where whether which while who whom whose why will with within without would yet you your
"""
FUNCTION_WORDS = frozenset(FUNCTION.split())
ORDINARY = FUNCTION_WORDS | {"true", "false", "none"}  # "Return True" names nothing in the source
TOKEN = re.compile(r"\w+(?:\.\w+)*")  # a word, an identifier or a dotted name
NUMBER = re.compile(r"(?<!\w)(?:\d+(?:[,_]\d{3}(?!\d))*(?:\.\d+)*|\.\d+)(?:\s?%)?")
# Where an identifier falls into parts: get_size, os.path, getSize, HTTPServer, utf8
SEAM = re.compile(r"[_.]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])")

SCORES = Registry("text score")


@SCORES.register("rouge_l")
def rouge_l(written: Sequence[str], gold: Sequence[str]) -> np.ndarray:
    """ROUGE-L of each text, (items,): F1 of the longest common subsequence of words, 0 to 1.

    Words are stemmed and lower-cased runs of a-z and 0-9: other letters are not seen at all, so a
    text without any of those scores 0, as does an empty one. Time and memory grow with the product
    of both lengths; 1,000 words against 1,000 take about half a second.

    Raises:
        W2SError: lists of different lengths, or something that is no flat list of texts.

    Source: Lin 2004, section 3, by Google's `rouge-score` with its stemmer.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    pairs = zip(*_texts(written, gold), strict=True)
    return np.array([scorer.score(right, text)["rougeL"].fmeasure for text, right in pairs], float)


@SCORES.register("chrf")
def chrf(written: Sequence[str], gold: Sequence[str]) -> np.ndarray:
    """chrF2 of each text, (items,): overlap of 1 to 6 characters in a row, 0 to 1.

    sacrebleu's number divided by 100. Recall counts twice as much as precision, spaces do not
    count, case and every script do. An empty text scores 0. Errors as in `rouge_l`.

    Source: Popović 2015, by `sacrebleu` (nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no).
    """
    from sacrebleu.metrics.chrf import CHRF

    pairs = zip(*_texts(written, gold), strict=True)
    scorer = CHRF()
    return np.array([scorer.sentence_score(text, [right]).score / 100 for text, right in pairs])


@SCORES.register("similarity")
def similarity(written: Sequence[str], gold: Sequence[str]) -> np.ndarray:
    """Cosine of the mean MiniLM states of each text and its gold, (items,), 0 to 1.

    A cosine below 0 counts as 0. So does an empty text, though MiniLM has states for it too: who
    writes nothing earns nothing, as in the other scores. Only the first 384 tokens are read.
    Errors as in `rouge_l`, and those of a model that cannot be fetched.

    Source: Reimers and Gurevych 2019 (the encoder: all-MiniLM-L6-v2).
    """
    pairs = np.stack(_texts(written, gold))  # (2, items)
    full = [i for i, pair in enumerate(pairs.T) if all(map(str.strip, pair))]
    scores = np.zeros(pairs.shape[1])
    if full:
        states = token_states(trunk(ENCODER), pairs[:, full].ravel().tolist(), pool=True)
        rows = states.flat.astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        scores[full] = np.clip((rows[: len(full)] * rows[len(full) :]).sum(axis=1), 0, 1)
    return scores


def by_seed(function: Callable, written: Any, *others: Any) -> np.ndarray:
    """`function(written, *others)` for texts of shape (seeds, items), in that shape.

    Args:
        function: takes flat lists and gives an array, one value for each item.
        others: each (seeds, items), or (items,) where the seeds share it.

    Raises:
        W2SError: shapes that disagree.
    """
    shaped = _texts(written, *others, dims=(1, 2))
    return np.asarray(function(*(texts.ravel() for texts in shaped))).reshape(shaped[0].shape)


# --- bad writing ----------------------------------------------------------------------------------


def repetition(written: Sequence[str]) -> np.ndarray:
    """Share of each text's three-word sequences that occurred in it before, (items,), 0 to 1.

    In a text of up to three words single words count instead, so that "no no no" is two thirds.
    0 for an empty text. It does not see a character repeated inside a word.

    Source: Welleck et al. 2020 (seq-rep-n, there with n = 4, for longer texts).
    """
    return np.array([_repeated(_words(text)) for text in _texts(written)[0]])


def _repeated(words: list[str]) -> float:
    n = 3 if len(words) > 3 else 1
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def copying(written: Sequence[str], source: Sequence[str], *, shortest: int = 1) -> np.ndarray:
    """Share of each text's words in fragments copied from its source, (items,), 0 to 1.

    Extractive fragment coverage. A fragment may be one word long, so this is the share of words
    that occur in the source at all, which a good summary has too: look at `density` beside it, or
    ask for fragments of at least `shortest` words. 0 for an empty text. Case and punctuation do
    not count.

    Raises:
        W2SError: lists of different lengths, or something that is no flat list of texts.

    Source: Grusky et al. 2018 (Newsroom), section 4.
    """
    lengths = _copied(written, source)
    return np.array([sum(n for n in found if n >= shortest) / size for found, size in lengths])


def density(written: Sequence[str], source: Sequence[str]) -> np.ndarray:
    """Length of the copied fragment that a word of each text lies in, on average, (items,).

    Extractive fragment density, in words: 0 where nothing is copied or written, the length of the
    text where all of it is one fragment. Source and errors as in `copying`.
    """
    return np.array([sum(n * n for n in found) / size for found, size in _copied(written, source)])


def _copied(written: Sequence[str], source: Sequence[str]) -> list[tuple[list[int], int]]:
    """For each text the lengths of its fragments and its own, at least 1, to divide by."""
    pairs = zip(*_texts(written, source), strict=True)
    split = [(_words(text), _words(read)) for text, read in pairs]
    return [(_fragments(text, read), max(len(text), 1)) for text, read in split]


def _fragments(words: list[str], source: list[str]) -> list[int]:
    """Lengths of the longest copied runs, taken greedily from the first word on."""
    places = defaultdict(list)
    for place, word in enumerate(source):
        places[word].append(place)
    found, start = [], 0
    while start < len(words):
        longest = max((_run(words, start, source, p) for p in places[words[start]]), default=0)
        found += [longest] if longest else []
        start += max(longest, 1)
    return found


def _run(words: list[str], start: int, source: list[str], place: int) -> int:
    """For how many words the two go on alike."""
    size = 0
    ahead = min(len(words) - start, len(source) - place)
    while size < ahead and words[start + size] == source[place + size]:
        size += 1
    return size


def unsupported_names(written: Sequence[str], source: Sequence[str]) -> list[tuple[str, ...]]:
    """The names in each text that its source does not hold, each once, in order.

    A name is, wherever it stands, an acronym (BLEU), a word with a capital or a digit inside
    (CamelCase, word2vec), an identifier (snake_case) or a dotted name (os.path); elsewhere than at
    the start of a sentence also a capitalised word. Function words, True, False and None are none.
    The source holds a name if it holds that word, or each of its parts, as a word or as a part of
    an identifier, in any case and singular or plural: `get_terminal_size` supports "Terminals".

    It does not see a false statement in common words, a name that opens a sentence, or known
    parts put together in a new way. Errors as in `copying`.
    """
    pairs = zip(*_texts(written, source), strict=True)
    return [tuple(_unknown(_names(text), _known(read))) for text, read in pairs]


def unsupported_numbers(written: Sequence[str], source: Sequence[str]) -> list[tuple[str, ...]]:
    """The numbers in each text that its source does not hold, each once, in order.

    Numbers are compared by value: 1,000 is 1000 and 0.50 is 0.5. The sign, a percent sign and a
    unit do not count, number words are not read, and 0.85 does not support 85 %. A digit inside a
    word (word2vec) belongs to a name. Errors as in `copying`.
    """
    pairs = zip(*_texts(written, source), strict=True)
    numbers = [(_numbers(text), _numbers(read)) for text, read in pairs]
    return [tuple(ours[value] for value in ours if value not in held) for ours, held in numbers]


def _numbers(text: str) -> dict[Decimal | str, str]:
    """Value → how it was written first; a version such as 3.11.2 is its own value."""
    found: dict[Decimal | str, str] = {}
    for match in NUMBER.finditer(text):
        plain = re.sub(r"[,_%\s]", "", match[0])
        found.setdefault(plain if plain.count(".") > 1 else Decimal(plain), match[0])
    return found


def _names(text: str) -> list[str]:
    found: dict[str, str] = {}
    end = 0
    for match in TOKEN.finditer(text):
        opens = not end or re.search(r"[.!?:;…\n]", text[end : match.start()])
        end = match.end()
        if _is_name(match[0], bool(opens)):
            found.setdefault(match[0].lower(), match[0])
    return list(found.values())


def _is_name(token: str, opens: bool) -> bool:
    """Whether a token is a name, where `opens` says that it opens a sentence."""
    starts = re.match(r"_*[^\W\d_]", token)  # with a letter; "2nd" is a number
    one_letter = max(map(len, token.split("."))) == 1  # x, e.g., i.e.
    if not starts or one_letter or token.lower() in ORDINARY:
        return False
    inside = re.search(r"\w[A-Z]|[._\d]", token)  # BLEU, getSize, os.path, get_size, word2vec
    return bool(inside) or (token[0].isupper() and not opens)


def _unknown(names: list[str], known: set[str]) -> list[str]:
    return [
        name
        for name in names
        if _singular(name) not in known
        and not all(_singular(part) in known for part in SEAM.split(name) if part)
    ]


def _known(source: str) -> set[str]:
    """Every word of a source and every part of its identifiers."""
    tokens = TOKEN.findall(source)
    parts = [part for token in tokens for part in (token, *SEAM.split(token))]
    return {_singular(part) for part in parts}


def _singular(word: str) -> str:
    word = word.lower()
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


@dataclass(frozen=True)
class Signs:
    """Means over a set of texts, to be read beside those of the gold, which shows each sign too.

    Attributes:
        repetition, copying, density: as the functions of these names.
        unsupported_names, unsupported_numbers: share of the texts with at least one.
        empty: share of the texts without a word.
        words: words in a text.
    """

    repetition: float
    copying: float
    density: float
    unsupported_names: float
    unsupported_numbers: float
    empty: float
    words: float


def signs(written: Any, source: Any) -> Signs:
    """The signs of all texts, (items,) or (seeds, items); `source` of either shape.

    Raises:
        W2SError: no texts, or shapes that disagree.
    """
    texts, read = (array.ravel().tolist() for array in _texts(written, source, dims=(1, 2)))
    lengths = [len(_words(text)) for text in texts]
    return Signs(
        repetition=float(repetition(texts).mean()),
        copying=float(copying(texts, read).mean()),
        density=float(density(texts, read).mean()),
        unsupported_names=float(np.mean([bool(n) for n in unsupported_names(texts, read)])),
        unsupported_numbers=float(np.mean([bool(n) for n in unsupported_numbers(texts, read)])),
        empty=float(np.mean([not length for length in lengths])),
        words=float(np.mean(lengths)),
    )


# --- imitation ------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Reproduced:
    """How many of a weak model's errors a student repeats; arrays are shaped like the student.

    Attributes:
        errors: words of the weak text that neither source nor gold has.
        repeated: how many of them the student's text for the same input has.
        expected: how many a text that the same student wrote for another input has, on average.
    """

    errors: np.ndarray
    repeated: np.ndarray
    expected: np.ndarray

    @property
    def share(self) -> float:
        """Share of all errors that are repeated; nan where there is no error."""
        return _ratio(self.repeated, self.errors)

    @property
    def chance(self) -> float:
        """Share to be expected of this student's words for any input; nan if all inputs agree."""
        return _ratio(self.expected, self.errors)

    def __repr__(self) -> str:
        told = f"{self.repeated.sum():,} of {self.errors.sum():,} errors repeated"
        return f"{told} ({self.share:.2f}; by chance {self.chance:.2f})"


def reproduced(student: Any, weak: Any, source: Any, gold: Any) -> Reproduced:
    """Which errors of the weak model a student repeats for the same input, and how many by chance.

    An error is a content word of the weak text (stemmed, no function word, no single letter) that
    neither its source nor its gold has; it counts once a text. Words of other letters than a-z are
    not seen, nor is a wrong statement in words of the source. A fair synonym counts as an error
    too, and both models may have it from the subject alone: a strong model that never saw the weak
    texts is the student to compare with.

    Args:
        student: texts, (items,) or (seeds, items).
        weak, source, gold: of that shape, or (items,) where the seeds share it. Items of one
            source are not other inputs to each other.

    Raises:
        W2SError: no texts, or shapes that disagree.
    """
    from rouge_score.tokenizers import DefaultTokenizer

    words = DefaultTokenizer(use_stemmer=True).tokenize
    dull = set(words(" ".join(FUNCTION_WORDS)))
    shaped = _texts(student, weak, source, gold, dims=(1, 2))
    content = {
        text: {word for word in words(text) if word not in dull and (word[1:] or word.isdigit())}
        for text in {text for texts in shaped for text in texts.flat}
    }
    counts = []
    for said, taught, read, right in zip(*map(np.atleast_2d, shaped), strict=True):
        holders: dict[str, set[int]] = defaultdict(set)  # word → items where the student says it
        items: dict[str, set[int]] = defaultdict(set)  # source → items
        for i in range(len(said)):
            items[read[i]].add(i)
            for word in content[said[i]]:
                holders[word].add(i)
        for i in range(len(said)):
            wrong = content[taught[i]] - content[read[i]] - content[right[i]]
            here = items[read[i]]
            elsewhere = sum(len(holders[word] - here) for word in wrong)
            others = len(said) - len(here)
            chance = elsewhere / others if others else np.nan
            counts.append((len(wrong), len(wrong & content[said[i]]), chance))
    columns = (np.reshape(column, shaped[0].shape) for column in zip(*counts, strict=True))
    return Reproduced(*columns)


def _ratio(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / whole.sum()) if whole.sum() else np.nan


# --- what comes in --------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _texts(written: Any, *others: Any, dims: tuple[int, ...] = (1,)) -> list[np.ndarray]:
    """Object arrays of texts in the shape of `written`, which has one of `dims` dimensions.

    Each of `others` has that shape or its last axis. W2SError otherwise, or where all is empty.
    """
    arrays = [np.asarray(texts, object) for texts in (written, *others)]
    shape = arrays[0].shape
    for texts in arrays:
        if len(shape) not in dims or texts.shape not in (shape, shape[-1:]) or not texts.size:
            what = f"texts of shape {texts.shape} beside {shape}"
            mend = "pass (items,), not empty; `by_seed` takes (seeds, items)"
            raise W2SError(what, mend=mend if dims == (1,) else "pass (items,) or (seeds, items)")
        for odd in (text for text in texts.flat if not isinstance(text, str)):
            raise W2SError(f"a {type(odd).__name__} among the texts", mend="pass texts only")
    return [np.broadcast_to(texts, shape) for texts in arrays]
