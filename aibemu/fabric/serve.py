"""The process that is one machine's platform: `python -m aibemu.fabric.serve DIRECTORY`.

It reads `platform.json` in DIRECTORY and a JSON list of secrets on standard input, says what happens as JSON lines on
standard output (`{"event": "listening"}`, then the guest's verdict on its provisioning) and ends on SIGTERM, or by
itself when DIRECTORY is gone. It outlives whoever started it: a machine that is kept needs its network.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from aibemu.clock import Clock, SystemClock
from aibemu.fabric.depot import DepotService
from aibemu.fabric.dns import Names
from aibemu.fabric.gateway import Gateway, ServicePorts
from aibemu.fabric.health import HealthReport
from aibemu.fabric.hostgaplugin import HostGaPlugin
from aibemu.fabric.imds import Imds
from aibemu.fabric.journal import LARGEST, Journal
from aibemu.fabric.link import Link
from aibemu.fabric.peers import Address, held_by
from aibemu.fabric.pump import Port, Pump
from aibemu.fabric.server import listen
from aibemu.fabric.vm import VirtualMachine
from aibemu.fabric.wireserver import WireServer
from aibemu.holes import KEPT, keep_end
from aibemu.records import parse_json, read_json
from aibemu.sockets import remove_socket_directory

RECORD = "platform.json"
# The folder beside it of what is lent to the guest.
DEPOT = "depot"
# Seconds between two looks whether the directory is still there.
LOOK = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bytes of what the platform writes, or keeps small."""

    # Of the journal; 0 for no bound.
    journal: int = LARGEST
    # At the end of the machine's console.
    console: int = KEPT


class Announcer:
    """JSON lines to whoever started this process, for as long as somebody listens."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._judged = self._asked = False

    def __call__(self, event: str, /, **fields: Any) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(json.dumps({"event": event, **fields}) + "\n")
            self._stream.flush()

    def address(self) -> None:
        """Tell the first time that the guest asks for its address."""
        with self._lock:
            first, self._asked = not self._asked, True
        if first:
            self("address")

    def health(self, report: HealthReport) -> None:
        """Tell the first that is a verdict; a guest may report without end."""
        with self._lock:
            first, self._judged = not self._judged, self._judged or report.ready or report.failed
        if first and self._judged:
            self("verdict", **asdict(report))


def serve(directory: Path, secrets: Iterable[str], announce: Announcer, clock: Clock) -> None:
    """Be the platform of the machine that `directory` describes, until told to end."""
    record = read_json(directory / RECORD)
    vm = VirtualMachine.from_json(record["vm"])
    sockets = Path(record["sockets"])
    pump = Pump(Link.below(sockets))
    console = Path(record["console"]) if record.get("console") else None
    bounds = Bounds(**record.get("bounds", {}))
    signal.signal(signal.SIGTERM, lambda number, frame: pump.stop())
    threading.Thread(
        target=_watch, args=(directory, pump, clock, console, bounds.console), name="watch", daemon=True
    ).start()
    journal = Journal(Path(record["journal"]), clock, secrets, largest=bounds.journal)
    gateway = Gateway(
        vm.nic, _listen(vm, journal, clock, pump.guest, announce, directory / DEPOT), offline=bool(record["offline"]),
        names=Names(host=vm.computer_name, domain=vm.dns_suffix), to_guest=pump.guest.send,
        to_outside=pump.outside.send, on_address=announce.address,
    )  # fmt: skip
    announce("listening")
    pump.run(gateway.from_guest, gateway.from_outside)
    # The services' threads end with the process: closing them in order would hold up whoever waits for its end.
    pump.close()
    journal.close()
    if not (directory / RECORD).exists():  # nobody is left who would
        remove_socket_directory(sockets, directory)


def _listen(
    vm: VirtualMachine, journal: Journal, clock: Clock, guest: Port, announce: Announcer, depot: Path
) -> ServicePorts:
    def trusted(client: Address, server: Address) -> bool:
        """Whether a connection was opened by the process that the guest's frames come from."""
        process = guest.process
        return process is not None and held_by(process, client, server)

    services = (Imds(vm, clock), WireServer(vm, announce.health), HostGaPlugin(), DepotService(depot))
    imds, wire, plugin, lending = (listen(service, journal, clock, trusted).port for service in services)
    return ServicePorts(imds=imds, wire=wire, plugin=plugin, depot=lending)


def _watch(directory: Path, pump: Pump, clock: Clock, console: Path | None, kept: int) -> None:
    """Until nobody needs the platform any more. This process lives as long as the machine, so it is the one that keeps
    the machine's console from filling the disk, also of a machine that was kept or whose build died."""
    never = threading.Event()
    while (directory / RECORD).exists():
        if console is not None:
            keep_end(console, kept)
        clock.wait(never, LOOK)
    pump.stop()


def main(words: list[str]) -> None:
    """The entry point. Ctrl-C is for the process that owns this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Path(words[0]), parse_json(sys.stdin.read()), Announcer(sys.stdout), SystemClock())


def record_of(
    vm: VirtualMachine,
    *,
    sockets: Path,
    journal: Path,
    offline: bool,
    process: Mapping[str, Any] | None,
    console: Path | None = None,
    bounds: Bounds | None = None,
) -> dict[str, Any]:
    """What `platform.json` holds."""
    return {
        "vm": vm.as_json(), "sockets": str(sockets), "journal": str(journal), "offline": offline,
        "process": None if process is None else dict(process), "console": console and str(console),
        "bounds": asdict(bounds or Bounds()),
    }  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
