"""Attacks on the grader: none gets a point that it does not deserve, tells a hidden input, leaves
something behind, or is noticed by whoever is graded next.
"""

import os
from socket import socket

import pytest
from grading import needs_box
from redteam.arena import LIMITS, Arena, as_text
from redteam.attack import REACHED, load
from redteam.target import target_notebook

from w2s_lab.teach.grading import judge
from w2s_lab.teach.grading.box import open_room
from w2s_lab.teach.grading.plan import make_plan

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


def test_no_attack_prints_that_a_wall_has_fallen(arena, monkeypatch):
    # what functions print while hidden tests call them is shown to nobody: here it is listened to
    heard = []
    monkeypatch.setattr(judge, "_heard", heard.append)
    plan = make_plan(as_text(target_notebook()), "target")
    room, workers = open_room(LIMITS, plan.imports), []

    def new():
        while workers:
            workers.pop().close()
        workers.append(room.open(0))
        return socket(fileno=os.dup(workers[-1].end.fileno()))

    fallen = []
    for attack in load():
        if REACHED in attack.notebook().decode():
            heard.clear()
            judge.grade(plan, attack.notebook(), judge.Supply(new, str, LIMITS))
            fallen += [attack.name] if any(REACHED in text for text in heard) else []
    for worker in workers:
        worker.close()
    room.close()
    assert not fallen
