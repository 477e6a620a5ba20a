"""A Dask cluster to compute on: one that is there, or jobs of a batch system for the time of a run.

It sends no work itself: `grid` does so with whole runs, grading with hand-ins.
"""

import logging
import shutil
import socket
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from w2s_lab import workers
from w2s_lab.errors import W2SError

CONNECT_SECONDS = 10
GREETING = 2**20  # bytes; a scheduler's first message has some hundreds
MINUTES = 30  # for the first job of a batch system to begin


@contextmanager
def connect(where: str, models: Iterable[str] | None = None) -> Iterator[tuple[Executor, int]]:
    """An executor on a cluster, and how many calls it takes at the same time.

    Args:
        where: a scheduler's address, "tcp://HOST:PORT" or "tls://HOST:PORT"; or a YAML file for
            dask-jobqueue, whose jobs are started now and ended afterwards: `cluster` (a class, such
            as SLURMCluster), `jobs` (how many), `settings` (its keyword arguments), `minutes` (to
            wait for the first job, 30 by default).
        models: names of models that the calls need. If given, even as (), the workers that are
            there now and the scheduler must have this process's versions, and each worker these
            models; later ones are not looked at. By default nothing is: what grades needs no torch.

    Raises:
        W2SError: dask is not installed, nobody answers there, the cluster has no worker, or it goes
            away meanwhile; a settings file that cannot be used, a job that is refused; a scheduler
            or worker with other versions, or one without the models.
    """
    with opened(where) as client, client.get_executor(pure=False) as executor:
        if models is not None:
            _checked(client, models)
        # not pure: the same call made twice is two jobs
        yield executor, sum(client.nthreads().values())


def alive(executor: Executor) -> bool:
    """Whether there still are workers behind an executor of `connect`."""
    client = executor._client  # type: ignore[attr-defined]  # Dask's executor has no word for it
    try:
        return bool(client.nthreads())
    except OSError:  # nor a scheduler
        return False


def _checked(client, models: Iterable[str]) -> None:
    """Raises the first thing that keeps calls from the scheduler and the workers of now."""
    if error := workers.scheduler_problem(client):
        raise error
    for _, worker in sorted(workers.found(client, models).items()):
        if wrong := workers.problems(worker):
            raise wrong[0]


@contextmanager
def opened(where: str) -> Iterator:
    """A `distributed.Client` of a cluster that has workers; arguments and errors as `connect`."""
    try:
        from distributed import Client, KilledWorker
        from distributed.comm import CommClosedError
        from distributed.versions import VersionMismatchWarning
    except ImportError:
        mend = "install it: pip install 'w2s-lab[cluster]'"
        raise W2SError("dask is not installed", where="--cluster", mend=mend) from None
    where = str(where)
    with _unlogged(), _scheduler(where) as (scheduler, patience):
        try:
            # a table of many lines; `workers` compares what must agree, and tells it in one
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VersionMismatchWarning)
                client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TimeoutError):
            raise _silent(where) from None
        with client:
            try:
                if patience:
                    client.wait_for_workers(1, timeout=60 * patience)
            except TimeoutError:
                mend = "see your queue (`squeue --me`), or give more `minutes` in the file"
                what = f"no job has begun within {patience:g} minutes"
                raise W2SError(what, where=where, mend=mend) from None
            if not client.nthreads():
                mend = f"start some with `dask worker {where}`"
                raise W2SError("the cluster has no workers", where=where, mend=mend)
            try:
                yield client
            except KilledWorker:
                mend = "give them more memory, or see their logs"
                raise W2SError("a call has killed its workers", where=where, mend=mend) from None
            except (CancelledError, CommClosedError):
                mend = "see to it and go on; nothing was lost"
                raise W2SError("the cluster is gone", where=where, mend=mend) from None


@contextmanager
def _scheduler(where: str) -> Iterator[tuple]:
    """What a Client connects to, and how many minutes it has to wait for workers."""
    if where.endswith((".yaml", ".yml")):
        started, minutes = _started(where)
        with started:
            yield started, minutes
        return
    from distributed import Security

    try:
        _knock(where)  # Client waits for ever for some that do not, and complains at its end
    except (OSError, ValueError):
        raise _silent(where) from None
    if where.startswith("tls:") and not Security().get_connection_args("client")["ssl_context"]:
        mend = "name them in Dask's settings: distributed.comm.tls.client.cert, .key and .ca-file"
        raise W2SError("this needs certificates", where=where, mend=mend)
    yield where, 0


def _silent(where: str) -> W2SError:
    mend = "start one with `dask scheduler` and give the address that it prints"
    return W2SError("no scheduler answers there", where=where, mend=mend)


def _started(file: str):
    """The cluster of a settings file with its jobs asked for, and the minutes to wait for one."""
    import yaml

    try:
        read = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        mend = "give the address of a scheduler or a file, see docs/cluster.md"
        raise W2SError(f"cannot be read ({error.strerror})", where=file, mend=mend) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = f"this is no YAML ({error})"
        raise W2SError(said, where=file, mend="begin with docs/cluster/slurm.yaml") from None
    keys = {"cluster": str, "jobs": int, "settings": dict, "minutes": int | float}
    asked: dict[str, Any] = {"settings": {}, "minutes": MINUTES}
    asked |= read if isinstance(read, dict) else {}
    for key in [*keys, *asked]:
        good = key in keys and isinstance(asked.get(key), keys[key])
        if not good or (key == "jobs" and asked[key] < 1):
            what = f"`{key}` is {asked[key]!r}" if key in asked else f"`{key}` is not there"
            mend = "it needs `cluster` (a class), `jobs` (a number) and `settings`"
            raise W2SError(what, where=file, mend=mend)
    try:
        import dask_jobqueue
    except ImportError:
        mend = "install it: pip install dask-jobqueue"
        raise W2SError("dask-jobqueue is not installed", where=file, mend=mend) from None
    kinds = {name: v for name, v in vars(dask_jobqueue).items() if name.endswith("Cluster")}
    kind = kinds.get(asked["cluster"])
    if kind is None:
        mend = f"choose one of: {', '.join(sorted(kinds))}"
        raise W2SError(f"no cluster {asked['cluster']!r}", where=file, mend=mend)
    submit = (getattr(getattr(kind, "job_cls", None), "submit_command", "") or "").split()
    if submit and not shutil.which(submit[0]):
        mend = "run this where jobs are submitted"
        raise W2SError(f"{submit[0]} is not on this machine", where=file, mend=mend)
    try:
        started = kind(**asked["settings"])
    except (TypeError, ValueError) as error:
        mend = "see the settings in dask-jobqueue's documentation"
        raise W2SError(f"{asked['cluster']}: {error}", where=file, mend=mend) from None
    if said := _refused(started, asked["jobs"]):
        started.close()
        mend = "change `settings` or `jobs` in the file"
        raise W2SError(f"a job was refused ({said})", where=file, mend=mend)
    return started, asked["minutes"]


def _refused(started, jobs: int) -> str:
    """Asks for so many jobs; says why one was refused, or nothing.

    `scale` submits them in a task of its own, whose error ends in a log that nobody reads.
    """
    from distributed.core import Status
    from distributed.deploy.spec import ProcessInterface

    if not hasattr(started, "_correct_state"):
        started.scale(jobs=jobs)
        return ""

    async def submit() -> None:
        # both in one step of the loop, so that it is the task of `scale` that is waited for
        started.scale(jobs=jobs)
        await started._correct_state()

    try:
        started.sync(submit)
    except (RuntimeError, ValueError) as error:
        for job in list(getattr(started, "_created", ())):
            if isinstance(job, ProcessInterface):  # else `close` fails, and waits at exit
                job.status = Status.failed
        lines = [line.strip() for line in str(error).splitlines()]  # the last are of stderr
        return next((s for s in lines[::-1] if s not in ("", "stdout:", "stderr:")), repr(error))
    return ""


@contextmanager
def _unlogged() -> Iterator[None]:
    """Dask logs a lost connection as tracebacks, from threads of its own; we tell it in one."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _knock(address: str) -> None:
    """Raises OSError or ValueError unless somebody there speaks first, as a scheduler does."""
    from distributed.comm.addressing import parse_address, parse_host_port

    scheme, place = parse_address(address)
    if scheme not in ("tcp", "tls"):
        raise ValueError(f"no scheduler talks {scheme}")
    with socket.create_connection(parse_host_port(place), CONNECT_SECONDS) as line:
        if scheme == "tcp":  # by tls it is the caller who begins
            length = line.recv(8)  # of what it says; other servers' greetings read as a huge one
            if len(length) < 8 or int.from_bytes(length, "little") > GREETING:
                raise ConnectionResetError
