"""The dry run: what a build would do, and no machine."""

from aibemu_drivers.dryrun.driver import DryrunDriver

__all__ = ["DryrunDriver"]
