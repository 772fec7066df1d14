"""Is the trail whole? Recompute every hash, link and number; compare each head with those anchored outside.

A row changed, removed, inserted or moved breaks its chain where it stands. A tail that was cut off leaves a chain that
is whole in itself: only a head that was written down elsewhere (:func:`anchor`) shows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db import connection


@dataclass(frozen=True)
class Fault:
    """One place where a chain does not hold."""

    chain: str
    seq: int
    sentence: str


@dataclass(frozen=True)
class Head:
    """The last row of a chain."""

    chain: str
    seq: int
    hash: str


FAULTS = """
    WITH linked AS (
        SELECT t.chain, t.seq, t.table_name, t.row_id, t.prev, t.hash, audit_hash(t) AS computed,
               lag(t.seq, 1, 0::bigint) OVER w AS seq_before, lag(t.hash, 1, '\\x00'::bytea) OVER w AS hash_before
        FROM audit_trail t WINDOW w AS (PARTITION BY t.chain ORDER BY t.seq)
    )
    SELECT chain, seq, table_name, row_id, computed <> hash, prev <> hash_before, seq <> seq_before + 1, seq_before
    FROM linked WHERE computed <> hash OR prev <> hash_before OR seq <> seq_before + 1
    ORDER BY chain, seq
"""


def faults(anchored: Iterator[Head] | tuple[Head, ...] = ()) -> list[Fault]:
    """Every broken place of every chain, with the row it concerns."""
    found: list[Fault] = []
    with connection.cursor() as cursor:
        cursor.execute(FAULTS)
        for chain, seq, table, row, altered, unlinked, gap, before in cursor.fetchall():
            where = f"{chain} row {seq} ({table} {row})"
            if altered:
                found.append(Fault(chain, seq, f"{where}: its content is not what was recorded."))
            if gap:
                found.append(Fault(chain, seq, f"{where}: rows {before + 1} to {seq - 1} before it are gone."))
            elif unlinked:
                found.append(Fault(chain, seq, f"{where}: it does not follow the row before it."))
        for head in anchored:
            cursor.execute(
                "SELECT encode(hash, 'hex') FROM audit_trail WHERE chain = %s AND seq = %s", [head.chain, head.seq]
            )
            row = cursor.fetchone()
            if row is None:
                found.append(Fault(head.chain, head.seq, f"{head.chain} row {head.seq} was anchored and is gone."))
            elif row[0] != head.hash:
                found.append(
                    Fault(head.chain, head.seq, f"{head.chain} row {head.seq} is not the row that was anchored.")
                )
    return found


def heads() -> list[Head]:
    """The last row of each chain."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (chain) chain, seq, encode(hash, 'hex') FROM audit_trail ORDER BY chain, seq DESC"
        )
        return [Head(*row) for row in cursor.fetchall()]


def anchor(file: Path, *, at: datetime) -> int:
    """Append every head that has moved since the last call to ``file``; return how many."""
    known = {head.chain: head for head in anchors(file)}
    moved = [head for head in heads() if known.get(head.chain) != head]
    if moved:
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = ({"at": at.isoformat(), "chain": one.chain, "seq": one.seq, "hash": one.hash} for one in moved)
        # At once: a line of which only a part was written could not be read the next time.
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        with file.open("a") as out:
            out.write(lines)
    return len(moved)


def anchors(file: Path) -> Iterator[Head]:
    """The heads written down in ``file``, oldest first."""
    if file.exists():
        with file.open() as lines:
            for line in lines:
                row = json.loads(line)
                yield Head(row["chain"], row["seq"], row["hash"])
