"""Which thing of one kind is which of another, from nothing but who is like whom among each.

Two similarity matrices over two sets of the same or of overlapping things are aligned without any pair that is known.
Each thing's profile, its likenesses sorted, does not depend on who the others are; the closest profiles that choose one
another are the first anchors. A thing is then described by its likeness to the anchors, and the closest descriptions
that choose one another are the next anchors, and so on. This is graph matching as Culnane and others (2017),
Vidanage and others (2020) and Schaefer, Armknecht and Heng (2024) use it against encodings, in its simplest form.
"""

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

ROUNDS = 25
PROFILE = 40
"""Likenesses that are looked at first, the greatest of each."""
MARK = 36


def align(
    mine: Matrix, theirs: Matrix, marks: tuple[Matrix, Matrix], blend: float = 0.0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """For each of mine the one of theirs that it most looks like, and whether the two choose one another.

    ``mine`` and ``theirs`` are square likenesses. ``marks`` are figures that are known of each besides, such as its
    frequency; one weighs as much as :data:`MARK` likenesses. ``blend`` is the weight of profiles and marks beside the
    likeness to anchors, for graphs in which most are like nobody.
    """
    profile = min(PROFILE, len(mine) - 1, len(theirs) - 1)
    described = [
        np.hstack([np.sort(likeness, axis=1)[:, ::-1][:, 1 : 1 + profile], np.repeat(mark, MARK, axis=1)])
        for likeness, mark in ((mine, marks[0]), (theirs, marks[1]))
    ]
    first, second = ((each - each.mean(axis=0)) / (each.std(axis=0) + 1e-6) for each in described)
    closeness = first @ second.T - (first**2).sum(axis=1)[:, None] / 2 - (second**2).sum(axis=1)[None, :] / 2
    chosen, mutual = _choose(closeness)
    steady = blend * _standard(first) @ _standard(second).T if blend else 0
    for _ in range(ROUNDS):
        anchors = np.flatnonzero(mutual)
        closeness = _standard(mine[:, anchors]) @ _standard(theirs[:, chosen[anchors]]).T + steady
        again, mutual = _choose(closeness)
        if (again == chosen).all():
            break
        chosen = again
    return chosen, mutual


def _choose(closeness: Matrix) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    chosen, back = closeness.argmax(axis=1), closeness.argmax(axis=0)
    return chosen, back[chosen] == np.arange(len(chosen))


def _standard(rows: Matrix) -> Matrix:
    centred = rows - rows.mean(axis=1, keepdims=True)
    return centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-9)


def dice(sets: npt.NDArray[np.bool_]) -> Matrix:
    """Dice's coefficient of each two rows, which are sets as bits."""
    rows = sets.astype(np.float32)
    weight = rows.sum(axis=1)
    return 2 * (rows @ rows.T) / np.maximum(weight[:, None] + weight[None, :], 1)
