"""Layers: frozen guests that later builds start from.

A layer is what one machine was after provisioning or after one more step: its disk chain, its memory or none, and a
record that says what it is a layer of. Its id is the fingerprint of all that decided its content
(`aibemu.plan.fingerprint`), so "has this been done before" is a lookup. Restoring never changes a layer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from aibemu.fabric.identity import Identity
from aibemu.hypervisor import Frozen
from aibemu.names import LONGEST
from aibemu.records import text_of

# Of a record. Before 2 it did not say when what lies under a layer was made; before 3 what all
# steps had said was in one file that each layer had anew.
VERSION = 3
# When a layer was made, and by which run.
Made = tuple[datetime, str]
# The fields of a `FrozenState` that are not its system's.
_IDENTITY = ("hostname", "user", "vm_id", "mac")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenState:
    """What must be known of a frozen guest to go on with it."""

    # Who it is: name, user, VM id and MAC address.
    identity: Identity
    # What its operating system says of itself, secrets included (`aibemu.systems.GuestFreezing.state`). JSON values.
    system: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Both in one object, as records have always had it."""
        one = self.identity
        who = {"hostname": one.hostname, "user": one.user, "vm_id": str(one.vm_id), "mac": one.mac}
        return {**self.system, **who}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FrozenState:
        """Read one back; KeyError, TypeError or ValueError if it is none."""
        return cls(
            identity=Identity(
                hostname=text_of(value, "hostname"),
                user=text_of(value, "user"),
                vm_id=UUID(text_of(value, "vm_id")),
                mac=text_of(value, "mac"),
            ),
            system={name: item for name, item in value.items() if name not in _IDENTITY},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer. label: `provisioned`, or the step's. run, template: by which it was made. boot: of the host then.

    image: digest of the base image. said: files with what the steps up to here said, for the logs of later builds, by
    the id of the layer made after each; a layer without them is as good.
    past: of each layer that this one was made on, by id, the provisioned machine first: when and by which run that part
    of it was made. A layer of the same id in the store may be another one by now.
    """

    id: str
    label: str
    made: datetime
    run: str
    template: str
    image: str
    boot: str
    frozen: Frozen
    state: FrozenState
    said: Mapping[str, Path] = field(default_factory=dict)
    past: Mapping[str, Made] = field(default_factory=dict)

    @property
    def chain(self) -> dict[str, Made]:
        """All that it holds, itself last: the `past` of a layer that is made on it."""
        return {**self.past, self.id: (self.made, self.run)}

    @property
    def boots(self) -> bool:
        """Whether a machine that starts from it boots: it has no memory."""
        return self.frozen.memory is None

    @property
    def whole(self) -> bool:
        """Whether all files are there without which no machine starts from it."""
        return all(path.is_file() for path in self.frozen.files)

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them; those of `said` may be gone."""
        return (*self.frozen.files, *self.said.values())

    def as_json(self) -> dict[str, Any]:
        """The record: file names only, for the store may be moved."""
        return {
            "version": VERSION, "id": self.id, "label": self.label, "made": self.made.isoformat(), "run": self.run,
            "template": self.template, "image": self.image, "boot": self.boot,
            "disks": [disk.name for disk in self.frozen.disks],
            "memory": None if self.frozen.memory is None else self.frozen.memory.name,
            "said": {name: path.name for name, path in self.said.items()},
            "past": {name: [made.isoformat(), run] for name, (made, run) in self.past.items()},
            "sleeper": self.state.as_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any], files: Path) -> Layer:
        """Read one back; KeyError, TypeError or ValueError if it is none. `files`: the folder of its files."""
        if value["version"] != VERSION:
            raise ValueError("a record of another aibemu")
        said, memory = dict(value["said"]), value["memory"]
        names = [*value["disks"], *([] if memory is None else [memory]), *said.values()]
        if any(not isinstance(name, str) or Path(name).name != name or name in ("", "..") for name in names):
            raise ValueError("a file name with a folder in it")
        if any(len(os.fsencode(name)) > LONGEST for name in names):
            raise ValueError("a file name that is too long")
        if not value["disks"]:
            raise ValueError("no disk")
        return cls(
            **{name: text_of(value, name) for name in ("id", "label", "run", "template", "image", "boot")},
            made=_time(value["made"]),
            frozen=Frozen(
                disks=tuple(files / name for name in value["disks"]), memory=None if memory is None else files / memory
            ),
            state=FrozenState.from_json(value["sleeper"]), said={name: files / said[name] for name in said},
            past={name: (_time(made), str(run)) for name, (made, run) in dict(value["past"]).items()},
        )  # fmt: skip


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError as error:  # the first or the last day that there is, in another time zone
        raise ValueError(text) from error
