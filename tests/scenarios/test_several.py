"""`aibemu run` with several templates: at once as far as there is room, one view, one answer, one exit code."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from aibemu.cli import main
from aibemu.cli.app import App
from aibemu.clock import SystemClock
from aibemu.hypervisor import Capacity
from aibemu.paths import Home
from aibemu.reports.fold import fold
from aibemu.reports.summary import RunSummary
from aibemu.runs.store import Run, RunStore
from tests.scenarios.test_many_builds_in_one_process import CASE, record

PATIENCE = 60  # seconds for what takes no time
GALLERY = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.Compute"


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)["data"]


@dataclass
class Bench:
    """A folder with templates, whose guests do what `rules` says."""

    folder: Path
    home: Home
    patch: pytest.MonkeyPatch
    capture: Any
    rules: list[dict[str, Any]] = field(default_factory=list)

    def template(self, name: str, *, file: str = "", steps: tuple[str, ...] = ("one", "two"), **properties: Any) -> str:
        """Write a template; its file. Each step says `#NAME-STEP#` to its guest."""
        document = json.loads(CASE.read_text())
        resource = document["resources"][0]
        resource["name"] = name
        resource["properties"] |= {
            "customize": [{"type": "Shell", "name": step, "inline": [f"echo #{name}-{step}#"]} for step in steps],
            "distribute": [{"type": "VHD", "runOutputName": "disk"}], **properties,
        }  # fmt: skip
        file = file or f"{name}.json"
        (self.folder / file).write_text(json.dumps(document))
        return file

    def hold(self, what: str) -> Path:
        """The guest's step `what` ends once the file is there that this gives."""
        gate = self.folder / f"go-{what}"
        self.rules.append({"match": f"#{what}#", "until": str(gate)})
        return gate

    def argv(self, *arguments: str) -> list[str]:
        (self.folder / "guest.yaml").write_text(json.dumps(self.rules))
        chosen = ["--driver", "scripted", "--driver-option", f"script={self.folder / 'guest.yaml'}"]
        return ["run", *arguments, *(chosen if "--driver" not in arguments else [])]

    def run(self, *arguments: str) -> Answer:
        """`aibemu run` in this process."""
        return self.call(*self.argv(*arguments))

    def call(self, *arguments: str) -> Answer:
        with self.patch.context() as local:
            local.chdir(self.folder)
            local.setattr(main, "_new_app", lambda: App(home=self.home, clock=SystemClock()))
            self.capture.readouterr()
            code = main.run(list(arguments))
        return Answer(code, *self.capture.readouterr())

    def runs(self) -> dict[str, Run]:
        """By name of the template."""
        found = {}
        for run in RunStore(self.home.runs).runs():
            first = run.events_file.read_text(encoding="utf-8").partition("\n") if run.events_file.exists() else ""
            if first and first[1]:
                found[json.loads(first[0])["template"]] = run
        return found

    def summary(self, name: str) -> RunSummary:
        return fold(self.runs()[name].events())

    def await_(self, name: str, what: str) -> None:
        """Until a line of the template's record matches."""
        for _ in range(PATIENCE * 50):
            run = self.runs().get(name)
            if run and re.search(what, run.events_file.read_text(encoding="utf-8")):
                return
            threading.Event().wait(0.02)
        raise AssertionError(f"{name} never said {what}")

    @contextmanager
    def meanwhile(self, action: Callable[[], None]) -> Iterator[None]:
        """Run `action` in a thread beside the block; what it raises fails the test."""
        failures: list[BaseException] = []

        def work() -> None:
            try:
                action()
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)
                for run in RunStore(self.home.runs).runs():
                    run.request_cancel()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            thread.join(PATIENCE)
        if failures:
            raise failures[0]


@pytest.fixture
def bench(
    tmp_path: Path, scenario_home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    folder = tmp_path / "work"
    folder.mkdir()
    return Bench(folder=folder, home=scenario_home, patch=monkeypatch, capture=capsys)


def three(bench: Bench) -> list[str]:
    return [bench.template(name) for name in ("web", "db", "queue")]


def test_with_room_for_two_the_third_waits_for_its_turn_and_says_so(bench: Bench) -> None:
    files = three(bench)
    web, db = bench.hold("web-one"), bench.hold("db-one")
    status: list[Answer] = []

    def release() -> None:
        bench.await_("queue", "waiting for its turn")
        status.extend(status_of(bench, *arguments) for arguments in ((), (bench.runs()["queue"].id,)))
        assert bench.summary("queue").machines == ()
        bench.await_("web", "step.started")
        bench.await_("db", "step.started")
        web.touch()
        bench.await_("queue", "machine.started")
        assert not bench.summary("db").finished
        db.touch()

    with bench.meanwhile(release):
        answer = bench.run(*files, "--at-once", "2")
    assert answer.code == 0, answer.err
    awaited = "its turn: 2 builds at once; before it: web, db"
    for told in status:
        assert f"for {awaited}" in told.out
    assert f"queue | note: waiting for {awaited}" in answer.err
    assert "queue | note: it has its turn: going on after" in answer.err
    notices = [event.fields for event in bench.runs()["queue"].events() if "awaited" in event.fields]
    assert [fields["awaited"] for fields in notices] == [awaited, ""]
    assert {name: bench.summary(name).state for name in ("web", "db", "queue")} == dict.fromkeys(
        ("web", "db", "queue"), "Succeeded"
    )
    assert answer.out.splitlines()[-1] == "3 templates: 3 Succeeded"


def status_of(bench: Bench, *arguments: str) -> Answer:
    """As typed in another terminal."""
    environment = {**os.environ, "AIBEMU_HOME": str(bench.home.runs.parent)}
    words = [sys.executable, "-m", "aibemu", "status", *arguments]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return Answer(done.returncode, done.stdout, done.stderr)


def test_a_host_with_memory_for_two_lets_the_third_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = {"vmSize": "Standard_D1_v2"}
    files = [bench.template(name, vmProfile=vm) for name in ("web", "db", "queue")]
    need = 3584
    host = Capacity(memory_mib=10 * need, free_mib=2 * need + 300, cpus=8)
    monkeypatch.setattr("aibemu.engine.room.takes_memory", lambda capabilities: True)
    monkeypatch.setattr("aibemu_drivers.scripted.driver.local_capacity", lambda: host)
    gates = [bench.hold(f"{name}-one") for name in ("web", "db", "queue")]

    def release() -> None:
        for _ in range(PATIENCE * 50):
            waiting = [name for name, run in bench.runs().items() if bench.summary(name).awaits]
            started = [name for name in bench.runs() if bench.summary(name).machines]
            if len(waiting) == 1 and len(started) == 2:
                break
            threading.Event().wait(0.02)
        else:
            raise AssertionError("nobody waits for memory")
        assert bench.summary(waiting[0]).awaits.startswith(f"memory: the machine needs {need} MiB, 44 MiB are left; ")
        for gate in gates:
            gate.touch()

    with bench.meanwhile(release):
        answer = bench.run(*files, "--at-once", "3")
    assert answer.code == 0, answer.err
    assert len(re.findall(r"\| note: waiting for memory: ", answer.err)) == 1


def test_one_fails_and_the_others_end_as_they_would_alone(bench: Bench) -> None:
    files = three(bench)
    bench.rules.append({"match": "#db-two#", "exit": 7, "stderr": ["no such package"]})
    answer = bench.run(*files, "--junit", "reports/junit.xml", "-o", "json", "--out", "out", "--cold")
    assert answer.code == 1
    value = json.loads(answer.out)
    assert (value["status"], value["error"]["code"]) == ("error", "CUSTOMIZER_FAILED")
    told = {build["template"]: build for build in value["data"]["builds"]}
    assert list(told) == ["web", "db", "queue"]
    assert {name: build["lastRunStatus"]["runState"] for name, build in told.items()} == {
        "web": "Succeeded", "db": "Failed", "queue": "Succeeded",
    }  # fmt: skip
    assert told["db"]["error"]["code"] == "CUSTOMIZER_FAILED" and told["web"]["error"] is None
    assert (bench.folder / "out/web/disk/disk.vhd").is_file() and (bench.folder / "out/queue/disk/disk.vhd").is_file()
    assert not list(bench.home.runs.glob("*/machines"))
    check_junit(bench.folder / "reports/junit.xml")
    together = {name: record(run) for name, run in bench.runs().items()}
    for name in together:
        alone = bench.run(f"{name}.json", "--out", f"out/{name}", "--cold")
        assert alone.code == (1 if name == "db" else 0)
        assert record(bench.runs()[name]) == together[name], name


def check_junit(file: Path) -> None:
    root = ElementTree.parse(file).getroot()
    assert root.attrib["name"] == "aibemu run"
    suites = {suite.attrib["name"]: suite for suite in root}
    assert list(suites) == ["web", "db", "queue"]
    for element in (root, *root):
        cases = list(element.iter("testcase"))
        assert int(element.attrib["tests"]) == len(cases)
        assert int(element.attrib["failures"]) == len(list(element.iter("failure")))
        assert int(element.attrib["skipped"]) == len(list(element.iter("skipped")))
    failed = [case for case in root.iter("testcase") if case.find("failure") is not None]
    assert [(case.attrib["classname"], case.attrib["name"]) for case in failed] == [("aibemu.db.customize", "two")]
    assert "no such package" in (failed[0].findtext("failure") or "")
    assert failed[0].attrib["file"] == "db.json"
    assert [case.attrib["name"] for case in suites["web"]] == ["one", "two", "deprovision script", "disk"]


def test_with_fail_fast_the_first_failure_stops_those_that_run_and_those_that_wait(bench: Bench) -> None:
    files = three(bench)
    bench.hold("web-one")
    gate = bench.hold("db-one")
    bench.rules.append({"match": "#db-two#", "exit": 7})

    def release() -> None:
        bench.await_("web", "step.started")
        bench.await_("queue", "waiting for its turn")
        gate.touch()

    with bench.meanwhile(release):
        answer = bench.run(*files, "--at-once", "2", "--fail-fast", "--junit", "junit.xml")
    assert answer.code == 1, answer.err
    assert {name: bench.summary(name).state for name in ("web", "db", "queue")} == {
        "web": "Canceled", "db": "Failed", "queue": "Canceled",
    }  # fmt: skip
    why = "stopped, as db failed (--fail-fast)"
    assert len(re.findall(rf"^(web|queue): Canceled after .*: {re.escape(why)}$", answer.out, re.MULTILINE)) == 2
    assert bench.summary("queue").machines == ()
    assert not list(bench.home.runs.glob("*/machines"))
    root = ElementTree.parse(bench.folder / "junit.xml").getroot()
    assert root.attrib["failures"] == "1"
    assert [case.attrib["message"] for case in root.iter("skipped")].count(why) == 2


def test_all_errors_of_all_templates_come_first_and_nothing_is_built(bench: Bench) -> None:
    good = bench.template("good")
    wrong = bench.template("wrong", steps=("one",), source={"type": "Nonsense"}, buildTimeoutInMinutes=-1)
    (bench.folder / "broken.json").write_text("{\n")
    answer = bench.run(good, wrong, "broken.json", "--junit", "junit.xml")
    assert answer.code == 3
    assert "Nonsense" in answer.err and "buildTimeoutInMinutes" in answer.err and "broken.json:1:1" in answer.err
    assert answer.err.rstrip().endswith("nothing was built: 2 of 3 templates cannot be built (wrong.json, broken.json)")
    assert RunStore(bench.home.runs).runs() == []
    root = ElementTree.parse(bench.folder / "junit.xml").getroot()
    assert (root.attrib["failures"], root.attrib["skipped"]) == ("2", "1")
    told = bench.run(good, wrong, "broken.json", "-o", "json")
    assert [one["file"] for one in told.data["refused"]] == ["wrong.json", "broken.json"]
    assert json.loads(told.out)["error"]["details"]["diagnostics"]


@pytest.mark.parametrize(
    ("targets", "both"),
    [
        (
            {"type": "SharedImage", "galleryImageId": f"{GALLERY}/galleries/ga/images/im/versions/1.2.3",
             "replicationRegions": []},
            "/galleries/ga/images/im/versions/1.2.3",
        ),
        ({"type": "ManagedImage", "imageId": f"{GALLERY}/images/im", "location": "westeurope"}, "/images/im"),
        ({"type": "VHD", "uri": "same.vhd"}, "same.vhd"),
        (
            {"type": "SharedImage", "galleryImageId": f"{GALLERY}/galleries/ga/images/im", "replicationRegions": [],
             "versioning": {"scheme": "Source"}},
            "/galleries/ga/images/im/versions/0.20260101.1",
        ),
    ],
    ids=["version", "managed image", "vhd", "version of the source"],
)  # fmt: skip
def test_what_two_would_both_write_is_refused(bench: Bench, targets: dict[str, Any], both: str) -> None:
    files = [bench.template(name, distribute=[{**targets, "runOutputName": f"out-{name}"}]) for name in ("web", "db")]
    answer = bench.run(*files)
    assert answer.code == 2
    assert re.search(rf"web\.json:\d+:\d+ and db\.json:\d+:\d+ both write \S*{re.escape(both)}", answer.err), answer.err
    assert RunStore(bench.home.runs).runs() == []


def test_the_next_version_of_one_definition_is_each_ones_own(bench: Bench) -> None:
    target = {
        "type": "SharedImage", "galleryImageId": f"{GALLERY}/galleries/ga/images/im", "replicationRegions": [],
        "versioning": {"scheme": "Latest"}, "runOutputName": "out",
    }  # fmt: skip
    answer = bench.run(*(bench.template(name, distribute=[target]) for name in ("web", "db")), "-o", "json")
    assert answer.code == 0
    artifacts = [build["outputs"][0]["artifact"].rpartition("/")[2] for build in answer.data["builds"]]
    assert sorted(artifacts) == ["1.0.0", "1.0.1"]


def test_a_template_twice_is_refused_by_its_file_and_by_its_name(bench: Bench) -> None:
    web = bench.template("web")
    assert "web.json is given twice" in bench.run(web, "./web.json").err
    answer = bench.run(web, bench.template("WEB", file="other.json"))
    assert answer.code == 2
    assert "web.json and other.json are both the image template WEB of one resource group" in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--name", "web"), "--name can only be about one template, and 2 are given"),
        (("--from", "1", "--pause-after", "1"), "--from and --pause-after can only be about one template"),
        (("--on-error", "ask"), "--on-error ask cannot be where several templates are built"),
        (("--on-error", "shell"), "--on-error shell cannot be where several templates are built"),
    ],
)
def test_what_is_about_one_template_is_refused(bench: Bench, words: tuple[str, ...], said: str) -> None:
    answer = bench.run(bench.template("web"), bench.template("db"), *words)
    assert (answer.code, RunStore(bench.home.runs).runs()) == (2, [])
    assert said in answer.err


def test_who_waited_starts_from_the_layer_that_another_one_left_meanwhile(bench: Bench) -> None:
    """When their plans are made there is no layer at all. A step's own layer another template cannot take: a script can
    see its template's name."""
    files = [bench.template(name) for name in ("web", "db")]
    answer = bench.run(*files, "--at-once", "1", "--driver-option", "freezes=yes")
    assert answer.code == 0, answer.err
    events = [event.as_json() for event in bench.runs()["db"].events()]
    restored = [event["run"] for event in events if event["kind"] == "machine.restored"]
    assert restored == [bench.runs()["web"].id]


def test_two_that_make_the_same_layer_at_once_both_end_well(bench: Bench) -> None:
    files = [bench.template(name) for name in ("web", "db")]
    gates = [bench.hold(f"{name}-one") for name in ("web", "db")]

    def release() -> None:
        for name in ("web", "db"):
            bench.await_(name, "step.started")
        for gate in gates:
            gate.touch()

    with bench.meanwhile(release):
        answer = bench.run(*files, "--at-once", "2", "--driver-option", "freezes=yes")
    assert answer.code == 0, answer.err


def test_quiet_shows_what_went_wrong_and_the_answer(bench: Bench) -> None:
    files = three(bench)
    bench.rules.append({"match": "#db-two#", "exit": 7})
    answer = bench.run(*files, "-q")
    assert answer.code == 1
    assert re.search(r"^db    \| -- two: failed ", answer.err, re.MULTILINE)
    assert "== customize" not in answer.err
    assert answer.out.splitlines()[-1] == "3 templates: 2 Succeeded, 1 Failed"


def test_github_gets_annotations_as_commands_and_lines_with_names(bench: Bench) -> None:
    files = three(bench)
    bench.rules.append({"match": "#db-two#", "exit": 7, "stdout": ["::warning::not a command"]})
    bench.patch.setenv("GITHUB_ACTIONS", "true")
    answer = bench.run(*files)
    assert answer.code == 1
    (command,) = [line for line in answer.err.splitlines() if line.startswith("::error")]
    assert re.match(r"::error file=\S*db\.json,line=\d+,col=\d+::two: ", command), command
    assert "db    |    | ::warning::not a command" in answer.err.splitlines(), "no command: it does not begin the line"


def test_parameters_are_for_all_and_one_that_does_not_declare_them_refuses_them(bench: Bench) -> None:
    web, db = bench.template("web"), bench.template("db")
    document = json.loads((bench.folder / web).read_text())
    document["parameters"] = {"password": {"type": "securestring"}}
    document["resources"][0]["properties"]["customize"][0]["inline"] = ["[concat('echo ', parameters('password'))]"]
    (bench.folder / web).write_text(json.dumps(document))
    refused = bench.run(web, db, "-p", "password=hunter2hunter2")
    assert refused.code == 3
    assert "nothing was built: 1 of 2 templates cannot be built (db.json)" in refused.err
    assert "'password'" in refused.err and "hunter2" not in refused.err + refused.out


@contextmanager
def started(bench: Bench, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The program as a process of its own, with Ctrl-C as a terminal's."""
    environment = {**os.environ, "AIBEMU_HOME": str(bench.home.runs.parent)}
    with subprocess.Popen(
        [sys.executable, "-m", "aibemu", *bench.argv(*arguments)], cwd=bench.folder, env=environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def test_ctrl_c_ends_all_of_them_and_cleans_up(bench: Bench) -> None:
    files = three(bench)
    bench.hold("web-one"), bench.hold("db-one")
    with started(bench, *files, "--at-once", "2", "-o", "json") as process:
        bench.await_("web", "step.started")
        bench.await_("db", "step.started")
        bench.await_("queue", "waiting for its turn")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    builds = json.loads(out)["data"]["builds"]
    assert [build["lastRunStatus"]["runState"] for build in builds] == ["Canceled"] * 3
    assert {build["error"]["message"] for build in builds} == {"interrupted by SIGINT"}
    assert not list(bench.home.runs.glob("*/machines"))


def test_on_a_terminal_each_has_a_row_and_ctrl_c_leaves_it_in_order(bench: Bench) -> None:
    files = three(bench)
    bench.hold("web-one"), bench.hold("db-one")
    environment = {**os.environ, "AIBEMU_HOME": str(bench.home.runs.parent), "TERM": "xterm-256color", "COLUMNS": "60"}
    terminal, end = pty.openpty()
    words = [sys.executable, "-m", "aibemu", *bench.argv(*files, "--at-once", "2")]
    with subprocess.Popen(
        words, cwd=bench.folder, env=environment, stdin=end, stdout=end, stderr=end, start_new_session=True
    ) as process:
        os.close(end)
        seen = bytearray()
        reader = threading.Thread(target=read_all, args=(terminal, seen), daemon=True)
        reader.start()
        try:
            await_text(seen, r"web +[\d.]+s  customize 0/2: one")
            await_text(seen, r"queue +[\d.]+s  waiting for its turn: 2 builds a")
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
        finally:
            process.kill()
    reader.join(PATIENCE)
    os.close(terminal)
    text = seen.decode("utf-8", "replace")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is shown again"
    assert "3 templates: 3 Canceled" in text
    assert not list(bench.home.runs.glob("*/machines"))


def read_all(terminal: int, seen: bytearray) -> None:
    """What is shown on a terminal, until its other end is closed."""
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 65536):
            seen += data


def await_text(seen: bytearray, wanted: str) -> None:
    """Until it was shown, colours aside."""
    for _ in range(PATIENCE * 20):
        if re.search(wanted, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode("utf-8", "replace"))):
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"never shown: {wanted}\n{seen.decode('utf-8', 'replace')[-2000:]}")


def test_a_second_ctrl_c_leaves_at_once_and_the_next_command_cleans_up(bench: Bench) -> None:
    files = three(bench)
    bench.hold("web-one")
    with started(bench, *files, "--at-once", "3", "-o", "json") as process:
        bench.await_("web", "step.started")
        process.send_signal(signal.SIGSTOP)  # both are there before it does anything about the first
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert bench.call("status").code == 0
    assert not list(bench.home.runs.glob("*/machines"))
    assert all(not run.alive() for run in RunStore(bench.home.runs).runs())
