"""The dry run: the whole engine, no machine."""

from aibemu_drivers.dryrun.driver import DryrunDriver

__all__ = ["DryrunDriver"]
