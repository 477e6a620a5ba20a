"""Near-duplicates out, groups dealt to splits, and a check that nothing leaks.

It knows nothing of any one task. MinHash: Broder 1997; banded lookup: datasketch's MinHashLSH.
"""

import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from w2s_lab.errors import W2SError
from w2s_lab.progress import bar

SHINGLE = 5  # words; the length at which legal boilerplate still tells two clauses apart
NEAR = 0.5  # Jaccard; two changed words in a text of 34 or more still count as the same text
PERMUTATIONS = 128
DEALS = 50  # tries; the first succeeds unless single groups hold several rare classes


def shingles(text: str) -> set[bytes]:
    """The set of runs of five lower-case words in `text`; one shorter run if it has fewer."""
    words = re.findall(r"\w+", text.lower()) or [text]  # ":)" and ":(" are not the same text
    runs = range(max(1, len(words) - SHINGLE + 1))
    return {" ".join(words[i : i + SHINGLE]).encode() for i in runs}


def first_of_near_duplicates(texts: Sequence[str], *, threshold: float = NEAR) -> np.ndarray:
    """Indices of the texts to keep: each is unlike every text kept before it.

    Args:
        texts: the texts, in the order of preference.
        threshold: Jaccard similarity of word 5-grams, estimated to about ±0.05, from which two
            texts count as one; above 0.1.
    """
    found = _lookalikes(texts, threshold, among_all=False)
    return np.array([i for i, earlier in found if not len(earlier)], dtype=int)


def _lookalikes(texts, threshold, *, among_all):
    """Each text's number with those of earlier look-alikes (among all, or among the unlike).

    Removal and check both ask here, so that what one keeps the other lets pass.
    """
    from datasketch import MinHash, MinHashLSH

    runs = (list(shingles(t)) for t in bar(texts, "near-duplicates", unit="text"))
    signatures = MinHash.generator(runs, num_perm=PERMUTATIONS, hashfunc=zlib.crc32)
    # 0.1 lower, because a lookup finds only half of the pairs at its own threshold
    lookup = MinHashLSH(threshold=threshold - 0.1, num_perm=PERMUTATIONS)
    values = np.empty((len(texts), PERMUTATIONS), np.uint32)
    for i, signature in enumerate(signatures):
        values[i] = signature.hashvalues
        earlier = np.array(lookup.query(signature), int)
        earlier = earlier[(values[earlier] == values[i]).mean(axis=1) >= threshold]
        yield i, earlier
        if among_all or not len(earlier):
            lookup.insert(i, signature)


def deal_groups(
    groups: np.ndarray, gold: np.ndarray, shares: Mapping[str, float], *, seed: int
) -> dict[str, np.ndarray]:
    """Whole groups dealt at random so that each split nears its share of every class.

    Args:
        groups: group name per item, shape (items,).
        gold: class per item, shape (items,), as integers or as names.
        shares: wanted share of the items per split, summing to 1.
        seed: another seed is another deal.

    Returns:
        Sorted item indices per split. Every split has an item of every class.

    Raises:
        W2SError: shares that do not sum to 1, or a class in too few groups for every split.
    """
    wanted = np.array(list(shares.values()), float)
    if (wanted <= 0).any() or abs(wanted.sum() - 1) > 1e-6:
        raise W2SError(f"{dict(shares)} are not shares", where="shares", mend="let them sum to 1")
    member = np.unique(groups, return_inverse=True)[1]
    classes, kind = np.unique(gold, return_inverse=True)
    items = np.zeros((member.max() + 1, len(classes)))
    np.add.at(items, (member, kind), 1)
    spread = (items > 0).sum(axis=0)
    rare = [f"{c} ({n})" for c, n in zip(classes, spread, strict=True) if n < len(shares)]
    if rare:
        raise W2SError(
            f"{len(rare)} of {len(classes)} classes are in fewer groups than the "
            f"{len(shares)} splits, for example {', '.join(rare[:3])}",
            where="splits",
            mend="merge or leave out rare classes",
        )
    rng = np.random.default_rng(seed)
    for _ in range(DEALS):
        owner = _deal(items / items.sum(axis=0), wanted, rng)
        if owner is not None:
            return {s: np.flatnonzero(owner[member] == i) for i, s in enumerate(shares)}
    raise W2SError(
        f"no deal of {len(items)} groups found that gives each split an item of each class",
        where="splits",
        mend="merge or leave out rare classes, or cut groups smaller",
    )


def _deal(content, wanted, rng):
    """The split of each group, shape (groups,), or None if some split would lack a class.

    Args:
        content: share of each class's items that a group holds, shape (groups, classes).
        wanted: share of the items for each split, shape (splits,).
    """
    order = rng.permutation(len(content))
    order = order[np.argsort(-content[order].max(axis=1), kind="stable")]  # big and rare first
    chance = rng.random(len(content))
    room = np.repeat(wanted[:, None], content.shape[1], axis=1)  # what each split still wants
    lacks = np.ones(room.shape, bool)  # splits without an item of a class so far
    left = (content > 0).sum(axis=0)  # groups with a class that are still to be dealt
    owner = np.empty(len(content), int)
    for g in order:
        has = np.flatnonzero(content[g])
        share = content[g, has]
        # when only as many groups with a class are left as splits lack it, these must get them
        urgent = has[left[has] <= lacks[:, has].sum(axis=0)]
        allowed = lacks[:, urgent].all(axis=1)
        if not allowed.any():
            return None
        weight = room[:, has] @ share
        fits = allowed & (room[:, has] >= share - 1e-9).all(axis=1)
        if fits.any():  # by chance, in proportion to the room, so that seeds differ
            edges = np.cumsum(weight * fits)
            owner[g] = np.searchsorted(edges, chance[g] * edges[-1], side="right")
        else:
            owner[g] = np.where(allowed, weight, -np.inf).argmax()
        room[owner[g], has] -= share
        lacks[owner[g], has] = False
        left[has] -= 1
    return owner


def check_no_leak(
    texts: Sequence[str],
    groups: np.ndarray,
    splits: Mapping[str, np.ndarray],
    *,
    threshold: float = NEAR,
) -> None:
    """Nothing, if no item is dealt twice and no group or near-duplicate is in two splits.

    Args:
        texts: the texts, shape (items,).
        groups: group name per item, shape (items,).
        splits: item indices per split; not every item need be in one.
        threshold: as in `first_of_near_duplicates`.

    Raises:
        W2SError: a leak; names the items or the group, and the two splits.
    """
    names = list(splits)
    owner = np.full(len(texts), -1)
    for s, index in enumerate(splits.values()):
        items, times = np.unique(index, return_counts=True)
        for item in items[(times > 1) | (owner[items] >= 0)][:1]:
            first = names[owner[item]] if owner[item] >= 0 else names[s]
            raise W2SError(
                f"item {item} is in {first} and again in {names[s]}",
                where="splits",
                mend="give each item to one split",
            )
        owner[items] = s
    dealt = np.flatnonzero(owner >= 0).tolist()
    group_names, member = np.unique(np.asarray(groups)[dealt], return_inverse=True)
    pairs = np.unique(np.stack([member, owner[dealt]]), axis=1)
    for at in np.flatnonzero(np.diff(pairs[0]) == 0)[:1]:
        a, b = names[pairs[1, at]], names[pairs[1, at + 1]]
        raise W2SError(
            f"group {str(group_names[pairs[0, at]])!r} is in {a} and {b}",
            where="splits",
            mend="split by group, not by item",
        )
    found = _lookalikes([texts[i] for i in dealt], threshold, among_all=True)
    home = owner[dealt]
    for i, earlier in found:
        for j in earlier[home[earlier] != home[i]][:1]:
            raise W2SError(
                f"items {dealt[j]} ({names[home[j]]}) and {dealt[i]} ({names[home[i]]}) "
                "are near-duplicates",
                where="splits",
                mend="remove near-duplicates before splitting",
            )
