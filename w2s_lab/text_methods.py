"""How a student learns from a weak writer: one registered function a method.

It does not train or write: a method says which of the weak texts count, the traits say the rest.
The remedies are those known to the field: early stopping (Burns et al. 2023, section 5.1), filters
by likelihood and by agreement, a little gold, and interpolation towards the untouched model
(Wortsman et al. 2022).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from w2s_lab.registry import Registry

TEXT_METHODS: Registry = Registry("text method")
KEEP = 0.5  # share of the weak texts that a filter lets pass
TEMPERATURE = 2.0  # softens the weak model's distribution over the next token


@dataclass(frozen=True)
class Weak:
    """What one weak model wrote for the transfer inputs, in their order.

    Attributes:
        texts: what it wrote.
        others: what a second weak model, taught by other gold, wrote for the same inputs.
        likelihood: mean log-probability per token that it gives its own text, (items,); nan where
            the supervisor is no language model.
    """

    texts: tuple[str, ...]
    others: tuple[str, ...]
    likelihood: np.ndarray


@dataclass(frozen=True)
class TextMethod:
    """A way to learn from weak texts.

    Attributes:
        choose: from `Weak` to weights (items,), 0 for a text that is left out.
        gold: learn the weak model's own few gold pairs as well.
        temperature: above 0, match the weak model's distribution over the next token instead of its
            one choice, softened by this temperature.
        stops_early: keep the epoch that fits the weak texts of the validation groups best.
        shrinks: go only part of the way from the untouched model; how far, the weak model's few
            gold pairs decide.
    """

    name: str
    choose: Callable[[Weak], np.ndarray]
    gold: bool = False
    temperature: float = 0.0
    stops_early: bool = False
    shrinks: bool = False


def text_method(name: str, **traits) -> Callable:
    """Registers the decorated function as the method `name`; `traits` are `TextMethod`'s."""

    def add(choose):
        TEXT_METHODS[name] = TextMethod(name, choose, **traits)
        return choose

    return add


def text_variant(name: str, **traits) -> TextMethod:
    """A registered method with other traits, for example `text_variant("likely", shrinks=True)`."""
    label = ", ".join(
        trait if value is True else f"{trait} {value:g}" for trait, value in traits.items()
    )
    return replace(TEXT_METHODS[name], name=f"{name} ({label})", **traits)


@text_method("naive")
def everything(weak: Weak) -> np.ndarray:
    """Imitate every weak text."""
    return np.ones(len(weak.texts))


text_method("early stopping", stops_early=True)(everything)
text_method("shrink", shrinks=True)(everything)
text_method("mixed", gold=True)(everything)
text_method("soft", temperature=TEMPERATURE)(everything)


@text_method("likely")
def likely(weak: Weak) -> np.ndarray:
    """Keep the half of the weak texts that their writer found likeliest, per token."""
    return _best_half(weak.likelihood)


@text_method("agreed")
def agreed(weak: Weak) -> np.ndarray:
    """Keep the half of the weak texts that a second weak model's texts resemble most (chrF)."""
    from w2s_lab.text_metrics import chrf

    return _best_half(chrf(weak.texts, weak.others))


def _best_half(score: np.ndarray) -> np.ndarray:
    """1 for the share `KEEP` of highest score, at least one; all where there is no score."""
    if not np.isfinite(score).all():
        return np.ones(len(score))
    weight = np.zeros(len(score))
    weight[np.argsort(-score, kind="stable")[: max(1, round(KEEP * len(score)))]] = 1
    return weight
