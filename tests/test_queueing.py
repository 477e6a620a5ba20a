"""Waits and bills against textbook values, and the simulation against the closed form.

They measure no machine: all times are those of the queue's own clock.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_lab.errors import W2SError
from w2s_lab.queueing import Server, _waits, bill, expected_delay, rent, simulate

examples = settings(max_examples=50, deadline=None, derandomize=True)


def test_one_server_matches_the_hand_worked_wait():
    # M/M/1, load 0.8: wait 0.8 / (1 − 0.8) * 1 s = 4 s, delay 1 / (1 − 0.8) = 5 s
    delay = expected_delay(0.8, 0, Server(1.0), Server(1.0))
    assert (delay.wait_small, delay.wait_large) == pytest.approx((4, 0))
    assert delay.mean == pytest.approx(5) and delay.error == 0 and math.isnan(delay.p95)


def test_two_servers_match_the_hand_worked_wait():
    # M/M/2 with one server's worth of work: a query waits with probability
    # (1/2 * 2) / (1 + 1 + 1/2 * 2) = 1/3, then 3 s / (2 − 1): 1 s in all
    delay = expected_delay(1 / 3, 0, Server(3.0, count=2), Server(1.0))
    assert delay.wait_small == pytest.approx(1) and delay.mean == pytest.approx(4)


def test_three_servers_match_the_textbook_formula():
    # Load 2 on 3 servers: last term 2³/3! * 3 / (3 − 2) = 4, the others 1 + 2 + 2 = 5, so 4/9
    # wait, 1 s / (3 − 2) each
    assert expected_delay(2, 0, Server(1.0, count=3), Server(1.0)).wait_small == pytest.approx(
        4 / 9
    )


def test_a_deferred_query_waits_in_both_queues():
    # Small: load 0.5, wait 0.5 s of service 0.5 s. Large: 0.25 a second, 2 s, load 0.5, wait 2 s.
    # 0.5 + 0.5 + 0.25 * (2 + 2) = 2 s
    delay = expected_delay(1, 0.25, Server(0.5), Server(2.0))
    assert (delay.wait_small, delay.wait_large) == pytest.approx((0.5, 2))
    assert delay.mean == pytest.approx(2)


def test_an_overloaded_stage_never_answers():
    delay = expected_delay(1, 0.5, Server(0.5), Server(2.0))  # the large model's load is just 1
    assert delay.wait_large == delay.mean == np.inf and delay.wait_small == pytest.approx(0.5)
    assert expected_delay(2, 0, Server(0.5), Server(2.0)).mean == np.inf


def test_a_large_model_that_nobody_asks_cannot_be_overloaded():
    assert expected_delay(0.5, 0, Server(1.0), Server(1e9)).mean == pytest.approx(2)


@examples
@given(rate=st.floats(0.01, 0.9), count=st.integers(1, 200), share=st.floats(0, 1))
def test_another_server_or_fewer_deferred_never_lengthen_the_delay(rate, count, share):
    small, large = Server(1.0, count), Server(2.0, 2 * count)
    delay = expected_delay(rate * count, share, small, large)
    more = expected_delay(rate * count, share, small, Server(2.0, 2 * count + 1))
    fewer = expected_delay(rate * count, share / 2, small, large)
    assert more.mean <= delay.mean and fewer.mean <= delay.mean
    assert np.isfinite(delay.mean) and delay.mean >= 1 + 2 * share - 1e-12


def test_queries_wait_for_the_first_free_server():
    # One server: 0–2, so the second waits 1, 2–5, the third waits 2, 5–6, the last none
    arrived, work = np.array([0.0, 1.0, 3.0, 9.0]), np.array([2.0, 3.0, 1.0, 1.0])
    np.testing.assert_allclose(_waits(arrived, work, 1), [0, 1, 2, 0])
    # Two servers: nobody waits
    np.testing.assert_allclose(_waits(arrived, work, 2), [0, 0, 0, 0])


@pytest.mark.parametrize(
    "rate, share, small, large",
    [
        (0.6, 0.3, Server(1.0), Server(2.0)),
        (3.0, 0.2, Server(0.5, 2), Server(2.0, 2)),
        (5.0, 1.0, Server(0.1), Server(0.5, 4)),
        (2.0, 0.0, Server(0.25), Server(9.0)),
        (0.5, 1.0, Server(60.0, 60), Server(1.0)),  # many overtake each other on the way
    ],
)
def test_the_simulation_agrees_with_the_closed_form(rate, share, small, large):
    simulated = simulate(rate, share, small, large, queries=60_000)
    expected = expected_delay(rate, share, small, large)
    assert abs(simulated.mean - expected.mean) < 4 * simulated.error
    assert simulated.error < 0.1 * expected.mean and simulated.p95 > simulated.mean
    assert simulated.wait_small == pytest.approx(expected.wait_small, rel=0.15, abs=1e-3)
    assert simulated.wait_large == pytest.approx(expected.wait_large, rel=0.15)


def test_the_95th_percentile_matches_the_exponential_one():
    # The delay in M/M/1 is exponential: −ln 0.05 * its mean of 2 s = 5.99 s
    simulated = simulate(0.5, 0, Server(1.0), Server(1.0), queries=60_000)
    assert simulated.p95 == pytest.approx(5.99, rel=0.06)


def test_the_error_tells_how_far_simulations_lie_apart():
    delays = [simulate(0.5, 0.2, Server(1.0), Server(2.0), seed=seed) for seed in range(20)]
    apart = np.std([delay.mean for delay in delays], ddof=1)
    assert 0.5 < np.mean([delay.error for delay in delays]) / apart < 2
    assert delays[0] == simulate(0.5, 0.2, Server(1.0), Server(2.0), seed=0) != delays[1]


def test_bills_match_the_hand_worked_sums():
    # 1,000 queries at 0.01, a fifth of them at 0.1 more: 10 + 20
    assert bill(1000, 0.2, 0.01, 0.1) == pytest.approx(30)
    # Two machines at 0.5 and one at 3 for 24 hours
    assert rent(Server(1.0, 2, price=0.5), Server(2.0, price=3.0)) == pytest.approx(96)


SMALL = Server(1.0)


@pytest.mark.parametrize(
    "call, told",
    [
        (lambda: expected_delay(0, 0.1, SMALL, SMALL), "rate: a rate of 0 queries a second; pass"),
        (lambda: expected_delay(np.nan, 0.1, SMALL, SMALL), "rate: a rate of nan"),
        (lambda: expected_delay(1, 1.5, SMALL, SMALL), "a deferred share of 1.5; choose one in"),
        (lambda: simulate(0.5, -1, SMALL, SMALL), "share: a deferred share of -1"),
        (lambda: simulate(0.5, 0, SMALL, SMALL, queries=10), "simulate at least 1000"),
        (lambda: simulate(1, 0, SMALL, SMALL), "small: 1 queries a second bring 1 seconds of work"),
        (lambda: simulate(0.5, 1, SMALL, Server(3.0)), "large: 0.5 queries a second bring 1.5"),
        (lambda: Server(0), "a service time of 0 seconds; pass a finite number above 0"),
        (lambda: Server(1, count=0), "0 servers; pass a whole number"),
        (lambda: Server(1, count=1.5), "1.5 servers"),
        (lambda: Server(1, price=-1), "a price of -1"),
        (lambda: bill(10, 2, 1, 1), "a deferred share of 2"),
        (lambda: bill(-10, 0.5, 1, 1), "-10 queries at prices of 1 and 1; pass numbers"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(call, told):
    with pytest.raises(W2SError) as caught:
        call()
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_an_overloaded_queue_is_not_simulated():
    with pytest.raises(W2SError, match="grows without bound; add servers, or defer"):
        simulate(2, 0, SMALL, SMALL)
