"""What the floors above may want to hear, sent inside the transaction: a subscriber starts its task on commit.

A broker may lose what a subscriber enqueues, so every subscriber also has a sweep that finds what was missed.
"""

from django.dispatch import Signal

#: A participant became one of the trial. Arguments: ``participant``.
participant_enrolled = Signal()

#: The day that the schedule counts from became known, or moved. Arguments: ``participant``, ``anchor``.
anchor_moved = Signal()

#: A deviation was recorded, confirmed, refuted or found void. Arguments: ``participant``, ``deviation``.
deviation_recorded = Signal()

#: A visit took place, or took place on another day than recorded. Arguments: ``visit``.
visit_recorded = Signal()

#: A participant completed, left, was lost, died, or resumed follow-up. Arguments: ``participant``.
follow_up_changed = Signal()

#: A protocol version became the active one. Arguments: ``version``.
protocol_published = Signal()
