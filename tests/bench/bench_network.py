"""How fast is a guest's network through the layer-2 shim, and next to QEMU's plain user network?

    .venv/bin/python -m tests.bench.bench_network [--rounds 5] [--mib 100] [--home DIR]

Two machines of the base image are up at once, one on a wire with the platform, one (its generic variant) on a plain
user network. They take turns in fetching from and sending to a server of this host. Prints MB/s with minimum, median
and maximum, the ratio of the medians, and what the platform's process needed of a CPU. Asserts no time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from aibemu.clock import SystemClock, forever
from aibemu.communicators import Credentials
from aibemu.communicators.ssh.communicator import SshCommunicator
from aibemu.communicators.ssh.keys import generate
from aibemu.fabric.handle import Platform
from aibemu.fabric.identity import fresh_identity
from aibemu.fabric.vm import ImageReference, Nic, VirtualMachine
from aibemu.hypervisor import AZURE_SMBIOS, DriverFolders, Firmware, MachineSpec, Wire
from aibemu.images import BaseImage
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from aibemu.systems.linux.dvd import write_dvd
from aibemu_drivers.qemu import QemuDriver
from tests.e2e.lab import PlainMachine
from tests.e2e.platform import own_address
from tests.nocloud import generic_variant

MB = 1_000_000
Run = Callable[[str], str]


class Server(BaseHTTPRequestHandler):
    """GET /N: N bytes. POST: takes all."""

    def do_GET(self) -> None:
        left = int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        block = bytes(1 << 20)
        while left:
            left -= self.wfile.write(block[: min(left, len(block))])

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def wired(base: BaseImage, folder: Path) -> Iterator[tuple[Run, Platform]]:
    """A machine on a wire; what runs a command in it, and its platform."""
    who = fresh_identity("packer", random.Random())
    folder.mkdir()
    key = generate(folder)
    vm = VirtualMachine(
        vm_id=who.vm_id, name=who.hostname, computer_name=who.hostname, admin_username=who.user,
        public_keys=(key.public_line,), subscription_id="s", tenant_id="t", resource_group="g", location="l",
        vm_size="s", generation="V1", image=ImageReference(),
        nic=Nic(mac=who.mac, address=IPv4Address("10.0.0.4"), subnet=IPv4Network("10.0.0.0/24")),
    )  # fmt: skip
    write_dvd(folder / "dvd.iso", vm)
    with contextlib.ExitStack() as stack:
        platform = Platform.start(folder / "platform", vm, journal=folder / "journal", offline=False)
        stack.callback(platform.stop)
        platform.await_listening(forever())
        link = platform.link
        wire = Wire(nic=link.nic, uplink=link.uplink, subnet=vm.nic.subnet, address=vm.nic.address)
        machine = QemuDriver({}, DriverFolders(cache=folder / "cache", runs=folder)).create(
            MachineSpec(
                id="bench-network", owner="bench", directory=folder / "machine", base=base.path, base_format="qcow2",
                disk_bytes=base.virtual_size, firmware=Firmware.BIOS, cpus=2, memory_mib=1024, uuid=vm.smbios_uuid,
                mac=who.mac, cdroms=(folder / "dvd.iso",), wire=wire, smbios=AZURE_SMBIOS,
            )
        )  # fmt: skip
        stack.callback(machine.destroy)
        machine.start()
        bound = forever().within(600)
        platform.wait_for_verdict(bound, lambda: None)
        login = Credentials(user=who.user, key_file=key.private)
        communicator = SshCommunicator.connect(
            *machine.endpoint(22), login, deadline=bound, alive=lambda: None, generation=lambda: 0
        )  # fmt: skip
        stack.callback(communicator.close)
        yield lambda command: communicator.output(command, deadline=forever())[1], platform


def measure(run: Run, url: str, size: int) -> tuple[float, float]:
    """MB/s to the guest and from it."""
    down = run(f"curl -s -o /dev/null -w '%{{speed_download}}' {url}/{size}")
    up = run(
        f"head -c {size} /dev/zero | curl -s -o /dev/null -w '%{{speed_upload}}' -X POST -H Expect: "
        f"-H 'Content-Length: {size}' --data-binary @- {url}/"
    )
    return float(down) / MB, float(up) / MB


def cpu_seconds(platform: Platform) -> float:
    """What the platform's process has had of the CPU so far."""
    assert platform.process is not None
    fields = Path(f"/proc/{platform.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(base: BaseImage, home: Home, rounds: int, size: int) -> None:
    address = own_address()
    if address is None:
        raise SystemExit("this host has no address but its loopback's, which guests cannot reach")
    server = ThreadingHTTPServer((address, 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://{address}:{server.server_address[1]}"
    results: dict[str, list[tuple[float, float]]] = {"wire": [], "plain": []}
    with tempfile.TemporaryDirectory(prefix="aibemu-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        plain = PlainMachine(generic_variant(base, home), "qcow2", folder / "plain", "plain")
        stack.callback(plain.close)
        run, platform = stack.enter_context(wired(base, folder / "wired"))
        plain.connect()
        for guest in (run, plain.ok):
            guest("cloud-init status --wait > /dev/null; true")
        before = cpu_seconds(platform)
        for _ in range(rounds):
            results["wire"].append(measure(run, url, size))
            results["plain"].append(measure(plain.ok, url, size))
        used = cpu_seconds(platform) - before
    server.shutdown()
    report(results, used / (2 * rounds * size / MB))


def report(results: dict[str, list[tuple[float, float]]], cpu_per_mb: float) -> None:
    print("MB/s (minimum, median, maximum)")
    medians: dict[tuple[str, int], float] = {}
    for index, direction in enumerate(("to the guest", "from the guest")):
        for name, pairs in results.items():
            rates = [pair[index] for pair in pairs]
            medians[name, index] = statistics.median(rates)
            print(f"  {direction:<15} {name:<6} {min(rates):7.1f} {medians[name, index]:7.1f} {max(rates):7.1f}")
        print(f"  {direction:<15} plain/wire {medians['plain', index] / medians['wire', index]:.2f}")
    print(f"the platform's process: {cpu_per_mb * 1000:.1f} ms of CPU for each MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=100)
    parser.add_argument("--home", type=Path, default=os.environ.get("AIBEMU_TEST_HOME"))
    options = parser.parse_args()
    if options.home is None:
        raise SystemExit("say where the base image is: --home or AIBEMU_TEST_HOME")
    home = Home.at(options.home)
    store: Any = ImageStore(home.images, SystemClock())
    compare(store.get("debian-12"), home, options.rounds, options.mib << 20)


if __name__ == "__main__":
    main()
