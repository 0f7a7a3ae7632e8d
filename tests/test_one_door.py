"""Whatever is printed, logged or written passes the redactor: who prints or writes, read off the source with `ast`.

Two tables name every function that prints, and every function that writes a file, each with what keeps secrets out of
it. A new one fails here until somebody has thought about that and written it down. What a person or CI reads goes
through `App` (`aibemu/cli/app.py`), what happens in a run through `Telemetry`, whose redactor is the run's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import pytest

from tests.source import ROOT, Module, dotted, imported_names, modules

# Names that print by themselves, whatever they are called on.
PRINTS = {
    "print", "pprint.pprint", "pprint.pp", "click.echo", "click.secho", "click.echo_via_pager", "click.utils.echo",
    "rich.print", "rich.console.Console", "traceback.print_exc", "traceback.print_exception", "traceback.print_stack",
    "logging.basicConfig", "logging.StreamHandler", "logging.FileHandler", "warnings.warn", "faulthandler.enable",
    "os.write", "os.writev", "os.sendfile", "os.system", "click.confirm", "click.prompt", "breakpoint",
}  # fmt: skip
# Programs that write to our streams unless they are given others.
STARTERS = {"subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call"}
STREAMS = {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}
DEVICES = ("/dev/tty", "/dev/stdout", "/dev/stderr", "/proc/self/fd", "/dev/fd")
# Names that write what they are given.
WRITES = {
    "aibemu.files.write_json", "aibemu.files.write_private_json", "aibemu.files.write_private",
    "aibemu.files.write_bytes", "json.dump", "yaml.dump",
    "yaml.safe_dump", "pickle.dump", "tempfile.NamedTemporaryFile", "tempfile.TemporaryFile", "tempfile.mkstemp",
}  # fmt: skip
# Methods that do, on a path or a stream, whatever it is called.
WRITING_METHODS = {"write_text", "write_bytes"}
OPENERS = {"open", "io.open", "os.fdopen", "gzip.open"}
READ_ONLY = {"", "r", "rb", "rt", "br"}


@cache
def inside(module: Module) -> Sequence[tuple[str, ast.AST]]:
    """Every node, with the function that it is in: `Class.method`, or "" at the top of a module."""
    found: list[tuple[str, ast.AST]] = []

    def walk(node: ast.AST, where: str) -> None:
        for child in ast.iter_child_nodes(node):
            found.append((where, child))
            named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            walk(child, f"{where}.{child.name}".lstrip(".") if named else where)  # type: ignore[attr-defined]

    walk(module.tree, "")
    return found


def full_name(node: ast.AST, real: Mapping[str, str]) -> str:
    """`a.b` of a name or an attribute, as it was imported; `files.write_json` is `aibemu.files.write_json`."""
    first, _, rest = dotted(node).partition(".")
    return real.get(first, first) + (f".{rest}" if rest else "") if first else ""


def prints(module: Module) -> Iterator[tuple[str, ast.AST, str]]:
    """Where something gets past `App` to standard output, standard error or a terminal."""
    real = imported_names(module)
    for where, node in inside(module):
        name = full_name(node, real) if isinstance(node, ast.Name | ast.Attribute) else ""
        if name in PRINTS | STREAMS:
            yield where, node, name
        called = full_name(node.func, real) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and called in STARTERS | {"input"}:
            given = {word.arg for word in node.keywords}
            if "capture_output" not in given and not {"stdout", "stderr"} <= given:
                yield where, node, called
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(DEVICES):
            yield where, node, node.value


def writes(module: Module) -> Iterator[tuple[str, ast.AST, str]]:
    """Where a file gets a content."""
    real = imported_names(module)
    for where, node in inside(module):
        if isinstance(node, ast.Name | ast.Attribute) and full_name(node, real) in WRITES:
            yield where, node, full_name(node, real)
        elif isinstance(node, ast.Attribute) and node.attr in WRITING_METHODS and full_name(node, real) not in WRITES:
            yield where, node, node.attr
        elif isinstance(node, ast.Call) and opens_to_write(node, real):
            yield where, node, ast.unparse(node)[:60]


def opens_to_write(call: ast.Call, real: Mapping[str, str]) -> bool:
    """`open` or `.open` in a mode that writes, or that is not known here; `os.open` with a flag that does."""
    name = full_name(call.func, real)
    if name == "aibemu.reading.open_writable":
        return True
    if name == "os.open":
        return "os.O_RDONLY" not in ast.unparse(call)
    method = isinstance(call.func, ast.Attribute) and call.func.attr == "open"
    if name not in OPENERS and not method:
        return False
    place = 1 if name in OPENERS else 0
    given = [word.value for word in call.keywords if word.arg == "mode"] + call.args[place : place + 1]
    modes = [mode.value if isinstance(mode, ast.Constant) else "?" for mode in given]
    return bool(modes) and modes[0] not in READ_ONLY


# Who gets at standard output, standard error or a terminal without `App`, and why nothing secret goes that way.
PRINTERS = {
    "aibemu/cli/app.py::App.envelope": "the door itself: every value passes the redactor",
    "aibemu/cli/app.py::App.screen": "the door itself: its Screen masks",
    "aibemu/cli/app.py::App.error_screen": "the door itself: its Screen masks",
    "aibemu/append.py::LineFile._put": "writes to a file that it opened: see below who has one",
    "aibemu/cli/confirm.py::_somebody_there": "looks whether it is a terminal",
    "aibemu/records.py::_tell": "a warning: App shows it, as it does all that Python warns of",
    "aibemu/cli/exec.py::_run": "passes the guest's bytes on as they are, as ssh does: that is what the verb is for",
    "aibemu/cli/globals.py::_decide_color": "looks whether it is a terminal",
    "aibemu/cli/logs.py::_copy": "logs --raw: bytes of the record, which passed the redactor when written",
    "aibemu/cli/logs.py::_raw_line": "logs --raw: bytes of the record, which passed the redactor when written",
    "aibemu/cli/main.py::run": "sets how characters are written, and flushes",
    "aibemu/cli/main.py::_silence": "nobody reads any more",
    "aibemu/cli/prompt.py::Prompter._open_shell": "a shell of the person's own",
    "aibemu/cli/run.py::carry_out": "for the views, which see events only: Telemetry's redactor was there before",
    "aibemu/cli/several.py::build_several": "for the views, as above",
    "aibemu/cli/run.py::_terminal": "looks whether it is a terminal",
    "aibemu/cli/shell.py::command": "looks whether it is a terminal",
    "aibemu/cli/shell.py::_converse": "a shell of the person's own",
    "aibemu/cli/shell.py::_run_defused": "a shell of the person's own",
    "aibemu/communicators/winrm/console.py::Person.ask": "a shell of the person's own: the line that is typed",
    "aibemu/communicators/winrm/console.py::main": "a stream that nobody reads is let go",
    "aibemu/communicators/winrm/console.py::_say": "a shell of the person's own: the guest's bytes, as ssh passes them",
    "aibemu/disks/dialogue.py::_Exchange._write": "a pipe to a program",
    "aibemu/fabric/pump.py::Pump.stop": "wakes a thread of its own",
    "aibemu/processes.py::_pipe_of": "what a program is given to read",
    "aibemu/fabric/pump.py::Pump._handle": "a platform's process: its standard error is a file in a private folder",
    "aibemu/fabric/serve.py::main": "a platform's process: what it says goes to the build, by a pipe",
    "aibemu/files.py::copy_sparse": "copies a disk",
    "aibemu/views/live.py::LiveView.__init__": "a view: sees events only",
    "aibemu/views/live.py::LiveView._screen": "a view: sees events only",
    "aibemu/views/ndjson.py::NdjsonView._write": "a view: sees events only",
    "aibemu/views/stream.py::_open": "the stream of the views",
    "drivers/aibemu_drivers/libvirt/monitor.py::Piped._feed": "a pipe to QEMU: its own memory",
}  # fmt: skip

CLEAN = "passes the redactor"
EVENTS = "a view: sees events only"
PRIVATE = "for this user only (0600, or in a folder of 0700): it has to hold what is secret"
BYTES = "bytes of a disk, an image, or a file that a template names"
OWN = "aibemu's own words, numbers, digests and times: nothing of a template's values"
WRITERS = {
    "aibemu/artifacts/fetcher.py::Fetcher._copy": BYTES,
    "aibemu/artifacts/fetcher.py::Fetcher._download": CLEAN,
    "aibemu/cli/bug.py::_save": CLEAN,
    "aibemu/cli/formats.py::save": CLEAN,
    "aibemu/cluster/incoming.py::Incoming.add": BYTES,
    "aibemu/cli/init.py::_write": OWN,
    "aibemu/cli/junit_file.py::write_junit": CLEAN,
    "aibemu/cli/main.py::_open_missing_streams": "/dev/null",
    "aibemu/cli/main.py::_silence": OWN,
    "aibemu/cloud/local.py::LocalCloud._write": CLEAN,
    "aibemu/communicators/ssh/communicator.py::SshCommunicator.download": BYTES,
    "aibemu/communicators/winrm/files.py::Files.download": BYTES,
    "aibemu/communicators/winrm/console.py::main": OWN,
    "aibemu/communicators/ssh/keys.py::generate": PRIVATE,
    "aibemu/systems/windows/login.py::known_credentials": PRIVATE,
    "aibemu/disks/dialogue.py::Dialogue.__init__": BYTES,
    "aibemu/append.py::LineFile.__init__": "a log of events; the journal has a redactor of its own",
    "aibemu/disks/raw.py::in_one_piece": BYTES,
    "aibemu/disks/tree.py::Tree.copy": BYTES,
    "aibemu/distributors/sparse.py::copy_extents": BYTES,
    "aibemu/distributors/sparse.py::_reflink": BYTES,
    "aibemu/distributors/vhd.py::VhdDistributor.distribute": CLEAN,
    "aibemu/distributors/vhd.py::write_vhd": BYTES,
    "aibemu/doctor.py::check_folders": OWN,
    "aibemu/download.py::_Transfer._save": BYTES,
    "aibemu/engine/api.py::start": "opens no file: it is the run that is opened",
    "aibemu/engine/machines/boot_times.py::BootTimes.note": OWN,
    "aibemu/engine/machines/console.py::keep_text": CLEAN,
    "aibemu/engine/opening.py::open_record": "template.json passes the redactor; request.json is 0600",
    "aibemu/fabric/depot.py::LendingFolder.lend": PRIVATE,
    "aibemu/fabric/handle.py::Platform.start": PRIVATE,
    "aibemu/fabric/handle.py::Platform._launch": PRIVATE,
    "aibemu/files.py::write_bytes": "what the others call",
    "aibemu/runs/store.py::Run.request_cancel": OWN,
    "aibemu/runs/store.py::Run.answer": OWN,
    "aibemu/runs/store.py::Run.leave_mark": OWN,
    "aibemu/files.py::copy_sparse": BYTES,
    "aibemu/files.py::FileLock.acquire": OWN,
    "aibemu/disks/fat.py::write_fat32": PRIVATE,
    "aibemu/images/bootable.py::make_disk": BYTES,
    "aibemu/images/bootable.py::_write_table": OWN,
    "aibemu/images/bootable.py::_fill_root": OWN,
    "aibemu/images/bootable.py::_boot_files": BYTES,
    "aibemu/images/bootable.py::_write_bios_grub": BYTES,
    "aibemu/images/bootable.py::_write_esp": BYTES,
    "aibemu/images/box.py::_add_login": OWN,
    "aibemu/images/box.py::_pack": OWN,
    "aibemu/images/build.py::_write_payload": BYTES,
    "aibemu/images/sets.py::export_set": BYTES,
    "aibemu/images/sets.py::_copy": BYTES,
    "aibemu/images/store.py::ImageStore.add_labels": OWN,
    "aibemu/images/store.py::ImageStore.describe": OWN,
    "aibemu/images/store.py::ImageStore.remove": OWN,
    "aibemu/images/azure_pull.py::AzurePull._disk": "names of a disk in Azure; no address of it",
    "aibemu/images/page_blob.py::fetch_page_blob": BYTES,
    "aibemu/images/unpacking.py::_Unpacking._target": BYTES,
    "aibemu/reading.py::open_writable": "opens for others: see who calls it",
    "aibemu/holes.py::keep_end": "writes nothing: it takes the beginning of a file away",
    "aibemu/images/store.py::ImageStore._save_aliases": OWN,
    "aibemu/images/store.py::ImageStore.set_alias": OWN,
    "aibemu/images/store.py::ImageStore.remove_alias": OWN,
    "aibemu/images/store.py::ImageStore._register": OWN,
    "aibemu/layers/history.py::History.write": CLEAN,
    "aibemu/layers/store.py::LayerStore.publish": PRIVATE,
    "aibemu/processes.py::RunningTool.__init__": "has no name: what a program said, for an error",
    "aibemu/processes.py::_file_of": "has no name: what a program is given",
    "aibemu/runs/admission.py::_Asking.ask": OWN,
    "aibemu/runs/admission.py::waiting_for_a_person": OWN,
    "aibemu/runs/out.py::copy_outputs": "of the local cloud, where it passed the redactor",
    "aibemu/submission/checkers.py::_start_shellcheck": PRIVATE,
    "aibemu/submission/compilations.py::Memory._remember": PRIVATE,
    "aibemu/submission/compiled.py::keep": PRIVATE,
    "aibemu/submission/evaluator.py::ask": "for the engine, in a folder for this user alone that is removed at once",
    "aibemu/systems/linux/freezing.py::LinuxFreezing.restore": PRIVATE,
    "aibemu/views/ndjson.py::NdjsonView.__init__": EVENTS,
    "aibemu/views/stream.py::_open": EVENTS,
    "aibemu/views/stream.py::_settle": OWN,
    "drivers/aibemu_drivers/console.py::ConsoleFile._forget": BYTES,
    "drivers/aibemu_drivers/scripted/communicator.py::TranscriptCommunicator._append": PRIVATE,
    "drivers/aibemu_drivers/scripted/machine.py::RecordedMachine.start": PRIVATE,
    "drivers/aibemu_drivers/scripted/machine.py::RecordedMachine.say": PRIVATE,
    "drivers/aibemu_drivers/scripted/machine.py::RecordedMachine.freeze": PRIVATE,
    "drivers/aibemu_drivers/libvirt/checks.py::_tested": OWN,
    "drivers/aibemu_drivers/libvirt/connection.py::Connection._opened": "opens no file: it is a connection",
    "drivers/aibemu_drivers/libvirt/machine.py::LibvirtMachine._picture": BYTES,
    "drivers/aibemu_drivers/qemu/accelerator.py::probe": OWN,
    "drivers/aibemu_drivers/qemu/accelerator.py::_why_shut": OWN,
    "drivers/aibemu_drivers/qemu/accelerator.py::run_payload": OWN,
    "drivers/aibemu_drivers/qemu/checks.py::_machine": OWN,
    "drivers/aibemu_drivers/qemu/freezing.py::save_memory": BYTES,
    "drivers/aibemu_drivers/qemu/monitor.py::Monitor._heard": PRIVATE,
    "drivers/aibemu_drivers/qemu/processes.py::spawn": PRIVATE,
    "drivers/aibemu_drivers/records.py::write_record": PRIVATE,
}  # fmt: skip
ADVICE = "let it go through App, Telemetry or a Redactor; if nothing secret can be in it, list it here with the reason"


def unlisted(found: Iterator[tuple[str, str, str]], listed: Mapping[str, str]) -> None:
    """Fail with what is not listed, and with what is listed and not there any more."""
    seen = {place: f"{where}: {what}" for place, where, what in found}
    strange = [seen[place] for place in sorted(seen.keys() - listed.keys())]
    gone = [f"{place}: listed in {__name__}, and not there any more" for place in sorted(listed.keys() - seen.keys())]
    if strange or gone:
        pytest.fail("\n".join([*strange, *gone, ADVICE]), pytrace=False)


def test_nothing_is_printed_past_the_door() -> None:
    unlisted(
        ((f"{m.name}::{where}", m.at(node, where), what) for m in modules() for where, node, what in prints(m)),
        PRINTERS,
    )


def test_no_file_is_written_past_the_door() -> None:
    """The suites that plugins' authors run (`aibemu/testing`) see no template of anybody's."""
    product = [m for m in modules() if not m.name.startswith("aibemu/testing/")]
    unlisted(
        ((f"{m.name}::{where}", m.at(node, where), what) for m in product for where, node, what in writes(m)), WRITERS
    )


@pytest.mark.parametrize(
    "source",
    [
        "print(x)",
        "import sys\nsys.stdout.write(x)",
        "from sys import stderr\nstderr.write(x)",
        "import sys as s\nsay = s.stderr.write",
        "import click\nclick.echo(x)",
        "from click import secho as shout\nshout(x)",
        "say = print",
        "import traceback\ntraceback.print_exc()",
        "open('/dev/stderr', 'w')",
        "import os\nos.write(2, x)",
        "import subprocess\nsubprocess.run(['a'])",
        "import subprocess\nsubprocess.Popen(['a'], stdout=subprocess.PIPE)",
        "import os\nos.system('a')",
        "input('a')",
    ],
)
def test_a_new_way_to_print_is_seen(source: str) -> None:
    assert list(prints(parsed(source)))


@pytest.mark.parametrize(
    "source",
    [
        "from aibemu.files import write_json\nwrite_json(a, b)",
        "from aibemu import files\nfiles.write_private_json(a, b)",
        "import aibemu.files as f\nf.write_bytes(a, b)",
        "path.write_text(x)",
        "write = path.write_bytes",
        "open(a, 'w')",
        "open(a, mode='x')",
        "path.open('ab')",
        "path.open(mode)",
        "import os\nos.open(a, os.O_WRONLY)",
        "import os\nos.open(a, flags)",
        "import json\njson.dump(a, b)",
    ],
)
def test_a_new_way_to_write_is_seen(source: str) -> None:
    assert list(writes(parsed(source)))


def test_reading_is_no_writing() -> None:
    lines = ("import os", "open(a)", "path.open('rb')", "path.open(encoding='utf-8')", "os.open(a, os.O_RDONLY)")
    assert not list(writes(parsed("\n".join(lines))))


def parsed(source: str) -> Module:
    return Module(path=ROOT, name="x.py", text=source, tree=ast.parse(source))


def test_whoever_passes_lines_on_says_where_they_may_be_cut() -> None:
    """An `OnLine` that shows lines without an end gets long ones in pieces; one without `cut` gets half of a secret in
    each, as only their shapes are known then."""
    found = {
        f"{module.name} {node.name}": {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
        | {
            part.target.id
            for part in node.body
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
        }
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    passing = {name: members for name, members in found.items() if {"__call__", "unfinished"} <= members}
    passing = {name: members for name, members in passing.items() if not name.startswith("aibemu/redact.py")}
    assert len(passing) >= 5
    assert [name for name, members in passing.items() if "cut" not in members] == []
