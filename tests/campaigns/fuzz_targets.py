"""All targets by name. A module is imported when one of its targets is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from tests.campaigns.hunting import Target

_MODULES: Mapping[str, tuple[str, ...]] = {
    "fuzz_templates": ("templates", "expressions", "parameters", "scripts"),
    "fuzz_network": ("frames", "requests", "answers"),
    "fuzz_records": ("config", "records"),
    "fuzz_disks": ("disks", "partitions", "image_sets", "packed", "page_lists"),
    "fuzz_texts": ("redactor", "texts"),
    "fuzz_volumes": ("initramfs", "registry", "windows_volume", "efi", "xfs", "btrfs", "lvm"),
}
NAMES = tuple(name for names in _MODULES.values() for name in names)


def target(name: str, folder: Path) -> Target:
    """The target of that name; `folder` is for files that it needs."""
    module = next(module for module, names in _MODULES.items() if name in names)
    make: Callable[[Path], Target] = getattr(import_module(f"tests.campaigns.{module}"), name)
    return make(folder)
