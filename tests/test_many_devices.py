"""Two processes give what one gives: whole copies, weights in shares, and `w2s-lab run`.

Real processes on this machine's CPU, with random models of a few thousand weights. What each of
them finds is held against the same work done by one, here.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from w2s_lab import team
from w2s_lab.cache import atomic_folder

HERE = Path(__file__).parent
ROOT = HERE.parent
WAYS = [("llama", "lora"), ("llama", "whole"), ("gpt2", "top:1"), ("t5", "lora"), ("bart", "lora")]
ALONE = {"RANK", "WORLD_SIZE", "ACCELERATE_USE_FSDP"}

pytestmark = pytest.mark.slow


# The work, done by one process or by each of two


def lessons(folder: Path) -> dict:
    """What writers of all kinds learn, score and write; losses, and a training that is resumed."""
    import test_whole
    from test_whole import ROWS, TEXTS, load

    test_whole.whole.RATES = {"lora": 2e-2, "top": 1e-2, "whole": 1e-2}
    test_whole.whole.WRITE_TOKENS = 60  # several batches to share out, an odd number
    found: dict = {}
    for kind, how in WAYS:
        here = load(folder / kind, how)
        still(here.model)
        first = here.taught(ROWS, TEXTS, epochs=2, seed=0)
        second = here.taught(ROWS[:5], TEXTS[:5], epochs=3, seed=1)
        taught = here.taught(ROWS, TEXTS, epochs=1, seed=2, teacher=(here, first, 2.0))
        seen = []
        looked = here.taught(
            ROWS, TEXTS, epochs=2, seed=0, after_epoch=lambda _, w, s=seen: s.append(w)
        )
        assert all(torch.equal(looked.weights[n], first.weights[n]) for n in first.weights)
        assert len(seen) == 2 and here.cost()["read_seconds"] > 0
        found[kind, how] = {
            "weights": [w.weights for w in (first, second, taught, here.towards(first, 0.5))],
            "scores": [here.score(w, ROWS, TEXTS) for w in (here.untouched(), first, second)],
            "texts": [here.write(w, ROWS, 7) for w in (here.untouched(), first, second)],
        }
    return found


def still(model: nn.Module) -> None:
    """No dropout: it is drawn for each process."""
    for module in model.modules():
        for name in ("p", "dropout", "attention_dropout", "activation_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def trained(home: Path, packed: bool = False) -> dict:
    """Weights and losses of the loop itself: at once, and interrupted and resumed."""
    from test_finetune import adapt, chatter, fit, interrupted, target_loss, tiny

    def prepare():
        model = adapt(tiny("llama"), "whole")
        told = target_loss(model, *chatter(11), packed=packed)
        if team.in_shares():
            team.join()
            team.split(model, "cpu")
        return model, *told

    arguments = {"epochs": 3, "lr": 1e-2, "budget": 60, "accumulate": 3, "packed": packed}
    model, lengths, loss = prepare()
    means = fit(model, lengths, loss, **arguments)
    broken, _, loss = prepare()
    with suppress(KeyboardInterrupt):
        fit(broken, lengths, loss, folder=home, after_epoch=interrupted(1), **arguments)
    resumed, _, loss = prepare()
    again = fit(resumed, lengths, loss, folder=home, **arguments)
    whole = [{n: team.full(p.detach()) for n, p in m.named_parameters()} for m in (model, resumed)]
    return {"means": means, "again": again, "weights": whole}


JOB = """
import os, sys
from pathlib import Path
tests, folder, home = sys.argv[1:]
sys.path.insert(0, tests)
import torch
from test_many_devices import lessons, trained
rank, home = os.environ["RANK"], Path(home)
found = {"lessons": lessons(Path(folder)), "trained": trained(home / "padded")}
found["packed"] = trained(home / "packed", packed=True)
torch.save(found, home / f"{rank}.pt")
"""


def launched(command: list[str], tmp_path: Path, **more: str) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of two processes that were told of each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    told |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    told |= {"W2S_CACHE": str(tmp_path / "cache"), "GLOO_SOCKET_IFNAME": "lo", **more}
    running = [
        subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | told | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        ends = [process.communicate(timeout=300) for process in running]
    finally:
        for process in running:
            process.kill()
    return [(p.returncode, *end) for p, end in zip(running, ends, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from test_whole import save

    made = tmp_path_factory.mktemp("models")
    for kind in dict(WAYS):
        save(made / kind, kind)
    return made


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    """What one process finds."""
    assert not ALONE & os.environ.keys()
    from test_whole import whole

    before = whole.RATES, whole.WRITE_TOKENS
    home = tmp_path_factory.mktemp("alone")
    try:
        found = {"lessons": lessons(folder), "trained": trained(home / "padded")}
    finally:
        whole.RATES, whole.WRITE_TOKENS = before
    return found | {"packed": trained(home / "packed", packed=True)}


SHARES = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
SHARES |= {"FSDP_ACTIVATION_CHECKPOINTING": "true"}


@pytest.fixture(scope="module", params=["copies", "shares"])
def together(request, folder, tmp_path_factory):
    """What each of two processes finds, and where they kept their state."""
    home = tmp_path_factory.mktemp("together")
    more = {} if request.param == "copies" else SHARES
    ends = launched(["-c", JOB, str(HERE), str(folder), str(home)], home, **more)
    assert [end[0] for end in ends] == [0, 0], ends[0][2] + ends[1][2]
    found = [torch.load(home / f"{rank}.pt", weights_only=False) for rank in "01"]
    return found, home


def close(one, two):
    """The same weights up to rounding, which Adam makes large in a weight that changes nothing.

    Such is the bias of attention's keys: it adds the same to all of a query's products.
    """
    assert one.keys() == two.keys()
    for name, value in one.items():
        other = two[name]
        if name.endswith("k_proj.bias"):
            continue
        if name.endswith("c_attn.bias"):  # GPT-2's queries, keys and values, one after another
            value, other = (w.view(3, -1)[[0, 2]] for w in (value, other))
        torch.testing.assert_close(value, other, rtol=2e-3, atol=3e-4, msg=name)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_two_processes_teach_the_writers_that_one_teaches(together, alone, way):
    for found in together[0]:
        mine, theirs = (f["lessons"][way] for f in (alone, found))
        for one, two in zip(mine["weights"], theirs["weights"], strict=True):
            close(two, one)
        np.testing.assert_allclose(theirs["scores"], mine["scores"], rtol=2e-3)
        # the untouched model's texts to the letter; two nearly equal words may change places later
        assert theirs["texts"][0] == mine["texts"][0]
        pairs = [p for a, b in zip(theirs["texts"], mine["texts"], strict=True) for p in zip(a, b)]  # noqa: B905
        assert np.mean([a == b for a, b in pairs]) > 0.9
    one, two = (f["lessons"][way] for f in together[0])
    assert one["texts"] == two["texts"]  # each process knows all, whoever did it
    np.testing.assert_array_equal(one["scores"], two["scores"])


@pytest.mark.parametrize("kind", ["trained", "packed"])
def test_two_processes_have_the_losses_and_weights_of_one_also_when_resumed(together, alone, kind):
    for found in together[0]:
        mine, theirs = alone[kind], found[kind]
        np.testing.assert_allclose(theirs["means"], mine["means"], rtol=1e-4)
        np.testing.assert_allclose(theirs["again"], theirs["means"], rtol=1e-6)
        close(theirs["weights"][0], mine["weights"][0])
        close(theirs["weights"][1], theirs["weights"][0])


def test_a_training_of_two_processes_can_be_finished_by_one(together):
    # The file holds whole tensors, in whatever shares they were
    from test_finetune import adapt, chatter, fit, target_loss, tiny

    found, home = together
    model = adapt(tiny("llama"), "whole")
    lengths, _ = target_loss(model, *chatter(11))
    arguments = {"epochs": 3, "lr": 1e-2, "budget": 60, "accumulate": 3}
    means = fit(model, lengths, None, folder=home / "padded", **arguments)
    assert means == found[0]["trained"]["again"]
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.data, found[0]["trained"]["weights"][1][name])


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_processes_work_together_or_not_at_all_where_another_run_held_the_folder(
    ends, tmp_path, monkeypatch
):
    # Two threads as two processes; a step that they do not take together breaks within seconds
    here, began, go = threading.local(), threading.Event(), threading.Event()
    both, said, worked = threading.Barrier(2, timeout=20), {}, []

    def gathered(part):
        said.update(part)
        both.wait()
        found = dict(said)
        both.wait()
        return found

    monkeypatch.setattr(team, "size", lambda: 2)
    monkeypatch.setattr(team, "index", lambda: here.rank)
    monkeypatch.setattr(team, "join", lambda: None)
    monkeypatch.setattr(team, "gathered", gathered)
    final = tmp_path / "results" / "one"

    def other_run(folder):
        began.set()
        assert go.wait(20)
        if ends == "badly":
            raise KeyError
        (folder / "by").write_text("another run")

    def fill(folder):
        worked.append(team.index())
        gathered({})  # as the steps of a training do
        (folder / "by").write_text(str(team.index()))

    def process(rank):
        here.rank = rank
        return team.kept(final, fill)

    with ThreadPoolExecutor(3) as pool:
        other = pool.submit(atomic_folder, final, other_run)
        assert began.wait(20)
        ranks = [pool.submit(process, rank) for rank in (0, 1)]
        time.sleep(0.3)  # the first one waits at the lock by now, the second one for the first
        assert not worked
        go.set()
        assert [rank.result(30) for rank in ranks] == [final, final]
        assert (other.exception() is None) == (ends == "well")
    assert sorted(worked) == ([] if ends == "well" else [0, 1])
    assert (final / "by").read_text() == ("another run" if ends == "well" else "0")


# `w2s-lab run`


def told(models: Path, file: Path) -> int:
    """`w2s-lab run` on a small task whose answers are texts, at size full."""
    from dataclasses import replace

    from test_text_protocol import made

    from w2s_lab import cli, data, text_metrics, whole

    data.TASKS["made"] = lambda size: replace(made(), size=size)
    text_metrics.SCORES["similarity"] = text_metrics.chrf  # no model is fetched here
    whole.RATES = dict.fromkeys(whole.RATES, 5e-3)
    names = ["--weak", str(models / "weak"), "--strong", str(models / "strong")]
    how = ["--size", "full", "--seeds", "2", "--device", "cpu", "--method", "naive,shrink"]
    return cli.main(["run", "made", *names, *how, "--json", str(file)])


RUN = """
import sys
from pathlib import Path
tests, models, file = sys.argv[1:]
sys.path.insert(0, tests)
from test_many_devices import told
sys.exit(told(Path(models), Path(file)))
"""


@pytest.mark.parametrize("more", [{}, SHARES], ids=["copies", "shares"])
def test_a_run_of_two_processes_speaks_once_and_scores_as_one_does(tmp_path, more):
    from tiny_models import save_writer

    for name, blocks in (("weak", 1), ("strong", 2)):
        save_writer(tmp_path / name, blocks=blocks, seed=blocks)
    files = [tmp_path / "two.json", tmp_path / "one.json"]
    command = ["-c", RUN, str(HERE), str(tmp_path)]
    two = launched([*command, str(files[0])], tmp_path, **more)
    assert [end[0] for end in two] == [0, 0], two[0][2] + two[1][2]
    assert "naive" in two[0][1] and two[0][1].count("wrote") == 1 and not two[1][1]
    again = launched([*command, str(files[0])], tmp_path, **more)  # it is kept, and read by both
    assert [end[0] for end in again] == [0, 0] and again[0][1].count("wrote") == 1
    env = os.environ | {"W2S_CACHE": str(tmp_path / "other"), "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, *command, str(files[1])], env=env, check=True, stdout=subprocess.PIPE
    )
    mine, theirs = (json.loads(file.read_text()) for file in files)
    for part in ("weak", "ceiling"):
        assert mine[part]["score"] == pytest.approx(theirs[part]["score"], rel=2e-3)
    for name in ("naive", "shrink"):
        scores = [one["methods"][name]["score"] for one in (mine, theirs)]
        assert scores[0] == pytest.approx(scores[1], rel=2e-3)


SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from test_finetune import adapt, chatter, fit, target_loss, tiny
from w2s_lab import team

team.join("cpu")
model = adapt(tiny("llama"), "whole")
if team.in_shares():
    team.split(model, "cpu")
lengths, loss = target_loss(model, *chatter(11))
means = fit(model, lengths, loss, epochs=2, lr=1e-2, budget=60)
print(json.dumps([team.size(), team.in_shares(), means]))
"""


@pytest.mark.parametrize("settings", ["ddp", "fsdp"])
def test_the_launcher_with_the_settings_that_are_shipped_gives_what_one_process_gives(
    settings, tmp_path
):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    plain = {k: v for k, v in os.environ.items() if k not in ALONE}
    env = plain | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    file = ROOT / "docs" / "many-devices" / f"{settings}.yaml"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    launch += ["--num_processes", "2", "--main_process_port", port]
    said = {}
    for name, command in {"one": [sys.executable], "two": launch}.items():
        done = subprocess.run(
            [*command, str(script), str(HERE)],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        said[name] = [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "["]
    ((size, _, alone),) = said["one"]
    assert size == 1 and len(said["two"]) == 2
    for size, shares, means in said["two"]:
        assert (size, shares) == (2, settings == "fsdp")
        np.testing.assert_allclose(means, alone, rtol=1e-5)
