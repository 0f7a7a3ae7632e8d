"""How fast does a file get into a guest with WinRM: fetched by the guest, sent piece by piece, and in Packer's way?

    .venv/bin/python -m tests.bench.bench_winrm_upload [--rounds 3] [--mb 100] [--json]

The "guest" is the WinRM server of our tests with a real PowerShell behind it, on the loopback; the platform that it
fetches from is served here, too. Packer's way (winrmcp) is played by our communicator: `echo BASE64 >> FILE` with
5,958 bytes in each command and 15 commands in each shell; of that a part of the file is enough. They take turns. Prints
MB/s with minimum, median and maximum, and ratios of the medians. Asserts no time.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aibemu.clock import SystemClock, forever
from aibemu.communicators import Access
from aibemu.communicators.factory import Watch
from aibemu.communicators.winrm.communicator import WinrmCommunicator
from aibemu.communicators.winrm.wire import Wire
from aibemu.fabric.depot import DepotService, LendingFolder
from aibemu.fabric.journal import Journal
from aibemu.fabric.server import listen
from fixtures.guests.build import Engine
from fixtures.guests.machine import WindowsMachine
from fixtures.guests.winrm.certificate import make_certificate
from fixtures.guests.winrm.server import WinrmServer
from tests import judges
from tests.winrm_guests import PASSWORD, USER, access_to

MB = 1_000_000
FETCHED, PIECES, PACKER = "fetched by the guest", "sent piece by piece", "Packer's way"
# How much of the file each gets: the rate is what counts.
SHARES = {FETCHED: 1.0, PIECES: 0.1, PACKER: 0.003}
CHUNK, CHUNKS = 5958, 15
Samples = dict[str, list[float]]


@contextmanager
def serving(folder: Path, engine: Engine) -> Iterator[tuple[WindowsMachine, Access, LendingFolder]]:
    """A guest, how to get in, and what it fetches from."""
    with ExitStack() as stack:
        machine = stack.enter_context(WindowsMachine(engine))
        certificate = make_certificate(folder)
        server = stack.enter_context(WinrmServer(machine, user=USER, password=PASSWORD, certificate=certificate))
        journal = Journal(folder / "journal", SystemClock())
        stack.callback(journal.close)
        depot = listen(DepotService(folder / "depot"), journal, SystemClock(), lambda client, server: True)
        stack.callback(depot.close)
        lending = LendingFolder(folder / "depot", f"http://127.0.0.1:{depot.port}")
        yield machine, access_to(server, certificate, folder), lending


def packers_way(access: Access, content: bytes) -> None:
    """What winrmcp does with the content of a file, without the PowerShell calls at its end."""
    wire = Wire(
        access.host, access.port, USER, PASSWORD, method="ntlm", certificate=access.credentials.certificate,
        operation=60, patience=60,
    )  # fmt: skip
    chunks = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)]
    for first in range(0, len(chunks), CHUNKS):
        shell = wire.open_shell()
        for chunk in chunks[first : first + CHUNKS]:
            command = wire.start(shell, f'echo {base64.b64encode(chunk).decode()} >> "C:\\packer.tmp"', piped=False)
            while (code := wire.receive(shell, command).exit_code) is None:
                pass
            assert code == 0
            wire.terminate(shell, command)
        wire.delete(shell)
    wire.close()


@contextmanager
def contestants(access: Access, depot: LendingFolder) -> Iterator[dict[str, Callable[[bytes], None]]]:
    """Each as a function of a content."""
    fetching, sending = (WinrmCommunicator(access, Watch(depot=one)) for one in (depot, None))
    for guest in (fetching, sending):
        guest.reconnect(forever())
    yield {
        FETCHED: lambda content: fetching.write(content, "C:\\file.bin", deadline=forever()),
        PIECES: lambda content: sending.write(content, "C:\\file.bin", deadline=forever()),
        PACKER: lambda content: packers_way(access, content),
    }
    fetching.close()
    sending.close()


def measure(rounds: int, megabytes: int, engine: Engine) -> Samples:
    """MB/s of each, in each round."""
    samples: Samples = {name: [] for name in SHARES}
    content = random.Random(1).randbytes(megabytes * MB)
    with tempfile.TemporaryDirectory(prefix="aibemu-bench-") as name:
        folder = Path(name)
        with serving(folder, engine) as (machine, access, depot), contestants(access, depot) as uploads:
            for number in range(rounds):
                names = list(uploads)
                for who in names[number % len(names) :] + names[: number % len(names)]:
                    part = content[: int(len(content) * SHARES[who])]
                    began = time.monotonic()
                    uploads[who](part)
                    samples[who].append(len(part) / MB / (time.monotonic() - began))
                    if who != PACKER:
                        assert machine.host("C:\\file.bin").read_bytes() == part
    return samples


def report(samples: Samples) -> dict[str, object]:
    """What is printed with --json."""
    medians = {name: statistics.median(values) for name, values in samples.items()}
    return {
        "MB/s": samples,
        "ratios": {f"{FETCHED} : {name}": medians[FETCHED] / medians[name] for name in (PIECES, PACKER)},
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    program = judges.pwsh()
    if program is None:
        parser.error("there is no PowerShell here: put `pwsh` on PATH, or name its folder in AIBEMU_JUDGES_BIN")
    result = report(samples := measure(given.rounds, given.mb, Engine.of(program)))
    if given.json:
        print(json.dumps(result, indent=1))
        return
    for name, values in samples.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:24} {low:8.3f} {middle:8.3f} {high:8.3f} MB/s (minimum, median, maximum)")
    for name, ratio in result["ratios"].items():  # type: ignore[attr-defined]
        print(f"{name}: {ratio:.1f}")


if __name__ == "__main__":
    main()
