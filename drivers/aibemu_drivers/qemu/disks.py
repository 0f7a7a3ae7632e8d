"""The files of one machine's system disk: the overlay that the guest writes, and those under it that were frozen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aibemu.clock import Deadline
from aibemu.errors import ProvisionFailed
from aibemu_drivers.qemu.arguments import FIRST_NODE
from aibemu_drivers.qemu.freezing import MachineLost, put_overlay
from aibemu_drivers.qemu.monitor import Monitor


class Disks:
    """Kept in the machine's record; `save` writes it."""

    def __init__(self, machine_id: str, directory: Path, record: Mapping[str, Any], save: Callable[[], None]) -> None:
        self._machine_id, self._directory, self._save = machine_id, directory, save
        # Those under the one that is written, frozen by this machine or others, oldest first; and that one, or None
        # when QEMU did not say which.
        self._frozen: list[str] = list(record.get("frozen_disks", ()))
        self._disk: str | None = record.get("disk", "disk.qcow2")
        self._node: str = record.get("node", FIRST_NODE)

    def as_json(self) -> dict[str, Any]:
        """The fields of the record."""
        return {"disk": self._disk, "frozen_disks": self._frozen, "node": self._node}

    def launched(self) -> None:
        """QEMU is about to be started with the one that is written."""
        self._node = FIRST_NODE

    @property
    def written(self) -> Path:
        """The file that the guest writes; `MachineLost` when QEMU did not say which."""
        if self._disk is None:
            raise MachineLost(
                f"the machine {self._machine_id} has no disk that can be trusted: "
                "QEMU did not say which file is its own"
            )
        return self._directory / self._disk

    @property
    def frozen(self) -> list[Path]:
        """Those under it, oldest first."""
        return [self._directory / name for name in self._frozen]

    def write_to(self, fresh: Path, monitor: Monitor, deadline: Deadline) -> None:
        """Let the guest write to `fresh` from now on. When QEMU does not say that it does, its disk is not known."""
        before, self._disk = self.written.name, None
        try:
            self._put_over(fresh, monitor, deadline)
        except BaseException as error:
            if isinstance(error, ProvisionFailed) and not isinstance(error, MachineLost):
                self._disk = before
            else:
                with contextlib.suppress(OSError):
                    self._save()
            raise
        self._frozen, self._disk = [*self._frozen, before], fresh.name
        self._save()

    def _put_over(self, fresh: Path, monitor: Monitor, deadline: Deadline) -> None:
        """`MachineLost` when it is not known whether it was done, other `ProvisionFailed` when it was not."""
        self._node = put_overlay(monitor, self._node, fresh, deadline)
