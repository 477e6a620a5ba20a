"""Does a worker's look at itself say what keeps runs from it, and each in one line?"""

from dataclasses import replace

import pytest

from w2s_lab import workers
from w2s_lab.workers import Worker, problems, table, versions

GOOD = Worker("tcp://10.0.0.1:9", "node1", 4, 8 * 10**9, {"GPU": 1}, versions())


def test_a_worker_like_this_process_has_no_problems():
    assert problems(GOOD) == []
    assert table([GOOD]).splitlines()[-1] == "Ready: runs can be sent there."


@pytest.mark.parametrize("name", ["python", "w2s_lab", "torch", "transformers", "numpy"])
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
