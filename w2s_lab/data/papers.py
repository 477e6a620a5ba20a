"""Scientific papers; gold: an expert's sentence on the challenge, the approach or the outcome.

It does not judge summaries. Papers: AclSum (Takeshita et al. 2024). At full size: SciTLDR (Cachola
et al. 2020), or articles in the formats of CNN/DailyMail (See et al. 2017) and arXiv-summarization.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from w2s_lab.assets import ASSETS, fetch
from w2s_lab.data import Task, splits, task
from w2s_lab.errors import W2SError

QUESTIONS = {
    "challenge": "What challenge does this paper address? Answer in one sentence.",
    "approach": "What approach does this paper take? Answer in one sentence.",
    "outcome": "What is the outcome of this paper? Answer in one sentence.",
    "tldr": "What does this paper do? Answer in one sentence.",
    "highlights": "What are the main points of this article? Answer in a few short sentences.",
    "abstract": "What does this paper do? Write its abstract.",
}
ASPECTS = ("challenge", "approach", "outcome")
FORMATS = {  # columns of the input and of the gold → kind; what a set on the Hub is known by
    ("source", "target"): "tldr",
    ("article", "highlights"): "highlights",
    ("article", "abstract"): "abstract",
}
CONFIGS = {  # of the sets on the Hub that come in several
    "allenai/scitldr": "Abstract",
    "abisee/cnn_dailymail": "3.0.0",
    "ccdv/arxiv-summarization": "document",
}
WORDS = 160  # of an input with its title, about 230 tokens: what a laptop reads in minutes
FULL_WORDS = 1_000  # at full size; an article of news has about 700 words
OWN_SPLITS = ("test", "validation", "train")  # the earlier keeps what looks alike
SHARES = {"supervise": 0.25, "transfer": 0.75}  # of train
PAPERS = {"supervise": 12, "transfer": 12, "validation": 4, "test": 14}
SMOKE = {"supervise": 3, "transfer": 4, "validation": 2, "test": 3}
LIMIT = 20_000  # rows of each own split at full size; CNN/DailyMail has 287,000 to train on
SEED = 0
LABELS = 18  # those of six papers
METRIC = "log_likelihood"


@dataclass(frozen=True)
class Paper:
    """A text and what an expert wrote of it, by kind of question; `home` is its own split."""

    id: str
    group: str
    home: str
    text: str
    gold: Mapping[str, str]


@task("papers")
def load(
    size: str, *, source: str | None = None, config: str | None = None, limit: int | None = LIMIT
) -> Task:
    """Openings of papers, each asked three questions that an expert answered in one sentence.

    AclSum's own splits are kept: its test and validation as they are, a quarter of its training
    papers for `supervise`, the others for `transfer`. The items of a paper share one input.

    Args:
        size: "lab" has 42 papers, "smoke" 12 of them; "full" reads another set, one item a text.
        source: at full size, a Hub id or local folder with the columns of SciTLDR (source,
            target), CNN/DailyMail (article, highlights) or arXiv-summarization (article,
            abstract), and the splits train, validation and test.
        config: at full size, which configuration of the set.
        limit: at full size, how many rows of each of its splits to take at most.

    Raises:
        W2SError: a source that cannot be loaded, or that has other columns or splits.
    """
    if size == "full":
        source = source or "allenai/scitldr"
        return _task(size, *_from_hub(source, config or CONFIGS.get(source), limit), chosen=None)
    only_at_full_size(source=source, config=config)
    papers = list(_aclsum(fetch("aclsum")))
    about = {"source": ASSETS["aclsum"].pin, "terms": ASSETS["aclsum"].terms, "words": WORDS}
    return _task(size, papers, about, chosen=SMOKE if size == "smoke" else PAPERS)


def opening(title: str, sentences: Sequence[str], words: int) -> str:
    """The title, and in the next line as many sentences from the first on as fit into `words`.

    A first sentence that is too long by itself is cut.
    """
    tidied = [tidy(sentence).split() for sentence in sentences if sentence.strip()]
    heading = tidy(title).split()
    room = max(0, words - len(heading))
    fit = int(np.searchsorted(np.cumsum([len(s) for s in tidied]), room, side="right"))
    body = [word for sentence in tidied[:fit] for word in sentence]
    body = body or [word for sentence in tidied[:1] for word in sentence[:room]]
    return "\n".join(" ".join(part) for part in (heading, body) if part)


def tidy(text: str) -> str:
    """One line of text, without the spaces that a tokenizer put before , . ; : ? ! % ) and after (.

    A mark that a word follows at once, as in " .5", stays where it is.
    """
    text = re.sub(r" ([,.;:?!%)\]]+)(?=[\s,.;:?!%)\]]|$)", r"\1", " ".join(text.split()))
    return re.sub(r"([(\[]) (?=\S)", r"\1", text)


def _aclsum(folder: Path) -> Iterator[Paper]:
    """The 250 papers in the order of the files; an input is title, abstract, then introduction."""
    for home, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").strip().split("\n"):
            row = json.loads(line)
            sentences = row["sentences"]["abstract"] + row["sentences"]["introduction"]
            yield Paper(
                id=row["id"],
                group=row["id"],
                home=home,
                text=opening(row["title"], sentences, WORDS),
                gold={aspect: row["summary"][aspect].strip() for aspect in ASPECTS},
            )


def _from_hub(source: str, config: str | None, limit: int | None) -> tuple[list[Paper], dict]:
    """The papers of a data set, and what to say of it; rows without a text or gold stay out."""
    parts = own_splits(source, config, limit)
    columns = parts["train"].column_names
    found = [pair for pair in FORMATS if set(pair) <= set(columns)]
    if not found:
        known = ", ".join(" and ".join(pair) for pair in FORMATS)
        raise W2SError(
            f"no columns {known}, only {', '.join(columns)}",
            where=source,
            mend="rename the column of the texts and that of the summaries",
        )
    (text, gold), kind = found[0], FORMATS[found[0]]
    group = next((c for c in ("paper_id", "id") if c in columns), None)
    papers, empty = [], 0
    for home, part in parts.items():
        for n, row in enumerate(part):
            sentences, answers = _sentences(row[text]), _sentences(row[gold])
            answer = answers[:1] if isinstance(row[gold], list) else answers  # several experts'
            if not sentences or not answer:
                empty += 1
                continue
            name = f"{home}:{n}"
            papers.append(
                Paper(
                    id=name,
                    group=str(row[group]) if group else name,
                    home=home,
                    text=opening(row.get("title") or "", sentences, FULL_WORDS),
                    gold={kind: " ".join(map(tidy, answer))},
                )
            )
    return papers, {"source": source, "config": config, "words": FULL_WORDS, "rows_empty": empty}


def _sentences(value: str | list[str] | None) -> list[str]:
    """The sentences of a text, or those of a list that have any words."""
    parts = value if isinstance(value, list) else re.split(r"(?<=[.!?])\s+", value or "")
    return [part for part in parts if part and part.strip()]


def _task(size: str, papers: list[Paper], about: dict, *, chosen: dict[str, int] | None) -> Task:
    """The task of these papers, or of so many of each split; checked for leaks."""
    texts = [paper.text for paper in papers]
    groups = np.array([paper.group for paper in papers])
    home = np.array([paper.home for paper in papers])
    dealt, dropped = deal_own_splits(texts, groups, home, about["source"])
    if chosen:  # smoke's papers are lab's first ones, because both cut one permutation
        rng = np.random.default_rng(SEED)
        dealt = {s: np.sort(rng.permutation(i)[: chosen[s]]) for s, i in dealt.items()}
    splits.check_no_leak(texts, groups, dealt)  # of papers: the items of one share its input
    items = [
        (s, papers[i], kind, answer)
        for s, index in dealt.items()
        for i in index
        for kind, answer in papers[i].gold.items()
    ]
    owner = np.array([s for s, *_ in items])
    return Task(
        name="papers",
        size=size,
        inputs=tuple(paper.text for _, paper, *_ in items),
        gold=np.array([answer for *_, answer in items], object),
        groups=np.array([paper.group for _, paper, *_ in items]),
        ids=np.array([f"{paper.id}:{kind}" for _, paper, kind, _ in items]),
        splits={s: np.flatnonzero(owner == s) for s in dealt},
        metric=METRIC,
        labels=LABELS,
        questions=tuple(QUESTIONS[kind] for *_, kind, _ in items),
        kinds=np.array([kind for *_, kind, _ in items]),
        provenance={
            **about,
            "papers": {s: len(index) for s, index in dealt.items()},
            "papers_read": len(papers),
            "dropped_from_the_training_side": dropped,
            "seed": SEED,
        },
    )


# --- data sets that come with their own splits; `code` reads its own at full size through these ---


def only_at_full_size(**options: object) -> None:
    """Nothing, unless one of these options is given; raises W2SError then."""
    for name in (name for name, value in options.items() if value):
        raise W2SError("is read at size full only", where=name, mend="say size='full' as well")


def own_splits(source: str, config: str | None, limit: int | None) -> dict:
    """The test, validation and train split of a Hub id or local folder, cut to `limit` rows each.

    Raises:
        W2SError: it cannot be loaded, or one of the three is missing.
    """
    import datasets

    try:
        if any(Path(source, f).exists() for f in ("dataset_dict.json", "state.json")):
            data = datasets.load_from_disk(source)
        else:
            data = _load_dataset(source, config)
    except Exception as e:  # as wide as the network and the disk: all of it is told in one line
        raise W2SError(
            f"cannot be loaded ({type(e).__name__}: {str(e)[:300]})",
            where=source,
            mend="check the name and config=, and for the Hub the connection",
        ) from None
    parts = data if isinstance(data, dict) else {"train": data}
    missing = [name for name in OWN_SPLITS if name not in parts or not len(parts[name])]
    if missing:
        raise W2SError(
            f"no split {', '.join(missing)}, only {', '.join(parts)}",
            where=source,
            mend=f"name the splits {', '.join(OWN_SPLITS)}",
        )
    rng = np.random.default_rng(SEED)
    chosen = {s: np.sort(rng.permutation(len(parts[s]))[:limit]) for s in OWN_SPLITS}
    return {s: parts[s].select(index) for s, index in chosen.items()}


def _load_dataset(source, config):
    import datasets

    try:
        return datasets.load_dataset(source, config)
    except (RuntimeError, ValueError):
        # A set that is a script (SciTLDR) is no longer run; the Hub keeps a Parquet copy of it on
        # a branch of its own, where each configuration is a folder
        return datasets.load_dataset(source, data_dir=config, revision="refs/convert/parquet")


def deal_own_splits(
    texts: Sequence[str], groups: np.ndarray, home: np.ndarray, source: str
) -> tuple[dict[str, np.ndarray], int]:
    """Sorted item indices per split, and how many items were dropped to keep the splits apart.

    Test and validation stay as the data came; train is dealt by group to `supervise` and
    `transfer`. Of near-duplicates, and of a group that is in several splits, test keeps its own,
    then validation: the training side loses.

    Args:
        texts, groups: of the items.
        home: "test", "validation" or "train", per item.
        source: named in an error.

    Raises:
        W2SError: nothing is left of a split.
    """
    order = np.concatenate([np.flatnonzero(home == name) for name in OWN_SPLITS])
    order = order[splits.first_of_near_duplicates([texts[i] for i in order])]
    owner: dict = {}
    kept = [i for i in order if owner.setdefault(groups[i], home[i]) == home[i]]
    own = {name: np.sort([i for i in kept if home[i] == name]).astype(int) for name in OWN_SPLITS}
    left = Counter(home[kept])
    for name in (name for name in OWN_SPLITS if not left[name]):
        raise W2SError(f"no row of {name} can be used", where=source, mend="give longer splits")
    train = own["train"]
    dealt = splits.deal_groups(groups[train], home[train], SHARES, seed=SEED)  # as of one class
    made = {name: train[index] for name, index in dealt.items()}
    return made | {s: own[s] for s in ("validation", "test")}, len(texts) - len(kept)
