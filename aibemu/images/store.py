"""The image store: read-only qcow2 files named by the sha256 of their bytes, with a record each, and aliases.

    blobs/<sha256>.qcow2   records/<sha256>.json   aliases.json   locks/   tmp/ (work of living processes only)

A blob is written under a temporary name that carries the writer's process id, checked, synced and renamed; its record
comes last and is what makes it an image. So a crash leaves rubbish that `sweep` knows, never half an image. Changes of
records and aliases happen under one file lock.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aibemu import files, records
from aibemu.clock import Clock, Deadline
from aibemu.disks import convert
from aibemu.disks.convert import hash_file
from aibemu.errors import NotFoundError, UsageError
from aibemu.images import BLOBS, BaseImage, Generation, ImageInfo, Provisioning, recorded_digests
from aibemu.images.linux import LinuxFacts
from aibemu.images.windows import WindowsFacts
from aibemu.names import name_problem
from aibemu.suggestions import did_you_mean, nearest

_DIGEST = re.compile(r"[0-9a-f]{6,64}")
_GENERATIONS = frozenset(Generation)
# One word, or publisher:offer:sku:version. Nothing that looks like a digest, a path or an option.
_ALIAS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+ -]*(:[A-Za-z0-9_][A-Za-z0-9_.+ -]*){0,3}")


class ImageStore:
    """Everything under `root`; created on first write. Safe for several processes at once."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.root = root
        self.clock = clock

    def images(self) -> list[BaseImage]:
        """All stored images, oldest first."""
        found = (self._read(path) for path in (self.root / "records").glob("*.json"))
        return sorted((image for image in found if image), key=lambda image: (image.created, image.digest))

    def check(self) -> None:
        """Read every record, so that what is damaged is set aside now, and not when a build is over."""
        self.images()
        self.aliases()

    def find(self, reference: str) -> BaseImage | None:
        """The image with this alias (case does not matter), digest, or unique beginning of a digest (6 or more)."""
        if digest := self._alias(reference):
            image = self._read(self._record(digest))
            return self.as_offer(image, reference) if image else None
        prefix = reference.lower().removeprefix("sha256:")
        if not _DIGEST.fullmatch(prefix):
            return None
        found = list((self.root / "records").glob(f"{prefix}*.json"))
        if len(found) > 1:
            raise UsageError(
                f"{reference} is the beginning of {len(found)} images",
                details=sorted(path.stem[:16] for path in found),
                hint="give more digits",
            )
        return self._read(found[0]) if found else None

    def get(self, reference: str) -> BaseImage:
        """Like `find`, but NotFoundError with the nearest known names."""
        if image := self.find(reference):
            return image
        near = nearest(reference, self.aliases(), 2)
        raise NotFoundError(
            f"no image is called {reference}",
            hint=f"did you mean {' or '.join(near)}?" if near else "see what is there: aibemu images list",
            commands=["aibemu images list"],
        )

    def add(
        self,
        source: Path,
        info: ImageInfo,
        *,
        deadline: Deadline,
        source_format: str | None = None,
        compressed: bool = False,
        labels: Mapping[str, str] | None = None,
        fingerprint: str | None = None,
    ) -> BaseImage:
        """Copy the disk image `source` (overlay or flat, any readable format) into the store as one qcow2 file.

        The source is only read. A flat source that was added before is known by its sha256 and not copied again.
        `labels` are kept with the image for `find_label`; `fingerprint` saves reading the file again when it was taken
        already. Raises HostNotReady (disk space), UsageError, ToolFailed.
        """
        disk = convert.info(source, deadline=deadline, format=source_format)
        if fingerprint is None:
            fingerprint = "" if disk.references else f"{disk.format}:{hash_file(source, 'sha256', deadline)}"
        if fingerprint and (known := self.known_source(fingerprint)):
            return self._register(known.digest, known.file_size, disk.virtual_size, info, fingerprint, labels)
        (self.root / BLOBS).mkdir(parents=True, exist_ok=True)
        convert.ensure_space(self.root, convert.needed(disk, deadline=deadline), f"storing {source.name}")
        with self.scratch() as work:
            blob = work / "image.qcow2"
            convert.to_qcow2(disk, blob, compressed_zstd=compressed, deadline=deadline)
            convert.check(blob, deadline=deadline)
            blob.chmod(0o444)
            digest = convert.flush_and_hash(blob, deadline=deadline)
            size = blob.stat().st_size
            blob.replace(self._blob(digest))
            files.fsync(self.root / BLOBS)
            # Still inside: `sweep` deletes blobs without a record only while nobody is at work.
            return self._register(digest, size, disk.virtual_size, info, fingerprint, labels)

    def adopt(self, blob: Path, digest: str, virtual_size: int, info: ImageInfo) -> BaseImage:
        """Make a file of a `scratch` folder, still inside it, the image `digest`; the file is gone from there.

        The caller has seen that it is a sound qcow2 image by itself and that `digest` is its sha256, and has synced it.
        """
        (self.root / BLOBS).mkdir(parents=True, exist_ok=True)
        blob.chmod(0o444)
        size = blob.stat().st_size
        blob.replace(self._blob(digest))
        files.fsync(self.root / BLOBS)
        return self._register(digest, size, virtual_size, info, "", None)

    def take(self, source: Path, digest: str, info: ImageInfo, *, deadline: Deadline) -> BaseImage:
        """Copy a file that another store made, of which `digest` is known to be the sha256, as it is: the same bytes,
        so the same image. `UsageError` for a file that is no whole qcow2 image by itself; the rest as for `add`."""
        disk = convert.info(source, deadline=deadline, format="qcow2")
        if disk.references:
            raise UsageError(f"{source} is no image by itself: it needs {', '.join(map(str, disk.references))}")
        (self.root / BLOBS).mkdir(parents=True, exist_ok=True)
        convert.ensure_space(self.root, disk.allocated, f"storing {source.name}")
        with self.scratch() as work:
            blob = work / "image.qcow2"
            files.copy_sparse(source, blob, check=deadline.check)
            convert.check(blob, deadline=deadline)
            if convert.flush_and_hash(blob, deadline=deadline) != digest:
                raise UsageError(f"{source} is not the image {digest[:12]}: it was changed")
            return self.adopt(blob, digest, disk.virtual_size, info)

    def known_source(self, fingerprint: str) -> BaseImage | None:
        """The image that was made from a file with this fingerprint (`format:sha256`), see `fingerprint`."""
        return self._search(lambda record: fingerprint in record["sources"])

    def find_label(self, key: str, value: str) -> BaseImage | None:
        """The newest image added with the label `key` = `value`."""
        return self._search(lambda record: record["labels"].get(key) == value)

    def labels(self, digest: str) -> Mapping[str, str]:
        """The labels of one image."""
        record = self._content(digest)
        return dict(record["labels"]) if record else {}

    def add_labels(self, digest: str, labels: Mapping[str, str]) -> None:
        """Put labels to those of a stored image."""
        with self._lock():
            if record := self._content(digest):
                files.write_json(self._record(digest), record | {"labels": record["labels"] | dict(labels)})

    def as_offer(self, image: BaseImage, alias: str) -> BaseImage:
        """The image as it is under `publisher:offer:sku[:version]`: offers that share a file have generations of their
        own (label `offer_label`)."""
        said = self.labels(image.digest).get(offer_label(alias))
        return replace(image, info=replace(image.info, generation=Generation(said))) if said in _GENERATIONS else image

    def describe(self, digest: str, info: ImageInfo) -> BaseImage:
        """Replace what is known of a stored image; its bytes do not change."""
        with self._lock():
            record = self._content(digest)
            if record is None:
                raise NotFoundError(f"no image has the digest {digest}", commands=["aibemu images list"])
            files.write_json(self._record(digest), record | {"info": asdict(info)})
        return self.get(digest)

    def remove(self, reference: str) -> BaseImage:
        """Delete an image and the aliases that name it. A machine that runs on it keeps its open file."""
        image = self.get(reference)
        with self._lock():
            aliases = {name: digest for name, digest in self.aliases().items() if digest != image.digest}
            files.write_json(self.root / "aliases.json", aliases)
            # The record first: without it the blob is rubbish, the other way round the image would be broken.
            self._record(image.digest).unlink(missing_ok=True)
            image.path.unlink(missing_ok=True)
        return image

    def aliases(self) -> dict[str, str]:
        """alias -> digest, sorted by alias."""
        path = self.root / "aliases.json"
        try:
            return dict(sorted((records.read_json(path) or {}).items(), key=_checked_alias))
        except records.SHAPE_ERRORS as error:
            return self._save_aliases(path, error)

    def _save_aliases(self, path: Path, error: Exception) -> dict[str, str]:
        """Of a damaged file, the aliases that are none the worse for it."""
        try:
            found = records.read_json(path)
        except ValueError:
            found = None
        whole = {}
        for item in found.items() if isinstance(found, dict) else ():
            with suppress(ValueError):
                whole[_checked_alias(item)] = item[1]
        records.set_aside(error if isinstance(error, records.DamagedFile) else records.DamagedFile(path, str(error)))
        with suppress(OSError):
            if whole and not path.exists():
                files.write_json(path, whole)
        return dict(sorted(whole.items()))

    def set_alias(self, alias: str, digest: str) -> None:
        """Let `alias` (a word or publisher:offer:sku:version) mean the image `digest`; replaces an older meaning."""
        check_alias(alias)
        with self._lock():
            if not self._record(digest).exists():
                raise NotFoundError(f"no image has the digest {digest}", commands=["aibemu images list"])
            others = {name: known for name, known in self.aliases().items() if name.lower() != alias.lower()}
            files.write_json(self.root / "aliases.json", others | {alias: digest})

    def remove_alias(self, alias: str) -> None:
        """Forget one alias; NotFoundError if there is none."""
        with self._lock():
            aliases = self.aliases()
            rest = {name: digest for name, digest in aliases.items() if name.lower() != alias.lower()}
            if len(rest) == len(aliases):
                raise NotFoundError(f"there is no alias {alias}", hint=did_you_mean(alias, aliases))
            files.write_json(self.root / "aliases.json", rest)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder in the store for work in progress, deleted at the end; `sweep` takes it if the process dies."""
        work = self.root / "tmp" / files.partial_name()
        work.mkdir(parents=True, mode=0o700)
        try:
            yield work
        finally:
            _delete(work)

    def sweep(self) -> list[Path]:
        """Delete what dead processes left: work folders, and blobs without a record. Returns what is gone."""
        gone = []
        for path in sorted((self.root / "tmp").glob("*")):
            if files.is_partial(path) and not files.is_being_written(path):
                if mount := files.mounted_below(path):  # earlier versions left what mmdebstrap mounts
                    raise OSError(errno.EBUSY, f"something is mounted in it: sudo umount --lazy {mount}", str(path))
                _delete(path)
                gone.append(path)
        with self._lock():
            busy = any((self.root / "tmp").glob("*"))
            for path in [] if busy else sorted((self.root / BLOBS).glob("*.qcow2")):
                if path.stem not in recorded_digests(self.root):
                    path.unlink(missing_ok=True)
                    gone.append(path)
        return gone

    def _register(
        self, digest: str, size: int, virtual: int, info: ImageInfo, fingerprint: str, labels: Mapping[str, str] | None
    ) -> BaseImage:
        """Write the record, or add the fingerprint and labels to the one that is there."""
        with self._lock():
            record = self._content(digest) or {
                "v": 1, "digest": digest, "virtual_size": virtual, "file_size": size,
                "created": self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"), "sources": [], "labels": {},
                "info": asdict(info),
            }  # fmt: skip
            if fingerprint and fingerprint not in record["sources"]:
                record["sources"].append(fingerprint)
            record["labels"] |= dict(labels or {})
            files.write_json(self._record(digest), record)
        image = self._read(self._record(digest))
        if image is None:
            raise NotFoundError(f"the image {digest[:12]} was removed by another process while it was added")
        return image

    def _read(self, record: Path) -> BaseImage | None:
        """The image of one record; None if it is gone or its blob is."""
        value = self._content(record.stem)
        path = self._blob(record.stem)
        return _image(value, path) if value is not None and path.exists() else None

    def _content(self, digest: str) -> dict[str, Any] | None:
        """The record as it is written; None if there is none, and for a damaged one, which is set aside."""

        def checked(value: Any) -> dict[str, Any]:
            if _image(value, self._blob(digest)).digest != digest:
                raise ValueError("it is another image's")
            if not all(isinstance(item, str) for item in records.list_of(value, "sources")):
                raise ValueError("sources must be texts")
            records.texts_of(value, "labels")
            return dict(value)

        found = records.read_records([self._record(digest)], lambda path: records.read_record(path, checked))
        return found[0] if found else None

    def _search(self, matches: Any) -> BaseImage | None:
        for image in reversed(self.images()):
            record = self._content(image.digest)
            if record and matches(record):
                return image
        return None

    def _alias(self, name: str) -> str | None:
        return {known.lower(): digest for known, digest in self.aliases().items()}.get(name.lower())

    def _blob(self, digest: str) -> Path:
        return self.root / BLOBS / f"{digest}.qcow2"

    def _record(self, digest: str) -> Path:
        return self.root / "records" / f"{digest}.json"

    def _lock(self) -> files.FileLock:
        return files.FileLock(self.root / "locks" / "store.lock")


def _checked_alias(item: tuple[Any, Any]) -> str:
    name, digest = item
    if not _ALIAS.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is no alias")
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"the alias {name} names no image")
    return str(name)


def _image(record: Any, path: Path) -> BaseImage:
    """What a record says; ValueError where it says something else."""
    text, whole = records.text_of, records.whole_of
    return BaseImage(
        digest=text(record, "digest"), path=path, virtual_size=whole(record, "virtual_size"),
        file_size=whole(record, "file_size"), created=text(record, "created"),
        info=read_info(records.map_of(record, "info")),
    )  # fmt: skip


def read_info(info: Any) -> ImageInfo:
    """An `ImageInfo` that was written as JSON (`asdict`); ValueError where it says something else."""
    text = records.text_of
    return ImageInfo(
        os_type=text(info, "os_type"), os_name=text(info, "os_name"),
        generation=Generation(text(info, "generation")), provisioning=Provisioning(text(info, "provisioning")),
        generalized=records.flag_of(info, "generalized"), origin=text(info, "origin"),
        windows=WindowsFacts.of(info.get("windows")), linux=LinuxFacts.of(info.get("linux")),
        security=text({"": info.get("security", "")}, ""),
        generations=tuple(
            Generation(text({"": one}, "")) for one in records.list_of({"": info.get("generations", [])}, "")
        ),
    )  # fmt: skip


def check_aliases(aliases: Iterable[str]) -> None:
    """The same for several, to be asked before any work is done for them."""
    for alias in aliases:
        check_alias(alias)


def check_alias(alias: str) -> None:
    """`UsageError` for what cannot be an alias."""
    why = next((why for part in alias.split(":") if (why := name_problem(part))), None)
    if why or not _ALIAS.fullmatch(alias) or _DIGEST.fullmatch(alias.lower()):
        raise UsageError(
            f"{alias[:100]!r} cannot be an alias" + (f": it {why}" if why else ""),
            hint="use a word such as gold, or publisher:offer:sku:version; not something that looks like a digest",
        )


def fingerprint(path: Path, format: str, deadline: Deadline) -> str:
    """What the store remembers of a source file: its format and the sha256 of its bytes."""
    return f"{format}:{hash_file(path, 'sha256', deadline)}"


def offer_label(alias: str) -> str:
    """The label that has the generation of a marketplace offer; alias: publisher:offer:sku, with or without version."""
    return f"generation of {':'.join(alias.split(':')[:3]).lower()}"


def _delete(path: Path) -> None:
    """Remove a work folder; what a user namespace left in it belongs to mapped ids, so it needs one again."""
    files.remove(path)
    if path.is_dir() and os.geteuid() != 0:
        path.chmod(0o777)
        subprocess.run(  # bounded by the size of one unpacked image
            ["mmdebstrap", "--unshare-helper", "sh", "-c", "rm -rf ./*"], cwd=path, check=False, timeout=120,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        files.remove(path)
