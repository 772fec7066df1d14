"""What this floor announces. Sent inside the transaction: whoever listens acts on commit."""

from django.dispatch import Signal

#: ``run``: the statistical plan is to be computed.
run_requested = Signal()
