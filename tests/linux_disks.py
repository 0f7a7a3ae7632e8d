"""Disks of Linux systems for tests, made without root and without a mount: file systems with files in them, partitions,
logical volumes. Each takes some hundredths of a second and few bytes, for they are sparse."""

from __future__ import annotations

import lzma
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
ROOT = Path(__file__).parent.parent
RECORDED = ROOT / "fixtures" / "disks"
# The volume group that LVM itself made (fixtures/disks/make.sh), as `lvs --segments` tells it: volume -> (MiB of the
# physical volume, MiB). The root and /var are in two pieces each.
VOLUMES = {
    "rootlv": ((1, 160), (673, 160)), "varlv": ((161, 32), (833, 32)), "homelv": ((193, 320),),
    "app-data": ((513, 160),),
}  # fmt: skip
PHYSICAL = 1536
KINDS = {
    "linux": "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "efi": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "bios": "21686148-6449-6E6F-744E-656564454649", "swap": "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
    "lvm": "E6D6D379-F507-44C2-A23C-238F2A3DF928", "home": "933AC7E1-2EB4-4F13-B844-0E14E2AEF915",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """content: a file with what is in it. size: in MiB, if larger than that."""

    content: Path | None = None
    size: int = 0
    kind: str = "linux"
    uuid: str = ""
    label: str = ""


class LinuxDisks:
    """Makes all that in one folder; contents: path -> text, `-> X` for a link, a path with a slash at its end for a
    folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def ext4(self, contents: Mapping[str, str], *, size: int = 16, uuid: str = "", label: str = "") -> Path:
        words = [*(["-U", uuid] if uuid else []), *(["-L", label] if label else [])]
        target = self._new(size)
        run("mke2fs", "-q", "-F", "-t", "ext4", *words, "-d", self._tree(contents), target)
        return target

    def xfs(self, contents: Mapping[str, str], *, uuid: str = "", label: str = "", options: Sequence[str] = ()) -> Path:
        """300 MiB: mkfs.xfs makes no smaller one."""
        tree = self._tree(contents)
        prototype = tree.with_suffix(".proto")
        prototype.write_text("x\n0 0\nd--755 0 0\n" + _prototype(tree, tree) + "$\n")
        words = [*(["-m", f"uuid={uuid}"] if uuid else []), *(["-L", label] if label else [])]
        target = self._new(300)
        # Names of files in a prototype end at a blank, so they are relative.
        run("mkfs.xfs", "-q", "-f", *words, *options, "-p", prototype, target, cwd=tree)
        return target

    def btrfs(self, contents: Mapping[str, str], *, uuid: str = "", label: str = "") -> Path:
        words = [*(["-U", uuid] if uuid else []), *(["-L", label] if label else [])]
        target = self._new(160)
        run("mkfs.btrfs", "-q", *words, "--rootdir", self._tree(contents), target)
        return target

    def fat(self, contents: Mapping[str, str], *, label: str = "EFI") -> Path:
        target, tree = self._new(64), self._tree(contents)
        run("mkfs.vfat", "-F", "32", "-n", label, target)
        run("mcopy", "-s", "-i", target, *sorted(tree.iterdir()), "::/")
        return target

    def swap(self) -> Path:
        target = self._new(8)
        run("mkswap", "-q", target)
        return target

    def recorded(self, name: str) -> Path:
        """What Linux wrote: `xfs` or `btrfs` of fixtures/disks."""
        target = self._new(0)
        with lzma.open(RECORDED / f"{name}.raw.xz") as packed, target.open("wb") as stream:
            size = 0
            while block := packed.read(MIB):
                if block.strip(b"\0"):
                    stream.seek(size)
                    stream.write(block)
                size += len(block)
            stream.truncate(size)
        return target

    def group(self, volumes: Mapping[str, Path]) -> Path:
        """A physical volume of LVM whose group `rootvg` has VOLUMES, with the given contents."""
        target = self._new(PHYSICAL)
        with target.open("r+b") as stream:
            stream.write(lzma.decompress((RECORDED / "lvm.raw.xz").read_bytes()))
        for name, content in volumes.items():
            done = 0
            for at, size in VOLUMES[name]:
                copy(content, target, at=at * MIB, start=done, size=size * MIB)
                done += size * MIB
        return target

    def disk(self, *parts: Part) -> Path:
        """A disk with a GPT, as sfdisk makes it."""
        lines, at = ["label: gpt"], 1
        places = []
        for part in parts:
            size = part.size or -(-(part.content.stat().st_size if part.content else MIB) // MIB)
            words = [f"start={at}MiB", f"size={size}MiB", f"type={KINDS[part.kind]}"]
            words += [f"uuid={part.uuid}"] if part.uuid else []
            words += [f'name="{part.label}"'] if part.label else []
            lines.append(", ".join(words))
            places.append(at)
            at += size
        target = self._new(at + 1)
        run("sfdisk", "-q", target, said="\n".join(lines) + "\n")
        for part, place in zip(parts, places, strict=True):
            if part.content:
                copy(part.content, target, at=place * MIB)
        return target

    def _new(self, size: int) -> Path:
        self._count += 1
        path = self.folder / f"{self._count}.raw"
        with path.open("wb") as stream:
            stream.truncate(size * MIB)
        return path

    def _tree(self, contents: Mapping[str, str]) -> Path:
        self._count += 1
        root = self.folder / f"{self._count}.tree"
        root.mkdir()
        for name, text in contents.items():
            path = root / name.strip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            elif text.startswith("-> "):
                path.symlink_to(text[3:])
            else:
                path.write_text(text)
        return root


def copy(source: Path, target: Path, *, at: int, start: int = 0, size: int = 1 << 62) -> None:
    """`size` bytes of `source` from `start` on, to byte `at` of `target`: what is a hole stays one."""
    with source.open("rb") as reading, target.open("r+b") as writing:
        end = min(os.fstat(reading.fileno()).st_size, start + size)
        place = start
        while place < end:
            try:
                place = os.lseek(reading.fileno(), place, os.SEEK_DATA)
            except OSError:
                return  # no more of it
            hole = min(os.lseek(reading.fileno(), place, os.SEEK_HOLE), end)
            while place < hole:
                block = os.pread(reading.fileno(), min(MIB, hole - place), place)
                os.pwrite(writing.fileno(), block, at + place - start)
                place += len(block)


def run(*words: object, said: str | None = None, cwd: Path | None = None) -> None:
    done = subprocess.run(
        [str(word) for word in words], input=said, capture_output=True, text=True, check=False, timeout=60, cwd=cwd,
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout, done.stderr)


def _prototype(folder: Path, top: Path) -> str:
    """What mkfs.xfs is told of a folder."""
    lines = []
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            lines.append(f"{path.name} l--777 0 0 {path.readlink()}")
        elif path.is_dir():
            lines += [f"{path.name} d--755 0 0", _prototype(path, top) + "$"]
        else:
            lines.append(f"{path.name} ---644 0 0 {path.relative_to(top)}")
    return "".join(f"{line}\n" for line in lines)
