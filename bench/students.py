"""75 students of one supervision pair: 5 methods, 3 learning rates, 5 seeds.

    python bench/students.py

Ours trains all of them as one program (`heads.train`). The peers train the same heads one after
another: a plain PyTorch loop over the same states, and a loop that runs the frozen trunk again in
each step, as published code does. The last one is measured for one pass of one student and
multiplied by the number of students and passes.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ["W2S_QUIET"] = "1"

import numpy as np
import torch
from measuring import Timed, main, once, row

import w2s_lab as w2s
from w2s_lab import features, heads, metrics, protocol
from w2s_lab.features import token_states
from w2s_lab.losses import confidence_target, soft_cross_entropy, warmup
from w2s_lab.methods import METHODS

NAMES = ("naive", "soft", "confidence", "filter", "ensemble")
RATES = (1 / 3, 1.0, 3.0)
SEEDS = 5
READINGS = 3  # of the trunk, ours and theirs in turns


def measure(size: str = "lab", device: str = "cpu") -> list[dict]:
    """Rows: against the plain loop, and against the loop that runs the trunk in each step."""
    task = w2s.load_task("indemnity", size="smoke" if size == "smoke" else "lab")
    bench = protocol.Bench(task, "static", "minilm", device, SEEDS)
    weak_probs, committee = bench.weak_models()
    transfer, test = task.splits["transfer"], task.splits["test"]
    inputs = bench.inputs(bench.trunk, np.concatenate([transfer, test]), dim=protocol.DIM)
    here, there = np.split(np.arange(len(transfer) + len(test)), [len(transfer)])
    jobs = []
    for name in NAMES:
        told = committee if METHODS[name].committee else weak_probs
        one = bench._taught(METHODS[name], told[:, transfer], 0)
        jobs += [replace(one, rate=rate) for rate in RATES]
    lessons = heads.Lessons.stack(jobs)
    students = len(lessons.seed)
    epochs = 1 if size == "smoke" else protocol.EPOCHS
    texts = [task.inputs[i] for i in transfer]

    def together():
        return heads.train(inputs, here, lessons, epochs=epochs).predict(inputs, there)

    # all that one seed's students are: a fifth of the peer's work beside each of our repeats
    ours, theirs, cold, rerunning = Timed(), Timed(), Timed(), Timed()
    probs = np.empty((students, len(there), len(task.classes)))
    for seed in range(1 if size == "smoke" else SEEDS):
        mine = once(together, device)
        theirs_now = 0.0
        for k in range(seed, students, SEEDS):
            seconds, megabytes, found = once(
                lambda k=k: alone(inputs, here, there, lessons, k, epochs), device
            )
            probs[k] = found
            theirs_now += seconds
            theirs.megabytes = max(theirs.megabytes, megabytes)
        ours.seconds.append(mine[0])
        ours.megabytes, ours.value = max(ours.megabytes, mine[1]), mine[2]
        theirs.seconds.append(SEEDS * theirs_now)
        if seed >= READINGS:
            continue
        reading = once(lambda: read(bench.trunk, texts), device)
        cold.seconds.append(mine[0] + reading[0])
        cold.megabytes = max(cold.megabytes, ours.megabytes, reading[1])
        one_pass = once(lambda: rerun(bench.trunk, texts, here, lessons), device)
        rerunning.seconds.append(one_pass[0] * students * epochs)
        rerunning.megabytes = max(rerunning.megabytes, one_pass[1])

    gold = task.gold[test]
    cells = len(NAMES) * len(RATES)

    def scores(found):
        return metrics.item_scores(found.argmax(-1), gold, task.metric).reshape(cells, SEEDS, -1)

    done = len(theirs.seconds)
    apart = [
        metrics.bootstrap_difference(a[:done], b[:done], strata=gold, groups=task.groups[test])
        for a, b in zip(scores(ours.value), scores(probs), strict=True)
    ]
    largest = max(apart, key=lambda estimate: abs(estimate.value))
    zero = sum(one.low <= 0 <= one.high for one in apart)
    same = f"largest of {cells} differences {largest}; {zero} intervals hold 0"
    work = f"{students} students: {len(NAMES)} methods × {SEEDS} seeds × {len(RATES)} rates"
    return [
        row(
            work,
            "plain PyTorch, one after another, same states and batches",
            ours,
            theirs,
            scores=same,
        ),
        row(
            f"{work}, trunk pass included",
            "a loop that runs the trunk in each step (one pass of one student × "
            f"{students * epochs})",
            cold,
            rerunning,
        ),
    ]


class Head(torch.nn.Module):
    """One student as anybody would write it: attention pooling and a linear layer."""

    def __init__(self, like: heads.Heads):
        super().__init__()
        self.query = torch.nn.Parameter(like.query[:, 0].detach().clone())
        self.read = torch.nn.Linear(like.weight.shape[1], like.weight.shape[2])
        with torch.no_grad():
            self.read.weight.copy_(like.weight[0].T)
            self.read.bias.zero_()

    def forward(self, states, mask):
        score = (states @ self.query).masked_fill(~mask[..., None], -1e4)
        pooled = torch.einsum("btq,btd->bqd", score.softmax(1), states)
        return self.read(pooled.flatten(1))


def alone(inputs, here, there, lessons, k, epochs):
    """Test probabilities of student k, trained by a DataLoader and a loop."""
    rows = [inputs.flat[inputs.offsets[i] : inputs.offsets[i + 1]] for i in [*here, *there]]
    target = torch.from_numpy(lessons.target[k]).float()
    weight = torch.from_numpy(lessons.weight[k] / lessons.weight[k].mean()).float()
    prior = torch.from_numpy(lessons.prior[k : k + 1]).float()
    torch.manual_seed(int(lessons.seed[k]))
    head = Head(heads.Heads(lessons.seed[k : k + 1], inputs.dim, target.shape[-1], heads.QUERIES))
    head = head.to(inputs.flat.device)
    rate = heads.LEARNING_RATE * lessons.rates[k]
    optimizer = torch.optim.AdamW(
        head.parameters(), rate, weight_decay=heads.WEIGHT_DECAY, fused=True
    )

    def collate(items):
        states = [rows[i] for i in items]
        mask = torch.nn.utils.rnn.pad_sequence(
            [torch.ones(len(s), dtype=torch.bool, device=s.device) for s in states],
            batch_first=True,
        )
        return torch.tensor(items), torch.nn.utils.rnn.pad_sequence(states, batch_first=True), mask

    # like lengths side by side, as ours has them: what is compared is not the padding
    rng, lengths = np.random.default_rng(0), inputs.lengths[here]
    batches = [
        b.tolist() for _ in range(epochs) for b in heads._shuffled(lengths, heads.BATCH, rng)
    ]
    loader = torch.utils.data.DataLoader(
        range(len(here)), batch_sampler=batches, collate_fn=collate
    )
    steps = len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    alpha = torch.tensor([lessons.alpha[k]]).float()
    for step, (items, states, mask) in enumerate(loader):
        logits = head(states, mask)
        wanted = target[items].to(logits.device)
        if alpha.item():
            trust = (alpha * warmup(step, steps)).to(logits.device)
            wanted = confidence_target(
                logits[None], wanted[None], alpha=trust, prior=prior.to(trust)
            )[0]
        loss = (weight[items].to(logits.device) * soft_cross_entropy(logits, wanted)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.inference_mode():
        tested = torch.utils.data.DataLoader(
            range(len(here), len(rows)), batch_size=heads.BATCH, collate_fn=collate
        )
        found = [head(states, mask).softmax(-1).cpu() for _, states, mask in tested]
    return torch.cat(found).numpy()


def read(trunk, texts) -> None:
    """The trunk pass, into an empty cache."""
    cache = features.cache_dir
    with tempfile.TemporaryDirectory() as folder:
        features.cache_dir = lambda: Path(folder)
        try:
            token_states(trunk, texts)
        finally:
            features.cache_dir = cache


def rerun(trunk, texts, here, lessons) -> None:
    """One pass of one student over the texts; the trunk reads each batch anew."""
    dim = trunk.model.config.hidden_size
    head = Head(heads.Heads(lessons.seed[:1], dim, 2, heads.QUERIES)).to(trunk.device)
    optimizer = torch.optim.AdamW(head.parameters(), heads.LEARNING_RATE)
    target = torch.from_numpy(lessons.target[0]).float()
    order = np.random.default_rng(0).permutation(len(here))
    for start in range(0, len(order), heads.BATCH):
        some = order[start : start + heads.BATCH]
        inputs = trunk.tokenizer(
            [texts[i] for i in some],
            padding=True,
            truncation=True,
            max_length=features.MAX_TOKENS,
            return_tensors="pt",
        ).to(trunk.device)
        with torch.no_grad():
            states = trunk.states(inputs["input_ids"], inputs["attention_mask"]).float()
        logits = head(states, inputs["attention_mask"].bool())
        loss = soft_cross_entropy(logits, target[some].to(logits.device)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main(measure)
