"""What the floors above may want to hear, sent inside the transaction: a subscriber starts its tasks on commit."""

from django.dispatch import Signal

#: Something that results may rest on was recorded or corrected. Arguments: ``participant_ids``, a tuple.
observation_recorded = Signal()
