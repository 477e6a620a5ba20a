"""The process in the box answers every request with plain data, whatever the cells do to it."""

import math
import socket
import subprocess

import pytest

from w2s_lab.teach.grading.box import python
from w2s_lab.teach.grading.codec import decode, encode
from w2s_lab.teach.grading.line import FROM_BOX, Ended, Line
from w2s_lab.teach.grading.worker import KEPT, MOST_ITEMS, PRINTED, TEXT

SECONDS = 60


class Process:
    """A worker on two pipes, as a container has it."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                python("worker"),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
            )
        self.line = Line(ours, most=FROM_BOX)
        assert self.line.receive(seconds=SECONDS) == {"ready": True}

    def ask(self, op, **about):
        self.line.send({"op": op} | about)
        return self.line.receive(seconds=SECONDS)

    def run(self, source):
        return self.ask("run", source=source)

    def get(self, *names):
        found = self.ask("get", names=list(names))["value"]
        return {name: decode(value, lambda told: told) for name, value in found}

    def call(self, name, *args, back=False, **kwargs):
        target = self.get(name)[name]["n"]
        given = encode([list(args), kwargs], known=[], grow=True)
        return self.ask("call", target=target, args=given, **({"back": True} if back else {}))

    def close(self):
        self.line.close()
        status = self.process.wait(20)
        self.process.stderr.close()
        return status


@pytest.fixture(scope="module")
def worker():
    one = Process()
    yield one
    assert one.close() == 0  # it ends by itself when nobody asks any more


def test_a_cell_runs_and_its_names_come_as_plain_data(worker):
    assert worker.run("x = [1, (2.5, None)]\ny = x[0]")["ok"]
    assert worker.get("x", "y", "nothing") == {"x": [1, (2.5, None)], "y": 1}


def test_a_cell_runs_as_the_main_module_of_a_notebook(worker):
    assert worker.run("import __main__\nwho = __name__, __main__.__dict__ is globals()")["ok"]
    assert worker.get("who") == {"who": ("__main__", True)}


def test_a_failure_tells_its_classes_its_text_and_the_cells_own_line(worker):
    reply = worker.run("import json\ndef load(text):\n    return json.loads(text)\nload('{')")
    assert reply["ok"] is False
    assert reply["error"][:3] == ["JSONDecodeError", "ValueError", "Exception"]
    assert reply["text"].startswith("Expecting property name")
    assert reply["line"] == "return json.loads(text)"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("%nothing", "UsageError"),
        ("await 3", "TypeError"),
        ("raise type('Own', (Exception,), {'__str__': lambda self: 1 / 0})", "Own"),
        ("def f(): f()\nf()", "RecursionError"),
    ],
)
def test_no_cell_ends_the_process(worker, source, kind):
    reply = worker.run(source)
    if kind == "UsageError":  # IPython tells it, and it is no exception
        assert worker.run("1")["ok"]
        return
    assert (reply["ok"], reply["error"][0]) == (False, kind)
    assert worker.run("1")["ok"]


def test_a_text_and_a_line_are_cut(worker):
    reply = worker.run(f"raise ValueError('x' * 10**6) # {'y' * 1000}")
    assert (len(reply["text"]), len(reply["line"])) == (TEXT, 200)


def test_what_is_printed_is_kept_up_to_a_limit_and_per_request(worker):
    assert worker.run("print('a')\nimport sys\nprint('b', file=sys.stderr)")["printed"] == "a\nb\n"
    assert len(worker.run("print('x' * 10**6)\nprint('more')")["printed"]) == PRINTED
    assert worker.run("print('c')")["printed"] == "c\n"


def test_neither_standard_output_nor_descriptor_1_reaches_the_line(worker):
    source = "import os, sys\nos.write(1, b'xx')\nos.write(2, b'xx')\nsys.__stdout__.write('xx')"
    assert worker.run(source + "\nos.system('echo xx')")["ok"]
    assert worker.run("input_fails = True\ninput('? ')")["error"][0] in (
        "EOFError",
        "StdinNotImplementedError",
    )


def test_a_request_that_makes_no_sense_is_a_failure_and_no_end(worker):
    assert worker.ask("nothing")["ok"] is False
    assert worker.ask("call", target=10**9, args=[[], {}])["ok"] is False


def test_a_value_too_large_is_a_failure_and_no_end(worker):
    worker.run("big, small = 'x' * (5 << 20), 1\ndef f(): return big")
    (_, big), (_, small) = worker.ask("get", names=["big", "small"])["value"]
    assert big["!"] == "remote" and small == 1  # the other name is there all the same
    assert worker.call("f")["error"][0] == "ValueError"
    assert worker.run("1")["ok"]


def test_a_call_brings_back_its_arguments_where_that_is_asked_for(worker):
    worker.run("def f(values, extra=0):\n    values.append(extra)\n    return values")
    plain = worker.call("f", [1], extra=2)
    assert decode(plain["value"]) == [1, 2] and "args" not in plain
    reply = worker.call("f", [1], extra=2, back=True)
    assert decode(reply["args"]) == [[[1, 2]], {"extra": 2}]
    known = []
    encode([[[1]], {"extra": 2}], known=known, grow=True)
    assert decode(reply["value"], known=known) is known[0]  # the argument itself


def test_a_function_of_the_judges_is_called_over_the_line(worker):
    worker.run("def f(g):\n    return [g(1), g(2)]")
    target = worker.get("f")["f"]["n"]
    worker.line.send({"op": "call", "target": target, "args": _functions(0)})
    for number in (1, 2):
        asked = worker.line.receive(seconds=SECONDS)
        assert asked["callback"] == 0 and decode(asked["args"]) == [[number], {}]
        worker.line.send({"value": encode(number * 10)})
    assert decode(worker.line.receive(seconds=SECONDS)["value"]) == [10, 20]


def test_what_such_a_function_raises_arrives_in_the_cell(worker):
    worker.run(
        "def f(g):\n    try:\n        g(1)\n    except KeyError as why:\n        return str(why)"
    )
    target = worker.get("f")["f"]["n"]
    worker.line.send({"op": "call", "target": target, "args": _functions(7)})
    assert worker.line.receive(seconds=SECONDS)["callback"] == 7
    worker.line.send({"error": "KeyError", "text": "mine"})
    assert decode(worker.line.receive(seconds=SECONDS)["value"]) == "'mine'"


def _functions(number):
    """The arguments of a call that hands over one function of the judge's."""
    return [[{"!": "function", "n": number}], {"!": "dict", "v": []}]


def test_a_librarys_function_is_found_by_its_name(worker):
    worker.run("def f(g):\n    return g(0.0)")
    target = worker.get("f")["f"]["n"]
    args = [[{"!": "import", "m": "math", "v": "cos"}], {"!": "dict", "v": []}]
    assert decode(worker.ask("call", target=target, args=args)["value"]) == math.cos(0)


def test_standard_output_says_how_it_is_encoded(worker):
    assert worker.run("import sys\nkind = sys.stdout.encoding, sys.stdout.isatty()")["ok"]
    assert worker.get("kind") == {"kind": ("UTF-8", False)}


def test_an_endless_iterator_is_cut(worker):
    worker.run("import itertools\nendless = itertools.count()")
    number = worker.get("endless")["endless"]["n"]
    items = decode(worker.ask("items", target=number)["value"])
    assert items == list(range(MOST_ITEMS))


def test_names_are_bound_and_taken_away(worker):
    worker.ask("bind", name="given", value=encode([1, {2}]))
    assert worker.get("given") == {"given": [1, {2}]}
    worker.ask("unbind", name="given")
    worker.ask("unbind", name="given")
    assert worker.get("given") == {}


def test_no_more_objects_are_kept_than_allowed():
    one = Process()
    try:
        one.run(f"many = [object() for _ in range({KEPT + 1})]")
        assert one.ask("get", names=["many"])["error"][0] == "MemoryError"
        assert one.run("1")["ok"]
    finally:
        one.close()


def test_a_judge_that_hangs_up_ends_the_process():
    one = Process()
    assert one.close() == 0


def test_a_process_that_ends_is_an_end_of_the_line():
    one = Process()
    with pytest.raises(Ended):
        one.run("import os\nos._exit(5)")
    assert one.close() == 5


def test_a_module_written_by_a_cell_can_be_imported(worker, tmp_path):
    reply = worker.run(
        f"import os\nos.chdir({str(tmp_path)!r})\n"
        "open('written_here.py', 'w').write('x = 7')\nimport written_here\ny = written_here.x"
    )
    assert reply["ok"], reply
    assert worker.get("y") == {"y": 7}


def test_figures_are_made_and_never_shown(worker):
    source = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()"
    assert worker.run(source + "\nbackend = plt.get_backend().lower()")["ok"]
    assert worker.get("backend") == {"backend": "agg"}
