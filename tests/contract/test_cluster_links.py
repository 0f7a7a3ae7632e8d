"""How aibemu gets to a cluster: Dask's TLS, and Dask's SSHCluster with a real sshd."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from aibemu.clock import Deadline, SystemClock
from aibemu.cluster.connecting import Where, connected
from aibemu.communicators.ssh.keys import generate
from aibemu.errors import HostNotReady
from aibemu.paths import Home
from aibemu.runs.store import RunStore
from tests.contract.test_ssh_sshd import SSHD, start_sshd, stop
from tests.scenarios.cluster.processes import PATIENCE, Processes

CASE = Path(__file__).parents[1] / "scenarios/cases/gallery-latest/template.json"


def make_certificates(folder: Path) -> Path:
    """`ca.pem`, `cert.pem` and `key.pem` of an authority of its own."""
    folder.mkdir()
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = {who: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)]) for who in ("authority", "lab")}
    now = datetime.now(UTC)
    for file, who, key, is_ca in (("ca.pem", "authority", authority, True), ("cert.pem", "lab", own, False)):
        certificate = (
            x509.CertificateBuilder().subject_name(names[who]).issuer_name(names["authority"])
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=12))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .sign(authority, hashes.SHA256())
        )  # fmt: skip
        (folder / file).write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder


def deadline() -> Deadline:
    return Deadline(clock=SystemClock())


def test_tls_lets_in_who_has_a_certificate_of_the_authority(tmp_path: Path) -> None:
    ours, others = make_certificates(tmp_path / "ours"), make_certificates(tmp_path / "others")
    tls = (
        "--tls-ca-file", str(ours / "ca.pem"), "--tls-cert", str(ours / "cert.pem"), "--tls-key", str(ours / "key.pem"),
    )  # fmt: skip
    (tmp_path / "cluster").mkdir()
    processes = Processes(folder=tmp_path / "cluster", more=tls)
    try:
        address = processes.start_scheduler("--protocol", "tls")
        assert address.startswith("tls://")
        processes.start_worker("one")
        with connected(Where(scheduler=address, tls=ours), deadline=deadline(), warn=print) as cluster:
            assert list(cluster.workers(deadline())) == ["one"]
        for folder, there in ((others, address), (None, address.replace("tls://", "tcp://"))):
            with (
                pytest.raises(HostNotReady, match="no Dask scheduler answers"),
                connected(Where(scheduler=there, tls=folder), deadline=deadline(), warn=print),
            ):
                raise AssertionError("a stranger got in")
    finally:
        processes.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    """A folder that is the home of a user here, who gets into this host by SSH, and there."""
    if not Path(SSHD).exists():
        pytest.skip("no sshd")
    folder = tmp_path / "lab"
    (folder / ".ssh").mkdir(parents=True, mode=0o700)
    pair = generate(folder / "key")
    (folder / "authorized_keys").write_text(pair.public_line + "\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    with ExitStack() as at_the_end:
        at_the_end.callback(stop, start_sshd(folder, port))
        public = (folder / "host_key.pub").read_text().split()
        (folder / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
        (folder / ".ssh" / "config").write_text(
            f"Host *\n  Port {port}\n  User {pwd.getpwuid(os.getuid()).pw_name}\n  IdentityFile {pair.private}\n"
        )
        yield folder


def test_a_build_on_a_host_that_is_reached_by_ssh(lab: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aibemu", "run", str(CASE), "--hosts", "127.0.0.1", "--driver", "dryrun"],
        env={**os.environ, "HOME": str(lab), "AIBEMU_HOME": str(tmp_path / "home")}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=2 * PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no TLS: whoever on the network reaches the scheduler on 127.0.0.1" in done.stderr
    assert "nothing was run, nothing was written" in done.stdout
    (run,) = RunStore(Home.at(tmp_path / "home").runs).runs()
    assert run.finished()
    kept = list(lab.rglob("events.ndjson"))
    assert len(kept) == 1, "the worker's own record is in the home of its user"
