"""The files of a root file system, with another one in the place of its /boot."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from aibemu.disks.reading import OpenFiles

_BOOT = "/boot"


class WithBoot:
    """See `OpenFiles`. It owns `boot`, and `root` is the caller's. A link that leads from one to the other leads
    nowhere."""

    def __init__(self, root: OpenFiles, boot: OpenFiles) -> None:
        self._root = root
        self._boot = boot

    def read(self, path: str) -> str | None:
        files, path = self._which(path)
        return files.read(path)

    def copy(self, path: str, target: Path, *, most: int) -> bool:
        files, path = self._which(path)
        return files.copy(path, target, most=most)

    def list(self, path: str) -> list[str] | None:
        files, path = self._which(path)
        return files.list(path)

    def exists(self, path: str) -> bool:
        files, path = self._which(path)
        return files.exists(path)

    def close(self) -> None:
        self._boot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _which(self, path: str) -> tuple[OpenFiles, str]:
        if path == _BOOT or path.startswith(f"{_BOOT}/"):
            return self._boot, path.removeprefix(_BOOT) or "/"
        return self._root, path
