"""What is known of a Linux image apart from its bytes, as a record and back."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from aibemu import records

# The agent that the service's own deprovision script runs.
WAAGENT = "waagent"
ON_LVM = " on LVM"  # the end of what `root` says of a root on a logical volume


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverFacts:
    """Which devices its kernel has drivers for. Values of `aibemu.hardware`'s enumerations: `virtio-scsi`."""

    # What the disk with its root may hang on: the drivers are in the kernel or in its initramfs.
    disks: tuple[str, ...] = ()
    # What it might hang on, were their modules in the initramfs too: they are on its root.
    loadable: tuple[str, ...] = ()
    # What drives for CDs may hang on, and which network cards it knows, once its root is mounted.
    cdroms: tuple[str, ...] = ()
    nics: tuple[str, ...] = ()
    # Why there may be more than these, a phrase; "" when all of them are known.
    unread: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxFacts:
    """Read from the disk's files when the image was stored; nothing of it is guessed. What was not found is empty."""

    # ID and VERSION_ID of /etc/os-release: `debian 13`.
    distribution: str
    # The kernel that it starts, as a rule the newest: `6.1.0-57-cloud-amd64`.
    kernel: str = ""
    # The program that the kernel starts first: `systemd`.
    init: str = ""
    # Azure's agents with their versions: `waagent 2.7.3.0`, `azure-init 0.1.1`.
    agents: tuple[str, ...] = ()
    # `cloud-init 22.4.2`, also where it is switched off.
    cloud_init: str = ""
    # Which of them sets up a new machine.
    provisioner: str = ""
    # The file system of the root: `ext4`, `xfs on LVM`.
    root: str = ""
    drivers: DriverFacts = DriverFacts(unread="they were not looked for")
    # What was seen of a machine that it was before, in phrases: `user accounts (mary)`.
    traces: tuple[str, ...] = ()
    # The image that was looked at, where it is another one: the source of the build that made this one. "" for itself.
    seen_in: str = ""

    @property
    def has_waagent(self) -> bool:
        """Whether it has the agent that the service's own deprovision script runs."""
        return any(agent.split()[0] == WAAGENT for agent in self.agents)

    def as_json(self) -> dict[str, Any]:
        """As `images show --output json` has it."""
        return {_camel(name): value for name, value in _json_of(asdict(self)).items()}

    @classmethod
    def of(cls, record: Any) -> LinuxFacts | None:
        """From the record of an image (`asdict` of this); None for None. ValueError where it says something else."""
        if record is None:
            return None
        values = _values(cls, record, skip="drivers")
        if "drivers" in record:
            values["drivers"] = DriverFacts(**_values(DriverFacts, records.map_of(record, "drivers")))
        return cls(**values)


def _json_of(value: Any) -> Any:
    """`asdict` of a record in the shapes of JSON."""
    if isinstance(value, dict):
        return {name: _json_of(one) for name, one in value.items()}
    return [_json_of(one) for one in value] if isinstance(value, tuple) else value


def _values(kind: type[LinuxFacts] | type[DriverFacts], record: Any, skip: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in fields(kind):
        if field.name == skip or (field.default is not MISSING and field.name not in record):
            continue  # a version that did not read it
        if isinstance(field.default, tuple):
            values[field.name] = tuple(records.text_of({"": one}, "") for one in records.list_of(record, field.name))
        else:
            values[field.name] = records.text_of(record, field.name)
    return values


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
