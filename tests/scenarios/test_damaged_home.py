"""Each kind of file of a home, damaged in many ways, under each verb: an error with a name, or the rest works.

Never a traceback, never an exit code that says so.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aibemu.cli import main
from aibemu.cli.app import App
from aibemu.clock import SystemClock
from aibemu.cloud.local import LocalCloud
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from aibemu.runs.store import RunStore
from aibemu.testing.clock import FakeClock
from tests.unit.layers.conftest import layer

TEMPLATE = {
    "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01", "location": "westeurope",
    "name": "web",
    "identity": {
        "type": "UserAssigned",
        "userAssignedIdentities": {
            "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers"
            "/Microsoft.ManagedIdentity/userAssignedIdentities/builder": {}
        },
    },
    "properties": {
        "source": {
            "type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12",
            "version": "0.20260101.1",
        },
        "customize": [{"type": "Shell", "name": "Install", "inline": ["true"]}],
        "distribute": [{"type": "VHD", "runOutputName": "out"}],
    },
}  # fmt: skip
# More of them find more: AIBEMU_DAMAGES=2000.
EXAMPLES = int(os.environ.get("AIBEMU_DAMAGES", "60"))
GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g"
COMPUTE = f"{GROUP}/providers/Microsoft.Compute"
DEFINITION = f"{COMPUTE}/galleries/gal/images/def"

VERBS: Sequence[Sequence[str]] = (
    ("status",), ("status", "@RUN@"), ("logs", "@RUN@"), ("logs", "--events", "@RUN@"), ("logs", "--platform", "@RUN@"),
    ("logs", "--findings", "@RUN@"), ("logs", "--step", "Install", "@RUN@"), ("outputs", "@RUN@"), ("resume", "@RUN@"),
    ("cancel", "@RUN@"), ("destroy", "@RUN@"), ("shell", "@RUN@"), ("exec", "@RUN@", "true"),
    ("clean", "--all", "--yes"), ("cache", "list"), ("cache", "prune", "--all"), ("images", "list"),
    ("images", "show", "Debian:debian-12:12:latest"), ("images", "show", "gold"), ("images", "alias", "gold", "silver"),
    ("images", "remove", "gold"),
    ("drivers",), ("explain",), ("validate", "@TEMPLATE@"), ("plan", "@TEMPLATE@"),
    ("run", "@TEMPLATE@", "--driver", "dryrun", "--cache"),
)  # fmt: skip

BOMB = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
CONTENTS: Sequence[bytes] = (
    b"", b" \n", b"{", b"[" * 200_000, b'{"a":' * 50_000, b"null", b"[]", b"{}", b'"text"', b"7", b"NaN", b"true",
    b'{"v": NaN}', b'{"version": ' + b"9" * 6000 + b"}", b'{"size": 1e999}', b'{"a": 1, "a": 2}', bytes(range(256)) * 4,
    b'{"tag": "\\ud800"}', b"\xff\xfe{\x00}\x00", b"driver: 2020-99-99\n", b"driver: qemu\ndriver: dryrun\n",
    f"a0: &a0 [x]\n{BOMB}driver: *a19\n".encode(), b"driver: &a [*a]\n", b"cache_size: " + b"9" * 6000,
    b"memory_cap_mib: \xc2\xb2\n", b"cache_age: 999999w\nboot_timeout: .nan\n", b"suppress: [{id: W37, reason: *x}]\n",
    b"{}\n{\x00\n" + b"x" * 70_000, b"- - - -\n", b"!!python/object:os.system {}\n", b"? {}\n: 1\n",
)  # fmt: skip
VALUES: Sequence[Any] = (None, [], {}, "", "x", "../..", "\0", -1, 7, 10**18, 0.5, True, [None], {"a": []}, "é" * 300)


@dataclass(frozen=True)
class Damage:
    """What happens to a file: `how`, with a number that chooses the place or the content."""

    how: str
    where: int
    value: int

    def do(self, path: Path) -> None:
        content = path.read_bytes()
        if self.how in ("folder", "loop", "nowhere", "fifo"):
            path.unlink()
            if self.how == "folder":
                path.mkdir()
            elif self.how == "fifo":
                os.mkfifo(path)
            else:
                path.symlink_to(path.name if self.how == "loop" else "not there")
        elif self.how == "cut":
            path.write_bytes(content[: self.where % (len(content) + 1)])
        elif self.how == "flip" and content:
            at = self.where % len(content)
            path.write_bytes(content[:at] + bytes([self.value]) + content[at + 1 :])
        elif self.how == "content":
            path.write_bytes(CONTENTS[self.where % len(CONTENTS)])
        elif self.how == "leaf":
            path.write_bytes(self._other_leaf(content))

    def _other_leaf(self, content: bytes) -> bytes:
        """One value of the JSON, or of one line of it, replaced or left out."""
        lines = content.splitlines() if b"\n{" in content else [content]
        number = self.value % max(1, len(lines))
        try:
            value = json.loads(lines[number])
        except (ValueError, IndexError):
            return content + b"\nsilly: ["
        places = list(_places(value))
        if not places:
            return b"[]"
        holder, key = places[self.where % len(places)]
        if self.value % 5 == 0:
            del holder[key]
        else:
            holder[key] = VALUES[self.value % len(VALUES)]
        lines[number] = json.dumps(value, separators=(",", ":")).encode()
        return b"\n".join(lines) + b"\n"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in list(pairs):
        yield value, key
        yield from _places(below)


def _aibemu(home: Path, clock: Any, *words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "_new_app", lambda: App(home=Home.at(home), clock=clock))
        patch.delenv("CI", raising=False)
        return main.run(words)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, stored_images: Path) -> Path:
    """A folder with a template, and a home that has one of each kind of file."""
    folder = tmp_path_factory.mktemp("pristine")
    home = Home.at(folder / "home")
    shutil.copytree(stored_images, home.images, ignore=shutil.ignore_patterns("tmp", "locks", "*.qcow2"))
    (home.images / "blobs").mkdir(exist_ok=True)
    for blob in (stored_images / "blobs").glob("*.qcow2"):
        if blob.stat().st_size < 1 << 20:
            (home.images / "blobs" / blob.name).hardlink_to(blob)
    clock = FakeClock()
    store = ImageStore(home.images, clock)
    image = store.images()[0]
    store.set_alias("gold", image.digest)
    cloud = LocalCloud(home.cloud, clock)
    common: Mapping[str, Any] = {"location": "westeurope", "info": image.info}
    what: Mapping[str, Any] = {"digest": image.digest, "tags": {"a": "b"}, "source_id": "s"}
    cloud.put_managed_image(f"{COMPUTE}/images/managed", **common, **what)
    cloud.ensure_definition(DEFINITION, **common)
    cloud.put_image_version(f"{DEFINITION}/versions/1.0.0", info=image.info, replicas=(), **what)
    from aibemu.layers.store import LayerStore

    layer(LayerStore(home.layers), "a")
    home.config.mkdir()
    (home.config / "config.yaml").write_text("driver: dryrun\ncache_size: 1G\nidentities: [a=b]\n")
    (folder / ".aibemu.yaml").write_text("suppress:\n  - id: W37\n    reason: none here\n")
    (folder / "web.json").write_text(json.dumps(TEMPLATE))
    assert _aibemu(folder / "home", clock, "run", str(folder / "web.json"), "--driver", "dryrun") == 0
    (run,) = RunStore(home.runs).runs()
    entry = {
        "at": "2026-11-23T10:00:00.1Z", "service": "imds", "method": "GET", "target": "/", "agent": "WALinuxAgent",
        "headers": {}, "body": "", "status": 404, "answer": "no", "seconds": 0.1,
    }  # fmt: skip
    run.platform_journal("build").write_text(json.dumps(entry) + "\n")
    (run.platform / "build").mkdir(parents=True)
    (run.platform / "build" / "platform.json").write_text(json.dumps({"sockets": str(folder), "process": None}))
    (run.machines / "build").mkdir(parents=True)
    record = {"driver": "dryrun", "spec": {"id": f"{run.id}-build"}, "state": "running"}
    (run.machines / "build" / "machine.json").write_text(json.dumps(record))
    (run.directory / "admission.json").write_text('{"memory_mib": 512}')
    return folder


def files_of(folder: Path) -> list[Path]:
    """All but what is content, not record."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in (".qcow2", ".vhd"))
    return [path.relative_to(folder) for path in found if path.suffix != ".memory" and path.name != "ended"]


damages = st.builds(
    Damage, st.sampled_from(["content", "leaf", "leaf", "leaf", "cut", "flip", "folder", "loop", "nowhere", "fifo"]),
    st.integers(0, 2000), st.integers(0, 255),
)  # fmt: skip


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 10**6), damages, st.sampled_from(VERBS), st.booleans())
def test_a_damaged_file_is_no_bug(
    pristine: Path, capsys: pytest.CaptureFixture[str], which: int, damage: Damage, verb: Sequence[str], ended: bool
) -> None:
    files = files_of(pristine)
    with tempfile.TemporaryDirectory(dir=pristine.parent) as name:
        folder = Path(name) / "it"
        shutil.copytree(pristine, folder, copy_function=_link_content)
        (run,) = RunStore(folder / "home" / "runs").runs()
        if ended:
            run.note_end()
        else:
            run.ended_file.unlink(missing_ok=True)
        damaged = files[which % len(files)]
        damage.do(folder / damaged)
        told = {"@RUN@": run.id, "@TEMPLATE@": str(folder / "web.json")}
        capsys.readouterr()
        code = _aibemu(folder / "home", FakeClock(), *(told.get(word, word) for word in verb))
        said = capsys.readouterr()
        assert 0 <= code < 6, (code, str(damaged), said.err)
        assert "Traceback" not in said.err + said.out and "bug in aibemu" not in said.err, said.err


def _link_content(source: str, target: str) -> object:
    if source.endswith((".qcow2", ".memory", ".vhd")):
        os.link(source, target)
        return target
    return shutil.copy2(source, target)


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    ("file", "verb"),
    [
        ("images/aliases.json", ("images", "list")), ("images/records/*.json", ("images", "list")),
        ("cloud/**/images/managed/resource.json", ("validate", "@TEMPLATE@")),
    ],
)  # fmt: skip
def test_one_damaged_record_is_set_aside_and_told_once(
    pristine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, verb: Sequence[str]
) -> None:
    folder = tmp_path / "it"
    shutil.copytree(pristine, folder, copy_function=_link_content)
    damaged = sorted((folder / "home").glob(file))[0]
    damaged.write_bytes(b"\xff{")
    capsys.readouterr()
    if "cloud" in file:
        LocalCloudUser(folder / "home").look()
        assert not damaged.exists() and damaged.with_name("resource.json.damaged").exists()
        return
    assert _aibemu(folder / "home", SystemClock(), *verb) == 0
    said = capsys.readouterr()
    assert said.err.count(f"{damaged} was damaged") == 1 and damaged.with_name(f"{damaged.name}.damaged").exists()
    assert _aibemu(folder / "home", SystemClock(), *verb) == 0
    assert capsys.readouterr().err == ""


class LocalCloudUser:
    """Looks at the cloud as a build does."""

    def __init__(self, home: Path) -> None:
        self.cloud = LocalCloud(home / "cloud", SystemClock())

    def look(self) -> None:
        with pytest.warns(match="was damaged"):
            assert self.cloud.managed_images() == []
        assert len(self.cloud.versions(DEFINITION)) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_a_home_that_is_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: Sequence[str]
) -> None:
    home = tmp_path / "home"
    home.write_text("mine")
    assert _aibemu(home, SystemClock(), *verb) == 4
    assert f"aibemu cannot keep anything in {home}: a file is there" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["n" * 300, "/".join(["n" * 200] * 30)])
def test_a_home_that_no_file_system_has_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert _aibemu(tmp_path / name, SystemClock(), "status") == 4
    said = capsys.readouterr().err
    assert "File name too long" in said and len(said) < 3000
