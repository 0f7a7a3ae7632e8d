"""What is generally known of marketplace images: system, Hyper-V generation, purchase plan, end of support.

Only well-known publishers are here; None, or nothing, means not known, and then nobody judges. Names are compared
without case, as the marketplace does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class System(StrEnum):
    """The operating system of an image. The value of each is how messages call it."""

    LINUX = "Linux"
    WINDOWS = "Windows"


@dataclass(frozen=True, slots=True)
class EndOfSupport:
    """A release whose support has ended, on day `on` as its maker announced it.

    offer, sku: patterns of all of the name. instead: publisher:offer:sku that takes its place. still: who goes on
    getting updates.
    """

    publisher: str
    offer: str
    sku: str
    release: str
    on: str
    instead: str
    still: str = ""

    def covers(self, publisher: str, offer: str, sku: str) -> bool:
        return self.publisher == publisher.casefold() and _fits(self.offer, offer) and _fits(self.sku, sku)


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text, re.IGNORECASE) is not None


_ROCKY = "erockyenterprisesoftwarefoundationinc1653071250513"
_LINUX = frozenset({
    "almalinux", "canonical", "coreos", "credativ", "debian", "kali-linux", "kinvolk", "microsoftcblmariner",
    "openlogic", "oracle", "redhat", "resf", "suse", _ROCKY,
})  # fmt: skip
_CLIENT = "microsoftwindowsdesktop"
_WINDOWS = frozenset({"microsoftwindowsserver", _CLIENT, "microsoftvisualstudio", "microsoftsharepoint"})
# Publishers of both: what the name of an offer says.
_BOTH = frozenset({"microsoftsqlserver", "center-for-internet-security-inc", "microsoft-dsvm"})
_WINDOWS_OFFER = re.compile(r"win|-ws20[0-9]{2}", re.IGNORECASE)
_LINUX_OFFER = re.compile(r"ubuntu|rhel|red-?hat|centos|debian|sles|suse|oracle|rocky|alma|linux", re.IGNORECASE)

CIS = "center-for-internet-security-inc"
# Every offer of these publishers is sold with a plan, also where the price is nothing.
_PLAN_PUBLISHERS = frozenset({
    CIS, "bitnami", "cognosys", "fortinet", "kali-linux", "nginxinc", "ntegralinc", "paloaltonetworks", "procomputers",
    "resf", _ROCKY,
})  # fmt: skip
_PLAN_OFFERS = frozenset({("redhat", "rhel-byos")})

_GEN2_SKU = re.compile(r"g(?:en)?-?2(?:nd)?\b|gensecond|azure-edition|cvm|win11", re.IGNORECASE)

_UBUNTU = "Canonical:ubuntu-24_04-lts:server"
_ENTERPRISE_LINUX = "almalinux:almalinux-x86_64:9-gen2, or RedHat:RHEL:9-lvm-gen2"
_FLATCAR = "kinvolk:flatcar-container-linux-free:stable"
_SERVER = "MicrosoftWindowsServer:WindowsServer:2025-datacenter-g2"
_WINDOWS_11 = "MicrosoftWindowsDesktop:windows-11:win11-24h2-ent, or the AVD image of that release"
_IN_AZURE = "machines in Azure still get Extended Security Updates"

# Dates: ubuntu.com/about/release-cycle, wiki.debian.org/LTS, Microsoft's and the makers' life-cycle pages.
_ENDED = (
    EndOfSupport("canonical", "UbuntuServer", r"14[._]04.*", "Ubuntu 14.04 LTS", "2019-04-25", _UBUNTU),
    EndOfSupport("canonical", "UbuntuServer", r"16[._]04.*", "Ubuntu 16.04 LTS", "2021-04-30", _UBUNTU),
    EndOfSupport("canonical", "0001-com-ubuntu-server-xenial", ".*", "Ubuntu 16.04 LTS", "2021-04-30", _UBUNTU),
    EndOfSupport("canonical", "UbuntuServer", r"18[._]04.*", "Ubuntu 18.04 LTS", "2023-05-31", _UBUNTU),
    EndOfSupport("canonical", "0001-com-ubuntu-server-bionic", ".*", "Ubuntu 18.04 LTS", "2023-05-31", _UBUNTU),
    EndOfSupport("canonical", "0001-com-ubuntu-server-focal", ".*", "Ubuntu 20.04 LTS", "2025-05-31", _UBUNTU),
    EndOfSupport("credativ", "Debian", r"[89](?:\D.*)?", "Debian 8 and 9", "2022-06-30", "Debian:debian-12:12-gen2"),
    EndOfSupport("debian", r"debian-10.*", ".*", "Debian 10", "2024-06-30", "Debian:debian-12:12-gen2"),
    EndOfSupport("debian", r"debian-11.*", ".*", "Debian 11", "2026-08-31", "Debian:debian-12:12-gen2"),
    EndOfSupport("openlogic", r"CentOS.*", r"6.*", "CentOS 6", "2020-11-30", _ENTERPRISE_LINUX),
    EndOfSupport("openlogic", r"CentOS.*", r"7.*", "CentOS 7", "2024-06-30", _ENTERPRISE_LINUX),
    EndOfSupport("openlogic", r"CentOS.*", r"8.*", "CentOS Linux 8", "2021-12-31", _ENTERPRISE_LINUX),
    EndOfSupport("redhat", r"RHEL(?:-RAW)?", r"6.*", "RHEL 6", "2020-11-30", "RedHat:RHEL:9-lvm-gen2"),
    EndOfSupport("redhat", r"RHEL(?:-RAW)?", r"7.*", "RHEL 7", "2024-06-30", "RedHat:RHEL:9-lvm-gen2"),
    EndOfSupport("suse", r"sles-12-sp[0-9].*", ".*", "SLES 12", "2024-10-31", "SUSE:sles-15-sp7:gen2"),
    EndOfSupport("coreos", "CoreOS", ".*", "CoreOS Container Linux", "2020-05-26", _FLATCAR),
    EndOfSupport("microsoftwindowsserver", "WindowsServer", r"2008-R2.*", "Windows Server 2008 R2", "2020-01-14",
                 _SERVER),
    EndOfSupport("microsoftwindowsserver", "WindowsServer", r"2012.*", "Windows Server 2012", "2023-10-10", _SERVER),
    EndOfSupport(_CLIENT, "windows-7", ".*", "Windows 7", "2020-01-14", _WINDOWS_11),
    EndOfSupport(
        _CLIENT, r"windows-10|office-365", r"(?!.*ltsc)(?:win10|rs5|19h|20h).*", "Windows 10", "2025-10-14",
        _WINDOWS_11, _IN_AZURE,
    ),
    EndOfSupport(_CLIENT, r"windows-11|office-365", r"win11-21h2.*", "Windows 11 21H2", "2024-10-08", _WINDOWS_11),
    EndOfSupport(_CLIENT, r"windows-11|office-365", r"win11-22h2.*", "Windows 11 22H2", "2025-10-14", _WINDOWS_11),
    EndOfSupport(_CLIENT, r"windows-11|office-365", r"win11-23h2.*", "Windows 11 23H2", "2026-11-10", _WINDOWS_11),
)  # fmt: skip


def system_of(publisher: str, offer: str) -> System | None:
    """The system of a publisher's images; None when it is not known."""
    name = publisher.casefold()
    if name in _LINUX:
        return System.LINUX
    if name in _WINDOWS:
        return System.WINDOWS
    if name not in _BOTH:
        return None
    if _WINDOWS_OFFER.search(offer):
        return System.WINDOWS
    return System.LINUX if _LINUX_OFFER.search(offer) else None


def is_client(publisher: str) -> bool:
    """True for Windows 10, 11 and their like."""
    return publisher.casefold() == _CLIENT


def is_plain_windows(publisher: str) -> bool:
    """True for Windows as Microsoft makes it, with nothing installed on it."""
    return publisher.casefold() in ("microsoftwindowsserver", _CLIENT)


def generation_of(publisher: str, sku: str) -> int | None:
    """The Hyper-V generation of a Windows image, by the name of its SKU; None when that does not tell."""
    if publisher.casefold() not in _WINDOWS or not sku:
        return None
    return 2 if _GEN2_SKU.search(sku) else 1


def needs_plan(publisher: str, offer: str) -> bool:
    """True when a machine of the image cannot be made without planInfo."""
    name = publisher.casefold()
    return name in _PLAN_PUBLISHERS or (name, offer.casefold()) in _PLAN_OFFERS


def end_of_support(publisher: str, offer: str, sku: str) -> EndOfSupport | None:
    """The release of an image whose support has ended, or None."""
    return next((ended for ended in _ENDED if ended.covers(publisher, offer, sku)), None)
