"""Taking a disk image into the store, also one that is in an archive or in a compressed file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Unpack

from aibemu.clock import Deadline
from aibemu.disks.convert import hash_file
from aibemu.errors import AibemuError
from aibemu.images.importing import LARGEST, Imported, Options, import_image, imported_before
from aibemu.images.store import ImageStore, check_aliases
from aibemu.images.unpacking import Progress, packed_as, unpack


def import_file(
    path: Path,
    store: ImageStore,
    *,
    deadline: Deadline,
    say: Callable[[str], None],
    progress: Progress = lambda done, total: None,
    digest: str = "",
    called: str = "",
    **options: Unpack[Options],
) -> Imported:
    """Import a disk image, or the one disk that is packed in `path`; `options` are those of `import_image`.

    digest: of `path` if it is known, `sha256:...` or `sha512:...`. called: what `path` is for people. Nothing is
    unpacked that was imported before. Raises as `packed_as`, `unpack` and `import_image`; nothing is left then.
    """
    options["origin"] = options.get("origin") or f"import {path.resolve()}"
    if packed_as(path) is None:
        return import_image(path, store, deadline=deadline, say=say, **options)
    check_aliases(options.get("aliases", ()))
    name, called = called or path.name, called or str(path)
    source = f"packed:{digest or 'sha256:' + hash_file(path, 'sha256', deadline)}"
    if known := imported_before(source, name, store, deadline=deadline, say=say, **options):
        return known
    with store.scratch() as work:
        say(f"unpacking {name}")
        limit = options.get("limit", LARGEST)
        disk = unpack(path, work, limit=limit, deadline=deadline, progress=progress, called=called)
        with _in_words_of(disk, called):
            return import_image(disk, store, deadline=deadline, say=say, source=source, **options)


@contextmanager
def _in_words_of(disk: Path, called: str) -> Iterator[None]:
    """Errors name the archive: the file that was unpacked of it is gone when they are read."""
    try:
        yield
    except AibemuError as error:
        error.message = _renamed(error.message, disk, called)
        error.args = (error.message,)
        error.details = tuple(_renamed(line, disk, called) for line in error.details)
        error.hint = _renamed(error.hint, disk, called) if error.hint else None
        raise


def _renamed(text: str, disk: Path, called: str) -> str:
    return text.replace(str(disk.absolute()), f"{disk.name} in {called}").replace(str(disk), f"{disk.name} in {called}")
