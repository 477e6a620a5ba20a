"""Functions of Python's own standard library; gold: the first sentence of the docstring.

It reads sources and never imports or runs them, and it cannot tell whether an author's sentence
is a good one. At full size: CodeSearchNet (Husain et al. 2019).
"""

import ast
import hashlib
import json
import os
import re
import sys
import sysconfig
import textwrap
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from w2s_lab.assets import atomic_folder, cache_dir
from w2s_lab.data import Task, papers, splits, task
from w2s_lab.errors import W2SError
from w2s_lab.progress import bar

QUESTION = "Explain in one sentence what this Python function does."
CHARACTERS = 420  # of a function, about 130 tokens: what a laptop reads in minutes
FULL_CHARACTERS = 2_000  # at full size
LINES = 2  # of a body at least; one line is mostly the function's name again
WORDS = (4, 30)  # of an explanation; less says nothing, more is not one sentence
LETTERS = 0.75  # share of ASCII letters and spaces; with fewer it is a formula or a table
ITEMS = {"supervise": 56, "transfer": 64, "validation": 16, "test": 64}
SMOKE = {"supervise": 12, "transfer": 16, "validation": 8, "test": 12}
SHARES = {name: n / sum(ITEMS.values()) for name, n in ITEMS.items()}
ONE_MODULE = 40  # functions at most, or a few packages would be most of a split
SEED = 0
LABELS = 40

SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "ensurepip"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef

SENTENCE_END = re.compile(r"""[.!?]+["'`)\]]*(?=\s|$)""")
NEVER_AN_END = re.compile(r"(?:^|[\s(])(?:e\.?g|i\.?e|cf|vs|resp|approx|incl|viz|esp)\.$", re.I)
SELDOM_AN_END = re.compile(r"(?:(?:^|[\s(])(?:etc|repr|no|fig|al)\.|\.\.)$", re.I)
# A signature ("f(x) -> y", "D.keys() -- ..."), an argument ("size - in bytes"), usage ("run
# [args]"), a formula, a grammar rule, a doctest, a list
NOT_PROSE = re.compile(r"^[\w.]*\(|^\S+ -|--|->|=>|[\[{]|(?:^|\s)[=<>|&^+*/%~:]+(?:\s|$)|^\W")
# It says what the function is for or akin to, or who calls it, not what it does
POINTS_ELSEWHERE = re.compile(
    r"(?:same|like|see|internal|private|called|hook|overrid\w+|inherit\w*|implement\w*|used"
    r"|constructor|initiali[sz]er|stub|alias|also|shorthand|convenience|replacement|todo|xxx|fixme"
    r"|note|concrete|degenerate|unrelated|a variant|this (?:is|works|(?:function|method) is))\b"
    r"|.*\b(?:deprecated|overridden|helper|internal use)\b",
    re.I,
)


@task("code")
def load(
    size: str,
    *,
    packages: Sequence[str] = (),
    source: str | None = None,
    limit: int | None = papers.LIMIT,
) -> Task:
    """Python functions without their docstrings, split by module; gold says what each one does.

    Which functions there are depends on the version of Python that runs this.

    Args:
        size: "lab" has 200 functions, "smoke" 48 of the same pool; "full" reads CodeSearchNet,
            whose own splits are kept: of its training repositories a quarter are for `supervise`.
        packages: installed packages to read beside the standard library, by import name.
        source: at full size, a Hub id or local folder with CodeSearchNet's columns.
        limit: at full size, how many rows of each of its splits to take at most.

    Raises:
        W2SError: Python has no source files here, no such package, or an unusable `source`.
    """
    if size == "full":
        return _codesearchnet(source or "code-search-net/code_search_net", limit)
    papers.only_at_full_size(source=source)
    packages = (packages,) if isinstance(packages, str) else tuple(packages)
    rows, stages = _pool(packages)
    groups, kinds = (np.array([row[key] for row in rows]) for key in ("group", "kind"))
    dealt = splits.deal_groups(groups, kinds, SHARES, seed=SEED)
    rng, wanted = np.random.default_rng(SEED), SMOKE if size == "smoke" else ITEMS
    # smoke's functions are lab's first ones, because both cut one permutation
    dealt = {s: np.sort(rng.permutation(index)[: wanted[s]]) for s, index in dealt.items()}
    about = {
        "source": ", ".join(["standard library", *packages]),
        "python": sys.version,
        "terms": "PSF-2.0" + ", and those of the packages" * bool(packages),
    }
    return _task(size, rows, dealt, {**about, "characters": CHARACTERS, "functions": stages})


def definitions(tree: ast.AST, scope: tuple[str, ...] = ()) -> Iterator[tuple[str, Definition]]:
    """Dotted name and node of each def that is not inside another def."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            yield ".".join((*scope, node.name)), node
        else:
            inner = (*scope, node.name) if isinstance(node, ast.ClassDef) else scope
            yield from definitions(node, inner)


def without_docstrings(lines: Sequence[bytes], node: Definition) -> str | None:
    """The source of a def with its decorators, less its docstring and those inside it.

    Comments and layout stay as they are.

    Args:
        lines: of the module, in UTF-8, in which `ast` counts columns.
        node: the def.

    Returns:
        None if the body of a def or class was only a docstring.
    """
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    kept = list(lines[first - 1 : node.end_lineno])
    docstrings = [d for d in map(_docstring, ast.walk(node)) if d]
    for doc in sorted(docstrings, key=lambda d: -d.lineno):  # from below: the others stay in place
        top, bottom = doc.lineno - first, (doc.end_lineno or doc.lineno) - first
        line = kept[top][: doc.col_offset] + kept[bottom][doc.end_col_offset :].lstrip(b"; \t")
        kept[top : bottom + 1] = [line] if line.strip() else []
        while not line.strip() and top < len(kept) and not kept[top].strip():
            del kept[top]  # the empty lines that set the docstring off
    code = textwrap.dedent(b"\n".join(kept).decode())
    try:
        return None if any(map(_docstring, ast.walk(_parse(code)))) else code
    except SyntaxError:
        return None


def first_sentence(docstring: str) -> str | None:
    """The first sentence of a docstring, on one line and with a full stop.

    None where that is no explanation: too short or long, a signature, formula or doctest, or a
    reference to something else.
    """
    paragraph = re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0]
    text = " ".join(paragraph.split())
    for end in SENTENCE_END.finditer(text):
        sentence, rest = text[: end.end()], text[end.end() :].lstrip()
        seldom = SELDOM_AN_END.search(sentence) and rest and not rest[0].isupper()
        if not seldom and not NEVER_AN_END.search(sentence):
            break
    else:  # no full stop: a line of its own is a sentence, several are a list or a table
        if "\n" in paragraph or text.endswith((":", ",", ";", "-")):
            return None
        sentence = text + "."
    letters = sum(c.isascii() and (c.isalpha() or c == " ") for c in sentence)
    poor = (
        not WORDS[0] <= len(sentence.split()) <= WORDS[1]
        or letters < LETTERS * len(sentence)
        or sentence.count("(") != sentence.count(")")  # the end of a sentence inside brackets
        or NOT_PROSE.search(sentence)
        or POINTS_ELSEWHERE.match(sentence)
    )
    return None if poor else sentence


def _docstring(node: ast.AST) -> ast.stmt | None:
    """The statement that is the docstring of a def or class."""
    if isinstance(node, Definition | ast.ClassDef) and ast.get_docstring(node) is not None:
        return node.body[0]
    return None


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in an old string is not ours to mend
        return ast.parse(text)


def _pairs(text: str, characters: int, stages: Counter, docstring: str = "") -> Iterator[dict]:
    """Name, kind, code and gold of each def in a source that can be explained; counts the stages.

    `docstring` is that of a def whose source has lost its own.
    """
    lines = text.encode().split(b"\n")
    for name, node in definitions(_parse(text)):
        said = ast.get_docstring(node) or docstring
        stages["found"] += 1
        stages["with a docstring"] += bool(said)
        code = without_docstrings(lines, node) if said else None
        if not code or len(code) > characters:
            continue
        body = _parse(code).body[0].body  # type: ignore[attr-defined]
        idle = all(isinstance(s, ast.Pass | ast.Raise) or ast.unparse(s) == "..." for s in body)
        if idle or "abstractmethod" in code or body[-1].end_lineno - body[0].lineno + 1 < LINES:
            continue
        stages["of the right size"] += 1
        gold = first_sentence(said)
        if gold and gold.rstrip(".").lower() not in " ".join(code.split()).lower():
            stages["with a sentence that may explain"] += 1
            kind = "method" if "." in name else "function"
            yield {"name": name, "kind": kind, "code": code, "gold": gold}


def _pool(packages: tuple[str, ...]) -> tuple[list[dict], dict[str, int]]:
    """All pairs of these sources, and how many functions were left at each stage; cached."""
    root = Path(sysconfig.get_path("stdlib"))
    files = _sources(root, root) + [file for name in packages for file in _package(name)]
    # the code that makes the pool and all that it reads are part of its name: never a stale pool
    key = hashlib.sha256(repr((sys.version, [module for module, _ in files])).encode())
    for path in (Path(__file__), Path(splits.__file__), *(path for _, path in files)):
        key.update(hashlib.sha256(path.read_bytes()).digest())

    def fill(folder: Path) -> None:
        stages: Counter = Counter()
        once: list[dict] = []
        seen: set[str] = set()  # of names and golds that come again, the first is kept
        for module, path in bar(files, "reading functions", unit="file"):
            try:
                with tokenize.open(path) as file:
                    pairs = list(_pairs(file.read(), CHARACTERS, stages))
            except (SyntaxError, ValueError):  # a template, of another Python, or not text
                continue
            for pair in pairs:
                row = {"id": f"{module}.{pair['name']}", "group": module.split(".")[0], **pair}
                # "Return the names" and "Returns the name." are one
                marks = {row["id"], re.sub(r"s?(\W+|$)", " ", row["gold"].lower()).strip()}
                once += [] if marks & seen else [row]
                seen |= marks
        unlike = [once[i] for i in splits.first_of_near_duplicates([r["code"] for r in once])]
        stages["unlike any other"] = len(unlike)
        kept = _spread(unlike)
        stages[f"at most {ONE_MODULE} of a module"] = len(kept)
        pool = json.dumps({"rows": kept, "stages": stages})
        (folder / "pool.json").write_text(pool, encoding="utf-8")

    folder = atomic_folder(cache_dir() / "tasks" / f"code-{key.hexdigest()[:16]}", fill)
    pool = json.loads((folder / "pool.json").read_text(encoding="utf-8"))
    if len(pool["rows"]) < sum(ITEMS.values()):
        raise W2SError(
            f"only {len(pool['rows'])} functions with a docstring in {len(files)} source files",
            where=str(root),
            mend="use a Python that comes with its sources (python.org, conda, apt install python3)"
            ", or name packages to read as well",
        )
    return pool["rows"], pool["stages"]


def functions() -> list[dict]:
    """All functions that `load` draws from: {"id", "group", "name", "kind", "code", "gold"}."""
    return _pool(())[0]


def _sources(folder: Path, root: Path) -> list[tuple[str, Path]]:
    """Dotted module name and path of the source files in a folder, tests left out, by name."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED]
        found += [Path(place, name) for name in files if name.endswith(".py")]
    parts = [(path.relative_to(root).with_suffix("").parts, path) for path in found]
    return sorted((".".join(names).removesuffix(".__init__"), path) for names, path in parts)


def _package(name: str) -> list[tuple[str, Path]]:
    """The same of an installed package or module, found without importing it."""
    # of a dotted name Python would import the parent to find the child
    spec = find_spec(name) if name.isidentifier() else None
    if spec and spec.submodule_search_locations:
        folders = [Path(place) for place in spec.submodule_search_locations]
        found = [file for folder in folders for file in _sources(folder, folder.parent)]
    else:
        path = Path(spec.origin or "") if spec else Path()
        found = [(name, path)] if path.suffix == ".py" else []
    if not found:
        raise W2SError(
            f"no Python sources of a package {name!r}",
            where="packages",
            mend="give names as in `import name`, of packages that are installed here",
        )
    return found


def _spread(rows: list[dict]) -> list[dict]:
    """At most so many rows of each group, drawn with a fixed seed."""
    seen: Counter = Counter()
    kept = []
    for i in np.random.default_rng(SEED).permutation(len(rows)):
        seen[rows[i]["group"]] += 1
        kept += [i] if seen[rows[i]["group"]] <= ONE_MODULE else []
    return [rows[i] for i in sorted(kept)]


def _codesearchnet(source: str, limit: int | None) -> Task:
    """CodeSearchNet's functions, by repository, cut and explained like those of the lab."""
    parts = papers.own_splits(source, None if Path(source).exists() else "python", limit)
    columns = parts["train"].column_names
    code = next((c for c in ("whole_func_string", "func_code_string") if c in columns), "")
    if not code or not {"func_documentation_string", "repository_name"} <= set(columns):
        raise W2SError(
            f"no columns of CodeSearchNet, only {', '.join(columns)}",
            where=source,
            mend="it needs whole_func_string, func_documentation_string and repository_name",
        )
    rows = []
    stages: Counter = Counter()
    for home, part in parts.items():
        for n, row in enumerate(bar(part, f"reading {home}", len(part), unit="function")):
            text = (row[code] or "").replace("\r\n", "\n")
            said = row["func_documentation_string"]
            try:
                pairs = list(_pairs(text, FULL_CHARACTERS, stages, said))
            except (SyntaxError, ValueError):  # Python 2, or a character that no source may hold
                continue
            if "." in (row.get("func_name") or ""):  # with its class, which the code lacks
                pairs = [{**pair, "kind": "method"} for pair in pairs]
            place = {"id": f"{home}:{n}", "home": home, "group": row["repository_name"]}
            rows += [{**pair, **place} for pair in pairs[:1]]
    texts, groups, homes = ([row[key] for row in rows] for key in ("code", "group", "home"))
    dealt, dropped = papers.deal_own_splits(texts, np.array(groups), np.array(homes), source)
    counts = {"functions": stages, "dropped_from_the_training_side": dropped}
    return _task("full", rows, dealt, {"source": source, "characters": FULL_CHARACTERS, **counts})


def _task(size: str, rows: list[dict], dealt: dict, about: Mapping[str, object]) -> Task:
    """The task of the dealt rows, checked for leaks."""
    kept = [rows[i] for index in dealt.values() for i in index]
    owner = np.array([s for s, index in dealt.items() for _ in index])
    made = Task(
        name="code",
        size=size,
        inputs=tuple(row["code"] for row in kept),
        gold=np.array([row["gold"] for row in kept], object),
        groups=np.array([row["group"] for row in kept]),
        ids=np.array([row["id"] for row in kept]),
        splits={s: np.flatnonzero(owner == s) for s in dealt},
        metric=papers.METRIC,
        labels=LABELS,
        questions=(QUESTION,) * len(kept),
        kinds=np.array([row["kind"] for row in kept]),
        provenance={**about, "seed": SEED},
    )
    splits.check_no_leak(made.inputs, made.groups, made.splits)
    return made
