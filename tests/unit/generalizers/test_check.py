"""The offline check, on the files of a generalised guest and on each way it can be not generalised."""

from __future__ import annotations

import pytest

from aibemu.generalizers.check import check_generalized
from aibemu.hypervisor import Level

# As read from a Debian 12 image after `waagent -force -deprovision+user`.
CLEAN: dict[str, str] = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "/etc/shadow": "root:*LOCK*:14600::::::\n",
    "/etc/hostname": "localhost.localdomain",
    "/etc/machine-id": "",
    "/usr/sbin/waagent": "",
    "/etc/cloud/cloud.cfg": "",
    "/etc/ssh/sshd_config": "",
}


class Files:
    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def list(self, path: str) -> list[str] | None:
        names = [name[len(path) + 1 :].split("/")[0] for name in self.files if name.startswith(path + "/")]
        return sorted(set(names)) or None


def found(changes: dict[str, str | None]) -> dict[str, Level]:
    files = {path: text for path, text in (CLEAN | changes).items() if text is not None}
    return {f.check: f.level for f in check_generalized(Files(files), "packer") if f.level is not Level.OK}


def test_a_generalised_image_has_no_finding() -> None:
    assert found({}) == {}


@pytest.mark.parametrize(
    ("changes", "check", "level"),
    [
        ({"/etc/passwd": "packer:x:1000:1000::/home/packer:/bin/bash\n"}, "build user removed", Level.WARNING),
        ({"/etc/shadow": "root:*:1::::::\npacker:!:1::::::\n"}, "build user removed", Level.WARNING),
        ({"/home/packer/.profile": ""}, "home of the build user removed", Level.WARNING),
        ({"/var/lib/waagent/ovf-env.xml": "<x/>"}, "agent state removed", Level.WARNING),
        ({"/etc/hostname": "pkrvm1\n"}, "host name reset", Level.WARNING),
        ({"/etc/shadow": "root:$6$x:1::::::\n"}, "root password disabled", Level.WARNING),
        ({"/usr/sbin/waagent": None}, "Azure agent installed", Level.WARNING),
        ({"/etc/cloud/cloud-init.disabled": ""}, "cloud-init enabled", Level.WARNING),
        ({"/etc/ssh/ssh_host_rsa_key": "k"}, "SSH host keys removed", Level.NOTE),
        ({"/var/lib/dhcp/dhclient.leases": ""}, "no DHCP leases", Level.NOTE),
        ({"/etc/machine-id": "0123456789abcdef\n"}, "machine-id empty", Level.NOTE),
        (
            {"/etc/sudoers.d/90-cloud-init-users": "packer ALL=(ALL) ALL\n"},
            "no sudo rule for the build user",
            Level.NOTE,
        ),
        ({"/root/.ssh/authorized_keys": "ssh-ed25519 A\n"}, "root has no authorized keys", Level.NOTE),
        ({"/root/.bash_history": "x"}, "no shell history", Level.NOTE),
    ],
)
def test_each_trace_is_found(changes: dict[str, str | None], check: str, level: Level) -> None:
    assert found(changes) == {check: level}
