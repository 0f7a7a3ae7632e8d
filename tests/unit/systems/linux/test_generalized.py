"""The offline check, on the files of a generalised guest and on each way it can be not generalised."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from aibemu.hypervisor import Level
from aibemu.systems.findings import GeneralizeFinding
from aibemu.systems.linux.deprovision import DEFAULT_SCRIPT, DEPROVISION_PATH
from aibemu.systems.linux.generalized import ERRORS, check_generalized
from aibemu.systems.linux.traces import TRACES

ERROR, WARNING, NOTE = Level.ERROR, Level.WARNING, Level.NOTE
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"
INSTANCE = "/var/lib/cloud/instances/31ca356f-1cc8-4783-b719-8490ef40b8a7"
WANTS = "/etc/systemd/system/multi-user.target.wants"
UNITS = "/usr/lib/systemd/system"

# As read from a Debian 12 image that never was a machine, but for what nobody looks at.
CLEAN: dict[str, str] = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n",
    "/etc/shadow": "root:*LOCK*:14600::::::\nsystemd-network:!*:20781::::::\ndaemon:*:20781:0:99999:7:::\nsshd:!:1::\n",
    "/etc/hostname": "localhost.localdomain",
    "/etc/machine-id": "",
    "/etc/waagent.conf": "# Provisioning.Agent=disabled\nProvisioning.Agent=cloud-init\n",
    "/usr/sbin/waagent": "#!/usr/bin/python3\n",
    "/usr/bin/cloud-init": "#!/usr/bin/python3\n",
    f"{UNITS}/walinuxagent.service": "[Unit]\n",
    f"{UNITS}/cloud-init.service": "[Unit]\n",
    f"{WANTS}/walinuxagent.service": "[Unit]\n",
    "/etc/default/grub": "# cloud-init=disabled\nGRUB_CMDLINE_LINUX='console=ttyS0'\n",
    "/etc/cloud/cloud.cfg": "datasource_list: [ NoCloud ]\n",
    "/etc/cloud/cloud.cfg.d/91_datasources.cfg": "datasource_list: [ NoCloud, Azure, None ]\n",
    "/etc/cloud/cloud.cfg.d/99_off.cfg.bak": "datasource_list: [ NoCloud ]\n",
    "/etc/ssh/sshd_config": "",
    "/etc/ssl/private/ssl-cert-snakeoil.key": KEY,
    "/etc/sudoers": "root ALL=(ALL:ALL) ALL\n",
    "/etc/sudoers.d/README": "# packer ALL\n",
    "/etc/passwd-": "root:x:0:0:root:/root:/bin/bash\npackers:x:9:9::/:/bin/false\n",
    "/root/.profile": "",
    "/root/.ssh/authorized_keys": "\n",
    "/var/log/README": "",
    "/tmp/.X11-unix/x": "",
    "/tmp/DeprovisioningScript.sh": DEFAULT_SCRIPT,
}
# What `waagent -force -deprovision+user` left of a real build on it, beside CLEAN.
DEBIAN: dict[str, str] = {
    "/etc/shadow-": "root:*LOCK*:14600::::::\npacker:!:20781:0:99999:7:::\n",
    "/etc/group-": "sudo:x:27:\npacker:x:1000:\n",
    "/etc/machine-id": "31ca356f1cc84783b7198490ef40b8a7\n",
    "/etc/sudoers.d/90-cloud-init-users": "# User rules for packer\npacker ALL=(ALL) NOPASSWD:ALL\n",
    "/etc/netplan/50-cloud-init.yaml": "network: {}\n",
    f"{INSTANCE}/boot-finished": "84.43\n",
    f"{INSTANCE}/user-data.txt": '#cloud-config\n{"users": [{"name": "packer"}]}\n',
    "/var/lib/cloud/data/instance-id": "31ca356f-1cc8-4783-b719-8490ef40b8a7\n",
    "/var/lib/systemd/random-seed": "x",
    "/var/log/cloud-init.log": "x",
    "/var/log/journal/31ca356f1cc84783b7198490ef40b8a7/system.journal": "x",
    "/var/tmp/cloud-init/x": "",
}
# Ubuntu's agent has RegenerateSshHostKeyPair=n, Provisioning.Agent=auto, and the other unit name beside.
UBUNTU = DEBIAN | {
    "/etc/waagent.conf": "Provisioning.Agent=auto\n",
    "/etc/ssh/ssh_host_ed25519_key": KEY,
    "/root/.ssh/authorized_keys": 'no-port-forwarding,command="echo Please login as packer" ssh-ed25519 A\n',
}


class Files:
    """The same two questions as the readers of real disks."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def list(self, path: str) -> list[str] | None:
        names = [name[len(path) + 1 :].split("/")[0] for name in self.files if name.startswith(path + "/")]
        return sorted(set(names)) or None


def findings(changes: dict[str, str | None]) -> Iterator[GeneralizeFinding]:
    files = {path: text for path, text in (CLEAN | changes).items() if text is not None}
    return (finding for finding in check_generalized(Files(files), "packer") if finding.level is not Level.OK)


def found(changes: dict[str, str | None]) -> dict[str, Level]:
    return {finding.check: finding.level for finding in findings(changes)}


def test_an_image_that_never_was_a_machine_has_no_finding() -> None:
    assert found({}) == {}


@pytest.mark.parametrize(("left", "host_keys"), [(DEBIAN, 0), (UBUNTU, 1)])
def test_what_the_agent_leaves_is_no_error(left: dict[str, str | None], host_keys: int) -> None:
    levels = list(found(left).values())
    assert (levels.count(ERROR), levels.count(WARNING), levels.count(NOTE)) == (0, 6 + 2 * host_keys, 2)


def test_a_machine_that_was_not_deprovisioned() -> None:
    changes: dict[str, str | None] = {
        **UBUNTU,
        "/etc/passwd": CLEAN["/etc/passwd"] + "packer:x:1000:1000::/home/packer:/bin/bash\n",
        "/etc/shadow": CLEAN["/etc/shadow"] + "packer:$6$x:1::::::\n",
        "/home/packer/.ssh/authorized_keys": "ssh-ed25519 A\n",
        "/var/lib/waagent/ovf-env.xml": "<x/>",
        "/etc/hostname": "pkrvm1\n",
    }
    errors = [finding.message for finding in findings(changes) if finding.level is ERROR]
    assert errors == [
        "user packer is still in /etc/passwd and /etc/shadow", "/home/packer is still there",
        "/var/lib/waagent holds ovf-env.xml", "/etc/hostname says pkrvm1",
    ]  # fmt: skip
    # His account is one finding; it is not told again as somebody else's.
    assert "no other logins" not in found(changes)


AGENT, FIRST_BOOT = "Azure agent installed and enabled", "first boot provisioned"
OFF, GRUB = "/etc/cloud/cloud-init.disabled", {"/etc/default/grub": 'GRUB_CMDLINE_LINUX="cloud-init=disabled"\n'}
AUTO: dict[str, str | None] = {"/etc/waagent.conf": "Provisioning.Agent=auto\n"}
WAAGENT: dict[str, str | None] = {"/etc/waagent.conf": "Provisioning.Agent=waagent\n"}
NO_CLOUD_INIT: dict[str, str | None] = {path: None for path in CLEAN if "/cloud" in path}
MASKED: dict[str, str | None] = {"/etc/systemd/system/cloud-init.service": ""}
LAST_LIST = "/etc/cloud/cloud.cfg.d/95_last.cfg"


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"/etc/passwd": "packer:x:1000:1000::/home/packer:/bin/bash\n"}, "build user removed"),
        ({"/etc/shadow": "root:*:1::::::\npacker:!:1::::::\n"}, "build user removed"),
        ({"/home/packer/.profile": ""}, "home of the build user removed"),
        ({"/var/lib/waagent/ovf-env.xml": "<x/>"}, "agent state removed"),
        ({"/etc/hostname": "pkrvm1\n"}, "host name reset"),
        ({"/etc/shadow": "root:$6$x:1::::::\n"}, "root password disabled"),
        ({"/etc/shadow": "root::1::::::\n"}, "root password disabled"),
        ({"/etc/shadow": None}, "root password disabled"),
        ({"/usr/sbin/waagent": None}, AGENT),
        ({f"{WANTS}/walinuxagent.service": None}, AGENT),
        ({"/etc/systemd/system/walinuxagent.service": ""}, AGENT),
        ({OFF: ""}, FIRST_BOOT),
        ({OFF: "", **AUTO}, FIRST_BOOT),
        (GRUB, FIRST_BOOT),
        (GRUB | AUTO, FIRST_BOOT),
        (MASKED, FIRST_BOOT),
        (NO_CLOUD_INIT, FIRST_BOOT),
        ({LAST_LIST: "datasource_list: [ NoCloud ]\n"}, "cloud-init looks for Azure"),
        ({"/etc/cloud/cloud.cfg.d/91_datasources.cfg": None}, "cloud-init looks for Azure"),
        ({"/var/lib/cloud/data/reported_ready": ""}, "no seeded reported_ready marker"),
    ],
)
def test_each_error_is_found(changes: dict[str, str | None], check: str) -> None:
    assert found(changes) == {check: ERROR}


@pytest.mark.parametrize(
    "changes",
    [
        {"/etc/hostname": None},
        {"/etc/hostname": "localhost\n"},
        {"/etc/shadow": "root:!$6$x:1::::::\n"},
        {"/usr/sbin/waagent": None, "/usr/local/sbin/waagent": ""},
        # Everybody but Debian calls it so; enabled by the distribution itself
        {f"{WANTS}/walinuxagent.service": None, f"{UNITS}/multi-user.target.wants/waagent.service": "[Unit]\n"},
        # Another init system
        {f"{WANTS}/walinuxagent.service": None, f"{UNITS}/walinuxagent.service": None},
        # A unit of one's own is no mask
        {"/etc/systemd/system/walinuxagent.service": "[Unit]\n", "/etc/systemd/system/cloud-init.service": "[Unit]\n"},
        # The agent provisions, as configured or where cloud-init is not enabled
        WAAGENT | {OFF: ""},
        WAAGENT | NO_CLOUD_INIT,
        WAAGENT | {LAST_LIST: "datasource_list: [ NoCloud ]\n"},
        AUTO | MASKED,
        AUTO | NO_CLOUD_INIT,
        {"/etc/waagent.conf": None} | NO_CLOUD_INIT,
        {"/etc/cloud/cloud.cfg": "a: [\n", "/etc/cloud/cloud.cfg.d/91_datasources.cfg": None},
    ],
)
def test_what_is_no_error(changes: dict[str, str | None]) -> None:
    assert found(changes) == {}


USER_DATA, LOGINS = "cloud-init keeps no user data", "no other logins"


@pytest.mark.parametrize(
    ("changes", "check", "level"),
    [
        ({"/etc/ssh/ssh_host_rsa_key": "k"}, "SSH host keys removed", WARNING),
        ({"/etc/sudoers.d/90-cloud-init-users": "packer ALL=(ALL) ALL\n"}, "no sudo rule for the build user", WARNING),
        ({"/etc/sudoers": "packer\tALL=(ALL) ALL\n"}, "no sudo rule for the build user", WARNING),
        ({"/root/.ssh/authorized_keys": "ssh-ed25519 A\n"}, "root has no authorized keys", WARNING),
        ({"/etc/shadow": "root:*:1::::::\nmary:$6$x:1::::::\n"}, LOGINS, WARNING),
        ({"/etc/shadow": "root:*:1::::::\nmary::1::::::\n"}, LOGINS, WARNING),
        ({"/home/mary/.ssh/authorized_keys": "ssh-ed25519 A\n"}, LOGINS, WARNING),
        ({"/root/.ssh/id_ed25519": KEY}, "no private keys", WARNING),
        ({"/home/mary/.ssh/deploy": KEY}, "no private keys", WARNING),
        ({"/etc/ssl/private/server.key": "-----BEGIN PRIVATE KEY-----\n"}, "no private keys", WARNING),
        ({"/etc/pki/tls/private/localhost.key": "-----BEGIN RSA PRIVATE KEY-----\n"}, "no private keys", WARNING),
        ({"/root/.azure/msal_token_cache.json": "{}"}, "no saved credentials", WARNING),
        ({"/home/mary/.git-credentials": "https://a:b@c"}, "no saved credentials", WARNING),
        ({f"{INSTANCE}/user-data.txt": "users: [packer]\n"}, USER_DATA, WARNING),
        ({f"{INSTANCE}/obj.pkl": "\x80\x04\x8c\x06packer\x94"}, USER_DATA, WARNING),
        ({f"{INSTANCE}/cloud-config.txt": "hashed_passwd: $6$x\n"}, USER_DATA, WARNING),
        ({f"{INSTANCE}/scripts/part-001": KEY}, USER_DATA, WARNING),
        ({"/var/lib/cloud/seed/nocloud/user-data": "name: packer\n"}, USER_DATA, WARNING),
        ({"/var/lib/cloud/seed/azure/ovf-env.xml": "<x/>"}, USER_DATA, WARNING),
        ({"/etc/passwd-": "packer:x:1000:1000::/home/packer:/bin/bash\n"}, "account backups clean", WARNING),
        ({"/etc/group-": "sudo:x:27:mary,packer\n"}, "account backups clean", WARNING),
        ({"/etc/machine-id": "0123456789abcdef\n"}, "machine-id empty", WARNING),
        ({"/var/lib/systemd/random-seed": "x"}, "no random seed", WARNING),
        ({"/var/lib/dhcp/dhclient.leases": ""}, "no DHCP leases", WARNING),
        ({"/var/lib/NetworkManager/dhclient-1.lease": ""}, "no DHCP leases", WARNING),
        ({"/root/.bash_history": "x"}, "no shell history", WARNING),
        ({"/home/mary/.python_history": "x"}, "no shell history", WARNING),
        ({"/var/log/auth.log": "x"}, "no logs of the build machine", WARNING),
        ({"/var/log/journal/0123/system.journal": "x"}, "no logs of the build machine", WARNING),
        ({"/var/lib/cloud/data/instance-id": "i-1\n"}, "no cloud-init instance cache", NOTE),
        ({"/etc/udev/rules.d/70-persistent-net.rules": "x"}, "no network configuration of the build machine", NOTE),
        ({"/tmp/download.tar": "x"}, "no temporary files", NOTE),
        ({"/var/tmp/x/y": "x"}, "no temporary files", NOTE),
    ],
)
def test_each_trace_is_found(changes: dict[str, str | None], check: str, level: Level) -> None:
    assert found(changes) == {check: level}


@pytest.mark.parametrize(
    "changes",
    [
        {"/etc/machine-id": "uninitialized\n"},
        {"/root/.ssh/id_ed25519.pub": "ssh-ed25519 A\n", "/root/.ssh/known_hosts": "x"},
        {"/etc/sudoers.d/90-cloud-init-users": "packers ALL=(ALL) ALL\n"},
        {f"{INSTANCE}/user-data.txt": "packages: [packer-cli]\nlock_passwd: true\n"},
        {"/var/lib/NetworkManager/timestamps": "x"},
        {"/root/.netrc": ""},
    ],
)
def test_what_is_no_trace(changes: dict[str, str | None]) -> None:
    assert found(changes) == {}


def test_a_finding_is_headed_by_what_is_wrong() -> None:
    """The name of the check would read as its opposite: "no temporary files: /tmp/a"."""
    (one,) = findings({"/tmp/a": "x"})
    assert (one.problem, one.message) == ("temporary files left behind", "/tmp/a")
    assert not [rule for rule in (*TRACES, *ERRORS) if rule.wrong == rule.check]
    assert not any(one.problem for one in check_generalized(Files(CLEAN), "packer"))


def test_many_of_a_kind_are_counted() -> None:
    keys: dict[str, str | None] = {f"/etc/ssh/ssh_host_{number}": "" for number in range(6)}
    message = next(findings(keys)).message
    assert message.startswith("/etc/ssh/ssh_host_0, ") and message.endswith("/etc/ssh/ssh_host_3 and 2 more")


def test_a_finding_says_what_azure_and_a_review_make_of_it() -> None:
    finding = next(findings({"/root/.bash_history": "x"}))
    assert (finding.message, finding.level) == ("/root/.bash_history", WARNING)
    assert "root's .bash_history only" in finding.azure and "secrets" in finding.review
    assert finding.fix == f"echo 'rm -f /root/.*_history /home/*/.*_history; sync' >> {DEPROVISION_PATH}"
    # Nothing to say of what is well
    clean = next(iter(check_generalized(Files(CLEAN), "packer")))
    assert (clean.message, clean.azure, clean.review, clean.fix) == ("", "", "", "")


def test_the_rules_keep_to_the_meaning_of_their_levels() -> None:
    assert {rule.level for rule in ERRORS} == {ERROR}
    assert {rule.level for rule in TRACES} == {WARNING, NOTE}
    assert all(rule.azure for rule in (*ERRORS, *TRACES))
    assert all(rule.review for rule in TRACES if rule.level is WARNING), "a review that does not mind: a note"
    checks = [rule.check for rule in (*ERRORS, *TRACES)]
    assert len(set(checks)) == len(checks)


def test_remedies_for_the_end_are_shell() -> None:
    """What they add to the deprovision script is what was meant, and a script still."""
    remedies = [rule.fix for rule in TRACES if DEPROVISION_PATH in rule.fix and rule.fix.startswith("echo")]
    assert len(remedies) >= 9
    for remedy in remedies:
        line = subprocess.run(
            ["sh", "-c", remedy.partition(" >> ")[0]], capture_output=True, text=True, check=True
        ).stdout
        subprocess.run(["sh", "-n"], input=DEFAULT_SCRIPT + line, text=True, check=True)
        assert line.endswith("; sync\n")
