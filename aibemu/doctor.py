"""Testing the host for real: each check does what a build would do and says how to mend what is wrong."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence

from aibemu import plugins
from aibemu.clock import Clock
from aibemu.errors import AibemuError
from aibemu.hypervisor import Finding, HypervisorDriver, Level
from aibemu.paths import Home
from aibemu.processes import PACKAGES, find_program
from aibemu.readiness import check_path_length, check_socket_length, check_space, nearest

# Without these there are no images at all; the drivers check their own.
PROGRAMS = ("qemu-img", "debugfs")
OPTIONAL = {
    **dict.fromkeys(("mmdebstrap", "mke2fs", "sfdisk"), "aibemu images build"),
    **dict.fromkeys(("mkfs.vfat", "mcopy"), "aibemu images build, and the first boot of Windows"),
    "newuidmap": "aibemu images build without root",
    "guestfish": "looking into images of Linux whose root file system is not ext4",
}
# MiB of memory: the least that a Windows machine with a desktop comes up with (facts: windows-images 9.1).
LEAST_FOR_WINDOWS = 4096
OLDEST_PYTHON = (3, 11)


def examine(home: Home, clock: Clock, environ: Mapping[str, str]) -> list[Finding]:
    """Every check, in the order in which a person would mend things."""
    checks: Sequence[Callable[[], Iterable[Finding]]] = (
        check_python,
        check_programs,
        lambda: check_folders(home),
        lambda: check_path_length(home),
        lambda: check_space(home),
        lambda: check_socket_length(home),
        lambda: check_settings(home, environ),
        check_plugins,
        lambda: check_drivers(home, environ),
        lambda: check_images(home, clock),
        lambda: check_windows(home, clock, environ),
    )
    return [finding for check in checks for finding in check()]


def check_python() -> Iterable[Finding]:
    """The interpreter is new enough."""
    version = ".".join(map(str, sys.version_info[:3]))
    level = Level.OK if sys.version_info >= OLDEST_PYTHON else Level.ERROR
    yield Finding(check="python", level=level, message=version, fix="install Python 3.11 or newer")


def check_programs() -> Iterable[Finding]:
    """Every host program that a build needs, and those that only some need."""
    for name in (*PROGRAMS, *OPTIONAL):
        try:
            yield Finding(check=name, level=Level.OK, message=find_program(name))
        except AibemuError as error:
            needed = f" (needed for {OPTIONAL[name]})" if name in OPTIONAL else ""
            level = Level.NOTE if name in OPTIONAL else Level.ERROR
            fix = f"apt-get install {PACKAGES.get(name, name)}"
            yield Finding(check=name, level=level, message=f"{error.message}{needed}", fix=fix)


def check_folders(home: Home) -> Iterable[Finding]:
    """Write a file where a build would."""
    for name, folder in (("images", home.images), ("cloud", home.cloud), ("runs", home.runs), ("cache", home.cache)):
        existing = nearest(folder)
        try:
            with tempfile.TemporaryFile(dir=existing):
                pass
        except OSError as error:
            yield Finding(
                check=f"folder {name}", level=Level.ERROR, message=f"cannot write in {existing}: {error.strerror}",
                fix=f"give yourself the right to write there, or use --home DIR (now: {folder})",
            )  # fmt: skip
        else:
            yield Finding(check=f"folder {name}", level=Level.OK, message=str(folder))


def check_settings(home: Home, environ: Mapping[str, str]) -> Iterable[Finding]:
    """The settings file and variables are understood."""
    from aibemu.settings import BUILT_IN, FILE, Settings

    try:
        settings = Settings.load(home.config, environ)
    except AibemuError as error:
        where = f"{error.span}: " if error.span else ""
        yield Finding(check="settings", level=Level.ERROR, message=f"{where}{error.message}", fix=error.hint)
        return
    own = [f"{name}={value} ({origin})" for name, value, origin, _ in settings.describe() if origin != BUILT_IN]
    yield Finding(check="settings", level=Level.OK, message=", ".join(own) or f"all built-in (no {home.config / FILE})")


def check_plugins() -> Iterable[Finding]:
    """Every plugin can be imported."""
    for group in plugins.GROUPS:
        reasons = plugins.broken(group)
        fine = sorted(plugins.names(group) - reasons.keys())
        yield Finding(check=group, level=Level.OK if fine else Level.ERROR, message=", ".join(fine) or "none")
        for reason in reasons.values():
            fix = "reinstall or remove the package that it comes from"
            yield Finding(check=group, level=Level.WARNING, message=reason, fix=fix)


def check_drivers(home: Home, environ: Mapping[str, str]) -> Iterable[Finding]:
    """What each driver finds; only the trouble of the one that the settings name stops a build. Others may lack what
    they need: nobody may want them."""
    from aibemu.runs.drivers import GROUP
    from aibemu.settings import Settings

    try:
        chosen = Settings.load(home.config, environ).driver
    except AibemuError:
        chosen = Settings().driver
    if chosen not in plugins.names(GROUP):
        yield Finding(check=GROUP, level=Level.ERROR, message=f"there is no driver {chosen}", fix="aibemu drivers")
    elif reason := plugins.broken(GROUP).get(chosen):
        yield Finding(check=GROUP, level=Level.ERROR, message=reason)
    for name in sorted(plugins.names(GROUP) - plugins.broken(GROUP).keys()):
        for finding in findings_of(name, home):
            check = finding.check if finding.check.startswith(f"{name}:") else f"{name}: {finding.check}"
            level = Level.NOTE if finding.level is Level.ERROR and name != chosen else finding.level
            yield Finding(check=check, level=level, message=finding.message, fix=finding.fix)


def findings_of(name: str, home: Home) -> Sequence[Finding]:
    """What one driver finds when it tests this host for real; that it cannot is a finding, too."""
    from aibemu.runs.drivers import make_driver

    try:
        return make_driver(name, {}, home).check()
    except (AibemuError, OSError) as error:
        return [Finding(check="check", level=Level.ERROR, message=f"could not be tested: {error}")]


def check_images(home: Home, clock: Clock) -> Iterable[Finding]:
    """There is an image to start from."""
    from aibemu.images.store import ImageStore

    try:
        images = ImageStore(home.images, clock).images()
    except (AibemuError, OSError, ValueError, KeyError) as error:
        yield Finding(check="image store", level=Level.ERROR, message=f"cannot be read: {error}", fix=str(home.images))
        return
    gone = [image.short for image in images if not image.path.is_file()]
    for name in gone:
        fix = f"aibemu images remove {name}, then build, pull or import it again"
        yield Finding(check="image store", level=Level.ERROR, message=f"the file of image {name} is gone", fix=fix)
    if images:
        yield Finding(check="image store", level=Level.OK, message=f"{len(images) - len(gone)} images")
    else:
        yield Finding(check="image store", level=Level.NOTE, message="empty", fix="aibemu images build debian-12")


def check_windows(home: Home, clock: Clock, environ: Mapping[str, str]) -> Iterable[Finding]:
    """What Windows guests need beside all else. Who has no Windows image is told too, in notes."""
    level = Level.WARNING if _has_windows(home, clock) else Level.NOTE
    try:
        found = find_program("qemu-nbd")
        yield Finding(check="windows: images", level=Level.OK, message=f"{found} looks into them")
    except AibemuError as error:
        message = f"{error.message}: what is in a Windows image is not seen, and it cannot be prepared"
        yield Finding(check="windows: images", level=level, message=message, fix="apt-get install qemu-utils")
    driver = _chosen_driver(home, environ)
    if driver is None:  # which is told by now
        return
    chosen, memory = driver.accelerator(), driver.capacity().memory_mib
    if chosen.slowness > 1:
        message = f"no use without hardware acceleration, a first boot takes hours (--slow tries it): {chosen.reason}"
        fix = "turn on virtualization in this machine's firmware, or in its hypervisor; sudo usermod -aG kvm $USER"
        yield Finding(check="windows: speed", level=level, message=message, fix=fix)
    else:
        yield Finding(check="windows: speed", level=Level.OK, message=f"{chosen.name}: {chosen.reason}")
    fine = memory >= LEAST_FOR_WINDOWS
    message = f"{memory} MiB" if fine else f"{memory} MiB, and one machine wants {LEAST_FOR_WINDOWS}"
    fix = "build on a machine with more memory"
    yield Finding(check="windows: memory", level=Level.OK if fine else level, message=message, fix=fix)


def _has_windows(home: Home, clock: Clock) -> bool:
    from aibemu.images.store import ImageStore

    try:
        return any(image.info.os_type == "Windows" for image in ImageStore(home.images, clock).images())
    except (AibemuError, OSError, ValueError, KeyError):  # told by `check_images`
        return False


def _chosen_driver(home: Home, environ: Mapping[str, str]) -> HypervisorDriver | None:
    """The one that the settings name, if it boots guests and works."""
    from aibemu.runs.drivers import make_driver
    from aibemu.settings import Settings

    try:
        driver = make_driver(Settings.load(home.config, environ).driver, {}, home)
        driver.accelerator()
    except (AibemuError, OSError):
        return None
    return driver if driver.capabilities().boots_guests else None
