"""A case that people read independently: its states, and who may see and do what.

Two readers vote without seeing each other. Where they differ, a third reader settles it. Nobody changes a vote; data
that changed since a vote make the case open again for those who voted on the older ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class CaseState(StrEnum):
    OPEN = "open"
    ONE_READ = "one_read"
    AGREED = "agreed"
    DISCORDANT = "discordant"
    SETTLED = "settled"


class CaseEvent(StrEnum):
    SAME_VOTE = "same_vote"
    OTHER_VOTE = "other_vote"
    DATA_CHANGED = "data_changed"


#: State x event -> state; what is not listed cannot happen. The first vote is no other than itself.
TRANSITIONS: Mapping[tuple[CaseState, CaseEvent], CaseState] = {
    (CaseState.OPEN, CaseEvent.SAME_VOTE): CaseState.ONE_READ,
    (CaseState.ONE_READ, CaseEvent.SAME_VOTE): CaseState.AGREED,
    (CaseState.ONE_READ, CaseEvent.OTHER_VOTE): CaseState.DISCORDANT,
    (CaseState.DISCORDANT, CaseEvent.SAME_VOTE): CaseState.SETTLED,
    (CaseState.DISCORDANT, CaseEvent.OTHER_VOTE): CaseState.SETTLED,
    **{(state, CaseEvent.DATA_CHANGED): CaseState.OPEN for state in CaseState},
}

#: What a reader may answer, and the key that chooses it.
ANSWERS: Mapping[str, str] = {
    "reached": "Reached",
    "not_reached": "Not reached",
    "not_decidable": "Cannot be decided on these data",
}


#: The position of the reader who settles a difference.
SETTLING = 3


@dataclass(frozen=True)
class Vote:
    """One reading: who, what, and the hash of the data it was made on. ``position`` 1 and 2 are independent."""

    reader: int
    position: int
    answer: str
    evidence_sha256: str


@dataclass(frozen=True)
class Case:
    """The votes on the data of now, in their order."""

    votes: tuple[Vote, ...]

    @property
    def state(self) -> CaseState:
        state = CaseState.OPEN
        for vote in self.votes:
            same = vote.answer == self.votes[0].answer
            state = TRANSITIONS[state, CaseEvent.SAME_VOTE if same else CaseEvent.OTHER_VOTE]
        return state

    @property
    def answer(self) -> str:
        """What the readers decided; empty while they have not."""
        if self.state is CaseState.AGREED:
            return self.votes[0].answer
        return self.votes[-1].answer if self.state is CaseState.SETTLED else ""

    @property
    def to_settle(self) -> bool:
        """Whether the next vote settles a difference: it is given with both others in sight."""
        return self.state is CaseState.DISCORDANT

    def voted(self, reader: int) -> bool:
        return any(vote.reader == reader for vote in self.votes)

    def wants(self, reader: int) -> bool:
        """Whether a vote of ``reader`` is still needed."""
        return self.state in (CaseState.OPEN, CaseState.ONE_READ, CaseState.DISCORDANT) and not self.voted(reader)

    def shows_votes_to(self, reader: int) -> bool:
        """Whether ``reader`` may see the votes of others: once nobody who is still to vote could be led by them.

        The third reader decides between two answers, so that they see both.
        """
        if self.state in (CaseState.AGREED, CaseState.SETTLED):
            return True
        return self.state is CaseState.DISCORDANT

    def shows_proposal_to(self, reader: int) -> bool:
        """Whether ``reader`` may see what the rule says: after their own vote only, or once the case is closed."""
        return self.voted(reader) or self.state in (CaseState.AGREED, CaseState.SETTLED)


def case_on(votes: Sequence[Vote], evidence_sha256: str) -> Case:
    """The case on the data of now: votes on other data do not count any more."""
    current = [vote for vote in votes if vote.evidence_sha256 == evidence_sha256]
    return Case(tuple(sorted(current, key=lambda vote: vote.position)))
