"""What is the same for all images of a system: how its machines boot, and what people are told to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What people are told to do, in the words of one system; each the text of a hint."""

    # An image cannot be booted.
    image: str
    # Of which kind an image must be that needs no platform of Azure's: a noun.
    without_platform: str
    # A generalised image came up with the host name of its build machine.
    host_name: str
    # The guest is up, its first boot is over, and its server refuses the login.
    refused: str = ""
    # A machine is lost, and nothing else is known of why.
    lost: str = "look at the saved console"


@dataclass(frozen=True, slots=True, kw_only=True)
class Booting:
    """How machines of a system come up and go off, as far as it is the same for all of its images."""

    # How many times as long as the setting `boot_timeout` a first boot may take.
    patience: float = 1.0
    # Whether the serial console goes on saying how the boot goes. Otherwise its silence says nothing, and pictures of
    # the screen are kept.
    console_tells: bool = True
    # How many times the setting `poweroff_timeout` it may take to go off.
    off_patience: float = 1.0
    # Seconds, before scaling, in which a guest asks for an address (DHCP) if it has a driver for its network card.
    # None: nothing is said of one that has not.
    address_within: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a machine does not come up, as far as other devices may help."""

    # The guest has asked for no address in its time.
    no_network: bool = False
    # What it told the hypervisor of its crash (`aibemu.hypervisor.Machine.panic`); "" if it did not crash.
    crash: str = ""
