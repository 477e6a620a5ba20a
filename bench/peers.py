"""The engine against its peers: every work of the table, in one run, with medians and spread.

    w2s-lab bench [--only NAME] [--size smoke] [--device cuda] [--json FILE] [--write]

Each work is a file in this folder that can also be run by itself.
"""

import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from measuring import environment, show

from w2s_lab.errors import W2SError

# file in this folder: what it measures
WORKS = {
    "token_states": "the trunk pass against sentence-transformers and a plain loop",
    "students": "a grid of students against one after another",
    "training": "whole-model fine-tuning against the Trainer of transformers",
    "decoding": "batched decoding against `generate`",
    "lesson": "a lesson repeated against its first run",
}
# work and peer begin with these words: at least so many times better
AIMS = {
    ("token states", ""): 1.5,
    ("75 students", "plain"): 10,
    ("75 students", "a loop"): 50,
    ("fine-tuning", ""): 1.3,
    ("decoding", ""): 1.0,
    ("lesson", ""): 10,
}
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "engine.md"


def measure(only=None, *, size="lab", device="cpu", json_to=None, page=False) -> list[dict]:
    """The rows of some works or all, printed as they come, and written where that is asked for.

    Raises:
        W2SError: no such work, or a peer that is not installed.
    """
    for name in only or ():
        if name not in WORKS:
            raise W2SError(f"no work {name!r}", mend=f"choose one of: {', '.join(WORKS)}")
    if page and (only or size == "smoke"):
        mend = "leave out --only, and take lab or full"
        raise W2SError("a part of the table is not written to the page", where="--write", mend=mend)
    if find_spec("sentence_transformers") is None:
        mend = "pip install -c constraints.txt -e '.[bench]'"
        raise W2SError("a peer is not installed: sentence-transformers", mend=mend)
    rows: list[dict] = []
    for name in only or WORKS:
        found = importlib.import_module(name).measure(size, device)
        show(found, device)
        rows += found
        if json_to:  # after each work: a run that is stopped has written what it measured
            Path(json_to).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if page:
        write(rows, size, device)
    return rows


def write(rows: list[dict], size: str, device: str) -> None:
    """Puts the table between the marks of the device's section in docs/benchmarks."""
    kind = "gpu" if device.startswith("cuda") else "cpu"
    begin, end = f"<!-- {kind} -->", f"<!-- end of {kind} -->"
    page = PAGE.read_text()
    head, tail = page[: page.index(begin) + len(begin)], page[page.index(end) :]
    told = {"size": size, **environment(device)}
    named = "; ".join(f"{name} {value}" for name, value in told.items())
    PAGE.write_text(f"{head}\n\n{named}\n\n{table(rows)}\n\n{tail}")


def table(rows: list[dict]) -> str:
    """The rows in Markdown."""
    lines = [
        "| work | peer | ours | theirs | ratio [lowest, highest] | aim | memory, ours and theirs"
        " | matrix rate |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        aim = next(
            (
                f"{aim:g}"
                for (work, peer), aim in AIMS.items()
                if one["work"].startswith(work) and one["peer"].startswith(peer)
            ),
            "",
        )
        unit = one["unit"]
        spread = ""
        if "lowest" in one:
            spread = f" [{_figures(one['lowest'])}, {_figures(one['highest'])}]"
        memory = f"{one['ours_mb']:,.0f} and {one['theirs_mb']:,.0f} MB" if "ours_mb" in one else ""
        share = f"{one['share']:.0%}" if "share" in one else ""
        lines.append(
            f"| {one['work']} | {one['peer']} | {_figures(one['ours'])} {unit} "
            f"| {_figures(one['theirs'])} {unit} | {_figures(one['ratio'])}{spread} | {aim} "
            f"| {memory} | {share} |"
        )
    return "\n".join(lines)


def _figures(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
