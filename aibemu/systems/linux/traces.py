"""Traces of the build machine that Azure tolerates: warnings where a security review would not, notes for the rest.

Most are in every image that the service builds too, for `waagent -deprovision+user` leaves them (facts:
guest-platform 4). Only what is cheap to read is read.
"""

from __future__ import annotations

import re

from aibemu.hypervisor import Level
from aibemu.systems.findings import GuestFiles, Rule
from aibemu.systems.linux.accounts import login_homes, passwords, usable
from aibemu.systems.linux.deprovision import at_the_end

_CLOUD = "/var/lib/cloud"
_BACKUPS = ("passwd-", "shadow-", "group-", "gshadow-", "subuid-", "subgid-")
_KEY_FOLDERS = ("/etc/ssl/private", "/etc/pki/tls/private")
# Made by the package ssl-cert for tests; every Debian has one.
_SNAKE_OIL = "ssl-cert-snakeoil.key"
# `az login`, `aws configure`, `docker login`, `git credential store` and others keep what they were given here.
_SAVED_LOGINS = (
    ".aws/credentials", ".azure/accessTokens.json", ".azure/msal_token_cache.json",
    ".azure/service_principal_entries.json", ".docker/config.json", ".git-credentials", ".kube/config", ".netrc",
    ".pgpass",
)  # fmt: skip
_LOGS = (
    "auth.log", "cloud-init-output.log", "cloud-init.log", "daemon.log", "kern.log", "messages", "secure", "syslog",
    "waagent.log",
)  # fmt: skip
_NETWORK = (
    "/etc/netplan/50-cloud-init.yaml", "/etc/network/interfaces.d/50-cloud-init",
    "/etc/udev/rules.d/70-persistent-net.rules",
)  # fmt: skip
_SENSITIVE = r"PRIVATE KEY-----|\b(?:hashed_passwd|plain_text_passwd)\b"
_SHOWN = 4


def _host_keys(files: GuestFiles, user: str) -> str:
    return _join([f"/etc/ssh/{name}" for name in files.list("/etc/ssh") or () if name.startswith("ssh_host_")])


def _sudo_rule(files: GuestFiles, user: str) -> str:
    rule = re.compile(rf"^{re.escape(user)}\s", re.MULTILINE)
    paths = ["/etc/sudoers", *(f"/etc/sudoers.d/{name}" for name in files.list("/etc/sudoers.d") or ())]
    return _join([path for path in paths if rule.search(files.read(path) or "")])


def _root_key(files: GuestFiles, user: str) -> str:
    path = "/root/.ssh/authorized_keys"
    return f"{path} is not empty" if (files.read(path) or "").strip() else ""


def _other_logins(files: GuestFiles, user: str) -> str:
    mine = {"root", user}
    found = [
        f"{name} has {'a' if field else 'an empty'} password"
        for name, field in passwords(files).items() if name not in mine and usable(field)
    ]  # fmt: skip
    found += [
        f"{home}/.ssh has authorized keys" for home in _homes(files, user)[1:]
        if (files.read(f"{home}/.ssh/authorized_keys") or "").strip()
    ]  # fmt: skip
    return _join(found)


def _private_keys(files: GuestFiles, user: str) -> str:
    folders = [*(f"{home}/.ssh" for home in _homes(files, user)), *_KEY_FOLDERS]
    paths = [f"{folder}/{name}" for folder in folders for name in files.list(folder) or () if name != _SNAKE_OIL]
    return _join([path for path in paths if "PRIVATE KEY-----" in (files.read(path) or "")])


def _saved_logins(files: GuestFiles, user: str) -> str:
    paths = [f"{home}/{name}" for home in _homes(files, user) for name in _SAVED_LOGINS]
    return _join([path for path in paths if files.read(path)])


def _cloud_init_data(files: GuestFiles, user: str) -> str:
    """obj.pkl too: it is a pickle, but names are plain text in it."""
    telling = re.compile(rf"(?<![\w-]){re.escape(user)}(?![\w-])|{_SENSITIVE}")
    folders = [f"{_CLOUD}/instances/{name}" for name in files.list(f"{_CLOUD}/instances") or ()]
    folders += [f"{folder}/scripts" for folder in folders]
    folders += [f"{_CLOUD}/seed", *(f"{_CLOUD}/seed/{name}" for name in files.list(f"{_CLOUD}/seed") or ())]
    paths = [f"{folder}/{name}" for folder in folders for name in files.list(folder) or ()]
    return _join([path for path in paths if path.endswith("/ovf-env.xml") or telling.search(files.read(path) or "")])


def _backups(files: GuestFiles, user: str) -> str:
    name = re.compile(rf"(?:^|[:,]){re.escape(user)}(?:[:,]|$)", re.MULTILINE)
    return _join([path for path in (f"/etc/{backup}" for backup in _BACKUPS) if name.search(files.read(path) or "")])


def _machine_id(files: GuestFiles, user: str) -> str:
    empty = (files.read("/etc/machine-id") or "").strip() in {"", "uninitialized"}
    return "" if empty else "/etc/machine-id is set"


def _random_seed(files: GuestFiles, user: str) -> str:
    return _join([f"{path}/random-seed" for path in ("/var/lib/systemd", "/boot/loader", "/boot/efi/loader")
                  if "random-seed" in (files.list(path) or ())])  # fmt: skip


def _leases(files: GuestFiles, user: str) -> str:
    found = [f"{folder}/{name}" for folder in ("/var/lib/dhcp", "/var/lib/dhclient", "/var/lib/dhcpcd")
             for name in files.list(folder) or ()]  # fmt: skip
    folder = "/var/lib/NetworkManager"
    return _join(found + [f"{folder}/{name}" for name in files.list(folder) or () if name.endswith(".lease")])


def _history(files: GuestFiles, user: str) -> str:
    return _join([f"{home}/{name}" for home in _homes(files, user) for name in files.list(home) or ()
                  if name.startswith(".") and name.endswith("_history")])  # fmt: skip


def _logs(files: GuestFiles, user: str) -> str:
    found = [f"/var/log/{name}" for name in files.list("/var/log") or () if name in _LOGS]
    journals = [f"/var/log/journal/{name}" for name in files.list("/var/log/journal") or ()]
    return _join(found + [path for path in journals if files.list(path)])


def _instance_cache(files: GuestFiles, user: str) -> str:
    number = (files.read(f"{_CLOUD}/data/instance-id") or "").strip()
    return f"cloud-init remembers instance {number}" if number else ""


def _network(files: GuestFiles, user: str) -> str:
    return _join([path for path in _NETWORK if files.read(path)])


def _temporary(files: GuestFiles, user: str) -> str:
    """Hidden names in /tmp are sockets' folders; the deprovision script was the last to run and cannot be gone."""
    expected = ("DeprovisioningScript.sh", "systemd-private-", "cloud-init")
    return _join([f"{folder}/{name}" for folder in ("/tmp", "/var/tmp") for name in files.list(folder) or ()
                  if not name.startswith((".", *expected))])  # fmt: skip


def _homes(files: GuestFiles, user: str) -> list[str]:
    """Root's home, then the others. Not the build user's: that it is there at all is an error of its own."""
    found = [f"/home/{name}" for name in files.list("/home") or () if name != user]
    return list(dict.fromkeys(["/root", *found, *login_homes(files, user)]))


def _join(found: list[str]) -> str:
    """The first few, and how many more."""
    more = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


TRACES: tuple[Rule[[GuestFiles, str]], ...] = (
    Rule(
        level=Level.WARNING, check="SSH host keys removed",
        wrong="SSH host keys left behind", look=_host_keys,
        azure="Ubuntu's agent keeps them; cloud-init renews them at the first boot of a new machine (ssh_deletekeys)",
        review="private keys that everyone with the image has: machines can be impersonated until they are renewed",
        fix=at_the_end("rm -f /etc/ssh/ssh_host_*"),
    ),
    Rule(
        level=Level.WARNING, check="no sudo rule for the build user",
        wrong="sudo rule of the build user left behind", look=_sudo_rule,
        azure="cloud-init made it and the agent leaves it; cloud-init writes the file anew on a new machine",
        review="an account of this name, whenever it is made, is root without a password",
        fix=at_the_end("rm -f /etc/sudoers.d/90-cloud-init-users"),
    ),
    Rule(
        level=Level.WARNING, check="root has no authorized keys",
        wrong="root still has authorized keys", look=_root_key,
        azure="cloud-init puts the build key there, restricted to a message (disable_root), and the agent leaves it",
        review="a foreign key in root's file, one option away from a login as root",
        fix=at_the_end("rm -f /root/.ssh/authorized_keys"),
    ),
    Rule(
        level=Level.WARNING, check="no other logins",
        wrong="other accounts can log in", look=_other_logins,
        azure="the agent removes the build user only; accounts that customizers made are part of the image",
        review="the same login on every machine of the image",
        fix="userdel --remove NAME, or passwd --lock NAME and no authorized_keys",
    ),
    Rule(
        level=Level.WARNING, check="no private keys",
        wrong="private keys in the image", look=_private_keys,
        azure="Azure does not look into files",
        review="everyone with the image has the key: bring it at the first boot, from a key vault",
        fix="remove the key in the customizer that needed it",
    ),
    Rule(
        level=Level.WARNING, check="no saved credentials",
        wrong="saved credentials in the image", look=_saved_logins,
        azure="Azure does not look into files",
        review="a login that was used during the build works for everyone with the image",
        fix="log out in the customizer that logged in: az logout, docker logout, or remove the file",
    ),
    Rule(
        level=Level.WARNING, check="cloud-init keeps no user data",
        wrong="user data of the build machine left behind", look=_cloud_init_data,
        azure="the agent leaves /var/lib/cloud; a new machine gets an instance of its own beside the old one",
        review="the build machine's user data, with the build user and whatever secrets it held",
        fix=at_the_end("cloud-init clean --logs --seed"),
    ),
    Rule(
        level=Level.WARNING, check="account backups clean",
        wrong="backups of account files left behind", look=_backups,
        azure="userdel leaves the previous state of the account files; nothing reads them",
        review="the build user's name, and its password's hash if it had one",
        fix=at_the_end("rm -f " + " ".join(f"/etc/{name}" for name in _BACKUPS)),
    ),
    Rule(
        level=Level.WARNING, check="machine-id empty",
        wrong="machine-id is not empty", look=_machine_id,
        azure="the agent never clears it: all machines of the image share it, and come up all the same",
        review="logs, inventories and DHCP by machine-id cannot tell the machines apart",
        fix=at_the_end("truncate --size=0 /etc/machine-id"),
    ),
    Rule(
        level=Level.WARNING, check="no random seed",
        wrong="random seed left behind", look=_random_seed,
        azure="Azure does not look; machines get entropy from the host too",
        review="machines of the image start from the same seed",
        fix=at_the_end("systemctl stop systemd-random-seed; rm -f /var/lib/systemd/random-seed"),
    ),
    Rule(
        level=Level.WARNING, check="no DHCP leases",
        wrong="DHCP leases left behind", look=_leases,
        azure="the agent removes them, but dhclient writes one again while the machine powers off; a new one is asked",
        review="addresses and names of the build network",
    ),
    Rule(
        level=Level.WARNING, check="no shell history",
        wrong="shell history left behind", look=_history,
        azure="the agent removes root's .bash_history only",
        review="commands of the build, with whatever secrets were typed",
        fix=at_the_end("rm -f /root/.*_history /home/*/.*_history"),
    ),
    Rule(
        level=Level.WARNING, check="no logs of the build machine",
        wrong="logs of the build machine left behind", look=_logs,
        azure="the agent removes its own log only; new machines append to the others",
        review="names, addresses and output of the build; an audit trail that begins on another machine",
        # Else journald makes its file anew while the machine powers off.
        fix=at_the_end("journalctl --relinquish-var; cd /var/log && rm -rf journal/* *.log messages secure syslog"),
    ),
    Rule(
        level=Level.NOTE, check="no cloud-init instance cache",
        wrong="cloud-init's instance cache left behind", look=_instance_cache,
        azure="fine: a new machine has another id, so that cloud-init takes its boot for the first",
    ),
    Rule(
        level=Level.NOTE, check="no network configuration of the build machine",
        wrong="network configuration of the build machine left behind", look=_network,
        azure="fine where cloud-init wrote it: it writes it anew, with the new machine's MAC address",
    ),
    Rule(
        level=Level.NOTE, check="no temporary files",
        wrong="temporary files left behind", look=_temporary,
        azure="they are part of the image; some distributions empty /tmp at boot, none /var/tmp",
        review="downloads and scripts of the build, to be looked through for secrets",
        fix="remove them in the customizer that made them, but never /tmp/DeprovisioningScript.sh",
    ),
)  # fmt: skip
