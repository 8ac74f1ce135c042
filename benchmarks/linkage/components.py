"""Connected components."""

import numpy as np
import numpy.typing as npt
import polars as pl

Labels = npt.NDArray[np.int64]


def connect(count: int, pairs: pl.DataFrame) -> Labels:
    """For each of ``count`` records the lowest record that ``pairs`` (``left``, ``right``) connect it with."""
    label = np.arange(count)
    left, right = pairs["left"].to_numpy(), pairs["right"].to_numpy()
    while True:
        lower = np.minimum(label[left], label[right])
        before = label.copy()
        for place in (left, right, before[left], before[right]):
            np.minimum.at(label, place, lower)
        while not np.array_equal(jumped := label[label], label):
            label = jumped
        if np.array_equal(label, before):
            return label
