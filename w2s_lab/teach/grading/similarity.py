"""Pairs of students whose answers are alike, for a person to review; likeness proves nothing.

It accuses nobody and looks at no other class or source. Fingerprints are chosen by winnowing
(Schleimer, Wilkerson and Aiken 2003, "Winnowing: local algorithms for document fingerprinting")
over the nodes of a syntax tree, or over an essay's words.
"""

import ast
import builtins
import keyword
import re
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from w2s_lab.errors import W2SError

TITLE = "Similar answers, for review"
NOTE = (
    "Likeness is no proof of copying. Short tasks have few solutions, students learn from the same "
    "lesson, and some were allowed to work together. Read both answers before you speak to anybody."
)
# (items in a run, runs in a window): a shared stretch of one sum − 1 items is always found, and
# one shorter than a run never. 12 nodes are about one statement; five words are seldom chance.
CODE, WORDS = (12, 4), (5, 4)
LEAST_PRINTS = 8  # what two answers must share to say anything: three statements, or 25 words
COMMON, COMMON_COUNT = 0.05, 5  # ignored: what more than 5 %, and more than 5 students, have
LONGEST = 20_000  # characters of an answer that are looked at; the course's longest has 2,000
TELLING = {0, 1, 2}  # numbers that make the structure: which end, which axis, one before
TOKEN = re.compile(
    r"""\#[^\n]*"""
    r"""|(?P<text>'''.*?'''|\"\"\".*?\"\"\"|"(?:\\.|[^"\\\n]){0,300}"|'(?:\\.|[^'\\\n]){0,300}')"""
    r"""|(?P<number>\d[\w.]*)|(?P<name>\.?[^\W\d]\w*)|(?P<sign>[^\s\w])""",
    re.DOTALL,
)


@dataclass(frozen=True)
class Likeness:
    """How alike two answers to one task are, in fingerprints that few others have.

    Attributes:
        shared: how many both have.
        smaller: how many the answer with fewer of them has.
        either: how many different ones the two have together.
    """

    task: str
    shared: int
    smaller: int
    either: int

    @property
    def containment(self) -> float:
        """Share of the smaller answer's fingerprints that the other one has."""
        return self.shared / self.smaller

    @property
    def jaccard(self) -> float:
        """Share of the fingerprints of either that both have."""
        return self.shared / self.either


@dataclass(frozen=True)
class Pair:
    """Two students to review, with the tasks in which their answers are alike."""

    students: tuple[str, str]
    tasks: tuple[Likeness, ...]

    @property
    def share(self) -> float:
        """Containment over these tasks taken together."""
        return self.shared / sum(task.smaller for task in self.tasks)

    @property
    def shared(self) -> int:
        """Fingerprints that both have, over all these tasks."""
        return sum(task.shared for task in self.tasks)


def similar(
    answers: Mapping[str, Mapping[str, str]],
    starters: Mapping[str, str],
    *,
    least: float = 0.6,
    essays: Collection[str] = (),
) -> list[Pair]:
    """Pairs for review, those with the most shared fingerprints first.

    Names that an answer gives itself, comments, docstrings, annotations and most constants do not
    count in code. Nor do fingerprints of the starter, and those that more than 5 % of the class
    (and more than 5 students) have: the exercise makes everyone write them. Answers that share
    fewer than 8 of the rest are too short to say anything.

    Args:
        answers: student → grade id → what they wrote.
        starters: grade id → what they were given; a task is an essay where this is no Python, or,
            without a starter, where none of its answers is.
        least: containment from which on a task counts, in (0, 1].
        essays: grade ids that are essays in any case.

    Raises:
        W2SError: `least` outside of (0, 1].
    """
    if not 0 < least <= 1:
        raise W2SError(f"least is {least}", where="similar", mend="give a share in (0, 1]")
    found: dict[tuple[str, str], list[Likeness]] = defaultdict(list)
    for task in sorted({task for own in answers.values() for task in own}):
        written = {who: own[task] for who, own in answers.items() if own.get(task, "").strip()}
        starter = starters.get(task, "")
        asked = [starter] if starter.strip() else written.values()
        essay = task in essays or all(_tree(text) is None for text in asked)
        prints = _telling(
            {who: fingerprints(text, essay=essay) for who, text in written.items()},
            _runs(starter, essay),
        )
        for pair, shared in _shared(prints).items():
            sizes = [len(prints[who]) for who in pair]
            alike = Likeness(task, shared, min(sizes), sum(sizes) - shared)
            if shared >= LEAST_PRINTS and alike.containment >= least:
                found[pair].append(alike)
    pairs = [Pair(students, tuple(tasks)) for students, tasks in found.items()]
    return sorted(pairs, key=lambda pair: (-pair.shared, -pair.share, pair.students))


def fingerprints(text: str, *, essay: bool = False) -> set[int]:
    """The least of each window of hashed runs: about two of five runs of a text."""
    runs = _runs(text, essay)
    window = (WORDS if essay else CODE)[1]
    return {min(runs[i : i + window]) for i in range(max(len(runs) - window + 1, bool(runs)))}


def _runs(text: str, essay: bool) -> list[int]:
    """A number for each run of items; the same in every process, unlike the hash of a text."""
    items = _words(text[:LONGEST]) if essay else _items(text)
    codes = [zlib.crc32(item.encode("utf-8", "surrogatepass")) for item in items]
    size = (WORDS if essay else CODE)[0]
    return [hash(tuple(codes[i : i + size])) for i in range(len(codes) - size + 1)]


def _telling(prints: dict[str, set[int]], given: Collection[int]) -> dict[str, set[int]]:
    """Fingerprints without those of the starter and of too many others."""
    holders = Counter(one for own in prints.values() for one in own)
    most = max(COMMON_COUNT, COMMON * len(prints))
    ignored = {one for one, count in holders.items() if count > most} | set(given)
    return {who: own - ignored for who, own in prints.items()}


def _shared(prints: Mapping[str, set[int]]) -> Counter[tuple[str, str]]:
    """How many fingerprints each pair shares; only those with any are looked at."""
    holders: dict[int, list[str]] = defaultdict(list)
    for who in sorted(prints):
        for one in prints[who]:
            holders[one].append(who)
    pairs: Counter[tuple[str, str]] = Counter()
    for students in holders.values():
        pairs.update(combinations(students, 2))
    return pairs


def _items(text: str) -> Iterator[str]:
    tree = _tree(text)
    # code that is cut off, or was never complete, has no tree
    return _tokens(text[:LONGEST]) if tree is None else _nodes(tree)


def _tree(text: str) -> ast.Module | None:
    """The syntax tree, None for what is no Python or so long that parsing it would take long."""
    if len(text) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about "\d" in the student's text
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # brackets within brackets without end are the last two


def _nodes(tree: ast.Module) -> Iterator[str]:
    """What stands at each node, parents first; not recursive, since a tree can be deep."""
    own = _own_names(tree)
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        if not isinstance(node, ast.expr_context):
            yield _item(node, own)
        inner = [child for child in ast.iter_child_nodes(node) if not _silent(child)]
        if isinstance(node, ast.arg):
            inner = []  # an annotation changes nothing
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [child for child in inner if child is not node.returns]
        left.extend(reversed(inner))


def _silent(node: ast.AST) -> bool:
    """A docstring, or another constant that stands alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _own_names(tree: ast.Module) -> set[str]:
    """Every name that the code gives to something; the others are the library's or the task's."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add(node.asname or "")
        else:  # of a function, a class, a caught exception, a matched pattern
            names.add(getattr(node, "name", None) or "")
    return names


def _item(node: ast.AST, own: set[str]) -> str:
    kind = type(node).__name__
    if isinstance(node, ast.Constant):
        value: Any = node.value
        telling = value is None or (isinstance(value, bool | int) and value in TELLING)
        return f"{kind} {value if telling else type(value).__name__}"
    if isinstance(node, ast.Slice):  # [1:] and [:1] have the same parts
        return " ".join([kind, *(end for end in ("lower", "upper") if getattr(node, end))])
    # what is called, reached into, passed by name: kept unless the code's own
    name = getattr(node, "id", None) or getattr(node, "attr", None)
    if isinstance(node, ast.keyword):
        name = node.arg
    return f"{kind} {name}" if name and name not in own else kind


def _tokens(text: str) -> Iterator[str]:
    for match in TOKEN.finditer(text):
        kind, found = match.lastgroup, match.group()
        known = keyword.iskeyword(found) or hasattr(builtins, found) or found[0] == "."
        if kind == "sign" or (kind == "name" and known):
            yield found
        elif kind:  # a comment has none
            yield kind


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
