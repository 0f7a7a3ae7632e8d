"""The devices of a machine: those that its guest's system chooses, changed by the setting `hardware`."""

from __future__ import annotations

from aibemu.hardware import Hardware, overridden
from aibemu.images import ImageInfo
from aibemu.settings import Settings
from aibemu.systems import for_image


def hardware_of(info: ImageInfo, settings: Settings) -> Hardware:
    """Of a machine that is made of such an image. The settings were checked when they were read."""
    return overridden(for_image(info).hardware(info), settings.hardware)
