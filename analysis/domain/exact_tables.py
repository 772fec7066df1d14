"""The p value of Fisher's exact test for r x c tables, by the network algorithm.

A table with fixed margins is a path: its columns are filled one after the other, and the row totals still to be filled
are the node. What a path can still become depends on its node alone, so that two things need no enumeration: if even
the likeliest completion is no likelier than the observed table, all completions count (and their total is known in
closed form); if even the least likely completion is likelier, none does. Only the paths between are followed on, and
those that meet at a node with the same probability go on as one.

Mehta CR, Patel NR. A network algorithm for performing Fisher's exact test in r x c contingency tables. J Am Stat Assoc
1983;78:427-434. The bounds on completions here are our own, cheaper and looser than the paper's longest and shortest
paths; looser bounds cost time, never exactness. The last two columns are not followed cell by cell: all their fillings
are sorted by probability once for a node, and each path looks its sum up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

TIE = 1e-7
"""Two tables are equally likely when the logarithms of their probabilities, which are rounded sums, differ by less."""

SAME_PATH = 1e-10
"""Paths into one node go on as one when their logarithms differ by less: far below TIE, even over all columns."""

AT_ONCE = 2_000_000
"""Column fillings, or extended paths, held in memory at a time."""

MOST = 100_000_000
"""Extended paths followed for one column before the table is refused: about half a minute."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """The tables filled up to some column and not yet decided.

    ``nodes`` are the distinct sorted row totals still to be filled, (nodes, rows). A path has its ``node``, its
    ``log_p`` (minus the sum of the log factorials of its cells) and the number of tables it stands for, ``tables``.
    Paths are sorted by node, then by ``log_p``; those of node i are ``first[i]:first[i + 1]``.
    """

    nodes: Counts
    node: NDArray[np.intp]
    log_p: Floats
    tables: Floats
    first: NDArray[np.intp]


def p_value(counts: Counts) -> float:
    """Total probability, given both margins, of the tables no likelier than ``counts`` (no empty row or column).

    Raises ValueError when there are too many to enumerate.

    >>> round(p_value(np.array([[24, 15], [43, 24], [29, 19], [4, 0]])), 4)
    0.5551
    """
    table = counts if counts.shape[0] <= counts.shape[1] else counts.T
    columns = np.sort(table.sum(axis=0))[::-1]
    log_factorial = special.gammaln(np.arange(int(table.sum()) + 1) + 1.0)
    threshold = TIE - float(log_factorial[table].sum())
    rows = np.sort(table.sum(axis=1))
    log_total = float(_log_total(rows[None, :], columns, log_factorial)[0])

    stage = _Stage(rows[None, :], np.zeros(1, np.intp), np.zeros(1), np.ones(1), np.array([0, 1]))
    counted = 0.0
    while len(columns) > 2:
        stage, decided = _fill_column(stage, columns, threshold, log_total, log_factorial)
        counted += decided
        columns = columns[1:]
    counted += _fill_last_two(stage, columns, threshold, log_total, log_factorial)
    return min(counted, 1.0)


def _fill_column(
    stage: _Stage, columns: Counts, threshold: float, log_total: float, log_factorial: Floats
) -> tuple[_Stage, float]:
    """Fill the first of ``columns`` in every way: the paths undecided, and the probability of those that count."""
    to_come = columns[1:]
    # Probability of the tables counted so far on each path, from the least likely path of a node upwards.
    log_completions = _log_total(stage.nodes, columns, log_factorial)
    reached = stage.tables * np.exp(stage.log_p + log_completions[stage.node] - log_total)
    for begin, end in itertools.pairwise(stage.first):
        np.cumsum(reached[begin:end], out=reached[begin:end])

    counted, followed = 0.0, 0
    pieces: list[tuple[Counts, Floats, Floats]] = []
    for some in _in_portions(stage.nodes, int(columns[0])):
        parent, filling = _fillings(stage.nodes[some], int(columns[0]))
        parent = some[parent]
        child_nodes, child = _distinct(np.sort(stage.nodes[parent] - filling, axis=1))
        step = -log_factorial[filling].sum(axis=1)
        # Paths of the parent up to ``sure`` count however they go on; those from ``hopeless`` on never do.
        sure = _rank(stage, parent, threshold - step - _likeliest(child_nodes, to_come, log_factorial)[child])
        hopeless = _rank(stage, parent, threshold - step - _least_likely(child_nodes, to_come, log_factorial)[child])
        share = np.exp(step + _log_total(child_nodes, to_come, log_factorial)[child] - log_completions[parent])
        some_sure = sure > stage.first[parent]
        counted += float(share[some_sure] @ reached[sure[some_sure] - 1])

        undecided = np.maximum(hopeless - sure, 0)
        followed += int(undecided.sum())
        if followed > MOST:
            raise ValueError(
                f"table: too many tables share its margins to be enumerated ({followed:,} for one column); "
                "merge small categories, or use chi_square, which is near enough at this size"
            )
        for edges in _portions(undecided):
            edge = np.repeat(edges, undecided[edges])
            offset = np.arange(len(edge)) - np.repeat(np.cumsum(undecided[edges]) - undecided[edges], undecided[edges])
            path = sure[edge] + offset
            nodes_used, node = np.unique(child[edge], return_inverse=True)
            extended = _merged(child_nodes[nodes_used], node, stage.log_p[path] + step[edge], stage.tables[path])
            pieces.append((extended.nodes[extended.node], extended.log_p, extended.tables))
    if not pieces:
        nothing = np.zeros(0)
        return _merged(stage.nodes[:0], nothing.astype(np.intp), nothing, nothing), counted
    nodes, node = _distinct(np.concatenate([piece[0] for piece in pieces]))
    log_p, tables = (np.concatenate([piece[i] for piece in pieces]) for i in (1, 2))
    return _merged(nodes, node, log_p, tables), counted


def _fill_last_two(stage: _Stage, columns: Counts, threshold: float, log_total: float, log_factorial: Floats) -> float:
    """Probability of the tables that count among the completions of ``stage`` in the last two columns."""
    counted = 0.0
    for some in _in_portions(stage.nodes, int(columns[0])):
        parent, filling = _fillings(stage.nodes[some], int(columns[0]))
        rest = stage.nodes[some][parent] - filling
        log_q = -log_factorial[filling].sum(axis=1) - log_factorial[rest].sum(axis=1)
        completions = _merged(stage.nodes[some], parent, log_q, np.ones(len(log_q)))
        scale = _log_total(stage.nodes[some], columns, log_factorial)
        completed = completions.tables * np.exp(completions.log_p - scale[completions.node])
        for begin, end in itertools.pairwise(completions.first):
            np.cumsum(completed[begin:end], out=completed[begin:end])
        path = np.arange(stage.first[some[0]], stage.first[some[-1] + 1])
        node = stage.node[path] - some[0]
        last = _rank(completions, node, threshold - stage.log_p[path])
        reached = stage.tables[path] * np.exp(stage.log_p[path] + scale[node] - log_total)
        some_count = last > completions.first[node]
        counted += float(reached[some_count] @ completed[last[some_count] - 1])
    return counted


# --- What the completions of a node come to: in all, at best, at worst ------------------------------------------------


def _log_total(nodes: Counts, columns: Counts, log_factorial: Floats) -> Floats:
    """Log of the sum over completions of 1 / product of cell factorials: N! / product of all margins' factorials."""
    in_all = log_factorial[columns.sum()] - log_factorial[columns].sum()
    return np.asarray(in_all - log_factorial[nodes].sum(axis=1))


def _likeliest(nodes: Counts, columns: Counts, log_factorial: Floats) -> Floats:
    """An upper bound on the log of the likeliest completion of each node: the margins' Lagrangian dual.

    For any multipliers u, v: max sum(-log x_ij!) <= sum_ij max_x (x (u_i + v_j) - log x!) - sum u_i m_i - sum v_j c_j,
    and the inner maximum is at the integer part of exp(u_i + v_j). With half a count added to every cell, the
    multipliers of independence nearly close the gap.
    """
    filled = nodes > 0
    rows = filled.sum(axis=1, keepdims=True)
    u = np.log(nodes + len(columns) / 2)
    v = np.log((columns + rows / 2) / (nodes.sum(axis=1, keepdims=True) + rows * len(columns) / 2))
    slope = u[:, :, None] + v[:, None, :]
    x = np.minimum(np.exp(slope).astype(np.intp), len(log_factorial) - 1)
    cells = np.where(filled[:, :, None], x * slope - log_factorial[x], 0)
    return np.asarray(cells.sum(axis=(1, 2)) - (u * nodes).sum(axis=1) - v @ columns)


def _least_likely(nodes: Counts, columns: Counts, log_factorial: Floats) -> Floats:
    """A lower bound on the log of the least likely completion: one margin kept, lines packed into few cells."""
    into_columns = np.sort(columns)[::-1]
    before = np.cumsum(into_columns) - into_columns
    by_row = log_factorial[np.clip(nodes[:, :, None] - before, 0, into_columns)].sum(axis=(1, 2))
    into_rows = nodes[:, ::-1]  # nodes are sorted
    before_rows = np.cumsum(into_rows, axis=1) - into_rows
    fills = np.clip(columns[None, :, None] - before_rows[:, None, :], 0, into_rows[:, None, :])
    return np.asarray(-np.minimum(by_row, log_factorial[fills].sum(axis=(1, 2))))


# --- Bookkeeping ------------------------------------------------------------------------------------------------------


def _fillings(nodes: Counts, column: int) -> tuple[NDArray[np.intp], Counts]:
    """Every way to fill a column of total ``column`` within each node's row totals: (index of the node, the cells)."""
    parent = np.arange(len(nodes))
    left = np.full(len(nodes), column)
    cells: list[Counts] = []
    for row in range(nodes.shape[1]):
        below = nodes[:, row + 1 :].sum(axis=1)[parent]
        low = np.maximum(left - below, 0)
        ways = np.minimum(nodes[parent, row], left) - low + 1
        chosen = np.repeat(low, ways) + np.arange(ways.sum()) - np.repeat(np.cumsum(ways) - ways, ways)
        cells = [np.repeat(earlier, ways) for earlier in cells] + [chosen]
        parent, left = np.repeat(parent, ways), np.repeat(left, ways) - chosen
    return parent, np.stack(cells, axis=1)


def _distinct(nodes: Counts) -> tuple[Counts, NDArray[np.intp]]:
    """The distinct nodes, and for each given one its index among them."""
    # All have the same sum, so all but the last row total tell them apart; read as the digits of one number, they sort
    # fast.
    radix = nodes[:, :-1].max(axis=0) + 1
    if math.prod(radix.tolist()) < 2**62:
        place = np.cumprod(np.append(1, radix[:-1]))
        _, first, index = np.unique(nodes[:, :-1] @ place, return_index=True, return_inverse=True)
        return nodes[first], index
    distinct, index = np.unique(nodes, axis=0, return_inverse=True)
    return distinct, index.reshape(-1)


def _in_portions(nodes: Counts, column: int) -> Iterator[NDArray[np.intp]]:
    """Indices of nodes, in portions whose fillings of ``column`` fit in memory together."""
    ways = np.prod(np.minimum(nodes[:, :-1], column) + 1.0, axis=1)
    return _portions(ways)


def _portions(sizes: NDArray[Any]) -> Iterator[NDArray[np.intp]]:
    """Successive indices of the positive ``sizes``, cut where their sum passes a multiple of ``AT_ONCE``."""
    positive = np.flatnonzero(sizes > 0)
    portion = np.floor(np.cumsum(sizes[positive]) / AT_ONCE)
    return iter(np.split(positive, np.flatnonzero(np.diff(portion)) + 1) if positive.size else [])


def _merged(nodes: Counts, node: NDArray[np.intp], log_p: Floats, tables: Floats) -> _Stage:
    """Paths in order of node and probability, those of equal node and probability made one."""
    order = np.lexsort((log_p, node))
    node, log_p, tables = node[order], log_p[order], tables[order]
    new = np.ones(len(node), dtype=bool)
    new[1:] = (np.diff(node) > 0) | (np.diff(log_p) > SAME_PATH)
    start = np.flatnonzero(new)
    node, log_p = node[start], log_p[start]
    tables = np.add.reduceat(tables, start) if start.size else tables
    return _Stage(nodes, node, log_p, tables, np.searchsorted(node, np.arange(len(nodes) + 1)))


def _rank(stage: _Stage, node: NDArray[np.intp], limit: Floats) -> NDArray[np.intp]:
    """Position after the last path of each ``node`` whose ``log_p`` is at most ``limit``.

    One search serves all nodes: each node's paths are shifted by a multiple of the whole range.
    """
    low, high = float(stage.log_p.min()) - 1, float(stage.log_p.max()) + 1
    span = high - low
    keys = stage.node * span + (stage.log_p - low)
    return np.searchsorted(keys, node * span + (np.clip(limit, low, high) - low), side="right")
