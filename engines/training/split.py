"""Folds that share no group of look-alike films or of neighbouring films of one part of the body.

Neighbouring numbers are often two views of one patient; films that look alike often are one film. Either in two folds
would make the test an examination whose questions were known before. But a publisher also numbers films by what they
show: runs of over a hundred fractures are no patient. So neighbours belong together where they show a region in common,
as two views of one joint do.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def groups_of(
    numbers: Sequence[int], look_alikes: Sequence[Hashable], shown: Sequence[Collection[Hashable]]
) -> NDArray[np.int64]:
    """Join films of one look-alike group and films with consecutive numbers that show a region in common, transitively.

    Parameters
    ----------
    shown
        The regions on each film; where nothing is known of a film, it goes with its neighbours.

    Returns
    -------
    (F,) int64
        The same value for films of one group.
    """
    parent = list(range(len(numbers)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[Hashable, int] = {}
    for i, key in enumerate(look_alikes):
        parent[root(i)] = root(first.setdefault(key, i))
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    for i, j in itertools.pairwise(order):
        alike = not shown[i] or not shown[j] or not set(shown[i]).isdisjoint(shown[j])
        if numbers[j] - numbers[i] <= 1 and alike:
            parent[root(i)] = root(j)
    return np.array([root(i) for i in range(len(numbers))], np.int64)


def folds(groups: NDArray[np.int64], traits: NDArray[np.float64], n: int, seed: int) -> NDArray[np.int8]:
    """Give each group to the fold that most lacks what the group has.

    Parameters
    ----------
    groups : (F,) int64
    traits : (F,T) float64
        What should be shared out evenly: a column of ones, fractured or not, fractured knees, ...

    Returns
    -------
    (F,) int8
        Each film's fold, 0 to n-1. Large groups go first, and so into the fold that has room for them.
    """
    names, member = np.unique(groups, return_inverse=True)
    have = np.zeros((len(names), traits.shape[1]))
    np.add.at(have, member, traits)
    total = have.sum(0).clip(min=1)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-(have[order] / total).sum(1), kind="stable")]
    given = np.zeros((n, traits.shape[1]))
    fold_of_group = np.zeros(len(names), np.int8)
    for g in order:
        before, after = (((x / total - 1 / n).clip(min=0) ** 2).sum(1) for x in (given, given + have[g]))
        lack = ((1 / n - given / total).clip(min=0) * (have[g] / total)).sum(1)
        best = int(np.lexsort((-lack, np.round(after - before, 9)))[0])
        given[best] += have[g]
        fold_of_group[g] = best
    return np.asarray(fold_of_group[member], np.int8)
