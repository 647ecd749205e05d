"""Somebody else's project, into which `tracking` was put as the README says."""
