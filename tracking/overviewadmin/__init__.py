"""The overview in Django's admin: the last hour, day or week, and what waits for a person.

Complete without scripts; what there are make charts of the same figures and keep them fresh. It
only reads, and leads to the pages where something is done.
"""

from tracking.overviewadmin.page import OverviewPage

__all__ = ["OverviewPage"]
