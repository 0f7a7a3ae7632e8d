"""Marketplace images whose support ends, or has ended: a row for each release, with the day and who says so.

To keep it: a new row in `_ROWS` below, or, of an Ubuntu, a line in `_UBUNTU_RELEASES`. A row says publisher (in lower
case), offer and sku (patterns of all of the name, without case), the release for people, the last day of support as
YYYY-MM-DD (YYYY-MM where its maker names the month alone), what takes its place, where the day is written, and who
still gets updates. Of several rows that fit, the first counts. The day is that of the support that comes with the
image, not of one that is bought.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndOfSupport:
    """One release; the fields as the module says them."""

    publisher: str
    offer: str
    sku: str
    release: str
    on: str
    instead: str
    source: str
    still: str = ""

    def covers(self, publisher: str, offer: str, sku: str) -> bool:
        return self.publisher == publisher.casefold() and _fits(self.offer, offer) and _fits(self.sku, sku)

    def is_over(self, day: str) -> bool:
        """Whether support has ended by a day, YYYY-MM-DD."""
        return day[: len(self.on)] > self.on


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text, re.IGNORECASE) is not None


# When the rows were last looked through: what was to end after it may have got more time since.
LOOKED_THROUGH = "2026-11-30"
_ANY = ".*"
_UBUNTU = "Canonical:ubuntu-24_04-lts:server"
_DEBIAN = "Debian:debian-12:12-gen2"
_ENTERPRISE_LINUX = "almalinux:almalinux-x86_64:9-gen2, or RedHat:RHEL:9-lvm-gen2"
_RHEL = "RedHat:RHEL:9-lvm-gen2"
_ORACLE = "Oracle:Oracle-Linux:ol9-lvm-gen2"
_SLES = "SUSE:sles-15-sp7:gen2"
_AZURE_LINUX = "MicrosoftCBLMariner:azure-linux-3:azure-linux-3-gen2"
_SERVER = "MicrosoftWindowsServer:WindowsServer:2025-datacenter-g2"
_WINDOWS_11 = "MicrosoftWindowsDesktop:windows-11:win11-24h2-ent, or the AVD image of that release"
_IN_AZURE = "machines in Azure still get Extended Security Updates"

_CYCLE = "ubuntu.com/about/release-cycle"
_LTS = "wiki.debian.org/LTS"
_MICROSOFT = "learn.microsoft.com/lifecycle"
_SUSE = "suse.com/lifecycle"
_RED_HAT = "access.redhat.com/support/policy/updates/errata"
_ORACLE_SAYS = "oracle.com/a/ocom/docs/elsp-lifetime-069338.pdf"

_CLIENT = "microsoftwindowsdesktop"
_WINDOWS_SERVER = "microsoftwindowsserver"
# Of Windows 11: for Azure Virtual Desktop, with Microsoft 365, and for Windows 365 (cloud PCs).
_CLIENT_11 = r"windows-11|office-365|windows-\w+-cpc|windows365"
_CLIENT_10 = r"windows-10|office-365|windows-\w+-cpc"

# (version, code name, last day). Ubuntu Pro is not meant: it has five years more.
_UBUNTU_RELEASES = (
    ("14.04 LTS", "trusty", "2019-04-25"),
    ("16.04 LTS", "xenial", "2021-04-30"),
    ("16.10", "yakkety", "2017-07-20"),
    ("17.04", "zesty", "2018-01-13"),
    ("17.10", "artful", "2018-07-19"),
    ("18.04 LTS", "bionic", "2023-05-31"),
    ("18.10", "cosmic", "2019-07-18"),
    ("19.04", "disco", "2020-01-23"),
    ("19.10", "eoan", "2020-07-17"),
    ("20.04 LTS", "focal", "2025-05-31"),
    ("20.10", "groovy", "2021-07-22"),
    ("21.04", "hirsute", "2022-01-20"),
    ("21.10", "impish", "2022-07-14"),
    ("22.10", "kinetic", "2023-07-20"),
    ("23.04", "lunar", "2024-01-25"),
    ("23.10", "mantic", "2024-07-11"),
    ("24.10", "oracular", "2025-07-10"),
    ("25.04", "plucky", "2026-01-15"),
    ("25.10", "questing", "2026-07"),
)


# How the offers were called over the years, and their SKUs.
_OFFER_OF_NAME = re.compile(r"0001-com-ubuntu-(?:server|minimal)-([a-z]+)(?:-daily)?")
_OFFER_OF_NUMBER = re.compile(r"ubuntu-(\d\d)_(\d\d)(?:-lts)?(?:-daily)?")
_SKU_OF_NUMBER = re.compile(r"(\d\d)[._](\d\d)(?!\d)")


def _ubuntu(version: str, name: str, on: str) -> EndOfSupport:
    """offer and sku of these rows are the code name and the number: `_ubuntu_of` finds them."""
    number = version.partition(" ")[0]
    return EndOfSupport("canonical", name, number, f"Ubuntu {version}", on, _UBUNTU, _CYCLE)


def _ubuntu_of(offer: str, sku: str) -> EndOfSupport | None:
    """One look for all: an image of an Ubuntu is what most templates start from."""
    if found := _OFFER_OF_NAME.fullmatch(offer):
        return next((row for row in _UBUNTUS if row.offer == found[1]), None)
    if offer == "ubuntuserver":
        found = _SKU_OF_NUMBER.match(sku)
    else:
        found = _OFFER_OF_NUMBER.fullmatch(offer) if sku.startswith(("server", "minimal", "cvm")) else None
    return next((row for row in _UBUNTUS if found and row.sku == f"{found[1]}.{found[2]}"), None)


def _sles(release: str, on: str) -> EndOfSupport:
    """A service pack of SLES. Those for SAP and HPC are supported for longer."""
    offer = rf"{release.replace(' ', '-')}(?:-(?:basic|byos|chost-byos|standard))?"
    return EndOfSupport("suse", offer, _ANY, release, on, _SLES, _SUSE)


def _leap(number: str, on: str) -> EndOfSupport:
    offer, release = rf"opensuse-leap-15-{number}.*", f"openSUSE Leap 15.{number}"
    return EndOfSupport("suse", offer, _ANY, release, on, _SLES, "en.opensuse.org/Lifetime")


def _windows_11(release: str, business: str, professional: str) -> tuple[EndOfSupport, ...]:
    """Enterprise and Education are supported for a year longer than Pro."""
    name = f"win11-{release.casefold()}"
    return (
        EndOfSupport(_CLIENT, _CLIENT_11, rf"{name}-pro.*", f"Windows 11 {release} Pro", professional, _WINDOWS_11,
                     _MICROSOFT),
        EndOfSupport(_CLIENT, _CLIENT_11, rf"{name}.*", f"Windows 11 {release}", business, _WINDOWS_11, _MICROSOFT),
    )  # fmt: skip


def _channel(release: str, on: str) -> EndOfSupport:
    """A release of the channel that Windows Server had beside the long-term one."""
    sku, name = rf".*{release}.*", f"Windows Server, version {release}"
    return EndOfSupport(_WINDOWS_SERVER, "WindowsServerSemiAnnual", sku, name, on, _SERVER, _MICROSOFT)


_ROWS = (
    EndOfSupport("credativ", "Debian", r"7(?:\D.*)?", "Debian 7", "2018-05-31", _DEBIAN, _LTS),
    EndOfSupport("credativ", "Debian", r"8(?:\D.*)?", "Debian 8", "2020-06-30", _DEBIAN, _LTS),
    EndOfSupport("credativ", "Debian", r"9(?:\D.*)?", "Debian 9", "2022-06-30", _DEBIAN, _LTS),
    EndOfSupport("debian", r"debian-9(?:\D.*)?", _ANY, "Debian 9", "2022-06-30", _DEBIAN, _LTS),
    EndOfSupport("debian", r"debian-10.*", _ANY, "Debian 10", "2024-06-30", _DEBIAN, _LTS),
    EndOfSupport("debian", r"debian-11.*", _ANY, "Debian 11", "2026-08-31", _DEBIAN, _LTS),
    EndOfSupport("openlogic", r"CentOS.*", r"6.*", "CentOS 6", "2020-11-30", _ENTERPRISE_LINUX, "centos.org"),
    EndOfSupport("openlogic", r"CentOS.*", r"7.*", "CentOS 7", "2024-06-30", _ENTERPRISE_LINUX, "centos.org"),
    EndOfSupport("openlogic", r"CentOS.*", r"8.*", "CentOS Linux 8", "2021-12-31", _ENTERPRISE_LINUX, "centos.org"),
    EndOfSupport("redhat", r"RHEL(?:-RAW)?", r"6.*", "RHEL 6", "2020-11-30", _RHEL, _RED_HAT),
    EndOfSupport("redhat", r"RHEL(?:-RAW)?", r"7.*", "RHEL 7", "2024-06-30", _RHEL, _RED_HAT),
    EndOfSupport("redhat", "rhel-byos", r"rhel-(?:lvm|raw)?7.*", "RHEL 7", "2024-06-30", _RHEL, _RED_HAT),
    EndOfSupport("oracle", "Oracle-Linux", r"(?:ol)?6.*", "Oracle Linux 6", "2021-03-31", _ORACLE, _ORACLE_SAYS),
    EndOfSupport("oracle", "Oracle-Linux", r"(?:ol)?7.*", "Oracle Linux 7", "2024-12-31", _ORACLE, _ORACLE_SAYS),
    EndOfSupport("suse", r"sles(?:-12-sp[0-9]|-byos)?.*", r"12.*", "SLES 12", "2024-10-31", _SLES, _SUSE),
    EndOfSupport("suse", r"sles-12-sp[0-9].*", _ANY, "SLES 12", "2024-10-31", _SLES, _SUSE),
    _sles("SLES 15", "2019-12-31"),
    _sles("SLES 15 SP1", "2021-01-31"),
    _sles("SLES 15 SP2", "2021-12-31"),
    _sles("SLES 15 SP3", "2022-12-31"),
    _sles("SLES 15 SP4", "2023-12-31"),
    _sles("SLES 15 SP5", "2024-12-31"),
    _sles("SLES 15 SP6", "2025-12-31"),
    _leap("2", "2022-01-04"),
    _leap("3", "2022-12-31"),
    _leap("4", "2023-12-07"),
    _leap("5", "2024-12-31"),
    _leap("6", "2026-04-30"),
    EndOfSupport("microsoftcblmariner", "cbl-mariner", r".*mariner-1.*|1-.*", "CBL-Mariner 1", "2023-07-31",
                 _AZURE_LINUX, "github.com/microsoft/azurelinux"),
    EndOfSupport("microsoftcblmariner", "cbl-mariner", r".*mariner-2.*|2-.*", "CBL-Mariner 2 (Azure Linux 2)",
                 "2025-07-31", _AZURE_LINUX, "github.com/microsoft/azurelinux"),
    EndOfSupport("coreos", "CoreOS", _ANY, "CoreOS Container Linux", "2020-05-26",
                 "kinvolk:flatcar-container-linux-free:stable", "coreos.com/os/eol"),
    EndOfSupport(_WINDOWS_SERVER, "WindowsServer", r"2008-R2.*", "Windows Server 2008 R2", "2020-01-14", _SERVER,
                 _MICROSOFT),
    EndOfSupport(_WINDOWS_SERVER, "WindowsServer", r"2012.*", "Windows Server 2012", "2023-10-10", _SERVER, _MICROSOFT),
    EndOfSupport(_WINDOWS_SERVER, "WindowsServer", r"23h2.*", "Windows Server, version 23H2", "2025-10-24", _SERVER,
                 _MICROSOFT),
    _channel("1709", "2019-04-09"),
    _channel("1803", "2019-11-12"),
    _channel("1809", "2020-11-10"),
    _channel("1903", "2020-12-08"),
    _channel("1909", "2021-05-11"),
    _channel("2004", "2021-12-14"),
    _channel("20H2", "2022-08-09"),
    EndOfSupport(_CLIENT, "windows-7", _ANY, "Windows 7", "2020-01-14", _WINDOWS_11, _MICROSOFT),
    EndOfSupport(_CLIENT, _CLIENT_10, r"(?!.*ltsc)(?:win10|rs5|19h|20h).*", "Windows 10", "2025-10-14", _WINDOWS_11,
                 _MICROSOFT, _IN_AZURE),
    *_windows_11("21H2", "2024-10-08", "2023-10-10"),
    *_windows_11("22H2", "2025-10-14", "2024-10-08"),
    *_windows_11("23H2", "2026-11-10", "2025-11-11"),
    *_windows_11("24H2", "2027-10-12", "2026-10-13"),
)  # fmt: skip

_UBUNTUS = tuple(_ubuntu(*release) for release in _UBUNTU_RELEASES)
ENDED: tuple[EndOfSupport, ...] = (*_UBUNTUS, *_ROWS)


def end_of_support(publisher: str, offer: str, sku: str, day: str = LOOKED_THROUGH) -> EndOfSupport | None:
    """The release of an image whose support has ended by a day, YYYY-MM-DD, or None."""
    if publisher.casefold() == "canonical":
        found = _ubuntu_of(offer.casefold(), sku.casefold())
    else:
        found = next((row for row in _ROWS if row.covers(publisher, offer, sku)), None)
    return found if found and found.is_over(day) else None
