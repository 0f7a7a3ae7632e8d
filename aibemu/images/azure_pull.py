"""`images pull --azure`: an image that is in Azure, through the user's own `az`.

A disk is made of it, Azure gives access to the disk for a while, its written pages are fetched, and the disk is
deleted, whatever happens. What is made is recorded before: where this process is killed, the next pull deletes it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline
from aibemu.errors import AibemuError, HostNotReady
from aibemu.files import write_json
from aibemu.images import Generation
from aibemu.images.azure_source import (
    ACCOUNT,
    AzureSource,
    Kind,
    Place,
    TemporaryDisk,
    exact_name,
    origin_of,
    regions_of,
)
from aibemu.images.importing import LARGEST, Ask, Imported, import_image
from aibemu.images.page_blob import fetch_page_blob
from aibemu.images.store import ImageStore
from aibemu.images.unpacking import Progress
from aibemu.process_id import ProcessId
from aibemu.processes import ToolFailed, find_program, run_tool
from aibemu.records import SHAPE_ERRORS, parse_json, read_json, text_of

# Label in the store: the image in Azure that an image was fetched from, where its name means the same bytes for ever.
AZURE = "azure"
# Seconds that `az` may take for what it asks Azure; a disk of an image that is in another region takes minutes.
_ASK_SECONDS, _CREATE_SECONDS = 180.0, 1800.0
# The folder of the store that says which disks were made.
_RECORDS = "azure-disks"
_DELETE_TRIES, _DELETE_PAUSE = 3, 5.0
Say = Callable[[str], None]


class AzureFailed(HostNotReady):
    """`az` did not do what it was asked."""

    code = "AZURE_FAILED"
    retryable = True


class DiskLeft(AzureFailed):
    """A disk that was made for a download, and could not be deleted."""

    def __init__(self, disk: TemporaryDisk, details: Sequence[str] = ()) -> None:
        super().__init__(
            f"the disk {disk.name} is still in Azure, in the resource group {disk.group}, and costs money",
            details=details, hint="delete it; the next `images pull --azure` tries it again, too",
            commands=[shlex.join(disk.revoke), shlex.join(disk.delete)],
        )  # fmt: skip

    @property
    def in_one_line(self) -> str:
        return f"{self.message}; delete it: {' && '.join(self.commands)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Who hears what happens. learn: of what is secret from now on."""

    say: Say
    learn: Callable[[str], None]
    progress: Progress = lambda done, total: None
    ask: Ask = lambda question: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """region: where an image with an id is in Azure; regions: all that a version of a gallery is in. Empty where az was
    not asked."""

    done: Imported
    region: str = ""
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AzurePull:
    """One image to be fetched. seconds: how long Azure is to give access to the disk; limit: bytes that it may have."""

    source: AzureSource
    place: Place
    store: ImageStore
    seconds: int
    deadline: Deadline
    watched: Watched
    limit: int = LARGEST

    def commands(self) -> list[str]:
        """All that would be run, in order; what only Azure knows is in capitals. Nothing is run."""
        place = Place(
            subscription=self.place.subscription or "SUBSCRIPTION", group=self.place.group,
            location=self.place.location or ("REGION_OF_THE_IMAGE" if self.source.show else ""),
        )  # fmt: skip
        disk = TemporaryDisk(name="aibemu-pull-XXXXXXXX", subscription=place.subscription, group=place.group)
        asked = [words for words in (() if self.place.subscription else ACCOUNT, self.source.show) if words]
        made = [disk.create(origin_of(self.source, {}), place.location), disk.grant(self.seconds)]
        return list(map(shlex.join, [*asked, *made, disk.revoke, disk.delete]))

    def run(self) -> Pulled:
        """Fetch it into the store, unless it is there. Raises AzureFailed with what `az` said, AccessEnded, BlobFailed,
        and as `import_image` does; the disk in Azure is deleted then, or it is said what is left, and how it goes."""
        if self.source.exact and (known := self._known(self.source.name)):
            return Pulled(done=known)
        find_program("az")
        azure = _Azure(deadline=self.deadline, say=self.watched.say)
        self._delete_left(azure)
        account = azure.answer(ACCOUNT) if not self.place.subscription else {}
        subscription = self.place.subscription or str(account.get("id") or "")
        if not subscription:
            raise AzureFailed("az does not say which subscription it uses", hint="log in: az login")
        shown = azure.answer(self.source.show) if self.source.show else {}
        place = Place(
            subscription=subscription, group=self.place.group,
            location=self.place.location or str(shown.get("location") or ""),
        )  # fmt: skip
        origin = origin_of(self.source, shown)
        notes: list[str] = []
        with self.store.scratch() as work:
            fetched = work / "disk.vhd"
            with self._disk(TemporaryDisk.new(place), azure, notes) as disk:
                made = azure.answer(disk.create(origin, place.location), seconds=_CREATE_SECONDS)
                exact = exact_name(self.source, made)
                known = self._known(exact) if self._repeats else None
                if known is None:
                    self._fetch(disk, azure, fetched)
            done = known or self._import(fetched, exact, disk, {**shown, **made})
        return Pulled(
            done=replace(done, notes=(*done.notes, *notes)), region=str(shown.get("location") or ""),
            regions=regions_of(shown),
        )  # fmt: skip

    @property
    def _repeats(self) -> bool:
        """Whether the exact name, once it is known, means the same bytes for ever."""
        return self.source.kind in (Kind.MARKETPLACE, Kind.GALLERY, Kind.SHARED)

    def _known(self, exact: str) -> Imported | None:
        image = self.store.find_label(AZURE, exact.lower())
        if image is None:
            return None
        self.watched.say(f"{exact} is here already: image {image.short}")
        self._name(image.digest, exact)
        return Imported(image=image, known=True, notes=())

    def _name(self, digest: str, exact: str) -> None:
        if self.source.kind is Kind.MARKETPLACE:
            self.store.set_alias(exact, digest)

    def _fetch(self, disk: TemporaryDisk, azure: _Azure, target: Path) -> None:
        granted = azure.answer(disk.grant(self.seconds))
        access = next((value for key, value in granted.items() if key.lower() == "accesssas"), None)
        if not isinstance(access, str) or "?" not in access:
            raise AzureFailed("az gave no address of the disk")
        self.watched.learn(access)
        self.watched.learn(access.partition("?")[2])
        self.watched.say("downloading the disk: only what was written on it")
        found = fetch_page_blob(
            access, target, limit=self.limit, deadline=self.deadline, say=self.watched.say,
            progress=self.watched.progress,
        )  # fmt: skip
        self.watched.say(f"{found.fetched >> 20} MiB of {found.size >> 20} MiB were written, and are here")

    def _import(self, file: Path, exact: str, disk: TemporaryDisk, told: Mapping[str, Any]) -> Imported:
        """Into the store, with what Azure says of it."""
        generation, os_type = told.get("hyperVGeneration"), told.get("osType")
        known_by = exact.lower() if self._repeats else f"{exact}@{disk.name}"
        done = import_image(
            file, self.store, deadline=self.deadline, say=self.watched.say, format="vhd", ask=self.watched.ask,
            generation=Generation(generation) if generation in set(Generation) else None,
            os_type=os_type if os_type in ("Linux", "Windows") else None, origin=f"pull {exact} --azure",
            labels={AZURE: known_by} if self._repeats else None, limit=self.limit, source=f"azure:{known_by}",
        )  # fmt: skip
        self._name(done.image.digest, exact)
        return done

    @contextmanager
    def _disk(self, disk: TemporaryDisk, azure: _Azure, notes: list[str]) -> Iterator[TemporaryDisk]:
        """A disk that is to be made: recorded now, deleted in the end, whatever happens. notes: gets what is left of a
        download that went well; an error gets it as details and commands."""
        record = self._records / f"{disk.name}.json"
        write_json(record, {"v": 1, "disk": disk.as_json(), "process": ProcessId.mine().as_json()})
        left = None
        try:
            yield disk
        except BaseException as error:
            left = self._deleted(disk, record, azure)
            if left and isinstance(error, AibemuError):
                error.details = (*error.details, left.message, *left.details)
                error.commands = (*error.commands, *left.commands)
            raise
        if left := self._deleted(disk, record, azure):
            notes.append(left.in_one_line)

    def _deleted(self, disk: TemporaryDisk, record: Path, azure: _Azure) -> DiskLeft | None:
        """Delete it; what is left if that fails, which is said too."""
        self.watched.say("deleting the disk in Azure (Ctrl-C leaves it there)")
        try:
            _delete(disk, record, azure.to_the_end())
        except AibemuError as error:
            left = DiskLeft(disk, error.details)
        except BaseException:
            self.watched.say(DiskLeft(disk).in_one_line)
            raise
        else:
            return None
        self.watched.say(left.in_one_line)
        return left

    def _delete_left(self, azure: _Azure) -> None:
        """What pulls left that were killed."""
        for record, disk in _all_left(self._records):
            self.watched.say(f"an earlier pull left the disk {disk.name} in Azure")
            self._deleted(disk, record, azure)

    @property
    def _records(self) -> Path:
        return self.store.root / _RECORDS


def left_disks(store: ImageStore) -> list[DiskLeft]:
    """The disks that pulls which are gone have left in Azure, as far as their records say."""
    return [DiskLeft(disk) for _, disk in _all_left(store.root / _RECORDS)]


def _all_left(folder: Path) -> list[tuple[Path, TemporaryDisk]]:
    found = [(record, _left(record)) for record in sorted(folder.glob("*.json"))]
    return [(record, disk) for record, disk in found if disk is not None]


def _left(record: Path) -> TemporaryDisk | None:
    """The disk of a record whose process is gone; None for any other."""
    try:
        value = read_json(record)
        if ProcessId.from_json(value["process"]).is_alive():
            return None
        names = {key: text_of(value["disk"], key) for key in ("name", "subscription", "group")}
    except (OSError, *SHAPE_ERRORS):
        return None
    return TemporaryDisk(**names)


def _delete(disk: TemporaryDisk, record: Path, azure: _Azure) -> None:
    """Delete a disk that may be there."""
    with suppress(AzureFailed):  # nothing was granted yet, or the disk is not there
        azure.run(disk.revoke)
    azure.insist(disk.delete)
    record.unlink(missing_ok=True)
    azure.say(f"the disk {disk.name} is deleted")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Azure:
    """The program `az`; each command is shown before it runs."""

    deadline: Deadline
    say: Say

    def to_the_end(self) -> _Azure:
        """The same, for what has to be done although it was cancelled."""
        return _Azure(deadline=Deadline(clock=self.deadline.clock), say=self.say)

    def run(self, words: Sequence[str], *, seconds: float = _ASK_SECONDS) -> str:
        """What it printed. Raises AzureFailed."""
        self.say(f"$ {shlex.join(words)}")
        try:
            return run_tool(words, deadline=self.deadline, seconds=seconds).stdout
        except ToolFailed as error:
            said = [line for line in error.output.strip().splitlines() if line.strip()][-6:]
            login = "az login" in error.output
            raise AzureFailed(
                f"{' '.join(words[:3])} failed" + ("" if said else f": {error.message}"), details=said,
                hint="log in: az login" if login else "the words above are those of az",
                commands=["az login"] if login else (),
            ) from None  # fmt: skip

    def answer(self, words: Sequence[str], *, seconds: float = _ASK_SECONDS) -> Mapping[str, Any]:
        """The JSON object that it printed. Raises AzureFailed."""
        try:
            value = parse_json(self.run(words, seconds=seconds))
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise AzureFailed(f"{' '.join(words[:3])} answered with something else than a JSON object")
        return value

    def insist(self, words: Sequence[str]) -> None:
        """Run it, and again if it fails: what was asked for before may still go on in Azure."""
        for number in range(1, _DELETE_TRIES + 1):
            try:
                self.run(words)
                return
            except AzureFailed:
                if number == _DELETE_TRIES:
                    raise
                self.deadline.sleep(_DELETE_PAUSE)
