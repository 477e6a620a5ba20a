"""How long a query waits in a two-stage support queue, and what a day of it costs.

It runs no model: service times are given, not measured. Arrivals are Poisson, service times
exponential (Jackson 1957; Erlang's delay formula as in Kleinrock 1975, chapter 3).
"""

from dataclasses import dataclass
from heapq import heapify, heapreplace

import numpy as np

from w2s_lab.errors import W2SError

WARM_UP = 0.1  # share of the queries forgotten: the first ones meet empty queues
BATCHES = 20  # of successive queries, whose means are nearly independent


@dataclass(frozen=True)
class Server:
    """A stage's machines.

    Attributes:
        seconds: mean service time of a query; count: machines side by side, one queue for all.
        price: of one machine for an hour.
    """

    seconds: float
    count: int = 1
    price: float = 0.0

    def __post_init__(self):
        if not 0 < self.seconds < np.inf:
            what = f"a service time of {self.seconds} seconds"
            raise W2SError(what, where="Server", mend="pass a finite number above 0")
        if self.count < 1 or self.count != int(self.count):
            raise W2SError(f"{self.count} servers", where="Server", mend="pass a whole number >= 1")
        if not 0 <= self.price < np.inf:
            mend = "pass a finite number >= 0"
            raise W2SError(f"a price of {self.price}", where="Server", mend=mend)


@dataclass(frozen=True)
class Delay:
    """How long queries take, in seconds; infinite where a stage is overloaded.

    Attributes:
        mean: from arrival to answer, over all queries.
        wait_small, wait_large: in each queue before service; the second over deferred queries.
        p95: 95 of 100 queries are answered within it; nan in the closed form.
        error: standard error of `mean`; 0 in the closed form.
    """

    mean: float
    wait_small: float
    wait_large: float
    p95: float = np.nan
    error: float = 0.0


def expected_delay(rate: float, share: float, small: Server, large: Server) -> Delay:
    """The mean delay in closed form.

    What leaves an M/M/c queue is Poisson again, and so is a random share of it: each stage can be
    treated alone.

    Args:
        rate: queries arriving in a second; share: of them deferred to the large model.

    Raises:
        W2SError: a rate that is not above 0, a share outside [0, 1].

    Source: Jackson 1957; Kleinrock 1975, section 3.5.
    """
    _check(rate, share)
    wait_small, wait_large = _wait(rate, small), _wait(rate * share, large)
    mean = wait_small + small.seconds
    if share:  # 0 · inf is nan, and nobody waits
        mean += share * (wait_large + large.seconds)
    return Delay(mean, wait_small, wait_large)


def simulate(
    rate: float,
    share: float,
    small: Server,
    large: Server,
    *,
    queries: int = 20_000,
    seed: int = 0,
) -> Delay:
    """The delay of simulated queries, first come first served, with its 95th percentile.

    The first tenth of the queries is left out. The error comes from batch means; close to
    overload even batches depend on each other, and it is too small.

    Args:
        rate, share: as in `expected_delay`; queries: how many, at least 1,000.

    Raises:
        W2SError: as `expected_delay`; too few queries; an overloaded stage.

    Source: Law 2015, section 9.5 (batch means).
    """
    _check(rate, share)
    if queries < 1000:
        raise W2SError(f"{queries} queries", where="queries", mend="simulate at least 1000")
    for name, load, server in (("small", rate, small), ("large", rate * share, large)):
        if load * server.seconds >= server.count:
            what = (
                f"{load:g} queries a second bring {load * server.seconds:g} seconds of work to "
                f"{server.count} servers, so the queue grows without bound"
            )
            raise W2SError(what, where=name, mend="add servers, or defer or accept fewer queries")
    rng = np.random.default_rng(seed)
    arrived = rng.exponential(1 / rate, queries).cumsum()
    deferred = rng.random(queries) < share
    work_small = rng.exponential(small.seconds, queries)
    work_large = rng.exponential(large.seconds, queries)

    wait_small = _waits(arrived, work_small, small.count)
    left = arrived + wait_small + work_small
    order = np.flatnonzero(deferred)
    order = order[left[order].argsort()]
    wait_large = np.zeros(queries)
    wait_large[order] = _waits(left[order], work_large[order], large.count)

    total = wait_small + work_small + deferred * (wait_large + work_large)
    warm = slice(int(WARM_UP * queries), None)
    total, wait_small, wait_large = total[warm], wait_small[warm], wait_large[warm]
    deferred = deferred[warm]
    means = [batch.mean() for batch in np.array_split(total, BATCHES)]
    return Delay(
        mean=float(total.mean()),
        wait_small=float(wait_small.mean()),
        wait_large=float(wait_large[deferred].mean()) if deferred.any() else 0.0,
        p95=float(np.quantile(total, 0.95)),
        error=float(np.std(means, ddof=1) / np.sqrt(BATCHES)),
    )


def bill(queries_a_day: float, share: float, small_price: float, large_price: float) -> float:
    """A day's bill where each stage charges by the query; a deferred query pays for both stages.

    Raises:
        W2SError: a share outside [0, 1], a negative number of queries or price.
    """
    _check(1, share)
    if not min(queries_a_day, small_price, large_price) >= 0:
        what = f"{queries_a_day} queries at prices of {small_price} and {large_price}"
        raise W2SError(what, where="bill", mend="pass numbers >= 0")
    return queries_a_day * (small_price + share * large_price)


def rent(*servers: Server) -> float:
    """A day's bill where machines are rented by the hour, busy or not."""
    return 24 * sum(server.count * server.price for server in servers)


def _check(rate: float, share: float) -> None:
    if not 0 < rate < np.inf:
        what = f"a rate of {rate} queries a second"
        raise W2SError(what, where="rate", mend="pass a finite number above 0")
    if not 0 <= share <= 1:
        raise W2SError(f"a deferred share of {share}", where="share", mend="choose one in [0, 1]")


def _wait(rate: float, server: Server) -> float:
    """Mean wait in an M/M/c queue, by Erlang's delay formula."""
    load = rate * server.seconds
    if load >= server.count:
        return np.inf
    blocked = 1.0  # Erlang's loss formula, server by server: powers and factorials would overflow
    for count in range(1, server.count + 1):
        blocked = load * blocked / (count + load * blocked)
    delayed = blocked / (1 - load / server.count * (1 - blocked))
    return delayed * server.seconds / (server.count - load)


def _waits(arrived: np.ndarray, work: np.ndarray, count: int) -> np.ndarray:
    """Wait of each query, in order of arrival, for the first of `count` servers to be free."""
    free = [0.0] * count
    heapify(free)
    waits = np.empty(len(arrived))
    for query, (now, needed) in enumerate(zip(arrived.tolist(), work.tolist(), strict=True)):
        start = max(now, free[0])
        heapreplace(free, start + needed)
        waits[query] = start - now
    return waits
