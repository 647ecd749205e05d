"""Whether what works behind the requests keeps up: the worker, the journal, places, detection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from tracking import backlog, conf, drainer, geo
from tracking.models import Counter

HEARTBEAT = "huey.heartbeat"  # the counter whose time tracking.tasks.beat moves on
OLDEST_HEARTBEAT = timedelta(minutes=3)
OLDEST_PLACES = timedelta(days=45)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; a warning does not make the service unready."""

    name: str
    ok: bool
    detail: str
    warning: bool = False


def look_at_journal() -> Check:
    """Tell whether more than half of what journals may hold waits to be stored."""
    waiting, most = drainer.backlog(), conf.current().journal_total_bytes // 2
    detail = f"{filesizeformat(waiting)} wait to be stored (at most {filesizeformat(most)} should)"
    return Check("journal", waiting <= most, detail)


def look_at_worker() -> Check:
    """Tell when the Huey worker was last seen; raises DatabaseError."""
    beat = Counter.objects.filter(name=HEARTBEAT).values_list("updated_at", flat=True).first()
    if beat is None:
        return Check("worker", False, "has never run: start manage.py run_huey")
    age = timezone.now() - beat
    return Check("worker", age <= OLDEST_HEARTBEAT, f"last seen {int(age.total_seconds())} s ago")


def look_at_places() -> Check:
    """Tell whether there are geo files, and none of them is old."""
    files = geo.status()
    if not files:
        return Check("places", False, "no geo files: run manage.py update_geoip", warning=True)
    built = [file.built for file in files if file.built is not None]
    if built and timezone.now() - min(built) > OLDEST_PLACES:
        old = f"the oldest geo file is of {min(built):%Y-%m-%d}: run manage.py update_geoip"
        return Check("places", False, old, warning=True)
    return Check("places", True, ", ".join(file.name for file in files))


def look_at_detection(now: datetime) -> Check:
    """Tell when detection last ran, and whether it is late; raises DatabaseError."""
    so_far = backlog.of(now)
    if so_far.last_run is None:
        said = "has not run yet"
    else:
        age = max(timedelta(), now - so_far.last_run.started_at)
        said = f"last run {int(age.total_seconds())} s ago"
    if so_far.is_late:
        said += ": requests wait, is the worker running?"
    return Check("detection", not so_far.is_late, said, warning=True)
