"""What the verbs of `aibemu images` share: where images are, and how they are told of."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from aibemu.cli.app import App
from aibemu.clock import Deadline
from aibemu.images import BaseImage, ImageInfo, linux_needs, windows_needs
from aibemu.images.needs import Need
from aibemu.images.store import ImageStore


def store_of(app: App) -> ImageStore:
    """The store of this home."""
    return ImageStore(app.home.images, app.clock)


def limit_of(app: App) -> int:
    """Bytes that an image may have."""
    from aibemu.settings import Settings

    return Settings.load(app.home.config).image_size


def no_deadline(app: App) -> Deadline:
    """These verbs take as long as they take, until Ctrl-C."""
    return Deadline(clock=app.clock)


def show_added(app: App, store: ImageStore, image: BaseImage) -> None:
    """Answer with one image that is in the store now."""
    aliases = store.aliases()
    names = names_of(aliases, image)
    lines = [f"{image.short}  {image.info.os_name}  {', '.join(names) or 'no alias'}", f"{image.path}"]
    app.result(as_json(image, aliases), lines)


def as_json(image: BaseImage, aliases: dict[str, str]) -> dict[str, Any]:
    """An image as all answers in JSON have it. aliases: those of the store."""
    info = image.info
    return {
        "digest": image.digest, "path": str(image.path), "virtualSize": image.virtual_size,
        "fileSize": image.file_size, "bytesOnDisk": image.on_disk, "created": image.created,
        "osType": info.os_type, "osName": info.os_name,
        "generation": info.generation.value, "provisioning": info.provisioning.value,
        "generalized": info.generalized, "origin": info.origin, "aliases": names_of(aliases, image),
        "generations": [one.value for one in info.generations], "lookedAt": info.looked_at,
        "securityType": info.security or None,
        "windows": info.windows.as_json() if info.windows else None,
        "linux": info.linux.as_json() if info.linux else None,
        "needs": [need.as_json() for need in needs(called(image, aliases), info)],
    }  # fmt: skip


def needs(reference: str, info: ImageInfo) -> list[Need]:
    """All that stands between an image and a build. reference: how to name it in commands."""
    return [*windows_needs.needs(reference, info), *linux_needs.needs(info)]


def called(image: BaseImage, aliases: dict[str, str]) -> str:
    """What a person would call it."""
    return next((shlex.quote(name) for name in names_of(aliases, image)), image.short)


def names_of(aliases: dict[str, str], image: BaseImage) -> list[str]:
    """Its aliases, of those of the store."""
    return [name for name, digest in aliases.items() if digest == image.digest]


def tell_progress(app: App) -> Callable[[int, int | None], None]:
    """For what copies: it tells (bytes done, bytes in all) and people see a line per tenth of it."""
    said = [-1]

    def show_progress(done: int, total: int | None) -> None:
        tenth = done * 10 // total if total else done >> 28
        if tenth != said[0] and (tenth > said[0] or tenth == 0):  # 0 again: the next thing has begun
            said[0] = tenth
            app.say(f"  {in_mib(done)}" + (f" of {in_mib(total)}" if total else ""))

    return show_progress


def in_mib(count: int) -> str:
    """A size for a person, of an image: in MiB, from 10 GiB on in GiB."""
    return f"{count / 1024**2:.0f} MiB" if count < 10 * 1024**3 else f"{count / 1024**3:.1f} GiB"
