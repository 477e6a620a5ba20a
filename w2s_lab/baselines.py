"""What could embarrass a weak-to-strong result: simpler ways to use the same texts and labels.

A baseline takes the run (`protocol.Bench`) and returns probabilities of the test items, shape
(seeds, items, classes).
"""

import numpy as np

from w2s_lab.methods import one_hot
from w2s_lab.registry import Registry

BASELINES: Registry = Registry("baseline")
baseline = BASELINES.register


@baseline("majority")
def majority(bench) -> np.ndarray:
    """Always the class that is most frequent in `supervise`."""
    test = bench.task.splits["test"]
    return np.tile(
        one_hot(np.argmax(bench.prior, keepdims=True), bench.classes), (bench.seeds, len(test), 1)
    )


@baseline("bag of words")
def bag_of_words(bench) -> np.ndarray:
    """TF-IDF and logistic regression on the same gold labels: no neural model at all."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    def text(items):
        return [bench.task.inputs[i] for i in items]

    probs = []
    # the vocabulary and its weights come from the unlabelled transfer texts
    words = TfidfVectorizer(sublinear_tf=True).fit(text(bench.task.splits["transfer"]))
    tested = words.transform(text(bench.task.splits["test"]))
    for given in bench.given:
        model = LogisticRegression(C=10, class_weight="balanced")
        model.fit(words.transform(text(given)), bench.task.gold[given])
        full = np.zeros((tested.shape[0], bench.classes))
        full[:, model.classes_] = model.predict_proba(tested)
        probs.append(full)
    return np.stack(probs)


@baseline("strong zero-shot")
def zero_shot(bench) -> np.ndarray:
    """The strong model before any training: which class description is a text nearest to?

    Cosine similarity of mean states after the last block, the use MiniLM was trained for.
    """
    from w2s_lab.features import token_states

    top = bench.trunk.at(len(bench.trunk.blocks()))
    words = bench.task.descriptions or bench.task.classes
    texts = [bench.task.inputs[i] for i in bench.task.splits["test"]]
    states = token_states(top, [*words, *texts], pool=True)
    rows = states.flat.astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    likeness = rows[bench.classes :] @ rows[: bench.classes].T
    # similarities are no probabilities; only which one is larger counts
    probs = np.exp(20 * (likeness - likeness.max(1, keepdims=True)))
    probs /= probs.sum(1, keepdims=True)
    return np.tile(probs, (bench.seeds, 1, 1))


@baseline("strong on gold labels")
def strong_on_gold(bench) -> np.ndarray:
    """The strong model trained on the very gold labels that the weak model was given."""
    test = bench.task.splits["test"]
    return bench.taught_by_gold(bench.trunk, bench.given, test, linear=False)
