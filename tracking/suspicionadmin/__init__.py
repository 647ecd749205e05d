"""Suspicious addresses and the runs that found them, in Django's admin.

No column is edited: suspicions are reviewed, by tracking.suspicions and with the name of who did.
"""

from tracking.suspicionadmin.lists import DetectionRunAdmin
from tracking.suspicionadmin.pages import SuspiciousIPAdmin

__all__ = ["DetectionRunAdmin", "SuspiciousIPAdmin"]
