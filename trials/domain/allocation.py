"""Allocation by permuted blocks: each block holds every group in the ratio of the protocol, in an order nobody knows.

The list follows from a secret seed alone and is never written down, so that nobody can read the next entry; only what
was drawn is kept. It is made from SHA-256 and not from a generator of numpy, whose stream may change some day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Drawn:
    """One entry of the list: its group, and where it stands. Everything counts from 1."""

    group: str
    position: int
    block: int
    position_in_block: int
    block_size: int


def drawn_at(position: int, *, seed: str, groups: Sequence[str], ratio: Sequence[int], blocks: Sequence[int]) -> Drawn:
    """The entry of the list at ``position``, which is the number of earlier entries plus one.

    Pocock SJ (1983) Clinical Trials, section 5.3: random permuted blocks, here of random size among ``blocks``.
    Raises ValueError where a block size is no multiple of the ratio's sum.

    >>> first_four = [drawn_at(n, seed="s", groups=("a", "b"), ratio=(1, 1), blocks=(4,)).group for n in (1, 2, 3, 4)]
    >>> sorted(first_four)
    ['a', 'a', 'b', 'b']
    """
    check_parameters(groups, ratio, blocks)
    if position < 1:
        raise ValueError("positions count from 1")
    numbers = _numbers(seed)
    before, block = 0, 0
    while True:
        block += 1
        size = blocks[_below(len(blocks), numbers)]
        entries = [name for name, share in zip(groups, ratio, strict=True) for _ in range(share * size // sum(ratio))]
        for last in range(len(entries) - 1, 0, -1):  # Fisher and Yates
            other = _below(last + 1, numbers)
            entries[last], entries[other] = entries[other], entries[last]
        if position <= before + size:
            within = position - before
            return Drawn(entries[within - 1], position, block, within, size)
        before += size


def check_parameters(groups: Sequence[str], ratio: Sequence[int], blocks: Sequence[int]) -> None:
    """Raise ValueError, in words, for a ratio or block sizes that cannot be balanced."""
    if len(groups) != len(ratio) or any(share < 1 for share in ratio):
        raise ValueError(f"the ratio needs one share of at least 1 for each of the {len(groups)} groups")
    if not blocks or any(size < 1 or size % sum(ratio) for size in blocks):
        raise ValueError(f"every block size must be a multiple of {sum(ratio)}, the sum of the ratio")


def _numbers(seed: str) -> Iterator[int]:
    """An endless stream of 64-bit numbers from the seed."""
    counter = 0
    while True:
        digest = hashlib.sha256(f"{seed}:{counter}".encode()).digest()
        yield from (int.from_bytes(digest[start : start + 8], "big") for start in range(0, 32, 8))
        counter += 1


def _below(bound: int, numbers: Iterator[int]) -> int:
    """A number from 0 to ``bound`` - 1, each as likely as the others: the uneven end of the range is drawn again."""
    limit = (1 << 64) - (1 << 64) % bound
    return next(number for number in numbers if number < limit) % bound
