"""A cascade whose answers are texts: when is a small writer sure enough of what it wrote?

Both models learn from the same gold pairs; the small one is cut short. Confidence is read from the
probabilities of the small model's own tokens (Gupta et al. 2024).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from w2s_lab import cascade, metrics, team
from w2s_lab.assets import cache_dir
from w2s_lab.cascade_experiment import bootstrap_average_pgr
from w2s_lab.data import Task
from w2s_lab.errors import W2SError

MODELS = ("smollm2:22", "smollm2")
LIMIT = 28  # tokens of an answer
EPOCHS = 4  # passes over the gold pairs, as in lesson 03
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
SUM, MEAN = "sum", "mean"
METRICS = ("similarity", "chrf")
# what a finished run depends on besides its data: another text in one of these is another run
ROOMS = (
    *("team", "targets", "blocks", "resume"),
    *("models", "generate", "shortcut", "features", "finetune", "losses", "writers"),
    *("text_metrics", "text_cascade"),
)


@dataclass(frozen=True)
class TextCascade:
    """What small and large model wrote for the test items, and how sure the small one was.

    Attributes:
        texts: by "small" and "large" what was written, (items,).
        quality: by metric and model, higher is better, (items,).
        token_log_probs: of the small model's own texts, natural log, one (tokens,) per item.
        flops: operations of one answer, by model.
    """

    task: str
    models: Mapping[str, str]
    texts: Mapping[str, np.ndarray]
    gold: np.ndarray
    groups: np.ndarray
    quality: Mapping[str, Mapping[str, np.ndarray]]
    token_log_probs: list[np.ndarray]
    flops: Mapping[str, float]

    def confidence(self, rule: float | str) -> np.ndarray:
        """How sure the small model was: a quantile of its tokens' log-likelihoods, sum or mean.

        Raises:
            W2SError: another rule, or a quantile outside [0, 1].
        """
        if rule == SUM:
            return np.array([tokens.sum() for tokens in self.token_log_probs])
        if rule == MEAN:
            return np.array([tokens.mean() for tokens in self.token_log_probs])
        if isinstance(rule, str):
            mend = f"give a quantile, {SUM!r} or {MEAN!r}"
            raise W2SError(f"no rule {rule!r}", where="confidence", mend=mend)
        return cascade.token_quantile(self.token_log_probs, rule)

    def _scores(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        if metric not in self.quality:
            mend = f"one of: {', '.join(self.quality)}"
            raise W2SError(f"no metric {metric!r} in this result", mend=mend)
        return self.quality[metric]["small"], self.quality[metric]["large"]

    def gap(self, metric: str = METRICS[0]) -> metrics.Estimate:
        """The large model's lead over the small one, with its interval."""
        small, large = self._scores(metric)
        return metrics.bootstrap_difference(large, small, groups=self.groups)

    def curve(self, rule: float | str, metric: str = METRICS[0]) -> cascade.Curve:
        """Cost against quality for every threshold on the confidence."""
        small, large = self._scores(metric)
        costs = {"small_cost": self.flops["small"], "large_cost": self.flops["large"]}
        return cascade.deferral_curve(self.confidence(rule), small, large, **costs)

    def average_pgr(self, rule: float | str, metric: str = METRICS[0]) -> metrics.Estimate:
        """Average PGR of the curve, with its interval over test groups."""
        small, large = (scores[None] for scores in self._scores(metric))
        sure = self.confidence(rule)[None]
        return bootstrap_average_pgr(sure, small, large, groups=self.groups)

    def length_bias(self, rule: float | str) -> float:
        """Rank correlation of confidence and length of the text, −1 to 1; nan if either is one."""
        from scipy.stats import spearmanr

        lengths = [len(tokens) for tokens in self.token_log_probs]
        sure = self.confidence(rule)
        if len(set(lengths)) == 1 or np.ptp(sure) == 0:
            return np.nan
        return float(spearmanr(sure, lengths).statistic)

    def table(self, metric: str = METRICS[0]):
        """Every rule with its average PGR and its bias towards short texts."""
        from w2s_lab.report import Table

        names: dict[float | str, str] = {SUM: "sum of log-probabilities", MEAN: "mean"}
        names |= {q: f"quantile {q:g}" for q in QUANTILES}
        rows = tuple(
            (name, str(self.average_pgr(rule, metric)), "-" if np.isnan(bias) else f"{bias:+.2f}")
            for rule, name in names.items()
            for bias in (self.length_bias(rule),)
        )
        small, large = self._scores(metric)
        title = (
            f"{self.task}: {metric} to gold of texts by {self.models['small']} "
            f"({small.mean():.2f}) and {self.models['large']} ({large.mean():.2f}); "
            f"{len(self.gold)} test items"
        )
        notes = [f"The gap from the small to the large model is {self.gap(metric)}."]
        if not self.gap(metric).low > 0:
            notes.append("Warning: the gap may be 0, so no average PGR over it is bounded.")
        header = ("confidence", "average PGR [95 % interval]", "correlation with length")
        return Table(title, (rows[:2], rows[2:]), tuple(notes), header, 1)

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def text_cascade(
    task: Task, *, weak: str = MODELS[0], strong: str = MODELS[1], device: str = "auto"
) -> TextCascade:
    """Both models' answers to the test items; remembered.

    Raises:
        W2SError: a task whose answers are no texts, or an unknown model.
    """
    from w2s_lab.models import language_model

    if not task.in_text:
        raise W2SError("its answers are classes", where=task.name, mend="choose code or papers")
    test, told = task.splits["test"], task.splits["supervise"]
    items = np.concatenate([told, test])
    documents, questions = ([part[i] for i in items] for part in (task.inputs, task.questions))
    names = {"small": weak, "large": strong}
    models = {role: language_model(name, device=device) for role, name in names.items()}
    digest = hashlib.sha256(b"text cascade")
    for room in ROOMS:
        digest.update(Path(__file__).with_name(f"{room}.py").read_bytes())
    keys = [(m.key, m.depth, m.device) for m in models.values()]
    gold = [task.gold[i] for i in items]
    content = (keys, documents, questions, gold, len(told), LIMIT, EPOCHS)
    digest.update(repr(content).encode("utf-8", "surrogatepass"))

    def fill(folder: Path) -> None:
        found = _written(documents, questions, gold, names, device, len(told))
        (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")

    folder = team.kept(cache_dir() / "results" / digest.hexdigest()[:24], fill)
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return TextCascade(
        task=task.name,
        models=names,
        texts={role: np.array(texts, object) for role, texts in found["texts"].items()},
        gold=task.gold[test],
        groups=task.groups[test],
        quality={
            metric: {role: np.array(values) for role, values in by_model.items()}
            for metric, by_model in found["quality"].items()
        },
        token_log_probs=[np.array(tokens) for tokens in found["token_log_probs"]],
        flops=found["flops"],
    )


def _written(documents, questions, gold, names, device, known: int) -> dict:
    """Texts, qualities, the small model's token log-probabilities and costs, as plain values."""
    from w2s_lab import text_metrics
    from w2s_lab.generate import log_likelihood
    from w2s_lab.writers import Blocks

    taught, asked = range(known), range(known, len(documents))
    found: dict = {"texts": {}, "flops": {}, "quality": {metric: {} for metric in METRICS}}
    for role, name in names.items():
        writer = Blocks(name, documents, questions, device, unlabelled=taught)
        desc = f"{name} on gold"
        top = writer.taught(taught, gold[:known], epochs=EPOCHS, seed=0, desc=desc)
        texts = writer.write(top, asked, LIMIT, f"{name} writes")
        if role == "small":
            likely = log_likelihood(top, writer.tell(tuple(asked), tuple(texts)))
            found["token_log_probs"] = [tokens.tolist() for tokens in likely]
        cost = writer.cost()
        words = np.mean([len(writer.tokenizer(text)["input_ids"]) + 1 for text in texts])
        found["texts"][role] = texts
        found["flops"][role] = (
            cost["prompt_tokens"] * cost["read_flops"] + float(words) * cost["write_flops"]
        )
        for metric in METRICS:
            found["quality"][metric][role] = getattr(text_metrics, metric)(
                texts, gold[known:]
            ).tolist()
    return found
