"""libvirts of the tests' own: without a daemon, in a folder that nobody else has (`qemu:///embed`), or with one."""

from __future__ import annotations

import grp
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aibemu.clock import forever

# As root libvirt would run QEMU as another user, in a cgroup and with a /dev of its own, and with a log daemon.
SETTINGS = """\
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""


def need_libvirt() -> None:
    """Skip the test where libvirt, or its library, is not installed."""
    if importlib.util.find_spec("libvirt") is None:
        pytest.skip("libvirt-python is not installed: ./test.sh installs it")
    if shutil.which("libvirtd") is None:
        pytest.skip("libvirt's driver of QEMU is not installed: ./test.sh installs it")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("libvirt-qemu")
        except KeyError:
            pytest.skip("there is no user libvirt-qemu, whom root's libvirt wants to know: ./test.sh adds it")


def embed_settings(root: Path) -> str:
    """Prepare the folder of a libvirt without a daemon; its uri."""
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc" / "qemu.conf").write_text(SETTINGS)
    return f"qemu:///embed?root={root}"


def made_ready(root: Path) -> str:
    """A libvirt in `root`, ready to be used; its uri."""
    need_libvirt()
    # It has a word for each oddity of the host, on standard error.
    os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", f"3:file:{root}/log.txt")
    from aibemu_drivers.libvirt.addresses import parse_address
    from aibemu_drivers.libvirt.connection import connection_to

    connection = connection_to(parse_address(embed_settings(root)))
    with one_core():
        connection.call(lambda virt: virt.getCapabilities(), seconds=300)
    return connection.address.uri


@contextmanager
def one_core() -> Iterator[None]:
    """Inside, this process and those that it starts stay on one core: always the same one in a worker of pytest-xdist.

    libvirt asks each QEMU what it can, and again, at each start of a machine, when the host's CPU looks otherwise. On
    some hosts it differs from core to core, and that takes half a minute then.
    """
    cores = os.sched_getaffinity(0)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {sorted(cores)[worker % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


# Folders of root's daemon are compiled in. It gets others in a mount namespace of its own; its sockets are outside.
DAEMON = """\
mkdir -p /run/libvirt /var/cache/libvirt /var/log/libvirt /var/lib/libvirt /etc/libvirt
mount --bind "$0/etc" /etc/libvirt
mount --bind "$0/run" /run/libvirt
for one in lib cache log; do mount --bind "$0/$one" "/var/$one/libvirt"; done
exec libvirtd --config "$0/libvirtd.conf" --pid-file "$0/libvirtd.pid"
"""
# Before that, with a network of its own: the interfaces in /sys are those of whoever mounts it.
NETWORK = """\
ip link set lo up
mount -t sysfs sysfs /sys
"""
DAEMON_SETTINGS = """\
unix_sock_dir = "{root}/sock"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:{root}/libvirtd.log"
"""


def _group() -> str:
    """One that may use KVM, if anybody may: libvirt's QEMU can as root, when it is asked what it can, and libvirt would
    ask again at each start whether that is still so."""
    try:
        return grp.getgrnam("kvm").gr_name
    except KeyError:
        return "libvirt-qemu"


class PrivateDaemon:
    """A libvirtd of root's that nobody else knows. It would run QEMU as the user libvirt-qemu, who may not read the
    folders of tests."""

    def __init__(self, root: Path, *, network: bool = False) -> None:
        """network: it gets a network, and process ids, of its own: what it starts (dnsmasq, QEMU) ends with it, and
        bridges and firewall rules are nobody else's. `inside` runs a program there."""
        self.root = root
        self._network = network
        self.socket = root / "sock" / "libvirt-sock"
        self.uri = f"qemu+unix:///system?socket={self.socket}"
        for name in ("etc", "run", "lib", "cache", "log", "sock"):
            (root / name).mkdir()
        (root / "libvirtd.conf").write_text(DAEMON_SETTINGS.format(root=root))
        (root / "etc" / "qemu.conf").write_text(
            SETTINGS.replace('user = "root"', 'user = "libvirt-qemu"')
            .replace('group = "root"', f'group = "{_group()}"')
            .replace("dynamic_ownership = 0", "dynamic_ownership = 1")
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        apart = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"] if self._network else []
        # The first process of all must take leave of those that end: the shell does, libvirtd does not.
        script = f"{NETWORK}{DAEMON.replace('exec ', '')}exit $?\n" if self._network else DAEMON
        words = ["unshare", "--mount", "--propagation", "private", *apart, "sh", "-c", script, str(self.root)]
        with (self.root / "said").open("ab") as out, one_core():
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        forever().within(60).poll(lambda: self.process is None or self.process.poll() is not None or self.answers())
        assert self.answers(), (self.root / "said").read_text()

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def inside(self, folder: Path) -> list[str]:
        """Words to put before a program that is to run in `folder`, with the network and folders of the daemon."""
        assert self.process is not None
        pid = self.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return ["nsenter", "--target", child, "--mount", "--net", f"--wdns={folder}"]

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def need_private_daemon() -> None:
    """Skip the test where none can be had."""
    need_libvirt()
    if os.geteuid() != 0:
        pytest.skip("a libvirtd of root's own takes root")
    trial = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if trial.returncode != 0:
        pytest.skip("no mount namespaces here")
