"""What is generally known of marketplace images: system, Hyper-V generation, purchase plan.

Only well-known publishers are here; None, or nothing, means not known, and then nobody judges. Names are compared
without case, as the marketplace does.
"""

from __future__ import annotations

import re
from enum import StrEnum


class System(StrEnum):
    """The operating system of an image. The value of each is how messages call it."""

    LINUX = "Linux"
    WINDOWS = "Windows"


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


def generation_by_name(publisher: str, offer: str, sku: str) -> int | None:
    """The Hyper-V generation of a marketplace image, where its name alone is sure to tell; None otherwise."""
    name, offer, sku = publisher.casefold(), offer.casefold(), sku.casefold()
    if name in _WINDOWS:
        return generation_of(publisher, sku)
    if name not in _LINUX:
        return None
    if re.search(r"gen-?1\b", sku):
        return 1
    if _GEN2_SKU.search(sku) or "arm64" in sku or "arm64" in offer:
        return 2
    if name == "canonical":
        if offer == "ubuntu-24_04-lts" and sku == "server":
            return 2
        return 1 if offer == "ubuntuserver" or re.fullmatch(r"0001-com-ubuntu-server-\w+", offer) else None
    if name == "debian" and re.fullmatch(r"debian-1[0-3]", offer) and re.fullmatch(r"1[0-3](?:-backports)?", sku):
        return 1
    return None


def needs_plan(publisher: str, offer: str) -> bool:
    """True when a machine of the image cannot be made without planInfo."""
    name = publisher.casefold()
    return name in _PLAN_PUBLISHERS or (name, offer.casefold()) in _PLAN_OFFERS
