"""Targets: files that people write for aibemu, and files that aibemu wrote itself."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

from aibemu.cli.app import App
from aibemu.cli.main import run as run_program
from aibemu.cli.request_file import read_request
from aibemu.clock import SystemClock
from aibemu.cloud import documents
from aibemu.cloud.ids import ResourceId, parse_id
from aibemu.engine.machines.boot_times import BootTimes
from aibemu.engine.preparing.options import BuildOptions
from aibemu.events import Event, Kind
from aibemu.fabric.handle import Platform
from aibemu.fabric.identity import Identity
from aibemu.hypervisor import Frozen
from aibemu.images import Generation, ImageInfo, Provisioning, catalogue, recipes
from aibemu.layers import FrozenState, Layer
from aibemu.layers.history import History
from aibemu.paths import Home
from aibemu.redact import Redactor
from aibemu.runs.record import RecordReader
from aibemu.runs.store import Run
from aibemu.settings import Settings
from aibemu.submission import suppressions
from aibemu.submission.examine import examine
from aibemu.submission.request import Document, TemplateRequest
from aibemu.template.catalogue import RULES
from aibemu.template.catalogue.example import document as example
from tests.campaigns.hunting import Target

_FIXTURES = Path(__file__).parents[2] / "fixtures"
_DIGEST = "ab" * 32
_RUN, _LAYER = "1a2b3c4d", "layer-1"
_AT = "2026-11-29T10:00:00.000Z"
_GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/aibemu/providers/Microsoft.Compute"
_JSON_WORDS = (
    b"null", b"true", b"-1", b"[]", b"{}", b'""', b"NaN", b"1e999", b'"a":', b"[" * 3000, b'{"a":' * 3000, b"9" * 5000,
    b'"\\ud800"', b"\0", b'"..", ', b"99999999999999999999", b"0.5", b'"9999-12-31T23:59:59-12:00"', b"\n",
)  # fmt: skip
_YAML_WORDS = (
    b"- ", b": ", b"? ", b"&a ", b"*a", b"!!python/object:os.system ", b"!!binary ", b"!!timestamp ", b"!!int ",
    b"!!set ",
    b"<<: *a", b"[", b"]", b"{", b"}", b"|\n", b">\n", b"'", b'"', b"# ", b"---\n", b"...\n", b"%YAML 9.9\n", b"~",
    b"null",
    b"2026-13-45", b"0o777", b"1_000:60:60", b".inf", b".nan", b"\t", b"[" * 2000, b"{a: " * 2000, b"- " * 2000, b"=",
    b"12e9999999", b"9" * 5000, b"0x" + b"f" * 5000, b"on", b"\xff\xfe",
)  # fmt: skip


def config(folder: Path) -> Target:
    """YAML that people write; the first byte says which."""
    folder.mkdir(parents=True, exist_ok=True)
    known: Mapping[bytes, tuple[Path, Callable[[Path], object]]] = {
        b"c": (folder / "config.yaml", lambda path: Settings.load(path.parent, {}).describe()),
        b"s": (folder / ".aibemu.yaml", lambda path: suppressions.load_suppressions(Path("t.json"), path.parent)),
        b"r": (folder / "recipe.yaml", lambda path: recipes.read(path).digest),
        b"i": (folder / "catalogue.yaml", catalogue.read),
    }

    def run(content: bytes) -> None:
        path, read = known.get(content[:1], known[b"c"])
        path.write_bytes(content[1:])
        try:
            read(path)
        finally:
            path.unlink()

    settings = "".join(f"{name}: {_plain(value)}\n" for name, value, _, _ in Settings().describe() if value != ())
    seeds = [
        b"c" + settings.encode(),
        b"cmappings: {https://x/: /tmp}\nsubnets: [a/b=10.0.0.0/24]\nsupplied:\n  - reference('x')=1",
        b"csubnets: a=10.0.0.0/24\ncache_age: 3d\ncache_size: 20G\nboot_timeout: 3e2\n",
        b"ssuppress:\n  - id: W37\n    reason: it is so\n    file: 't*.json'\n    path: a.b\n",
        *(b"r" + path.read_bytes() for path in sorted((_FIXTURES / "images").glob("*.yaml"))),
        b"rname: own\nextends: debian-12\nsuite: bookworm\nfiles:\n  - {path: /etc/x, content: a, mode: 0755}\n",
        b"i" + catalogue.BUILT_IN.read_bytes()[:3000].rpartition(b"\n  -")[0] + b"\n",
    ]
    return Target(name="config", run=run, seeds=seeds, words=_YAML_WORDS)


def _plain(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, tuple) else "[]"


def records(folder: Path) -> Target:
    """A home with one damaged record, and the verbs that read it; the first byte says which record."""
    home = _Home(folder)

    def run(content: bytes) -> None:
        kinds = home.kinds
        home.try_one(kinds[(content[0] if content else 0) % len(kinds)], content[1:])

    seeds = [bytes([number]) + home.sound[name] for number, name in enumerate(home.kinds)]
    return Target(name="records", run=run, seeds=seeds, words=_JSON_WORDS)


class _Home:
    """sound: what each of its records has in it. A damaged one is mended after each try."""

    def __init__(self, folder: Path) -> None:
        self.home = Home.at(folder / "home")
        self.run = Run(self.home.runs / _RUN)
        cloud, layers = self.home.cloud, self.home.layers
        image, version = _ids()
        self.paths = {
            "events": self.run.events_file, "machine": self.run.machines / "build" / "machine.json",
            "request": self.run.request_file, "memory": self.run.directory / "admission.json",
            "journal": self.run.platform_journal("build"), "platform": self.run.platform / "build" / "platform.json",
            "aliases": self.home.images / "aliases.json", "image": self.home.images / "records" / f"{_DIGEST}.json",
            "layer": layers / "records" / f"{_LAYER}.json", "said": layers / "files" / "said.json",
            "managed": cloud.joinpath(*image.path_parts()) / "resource.json",
            "version": cloud.joinpath(*version.path_parts()) / "resource.json",
            "times": self.home.cache / "boot-times.json",
        }  # fmt: skip
        self.sound = {name: content.encode() for name, content in _sound().items()}
        self.kinds = tuple(self.sound)
        for name, content in self.sound.items():
            self._write(self.paths[name], content)
        # Over, and cleaned: nothing that a damaged record names is removed.
        self.run.note_end()
        self._write(self.home.images / "blobs" / f"{_DIGEST}.qcow2", b"")
        for name in ("disk.qcow2", "memory"):
            self._write(layers / "files" / name, b"")

    def try_one(self, name: str, content: bytes) -> None:
        path = self.paths[name]
        self._write(path, content)
        try:
            self._read(name, path)
        finally:
            for left in path.parent.glob(f"{path.name}.damaged*"):
                left.unlink()
            self._write(path, self.sound[name])

    def _read(self, name: str, path: Path) -> None:
        match name:
            case "events":
                list(RecordReader(path).after(2))
                self._verbs(("status",), ("status", _RUN), ("logs", _RUN), ("outputs", _RUN), ("logs", "--raw", _RUN))
            case "journal":
                self._verbs(("logs", "--platform", _RUN))
            case "aliases" | "image":
                self._verbs(("images", "list"), ("images", "show", "gold"))
            case "layer":
                self._verbs(("cache", "list"))
            case "managed" | "version":
                self._verbs(("images", "list"))
            case "request":
                self._resume()
            case "said":
                history = History({_LAYER: path})
                history.get(_LAYER)
                history.warnings(_LAYER)
            case "times":
                BootTimes(self.home.cache).note("qemu", 3.0)
            case "platform":
                if platform := Platform.find(path.parent):
                    platform.alive()
                    platform.verdict  # noqa: B018
            case "machine":
                self._machine(path)
            case _:
                self._verbs(("status",))

    def _resume(self) -> None:
        """As far as a build that was typed anew would be checked."""
        request = read_request(self.run, Settings()).template
        place: dict[str, Any] = {"home": self.home, "settings": Settings(check_scripts=False), "clock": SystemClock()}
        if not request.online:
            examine(request, build=True, redactor=Redactor(), **place)

    def _machine(self, path: Path) -> None:
        from aibemu_drivers.records import read_record, spec_from_json

        if record := read_record(path.parent, "qemu"):
            spec_from_json(record["spec"], path.parent)

    def _verbs(self, *verbs: tuple[str, ...]) -> None:
        """Each as a person types it, and for programs."""
        with patch("aibemu.cli.main._unexpected", _raise):
            for words in verbs:
                for more in ((), ("--output", "json")):
                    with _silent():
                        run_program([*words, *more], App(home=self.home))

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _raise(_: App, error: Exception) -> int:
    raise error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _ids() -> tuple[ResourceId, ResourceId]:
    return parse_id(f"{_GROUP}/images/web"), parse_id(f"{_GROUP}/galleries/g/images/d/versions/1.0.0")


def _sound() -> dict[str, str]:
    """Each record as aibemu writes it."""
    image, version = _ids()
    info = ImageInfo(
        os_type="Linux", os_name="Debian", generation=Generation.V1, provisioning=Provisioning.NOCLOUD,
        generalized=True,
        origin="x",
    )  # fmt: skip
    described = {
        "os_type": "Linux", "os_name": "Debian", "generation": "V1", "provisioning": info.provisioning.value,
        "generalized": True, "origin": "x",
    }  # fmt: skip
    local: dict[str, Any] = {
        "location": "westeurope",
        "digest": _DIGEST,
        "info": info,
        "tags": {"a": "b"},
        "source_id": "s",
        "now": _AT,
    }
    replicas = (documents.Replica(region="westeurope"),)
    values: dict[str, Any] = {
        "machine": _machine_record(), "memory": {"memory_mib": 1024, "asking": False},
        "request": _request(), "aliases": {"gold": _DIGEST},
        "image": {
            "digest": _DIGEST, "virtual_size": 1 << 20, "file_size": 4096, "created": _AT, "info": described,
            "sources": ["raw:x"], "labels": {"recipe": "x"},
        },
        "layer": _layer().as_json(), "times": {"qemu": 41.5},
        "said": {"started": {"label": "a"}, "output": [{"stream": "stdout", "line": "b"}], "finished": {},
        "warnings": ["w"]},
        "managed": documents.managed_image(image, **local),
        "version": documents.image_version(
            version, **local, replicas=replicas, exclude_from_latest=False, replication_mode="Full"
        ),
        "platform": {"process": {"pid": 1, "started": 2, "boot": "b"}, "sockets": "/nowhere", "journal": "x",
        "offline": False},
    }  # fmt: skip
    entry = {
        "at": _AT, "service": "imds", "method": "GET", "target": "/x", "agent": "curl", "headers": {}, "body": "",
        "status": 404, "answer": "no", "seconds": 0.001,
    }  # fmt: skip
    lines = [event.as_json() for event in _events()]
    texts = {name: json.dumps(value) for name, value in values.items()}
    return {
        "events": "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines),
        "journal": json.dumps(entry) + "\n" + json.dumps({"full": "x"}) + "\n", **texts,
    }  # fmt: skip


def _request() -> dict[str, Any]:
    bad = next(rule.good for rule in RULES if not rule.good.files)
    document = Document(text=example(bad), name="t.json", base=Path("/nowhere"))
    request = TemplateRequest(document=document, folder=Path("/nowhere"), disabled=("W38",))
    return BuildOptions(template=request, subscription_id="s", resource_group="g").to_json()


def _machine_record() -> dict[str, Any]:
    spec = {
        "id": "m", "owner": _RUN, "directory": "/x", "base": "/x/base", "base_format": "qcow2", "disk_bytes": 1 << 20,
        "firmware": "bios", "cpus": 1, "memory_mib": 1024, "uuid": str(UUID(int=7)), "mac": "00:0d:3a:01:02:03",
        "cdroms": [], "guest_ports": [22], "wire": None, "smbios": None, "labels": {}, "frozen": None,
    }  # fmt: skip
    return {"driver": "qemu", "spec": spec}


def _layer() -> Layer:
    identity = Identity(hostname="h", user="packer", vm_id=UUID(int=7), mac="00:0d:3a:01:02:03")
    made, files = datetime(2026, 11, 29, tzinfo=UTC), Path("/files")
    return Layer(
        id=_LAYER, label="provisioned", made=made, run=_RUN, template="web", image=_DIGEST, boot="b",
        frozen=Frozen(disks=(files / "disk.qcow2",), memory=files / "memory"),
        state=FrozenState(identity=identity, system={"session": 12}), said={_LAYER: files / "said.json"},
        past={"older": (made, _RUN)},
    )  # fmt: skip


def _events() -> list[Event]:
    """One of each kind that is read."""
    step = {"id": "c1", "kind": "Shell", "label": "Install", "span": "t.json:4:9"}
    goal = {"kind": "VHD", "run_output_name": "disk", "uri": None}
    error = {"code": "X", "message": "m", "hint": "h", "details": ["d"], "span": "t.json:4:9", "commands": ["c"]}
    told: list[tuple[Kind, str, str, dict[str, Any]]] = [
        (Kind.RUN_STARTED, "", "", {
            "template": "web", "file": "t.json", "driver": "scripted", "log_id": "x", "steps": [step], "validators": [],
            "targets": [goal], "timeout_minutes": 240, "template_id": f"{_GROUP}/x", "skipped": [],
        }),
        (Kind.PHASE_STARTED, "customize", "", {}),
        (Kind.STEP_STARTED, "customize", "c1", {"step_kind": "Shell", "label": "Install", "index": 0, "total": 1,
            "span": "t.json:4:9", "lines": ["a"], "remote": "/tmp/x", "local_name": "x", "hidden": False}),
        (Kind.STEP_OUTPUT, "customize", "c1", {"stream": "stdout", "line": "said"}),
        (Kind.STEP_FINISHED, "customize", "c1", {"status": "failed", "exit_code": 1, "seconds": 2.5, "error": "e",
            "bytes": {"stdout": 4, "stderr": 0}}),
        (Kind.STEP_CACHED, "customize", "c1", {"step_kind": "Shell", "label": "x", "index": 0, "total": 1, "how": "h",
            "said": {"started": {}, "output": [{"stream": "stdout", "line": "x"}], "finished": {}, "warnings": []}}),
        (Kind.MACHINE_STARTED, "provision", "", {"machine": "m", "role": "build", "cpus": 1, "memory_mib": 1024,
            "endpoint": "127.0.0.1:22", "user": "packer", "key": "/k", "access": {"communicator": "ssh"}}),
        (Kind.MACHINE_BOOTING, "provision", "", {"machine": "m", "stage": "kernel", "awaited": "x", "seconds": 3.0}),
        (Kind.MACHINE_KEPT, "", "", {"machine": "m", "command": "aibemu shell"}),
        (Kind.RUN_WAITING, "", "", {"title": "what now", "choices": ["retry", "abort"], "error": "e"}),
        (Kind.RUN_ANSWERED, "", "", {"answer": "retry"}),
        (Kind.RUN_RETRIED, "", "", {"steps": [step], "validators": [], "skipped": []}),
        (Kind.PHASE_FINISHED, "customize", "", {"status": "failed", "seconds": 3.0}),
        (Kind.NOTICE, "", "", {"level": "warning", "message": "w"}),
        (Kind.RUN_FINISHED, "", "", {"state": "Failed", "sub_state": "", "message": "m", "seconds": 9.0,
        "error": error}),
    ]  # fmt: skip
    return [
        Event(seq=number, at=_AT, run=_RUN, kind=kind, phase=phase or None, step=step_id or None, fields=fields)
        for number, (kind, phase, step_id, fields) in enumerate(told)
    ]
