"""What the workers of a Dask cluster have: versions, models, GPUs; and what keeps runs from them.

It neither connects nor runs anything, see `cluster`. Versions are compared because Python objects
travel as they are (dask, distributed and cloudpickle pack them), and because another torch comes to
other numbers.
"""

import hashlib
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from w2s_lab.errors import W2SError

CARRIERS = ("dask", "distributed", "cloudpickle")
PACKAGES = ("torch", "transformers", "numpy", *CARRIERS)
BLOCK = re.compile(r"(:\d+)?\+?$")  # behind a model's name: where it is cut, and the kind of head
UNKNOWN = "not found"


@dataclass(frozen=True)
class Worker:
    """One process of a cluster, as it told of itself.

    Attributes:
        threads: how many a job has there; memory: in bytes, 0 for no limit.
        resources: what it was started with, for example {"GPU": 1}.
        versions: of Python, of w2s_lab (a hash of its sources) and of `PACKAGES`.
        missing: those models of `found(…, models)` that it does not have.
    """

    address: str
    host: str
    threads: int
    memory: int
    resources: Mapping[str, float]
    versions: Mapping[str, str]
    missing: tuple[str, ...] = ()

    @property
    def gpus(self) -> float:
        return self.resources.get("GPU", 0)


@cache  # as it was when it was loaded, not as somebody has edited it since
def versions() -> dict[str, str]:
    """Versions in this process of what must agree, by name."""
    from importlib.metadata import PackageNotFoundError, version

    home, digest = Path(__file__).parent, hashlib.sha256()
    for file in sorted(home.rglob("*.py")):
        digest.update(file.relative_to(home).as_posix().encode() + file.read_bytes())
    found = {"python": "{}.{}".format(*sys.version_info), "w2s_lab": digest.hexdigest()[:12]}
    for package in PACKAGES:
        try:
            found[package] = version(package).partition("+")[0]  # 2.9+cpu is also 2.9+cu126
        except PackageNotFoundError:
            found[package] = UNKNOWN
    return found


def look(models: Sequence[str], dask_worker) -> Worker:
    """This worker; called there by Dask."""
    return Worker(
        address=dask_worker.address,
        host=platform.node(),
        threads=dask_worker.state.nthreads,
        memory=dask_worker.memory_manager.memory_limit or 0,
        resources=dict(dask_worker.state.total_resources),
        versions=versions(),
        missing=tuple(name for name in models if not has(name)),
    )


@contextmanager
def all_threads() -> Iterator[None]:
    """On a worker of Dask, as many of torch's threads as the worker has: only one call computes.

    Dask's nannies start workers with OMP_NUM_THREADS=1, for tasks that compute side by side.
    """
    if "distributed" not in sys.modules:  # a worker has imported it
        yield
        return
    import torch
    from distributed import get_worker

    before = torch.get_num_threads()
    try:
        threads = get_worker().state.nthreads
    except ValueError:  # no worker: distributed is imported for another reason
        threads = before
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has(model: str) -> bool:
    """Whether a rung of the ladder is fetched here, or a folder is there; a Hub id counts as so."""
    from w2s_lab.assets import is_fetched
    from w2s_lab.models import LADDER

    base = BLOCK.sub("", model)
    if base in LADDER:
        return is_fetched(LADDER[base][0])
    folder = base.startswith((".", "/", "~", "\\")) or Path(base).drive
    return not folder or Path(base).expanduser().exists()


def in_full(model: str) -> str:
    """The same model by a name that means it in any folder: "models/mine:2" might be a Hub id."""
    from w2s_lab.models import LADDER

    base = BLOCK.sub("", model)
    if base in (*LADDER, "lead") or not Path(base).exists():  # these win over a folder
        return model
    return f"{Path(base).absolute()}{model[len(base) :]}"


def found(client, models: Iterable[str] = ()) -> dict[str, Worker]:
    """What each worker that is there now says of itself, by its address."""
    names = sorted(set(models))
    told = client.run(look, names, on_error="return")
    mute = [address for address, answer in told.items() if not isinstance(answer, Worker)]
    if mute:  # the package is not there, or an old one: Dask itself knows the rest
        packages = client.get_versions(packages=list(PACKAGES))["workers"]
    for address in mute:
        known = packages.get(address, {}).get("packages", {})
        seen = {"w2s_lab": UNKNOWN} | _told_by_dask(known, PACKAGES)
        host = address.rpartition("//")[2].rpartition(":")[0]
        told[address] = Worker(address, host, client.nthreads().get(address, 0), 0, {}, seen)
    return told


def _told_by_dask(known: Mapping, packages: Sequence[str]) -> dict[str, str]:
    """Versions as `versions` writes them, out of what Dask's own look at a process says."""
    seen = {name: (known.get(name) or UNKNOWN).partition("+")[0] for name in packages}
    return {"python": ".".join(known.get("python", UNKNOWN).split(".")[:2])} | seen


def scheduler_problem(client) -> W2SError | None:
    """Why runs cannot go through this scheduler, which unpacks part of what is sent; else None."""
    known = client.get_versions()["scheduler"]["packages"]
    here, there = versions(), _told_by_dask(known, CARRIERS)
    differ = [name for name, version in there.items() if version != here[name]]
    if not differ:
        return None
    what = ", ".join(f"{name} is {there[name]} there and {here[name]} here" for name in differ)
    mends = [f"`pip install {name}=={here[name]}` there" for name in differ if name != "python"]
    if "python" in differ:
        mends.insert(0, f"start it with Python {here['python']}")
    where, mend = f"scheduler {client.scheduler.address}", " and ".join(mends)
    return W2SError(what, where=where, mend=f"{mend}, and start it again")


def problems(worker: Worker) -> list[W2SError]:
    """Why this process cannot send its runs there; none if it can."""
    mends = {
        "python": "start it with Python {0}",
        "w2s_lab": "install the same there (`pip install -e .` of one and the same folder)",
    }
    where = f"worker {worker.address} on {worker.host}"
    wrong = []
    for name, here in versions().items():
        there = worker.versions.get(name, UNKNOWN)
        if there != here:
            mend = mends.get(name, f"run `pip install {name}=={{0}}` there").format(here)
            what = f"{name} is {there} there and {here} here"
            wrong.append(W2SError(what, where=where, mend=f"{mend} and start the worker again"))
    if worker.missing:
        what = f"it does not have {', '.join(worker.missing)}"
        mend = "run `w2s-lab fetch` there, or give it a W2S_CACHE or folder on a shared disk"
        wrong.append(W2SError(what, where=where, mend=mend))
    return wrong


def table(workers: Iterable[Worker], more: Iterable[W2SError] = ()) -> str:
    """A plain table of workers, and below it what is wrong with them, and `more`."""
    heads = ("worker", "host", "threads", "memory", "resources", "python", "w2s_lab")
    rows: list[tuple[str, ...]] = [(*heads, *PACKAGES, "models")]
    workers = sorted(workers, key=lambda worker: worker.address)
    for one in workers:
        memory = f"{one.memory / 1e9:.1f} GB" if one.memory else "no limit"
        offered = ", ".join(f"{name}={count:g}" for name, count in one.resources.items()) or "-"
        models = f"lacks {', '.join(one.missing)}" if one.missing else "there"
        names = ("python", "w2s_lab", *PACKAGES)
        said = [one.versions.get(name, UNKNOWN) for name in names]
        rows.append((one.address, one.host, str(one.threads), memory, offered, *said, models))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    wrong = [*map(str, more), *(str(error) for one in workers for error in problems(one))]
    verdict = f"{len(wrong)} to mend first." if wrong else "Ready: runs can be sent there."
    return "\n".join([*lines, *wrong, verdict])
