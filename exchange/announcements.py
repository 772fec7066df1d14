"""What this floor announces. Sent inside the transaction: whoever listens acts on commit."""

from django.dispatch import Signal

#: ``job``: an export was asked for.
export_requested = Signal()
