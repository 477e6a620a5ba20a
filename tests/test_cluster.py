"""Is a cluster reached, or is it said in one line why not? Settings files of batch systems too.

dask-jobqueue is played by a stand-in whose jobs are workers in this process; where the real one is
installed, the settings that we ship are turned into Slurm's script.
"""

import contextlib
import logging
import socket
import sys
import types
from pathlib import Path

import dask_processes as dask
import pytest

from w2s_lab import cluster, workers
from w2s_lab.cli import main
from w2s_lab.cluster import connect, opened
from w2s_lab.errors import W2SError

distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")
SHIPPED = Path(__file__).parents[1] / "docs" / "cluster" / "slurm.yaml"


def refused(where):
    """The one line that says why there is no connection."""
    with pytest.raises(W2SError) as told, connect(where):
        pytest.fail("connected")
    assert "\n" not in str(told.value) and told.value.mend
    return str(told.value)


@pytest.fixture
def quiet_dask():
    """Nothing of what Dask logs at its end."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)


@pytest.fixture
def local(quiet_dask):
    """Starts schedulers in this process with so many workers of two threads."""
    with contextlib.ExitStack() as stack:

        def start(count):
            return stack.enter_context(
                distributed.LocalCluster(
                    n_workers=count,
                    threads_per_worker=2,
                    processes=False,
                    protocol="tcp",
                    host="127.0.0.1",
                    dashboard_address=":0",
                )
            ).scheduler_address

        yield start


def test_calls_run_on_the_workers_and_threads_say_how_many_at_a_time(local):
    with connect(local(2)) as (executor, threads):
        assert threads == 4
        assert list(executor.map(len, ["", "ab", "abc"])) == [0, 2, 3]
        assert executor.submit(lambda: distributed.get_worker().address).result()


def test_an_error_of_a_call_is_raised_as_it_is(local):
    with connect(local(1)) as (executor, _), pytest.raises(ZeroDivisionError):
        executor.submit(lambda: 1 / 0).result()


def test_workers_are_looked_at_if_models_are_named_and_only_then(local, monkeypatch):
    address = local(1)
    monkeypatch.setattr(workers, "has", lambda model: model == "minilm")
    with connect(address, ["minilm"]) as (executor, _):
        assert executor.submit(len, "four").result() == 4
    with pytest.raises(W2SError, match=r"worker tcp://.* does not have mine; "):
        connect(address, ["minilm", "mine"]).__enter__()
    monkeypatch.setattr(workers, "problems", lambda worker: [W2SError("torch is 1.0.0 there")])
    with pytest.raises(W2SError, match=r"^torch is 1\.0\.0 there$"), connect(address, ()):
        pytest.fail("connected")
    with connect(address) as (executor, _):
        assert executor.submit(len, "four").result() == 4


def test_a_call_that_kills_its_workers_is_told_as_such(local):
    address = local(1)
    with pytest.raises(W2SError) as told, connect(address):
        raise distributed.KilledWorker("a call", None, 3)
    mend = "give them more memory, or see their logs"
    assert str(told.value) == f"{address}: a call has killed its workers; {mend}"


def test_a_cluster_without_workers_is_told(local):
    assert "the cluster has no workers; start some with `dask worker tcp://" in refused(local(0))


def test_an_address_where_nobody_listens_is_told():
    with socket.socket() as taken:  # bound and not listening: nobody else can answer there
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        assert refused(address).startswith(f"{address}: no scheduler answers there; start one")


@pytest.mark.parametrize("address", ["http://127.0.0.1:80", "nowhere", "127.0.0.1:99999", ""])
def test_what_is_no_address_is_told(address):
    assert "no scheduler answers there" in refused(address)


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
def test_a_listener_that_is_no_scheduler_is_told(greeting, monkeypatch, quiet_dask):
    import threading

    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk():
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])
                    held[-1].sendall(greeting)

        held: list = []
        threading.Thread(target=talk, daemon=True).start()
        try:
            assert "no scheduler answers" in refused(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        finally:
            for line in held:
                line.close()


def test_a_scheduler_of_tls_without_certificates_is_told(quiet_dask):
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = refused(f"tls://127.0.0.1:{server.getsockname()[1]}")
    assert "certificates" in told


def test_without_dask_it_is_said_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "--cluster: dask is not installed; install it: pip install" in refused("tcp://a:1")
    assert main(["cluster", "tcp://a:1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("w2s-lab: --cluster: dask is not installed; ")


def test_a_scheduler_that_goes_away_is_told(quiet_dask, tmp_path):
    with (
        pytest.raises(W2SError, match="the cluster is gone; .* nothing was lost"),
        dask.scheduler(tmp_path) as (process, address),
        dask.worker(address, tmp_path),
    ):
        dask.joined(address, 1)
        with connect(address) as (executor, _):
            never = executor.submit(__import__("time").sleep, 600)
            process.kill()
            never.result(60)


# --- settings files


class Slurm(distributed.LocalCluster):
    """Stands for dask_jobqueue.SLURMCluster: its jobs are workers in this process."""

    job_cls = types.SimpleNamespace(submit_command="true")  # a program that is there
    asked: dict = {}
    works = True

    def __init__(self, queue=None, cores=None, **more):
        if cores is None:
            raise ValueError("You must specify how much cores")
        Slurm.asked = {"queue": queue, "cores": cores, **more}
        super().__init__(
            n_workers=0,
            threads_per_worker=cores,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address=":0",
        )

    def scale(self, n=0, *, jobs=None):
        if jobs is not None:
            Slurm.asked["jobs"] = jobs
        if self.works:
            return super().scale(n or jobs or 0)
        return None

    def close(self, *words, **more):
        Slurm.asked["ended"] = True
        return super().close(*words, **more)


@pytest.fixture
def slurm(monkeypatch, quiet_dask):
    """The stand-in, in place of dask-jobqueue."""
    stand_in = types.ModuleType("dask_jobqueue")
    stand_in.SLURMCluster = Slurm
    monkeypatch.setitem(sys.modules, "dask_jobqueue", stand_in)
    monkeypatch.setattr(Slurm, "asked", {})
    return stand_in


@pytest.fixture
def settings(tmp_path):
    """Writes a settings file."""

    def write(text):
        (tmp_path / "here.yaml").write_text(text)
        return str(tmp_path / "here.yaml")

    return write


GOOD = "{cluster: SLURMCluster, jobs: 2, settings: {queue: gpu, cores: 3}}"


def test_the_jobs_of_a_settings_file_are_started_for_the_block_and_ended_after_it(slurm, settings):
    with connect(settings(GOOD)) as (executor, threads):
        assert threads in (3, 6)  # of the first job, or of both
        assert executor.submit(len, "four").result() == 4
        assert Slurm.asked == {"queue": "gpu", "cores": 3, "jobs": 2}
    assert Slurm.asked["ended"]


def test_the_jobs_are_ended_after_an_error_too(slurm, settings):
    with pytest.raises(ZeroDivisionError), opened(settings(GOOD)):
        1 / 0  # noqa: B018
    assert Slurm.asked["ended"]


SAID = """Command exited with non-zero exit code.
Exit code: 1
Command:
sbatch /tmp/a.sh
stdout:

stderr:
sbatch: error: Batch job submission failed: Invalid account

"""


def test_a_job_that_is_refused_is_told_at_once_in_the_batch_systems_words(
    slurm, settings, monkeypatch
):
    async def refuse(self):
        self._correct_state_waiting = None  # as the one that it stands for does first
        if Slurm.asked.get("jobs") and "ended" not in Slurm.asked:
            raise RuntimeError(SAID)

    monkeypatch.setattr(Slurm, "works", False)
    monkeypatch.setattr(Slurm, "_correct_state_internal", refuse)
    told = refused(settings(GOOD))
    words = "a job was refused (sbatch: error: Batch job submission failed: Invalid account)"
    assert words in told and Slurm.asked["ended"]


def test_a_cluster_that_cannot_be_waited_for_is_asked_all_the_same():
    asked = []
    plain = types.SimpleNamespace(scale=lambda jobs: asked.append(jobs))
    assert cluster._refused(plain, 3) == "" and asked == [3]


@pytest.mark.skipif(sys.platform == "win32", reason="its sbatch is a shell script")
def test_the_real_dask_jobqueue_tells_of_a_refused_job_and_ends_the_others(
    quiet_dask, settings, tmp_path, monkeypatch
):
    pytest.importorskip("dask_jobqueue")
    for name, line in {
        "sbatch": 'mkdir "$0.one" 2>&- && echo Submitted batch job 17 && exit; echo No more >&2',
        "scancel": 'echo "$1" >> "$0.txt"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\nexit {int(name == 'sbatch')}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    options = "cores: 1, memory: 1GB, scheduler_options: {dashboard_address: ':0'}"
    told = refused(settings(f"{{cluster: SLURMCluster, jobs: 2, settings: {{{options}}}}}"))
    assert told.endswith(
        "here.yaml: a job was refused (No more); change `settings` or `jobs` in the file"
    )
    assert (tmp_path / "scancel.txt").read_text() == "17\n"


def test_jobs_that_do_not_begin_in_time_are_told_and_ended(slurm, settings, monkeypatch):
    monkeypatch.setattr(Slurm, "works", False)
    told = refused(settings(GOOD[:-1] + ", minutes: 0.002}"))
    assert "no job has begun within 0.002 minutes; see your queue" in told
    assert Slurm.asked["ended"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cluster: [", "this is no YAML"),
        ("just words", "`cluster` is not there"),
        ("{cluster: SLURMCluster, settings: {}}", "`jobs` is not there"),
        ("{cluster: SLURMCluster, jobs: many}", "`jobs` is 'many'"),
        ("{cluster: SLURMCluster, jobs: 0, settings: {}}", "`jobs` is 0"),
        ("{cluster: SLURMCluster, jobs: 1, settings: [a]}", "`settings` is ['a']"),
        (GOOD[:-1] + ", nodes: 3}", "`nodes` is 3"),
        ("{cluster: os, jobs: 1}", "no cluster 'os'; choose one of: SLURMCluster"),
        ("{cluster: SLURMCluster, jobs: 1}", "SLURMCluster: You must specify how much cores"),
    ],
)
def test_a_settings_file_that_cannot_be_used_is_told(slurm, settings, text, said):
    file = settings(text)
    told = refused(file)
    assert told.startswith(f"{file}: ") and said in told


def test_a_settings_file_that_is_not_there_is_told(slurm, tmp_path):
    assert "cannot be read (No such file" in refused(str(tmp_path / "none.yml"))


def test_where_no_jobs_can_be_submitted_it_is_said(slurm, settings, monkeypatch):
    missing = types.SimpleNamespace(submit_command="sbatch-of-elsewhere")
    monkeypatch.setattr(Slurm, "job_cls", missing)
    assert "sbatch-of-elsewhere is not on this machine; run this where" in refused(settings(GOOD))


def test_without_dask_jobqueue_it_is_said_what_to_install(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    assert "dask-jobqueue is not installed; install it: pip" in refused(settings(GOOD))


def test_the_shipped_settings_make_a_script_that_asks_for_one_gpu(quiet_dask):
    import yaml

    jobqueue = pytest.importorskip("dask_jobqueue")
    asked = yaml.safe_load(SHIPPED.read_text())
    assert asked["cluster"] == "SLURMCluster" and asked["jobs"] >= 1
    with jobqueue.SLURMCluster(
        **asked["settings"], scheduler_options={"dashboard_address": ":0"}
    ) as made:
        script = made.job_script()
    assert "#SBATCH --gres=gpu:1" in script and "#SBATCH -p gpu" in script
    assert "export W2S_CACHE=" in script
    assert "--resources GPU=1" in script and "--nthreads 8" in script
