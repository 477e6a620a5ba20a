"""Passages of scientific papers among real and made dirt; every passage says which of them it is.

It does not filter. Papers and what their PDFs were parsed into: AclSum (Takeshita et al. 2024) and
S2ORC (Lo et al. 2020); dirt from elsewhere: licences (nexB/AboutCode) and Python's own library.
"""

import hashlib
import html
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from w2s_lab.assets import ASSETS, atomic_folder, cache_dir, fetch
from w2s_lab.data import Task, code, indemnity, papers, splits, task

CLASSES = ("dirt", "clean")
WORDS = (32, 60)  # of a passage, about 80 tokens: what a laptop reads in minutes
FULL_WORDS = (40, 300)  # at full size
CHARACTERS = 7  # for each word; numbers and foreign words are many tokens, and would fill the store
# Clean passages that a filter may miss, by what makes them unusual; the first that fits counts
CLEAN = ("clean", "clean: medical", "clean: formulas", "clean: rare words")
NATURAL = ("table", "references", "equations", "licence", "other language", "code")
COPY = "near-duplicate"
CORRUPTED = ("shuffled", "scanning errors", "truncated", "repeated")
DIRT = (*NATURAL, COPY, *CORRUPTED)
SHARES = {"supervise": 0.30, "transfer": 0.35, "validation": 0.05, "test": 0.30}
# how many of each kind; test and validation are clean, for they say what the student should learn
LAB = {
    "supervise": {**dict.fromkeys(CLEAN, 12), "clean": 84, **dict.fromkeys(DIRT, 4)},
    "transfer": {**dict.fromkeys(CLEAN, 14), "clean": 54, **dict.fromkeys(DIRT, 18)},
    "validation": {**dict.fromkeys(CLEAN, 1), "clean": 7},
    "test": {**dict.fromkeys(CLEAN, 10), "clean": 40},
}
SIZES = {"smoke": 0.17, "lab": 1, "full": 10}  # times the numbers above, at least one of a kind
SEED = 0

FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "the of and to in a is that we for as are with be by this on it from which an can these or"
        " our have has not was such at their used each between both also but more other than they",
    )
)
SENTENCE = 0.27  # share of function words from which a passage is prose; tables have a tenth
MEDICAL = re.compile(
    r"\b(?:clinic|patient|medic|disease|biomed|protein|genes?\b|genom|drugs?\b|hospital|health|EHR|"
    r"ICD|diagnos|symptom|cancer|surg|pharma|physician|radiolog|pathol|therap|psych|depress)\w*"
)
FORMULA = re.compile(r"[=∈∑∏∀∃≤≥→×⊕∞∂]|[α-ωΑ-Ωℓ]|\b[a-zA-Z] [ijkmnt]\b|\b[xyzwhk] \d\b|\bR d\b")
FORMULAS = 4  # signs of a formula in one passage
RARE = 0.11  # share of words that at most two of the papers use: about the top tenth of passages
# What scanners confuse; Nguyen et al. 2021 ("Survey of post-OCR processing"), section 2
CONFUSED = (
    *(("rn", "m"), ("m", "rn"), ("l", "1"), ("o", "0"), ("e", "c"), ("h", "b"), ("s", "5")),
    *(("cl", "d"), ("i", "l"), ("u", "ii"), ("t", "f"), ("a", "o"), (" ", ""), ("n", "ri")),
)
CONFUSIONS = 0.12  # of a text's characters, where a confusion fits


@task("corpus")
def load(size: str) -> Task:
    """Passages to train on, two thirds of them dirt; gold says which, kinds say of what kind.

    Splits are made by paper, licence owner and module. `supervise` holds passages that somebody has
    looked at, clean and dirty; `transfer` is the store to choose from; `validation` and `test` are
    clean prose of other papers. Near-duplicates are in the first two on purpose.

    Args:
        size: "lab" has 294 passages to choose from; "smoke" a sixth of that; "full" ten times as
            many, of up to 300 words.
    """
    words = FULL_WORDS if size == "full" else WORDS
    rows, stages = _pool(words)
    kinds = np.array([row["kind"] for row in rows])
    groups = np.array([row["group"] for row in rows])
    dealt = splits.deal_groups(groups, kinds, SHARES, seed=SEED)
    made: list[dict] = []
    owner: list[str] = []
    for split, index in dealt.items():
        wanted = {k: max(1, round(n * SIZES[size])) for k, n in LAB[split].items()}
        rng = np.random.default_rng([SEED, len(owner)])
        found = list(_fill(rng, [rows[i] for i in rng.permutation(index)], wanted, words))
        made += _originals_first([found[i] for i in rng.permutation(len(found))])
        owner += [split] * len(found)
    kinds = np.array([row["kind"] for row in made])
    texts = tuple(row["text"] for row in made)
    dealt = {split: np.flatnonzero(np.array(owner) == split) for split in dealt}
    splits.check_no_leak(texts, np.array([row["group"] for row in made]), dealt)
    return Task(
        name="corpus",
        size=size,
        inputs=texts,
        gold=np.isin(kinds, CLEAN).astype(int),
        groups=np.array([row["group"] for row in made]),
        ids=np.array([row["id"] for row in made]),
        splits=dealt,
        classes=CLASSES,
        metric="log_likelihood",
        kinds=kinds,
        protocol="filter",
        provenance={
            "source": f"{ASSETS['aclsum'].pin}, {ASSETS['licensedcode'].pin}, standard library",
            "terms": f"{ASSETS['aclsum'].terms}; {ASSETS['licensedcode'].terms}; PSF-2.0",
            "words": words,
            "candidates": stages,
        },
    )


def _fill(rng, rows: list[dict], wanted: dict[str, int], words) -> Iterator[dict]:
    """So many rows of each kind; copies and corruptions are made of clean rows left over."""
    left = {kind: [row for row in rows if row["kind"] == kind] for kind in (*CLEAN, *NATURAL)}
    chosen = {kind: found[: wanted.get(kind, 0)] for kind, found in left.items()}
    for found in chosen.values():
        yield from found
    long = [row for kind in CLEAN for row in chosen[kind] if len(row["rest"].split()) >= 12]
    for row in long[: wanted.get(COPY, 0)]:
        yield {
            **row,
            "id": f"{row['id']}+",
            "kind": COPY,
            "text": shifted(row["text"], row["rest"]),
        }
    spare = iter(left["clean"][wanted["clean"] :])
    for kind in CORRUPTED:
        for row in islice(spare, wanted.get(kind, 0)):
            yield {**row, "kind": kind, "text": CORRUPT[kind](row["text"], rng)}


def _originals_first(rows: list[dict]) -> list[dict]:
    """The rows, in no order but that a copy comes after what it is a copy of."""
    place = {row["id"]: i for i, row in enumerate(rows)}
    rows = list(rows)
    for copy, i in place.items():
        j = place.get(copy.removesuffix("+"), i)
        if j > i:
            rows[i], rows[j] = rows[j], rows[i]
    return rows


def shifted(text: str, rest: str, words: int = 8) -> str:
    """The same passage cut out a few words later: what a crawler keeps of overlapping windows."""
    return " ".join([*text.split()[words:], *rest.split()[:words]])


def shuffle(text: str, rng: np.random.Generator) -> str:
    """The same words in another order."""
    return " ".join(rng.permutation(text.split()))


def scan(text: str, rng: np.random.Generator) -> str:
    """The text as a bad scanner reads it: letters confused, spaces lost."""
    said, at = [], 0
    while at < len(text):
        fits = [(a, b) for a, b in CONFUSED if text.startswith(a, at)]
        if fits and rng.random() < CONFUSIONS * 2:
            a, b = fits[rng.integers(len(fits))]
            said.append(b)
            at += len(a)
        else:
            said.append(text[at])
            at += 1
    return "".join(said)


def truncate(text: str, rng: np.random.Generator) -> str:
    """Lines as of a column cut in two: of each ten words five are left, the last one in part."""
    words = text.split()
    start = int(rng.integers(5))
    lines = [words[i : i + 10] for i in range(start, len(words), 10)]
    return "\n".join(" ".join(line[:5])[:-2] for line in lines)


def repeat(text: str, rng: np.random.Generator) -> str:
    """One run of words of the text, over and over, to the text's length."""
    words = text.split()
    run = words[(at := int(rng.integers(len(words) - 8))) : at + int(rng.integers(5, 9))]
    return " ".join((run * len(words))[: len(words)])


CORRUPT = {"shuffled": shuffle, "scanning errors": scan, "truncated": truncate, "repeated": repeat}


def _pool(words: tuple[int, int]) -> tuple[list[dict], dict[str, int]]:
    """Candidates {"id", "group", "kind", "text", "rest"}, no two alike; kept in the cache."""
    # the code that makes the pool is part of its name, so a changed rule is never a stale pool
    rooms = [Path(str(m.__file__)).read_bytes() for m in (code, indemnity, papers, splits)]
    named = [ASSETS["aclsum"].sha256, ASSETS["licensedcode"].sha256, sys.version]
    key = hashlib.sha256(b"|".join([Path(__file__).read_bytes(), *rooms]))
    key.update(repr((named, words)).encode())

    def fill(folder: Path) -> None:
        rows = [*_papers(fetch("aclsum"), words), *_licences(words), *_functions(words)]
        kept = splits.first_of_near_duplicates([row["text"] for row in rows])
        stages = {"candidates": len(rows), "without near-duplicates": len(kept)}
        content = {"rows": [rows[i] for i in kept], "stages": stages}
        (folder / "pool.json").write_text(json.dumps(content), encoding="utf-8")

    folder = atomic_folder(cache_dir() / "tasks" / f"corpus-{key.hexdigest()[:16]}", fill)
    found = json.loads((folder / "pool.json").read_text(encoding="utf-8"))
    return found["rows"], found["stages"]


def _row(id: str, group: str, kind: str, text: str, rest: str = "") -> dict:
    return {"id": id, "group": group, "kind": kind, "text": text, "rest": rest}


def _papers(folder: Path, words: tuple[int, int]) -> Iterator[dict]:
    """Prose of the papers, and the tables, references and formulas that their parser left."""
    files = sorted((folder / "paper_jsons").iterdir())
    parsed = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    bodies = {
        paper: [part["text"] for part in found["pdf_parse"]["body_text"]]
        for paper, found in parsed.items()
    }
    used = Counter(w for parts in bodies.values() for w in {w for p in parts for w in _terms(p)})
    for paper, found in parsed.items():
        for n, part in enumerate(bodies[paper]):
            text, rest = _whole_sentences(papers.tidy(part), words)
            if text and is_prose(text):
                yield _row(f"{paper}#{n}", paper, _trait(text, used), text, rest)
        tables = [
            " ".join(html.unescape(re.sub(r"<[^>]+>", " ", entry.get("content") or "")).split())
            for entry in found["pdf_parse"]["ref_entries"].values()
        ]
        references = [entry["raw_text"] for entry in found["pdf_parse"]["bib_entries"].values()]
        formulas = [part for part in bodies[paper] if _function_words(part) < 0.08]
        for kind, parts in (
            ("table", tables),
            ("references", [" ".join(references[i : i + 4]) for i in range(0, len(references), 4)]),
            ("equations", [" ".join(formulas)]),
        ):
            for n, part in enumerate(parts):
                if len(part.split()) >= words[0]:
                    yield _row(f"{paper}:{kind}#{n}", paper, kind, _cut(part, words))


def _cut(text: str, words: tuple[int, int]) -> str:
    room = words[1] * CHARACTERS
    whole = " ".join(text.split()[: words[1]])
    return whole if len(whole) <= room else whole[: room + 1].rpartition(" ")[0]


def is_prose(text: str) -> bool:
    """Whether a passage is of sentences: it begins as one and has their small words."""
    return bool(re.match(r"[A-Z][a-z]* ", text)) and _function_words(text) >= SENTENCE


def _function_words(text: str) -> float:
    words = text.lower().split()
    return sum(word.strip(",.;:()") in FUNCTION_WORDS for word in words) / max(1, len(words))


def _whole_sentences(text: str, words: tuple[int, int]) -> tuple[str, str]:
    """The first sentences of a paragraph that fit, and what is left; nothing if too short."""
    parts = re.split(r"(?<=[a-z)][.!?]) (?=[A-Z])", text)
    ends = np.cumsum([len(part.split()) for part in parts])
    fit = int(np.searchsorted(ends, words[1], side="right"))
    whole = " ".join(parts[:fit])
    enough = fit and ends[fit - 1] >= words[0] and whole.endswith((".", "!", "?"))
    return (whole, " ".join(parts[fit:])) if enough else ("", "")


def _terms(text: str) -> list[str]:
    return re.findall(r"[a-z]{3,}", text.lower())


def _trait(text: str, used: Counter) -> str:
    """Which of the `CLEAN` kinds a passage of prose is."""
    terms = _terms(text)
    if len(MEDICAL.findall(text)) >= 2:
        return "clean: medical"
    if len(FORMULA.findall(text)) >= FORMULAS:
        return "clean: formulas"
    rare = sum(used[term] <= 2 for term in terms) / len(terms)
    return "clean: rare words" if rare >= RARE else "clean"


def _licences(words: tuple[int, int]) -> Iterator[dict]:
    """Clauses in English, and passages of licences in other languages."""
    folder = fetch("licensedcode")
    for row in islice(indemnity.clauses(folder), 0, None, 8):  # many more than are needed
        if len(row["text"].split()) >= words[0]:
            text = _cut(row["text"], words)
            yield _row(row["id"], f"owner:{row['owner']}", "licence", text)
    for name, header, body in indemnity.agreements(folder):
        if header.get("language", "en") != "en":
            said = body.split()
            for n in range(0, len(said) - words[0], words[1]):
                text = _cut(" ".join(said[n:]), words)
                yield _row(f"{name}#{n}", f"owner:{name}", "other language", text)


def _functions(words: tuple[int, int]) -> Iterator[dict]:
    """Functions of Python's library, with their layout."""
    for row in code.functions():
        if words[0] / 2 <= len(row["code"].split()) <= words[1]:
            yield _row(row["id"], f"module:{row['group']}", "code", row["code"])
