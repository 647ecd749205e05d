"""What others may want to know of as it happens: Django signals, sent when it is committed."""

from __future__ import annotations

from django.dispatch import Signal

# A row of tracking.models.SuspiciousIP is new: `suspicion`.
suspicion_raised = Signal()
# A block has come into the book, or one has ended: `rule` (tracking.models.AccessRule), `actor`.
address_blocked = Signal()
address_unblocked = Signal()
# A detector wants somebody to decide about a block: `suspicion`, and `because`.
block_suggested = Signal()
# One client has sent so much within a minute that detection should not wait: `key`, its count.
threshold_crossed = Signal()
