"""Many runs on a cluster: one job a seed where seeds are independent, else one job a run.

It computes nothing itself: a job is `experiment.run` on a worker, and what a worker has finished
stays in its cache of results. Which worker has which job is decided here, see `_finished`.
"""

import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from w2s_lab import workers
from w2s_lab.cluster import opened
from w2s_lab.errors import W2SError
from w2s_lab.progress import bar

POLL_SECONDS = 0.5  # how late a new or lost worker is noticed
GONE_SECONDS = 60  # without any worker; Dask's nannies start theirs again within a few
FETCH_SECONDS = 60  # for one result, of a megabyte or less
DEATHS = 3  # workers that one job may take with it
KEYS = ("task", "weak", "strong", "methods", "seeds", "size", "device", "labels", "split")
ONE_AT_A_TIME = Lock()  # a model's forward pass is not made for two threads


@dataclass(frozen=True)
class _Job:
    """One call of `experiment.run`: of the run with that number, all or one of its seeds."""

    run: int
    asked: Mapping

    @property
    def on_gpu(self) -> bool:
        return str(self.asked.get("device")).partition(":")[0] == "cuda"

    def __str__(self) -> str:
        told = {"task": self.asked["task"].name}
        told |= {k: v for k, v in self.asked.items() if k not in ("task", "methods")}
        return ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)


def runs(many: Sequence[Mapping], where: str) -> list:
    """The results of many runs, in their order, computed by the workers of a cluster.

    A run whose weak model labels by class is one job for each seed; its parts make up the result
    that one machine would come to, probabilities within 1e-3 (batches of heads of another size, on
    processors of one kind). Other runs are one job each: their seeds share models. `seconds` of a
    result is the time from its first job's start to its last one's end.

    Args:
        many: keyword arguments of `experiment.run` for each run, without `cluster`.
        where: as for `cluster.connect`.

    Raises:
        W2SError: as `cluster.connect`; an unknown argument; a scheduler or worker with other
            versions, or one without the models; no GPU offered to a run with device "cuda"; a job
            that killed three workers.
    """
    jobs, models = _jobs(many)
    parts: list[list] = [[] for _ in many]
    began: dict[int, float] = {}
    ended: dict[int, float] = {}
    with opened(where) as client, bar(None, "on the cluster", len(jobs), unit="job") as seen:
        for number, job, start, result in _finished(client, jobs, models, where):
            began[job.run] = min(start, began.get(job.run, start))
            ended[job.run] = time.perf_counter()
            parts[job.run].append((number, result))
            seen.update()
    results = []
    for i, found in enumerate(parts):
        whole = _joined([result for _, result in sorted(found, key=lambda part: part[0])])
        results.append(replace(whole, seconds=ended[i] - began[i]))
    return results


def _jobs(many: Sequence[Mapping]) -> tuple[list[_Job], set[str]]:
    """All jobs of these runs, and the names of the models they need."""
    from w2s_lab import experiment
    from w2s_lab.data import Task, default_size, load_task

    jobs, models = [], set()
    tasks: dict = {}
    for i, asked in enumerate(many):
        if unknown := set(asked) - set(KEYS):
            mend = f"choose from: {', '.join(KEYS)}"
            raise W2SError(f"unknown: {', '.join(sorted(unknown))}", where=f"run {i}", mend=mend)
        asked = {"task": "indemnity", **asked}
        name, size = asked["task"], default_size(asked.pop("size", None))
        if not isinstance(name, Task):  # the data travel with the job, so workers need none
            if (name, size) not in tasks:
                tasks[name, size] = load_task(name, size=size)
            asked["task"] = tasks[name, size]
        task, seeds = asked["task"], asked.get("seeds")
        asked |= {k: workers.in_full(asked[k]) for k in ("weak", "strong") if asked.get(k)}
        models |= {asked.get(k) or d for k, d in experiment.default_models(task).items()}
        if experiment.elsewhere(task):
            jobs.append(_Job(i, asked))
            continue
        # as objects: a method that was registered here is unknown there
        asked["methods"] = experiment.chosen_of(asked.get("methods"))
        for seed in experiment.numbers(experiment.SEEDS if seeds is None else seeds):
            jobs.append(_Job(i, {**asked, "seeds": (seed,)}))
    return jobs, models


def _finished(client, jobs: Sequence[_Job], models: set[str], where: str) -> Iterator[tuple]:
    """Number, job, start and result of each job, as soon as it is done, each fetched at once.

    Each worker has one job at a time. Which worker has which is kept here and not left to the
    scheduler: so it is known which jobs were on a worker that died, and only those are done again.
    """
    from distributed import KilledWorker, wait

    fit: dict[str, workers.Worker] = {}  # by address
    unfit: set[str] = set()
    waiting, running = list(range(len(jobs))), dict[Any, tuple[int, str, float]]()
    deaths: Counter[int] = Counter()
    last_seen = time.perf_counter()

    def lost(future) -> None:
        number, address, _ = running.pop(future)
        future.cancel(force=True)
        deaths[number] += 1
        if deaths[number] >= DEATHS:
            what = f"this job has killed {DEATHS} workers ({jobs[number]})"
            mend = "give the workers more memory, or see their logs"
            raise W2SError(what, where=where, mend=mend)
        waiting.insert(0, number)

    while waiting or running:
        try:
            there = set(client.nthreads())
        except OSError as error:  # nobody answers any more
            raise CancelledError from error
        if there - fit.keys() - unfit:
            _look(client, models, fit, unfit)
            if not any(w.gpus for w in fit.values()) and any(job.on_gpu for job in jobs):
                mend = 'start workers with `--resources "GPU=1"`, one for each GPU'
                raise W2SError("no worker offers a GPU", where=where, mend=mend)
        left = there & fit.keys()  # and of those, whether any can take what waits
        if running or any(fit[a].gpus or not jobs[n].on_gpu for a in left for n in waiting):
            last_seen = time.perf_counter()
        elif time.perf_counter() - last_seen > GONE_SECONDS:
            what, some = "all workers are gone", "some"
            if left:
                what = "all workers that offer a GPU are gone"
                some = 'some with `--resources "GPU=1"`'
            mend = f"start {some} and run this again; what they finished is in their cache"
            raise W2SError(what, where=where, mend=mend)
        for future, (_, address, _) in list(running.items()):
            if address not in there and not future.done():
                lost(future)
        busy = {address for _, address, _ in running.values()}
        for address in sorted(there & fit.keys() - busy):
            able = (n for n in waiting if fit[address].gpus or not jobs[n].on_gpu)
            if (number := next(able, None)) is not None:
                waiting.remove(number)
                future = _sent(client, jobs[number], address)
                running[future] = number, address, time.perf_counter()
        if not running:
            time.sleep(POLL_SECONDS)
            continue
        try:
            with client.as_current():  # it is not the default one
                done = wait(list(running), POLL_SECONDS, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            continue
        for future in done:
            if future.status == "error" and not isinstance(future.exception(), KilledWorker):
                future.result()  # raises what the job raised
            try:
                result = future.result(timeout=FETCH_SECONDS)
            except (KilledWorker, TimeoutError):  # the worker died, and took the result with it
                lost(future)
                continue
            number, _, start = running.pop(future)
            yield number, jobs[number], start, result


def _look(client, models: set[str], fit: dict[str, workers.Worker], unfit: set[str]) -> None:
    """Sorts the workers that are new; one that will not do is an error, or later on a warning."""
    known = fit.keys() | unfit
    if not known and (error := workers.scheduler_problem(client)):
        raise error
    for address, worker in workers.found(client, models).items():
        wrong = workers.problems(worker) if address not in known else []
        if wrong and not known:
            raise wrong[0]
        if wrong:
            warnings.warn(f"not used: {wrong[0]}", stacklevel=2)
            unfit.add(address)
        elif address not in unfit:
            fit[address] = worker


def _sent(client, job: _Job, address: str):
    import dask

    # a task's texts are some megabytes, which Dask warns of
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
        return client.submit(
            _run,
            dict(job.asked),
            pure=False,
            workers=[address],
            allow_other_workers=False,
            resources={"GPU": 1} if job.on_gpu else None,
        )


def _run(asked: dict):
    """On a worker: the result of one job, with as many of torch's threads as the worker has."""
    from w2s_lab.experiment import run

    with ONE_AT_A_TIME, workers.all_threads():
        return run(**asked)


def _joined(parts: list):
    """The result of all seeds out of those of one each."""
    import numpy as np

    from w2s_lab import experiment

    first = parts[0]
    if len(parts) == 1:
        return first

    def mean(values: list):
        return values[0] if len(set(values)) == 1 else float(np.mean(values))

    drawn = tuple(seed for part in parts for seed in part.provenance.get("seeds", [0]))
    split = {k: v for k, v in first.provenance.items() if k != "seeds"}
    return replace(
        first,
        device=", ".join(sorted({part.device for part in parts})),
        seeds=len(parts),
        probs={name: np.concatenate([part.probs[name] for part in parts]) for name in first.probs},
        pool={name: mean([part.pool[name] for part in parts]) for name in first.pool},
        curves={k: np.mean([part.curves[k] for part in parts], 0) for k in first.curves},
        cost={
            model: {k: mean([part.cost[model][k] for part in parts]) for k in values}
            for model, values in first.cost.items()
        },
        provenance=split | experiment.told_of(drawn),
    )
