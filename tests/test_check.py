"""What `w2s_lab.check` promises: every lack of a machine is seen and comes with its remedy.

The machine is played by small stand-ins for the standard library's and psutil's answers.
"""

import builtins
import importlib.metadata
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from w2s_lab import check as room
from w2s_lab.assets import ASSETS
from w2s_lab.check import Finding, check, render


def only(findings) -> Finding:
    (finding,) = findings
    return finding


@pytest.fixture
def fetched(monkeypatch):
    """A switch for which assets are in the cache."""
    names: set[str] = set()
    monkeypatch.setattr(room, "is_fetched", names.__contains__)
    return names


def memory(monkeypatch, *, total: float, available: float, limit: float = float("inf")):
    here = SimpleNamespace(total=total, available=available)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: here)
    monkeypatch.setattr(room, "_limit", lambda: limit)
    return only(room._memory())


def packages(monkeypatch, declared, installed) -> dict[str, Finding]:
    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: declared)
    monkeypatch.setattr(importlib.metadata, "version", version)
    return {finding.name: finding for finding in room._packages()}


def test_this_machine_is_looked_at_in_every_respect_and_each_lack_has_a_remedy():
    findings = check()
    names = [finding.name for finding in findings]
    for name in ("python", "packages", "memory", "cache", "pip", *ASSETS, "kernel", "torch"):
        assert name in names
    assert [finding for finding in findings if not finding.ok and not finding.mend] == []
    assert {finding.name: finding.ok for finding in findings}["python"] is True


def test_looking_at_the_packages_does_not_import_them():
    code = (
        "import sys; from w2s_lab import check; list(check._packages()); "
        "print([name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(("version", "ok"), [((3, 10, 9), False), ((3, 11, 0), True)])
def test_python_3_11_is_the_oldest_that_will_do(monkeypatch, version, ok):
    monkeypatch.setattr(sys, "version_info", version)
    assert only(room._python()).ok is ok


def test_a_package_outside_its_range_is_named_with_the_command_that_mends_it(monkeypatch):
    found = packages(
        monkeypatch,
        ["numpy>=2.0", "transformers>=5.0,<6", "gguf>=0.17"],
        {"numpy": "2.4.6", "transformers": "6.1"},
    )
    assert found["packages"].ok is False
    assert found["packages"].found.startswith("1 of 3 ")
    assert found["packages"].mend
    assert "numpy" not in found
    assert (found["transformers"].ok, found["transformers"].found) == (False, "6.1")
    assert found["transformers"].mend == 'run `pip install "transformers<6,>=5.0"`'
    assert found["gguf"].found == "not installed"


def test_packages_of_extras_and_of_other_systems_are_not_asked_for(monkeypatch):
    declared = [
        "numpy>=2.0",
        'pytest>=8.0; extra == "dev"',
        'pywin32; sys_platform == "no-such-system"',
    ]
    found = packages(monkeypatch, declared, {"numpy": "2.4.6"})
    assert list(found) == ["packages"]
    assert found["packages"].ok is True


def test_a_preview_release_within_the_range_will_do(monkeypatch):
    # A course machine may run a nightly torch: 2.14.0.dev0 is newer than 2.6
    found = packages(monkeypatch, ["torch>=2.6"], {"torch": "2.14.0.dev20261101+cu128"})
    assert found["packages"].ok is True


def test_a_checkout_that_is_not_installed_is_a_warning(monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    finding = only(room._packages())
    assert finding.ok is None
    assert "pip install -e ." in finding.mend


@pytest.mark.parametrize(
    ("total", "available", "limit", "ok"),
    [
        (8e9, 5e9, float("inf"), True),
        (8e9, 3e9, float("inf"), None),  # other programs hold the rest: not a lack of the machine
        (3e9, 2e9, float("inf"), False),
        (64e9, 60e9, 2e9, False),  # a container with 2 GB on a large host
    ],
)
def test_memory_is_judged_by_the_machine_and_its_container(
    monkeypatch, total, available, limit, ok
):
    assert memory(monkeypatch, total=total, available=available, limit=limit).ok is ok


@pytest.mark.parametrize(("text", "limit"), [("2000000000\n", 2e9), ("max\n", float("inf"))])
def test_a_containers_limit_is_read_and_the_word_max_is_none(monkeypatch, tmp_path, text, limit):
    (tmp_path / "memory.max").write_text(text)
    monkeypatch.setattr(room, "Path", lambda _: tmp_path)
    assert room._limit() == limit


@pytest.mark.parametrize(
    ("free", "have", "ok"),
    [
        (4e9, [], True),
        (2e9, [], False),
        (2e9, list(ASSETS), None),  # what is fetched already needs no more space
        (2e9, list(ASSETS)[:-1], False),
    ],
)
def test_the_cache_needs_space_until_it_holds_the_assets(
    monkeypatch, tmp_path, fetched, free, have, ok
):
    fetched.update(have)
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "not" / "there" / "yet"))
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert only(room._cache()).ok is ok
    assert list(tmp_path.iterdir()) == []  # looking makes nothing


def test_a_cache_that_cannot_be_written_names_the_variable_that_moves_it(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "file" / "cache"))
    finding = only(room._cache())
    assert finding.ok is False
    assert "W2S_CACHE" in finding.mend


def test_a_missing_pip_matters_only_while_assets_are_missing(monkeypatch, fetched):
    assert only(room._pip()).ok is True
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    assert only(room._pip()).ok is False
    assert "ensurepip" in only(room._pip()).mend
    fetched.update(ASSETS)
    assert only(room._pip()).ok is None


def test_an_asset_not_yet_fetched_is_a_warning_with_its_size(fetched):
    fetched.add("minilm")
    found = {finding.name: finding for finding in room._assets()}
    assert list(found) == list(ASSETS)
    assert found["minilm"].ok is True
    assert found["smollm2"].ok is None
    assert "93 MB" in found["smollm2"].found
    assert "w2s-lab fetch" in found["smollm2"].mend


@pytest.mark.parametrize(
    ("program", "ok"),
    [("python", True), (sys.executable, True), ("/opt/an/old/environment/bin/python", False)],
)
def test_a_kernel_that_starts_another_python_is_found_out(monkeypatch, program, ok):
    from jupyter_client.kernelspec import KernelSpecManager

    spec = SimpleNamespace(argv=[program, "-m", "ipykernel_launcher"])
    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda self, name: spec)
    assert only(room._kernel()).ok is ok


def test_a_missing_kernel_stops_the_labs(monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    def missing(self, name):
        raise NoSuchKernel(name)

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", missing)
    finding = only(room._kernel())
    assert finding.ok is False
    assert "ipykernel install" in finding.mend


@pytest.mark.parametrize(
    ("platform", "script", "ok", "words"),
    [
        ("linux", "exit 0", True, "works"),
        ("linux", "echo 'bwrap: No permissions' >&2; exit 1", None, "bwrap: No permissions"),
        ("linux", None, None, "not installed"),
        ("darwin", None, None, "Linux only"),
    ],
)
def test_a_box_that_does_not_work_is_only_a_warning(
    monkeypatch, tmp_path, platform, script, ok, words
):
    program = tmp_path / "bwrap"
    if script:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = only(room._box())
    assert finding.ok is ok
    assert words in finding.found


def test_a_missing_or_broken_library_is_a_finding_and_not_a_traceback(monkeypatch):
    real = builtins.__import__

    def broken(name, *args, **kwargs):
        if name == "torch":
            raise OSError("libsomething.so.9: cannot open shared object file")
        if name == "psutil":
            raise ModuleNotFoundError("No module named 'psutil'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    found = {finding.name: finding for finding in check()}
    assert (found["torch"].ok, found["memory"].ok) == (False, False)
    assert found["torch"].found.startswith("libsomething.so.9")
    assert "No module named 'psutil'" in found["memory"].found
    assert found["python"].ok is True


def test_the_table_shows_a_remedy_under_each_lack_and_counts_them():
    table = render(
        [
            Finding("python", True, "3.11", "not shown"),
            Finding("aclsum", None, "not fetched yet", "run `w2s-lab fetch`"),
            Finding("memory", False, "2 GB", "use a larger machine"),
        ]
    )
    assert table.splitlines() == [
        "ok    python  3.11",
        "warn  aclsum  not fetched yet",
        "              -> run `w2s-lab fetch`",
        "FAIL  memory  2 GB",
        "              -> use a larger machine",
        "1 to mend first, 1 to know about.",
    ]


def test_a_machine_that_lacks_nothing_is_ready():
    assert render([Finding("python", True, "3.11")]).splitlines()[-1] == "Ready."
