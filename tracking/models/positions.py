"""How far each source of records has been read, and counters."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class ReadPosition(models.Model):
    """How far one journal segment or log file has been moved into the record.

    The offset moves in the transaction that inserts the rows, so a line becomes exactly one row
    however often the file is read again.
    """

    name = models.CharField(max_length=120, unique=True)
    offset = models.BigIntegerField(default=0)
    # Of a log: a digest of the line before the offset, to notice that the log is another one.
    tail = models.CharField(max_length=32, default="")
    updated_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} at {self.offset}"


class Counter(models.Model):
    """A named number with the time of its last change: lines lost, a worker's heartbeat."""

    name = models.CharField(max_length=64, unique=True)
    value = models.BigIntegerField(default=0)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} = {self.value}"


# The counter with the number of the last row that detection has looked at. Whoever puts findings
# into suspicions, or reviews one, locks it first.
WATERMARK = "detection.watermark"

# The counter that is raised with each batch of rows, and so locked: rows are numbered in the order
# in which they are committed.
BATCH = "record.batch"
