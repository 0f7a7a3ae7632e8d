"""A set of images as one file, for laptops without a network: a tar archive that has an index, then the images.

    aibemu-images.json   <sha256>.qcow2   <sha256>.qcow2   ...

The same images give the same bytes, whoever writes them and whenever. A reader knows from the index what each later
header has to be, byte by byte, so one comparison refuses all else: links, devices, paths, sizes that lie. `tar` can
list and unpack a set; what `tar` packs again is not taken.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from aibemu import records
from aibemu.errors import UsageError
from aibemu.images import ImageInfo
from aibemu.images.store import check_alias, read_info
from aibemu.reading import in_words

INDEX = "aibemu-images.json"
VERSION = 1
BLOCK, _RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE
# Bytes of an index, and images in it: a record of an image has less than 2 KiB.
_LARGEST_INDEX, _MOST_IMAGES, _MOST_ALIASES = 2 << 20, 500, 100
_DIGEST = re.compile(r"[0-9a-f]{64}")
_QCOW2 = b"QFI\xfb"
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a link", tarfile.DIRTYPE: "a folder",
    tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a pipe",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SetImage:
    """One image of a set. digest: sha256 (64 hex) of its qcow2 file; sizes in bytes."""

    digest: str
    file_size: int
    virtual_size: int
    info: ImageInfo
    aliases: tuple[str, ...]

    @property
    def short(self) -> str:
        return self.digest[:12]

    @property
    def header(self) -> bytes:
        """What precedes its bytes in the archive."""
        return _header(f"{self.digest}.qcow2", self.file_size)


def index_of(images: Sequence[SetImage]) -> bytes:
    """Header, index and padding: how a set with these images begins."""
    ordered = sorted(images, key=lambda image: image.digest)
    listed = [
        {
            "digest": image.digest, "fileSize": image.file_size, "virtualSize": image.virtual_size,
            "aliases": sorted(image.aliases), "info": asdict(image.info),
        }
        for image in ordered
    ]  # fmt: skip
    value = {"aibemu": "images", "v": VERSION, "sha256": _checksum(listed), "images": listed}
    text = json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
    return _header(INDEX, len(text)) + text + padding(len(text))


def padding(size: int) -> bytes:
    """What follows `size` bytes in an archive, up to the next header."""
    return bytes(-size % BLOCK)


def size_of(index: int, images: Sequence[SetImage]) -> int:
    """Bytes of a whole set. index: those of what `index_of` gives."""
    return _ends_at(index, images)[1]


def end_of(index: int, images: Sequence[SetImage]) -> bytes:
    """What follows the last image: blocks of zeros."""
    used, whole = _ends_at(index, images)
    return bytes(whole - used)


def _ends_at(index: int, images: Sequence[SetImage]) -> tuple[int, int]:
    used = index + sum(BLOCK + image.file_size + -image.file_size % BLOCK for image in images)
    return used, -(-(used + 2 * BLOCK) // _RECORD) * _RECORD


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with these 512 bytes is a tar archive, by its checksum too."""
    return head[257:262] == b"ustar" and _parsed(head) is not None


def read_index(stream: BinaryIO, path: Path, *, size: int, limit: int) -> list[SetImage]:
    """The images of the set that begins here, in their order in it; `stream` is then at the first one's header.

    path: for errors; size: bytes of the file; limit: bytes that an image may have, as a file and as a disk. Raises
    UsageError for what is no set, is cut off, or says anything that cannot be.
    """
    head = stream.read(BLOCK)
    found = _parsed(head)
    if found is None or found.name != INDEX:
        first = f": its first file is {found.name[:60]!r}, not {INDEX}" if found else ""
        raise UsageError(
            f"{path} is a tar archive, and not a set that `aibemu images export` wrote{first}",
            hint="unpack it, and import the disk image that is in it",
        )
    if head != _header(INDEX, found.size) or found.size > _LARGEST_INDEX:
        raise damaged(path, "its index is not as aibemu writes one")
    text = stream.read(found.size)
    try:
        images = _images(records.parse_json(text), limit)
    except (UsageError, *records.SHAPE_ERRORS) as error:
        raise damaged(path, f"its index cannot be read: {str(error)[:200]}") from None
    rest = stream.read(-found.size % BLOCK)
    _check_length(path, size, size_of(len(head + text + rest), images))
    return images


def check_header(stream: BinaryIO, path: Path, image: SetImage) -> None:
    """Read the header of `image`; UsageError for any other one."""
    head = stream.read(BLOCK)
    if head != image.header:
        found = _parsed(head)
        kind = _KINDS.get(found.type, "a file") if found else "no file"
        name = f" ({found.name[:60]!r}, {found.size} bytes)" if found else ""
        raise damaged(path, f"where image {image.short} should be there is {kind}{name}")


def blocks_of(stream: BinaryIO, path: Path, image: SetImage, *, block: int) -> Iterator[bytes]:
    """The bytes of `image`, whose header was read, without the padding, which is read too. UsageError when they end
    early, or are no qcow2."""
    left, first = image.file_size, True
    while left:
        data = stream.read(min(block, left))
        if not data:
            raise damaged(path, f"it ends in the middle of image {image.short}")
        if first and not data.startswith(_QCOW2):
            raise damaged(path, f"image {image.short} in it is no qcow2 image")
        left, first = left - len(data), False
        yield data
    stream.read(-image.file_size % BLOCK)


def damaged(path: Path, why: str) -> UsageError:
    """The error for a set that is not as it was written; nothing of it is taken."""
    return UsageError(
        f"{path} is damaged: {why}; nothing was imported",
        hint="copy it again from where it was exported, or export it again",
    )


def _header(name: str, size: int) -> bytes:
    """Nothing of the host that writes it, and no time."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o444, 0
    return member.tobuf(tarfile.GNU_FORMAT)


def _parsed(head: bytes) -> tarfile.TarInfo | None:
    try:
        return tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError):
        return None


def _check_length(path: Path, size: int, wanted: int) -> None:
    if size < wanted:
        raise damaged(path, f"it is cut off: it has {size} bytes of {wanted}")
    if size > wanted:
        raise damaged(path, f"it has {size} bytes, and its index tells of {wanted}")


def _checksum(listed: Any) -> str:
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def _images(value: Any, limit: int) -> list[SetImage]:
    """What an index says; ValueError or UsageError where it says what cannot be."""
    if records.text_of(value, "aibemu") != "images":
        raise ValueError("it is no index of images")
    if (version := records.whole_of(value, "v")) != VERSION:
        raise ValueError(f"it has version {version}, and this aibemu reads {VERSION}")
    listed = records.list_of(value, "images")
    if not 0 < len(listed) <= _MOST_IMAGES:
        raise ValueError(f"it lists {len(listed)} images, and a set has 1 to {_MOST_IMAGES}")
    if records.text_of(value, "sha256") != _checksum(listed):
        raise ValueError("its own checksum does not match")
    images = [_image(item, limit) for item in listed]
    _check_once("image", [image.digest for image in images])
    _check_once("alias", [alias.lower() for image in images for alias in image.aliases])
    return images


def _image(item: Mapping[str, Any], limit: int) -> SetImage:
    image = SetImage(
        digest=records.text_of(item, "digest"), file_size=records.whole_of(item, "fileSize"),
        virtual_size=records.whole_of(item, "virtualSize"), info=read_info(records.map_of(item, "info")),
        aliases=tuple(records.text_of({"": alias}, "") for alias in records.list_of(item, "aliases")),
    )  # fmt: skip
    if not _DIGEST.fullmatch(image.digest):
        raise ValueError(f"{image.digest[:70]!r} is no digest")
    for what, size in (("file", image.file_size), ("disk", image.virtual_size)):
        if not 0 < size <= limit:
            raise ValueError(
                f"the {what} of image {image.short} has {in_words(size)}, and at most {in_words(limit)} are taken "
                "(setting image_size)"
            )
    if len(image.aliases) > _MOST_ALIASES:
        raise ValueError(f"image {image.short} has {len(image.aliases)} aliases")
    for alias in image.aliases:
        check_alias(alias)
    return image


def _check_once(what: str, names: Sequence[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"the {what} {twice[:40]} is in it twice")
