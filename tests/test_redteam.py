"""Attacks on the grader: none gets a point that it does not deserve, tells a hidden input, leaves
something behind, or is noticed by whoever is graded next.
"""

import os
from socket import socket

import pytest
from grading import needs_box
from redteam.arena import LIMITS, Arena, as_text, pages
from redteam.attack import REACHED, load
from redteam.target import target_notebook, told

from w2s_lab import exercise
from w2s_lab.teach.grading import judge, proxies, words
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


@pytest.fixture
def judged(arena):
    """Grades with the judge in this process, where a test can listen to it or take it apart."""
    plan = make_plan(as_text(target_notebook()), "target")
    room, workers = open_room(LIMITS, plan.imports), []

    def new():
        while workers:
            workers.pop().close()
        workers.append(room.open(0))
        return socket(fileno=os.dup(workers[-1].end.fileno()))

    yield lambda raw: judge.grade(plan, raw, judge.Supply(new, str, LIMITS))
    for worker in workers:
        worker.close()
    room.close()


def test_no_attack_prints_that_a_wall_has_fallen(judged, monkeypatch):
    # what functions print while hidden tests call them is shown to nobody: here it is listened to
    heard = []
    monkeypatch.setattr(judge, "_heard", heard.append)
    fallen = []
    for attack in load():
        if REACHED in attack.notebook().decode():
            heard.clear()
            judged(attack.notebook())
            fallen += [attack.name] if any(REACHED in text for text in heard) else []
    assert not fallen


def equal_to_everything(monkeypatch):
    monkeypatch.setattr(proxies.Stand, "__eq__", lambda self, other: True)
    monkeypatch.setattr(proxies.Stand, "__bool__", lambda self: True)


def arguments_come_back(monkeypatch):
    monkeypatch.setattr(exercise, "BY_REFERENCE", True)


def texts_are_never_held_back(monkeypatch):
    never = property(lambda self: False, lambda *_: None)
    monkeypatch.setattr(judge._Pass, "secret_out", never, raising=False)


def hidden_tests_tell_all(monkeypatch):
    monkeypatch.setattr(words, "_authors_words", lambda tree: Anything())


class Anything:
    def __contains__(self, _):
        return True


@pytest.mark.parametrize(
    ("taken_down", "kinds"),
    [
        (equal_to_everything, ("equality", "forging")),
        (arguments_come_back, ("protocol", "forging")),
        (texts_are_never_held_back, ("protocol", "markup", "hunting")),
        (hidden_tests_tell_all, ("protocol", "hunting")),
    ],
)
def test_attacks_succeed_where_a_wall_is_taken_down(judged, monkeypatch, taken_down, kinds):
    taken_down(monkeypatch)
    for attack in load():
        if attack.kind in kinds:
            verdict = judged(attack.notebook())
            if verdict.score > attack.deserved or told("\n".join(pages(verdict))):
                return
    pytest.fail("nothing noticed it")
