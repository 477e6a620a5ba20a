"""Does a worker's look at itself say what keeps runs from it, and each in one line?"""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from w2s_lab import workers
from w2s_lab.errors import W2SError
from w2s_lab.workers import Worker, problems, table, versions

GOOD = Worker("tcp://10.0.0.1:9", "node1", 4, 8 * 10**9, {"GPU": 1}, versions())


def test_a_worker_like_this_process_has_no_problems():
    assert problems(GOOD) == []
    assert table([GOOD]).splitlines()[-1] == "Ready: runs can be sent there."


@pytest.mark.parametrize("name", ["python", "w2s_lab", *workers.PACKAGES])
def test_another_version_is_told_with_host_package_both_versions_and_how_to_mend_it(name):
    (error,) = problems(replace(GOOD, versions={**versions(), name: "0.0"}))
    line = str(error)
    assert line.startswith("worker tcp://10.0.0.1:9 on node1: ")
    assert f"{name} is 0.0 there and {versions()[name]} here" in line
    assert line.endswith("and start the worker again") and "\n" not in line


def test_a_package_that_is_not_there_is_told_as_such():
    without = {name: version for name, version in versions().items() if name != "torch"}
    (error,) = problems(replace(GOOD, versions=without))
    assert "torch is not found there" in str(error)


def test_missing_models_are_told_by_name():
    (error,) = problems(replace(GOOD, missing=("minilm", "smollm2")))
    assert "it does not have minilm, smollm2; run `w2s-lab fetch` there" in str(error)


def test_the_table_has_a_line_for_each_worker_and_counts_what_is_wrong():
    bad = replace(GOOD, address="tcp://10.0.0.2:9", memory=0, resources={}, missing=("minilm",))
    head, first, second, wrong, verdict = table([bad, GOOD]).splitlines()
    assert head.split()[:5] == ["worker", "host", "threads", "memory", "resources"]
    assert "tcp://10.0.0.1:9" in first and "8.0 GB" in first and "GPU=1" in first
    assert "no limit" in second and "lacks minilm" in second
    assert wrong.startswith("worker tcp://10.0.0.2:9") and verdict == "1 to mend first."


def test_a_build_of_torch_for_another_device_is_the_same_version():
    assert "+" not in versions()["torch"]


def test_a_rung_is_there_when_its_files_are_fetched_and_a_folder_when_it_exists(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    assert (
        not workers.has("static") and not workers.has("smollm2:22") and not workers.has("minilm+")
    )
    monkeypatch.setattr("w2s_lab.assets.is_fetched", lambda asset: asset == "minilm")
    assert workers.has("static") and workers.has("minilm:3+") and not workers.has("smollm2")
    assert workers.has(f"{tmp_path}:2") and not workers.has(f"{tmp_path}/none:2")
    assert workers.has("someone/model-on-the-hub") and workers.has("lead")


def test_a_relative_folder_gets_its_full_name_and_other_models_keep_theirs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("models/mine", "minilm", "lead"):
        (tmp_path / folder).mkdir(parents=True)
    for end in ("", ":2", "+", ":2+"):
        assert workers.in_full(f"models/mine{end}") == f"{tmp_path}/models/mine{end}"
    for name in ("minilm:3", "lead", "models/other", "owner/model:2", f"{tmp_path}/models/mine:1"):
        assert workers.in_full(name) == name


class Asked:
    """A client whose scheduler has these versions."""

    scheduler = SimpleNamespace(address="tcp://10.0.0.9:8786")

    def __init__(self, **packages):
        python = ".".join(map(str, sys.version_info))  # as Dask tells it: 3.11.4.final.0
        self.packages = versions() | {"python": python} | packages

    def get_versions(self):
        return {"scheduler": {"packages": self.packages}, "workers": {}}


def test_a_scheduler_of_other_versions_is_told_in_one_line_with_all_of_them():
    assert workers.scheduler_problem(Asked(torch=None)) is None  # it needs none
    here = versions()
    told = str(workers.scheduler_problem(Asked(python="3.1.0.final.0", dask="2020.1.0")))
    assert told == (
        f"scheduler tcp://10.0.0.9:8786: python is 3.1 there and {here['python']} here, dask is "
        f"2020.1.0 there and {here['dask']} here; start it with Python {here['python']} and "
        f"`pip install dask=={here['dask']}` there, and start it again"
    )
    assert table([GOOD], [W2SError("of the scheduler")]).endswith(
        "\nof the scheduler\n1 to mend first."
    )


def test_a_worker_whose_package_cannot_answer_is_described_by_dask():
    class Client:
        def run(self, function, models, on_error):
            assert (function, models, on_error) == (workers.look, ["minilm"], "return")
            return {"tcp://10.0.0.1:9": ModuleNotFoundError("w2s_lab"), GOOD.address + "1": GOOD}

        def get_versions(self, packages):
            told = {"python": "3.10.4.final.0", "torch": "2.1.0+cu121", "numpy": None}
            return {"workers": {"tcp://10.0.0.1:9": {"packages": told}}}

        def nthreads(self):
            return {"tcp://10.0.0.1:9": 2}

    found = workers.found(Client(), ["minilm", "minilm"])
    mute = found["tcp://10.0.0.1:9"]
    assert (mute.host, mute.threads) == ("10.0.0.1", 2)
    assert mute.versions["python"] == "3.10" and mute.versions["torch"] == "2.1.0"
    assert mute.versions["w2s_lab"] == mute.versions["numpy"] == "not found"
    assert problems(mute) and found[GOOD.address + "1"] == GOOD
