"""Looking at a Linux on a disk that is off: what it is, and what of it matters to a build."""

from __future__ import annotations

import posixpath
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from aibemu.disks.reading import OpenFiles
from aibemu.images.initramfs import LARGEST, Listing, listing
from aibemu.images.linux import WAAGENT, DriverFacts, LinuxFacts
from aibemu.images.linux_drivers import Drivers, built_in, modules_in, modules_of
from aibemu.reading import open_file

_LONGEST, _MOST = 200, 20  # letters of a text, and how many, that are kept of what is on the disk
_FIRST_USER, _LAST_USER = 1000, 60000  # login.defs: people, not system accounts or nobody
_CLOUD_INIT, _AZURE_INIT = "cloud-init", "azure-init"
AZURE_INIT_PROGRAMS = ("/usr/bin/azure-init", "/usr/sbin/azure-init", "/usr/lib/azure-init/azure-init")
# Where each program is, and what packages of Debian and Ubuntu, and modules of Python, call it.
_PROGRAMS = {
    WAAGENT: ("/usr/sbin/waagent", "/usr/bin/waagent"), _CLOUD_INIT: ("/usr/bin/cloud-init",),
    _AZURE_INIT: AZURE_INIT_PROGRAMS,
}  # fmt: skip
_PACKAGES = {WAAGENT: ("waagent", "walinuxagent"), _CLOUD_INIT: ("cloud-init",), _AZURE_INIT: ("azure-init",)}
_MODULES = {WAAGENT: "walinuxagent", _CLOUD_INIT: "cloud_init"}
_METADATA = re.compile(r"(?i)^(walinuxagent|cloud_init)-(\d[^-]*?)(?:-py[\d.]+)?\.(?:egg|dist)-info$")
_PYTHONS = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
# What the kernel starts first, by a file that only the one has; the last one by the program that all have.
_INITS = {
    "/lib/systemd/systemd": "systemd", "/sbin/openrc": "openrc", "/sbin/runit-init": "runit",
    "/sbin/init": "sysvinit",
}  # fmt: skip


def look(files: OpenFiles, scratch: Path, *, root: str, check: Callable[[], None] = lambda: None) -> LinuxFacts:
    """What is on the disk. scratch: a folder for a copy of its initramfs. root: the kind of its file system.

    Raises what the reader raises, and what `check`, which is called again and again, does.
    """
    release = _values(files.read("/etc/os-release") or "")
    found = [f"{name} {version}".strip() for name in _PROGRAMS if (version := _version(files, name)) is not None]
    named = {text.split()[0]: text for text in found}
    kernel = newest_kernel(files)
    drivers, unread = _drivers(files, kernel, scratch, check)
    return LinuxFacts(
        distribution=" ".join(filter(None, (release.get("ID"), release.get("VERSION_ID"))))[:_LONGEST],
        kernel=kernel[:_LONGEST],
        init=_init(files),
        agents=tuple(named[name] for name in (WAAGENT, _AZURE_INIT) if name in named),
        cloud_init=named.get(_CLOUD_INIT, ""),
        provisioner=_provisioner(files, set(named)),
        root=root,
        drivers=DriverFacts(
            disks=tuple(map(str, drivers.disks)),
            loadable=tuple(map(str, drivers.loadable)),
            cdroms=tuple(map(str, drivers.cdroms)),
            nics=tuple(map(str, drivers.nics)),
            unread=unread,
        ),
        traces=_traces(files),
    )


def newest_kernel(files: OpenFiles) -> str:
    """Of those that have modules, the newest that can be started; "" when there is none. Boot loaders of distributions
    start the newest unless somebody told them to start another."""
    there = [name for name in files.list("/lib/modules") or () if files.exists(f"/lib/modules/{name}/modules.dep")]
    started = [name for name in there if _image(files, name)]
    return max(started or there, key=_by_number, default="")


def _image(files: OpenFiles, kernel: str) -> bool:
    names = (f"/boot/vmlinuz-{kernel}", f"/lib/modules/{kernel}/vmlinuz", f"/boot/vmlinux-{kernel}")
    return any(files.exists(name) for name in names)


def _by_number(kernel: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"\d+|[A-Za-z]+", kernel)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _drivers(files: OpenFiles, kernel: str, scratch: Path, check: Callable[[], None]) -> tuple[Drivers, str]:
    """The drivers that matter, and why they are not known; those that are found are no less there then."""
    nothing = Drivers(builtin=frozenset(), early=frozenset(), all=frozenset())
    if not kernel:
        return nothing, "no kernel with modules was found"
    folder = f"/lib/modules/{kernel}"
    builtin = modules_of(files.read(f"{folder}/modules.builtin") or "")
    builtin |= built_in(files.read(f"/boot/config-{kernel}") or files.read(f"{folder}/config") or "")
    modules = modules_of(files.read(f"{folder}/modules.dep") or "")
    if not builtin:
        return nothing, f"nothing says what kernel {kernel} has built in (modules.builtin, /boot/config-{kernel})"
    path = _initramfs(files, kernel)
    if not path:
        return Drivers(builtin=builtin, early=frozenset(), all=modules), f"the initramfs of {kernel} was not found"
    packed = _listing(files, path, scratch, check)
    early = modules_in(packed.names, kernel)
    unread = f"{path}: {packed.trouble}" if packed.trouble else ""
    return Drivers(builtin=builtin, early=early, all=modules), unread[:_LONGEST]


def _initramfs(files: OpenFiles, kernel: str) -> str:
    """As Debian and Ubuntu, Fedora and its like, SUSE, and Arch call it; "" when none is there."""
    names = [f"/boot/initrd.img-{kernel}", f"/boot/initramfs-{kernel}.img", f"/boot/initrd-{kernel}",
             f"/lib/modules/{kernel}/initrd", f"/lib/modules/{kernel}/initramfs.img"]  # fmt: skip
    return next((name for name in names if files.exists(name)), "")


def _listing(files: OpenFiles, path: str, scratch: Path, check: Callable[[], None]) -> Listing:
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / f"initramfs.{secrets.token_hex(4)}.partial"
    try:
        if not files.copy(path, copy, most=LARGEST):
            return Listing(names=frozenset(), trouble="it cannot be read, or is too large")
        with open_file(copy) as stream:
            return listing(stream, check)
    finally:
        copy.unlink(missing_ok=True)


def _version(files: OpenFiles, name: str) -> str | None:
    """Of a program that is there; "" when nothing says its version. None when it is not there."""
    if not any(files.exists(path) for path in _PROGRAMS[name]):
        return None
    status = files.read("/var/lib/dpkg/status") or ""
    for package in _PACKAGES[name]:
        if version := package_version(status, package):
            return version[:_LONGEST]
    return _python_version(files, _MODULES.get(name, ""))[:_LONGEST]


def package_version(status: str, package: str) -> str:
    """The version of an installed package by dpkg's own record, without the distribution's revision; "" if there is
    none."""
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        if fields.get("Package") == package and fields.get("Status", "").endswith(" installed"):
            return fields.get("Version", "").rpartition(":")[2].partition("-")[0]
    return ""


def _python_version(files: OpenFiles, module: str) -> str:
    """By what its installer left beside a module of Python: the one evidence that all distributions share."""
    for base in _PYTHONS if module else ():
        for python in files.list(base) or ():
            for kind in ("site-packages", "dist-packages") if python.startswith("python") else ():
                for name in files.list(f"{base}/{python}/{kind}") or ():
                    if (found := _METADATA.match(name)) and found[1].lower() == module:
                        return found[2]
    return ""


def _init(files: OpenFiles) -> str:
    return next((name for path, name in _INITS.items() if files.exists(path)), "")


def _provisioner(files: OpenFiles, programs: set[str]) -> str:
    """Who sets up a new machine: cloud-init unless it is switched off, else an agent of Azure's that is told to."""
    if _CLOUD_INIT in programs and not files.exists("/etc/cloud/cloud-init.disabled"):
        return _CLOUD_INIT
    settings = _values(files.read("/etc/waagent.conf") or "")
    agent = settings.get("Provisioning.Agent", "auto").lower()
    enabled = settings.get("Provisioning.Enabled", "y").lower() != "n"
    if WAAGENT in programs and (agent == WAAGENT or (agent == "auto" and enabled)):
        return WAAGENT
    return _AZURE_INIT if _AZURE_INIT in programs else ""


def people(passwd: str) -> list[str]:
    """The accounts of people in /etc/passwd."""
    found = []
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit() and _FIRST_USER <= int(fields[2]) < _LAST_USER:
            found.append(fields[0])
    return found


def _traces(files: OpenFiles) -> tuple[str, ...]:
    found = []
    if accounts := people(files.read("/etc/passwd") or ""):
        found.append(f"user accounts ({_few(accounts)})")
    if any(name.startswith("ssh_host_") for name in files.list("/etc/ssh") or ()):
        found.append("SSH host keys")
    if (files.read("/etc/machine-id") or "").strip() not in ("", "uninitialized"):
        found.append("a machine id")
    if any(name.endswith(".xml") for name in files.list("/var/lib/waagent") or ()):
        found.append("the state of the Azure agent")
    if files.exists("/var/lib/cloud/instance") or files.list("/var/lib/cloud/instances"):
        found.append("what cloud-init made for a machine")
    return tuple(text[:_LONGEST] for text in found[:_MOST])


def _few(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known[:5]) + (" ..." if len(known) > 5 else "")


def _values(text: str) -> dict[str, str]:
    """KEY=VALUE, with or without quotes, a line each."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip().strip("\"'") for key, equals, value in pairs if equals}


def boots_kernel(names: Iterable[str]) -> bool:
    """Whether a folder with these names is what a system has as /boot."""
    return any(re.match(r"vmlinu[xz]-|initr(?:d|amfs)", posixpath.basename(name)) for name in names)
