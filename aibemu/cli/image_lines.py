"""What `aibemu images show` says of an image, in lines."""

from __future__ import annotations

from aibemu.cli.image_answers import called, needs
from aibemu.images import BaseImage, ImageInfo
from aibemu.images.linux import LinuxFacts
from aibemu.images.windows import WindowsFacts


def system_lines(info: ImageInfo) -> list[str]:
    """What is known of its Windows or Linux."""
    if info.windows is not None:
        return _windows_lines(info.windows)
    return _linux_lines(info.linux) if info.linux is not None else []


def generation(info: ImageInfo) -> str:
    """Hyper-V's, and whether it boots as another one too."""
    others = [one.value for one in info.generations if one is not info.generation]
    return info.generation.value + (f", and it can boot as {' and '.join(others)} too" if others else "")


def generalized(info: ImageInfo) -> str:
    """What was seen of it, or that nobody looked."""
    if info.os_type == "Windows" and info.windows is None:
        return "not known: its disk was not read"
    if info.os_type == "Linux" and info.linux is None:
        return "not looked at: nothing is known of what is on its disk"
    if info.linux and info.linux.seen_in:
        return "yes: a build has deprovisioned it"
    traces = info.linux.traces if info.linux else ()
    word = "yes" if info.generalized else "no"
    if not info.linux:
        return word
    return f"{word}: it has {', '.join(traces)}" if traces else f"{word}: nothing of an earlier machine was seen on it"


def need_lines(image: BaseImage, aliases: dict[str, str]) -> list[str]:
    """What the image lacks for a build, and what to do."""
    found = needs(called(image, aliases), image.info)
    lines = ["", "before a build:"] if found else []
    for need in found:
        lines += [f"- {need.text}", *([f"  {need.run}"] if need.run else [])]
        lines += [f"  {need.hint}" + (f": {need.command}" if need.command else "")]
    return lines


def _windows_lines(facts: WindowsFacts) -> list[str]:
    edition = ", ".join(filter(None, (facts.edition, facts.installation, f"build {facts.version or 'not known'}")))
    return [
        f"edition       {edition}",
        f"setup state   {facts.image_state or 'not known'}",
        *(f"agent         {name}" for name in facts.agents),
        *(f"setup script  {path}" for path in facts.setup_scripts),
    ]


def _linux_lines(facts: LinuxFacts) -> list[str]:
    drivers = facts.drivers
    known = [("disk", drivers.disks), ("CD", drivers.cdroms), ("network", drivers.nics)]
    found = "; ".join(f"{name}: {', '.join(devices) or 'none'}" for name, devices in known)
    elsewhere = [f"looked at     not this disk, but image {facts.seen_in}, of which a build made it"]
    return [
        *(elsewhere if facts.seen_in else []),
        f"kernel        {facts.kernel or 'none found'}" + (f", {facts.init}" if facts.init else ""),
        f"root          {facts.root}",
        f"azure agent   {', '.join(facts.agents) or 'none'}",
        f"cloud-init    {facts.cloud_init.partition(' ')[2] or ('yes' if facts.cloud_init else 'none')}",
        f"set up by     {facts.provisioner or 'nothing'}",
        f"drivers       {found}" + (f" (perhaps more: {drivers.unread})" if drivers.unread else ""),
    ]
