"""Does a GPU give what the CPU gives, by the same commands? Run by `make gpu-tests`.

Each test computes the same thing on both and compares within the interval or rounding.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import w2s_lab as w2s
from w2s_lab import metrics
from w2s_lab.cli import main

pytestmark = pytest.mark.gpu
LESSONS = Path(__file__).parents[1] / "notebooks"


def test_the_commands_pgr_on_a_gpu_lies_within_the_cpus_interval(tmp_path):
    found = {}
    for device in ("cpu", "cuda"):
        out = tmp_path / f"{device}.json"
        command = ["run", "indemnity", "--device", device, "--size", "lab", "--json", str(out)]
        assert main(command) == 0
        found[device] = json.loads(out.read_text())
    assert found["cuda"]["device"].startswith("cuda")
    for name in ("weak", "ceiling"):
        cpu, gpu = (found[device][name]["score"] for device in ("cpu", "cuda"))
        assert gpu == pytest.approx(cpu, abs=0.02)
    for name, method in found["cpu"]["methods"].items():
        there = found["cuda"]["methods"][name]["pgr"]["value"]
        assert method["pgr"]["low"] <= there <= method["pgr"]["high"], name


def test_paired_scores_of_both_devices_do_not_differ_beyond_chance():
    runs = [w2s.run("indemnity", methods=["naive"], size="lab", device=d) for d in ("cpu", "cuda")]
    cpu, gpu = (one.scores("naive") for one in runs)
    apart = metrics.bootstrap_difference(gpu, cpu, strata=runs[0].gold, groups=runs[0].groups)
    assert apart.low <= 0 <= apart.high


def test_states_computed_in_half_precision_are_those_of_the_cpu(tmp_path, monkeypatch):
    from w2s_lab.assets import locate
    from w2s_lab.features import token_states
    from w2s_lab.models import trunk

    texts = w2s.load_task("indemnity", size="smoke").inputs[:40]
    model = f"{locate('minilm')}:4"
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    cpu, gpu = (token_states(trunk(model, device=d), texts).flat for d in ("cpu", "cuda"))
    a, b = cpu.astype(np.float32), gpu.astype(np.float32)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.99


@pytest.mark.parametrize("task", ["papers", "code", "corpus", "cascade"])
def test_every_protocol_runs_on_a_gpu_by_the_same_command(task, tmp_path):
    out = tmp_path / "out.json"
    command = ["run", task, "--device", "cuda", "--size", "smoke", "--seeds", "2"]
    assert main([*command, "--json", str(out)]) == 0
    told = json.loads(out.read_text())
    assert told["device"].startswith("cuda") and told["methods"]


@pytest.mark.parametrize("lesson", ["01_indemnity", "05_cascading"])
def test_a_lesson_runs_unchanged_where_there_is_a_gpu(lesson):
    # no word of the notebook is changed: `device="auto"` takes the GPU
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q"]
    command += ["--nbval-cell-timeout=900", "-p", "no:cacheprovider", f"{lesson}.ipynb"]
    env = os.environ | {"W2S_SIZE": "lab", "W2S_QUIET": "1"}
    done = subprocess.run(command, cwd=LESSONS, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
