"""How well two readers agree: the share of agreement, and Cohen's kappa, plain or weighted.

Cohen J (1960) Educ Psychol Meas 20: 37-46; Cohen J (1968) Psychol Bull 70: 213-220 for weights; the large-sample
standard error of Fleiss JL, Cohen J, Everitt BS (1969) Psychol Bull 72: 323-327.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from analysis.domain.arguments import between, one_of


@dataclass(frozen=True)
class Agreement:
    """``kappa`` and its limits are None where it is not defined: everybody said the same by chance alone."""

    n: int
    agreed: int
    categories: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    kappa: float | None
    std_error: float | None
    lower: float | None
    upper: float | None
    method: str

    @property
    def share(self) -> float:
        return self.agreed / self.n


#: Weight of two categories that lie ``distance`` apart of ``most``: 1 is full agreement.
WEIGHTS: Mapping[str, Callable[[NDArray[np.int64], int], NDArray[np.float64]]] = {
    "none": lambda distance, most: (distance == 0).astype(float),
    "linear": lambda distance, most: 1 - distance / most,
    "quadratic": lambda distance, most: 1 - (distance / most) ** 2,
}


def cohen_kappa(
    first: Sequence[str],
    second: Sequence[str],
    *,
    categories: Sequence[str] | None = None,
    weights: str = "none",
    level: float = 0.95,
) -> Agreement:
    """Agreement of two readings of the same cases, in the same order.

    ``categories`` in their order (weights need it); None: those that occur, sorted. Raises ValueError for readings of
    different length, none at all, or a category that is not in the list.

    >>> a, b = ["yes"] * 25 + ["no"] * 25, ["yes"] * 20 + ["no"] * 20 + ["yes"] * 10
    >>> round(cohen_kappa(a, b).kappa, 2)
    0.2
    """
    if len(first) != len(second):
        raise ValueError(f"second has {len(second)} readings and first {len(first)}; they are of the same cases")
    if not first:
        raise ValueError("first is empty; agreement needs at least one case that both have read")
    names = tuple(categories) if categories is not None else tuple(sorted({*first, *second}))
    unknown = sorted({*first, *second} - set(names))
    if unknown:
        raise ValueError(f"categories does not have {unknown[0]!r}")
    weigh = one_of("weights", weights, WEIGHTS)
    z = float(ndtri(0.5 + between("level", level, 0, 1) / 2))
    index = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for one, other in zip(first, second, strict=True):
        counts[index[one], index[other]] += 1
    n, k = len(first), len(names)
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    w = weigh(distance, max(k - 1, 1))
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, expected = float((w * p).sum()), float((w * np.outer(rows, columns)).sum())
    kappa = std_error = lower = upper = None
    if expected < 1 - 1e-12:
        kappa = (observed - expected) / (1 - expected)
        # Fleiss, Cohen & Everitt 1969, eq. 10: the mean weights of the row and of the column of each cell.
        mean = (w @ columns)[:, None] + (w.T @ rows)[None, :]
        inner = float((p * (w - mean * (1 - kappa)) ** 2).sum())
        variance = (inner - (kappa - expected * (1 - kappa)) ** 2) / (n * (1 - expected) ** 2)
        std_error = float(np.sqrt(max(variance, 0.0)))
        lower, upper = max(kappa - z * std_error, -1.0), min(kappa + z * std_error, 1.0)
    return Agreement(
        n,
        int(np.trace(counts)),
        names,
        tuple(tuple(int(c) for c in row) for row in counts),
        kappa,
        std_error,
        lower,
        upper,
        "Cohen's kappa" + ("" if weights == "none" else f", {weights} weights"),
    )
