"""Small real disks, made in milliseconds with mke2fs -d; a store in a temporary folder; a clock that stands still."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner

from aibemu.cli.app import App
from aibemu.cli.images import command
from aibemu.clock import Deadline
from aibemu.disks.partitions import BIOS_BOOT, EFI_SYSTEM
from aibemu.errors import AibemuError
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from tests.unit.images.site import Site, serving

# Calls `aibemu images` with these words.
Call = Callable[..., Any]
MIB = 1024 * 1024
LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
DEBIAN = {
    "usr/lib/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n',
    "etc/os-release": "-> ../usr/lib/os-release",
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/cloud/cloud.cfg": "datasource_list: [ Azure ]\n",
    "etc/cloud/cloud.cfg.d/91_datasources.cfg": "# both\ndatasource_list: [ NoCloud, Azure, None ]\n",
    "etc/machine-id": "",
}
INFO = ImageInfo(
    os_type="Linux", os_name="Debian", generation=Generation.V1, provisioning=Provisioning.NOCLOUD, generalized=True,
    origin="test",
)  # fmt: skip


class StillClock:
    """2026-11-23 10:00 UTC; waiting takes no time but counts."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.seconds += seconds
        return event.is_set()


def tree(root: Path, contents: Mapping[str, str | bytes]) -> Path:
    """Files below `root`; the text `-> X` makes a symbolic link."""
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            path.write_bytes(text)
        elif text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_text(text)
    return root


def ext4(path: Path, root: Path, *, offset: int, size: int) -> None:
    """Fill `path` from byte `offset` with an ext4 file system of `size` bytes that holds `root`."""
    with path.open("ab") as stream:
        stream.truncate(offset + size)
    env = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    subprocess.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={offset}", "-d", root, path, f"{size // 1024}k"],
        check=True, env=env,
    )  # fmt: skip


def mbr_disk(path: Path, root: Path) -> Path:
    """An MBR disk with one Linux partition at 1 MiB."""
    ext4(path, root, offset=MIB, size=8 * MIB)
    with path.open("r+b") as stream:
        stream.seek(446)
        stream.write(struct.pack("<B3sB3sII", 0x80, b"\0\0\0", 0x83, b"\0\0\0", 2048, 16384) + bytes(48) + b"\x55\xaa")
    return path


def gpt_disk(path: Path, root: Path, kinds: tuple[UUID, ...]) -> Path:
    """A GPT disk: partitions of 64 KiB of the given kinds, then the Linux root at 1 MiB."""
    ext4(path, root, offset=MIB, size=8 * MIB)
    places = [(kind, 128 + 128 * i, 255 + 128 * i) for i, kind in enumerate(kinds)] + [(LINUX, 2048, 18431)]
    entries = b"".join(
        kind.bytes_le + os.urandom(16) + struct.pack("<QQQ", first, last, 0) + bytes(72) for kind, first, last in places
    )
    header = b"EFI PART" + bytes(64) + struct.pack("<QII", 2, len(places), 128)
    protective = struct.pack("<B3sB3sII", 0, b"\0\0\0", 0xEE, b"\0\0\0", 1, 0xFFFFFFFF)
    with path.open("r+b") as stream:
        stream.write(bytes(446) + protective + bytes(48) + b"\x55\xaa")
        stream.write(header.ljust(512, b"\0") + entries)
    return path


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def deadline() -> Deadline:
    from aibemu.clock import forever

    return forever()


@pytest.fixture
def store(tmp_path: Path, clock: StillClock) -> ImageStore:
    return ImageStore(tmp_path / "store", clock)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as state:
        yield state


@pytest.fixture
def make_disk(tmp_path: Path) -> Callable[..., Path]:
    """make_disk(changes, efi=, bios=): a Debian-like disk; changes: file -> text, None to leave one out."""
    count = [0]

    def make(changes: Mapping[str, str | bytes | None] | None = None, *, efi: bool = False, bios: bool = False) -> Path:
        count[0] += 1
        merged = {name: text for name, text in (DEBIAN | dict(changes or {})).items() if text is not None}
        root = tree(tmp_path / f"tree{count[0]}", merged)
        target = tmp_path / f"disk{count[0]}.raw"
        kinds = (EFI_SYSTEM,) * efi + (BIOS_BOOT,) * bios
        return gpt_disk(target, root, kinds) if kinds else mbr_disk(target, root)

    return make


@pytest.fixture
def call(home: Home) -> Call:
    """call(words) -> the JSON answer's data; call(words, human=True) -> the text."""

    def run(*words: object, human: bool = False) -> Any:
        app = App(home=home, output="human" if human else "json", command="images")
        result = CliRunner().invoke(command, [str(word) for word in words], obj=app)
        if isinstance(result.exception, AibemuError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout if human else json.loads(result.stdout)["data"]

    return run
