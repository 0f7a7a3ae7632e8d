"""Which devices the machines of a build get: those that the guest's system chooses, and others once the guest does not
come up with them. What works for the build machine is what the later ones of the build start with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from aibemu.errors import ProvisionFailed
from aibemu.hardware import Hardware, overridden
from aibemu.images import ImageInfo
from aibemu.systems import GuestSystem
from aibemu.systems.traits import Trouble

# Sets of devices that a build tries, whatever a system thinks of: each may take a whole boot.
MOST_TRIED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """What is known of them so far."""

    # Those to start with; None: those that the system chooses.
    hardware: Hardware | None = None
    # Those that the guest did not come up with.
    tried: tuple[Hardware, ...] = ()
    # What a person wants of them, whatever else is chosen or tried: the setting `hardware`.
    fixed: tuple[str, ...] = ()

    def chosen(self, system: GuestSystem, info: ImageInfo) -> Hardware:
        """Those that a machine of this image starts with now."""
        return overridden(self.hardware or system.hardware(info), self.fixed)

    def after(self, system: GuestSystem, info: ImageInfo, trouble: Trouble) -> Devices | None:
        """What to start with next; None when the system knows nothing better that was not tried."""
        tried = (*self.tried, self.chosen(system, info))
        other = system.other_hardware(info, tried[-1], trouble) if len(tried) < MOST_TRIED else None
        other = other and overridden(other, self.fixed)
        return None if other is None or other in tried else Devices(hardware=other, tried=tried, fixed=self.fixed)

    def change(self) -> str:
        """What is different from what was tried last: `nic e1000 instead of e1000e`."""
        before, now = self.tried[-1], self.hardware
        changed = [one.name for one in fields(Hardware) if getattr(before, one.name) != getattr(now, one.name)]
        return ", ".join(
            f"{name} {_word(getattr(now, name))} instead of {_word(getattr(before, name))}" for name in changed
        )


UNTRIED = Devices()


@dataclass(slots=True, kw_only=True)
class Fitting:
    """What may be done for one machine that does not come up."""

    # When it was started, in monotonic seconds.
    began: float
    # Which devices to boot it with once more, after some trouble; None for none. Such a boot is no loss.
    others: Callable[[Trouble], Devices | None] = lambda trouble: None


class UnfitDevices(ProvisionFailed):
    """The guest does not come up with its devices; with others it may. why: what happened, in a sentence."""

    def __init__(self, message: str, *, details: Sequence[str], hint: str, devices: Devices) -> None:
        super().__init__(message, details=details, hint=hint)
        # To start it with once more.
        self.devices = devices


def _word(value: object) -> str:
    return "the usual one" if value is None else str(value)
