"""Does no docstring stay in a function, is its gold a sentence, and do modules stay apart?

The pool of the standard library is made once for this file and kept in the cache.
"""

import ast
import inspect
import json
import os
import random
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import numpy as np
import pytest

from w2s_lab.data import code, load_task, splits
from w2s_lab.data.code import definitions, first_sentence, without_docstrings
from w2s_lab.errors import W2SError


@pytest.fixture(scope="module")
def lab():
    return load_task("code", size="lab")


def source(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def cut(text: str) -> str | None:
    """The first def of a source, without its docstrings."""
    text = source(text)
    _, node = next(definitions(ast.parse(text)))
    return without_docstrings(text.encode().split(b"\n"), node)


# --- docstrings out ----------------------------------------------------------------------------


def test_the_docstring_goes_with_the_empty_lines_after_it_and_comments_stay():
    assert cut('''
        @cache
        def f(x,
              y=1):  # both are numbers
            """Add two numbers.

            More of it.
            """

            # no check
            return x + y  # done
        ''') == source("""
        @cache
        def f(x,
              y=1):  # both are numbers
            # no check
            return x + y  # done
        """)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("'Say it.'; return 1", "return 1"),
        ("'Say it.' ;return 1", "return 1"),
        ("'Say it.'; x = 1; return x", "x = 1; return x"),
    ],
)
def test_a_def_on_one_line_keeps_what_follows_its_docstring(body, left):
    assert cut(f"def f(): {body}") == f"def f(): {left}"


@pytest.mark.parametrize(
    "docstring",
    [
        "'Say it.'",
        'r"""Say \\d it."""',
        'u"Say it."',
        '"Say " "it."',
        '("Say "\n     "it.")',
        '"""Say it: äöü, 你好."""',  # ast counts its columns in bytes
        '"""Say\n    it.\n    """  # noqa',
        '"""Say\n\tit."""',
        '""""Say" it."""',
        '"Say \\\n it."',
    ],
)
def test_every_kind_of_docstring_is_cut(docstring):
    left = cut(f"def f(x):\n    {docstring}\n    return x")
    assert left in ("def f(x):\n    return x", "def f(x):\n    # noqa\n    return x")
    assert ("noqa" in left) == ("noqa" in docstring)


@pytest.mark.parametrize("text", ['b"""Bytes."""', 'f"""Made of {x}."""', "x, 'Said late.'"])
def test_bytes_and_f_strings_are_no_docstrings(text):
    whole = f"def f(x):\n    {text}\n    return x"
    assert cut(whole) == whole


def test_docstrings_of_what_is_defined_inside_go_too():
    assert cut('''
        class C:
            async def f(self):
                """Outer."""
                class D:
                    """Inner class."""
                    y = 1
                def g(x):
                    """Inner."""
                    return """not one"""
                async with g(1) as z: return z
        ''') == source('''
        async def f(self):
            class D:
                y = 1
            def g(x):
                return """not one"""
            async with g(1) as z: return z
        ''')


@pytest.mark.parametrize(
    "text",
    [
        'def f():\n    """Only this."""',
        'def f():\n    """Say it."""\n    def g():\n        "Only this."\n    return g',
        'def f():\n    """Say it."""\n    """Say it again."""\n    return 1',
        # where a line of a text is further left than the def, its margin cannot be taken off
        'class C:\n    def f(self):\n        """Say it."""\n        return """a\nb"""',
    ],
)
def test_a_def_that_cannot_be_cut_cleanly_is_left_out(text):
    assert cut(text) is None


def test_definitions_are_named_by_class_and_those_inside_a_def_are_passed_over():
    tree = ast.parse(
        source("""
        if True:
            def a(): pass
        class B:
            async def c(self): pass
            class D:
                def e(self):
                    def f(): pass
        """)
    )
    assert [name for name, _ in definitions(tree)] == ["a", "B.c", "B.D.e"]


class Bare(ast.NodeTransformer):
    """A tree as it would be if no docstring had been written."""

    def visit(self, node):
        self.generic_visit(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                node.body.remove(first)
        return node


@pytest.mark.parametrize("module", ["argparse", "asyncio.base_events", "functools", "email.utils"])
def test_what_is_left_is_the_same_program(module):
    text = Path(inspect.getsourcefile(__import__(module, fromlist=["x"]))).read_text("utf-8")
    lines, cut_from = text.encode().split(b"\n"), 0
    for _, node in definitions(ast.parse(text)):
        if left := without_docstrings(lines, node):
            cut_from += ast.get_docstring(node) is not None
            assert ast.dump(ast.parse(left).body[0]) == ast.dump(Bare().visit(node))
    assert cut_from >= 3


# --- first sentences ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return all of it.", "Return all of it."),
        ("Return all of it", "Return all of it."),  # one line needs no stop
        ("Return all of it. Then close.", "Return all of it."),
        ("  Return all\n    of it.\n\n    More.", "Return all of it."),
        ("Is it all right? Say so.", "Is it all right?"),
        ("Send it, e.g. by mail. Then wait.", "Send it, e.g. by mail."),
        ("Send it (i.e. mail it) now. Wait.", "Send it (i.e. mail it) now."),
        ("Send it, eg. by mail. Then wait.", "Send it, eg. by mail."),
        ("Send letters, mails, etc. to them. Wait.", "Send letters, mails, etc. to them."),
        ("Send letters, mails, etc. Then wait.", "Send letters, mails, etc."),
        ("Compare it by repr. of both. Wait.", "Compare it by repr. of both."),
        ("Wait a while ... and go on. Stop.", "Wait a while ... and go on."),
        ("New in Python 3.11, still there. Yes.", "New in Python 3.11, still there."),
        ("Read os.path and sys.argv. Done.", "Read os.path and sys.argv."),
        ('Return the "whole of it." And more.', 'Return the "whole of it."'),
        ("Return (some of it.) And more.", "Return (some of it.)"),
        ("Return all of it.\nArguments follow", "Return all of it."),
        ("Read at most 10 bytes.Then stop. Yes", "Read at most 10 bytes.Then stop."),
        ("True if all is well.", "True if all is well."),
        ("get a float from the user", "get a float from the user."),
        ("Remove and return an item (last by default).",) * 2,
    ],
)
def test_the_first_sentence_ends_where_a_reader_would_end_it(docstring, sentence):
    assert first_sentence(docstring) == sentence


@pytest.mark.parametrize(
    "docstring",
    [
        "",
        "Return it now.",  # 3 words
        "So " + "very " * 29 + "long.",  # 31 words
        "read(n) reads up to n bytes.",
        "D.keys() gives all the keys.",
        "read the next n bytes -> bytes",
        "keys -- return all the keys",
        "SMTP 'verify' command -- checks an address.",
        "size - how many bytes to read.",
        "enable number [number ...] of breakpoints",
        "Return the x such that x = y.",
        "Return a <= b by comparing them.",
        "phrase = word / phrase of more words",
        ">>> add(1, 2) gives you three",
        "Show it >>> like this one here",
        "* one item of a list",
        "**DEPRECATED** use the other one instead",
        "`quoted' is how this one starts.",
        "This one is deprecated since long ago.",
        "Deprecated, use the other one instead.",
        "TODO: write what this one does.",
        "Same as the other one, but faster.",
        "See the docstring of the other one.",
        "Like the other one but with bytes.",
        "Override this method in your subclass.",
        "Internal: read all lines until EOF.",
        "Recursive helper function for the other one.",
        "Called when there is nothing to read.",
        "This function is called by the loop.",
        "Return one of the following:",
        "first is a list\nsecond is a number of items",  # lines of a table, no stop
        "Return a number (see PEP 8. Section 3).",  # the stop is inside the bracket
        "1999-12-31 23:59:59 +00:00 0:00 1/2 3/4",
        "返回 所有 的 项目 列表。 x.",
    ],
)
def test_what_is_no_explanation_gives_no_sentence(docstring):
    assert first_sentence(docstring) is None


# --- the task ----------------------------------------------------------------------------------


def test_the_lab_has_as_many_items_as_a_laptop_can_take(lab):
    assert {s: len(index) for s, index in lab.splits.items()} == code.ITEMS
    assert sorted(np.concatenate(list(lab.splits.values()))) == list(range(len(lab.inputs)))
    assert lab.in_text and len(lab.questions) == len(lab.gold) == len(lab.inputs) == 200
    assert lab.labels <= code.ITEMS["supervise"]
    assert set(lab.kinds) == {"function", "method"}


def test_no_docstring_is_left_in_any_input(lab):
    for text, gold in zip(lab.inputs, lab.gold, strict=True):
        tree = ast.parse(text)
        made = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        assert not [n for n in ast.walk(tree) if isinstance(n, made) and ast.get_docstring(n)]
        assert gold.rstrip(".").lower() not in " ".join(text.split()).lower()


def test_every_input_is_one_def_that_does_something_within_the_limits(lab):
    for text in lab.inputs:
        (node,) = ast.parse(text).body
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        assert len(text) <= code.CHARACTERS
        assert node.body[-1].end_lineno - node.body[0].lineno >= 1
        assert not all(isinstance(s, ast.Pass | ast.Raise) for s in node.body)


def test_every_gold_is_a_sentence_that_no_other_item_has(lab):
    for gold in lab.gold:
        assert gold == " ".join(gold.split()) and 4 <= len(gold.split()) <= 30
        assert gold.rstrip("\"'`)")[-1] in ".!?"
    assert len({gold.lower() for gold in lab.gold}) == len(set(lab.ids)) == len(lab.gold)


def test_groups_are_top_modules_and_none_is_in_two_splits_nor_very_large(lab):
    assert all(name.startswith(f"{g}.") for name, g in zip(lab.ids, lab.groups, strict=True))
    splits.check_no_leak(lab.inputs, lab.groups, lab.splits)
    assert np.unique(lab.groups, return_counts=True)[1].max() <= code.ONE_MODULE
    assert not {"test", "site-packages", "ensurepip"} & set(lab.groups)


def test_ids_lead_to_the_function_whose_docstring_gold_is_from(lab):
    root = Path(sysconfig.get_path("stdlib"))
    for name, gold in list(zip(lab.ids, lab.gold, strict=True))[::12]:
        parts = name.split(".")
        cuts = [(root.joinpath(*parts[:n]), ".".join(parts[n:])) for n in range(1, len(parts))]
        files = [(p.with_suffix(".py"), rest) for p, rest in cuts]
        files += [(p / "__init__.py", rest) for p, rest in cuts]
        found = [
            first_sentence(ast.get_docstring(node) or "")
            for file, rest in files
            if file.is_file()
            for inner, node in definitions(ast.parse(file.read_bytes()))
            if inner == rest
        ]
        assert gold in found


def test_smoke_is_a_part_of_the_lab_in_the_same_splits(lab):
    smoke = load_task("code", size="smoke")
    assert {s: len(index) for s, index in smoke.splits.items()} == code.SMOKE
    for split, index in smoke.splits.items():
        assert set(smoke.ids[index]) <= set(lab.ids[lab.splits[split]])


def test_a_new_deal_keeps_the_items_and_is_checked(lab):
    dealt = lab.resplit(1)
    assert sorted(np.concatenate(list(dealt.splits.values()))) == list(range(len(lab.inputs)))
    assert set(dealt.splits["test"]) != set(lab.splits["test"])


def test_the_provenance_says_what_was_read_and_what_was_left_at_each_stage(lab):
    assert lab.provenance["python"] == sys.version
    stages = list(lab.provenance["functions"].values())
    assert len(stages) == 6 and stages == sorted(stages, reverse=True)
    assert stages[-1] >= sum(code.ITEMS.values())


# --- a standard library of our own -------------------------------------------------------------


def words(seed: int, n: int) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices("abcdefghij", k=6)) for _ in range(n)]


def function(seed: int, **changed: str) -> str:
    """A function and its docstring of made-up words, unlike those of any other seed."""
    body = " + ".join(words(seed + 10_000, 12))
    parts = {"name": f"f{seed}", "doc": f"Return {' '.join(words(seed, 5))}.", "body": body}
    parts |= changed
    return '\ndef {name}(x):\n    """{doc}"""\n    y = x\n    return {body}\n'.format(**parts)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Twelve modules of four functions in place of the standard library, and a cache of its own."""
    root = tmp_path / "lib"
    root.mkdir()
    for m in range(12):
        text = "".join(function(10 * m + n) for n in range(4))
        (root / f"m{m:02}.py").write_text(text, encoding="utf-8")
    real = sysconfig.get_path
    monkeypatch.setattr(
        sysconfig, "get_path", lambda name, *a: str(root) if name == "stdlib" else real(name, *a)
    )
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    few = {"supervise": 4, "transfer": 6, "validation": 2, "test": 6}
    monkeypatch.setattr(code, "ITEMS", few)
    return root


def pool(**options) -> dict[str, dict]:
    rows, _ = code._pool(**({"packages": ()} | options))
    return {row["id"]: row for row in rows}


def test_functions_are_found_by_module_and_class(library):
    (library / "pack" / "deep").mkdir(parents=True)
    method = textwrap.indent(function(901), "    ")
    (library / "pack" / "__init__.py").write_text(function(900) + f"class C:\n{method}")
    (library / "pack" / "deep" / "end.py").write_text(function(902))
    (library / "zip.py").write_text(function(903))
    found = pool()
    assert len(found) == 52
    read = [module for module, _ in code._sources(library, library)]
    assert read == sorted(read)  # whatever order the disk lists them in
    kinds = {i: (r["group"], r["kind"]) for i, r in found.items() if i.startswith("pack")}
    assert kinds == {
        "pack.f900": ("pack", "function"),
        "pack.C.f901": ("pack", "method"),
        "pack.deep.end.f902": ("pack", "function"),
    }
    assert found["pack.f900"]["gold"] == f"Return {' '.join(words(900, 5))}."
    assert '"""' not in found["pack.f900"]["code"]


def test_tests_and_installed_packages_are_not_read(library):
    for place in ("test", "json/tests", "site-packages/other", "idlelib/idle_test"):
        (library / place).mkdir(parents=True)
        (library / place / "a.py").write_text(function(900))
    assert len(pool()) == 48


def test_a_planted_near_duplicate_and_a_repeated_gold_or_name_are_left_out(library):
    text = (library / "m00.py").read_text()
    near = text.replace("def f0", "def g0").replace("y = x", "y = x, x")
    near = near.replace("Return", "Compute")  # other golds and names, nearly the same code
    (library / "m12.py").write_text(near)
    said = f"Returns {' '.join(words(10, 5))}s."  # "Return …" of m01.f10 in other words
    (library / "m13.py").write_text(function(910, doc=said))
    (library / "m14.py").write_text(function(920) + function(921, name="f920"))  # one name twice
    found = pool()
    assert len(found) == 49 and "m14.f920" in found
    assert found["m14.f920"]["gold"] == f"Return {' '.join(words(920, 5))}."


def test_a_function_that_repeats_its_docstring_in_a_comment_is_left_out(library):
    said = f"Return {' '.join(words(900, 5))}."
    body = f"(x +  # {said.upper()}\n        {' + '.join(words(900, 9))})"
    (library / "m12.py").write_text(function(900, body=body))
    assert len(pool()) == 48


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    {doc}\n    pass\n    pass",
        "def f(x):\n    {doc}\n    # left to others\n    raise \\\n        NotImplementedError",
        "def f(x):\n    {doc}\n    ...\n    ...",
        "def f(x):\n    {doc}\n    return x + 1",
        "@property\ndef f(x):\n    {doc}\n    return x + 1",
        "@abstractmethod\ndef f(x):\n    {doc}\n    y = x\n    return y",
        "def f(x):\n    {doc}\n    y = x\n    return y" + " + 1" * 100,
        "def f(x):\n    y = x\n    return y",
    ],
)
def test_functions_that_do_nothing_or_too_much_are_left_out(library, text):
    (library / "m12.py").write_text(text.format(doc='"""Return the x that was given."""'))
    assert len(pool()) == 48
    kept = 'def f(x):\n    """Return the x that was given."""\n    y = x\n    passing(y)'
    (library / "m12.py").write_text(kept)
    assert len(pool()) == 49


def test_files_that_are_no_source_are_passed_over(library):
    (library / "broken.py").write_text("def f(:\n")
    (library / "latin.py").write_bytes(b'# coding: ascii\nx = "\xe9"\n')
    (library / "zero.py").write_bytes(b"x = 1\x00\n")
    assert len(pool()) == 48
    (library / "declared.py").write_bytes(b"# coding: latin-1\n" + function(900).encode("latin-1"))
    assert len(pool()) == 49


def test_no_module_gives_more_than_its_share(library):
    many = code.ONE_MODULE + 7
    (library / "big.py").write_text("".join(function(1000 + n) for n in range(many)))
    found = pool()
    assert sum(row["group"] == "big" for row in found.values()) == code.ONE_MODULE
    assert len(found) == 48 + code.ONE_MODULE


def test_a_changed_source_is_a_new_pool(library):
    before = pool()
    assert pool() == before
    (library / "m03.py").write_text(function(900))
    assert set(before) ^ set(pool()) == {"m03.f30", "m03.f31", "m03.f32", "m03.f33", "m03.f900"}
    (library / "m04.py").rename(library / "m04b.py")  # in the same place of the list
    assert "m04b.f40" in pool() and "m04.f40" not in pool()


def test_a_python_without_sources_is_told_in_one_line(library):
    for file in list(library.glob("*.py"))[1:]:
        file.unlink()
    with pytest.raises(W2SError, match="lib: only 4 functions .* in 1 source files; use a Python"):
        load_task("code", size="lab")


def test_other_packages_are_read_without_being_imported(library, tmp_path, monkeypatch):
    place = tmp_path / "installed"
    (place / "more" / "sub").mkdir(parents=True)
    (place / "more" / "tests").mkdir()
    (place / "more" / "__init__.py").write_text("raise SystemExit('imported')" + function(900))
    (place / "more" / "sub" / "a.py").write_text(function(901))
    (place / "more" / "tests" / "a.py").write_text(function(902))
    (place / "single.py").write_text("raise SystemExit('imported')" + function(903))
    monkeypatch.syspath_prepend(str(place))
    found = set(pool(packages=("more", "single"))) - set(pool())
    assert found == {"more.f900", "more.sub.a.f901", "single.f903"}
    task = load_task("code", size="lab", packages="more")
    assert task.provenance["source"] == "standard library, more"
    for name in ("absent", "more.sub", "sys", ""):
        with pytest.raises(W2SError, match=f"packages: no Python sources of a package '{name}'"):
            load_task("code", size="lab", packages=(name,))
    assert "more" not in sys.modules and "single" not in sys.modules


@pytest.mark.slow
def test_the_same_pool_comes_from_every_process(library, tmp_path):
    told = (
        "import sys, sysconfig, json\n"
        f"sysconfig.get_path = lambda name, *a: {str(library)!r}\n"
        "from w2s_lab.data import code\n"
        "code.ITEMS = {'supervise': 4}\n"
        "code.ONE_MODULE = 3\n"
        "print(json.dumps(code._pool(())))"
    )
    runs = []
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "W2S_CACHE": str(tmp_path / seed)}
        runs.append(subprocess.run([sys.executable, "-c", told], env=env, capture_output=True))
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr.decode()
    assert runs[0].stdout == runs[1].stdout
    assert len(json.loads(runs[0].stdout)[0]) == 36


# --- full size ---------------------------------------------------------------------------------

SIZES = {"train": 8, "validation": 2, "test": 3}


def repository(split: str, n: int) -> dict:
    """One row in the format of CodeSearchNet."""
    seed = 1000 * list(SIZES).index(split) + n
    return {
        "repository_name": f"{split}/{n}",
        "func_path_in_repository": "a.py",
        "func_name": f"C.f{seed}" if n % 2 else f"f{seed}",
        "whole_func_string": function(seed).strip(),
        "func_code_string": function(seed).strip(),
        "func_documentation_string": f"Return {' '.join(words(seed, 5))}.\n\nMore of it.",
        "split_name": split,
    }


def saved(folder, **more: list[dict]) -> str:
    from datasets import Dataset, DatasetDict

    parts = {s: [repository(s, n) for n in range(SIZES[s])] + more.get(s, []) for s in SIZES}
    DatasetDict({s: Dataset.from_list(p) for s, p in parts.items()}).save_to_disk(folder)
    return str(folder)


def test_full_size_reads_a_local_folder_in_codesearchnets_format(tmp_path):
    task = load_task("code", size="full", source=saved(tmp_path / "set"))
    assert {s: len(i) for s, i in task.splits.items()} == {
        "supervise": 2,
        "transfer": 6,
        "validation": 2,
        "test": 3,
    }
    index = task.splits["test"]
    assert task.groups[index].tolist() == ["test/0", "test/1", "test/2"]
    assert task.kinds[index].tolist() == ["function", "method", "function"]
    assert task.gold[index[0]] == f"Return {' '.join(words(2000, 5))}."
    assert not [text for text in task.inputs if '"""' in text]
    assert (task.name, task.size, set(task.questions)) == ("code", "full", {code.QUESTION})


def test_full_size_leaves_out_what_crosses_and_what_is_no_python(tmp_path):
    base = repository("train", 90)
    stolen = function(2001).replace("y = x", "y = x, x").replace("Return", "Compute")
    without = base["whole_func_string"].replace('    """Return', '    # """Return')
    more = [
        base | {"repository_name": "test/0"},  # its repository is in test
        base | {"whole_func_string": stolen},  # it resembles a function of test
        base | {"whole_func_string": "def f(x):\n    print 'Python 2'"},
        base | {"whole_func_string": None},
        base | {"func_documentation_string": "See the other one.", "whole_func_string": without},
        repository("train", 91) | {"whole_func_string": "def f(x):\r\n    y = x\r\n    return y"},
    ]
    task = load_task("code", size="full", source=saved(tmp_path / "set", train=more))
    assert task.provenance["dropped_from_the_training_side"] == 2
    train = np.concatenate([task.splits["supervise"], task.splits["transfer"]])
    assert set(task.groups[train]) == {f"train/{n}" for n in (*range(8), 91)}
    # a docstring that its source has lost is taken from its own column
    at = task.groups.tolist().index("train/91")
    assert task.gold[at] == f"Return {' '.join(words(91, 5))}."
    assert task.inputs[at] == "def f(x):\n    y = x\n    return y"


def test_full_size_says_what_it_misses(tmp_path):
    from datasets import Dataset, DatasetDict

    part = Dataset.from_list([{"code": "a", "docstring": "b"}])
    DatasetDict(dict.fromkeys(SIZES, part)).save_to_disk(tmp_path / "set")
    with pytest.raises(W2SError, match="set: no columns of CodeSearchNet, only code, docstring"):
        load_task("code", size="full", source=str(tmp_path / "set"))
    with pytest.raises(W2SError, match="nobody/nothing: cannot be loaded"):
        load_task("code", size="full", source="nobody/nothing")
    with pytest.raises(W2SError, match="source: is read at size full only"):
        load_task("code", size="lab", source=str(tmp_path / "set"))
