"""Making hypervisor drivers: for a new run from what was asked for, for a run that there is from its record.

Nothing else makes a driver, so that each verb has the one that the run was built with, its options included.
"""

from __future__ import annotations

from collections.abc import Mapping

from aibemu import plugins
from aibemu.hypervisor import DriverFolders, HypervisorDriver
from aibemu.paths import Home
from aibemu.reports.summary import RunSummary

GROUP = "aibemu.drivers"


def make_driver(name: str, options: Mapping[str, str], home: Home) -> HypervisorDriver:
    """The driver `name` with its options.

    `NotFoundError` when there is none of that name, `HostNotReady` when it cannot be imported, `UsageError` for an
    option that it does not have.
    """
    folders = DriverFolders(cache=home.cache / name, runs=home.runs)
    driver: HypervisorDriver = plugins.load(GROUP, name)(dict(options), folders)
    return driver


def driver_of(summary: RunSummary, home: Home) -> HypervisorDriver | None:
    """The driver that a run's record names, with the options of the run; None if it names none.

    Records of earlier versions have no options, or for a dry run some that there are no more: it has no machine that
    they could be about. Raises what `make_driver` raises.
    """
    options = {} if summary.dry_run else summary.driver_options
    return make_driver(summary.driver, options, home) if summary.driver else None
