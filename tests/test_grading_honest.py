"""Honest work gets full marks, however it is written: in the style of a student who means well."""

import copy
import json

import pytest
from grading import needs_box
from redteam.arena import FULL
from redteam.target import (
    as_bytes,
    code_cell,
    honest_cells,
    release,
    submission,
    target_notebook,
    with_cells,
)

from w2s_lab.teach.grading.grader import Grader
from w2s_lab.teach.grading.process import Limits

pytestmark = [pytest.mark.slow, needs_box]
FIRST, ABOVE_MEAN, LAST = (
    1,
    5,
    12,
)  # places of further cells: after `setup`, before `mean`, below all


@pytest.fixture(scope="module")
def grader():
    with Grader(json.dumps(target_notebook()), "target") as one:
        assert one.gate() == []
        yield one


def written(extra=(), **answers):
    """A notebook with these answers and, for the rest, the right ones."""
    return submission(honest_cells() | answers, extra)


# name → the notebook's bytes
WORK = {
    "as it should be": written(),
    "warnings and standard error": written(
        [(FIRST, "import sys, warnings\nwarnings.warn('old')\nprint('careful', file=sys.stderr)")],
        double="""
import warnings, sys, os
def double(x):
    warnings.warn("slow", DeprecationWarning)
    print("doubling", x, file=sys.stderr)
    os.write(2, b"raw\\n")
    return x + x
""",
    ),
    "warnings as errors": written([(LAST, "import warnings\nwarnings.simplefilter('error')")]),
    "progress bars": written(
        [(FIRST, "from tqdm.notebook import tqdm\nfor _ in tqdm(range(3)): pass")],
        mean="""
from tqdm.auto import tqdm
from tqdm import trange
def mean(values):
    for _ in trange(5): pass
    return float(sum(tqdm(values, desc="mean")) / len(values))
""",
    ),
    "5 MB printed": written(
        [(FIRST, "print('x' * 5_000_000)\nfor n in range(50_000): print(n)")],
        double="def double(x):\n    print('y' * 5_000_000)\n    return x + x",
    ),
    "plots": written(
        [
            (
                FIRST,
                "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
            ),
            (LAST, "fig, ax = plt.subplots()\nax.hist([1, 2, 2])\nplt.savefig('x.png')\nfig"),
            (LAST, "plt.close('all')\n%matplotlib notebook\nplt.plot([3])\nplt.show(block=True)"),
        ]
    ),
    "helpers in cells above": written(
        [(FIRST, "def add(a, b):\n    return a + b"), (ABOVE_MEAN, "from functools import reduce")],
        double="def double(x):\n    return add(x, x)",
        mean="def mean(values):\n    return float(reduce(add, values) / len(values))",
    ),
    "helpers in a cell just below": written(
        [(2, "def add(a, b):\n    return a + b")], double="def double(x):\n    return add(x, x)"
    ),
    "a class behind it": written(
        double="""
class Doubler:
    factor = 2
    def __call__(self, x):
        return x * self.factor
double = Doubler()
"""
    ),
    "generators and recursion": written(
        mean="""
def running(values, total=0.0, n=0):
    if n == len(values):
        return total / n
    return running(values, total + values[n], n + 1)
def each(values):
    yield from values
def mean(values):
    return float(running(list(each(values))))
"""
    ),
    "global state": written(
        [(FIRST, "calls = []\nCACHE = {}")],
        double="""
def double(x):
    global last
    last = x
    calls.append(1)
    return 2 * last
""",
        mean="""
def mean(values):
    CACHE["n"] = len(values)
    return float(sum(values)) / CACHE["n"]
""",
    ),
    "magics": written(
        [
            (FIRST, "%matplotlib inline\n!ls\n%pwd\nfiles = !ls -a\nprint(files.n)"),
            (FIRST, "%%time\nslow = sum(range(1000))"),
            (FIRST, "%timeit -n1 -r1 sum(range(10))\n%load_ext autoreload\n%autoreload 2"),
            (FIRST, "%%capture out\nprint(1)"),
            (FIRST, "%%bash\necho hello"),
            (FIRST, "%%timeit -n1 -r1\n2 + 2"),
            (FIRST, "%who\n%config InlineBackend.figure_format = 'retina'\n%env X=1"),
            (FIRST, "%%writefile helper.py\ndef add(a, b): return a + b"),
        ],
        double="%time import helper\ndef double(x):\n    return helper.add(x, x)",
    ),
    "help": written([(FIRST, "len?\nlen??"), (FIRST, "?np.mean"), (FIRST, "np.mean?\nhelp(len)")]),
    "await at the top": written(
        [
            (
                FIRST,
                "import asyncio\nawait asyncio.sleep(0.01)\n"
                "async def two(): return 2\nTWO = await two()",
            )
        ],
        double="def double(x):\n    return TWO * x",
    ),
    "types and dataclasses": written(
        [(FIRST, "from __future__ import annotations\nfrom typing import *")],
        double="N = TypeVar('N')\ndef double(x: N) -> N:\n    return x + x",
        counter="""
from dataclasses import dataclass, field
@dataclass
class Counter:
    seen: list[int] = field(default_factory=list)
    def add(self, amount: int = 1) -> None:
        self.seen.append(amount)
    def total(self) -> int:
        return sum(self.seen)
""",
    ),
    "lambdas": written(
        double="double = lambda x: x * 2", mean="mean = lambda v: float(sum(v) / len(v))"
    ),
    "numpy's and torch's results": written(
        mean="""
import torch
def mean(values):
    return torch.tensor(list(values), dtype=torch.float64).mean()
""",
        counter="""
import numpy as np
class Counter:
    def __init__(self): self.n = np.int64(0)
    def add(self, amount=1): self.n += amount
    def total(self): return self.n
""",
    ),
    "a result of no dimensions": written(
        mean="def mean(values):\n    return np.asarray(np.mean(values))"
    ),
    "a partial function": written(
        double="from functools import partial\nimport operator\ndouble = partial(operator.mul, 2)"
    ),
    "a decorated function": written(
        double="""
import functools, time
def timed(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            print(time.perf_counter() - began)
    return inner
@timed
def double(x):
    return 2 * x
"""
    ),
    "imports": written(
        [(FIRST, "import os, sys, re, json, random, itertools, collections, pathlib, subprocess")],
        mean="""
import statistics
from sklearn.linear_model import LinearRegression
def mean(values):
    LinearRegression().fit([[0], [1]], [0, 1])
    return statistics.fmean(values)
""",
    ),
    "threads": written(
        double="""
from concurrent.futures import ThreadPoolExecutor
def double(x):
    with ThreadPoolExecutor(2) as pool:
        a, b = pool.map(lambda _: x, range(2))
    return a + b
""",
    ),
    "a pool of processes": written(
        mean="""
import multiprocessing
def total(part):
    return float(sum(part))
def mean(values):
    values = list(values)
    with multiprocessing.Pool(2) as pool:
        return sum(pool.map(total, [values[::2], values[1::2]])) / len(values)
""",
    ),
    "temporary files": written(
        mean="""
import tempfile, pathlib, os
def mean(values):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "values.txt"
        path.write_text("\\n".join(repr(float(v)) for v in values))
        read = [float(line) for line in path.read_text().split()]
    open("left.txt", "w").write("x")
    pathlib.Path.home().joinpath("also.txt").write_text("x")
    return sum(read) / len(read)
""",
    ),
    "seeds and recursion limits": written(
        [
            (
                FIRST,
                "import random, sys, torch\nsys.setrecursionlimit(100_000)\n"
                "random.seed(0)\nnp.random.seed(0)\ntorch.manual_seed(0)",
            )
        ],
        mean="""
def deep(n):
    return 0 if not n else deep(n - 1)
def mean(values):
    deep(5000)
    return float(np.mean(values))
""",
    ),
    "logging": written(
        [
            (
                FIRST,
                "import logging\nlogging.basicConfig(level='DEBUG')\nlog = logging.getLogger('me')",
            )
        ],
        double="def double(x):\n    log.warning('doubling %s', x)\n    return x + x",
    ),
    "names in other alphabets": written(
        double="def verdopple(größe):\n    π = größe\n    return π + größe\ndouble = verdopple",
        mean="def mean(werte):\n    Σ, 数 = sum(werte), len(werte)\n    return float(Σ / 数)",
        essay="Ein Ausreißer verschiebt das Mittel. 一つの値。 🙂",
    ),
    "an exception in a cell of its own": written(
        [(FIRST, "1 / 0"), (FIRST, "def broken(:"), (LAST, "raise KeyError('x')")]
    ),
    "exit at the end": written([(LAST, "exit()"), (LAST, "import sys\nsys.exit(0)")]),
    "doctests": written(
        [(LAST, "import doctest\ndoctest.testmod(verbose=True)")],
        double='def double(x):\n    """\n    >>> double(2)\n    4\n    """\n    return x + x',
    ),
    "tests of their own": written(
        [
            (LAST, "assert double(2) == 4\nassert mean([1, 3]) == 2"),
            (
                LAST,
                "import unittest\nclass T(unittest.TestCase):\n    def test(self): pass\n"
                "unittest.main(argv=[''], exit=False)",
            ),
        ]
    ),
    "rich display": written(
        [
            (
                FIRST,
                "from IPython.display import display, HTML, Markdown, clear_output\n"
                "display(HTML('<b>x</b>'))\nclear_output()\nMarkdown('# x')",
            ),
            (FIRST, "import pandas as pd\npd.DataFrame({'a': [1]})"),
            (FIRST, "import ipywidgets\nipywidgets.IntSlider()"),
        ]
    ),
    "the last result is used": written([(FIRST, "40 + 2"), (FIRST, "_ + 1")]),
    "a long answer": written(double="# " + "x" * 90_000 + "\ndef double(x):\n    return x + x"),
    "tabs and windows line ends": written(
        double="def double(x):\r\n\treturn x + x\r\n",
        mean="def mean(v):\n\treturn float(sum(v)/len(v))",
    ),
    "input that waits": written(
        double="def double(x):\n    return x + x\nif False:\n    n = int(input('n? '))"
    ),
}


@pytest.mark.parametrize("raw", WORK.values(), ids=WORK)
def test_honest_work_gets_full_marks(grader, raw):
    verdict = grader.grade(raw)
    assert verdict.score == FULL, (verdict.items, verdict.notes)
    assert not [one.message for one in verdict.items if one.message and not one.manual]


# --- the file itself ------------------------------------------------------------------------------


def notebook(**changes):
    return with_cells(release(), honest_cells()) | changes


def cells_of(made):
    return {cell["id"]: cell for cell in made["cells"]}


def of_another_editor():
    """As an editor that knows format 4.2 saves it: no ids of its own."""
    made = notebook(nbformat_minor=2)
    for cell in made["cells"]:
        del cell["id"]
        cell["source"] = cell["source"].splitlines(keepends=True)
        cell["metadata"]["pycharm"] = {"name": "#%%\n"}
    return made


def with_outputs():
    made = notebook()
    for number, cell in enumerate(made["cells"]):
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
            image = {"image/png": "iVBOR" * 10**5, "text/plain": "<Figure>"}
            cell["outputs"] = [
                {"output_type": "display_data", "data": image, "metadata": {}},
                {"output_type": "stream", "name": "stderr", "text": "old\n"},
            ]
    return made


def split():
    """The answer's cell split in two, as Jupyter does it: the second half has no grade id."""
    made = notebook()
    cells = made["cells"]
    place = [cell["id"] for cell in cells].index("double")
    cells[place]["source"] = "def helper(x):\n    return x"
    cells.insert(place + 1, code_cell("half", "def double(x):\n    return helper(x) + x"))
    return made


def split_with_metadata():
    """Split by an editor that copies the metadata: two cells of one grade id."""
    made = split()
    half = made["cells"][[cell["id"] for cell in made["cells"]].index("half")]
    half["metadata"] = copy.deepcopy(cells_of(made)["double"]["metadata"])
    return made


def tried_before():
    """A first try is kept above, as a copy of the cell."""
    made = notebook()
    first = copy.deepcopy(cells_of(made)["double"]) | {
        "id": "try",
        "source": "def double(x): return x",
    }
    made["cells"].insert(0, first)
    return made


def with_markdown():
    made = notebook()
    text = {"cell_type": "markdown", "metadata": {}, "source": "# Why\n<b>because</b> $x^2$"}
    made["cells"] = [one for cell in made["cells"] for one in (text, cell, text)]
    return made


def with_prints_in_checks():
    made = notebook()
    for name, cell in cells_of(made).items():
        if name.endswith(("-check", "-look", "-hidden")):
            cell["source"] = f"print('now {name}')\n{cell['source']}\nprint(double(3))"
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "now\n6\n"}]
    return made


def with_edited_setup():
    made = notebook()
    cells_of(made)["setup"]["source"] += "\nimport pandas as pd\nprint('ready')"
    return made


def with_raw_cells():
    made = notebook()
    made["cells"].append({"cell_type": "raw", "metadata": {}, "source": "notes"})
    return made


FILES = {
    one.__name__.replace("_", " "): one
    for one in (of_another_editor, with_outputs, split, split_with_metadata, tried_before)
} | {
    one.__name__.replace("_", " "): one
    for one in (with_markdown, with_prints_in_checks, with_edited_setup, with_raw_cells)
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_an_honest_file_gets_full_marks(grader, make):
    verdict = grader.grade(as_bytes(make()))
    assert verdict.score == FULL, (verdict.items, verdict.notes)


def test_a_cell_may_take_most_of_its_time():
    limits = Limits(cell_seconds=2, call_seconds=2, notebook_seconds=30)
    raw = written([(FIRST, "import time\ntime.sleep(1.6)")] * 2)  # 80 % each
    with Grader(json.dumps(target_notebook()), "target", limits=limits) as one:
        verdict = one.grade(raw)
    assert (verdict.score, verdict.notes) == (FULL, ())
    assert verdict.seconds >= 3.2


def test_an_essay_waits_for_a_person_and_a_blank_one_does_not(grader):
    *_, essay = grader.grade(written()).items
    *_, blank = grader.grade(submission(honest_cells() | {"essay": " \n"})).items
    *_, given = grader.grade(submission({})).items
    assert (essay.manual, blank.manual, given.manual) == (True, False, False)


def test_the_same_work_gets_the_same_verdict_twice(grader):
    raw = WORK["global state"]
    assert grader.grade(raw) == grader.grade(raw)
