"""What is known of a Windows image apart from its bytes, as a record and back."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from aibemu import records

# What ImageState says of an image that Sysprep has generalised for its first boot.
GENERALIZED = "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsFacts:
    """Read from the disk's registry and files when the image was stored; nothing of it is guessed.

    What could not be read is empty, or 0.
    """

    # What people call it: `Windows Server 2022 Datacenter Evaluation`.
    product: str
    # EditionID: `ServerDatacenterEval`.
    edition: str
    # CurrentBuildNumber: 20348.
    build: int
    # InstallationType: `Server`, `Server Core` or `Client`.
    installation: str
    # An evaluation copy: it stops working after some time, and shuts itself down when it is not activated.
    evaluation: bool
    # ImageState of Setup: `IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE` once Sysprep has generalised it.
    image_state: str
    # UBR: the monthly update it has, 169 in 20348.169.
    revision: int = 0
    # Services that configure or watch a guest on Azure and elsewhere, by their registry name: `RdAgent`.
    agents: tuple[str, ...] = ()
    # Answer files with settings that Setup has not used yet: at the next boot they win over aibemu's own. Windows
    # paths, or the value of the registry that names one.
    answer_files: tuple[str, ...] = ()
    # What a provisioning agent or the maker of the image left for the end of Setup. Windows paths.
    setup_scripts: tuple[str, ...] = ()
    # Drivers that a boot on other hardware needs and that are switched off: `pci`. A build switches them on.
    unprepared: tuple[str, ...] = ()
    # Filter drivers that are not Windows' own, which may keep it from booting on other hardware: `DiskDrive: acme`.
    filters: tuple[str, ...] = ()

    @property
    def generalized(self) -> bool:
        return self.image_state == GENERALIZED

    @property
    def is_client(self) -> bool:
        return self.installation == "Client"

    @property
    def version(self) -> str:
        """`20348.169`; "" when it is not known."""
        return f"{self.build}.{self.revision}" if self.build and self.revision else str(self.build or "")

    def as_json(self) -> dict[str, Any]:
        """As `images show --output json` has it."""
        return {
            _camel(name): list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @classmethod
    def of(cls, record: Any) -> WindowsFacts | None:
        """From the record of an image (`asdict` of this); None for None. ValueError where it says something else."""
        if record is None:
            return None
        values: dict[str, Any] = {}
        for field in fields(cls):
            if field.default is not MISSING and field.name not in record:
                continue  # a version that did not read it
            if field.name in ("build", "revision"):
                values[field.name] = records.whole_of(record, field.name)
            elif field.name == "evaluation":
                values[field.name] = records.flag_of(record, field.name)
            elif isinstance(field.default, tuple):
                values[field.name] = tuple(
                    records.text_of({"": item}, "") for item in records.list_of(record, field.name)
                )
            else:
                values[field.name] = records.text_of(record, field.name)
        return cls(**values)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
