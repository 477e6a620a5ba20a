"""A trained head with the trunk it reads, as one thing that labels texts and can be saved and sent.

It reads no files of texts (`labelling` does) and keeps no token states. The weak model is fitted as
`run` fits it (protocol.Bench, after Burns et al. 2023, section 3).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np

from w2s_lab.cache import atomic_folder, cache_dir
from w2s_lab.data import Task, load_task
from w2s_lab.errors import W2SError
from w2s_lab.sources import delimited
from w2s_lab.workers import all_threads

# Threads of one process take turns, so that one tokenizes while another one computes: neither
# a tokenizer nor a model that is left at its first hook can serve two at once.
TOKENIZING, COMPUTING = Lock(), Lock()


@dataclass(frozen=True, eq=False)
class Labeller:
    """A head with the frozen trunk that it reads: texts go in, probabilities come out.

    Attributes:
        trunk: the model's name, as it was asked for.
        key: of the trunk's weights and tokenizer; another content is refused.
        layer: the block after which states are read.
        classes: the names of the columns of the probabilities.
        arrays: float32: "mean" and "deviation" (dim,) that scale the states, "axes" (dim, width)
            that rotate them (left out: none), and of the head "query" (width, queries), "weight"
            (max(1, queries) * width, classes) and "bias" (classes,); no query is the plain mean.
        fitted: in words, what it has learned.
    """

    trunk: str
    key: str
    layer: int
    classes: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]
    fitted: str

    def __call__(self, texts: Sequence[str], *, device: str = "auto") -> np.ndarray:
        """Class probabilities, float32 array (items, classes). Nothing is cached.

        Raises:
            W2SError: the trunk has other weights here, or there is no such device.
        """
        from w2s_lab.features import token_ids
        from w2s_lab.models import trunk

        with TOKENIZING:  # and loading: two threads cannot import transformers at the same time
            found = trunk(self.trunk, device=device)
            if (found.key, found.layer) != (self.key, self.layer):
                what = f"{self.trunk!r} has other weights than the labeller was fitted on"
                raise W2SError(what, where=self.fitted, mend="use the same files, or fit it anew")
            found.blocks()
            ids = token_ids(found, texts)
        with COMPUTING, all_threads():
            return self._probs(found, ids)

    def dtype(self, device: str = "auto") -> str:
        """What it would compute in there, which its answers depend on (`models.Trunk.dtype`)."""
        from w2s_lab.models import trunk

        with TOKENIZING:  # as above: transformers may be imported here
            return trunk(self.trunk, device=device).dtype

    def _probs(self, trunk, ids: list[list[int]]) -> np.ndarray:
        import torch

        from w2s_lab.features import read
        from w2s_lab.heads import Heads

        of = {name: torch.from_numpy(a).to(trunk.device) for name, a in self.arrays.items()}
        width, queries = of["query"].shape
        heads = Heads(np.zeros(1, int), width, len(self.classes), queries).to(trunk.device)
        mine = {"query": of["query"][:, None], "weight": of["weight"][None]}
        heads.load_state_dict(mine | {"bias": of["bias"][None, None]})
        rows = np.array([len(row) if queries else 1 for row in ids])
        probs = np.empty((len(ids), len(self.classes)), np.float32)
        for batch, read_states in read(trunk, ids, pool=not queries):
            with torch.inference_mode():
                states = torch.from_numpy(read_states).to(of["mean"])
                mask = torch.from_numpy(np.arange(states.shape[1]) < rows[batch, None])
                states = (states - of["mean"]) / of["deviation"]
                states = states @ of["axes"] if "axes" in of else states
                found = heads(states, mask.to(trunk.device)).softmax(-1)[0]
            probs[batch] = found.cpu().numpy()
        return probs

    @cached_property
    def digest(self) -> str:
        """A hash of everything that its answers depend on."""
        digest = hashlib.sha256(repr((self.key, self.layer, self.classes)).encode())
        for name in sorted(self.arrays):
            digest.update(name.encode() + self.arrays[name].tobytes())
        return digest.hexdigest()[:20]

    def save(self, path: str | Path) -> None:
        """One safetensors file with the arrays, and the rest as JSON in its header."""
        from safetensors.numpy import save

        from w2s_lab.report import write_whole

        about = {k: v for k, v in vars(self).items() if k in self.__match_args__ and k != "arrays"}
        packed = save(dict(self.arrays), {"labeller": json.dumps(about)})
        write_whole(path, packed)

    @staticmethod
    def load(path: str | Path) -> "Labeller":
        """The labeller that `save` wrote.

        Raises:
            W2SError: no such file, or not one of these.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as file:
                about = json.loads((file.metadata() or {})["labeller"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about["classes"] = tuple(about["classes"])
            return Labeller(**about, arrays=arrays)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            what = "no such file" if isinstance(error, FileNotFoundError) else "this is no labeller"
            mend = "give a file that Labeller.save or `w2s-lab label --save-labeller` wrote"
            raise W2SError(what, where=str(path), mend=mend) from None


def weak_labeller(
    task: str | Task,
    weak: str = "static",
    *,
    labels: int | None = None,
    seed: int = 0,
    size: str | None = None,
    device: str = "auto",
) -> Labeller:
    """The weak model of one seed of a run: a linear head on mean states, fitted to few gold labels.

    Kept in the cache under all that it depends on, so that the same call gives the same weights to
    the bit.

    Args:
        task: one with classes; a name or a file is loaded at `size`.
        weak: the trunk's name.
        labels: gold labels of `supervise` that it gets; the task's own number by default.
        seed: which gold labels, and which first weights.

    Raises:
        W2SError: a task without classes, an unknown model, or more labels than there are.
    """
    from w2s_lab import protocol
    from w2s_lab.heads import train
    from w2s_lab.methods import balanced, one_hot

    task = task if isinstance(task, Task) else load_task(task, size=size)
    bench = _bench(task, weak, device, labels, seed)
    given, transfer = np.sort(bench.given[0]), task.splits["transfer"]
    fitted = f"{weak} on {task.name} ({task.size}), {bench.labels} gold labels, seed {seed}"

    def fill(folder: Path) -> None:
        # Transfer twice, as in a run, which labels it and scales by it: a deviation divides by one
        # less than the number of rows
        rows = np.concatenate([given, transfer, transfer])
        inputs = bench.inputs(bench.trunk, rows, pool=True)
        gold = task.gold[given][None]
        target, weight = one_hot(gold, bench.classes), balanced(gold, bench.classes)
        heads = train(
            inputs,
            np.arange(len(given)),
            bench.lessons(target, weight, seed=bench.numbers),
            epochs=protocol.GOLD_STEPS,
            batch=len(given),
            queries=0,
            desc=f"{weak} on gold",
        )
        labeller_of(bench.trunk, inputs, heads, task.classes, fitted).save(folder / "labeller")

    digest = hashlib.sha256(Path(__file__).read_bytes())
    for room in protocol.ROOMS:
        digest.update(Path(__file__).with_name(f"{room}.py").read_bytes())
    facts = (fitted, bench.trunk.key, bench.trunk.layer, bench.device, task.classes)
    digest.update(repr((facts, protocol.GOLD_STEPS, task.gold[given].tolist())).encode())
    for item in (*given, *transfer):
        digest.update(delimited(task.inputs[item]))
    home = cache_dir() / "results" / digest.hexdigest()[:24]
    return Labeller.load(atomic_folder(home, fill) / "labeller")


def student_labeller(
    task: Task, supervisor: Labeller, *, strong: str = "minilm", device: str = "auto"
) -> Labeller:
    """A strong student that has learned (method naive) from the supervisor's labels of `transfer`.

    Raises:
        W2SError: a task without classes, other classes than the supervisor's, or an unknown model.
    """
    from w2s_lab import protocol
    from w2s_lab.heads import train
    from w2s_lab.methods import METHODS

    bench = _bench(task, strong, device)
    if supervisor.classes != task.classes:
        what = f"it tells apart {supervisor.classes}, the task {task.classes}"
        raise W2SError(what, where=supervisor.fitted, mend="fit it on this task")
    transfer = task.splits["transfer"]
    probs = supervisor([task.inputs[i] for i in transfer], device=device)[None]
    lessons = bench.lessons(*METHODS["naive"].teach(probs, bench.prior, 0))
    inputs = bench.inputs(bench.trunk, transfer, dim=protocol.DIM)
    heads = train(inputs, np.arange(len(transfer)), lessons, epochs=protocol.EPOCHS)
    fitted = f"{strong} taught by {supervisor.fitted}"
    return labeller_of(bench.trunk, inputs, heads, task.classes, fitted)


def labeller_of(trunk, inputs, heads, classes, fitted: str, *, head: int = 0) -> Labeller:
    """One of many trained heads, with the scale of its inputs, as a labeller."""
    scale = {"mean": inputs.mean, "deviation": inputs.deviation, "axes": inputs.axes}
    of = {"query": heads.query[:, head], "weight": heads.weight[head], "bias": heads.bias[head, 0]}
    arrays = {
        name: value.detach().cpu().contiguous().numpy()
        for name, value in (scale | of).items()
        if value is not None
    }
    return Labeller(trunk.name, trunk.key, trunk.layer, tuple(classes), arrays, fitted)


def _bench(task: Task, model: str, device: str, labels: int | None = None, seed: int = 0):
    from w2s_lab.protocol import Bench

    if task.in_text or task.protocol != "label":
        mend = "give indemnity, or a file of yours with texts and labels"
        raise W2SError("its answers are no classes", where=task.name, mend=mend)
    return Bench(task, model, model, device, [seed], labels)
