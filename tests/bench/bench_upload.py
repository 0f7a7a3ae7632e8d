"""How fast does a file get into a guest, next to OpenSSH's own `scp`?

    .venv/bin/python -m tests.bench.bench_upload [--rounds 9] [--mb 100] [--json]

The "guest" is the sshd of this host, on a loopback port with its own configuration and keys. A file of 100 MB of random
bytes is sent by our communicator, whose connection stays open for a whole build, and by `scp`: as a whole command, and
through a connection that is open already (ControlMaster), which compares nothing but the transfer, with OpenSSH's own
choice of cipher and with ours. They take turns, the first changing each round; each writes the same new file, which is
compared. Prints MB/s with minimum, median and maximum, and ratios. Asserts no time.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import pwd
import random
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aibemu.clock import forever
from aibemu.communicators import Credentials
from aibemu.communicators.ssh.communicator import SshCommunicator
from aibemu.communicators.ssh.keys import generate

MB = 1_000_000
SSHD = "/usr/sbin/sshd"
OURS, SCP, OPEN_SCP, GCM_SCP = "ours", "scp", "scp, connection open", "the same with AES-GCM"
MASTERS = {OPEN_SCP: "", GCM_SCP: "aes128-gcm@openssh.com"}  # name -> cipher
Upload = Callable[[Path, Path], None]
Samples = dict[str, list[float]]


@contextmanager
def serving(folder: Path) -> Iterator[tuple[int, Credentials]]:
    """An sshd on a port of the loopback, and who may log in; stopped at the end, with nothing else."""
    pair = generate(folder / "key")
    (folder / "authorized_keys").write_text(pair.public_line + "\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    host_key = folder / "host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key], check=True)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPermitRootLogin prohibit-password\n"
        f"PasswordAuthentication no\nPrintMotd no\nSubsystem sftp internal-sftp\nSetEnv HOME={folder}\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "sshd.log").open("ab") as log:
        server = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", folder / "sshd_config"], stdin=subprocess.DEVNULL, stderr=log
        )  # fmt: skip
        try:
            yield port, Credentials(user=pwd.getpwuid(os.getuid()).pw_name, key_file=pair.private)
        finally:
            server.terminate()
            server.wait(5)


@contextmanager
def contestants(folder: Path, port: int, login: Credentials) -> Iterator[dict[str, Upload]]:
    """Each as a function of source and target."""
    options = [
        "-F", "none", "-i", str(login.key_file), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
        "-o", f"UserKnownHostsFile={folder / 'known_hosts'}", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
    ]  # fmt: skip
    at = f"{login.user}@127.0.0.1"

    def scp(source: Path, target: Path, *more: str) -> None:
        subprocess.run(["scp", "-q", *options, *more, "-P", str(port), source, f"{at}:{target}"], check=True)

    def through(control: Path) -> Upload:
        return lambda source, target: scp(source, target, "-o", f"ControlPath={control}")

    with ExitStack() as stack:
        ours = SshCommunicator.connect("127.0.0.1", port, login, deadline=forever().within(30))
        stack.callback(ours.close)
        found: dict[str, Upload] = {
            OURS: lambda source, target: ours.upload(source, str(target), deadline=forever()), SCP: scp,
        }  # fmt: skip
        for number, (name, cipher) in enumerate(MASTERS.items()):
            control = folder / f"control{number}"
            more = ["-c", cipher] if cipher else []
            master = subprocess.Popen(
                ["ssh", *options, *more, "-o", f"ControlPath={control}", "-M", "-N", "-p", str(port), at]
            )  # fmt: skip
            stack.callback(master.wait, 5)
            stack.callback(master.terminate)
            wait_for(control)
            found[name] = through(control)
        yield found


def wait_for(path: Path) -> None:
    for _ in range(200):
        if path.exists():
            return
        time.sleep(0.05)
    raise RuntimeError(f"{path} did not appear")


def compare(folder: Path, rounds: int, size: int) -> Samples:
    """Rates in MB/s."""
    source, target = folder / "source", folder / "target"
    source.write_bytes(random.Random(20).randbytes(size))
    with serving(folder) as (port, login), contestants(folder, port, login) as uploads:
        samples: Samples = {name: [] for name in uploads}
        names = list(uploads)
        for number in range(rounds + 1):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                target.unlink(missing_ok=True)
                os.sync()
                started = time.perf_counter()
                uploads[name](source, target)
                taken = time.perf_counter() - started
                if not filecmp.cmp(source, target, shallow=False):
                    raise RuntimeError(f"{name} wrote something else")
                if number > 0:  # the first round warms up
                    samples[name].append(size / MB / taken)
    return samples


def ratios(samples: Samples, other: str) -> list[float]:
    """How many times the other's rate ours is, in each round."""
    return [mine / theirs for mine, theirs in zip(samples[OURS], samples[other], strict=True)]


def of_medians(samples: Samples, other: str) -> float:
    return statistics.median(samples[OURS]) / statistics.median(samples[other])


def report(samples: Samples) -> None:
    print(f"{'MB/s':22} {'min':>8} {'median':>8} {'max':>8}")
    for name, rates in samples.items():
        print(f"{name:22} {min(rates):8.1f} {statistics.median(rates):8.1f} {max(rates):8.1f}")
    for other in (SCP, *MASTERS):
        found = ratios(samples, other)
        print(
            f"ours / {other}: {of_medians(samples, other):.2f} of the medians; by rounds {min(found):.2f}"
            f" {statistics.median(found):.2f} {max(found):.2f} (minimum, median, maximum)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not Path(SSHD).exists():
        raise SystemExit(f"no {SSHD} on this host (apt-get install openssh-server)")
    with tempfile.TemporaryDirectory(prefix="aibemu-bench-") as name:
        samples = compare(Path(name), options.rounds, options.mb * MB)
    if options.json:
        compared = {
            other: {"rounds": ratios(samples, other), "medians": of_medians(samples, other)}
            for other in (SCP, *MASTERS)
        }
        print(json.dumps({"mb_per_second": samples, "ours": compared}))
    else:
        report(samples)


if __name__ == "__main__":
    main()
