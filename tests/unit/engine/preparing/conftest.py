"""Fixtures of the tests of images."""

from __future__ import annotations

from tests.unit.images.conftest import clock, deadline, make_disk, store

__all__ = ["clock", "deadline", "make_disk", "store"]
