"""Names: how many wrong ones stand before the right one, top-k, and recall between two sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.intervals import Bootstrap, Estimate, mean

Rank = Callable[[np.ndarray], np.ndarray]
"""An image, uint8 RGB [H,W,3], to a score for each name, float [K]; only the order counts."""

TOP = {"top1": 1, "top5": 5}
ROWS = 256  # of the score matrix in memory at a time: 25,000 captions by 5,000 images is 500 MB


def rank_of_truth(
    scores: np.ndarray, *, right: Sequence[int], passed_over: Sequence[int] = ()
) -> int:
    """How many wrong names score as high as the best right one; a tie counts against the model.

    Of scores [K], `right` are the indices of right names, one or more, and `passed_over` those of
    names that are neither right nor wrong.
    """
    wrong = np.ones(len(scores), bool)
    wrong[[*right, *passed_over]] = False
    return int((scores[wrong] >= scores[list(right)].max()).sum())


def top_k(
    ranks: np.ndarray, bootstrap: Bootstrap, *, owners: np.ndarray, names: Mapping[str, int] = TOP
) -> dict[str, Estimate | None]:
    """The shares of ranks [N] among so many first ones; `owners`, int [N], has each one's image.

    Of nothing there is no share.
    """
    return {
        name: bootstrap.estimate(mean(ranks < first), owners=owners)
        for name, first in names.items()
        if len(ranks)
    }


def ranks_of_own(
    queries: np.ndarray, answers: np.ndarray, *, asked: np.ndarray, given: np.ndarray
) -> np.ndarray:
    """How many foreign answers stand before the best own one of each query: int64 [N].

    Of queries [N,E] and answers [M,E], int64 `asked` [N] and `given` [M] name the images that
    they are of, or about. Every query has an own answer.
    """
    found = []
    for start in range(0, len(queries), ROWS):
        rows = slice(start, start + ROWS)
        scores, own = queries[rows] @ answers.T, asked[rows, None] == given
        best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
        found.append(((scores >= best) & ~own).sum(axis=1))
    return np.concatenate(found)
