"""What others may want to know of accounts; nobody here knows who listens."""

from django.dispatch import Signal

# Arguments: actor (a User or None), action, user (whose account), before, after, reason,
# request (or None).
account_changed = Signal()
