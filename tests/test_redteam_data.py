"""The red team's data is what it says it is. Nothing here runs an attack."""

import ast
import json
import os

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from redteam import malformed, target
from redteam.attack import POINTS, load
from redteam.target import SECRETS, honest_cells, release, target_notebook, told

ATTACKS = load()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_each_cell_of_an_attack_compiles_and_its_notebook_is_json(attack):
    transform = TransformerManager().transform_cell
    cells = [source for name, source in attack.answers.items() if name != "essay"]
    for source in (*cells, *(source for _, source in attack.extra)):
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compile(transform(source), attack.name, "exec", flags=flags, dont_inherit=True)
    names = [cell["id"] for cell in json.loads(attack.notebook())["cells"]]
    assert [name for name in names if not name.startswith("extra-")] == list(target.ORDER)
    assert set(attack.answers) <= {*POINTS, "essay"}


def test_there_are_enough_attacks_of_each_sort():
    assert len(ATTACKS) >= 90
    assert sum(one.aims_at_protocol for one in ATTACKS) >= 25
    assert sum(one.deserved >= 3 for one in ATTACKS) * 3 >= len(ATTACKS)


@pytest.mark.parametrize("own", [{}, honest_cells()], ids=["the teacher's", "the honest one's"])
def test_right_answers_pass_all_tests(own):
    names: dict = {}
    points = 0.0
    for cell in target_notebook()["cells"]:
        if cell["cell_type"] == "code":
            exec(own.get(cell["id"], cell["source"]), names)
            points += cell["metadata"]["nbgrader"].get("points", 0)
    assert points == sum(POINTS.values()) == 8  # 3 + 2 + 2 + 1


def test_a_release_tells_no_secret_and_the_teachers_copy_tells_all():
    assert told(json.dumps(release())) == []
    assert told(json.dumps(target_notebook())) == list(SECRETS)


# 48151623 backwards; 0x2debc47 = 2 * 16^6 + 13 * 16^5 + 14 * 16^4 + 11 * 16^3 + 12 * 16^2 + 4 * 16
# + 7 = 33554432 + 13631488 + 917504 + 45056 + 3072 + 64 + 7 = 48151623; base64 of its digits
@pytest.mark.parametrize(
    "text", ["32615184", "0x2debc47", "NDgxNTE2MjM=", "4.815_1623e7", "4 8 1 5 1 6 2 3"]
)
def test_a_disguised_secret_is_found(text):
    assert told(f"<p>{text}</p>") == ["48151623"]


def test_malformed_files_are_there_and_differ(tmp_path):
    expected = malformed.build(tmp_path)
    assert len(expected) >= 40
    assert all(os.path.lexists(one.path) for one in expected.values())
    assert all(not one.deserved for one in expected.values() if one.status == malformed.REJECTED)
