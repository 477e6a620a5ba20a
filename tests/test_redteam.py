"""Attacks on the grader: none gets a point that it does not deserve, tells a hidden input, leaves
something behind, or is noticed by whoever is graded next.
"""

import pytest
from grading import needs_box
from redteam.arena import Arena
from redteam.attack import load

pytestmark = [pytest.mark.slow, needs_box]


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    one = Arena(tmp_path_factory.mktemp("arena"))
    one.prove()
    yield one
    one.close()


@pytest.mark.parametrize("attack", load(), ids=lambda one: f"{one.kind}-{one.name}")
def test_an_attack_gets_what_it_deserves_and_leaves_nothing(arena, attack):
    trial = arena.trial(attack)
    assert not trial.forged, trial.verdict.items
    assert attack.may_lose or not trial.lost, (trial.verdict.items, trial.verdict.notes)
    assert not trial.secrets, trial.secrets
    assert not trial.reached
    assert not trial.changed, trial.changed
    assert not trial.arrived
    assert not trial.left, trial.left
    assert trial.after
