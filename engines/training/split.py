"""Folds that share no group of look-alikes, and none of neighbouring radiographs of one part of the body.

Neighbouring numbers are often two views of one patient, and look-alikes are often one radiograph. If the two were in
different folds, a network would be tested on radiographs that it has learned from. But a publisher also numbers
radiographs by content: a run of over a hundred fractures is not one patient. So neighbours belong together only if they
show a region in common, as two views of one joint do.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def group_radiographs(
    numbers: Sequence[int], look_alikes: Sequence[Hashable], shown: Sequence[Collection[Hashable]]
) -> NDArray[np.int64]:
    """Group radiographs that are look-alikes, or have consecutive numbers and show a region in common, transitively.

    Parameters
    ----------
    shown
        Regions on each radiograph; one without known regions is grouped with its neighbours.

    Returns
    -------
    (M,) int64
        The same value for radiographs of one group.
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


def assign_folds(groups: NDArray[np.int64], traits: NDArray[np.float64], n: int, seed: int) -> NDArray[np.int8]:
    """Assign each group to the fold that most lacks the traits of the group.

    Parameters
    ----------
    groups : (M,) int64
    traits : (M,T) float64
        Traits that every fold should have evenly: a column of ones, fractured or not, fractured knees, ...

    Returns
    -------
    (M,) int8
        Each radiograph's fold, 0 to n-1. Large groups are assigned first, while every fold has room for them.
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
