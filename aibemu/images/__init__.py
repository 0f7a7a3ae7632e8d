"""Images at rest: the content-addressed store, the marketplace catalogue, importing, building, converting."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from aibemu.images.linux import LinuxFacts
from aibemu.images.windows import WindowsFacts


class Generation(StrEnum):
    """Hyper-V generation: V1 boots BIOS, V2 boots UEFI."""

    V1 = "V1"
    V2 = "V2"


# Azure's security type of images whose machines have Secure Boot and a TPM; and what says that there is none.
TRUSTED_LAUNCH, STANDARD = "TrustedLaunch", "Standard"


class Provisioning(StrEnum):
    """What configures the guest at first boot, as far as its disk shows."""

    NOCLOUD = "nocloud"  # cloud-init that accepts a NoCloud seed, as generic cloud images do
    AZURE = "azure"  # cloud-init or an agent that waits for Azure's own platform, as marketplace images do
    NONE = "none"
    UNKNOWN = "unknown"

    @property
    def for_azure(self) -> bool:
        """Whether the guest may look for Azure's platform, and so must find its marks in SMBIOS."""
        return self in (Provisioning.AZURE, Provisioning.UNKNOWN)


# The store's folder of image files, each called after its digest.
BLOBS = "blobs"


def recorded_digests(images: Path) -> set[str]:
    """Digests of the images that have a record in a store, a damaged one included: of those the bytes are kept.

    OSError when that cannot be known.
    """
    try:
        return {path.name.partition(".")[0] for path in (images / "records").iterdir()}
    except FileNotFoundError:
        return set()


def stored_digest(path: Path) -> str | None:
    """The digest of the stored image that `path` is; None for any other file."""
    return path.stem if path.parent.name == BLOBS and len(path.stem) == 64 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What is known of an image apart from its bytes.

    os_type is `Linux` or `Windows` as in Azure; os_name e.g. `Debian GNU/Linux 12 (bookworm)`.
    origin: where it came from, for people (`build debian-12`, `import /x/y.vhd`, `run 3f2c output gold`).
    windows, linux: what its disk says of it; None for the other system, for one that could not be read, and in older
    records. generalized is a guess then. generations: all that it can boot as; none in older records.
    """

    os_type: str
    os_name: str
    generation: Generation
    provisioning: Provisioning
    generalized: bool
    origin: str
    windows: WindowsFacts | None = None
    linux: LinuxFacts | None = None
    generations: tuple[Generation, ...] = ()
    # Azure's security type, as a person says it; "" for none.
    security: str = ""

    @property
    def looked_at(self) -> bool:
        """Whether its disk was read, so that what is said of it was seen."""
        return self.windows is not None or self.linux is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """A stored image: qcow2, read-only on disk.

    digest is the sha256 (64 hex) of the file; sizes in bytes, file_size being the file's; created ISO 8601 UTC.
    """

    digest: str
    path: Path
    virtual_size: int
    file_size: int
    created: str
    info: ImageInfo

    @property
    def short(self) -> str:
        return self.digest[:12]

    @property
    def on_disk(self) -> int:
        """Bytes that the file takes on the disk; 0 when it is gone."""
        try:
            return self.path.stat().st_blocks * 512
        except FileNotFoundError:
            return 0
