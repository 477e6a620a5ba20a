"""What a student may read of a test that failed.

Of a hidden test that is what its author wrote, word for word, and what this module says itself; no
value, and no text of an exception. So neither the test nor what it handed over comes out.
"""

import ast
from collections.abc import Collection

from w2s_lab.teach.grading.codec import BadFrame
from w2s_lab.teach.grading.plan import Step
from w2s_lab.teach.grading.proxies import Gone

GENERIC = "The result is not the expected one."
HIDDEN_FAILED = "A hidden test does not hold."
UNWRITTEN = "Nothing is written here yet."


def of_error(
    error: BaseException, source: str, step: Step, theirs: Collection[str], *, secret: bool
) -> str:
    """What a student may read of an exception that ended a test.

    Args:
        source: the part of the test that was run.
        theirs: names that students define.
        secret: whether a hidden test has been run on the process that the exception may come from.
    """
    text = text_of(error)
    if text and text in _authors_words(ast.parse(source)):
        return text
    if isinstance(error, NameError) and not getattr(error, "boxed", False):
        name = getattr(error, "name", None)
        if name in theirs:
            return f"There is no name {name!r}: is the cell that defines it there?"
    if isinstance(error, NotImplementedError) and not text:
        return UNWRITTEN
    if isinstance(error, (Gone, TimeoutError, MemoryError)) and not getattr(error, "boxed", 0):
        return f"Your code could not be tested: {text}." if text else "No answer came back."
    if secret:
        return HIDDEN_FAILED if step.hidden else GENERIC
    if isinstance(error, BadFrame):
        return f"What your code returned cannot be used: {text}."
    kind = type(error).__name__
    if isinstance(error, AssertionError) and not text:
        return f"This does not hold: {_failed_line(error, step)}"
    line = getattr(error, "line", "")
    where = f" (at `{line}`)" if line else ""
    return f"{kind}: {text}{where}" if text else f"{kind}{where}"


def _authors_words(tree: ast.AST) -> set[str]:
    """Sentences that stand as they are in asserts and raises of a test: the author wrote them."""
    words = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and isinstance(node.msg, ast.Constant):
            words.add(str(node.msg.value))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            words |= {str(arg.value) for arg in node.exc.args if isinstance(arg, ast.Constant)}
    return words


def _failed_line(error: BaseException, step: Step) -> str:
    """The line of a visible test that did not hold."""
    trace, number = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == f"<{step.grade_id}>":
            number = trace.tb_lineno
        trace = trace.tb_next
    lines = step.visible.split("\n")
    return lines[number - 1].strip() if 0 < number <= len(lines) else "a test"


def text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a stand-in among its arguments
        return ""
