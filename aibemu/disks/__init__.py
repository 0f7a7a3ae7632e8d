"""Disk files without a meaning: reading, converting, partitions, the tools that look into them."""

from __future__ import annotations

from aibemu.errors import AibemuError


class Unreadable(AibemuError):
    """What is on a disk cannot be read here; the message says why."""

    code = "IMAGE_UNREADABLE"
    category = "HOST"
    exit_code = 4
