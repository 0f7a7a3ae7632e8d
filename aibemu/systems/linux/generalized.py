"""The offline proof that a Linux image is generalised: read its files with the machine off, change nothing.

Here are the errors; `traces` has what `waagent -deprovision+user` leaves in every image, Azure's own included. For
"generalised" means "boots with a new identity", not "clean" (facts: guest-platform 4). The service itself checks
nothing of this, so no finding fails a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aibemu.hypervisor import Level
from aibemu.images.inspect import datasource_list
from aibemu.systems.findings import GeneralizeFinding, GuestFiles, Rule, WholeSystem, judged
from aibemu.systems.linux.accounts import passwords, usable
from aibemu.systems.linux.deprovision import DEPROVISION_PATH
from aibemu.systems.linux.traces import TRACES

_SHOWN = 4  # places that were not looked at, in one sentence
_PROGRAMS = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin")
_UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_AGENT_UNITS = ("walinuxagent.service", "waagent.service")  # Debian's and Ubuntu's name, everybody else's
_CLOUD_INIT_UNITS = ("cloud-init-local.service", "cloud-init.service", "cloud-init-main.service")
_DEPROVISION = f"let {DEPROVISION_PATH} run `waagent -force -deprovision+user`, and do not remove /var/lib/waagent"


def check_generalized(files: GuestFiles, user: str) -> Iterator[GeneralizeFinding]:
    """Every finding for an image whose build user was `user`: errors first, then warnings, then notes."""
    return judged((*ERRORS, *TRACES), files, user)


def prove(files: WholeSystem, user: str) -> tuple[list[GeneralizeFinding], str]:
    """The findings, and what of the system could not be looked at, "" when all was: then nothing is proven.

    A rule that met something of it has no finding that all is well, nor one that something is missing.
    """
    found: list[GeneralizeFinding] = []
    for rule in (*ERRORS, *TRACES):
        before = len(files.missed)
        finding = rule.judge(files, user)
        if finding and (len(files.missed) == before or not (finding.level is Level.OK or rule.lacks)):
            found.append(finding)
    unseen = list(dict.fromkeys(str(one) for one in (*files.unread, *files.missed)))
    if not unseen:
        return found, ""
    more = f" and {len(unseen) - _SHOWN} more" if len(unseen) > _SHOWN else ""
    why = f"not looked at: {', '.join(unseen[:_SHOWN])}{more}"
    return [*found, _unproven(", ".join(unseen))], why


def _unproven(unseen: str) -> GeneralizeFinding:
    return GeneralizeFinding(
        level=Level.NOTE, check="the whole system was looked at", problem="parts of the system were not looked at",
        message=unseen, azure="Azure does not look",
        review="not proven: what the build machine left there was not found",
    )  # fmt: skip


def _account(files: GuestFiles, user: str) -> str:
    line = re.compile(rf"^{re.escape(user)}:", re.MULTILINE)
    left = [path for path in ("/etc/passwd", "/etc/shadow") if line.search(files.read(path) or "")]
    return f"user {user} is still in {' and '.join(left)}" if left else ""


def _home(files: GuestFiles, user: str) -> str:
    return f"/home/{user} is still there" if user in (files.list("/home") or ()) else ""


def _agent_state(files: GuestFiles, user: str) -> str:
    left = files.list("/var/lib/waagent")
    return f"/var/lib/waagent holds {', '.join(left[:5])}" if left else ""


def _host_name(files: GuestFiles, user: str) -> str:
    name = (files.read("/etc/hostname") or "").strip()
    return "" if name in {"", "localhost", "localhost.localdomain"} else f"/etc/hostname says {name}"


def _root_password(files: GuestFiles, user: str) -> str:
    password = passwords(files).get("root")
    if password is None:
        return "root has no line in /etc/shadow"
    return "" if not usable(password) else "root has a password" if password else "root has an empty password"


def _agent(files: GuestFiles, user: str) -> str:
    if not any("waagent" in (files.list(folder) or ()) for folder in _PROGRAMS):
        return "waagent is not installed"
    if masked := _masked(files, _AGENT_UNITS):
        return f"{masked} is masked"
    there = {name for folder in _UNITS for name in files.list(folder) or ()}.intersection(_AGENT_UNITS)
    wanted = {name for folder in _UNITS for name in files.list(f"{folder}/multi-user.target.wants") or ()}
    # No unit at all: another init system, or a place of its own. Then it cannot be told.
    return f"{min(there)} is not enabled" if there and not wanted.intersection(_AGENT_UNITS) else ""


def _provisioner(files: GuestFiles, user: str) -> str:
    """Who sets up a new machine. `auto` takes the agent where cloud-init's units are not enabled; but switched off by
    a file or by the kernel's command line they still look enabled, and the agent waits for cloud-init for ever."""
    agent = _provisioning_agent(files)
    if agent == "waagent":
        return ""
    if "cloud-init.disabled" in (files.list("/etc/cloud") or ()):
        return "/etc/cloud/cloud-init.disabled exists"
    if re.search(r"^[ \t]*GRUB_CMDLINE.*cloud-init=disabled", files.read("/etc/default/grub") or "", re.MULTILINE):
        return "/etc/default/grub disables cloud-init"
    if agent == "auto":
        return ""
    if masked := _masked(files, _CLOUD_INIT_UNITS):
        return f"{masked} is masked"
    there = files.list("/etc/cloud") or any("cloud-init" in (files.list(folder) or ()) for folder in _PROGRAMS)
    return "" if there else "cloud-init is not installed, and the agent's configuration leaves the first boot to it"


def _data_source(files: GuestFiles, user: str) -> str:
    if _provisioning_agent(files) == "waagent":
        return ""
    folder = "/etc/cloud/cloud.cfg.d"
    paths = [f"{folder}/{name}" for name in files.list(folder) or () if name.endswith(".cfg")]
    lists = [datasource_list(files.read(path) or "") for path in ("/etc/cloud/cloud.cfg", *paths)]
    last = next((found for found in reversed(lists) if found is not None), None)
    return "" if last is None or "azure" in last else f"cloud-init's datasource_list is {', '.join(last) or 'empty'}"


def _ready_marker(files: GuestFiles, user: str) -> str:
    there = "reported_ready" in (files.list("/var/lib/cloud/data") or ())
    return "/var/lib/cloud/data/reported_ready is there" if there else ""


def _provisioning_agent(files: GuestFiles) -> str:
    """waagent.conf's Provisioning.Agent: auto (the default), waagent, cloud-init or disabled."""
    found = re.findall(r"^Provisioning\.Agent=[\"']?([\w-]+)", files.read("/etc/waagent.conf") or "", re.MULTILINE)
    return found[-1].lower() if found else "auto"


def _masked(files: GuestFiles, units: tuple[str, ...]) -> str:
    """The first of the units that is masked: a link to /dev/null, or an empty file."""
    there = files.list("/etc/systemd/system") or ()
    hidden = (unit for unit in units if unit in there and not files.read(f"/etc/systemd/system/{unit}"))
    return next(hidden, "")


ERRORS: tuple[Rule[[GuestFiles, str]], ...] = (
    Rule(
        level=Level.ERROR, check="build user removed",
        wrong="the build user still exists", look=_account, fix=_DEPROVISION,
        azure="every machine of the image has the account; one whose administrator has the same name inherits it",
        review="the login of the build machine works on every machine",
    ),
    Rule(
        level=Level.ERROR, check="home of the build user removed",
        wrong="home of the build user left behind", look=_home, fix=_DEPROVISION,
        azure="an administrator of the same name gets this home, with the build machine's authorized keys",
        review="the build machine's keys and files are in the image",
    ),
    Rule(
        level=Level.ERROR, check="agent state removed",
        wrong="state of the Azure agent left behind", look=_agent_state, fix=_DEPROVISION,
        azure="the agent may take the new machine for the old one, already provisioned",
        review="ovf-env.xml and the goal state hold the build machine's settings and certificates",
    ),
    Rule(
        level=Level.ERROR, check="host name reset",
        wrong="host name of the build machine left behind", look=_host_name, fix=_DEPROVISION,
        azure="new machines start under the build machine's name until they are given their own",
    ),
    Rule(
        level=Level.ERROR, check="root password disabled",
        wrong="root has a password", look=_root_password,
        azure="Azure does not look; the agent disables it with Provisioning.DeleteRootPassword=y in /etc/waagent.conf",
        review="whoever knows it is root on every machine of the image, on the serial console too",
        fix="passwd --lock root",
        lacks=True,
    ),
    Rule(
        level=Level.ERROR, check="Azure agent installed and enabled",
        wrong="the Azure agent is missing or disabled", look=_agent,
        azure="a machine without it does not report ready by it, and takes no extensions; nor can it be deprovisioned",
        fix="install the agent and enable it: systemctl unmask walinuxagent; systemctl enable walinuxagent",
        lacks=True,
    ),
    Rule(
        level=Level.ERROR, check="first boot provisioned",
        wrong="nothing provisions a new machine", look=_provisioner,
        azure="nobody sets up a new machine: no administrator, no host name, and its creation times out",
        fix="rm -f /etc/cloud/cloud-init.disabled, or set Provisioning.Agent=waagent in /etc/waagent.conf",
        lacks=True,
    ),
    Rule(
        level=Level.ERROR, check="cloud-init looks for Azure",
        wrong="cloud-init does not look for Azure", look=_data_source,
        azure="cloud-init does not find its data source: no administrator, no host name, and the creation times out",
        fix="echo 'datasource_list: [ Azure ]' > /etc/cloud/cloud.cfg.d/99_azure.cfg",
    ),
    Rule(
        level=Level.ERROR, check="no seeded reported_ready marker",
        wrong="reported_ready marker left behind", look=_ready_marker,
        azure="cloud-init takes the new machine for a pre-provisioned one and waits for data that never come",
        fix="rm -f /var/lib/cloud/data/reported_ready",
    ),
)  # fmt: skip
