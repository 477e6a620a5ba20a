"""Do runs on a cluster come to what one machine comes to, and is nothing finished done twice?

Quick tests have workers in this process and a run that is made up; the slow ones have real
processes, one of which is killed, and a tiny model.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from dataclasses import replace

import dask_processes as dask
import numpy as np
import pytest
from test_experiment import planted
from tiny_models import save_model

from w2s_lab import experiment, grid, workers
from w2s_lab.assets import is_whole
from w2s_lab.cli import main
from w2s_lab.errors import W2SError
from w2s_lab.methods import Method, naive

distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")
CLOSE = 1e-3  # what `grid.runs` promises


@pytest.fixture(scope="module")
def task():
    return planted()


@contextlib.contextmanager
def here(*resources):
    """The address of a scheduler in this process, with a worker for each of these resources."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    started = {
        "scheduler": {
            "cls": distributed.Scheduler,
            "options": {"dashboard_address": ":0", "host": "127.0.0.1", "port": 0},
        },
        "workers": {
            i: {"cls": distributed.Worker, "options": {"nthreads": 1, "resources": one}}
            for i, one in enumerate(resources)
        },
    }
    try:
        with distributed.SpecCluster(**started) as cluster:
            dask.until(lambda: len(cluster.scheduler.workers) == len(resources))
            yield cluster.scheduler.address
    finally:
        logging.disable(before)


@pytest.fixture(scope="module")
def two():
    """A cluster of two workers, one of which offers a GPU."""
    with here({}, {"GPU": 1}) as address:
        yield address


class Bar:
    """Stands for `progress.bar` and remembers itself."""

    made: list = []

    def __init__(self, iterable, desc, total, unit):
        self.total, self.n = total, 0
        Bar.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self):
        self.n += 1


@pytest.fixture
def seen(monkeypatch):
    """The progress bars that were shown."""
    monkeypatch.setattr(Bar, "made", [])
    monkeypatch.setattr(grid, "bar", Bar)
    return Bar.made


@pytest.fixture
def made_up(monkeypatch, task):
    """Runs that take no time: probabilities say which seed they are of; returns what was asked."""
    asked = []

    def run(**words):
        asked.append(words | {"worker": distributed.get_worker().address})
        if words.get("labels") == 13:
            raise W2SError("13 gold labels asked for", where="labels", mend="ask for 14")
        (seed,) = words["seeds"]
        test = task.splits["test"]
        return experiment.Result(
            task=task.name,
            size=task.size,
            device=words.get("device") or "cpu",
            weak=words.get("weak") or "static",
            strong="minilm",
            labels=8,
            seeds=1,
            metric=task.metric,
            classes=task.classes,
            methods=("naive",),
            baselines=(),
            probs={name: np.full((1, 72, 2), float(seed)) for name in ("weak", "naive")},
            gold=task.gold[test],
            groups=task.groups[test],
            kinds=task.kinds[test],
            test=test,
            pool={"texts": 480, "left": seed},
            curves={"naive": np.full((12, 2), float(seed))},
            cost={"weak": {"tokens": 9000.0, "seconds": float(seed)}},
            seconds=1e9,
            provenance={"split": None} | experiment.told_of(words["seeds"]),
        )

    monkeypatch.setattr(experiment, "run", run)
    monkeypatch.setattr(workers, "has", lambda model: True)
    return asked


def test_each_seed_is_a_job_and_the_results_come_in_the_order_asked_for(two, task, made_up, seen):
    first, second = grid.runs([{"task": task, "seeds": 3}, {"task": task, "seeds": (7, 2)}], two)
    assert sorted(one["seeds"] for one in made_up) == [(0,), (1,), (2,), (2,), (7,)]
    assert first.probs["weak"][:, 0, 0].tolist() == [0, 1, 2]
    assert second.probs["naive"][:, 0, 0].tolist() == [7, 2]
    assert (first.seeds, second.seeds) == (3, 2)
    assert "seeds" not in first.provenance and second.provenance["seeds"] == [7, 2]
    (bar,) = seen
    assert bar.n == bar.total == 5


def test_what_is_a_mean_over_seeds_in_a_run_is_one_after_joining(two, task, made_up):
    (found,) = grid.runs([{"task": task, "seeds": (1, 2, 6)}], two)
    assert found.pool == {"texts": 480, "left": 3}  # (1 + 2 + 6) / 3
    assert (found.curves["naive"] == 3).all() and found.curves["naive"].shape == (12, 2)
    assert found.cost == {"weak": {"tokens": 9000, "seconds": 3}}
    assert 0 < found.seconds < 1e6  # not what the parts say


def test_both_workers_work(two, task, made_up):
    grid.runs([{"task": task, "seeds": 6}], two)
    assert len({one["worker"] for one in made_up}) == 2


def test_a_run_with_cuda_goes_to_the_worker_that_offers_a_gpu_and_others_anywhere(
    two, task, made_up
):
    with distributed.Client(two, set_as_default=False) as client:
        known = workers.found(client)
    with_gpu = {address for address, one in known.items() if one.gpus}
    assert len(with_gpu) == 1
    asked = [{"task": task, "seeds": 3, "device": device} for device in ("cuda", "cpu")]
    on_gpu, on_cpu = grid.runs(asked, two)
    assert {one["worker"] for one in made_up if one["device"] == "cuda"} == with_gpu
    assert (on_gpu.device, on_cpu.device) == ("cuda", "cpu")


def test_without_a_gpu_on_offer_it_is_said_how_to_offer_one(task, made_up):
    with here({}) as address, pytest.raises(W2SError, match='--resources "GPU=1"'):
        grid.runs([{"task": task, "device": "cuda"}], address)
    assert not made_up


def test_a_mistake_that_shows_on_a_worker_is_told_as_it_is(two, task, made_up):
    with pytest.raises(W2SError) as told:
        grid.runs([{"task": task, "labels": 13}], two)
    assert str(told.value) == "labels: 13 gold labels asked for; ask for 14"


def test_an_unknown_argument_is_refused_with_the_known_ones(two, task):
    with pytest.raises(W2SError, match="run 1: unknown: sede; .*seeds"):
        grid.runs([{"task": task}, {"task": task, "sede": 3}], "tcp://127.0.0.1:1")


def test_a_worker_without_the_models_is_told_before_any_work(two, task, made_up, monkeypatch):
    monkeypatch.setattr(workers, "has", lambda model: model != "minilm")
    with pytest.raises(W2SError, match=r"worker tcp://.* does not have minilm; .*w2s-lab fetch"):
        grid.runs([{"task": task}], two)
    assert not made_up
    grid.runs([{"task": task, "strong": "static"}], two)  # for which it has all


def test_a_worker_of_another_version_is_told_before_any_work(two, task, made_up, monkeypatch):
    found = workers.found

    def older(client, models):
        told = found(client, models)
        last = sorted(told)[-1]
        versions = {**told[last].versions, "torch": "1.0.0"}
        return told | {last: replace(told[last], versions=versions)}

    monkeypatch.setattr(workers, "found", older)
    with pytest.raises(
        W2SError, match="torch is 1.0.0 there and .* here; run `pip install torch=="
    ):
        grid.runs([{"task": task}], two)
    assert not made_up


def test_a_method_registered_here_travels_by_value(two, task, made_up):
    mine = Method("mine", lambda probs, prior, round: naive(probs, prior, round))
    grid.runs([{"task": task, "methods": [mine], "seeds": 1}], two)
    (asked,) = made_up
    assert [method.name for method in asked["methods"]] == ["mine"]


def test_a_run_of_another_protocol_is_one_job_with_all_its_seeds(task, monkeypatch):
    monkeypatch.setattr(experiment, "default_models", lambda task: {})
    asked = {"task": replace(task, protocol="cascade"), "seeds": 4}
    jobs, _ = grid._jobs([asked, {"task": task, "seeds": 4}])
    assert [job.asked["seeds"] for job in jobs] == [4, (0,), (1,), (2,), (3,)]
    assert [job.run for job in jobs] == [0, 1, 1, 1, 1]


def test_a_cluster_whose_workers_all_leave_is_given_up(task, made_up, monkeypatch):
    monkeypatch.setattr(grid, "GONE_SECONDS", 0.2)
    nthreads = distributed.Client.nthreads
    calls = []

    def leaving(self, *words):
        calls.append(words)
        return nthreads(self) if len(calls) < 2 else {}

    monkeypatch.setattr(distributed.Client, "nthreads", leaving)
    with here({}) as address, pytest.raises(W2SError, match="all workers are gone; start some"):
        grid.runs([{"task": task}], address)


def test_runs_that_wait_for_a_gpu_are_given_up_once_no_worker_offers_one(
    task, made_up, monkeypatch
):
    monkeypatch.setattr(grid, "GONE_SECONDS", 0.2)
    monkeypatch.setattr(grid, "POLL_SECONDS", 0.05)
    nthreads = distributed.Client.nthreads
    calls = []

    def leaving(self, *words):
        calls.append(words)
        assert len(calls) < 200, "it would go on for ever"
        there = nthreads(self)
        return there if len(calls) < 3 else {a: n for a, n in there.items() if a in bare}

    with here({}, {"GPU": 1}) as address:
        with distributed.Client(address, set_as_default=False) as client:
            bare = [a for a, one in workers.found(client).items() if not one.gpus]
        monkeypatch.setattr(distributed.Client, "nthreads", leaving)
        with pytest.raises(W2SError, match='all workers that offer a GPU are gone; .*"GPU=1"'):
            grid.runs([{"task": task, "seeds": 5, "device": "cuda"}], address)


def test_a_folder_of_here_is_asked_for_by_its_full_name(task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    asked = {"task": task, "weak": "models/mine:0", "strong": "models/mine:2+", "seeds": 1}
    (job,), models = grid._jobs([asked])
    full = {f"{tmp_path}/models/mine:0", f"{tmp_path}/models/mine:2+"}
    assert {job.asked["weak"], job.asked["strong"]} == models == full


def test_a_scheduler_of_another_version_is_told_before_any_work(two, task, made_up, monkeypatch):
    older = W2SError("dask is 2020.1.0 there")
    monkeypatch.setattr(workers, "scheduler_problem", lambda client: older)
    with pytest.raises(W2SError, match=r"dask is 2020\.1\.0 there"):
        grid.runs([{"task": task}], two)
    assert not made_up


# --- with a tiny model and no stand-in


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The settings of runs with a tiny model; an empty cache."""
    home = tmp_path_factory.mktemp("world")
    model = save_model(home / "model")
    settings = {"weak": f"{model}:0", "strong": f"{model}:2", "methods": ["naive", "ensemble"]}
    settings |= {"device": "cpu", "task": planted()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(home / "cache"))
        yield settings


@pytest.fixture(scope="module")
def serial(world):
    """What one machine comes to with six seeds."""
    return experiment.run(**world, seeds=6)


def same(found, serial):
    assert list(found.probs) == list(serial.probs)
    for name, probs in serial.probs.items():
        np.testing.assert_allclose(found.probs[name], probs, atol=CLOSE, err_msg=name)
        np.testing.assert_array_equal(found.predicted(name), serial.predicted(name))
    for name, curve in serial.curves.items():
        np.testing.assert_allclose(found.curves[name], curve, atol=0.01, err_msg=name)
    assert found.pool == pytest.approx(serial.pool, abs=1)
    assert (found.seeds, found.methods, found.device) == (6, serial.methods, serial.device)
    assert found.provenance == serial.provenance
    for model in ("weak", "strong"):
        assert found.cost[model]["flops"] == pytest.approx(serial.cost[model]["flops"])


def finished(cache):
    """The finished parts in a cache."""
    return [path for path in (cache / "results").glob("[!.]*") if is_whole(path)]


def test_finished_parts_are_taken_from_the_cache_of_the_workers(world, tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))  # of the worker too: it is this process
    with here({}) as address:
        few = experiment.run(**world, seeds=2, cluster=address)
        before = {path: path.stat().st_ino for path in finished(tmp_path)}
        assert len(before) == 2
        more = experiment.run(**world, seeds=3, cluster=address)
    after = {path: path.stat().st_ino for path in finished(tmp_path)}
    assert len(after) == 3 and before.items() <= after.items()
    np.testing.assert_array_equal(more.probs["naive"][:2], few.probs["naive"])


@pytest.mark.slow
def test_with_a_worker_killed_in_mid_run_nothing_finished_is_done_twice(
    world, serial, tmp_path, seen
):
    caches = [tmp_path / name for name in ("one", "two")]  # none can take from the other
    for cache in caches:
        cache.mkdir()
    with (
        dask.scheduler(tmp_path) as (_, address),
        dask.worker(address, caches[0], W2S_CACHE=str(caches[0])) as first,
        dask.worker(address, caches[1], W2S_CACHE=str(caches[1])) as second,
    ):
        dask.joined(address, 2)
        killed = []

        def kill():
            """Ends the first worker that has finished one part and computes another."""

            def in_mid_job(cache):
                return finished(cache) and list((cache / "results").glob(".*.part/*"))

            def try_one():
                for cache, process in zip(caches, (first, second), strict=True):
                    if in_mid_job(cache):
                        os.kill(process.pid, signal.SIGSTOP)
                        if in_mid_job(cache):  # still so, now that it stands
                            process.kill()
                            return cache
                        os.kill(process.pid, signal.SIGCONT)
                return None

            killed.append(dask.until(try_one, 300))

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        found = experiment.run(**world, seeds=6, cluster=address)
        killer.join(60)
    same(found, serial)
    assert killed and finished(killed[0])
    names = [path.name for cache in caches for path in finished(cache)]
    # six parts, each made once: what the dead worker had finished, its peer did not do again
    assert len(names) == len(set(names)) == 6
    (bar,) = seen
    assert bar.n == bar.total == 6


@pytest.mark.slow
def test_a_job_that_kills_three_workers_is_told_with_its_arguments(world, tmp_path):
    def deadly(probs, prior, round):
        import os

        os._exit(1)

    asked = world | {"methods": [Method("deadly", deadly)], "labels": 9}
    with contextlib.ExitStack() as stack:
        _, address = stack.enter_context(dask.scheduler(tmp_path))
        for _ in range(3):
            stack.enter_context(dask.worker(address, tmp_path, W2S_CACHE=str(tmp_path)))
        dask.joined(address, 3)
        with pytest.raises(W2SError) as told:
            experiment.run(**asked, seeds=1, cluster=address)
    line = str(told.value)
    assert line.startswith(f"{address}: this job has killed 3 workers (task planted, ")
    assert "labels 9" in line and "seeds (0,)" in line and "\n" not in line


@pytest.mark.slow
def test_a_scheduler_killed_in_mid_run_is_told_in_one_line(world, tmp_path):
    with (
        dask.scheduler(tmp_path) as (process, address),
        dask.worker(address, tmp_path, W2S_CACHE=str(tmp_path)),
    ):
        dask.joined(address, 1)

        def kill():
            dask.until(lambda: finished(tmp_path), 300)
            process.kill()

        threading.Thread(target=kill, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(W2SError, match="the cluster is gone"):
            experiment.run(**world, seeds=40, cluster=address)
        assert time.monotonic() - began < 400
    assert len(finished(tmp_path)) < 40


@pytest.mark.slow
def test_the_command_looks_at_workers_with_and_without_what_runs_need(tmp_path, capsys):
    with dask.scheduler(tmp_path) as (_, address):
        bare = tmp_path / "bare"
        bare.mkdir()
        with dask.worker(address, bare, "--resources", "GPU=1", W2S_CACHE=str(bare)):
            dask.joined(address, 1)
            said = tmp_path / "said.json"
            assert main(["cluster", address, "--json", str(said)]) == 1
    told = capsys.readouterr().out
    assert "GPU=1" in told and "lacks minilm, smollm2, static" in told
    assert "does not have minilm, smollm2, static; run `w2s-lab fetch` there" in told
    assert told.splitlines()[-1] == "1 to mend first."
    import json

    (one,) = json.loads(said.read_text())
    assert one["resources"] == {"GPU": 1} and len(one["problems"]) == 1


@pytest.mark.slow
def test_a_worker_whose_package_differs_is_told_with_both_versions(task, tmp_path, capsys):
    """The worker sees a copy of the package with one more line."""
    import shutil

    import w2s_lab

    other = tmp_path / "other"
    shutil.copytree(
        os.path.dirname(w2s_lab.__file__),
        other / "w2s_lab",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    with (other / "w2s_lab" / "errors.py").open("a") as file:
        file.write("# changed\n")
    with (
        dask.scheduler(tmp_path) as (_, address),
        dask.worker(address, tmp_path, PYTHONPATH=str(other)),
    ):
        dask.joined(address, 1)
        with pytest.raises(W2SError, match=r"w2s_lab is \w{12} there and \w{12} here") as told:
            grid.runs([{"task": task}], address)
        assert "start the worker again" in str(told.value) and "\n" not in str(told.value)
        assert main(["cluster", address]) == 1
    assert "w2s_lab is " in capsys.readouterr().out
