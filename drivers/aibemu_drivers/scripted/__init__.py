"""Guests that are played by a script: the whole engine, no machine. For tests alone, so it is not registered."""

from aibemu_drivers.scripted.driver import ScriptedDriver

__all__ = ["ScriptedDriver"]
