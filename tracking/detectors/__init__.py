"""Detectors: named questions to the record. A new one is a file here and its name in DETECTORS."""

from __future__ import annotations

from tracking.detectors.burst import BURST
from tracking.detectors.detector import Detector
from tracking.detectors.flood import FLOOD
from tracking.detectors.probing import PROBING
from tracking.detectors.scanning import SCANNING
from tracking.detectors.signatures import SIGNATURES
from tracking.detectors.stuffing import STUFFING
from tracking.detectors.swarm import SWARM

DETECTORS: tuple[Detector, ...] = (
    FLOOD,
    PROBING,
    SCANNING,
    STUFFING,
    SWARM,
    BURST,
    SIGNATURES,
)
