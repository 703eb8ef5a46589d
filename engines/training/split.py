"""Training, validation and test parts that share no group of look-alike or neighbouring films.

Neighbouring numbers are often two views of one patient; films that look alike often are one film. Either in two parts
would make the test an examination whose questions were known before.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from engines.training.dataset import Part

SHARES = {Part.TRAIN: 0.6, Part.VALIDATION: 0.2, Part.TEST: 0.2}


def groups_of(numbers: Sequence[int], look_alikes: Sequence[Hashable]) -> NDArray[np.int64]:
    """Join films with consecutive numbers and films of one look-alike group, transitively.

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
        if numbers[j] - numbers[i] <= 1:
            parent[root(i)] = root(j)
    return np.array([root(i) for i in range(len(numbers))], np.int64)


def split(groups: NDArray[np.int64], traits: NDArray[np.float64], seed: int) -> NDArray[np.int8]:
    """Give each group to the part that most lacks what the group has.

    Parameters
    ----------
    groups : (F,) int64
    traits : (F,T) float64
        What should be shared out in proportion: a column of ones, fractured or not, fractured knees, ...

    Returns
    -------
    (F,) int8
        The `Part` of each film. Large groups go first, and so into the part that has room for them.
    """
    names, member = np.unique(groups, return_inverse=True)
    have = np.zeros((len(names), traits.shape[1]))
    np.add.at(have, member, traits)
    total = have.sum(0).clip(min=1)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-(have[order] / total).sum(1), kind="stable")]
    shares = np.array([SHARES[p] for p in Part])
    given = np.zeros((len(Part), traits.shape[1]))
    part_of_group = np.zeros(len(names), np.int8)
    for g in order:
        after = (given[None] + np.eye(len(Part))[:, :, None] * have[g]) / total
        excess = (((after - shares[None, :, None]).clip(min=0) ** 2) / shares[None, :, None] ** 2).sum((1, 2))
        lack = (((shares[:, None] - given / total).clip(min=0) / shares[:, None]) * (have[g] / total)).sum(1)
        best = int(np.lexsort((-lack, np.round(excess, 9)))[0])
        given[best] += have[g]
        part_of_group[g] = best
    return part_of_group[member]
