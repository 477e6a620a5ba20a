"""Clauses of real licence agreements; gold: does the clause promise to indemnify?

It does not read contracts of other kinds: bring those as a file (`load_task("clauses.csv")`).
Texts: licensedcode-data (nexB/AboutCode, CC-BY-4.0). At full size: LEDGAR (Tuggener et al. 2020).
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from w2s_lab.assets import ASSETS, atomic_folder, cache_dir, fetch
from w2s_lab.data import Task, splits, task

CLASSES = ("no indemnity", "indemnity")
DESCRIPTIONS = (
    "A clause about warranty, liability, damages or other terms, without any indemnity.",
    "A clause in which a party agrees to indemnify and hold harmless another against claims.",
)
WORDS = (25, 220)  # shorter is a heading or a fragment, longer is several clauses run together
SHARES = {"supervise": 0.15, "transfer": 0.45, "validation": 0.10, "test": 0.30}
SPLIT_SEED = 0
LABELS = 12  # half of them promises; enough for a weak model of about 70 %

# What a paralegal would search for first. Clauses without two of these words are easy to dismiss,
# so they stay in the pool that the weak model labels, and out of the splits that are scored.
RISK = re.compile(
    r"\b(liabilit|claim|damage|loss|warrant|defend|harm|expens|attorney|infring)|indemni", re.I
)
MENTION = re.compile(r"indemni|\bharmless\b", re.I)
PROMISE = re.compile(
    r"\bindemnif(?:y|ies)\b"
    r"|\bindemnity (?:licensee|licensor|sun)\b"  # a misspelt verb in two agreements
    r"|\b(?:hold|save|keep)s?\b[^.;]{0,160}?\bharmless\b"
    r"|\b(?:is|are|be|and) (?:fully )?indemnified\b(?! (?:party|contributor))",
    re.I,
)
# What stands before the verb when it is named, denied or merely allowed instead of promised
NOT_A_PROMISE = re.compile(
    r"\b(?:not|no|nor|neither|never)\b(?:\W+\w+){0,5}\W*$"
    r"|\b(?:obligations?|duty|duties)(?: \w+){0,4} to (?:\w+\W+){0,5}$"
    r"|\bobligations? (?:\w+ ){0,8}(?:or|and) $"
    r"|\bobliged to $"
    r"|\bmay\b(?:\W+\w+){0,3}\W*$"
    r"|\b(?:fails?|failure|refuses?|offers?|entitled|elects?|chooses?)\W+to\W+(?:\w+\W+){0,4}$",
    re.I,
)


@task("indemnity")
def load(size: str, *, source: str | None = None) -> Task:
    """Clauses of licence agreements, split by the agreements' owners.

    Args:
        size: "lab" has the whole pool; "smoke" a tenth of it; "full" reads LEDGAR from the Hub.
        source: at full size, a local folder in LEDGAR's format instead of the Hub.
    """
    if size == "full":
        return _ledgar(source or "coastalcph/lex_glue")
    rows = _pool()
    if size == "smoke":  # all clauses of some of the owners who indemnify
        owners = sorted({row["owner"] for row in rows if kind(row["text"]) == "promise"})
        rows = [row for row in rows if row["owner"] in owners[::3]]
    texts, groups, ids = (
        np.array([row[key] for row in rows], object) for key in ("text", "owner", "id")
    )
    kinds = np.array([kind(text) for text in texts])
    scored = np.flatnonzero(kinds != "other")
    gold = (kinds == "promise").astype(int)
    dealt = splits.deal_groups(groups[scored], gold[scored], SHARES, seed=SPLIT_SEED)
    made = Task(
        name="indemnity",
        size=size,
        inputs=tuple(texts),
        gold=gold,
        groups=groups,
        ids=ids,
        splits={name: scored[index] for name, index in dealt.items()},
        classes=CLASSES,
        labels=LABELS,
        descriptions=DESCRIPTIONS,
        kinds=kinds,
        provenance={
            "source": ASSETS["licensedcode"].pin,
            "terms": ASSETS["licensedcode"].terms,
            "clauses": len(texts),
            "scored": len(scored),
            "gold": "rule: a verb of indemnity that is neither denied, allowed nor only named",
        },
    )
    splits.check_no_leak([texts[i] for i in scored], groups[scored], dealt)
    return made


def kind(text: str) -> str:
    """What a clause is: "promise", "mention", "risk" (two risk words, no indemnity) or "other"."""
    if MENTION.search(text):
        return "promise" if promises(text) else "mention"
    return "risk" if len(RISK.findall(text)) >= 2 else "other"


def promises(text: str) -> bool:
    """Whether some party promises to indemnify: the gold rule, measured in docs/data/indemnity."""
    for verb in PROMISE.finditer(text):
        before = text[max(0, verb.start() - 110) : verb.start()]
        sentence = re.split(r"[.;:](?=\s)", before)[-1]
        if not NOT_A_PROMISE.search(sentence):
            return True
    return False


def _pool() -> list[dict]:
    """All clauses once: {"id", "owner", "text"}; near-duplicates removed, kept in the cache."""
    # the code that makes the pool is part of its name, so a changed rule is never a stale pool
    code = Path(__file__).read_bytes() + Path(__file__).with_name("splits.py").read_bytes()
    key = hashlib.sha256(ASSETS["licensedcode"].sha256.encode() + code).hexdigest()[:16]

    def fill(folder: Path) -> None:
        rows = list(clauses(fetch("licensedcode")))
        kept = splits.first_of_near_duplicates([row["text"] for row in rows])
        (folder / "pool.json").write_text(json.dumps([rows[i] for i in kept]), encoding="utf-8")

    folder = atomic_folder(cache_dir() / "tasks" / f"indemnity-{key}", fill)
    return json.loads((folder / "pool.json").read_text(encoding="utf-8"))


def agreements(folder: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """File name, header and text of every licence and commercial rule, in order."""
    files = sorted((folder / "licenses").glob("*.LICENSE")) + sorted(
        (folder / "rules").glob("*.RULE")
    )
    for file in files:
        yield file.name, *_front_matter(file.read_text(encoding="utf-8", errors="replace"))


def clauses(folder: Path) -> Iterator[dict]:
    """English paragraphs of agreement length: {"id", "owner", "text"}."""
    for name, header, body in agreements(folder):
        if header.get("language", "en") != "en":
            continue
        for n, paragraph in enumerate(re.split(r"\n\s*\n", body)):
            text = " ".join(paragraph.split())
            if WORDS[0] <= len(text.split()) <= WORDS[1]:
                # a rule file names no owner: it is a family of its own
                yield {
                    "id": f"{name}#{n}",
                    "owner": header.get("owner", Path(name).stem),
                    "text": text,
                }


def _front_matter(text: str) -> tuple[dict[str, str], str]:
    """The `key: value` lines between the two `---` lines of a file, and the text after them."""
    match = re.match(r"---\n(.*?)\n---\n?(.*)", text, re.S)
    if not match:
        return {}, text
    return dict(re.findall(r"^(\w+): (.+?)\s*$", match[1], re.M)), match[2]


def _ledgar(source: str) -> Task:
    """LEDGAR's contract provisions; the two categories on indemnity against all others."""
    from w2s_lab.data import custom

    config = None if Path(source).exists() else "ledgar"
    many = custom.load(source, size="full", text="text", label="label", config=config)
    gold = np.array([many.classes[g].lower().startswith("indemni") for g in many.gold]).astype(int)
    return replace(
        many,
        name="indemnity",
        gold=gold,
        classes=CLASSES,
        labels=LABELS,
        descriptions=DESCRIPTIONS,
    )
