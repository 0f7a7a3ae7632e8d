"""The driver that a run's machines belong to."""

from __future__ import annotations

from aibemu import plugins
from aibemu.hypervisor import HypervisorDriver
from aibemu.reports.summary import RunSummary


def load_driver(summary: RunSummary) -> HypervisorDriver | None:
    """The driver that a run's record names; None if it names none."""
    if not summary.driver:
        return None
    driver: HypervisorDriver = plugins.load("aibemu.drivers", summary.driver)({})
    return driver
