"""Two builds at once in one home; then, at once too, a third from the image of the first, and the VHD of the second,
made generic, in a plain QEMU.

The fixtures do the work, the tests look at what came of it from every side.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import forever
from aibemu.disks.guestfs import GuestFiles
from tests.e2e.lab import (
    COLD,
    FIXTURES,
    PROVIDERS,
    VM_SIZE,
    WARM,
    Base,
    Build,
    PlainMachine,
    aibemu,
    answer,
    failing_template,
    fresh_home,
    is_open,
    left_over,
    machine_processes,
    owner_and_mode,
    run,
)
from tests.e2e.platform import GET, TOKEN, own_address, serving
from tests.nocloud import make_generic

pytestmark = pytest.mark.vm

MIB = 1024**2
GIB = 1024**3
KEPT = "/var/lib/aibemu-test"
DEFINITION = f"{PROVIDERS}/Microsoft.Compute/galleries/workshop/images/quickstart"
USER = "packer"
UPDATED = "aibemu.test=1"  # a word of the kernel's command line


@dataclass(frozen=True, slots=True, kw_only=True)
class Builds:
    """quick: linux-quickstart.json. everything: linux-everything.json. out: the `--out` folder of the latter.

    failing: a build on the image of `quick`, cut off from the network and without identities, whose customizer fails,
    its machine kept.
    """

    home: Path
    templates: Path
    out: Path
    quick: Build
    everything: Build
    failing: Build

    @property
    def vhd(self) -> Path:
        """Where linux-everything.json wants it: relative to the template."""
        return self.templates / "made" / "linux-everything.vhd"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("builds")


@pytest.fixture(scope="module")
def builds(folder: Path, warm_base: Base) -> Iterator[Builds]:
    """The two are over, the third boots. The templates are copied: one writes its VHD beside itself."""
    home = fresh_home(folder / "home", warm_base)
    shutil.copytree(FIXTURES, folder / "fixtures")
    templates, out = folder / "fixtures" / "templates" / "ok", folder / "out"
    checks = adapt(templates)
    words: list[str | Path] = [templates / "linux-everything.json", *COLD, "--also", "qcow2", "--out", out]
    with contextlib.ExitStack() as stack:
        started = [
            Build(home, [templates / "linux-quickstart.json", *WARM], folder / "quick"),
            Build(home, words, folder / "everything"),
        ]
        for build in started:
            stack.callback(build.close)
        quick, everything = started
        assert quick.wait() == 0, quick.stdout + quick.stderr
        address = own_address()
        port = stack.enter_context(serving(address)) if address else 80
        alone = [
            f"curl --silent --max-time 60 http://{address or '192.0.2.1'}:{port}/ || echo code=$?",
            f"{GET} '{TOKEN}' | grep -o 'Identity not found'",
        ]
        chained = failing_template(folder, DEFINITION, [*checks, *alone])
        failing = Build(home, [chained, *COLD, "--offline"], folder / "chained")
        stack.callback(aibemu, home, "clean", "--all", "--yes")  # its machine, if no test freed it
        stack.callback(failing.close)
        assert everything.wait() == 0, everything.stdout + everything.stderr
        yield Builds(
            home=home, templates=templates, out=out, quick=quick, everything=everything, failing=failing
        )  # fmt: skip


def adapt(templates: Path) -> list[str]:
    """Both: of the size of the layer that `quick` starts from. quick: the lines of its validation are returned, for
    `failing` boots its image anyway. everything: its restart is one after a kernel update, which changes what the next
    boot starts; the kernel package's own hook does that."""
    with rewriting(templates / "linux-quickstart.json") as properties:
        properties["vmProfile"]["vmSize"] = VM_SIZE
        (validation,) = properties.pop("validate")["inVMValidations"]
    with rewriting(templates / "linux-everything.json") as properties:
        properties["vmProfile"]["vmSize"] = VM_SIZE
        steps = {step["name"]: step["inline"] for step in properties["customize"] if "inline" in step}
        steps["Restart"][:0] = [
            # grub.cfg is what the guest itself writes, and no diversion keeps a later one away.
            "sudo cp /boot/grub/grub.cfg /tmp/built.cfg && sudo update-grub",
            "sudo diff /tmp/built.cfg /boot/grub/grub.cfg && test -z \"$(dpkg-divert --list '*grub*')\"",
            f"sudo sed -i 's/consoleblank=0/consoleblank=0 {UPDATED}/' /etc/default/grub",
            "sudo env DEB_MAINT_PARAMS=configure /etc/kernel/postinst.d/zz-update-grub $(uname -r)",
        ]
        steps["AfterRestart"].append("cat /proc/cmdline")
    return list(validation["inline"])


@contextlib.contextmanager
def rewriting(path: Path) -> Iterator[dict[str, Any]]:
    """The properties of the image template in the file, to be changed."""
    document = json.loads(path.read_text(encoding="utf-8"))
    (resource,) = document["resources"]
    yield resource["properties"]
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")


@pytest.fixture(scope="module")
def plain(builds: Builds, folder: Path) -> Iterator[PlainMachine]:
    """The VHD of `everything`, booted. Only Azure's platform provisions it: so a copy, in which one file differs, the
    one that tells cloud-init so."""
    copy = folder / "generic.vhd"
    run("cp", "--sparse=always", builds.vhd, copy)
    make_generic(copy, folder)
    machine = PlainMachine(copy, "vpc", folder / "plain", "elsewhere")
    try:
        machine.connect()
        yield machine
    finally:
        machine.close()


@pytest.fixture(scope="module")
def failed(builds: Builds) -> Build:
    """`failing`, which is over now."""
    builds.failing.wait()
    return builds.failing


# Both builds


def test_both_end_well_with_a_version_each(builds: Builds) -> None:
    both = (builds.quick, builds.everything)
    assert sorted(gallery_version(build) for build in both) == ["1.0.0", "1.0.1"]
    for build in both:
        status = answer(builds.home, "status", build.run)
        assert status["lastRunStatus"]["runState"] == "Succeeded"
        validated = "skipped" if build is builds.quick else "ok"
        assert [phase["status"] for phase in status["phases"]] == ["ok", "ok", "ok", validated, "ok"]


def gallery_version(build: Build) -> str:
    (made,) = [event for event in build.events("output.finished") if event["target"] == "SharedImage"]
    definition, _, version = str(made["artifact"]).rpartition("/versions/")
    assert definition == DEFINITION
    return version


def test_nothing_of_them_is_left(builds: Builds) -> None:
    assert left_over(builds.home / "images", builds.home / "cloud", builds.templates, builds.out) == []
    for build in (builds.quick, builds.everything):
        assert left_over(build.directory) == []
        assert [port for port in build.ports() if is_open(port)] == []
        assert len(build.ports()) == (1 if build is builds.quick else 2)


def test_their_logs_are_as_the_service_writes_them(builds: Builds) -> None:
    logs = [(builds.quick, "customization.log")]
    logs += [(builds.everything, name) for name in ("customization.log", "validation.log")]
    for build, name in logs:
        lines = (build.directory / name).read_text(encoding="utf-8").splitlines()
        form = re.compile(rf"\[{log_id(build)}\] PACKER( |$)")
        assert [line for line in lines if not form.match(line)] == []
        stamps = [found[1] for line in lines if (found := re.search(r"PACKER (\d{4}/\d\d/\d\d [\d:]{8}) ", line))]
        assert len(stamps) > 20
        assert stamps == sorted(stamps)
        assert "Done exporting Packer logs to Azure Storage." in lines[-1]


def log_id(build: Build) -> str:
    return str(build.events("run.started")[0]["log_id"])


def test_the_customization_log_has_everything_in_order(builds: Builds) -> None:
    log = (builds.everything.directory / "customization.log").read_text(encoding="utf-8")
    place = 0
    for words in (
        "ui: ==> azure-arm: Waiting for SSH to become available...",
        "ui: ==> azure-arm: Connected to SSH!",
        "Provisioning with shell script: /tmp/packer-shell",
        "ui:     azure-arm: user=packer",
        "[INFO] RPC endpoint: Communicator ended with: 0",
        "ui:     azure-arm: recorded as root",
        f"ui: ==> azure-arm: Uploading /tmp/{log_id(builds.everything)}.2.customizer.fp => /tmp/settings.conf",
        "ui: ==> azure-arm: Uploading /tmp/",
        "=> /tmp/index.html",
        "ui error: ==> azure-arm: Created symlink",
        "ui:     azure-arm: hello.service is enabled",
        "ui:     azure-arm: out 1 äöü €",
        "ui:     azure-arm: restarting",
        "ui:     azure-arm: restarted once, nothing ran twice",
        "ui:     azure-arm: echo 'deprovisioning in our own way'",
        "ui:     azure-arm: deprovisioning in our own way",
        "ui:     azure-arm: WARNING! packer account and entire home directory will be deleted.",
        "ui: ==> azure-arm: Powering off machine ...",
        "PACKER ==> azure-arm: Deleting individual resources ...",
        "ui: Build 'azure-arm' finished after",
    ):
        place = log.find(words, place)
        assert place >= 0, f"not in its place: {words}"


def test_no_line_is_lost_or_out_of_order(builds: Builds) -> None:
    log = (builds.everything.directory / "customization.log").read_text(encoding="utf-8")
    for head, tail in (("ui:     azure-arm: out ", " äöü €"), ("ui error: ==> azure-arm: err ", " 世界")):
        numbers = re.findall(rf"{head}(\d+){tail}$", log, re.MULTILINE)
        assert numbers == [str(number) for number in range(1, 2001)]


def test_a_step_sees_what_it_would_see_in_the_service(builds: Builds) -> None:
    lines = builds.everything.lines("c1")
    assert lines[0] == "once"
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    script = seen.pop("script")
    assert re.fullmatch(r"/tmp/script_\d{1,4}\.sh", script)
    assert seen == {
        "user": USER, "pwd": f"/home/{USER}", "home": f"/home/{USER}", "umask": "0022", "locale": "C.UTF-8,none",
        "builder": "azure-arm,azure-arm", "tty": "no", "standard-input": "0",
    }  # fmt: skip
    assert builds.everything.lines("c4") == [f"{USER}:{USER} 644"]


def test_the_restart_was_one_and_was_told(builds: Builds) -> None:
    (restart,) = [event for event in builds.everything.events("step.finished") if event["step"] == "c8"]
    assert (restart["status"], restart["error"]) == ("ok", None)
    assert builds.everything.lines("c9")[1] == "restarted once, nothing ran twice"
    assert any("Restart" in event["message"] for event in builds.everything.events("notice"))
    assert 7 * GIB < int(builds.everything.lines("c9")[0]) < 8 * GIB


def test_a_kernel_update_takes_effect(builds: Builds) -> None:
    (line,) = builds.everything.lines("c9")[2:]
    assert UPDATED in line.split()


def test_validation_ran_on_another_machine(builds: Builds) -> None:
    """That its SSH keys are others too, the validation itself checks."""
    build = builds.everything
    built, validated = build.events("machine.ready")
    assert (built["phase"], validated["phase"]) == ("provision", "validate")
    assert built["hostname"] != validated["hostname"]
    assert (built["first_boot"], validated["first_boot"]) == ("done", "done")
    finished = [event for event in build.events("step.finished") if event["phase"] == "validate"]
    assert [(event["step"], event["status"]) for event in finished] == [("v1", "ok"), ("v2", "ok"), ("v3", "ok")]
    hostname = validated["hostname"]
    assert build.lines("v3") == [f"validating on {hostname}"]
    log = (build.directory / "validation.log").read_text()
    assert f"azure-arm: validating on {hostname}" in log


def test_run_outputs_are_as_the_service_gives_them(builds: Builds) -> None:
    for build, expected in (
        (
            builds.quick,
            {"quickstart-vhd": "VHD", "quickstart-image": "ManagedImage", "quickstart-gallery": "SharedImage"},
        ),
        (builds.everything, {"everything-vhd": "VHD", "everything-gallery": "SharedImage"}),
    ):
        outputs = answer(builds.home, "outputs", build.run)["outputs"]
        assert {output["runOutputName"]: output["type"] for output in outputs} == expected
        for output in outputs:
            document = output["runOutput"]
            assert document["name"] == output["runOutputName"]
            assert document["type"] == "Microsoft.VirtualMachineImages/imageTemplates/runOutputs"
            key = "artifactUri" if output["type"] == "VHD" else "artifactId"
            assert document["properties"] == {key: output["artifact"], "provisioningState": "Succeeded"}
            assert output["files"]
            for file in output["files"]:
                assert file["exists"]
                assert file["bytes"] > 100 * MIB


def test_out_has_a_folder_for_each_output(builds: Builds) -> None:
    made = {str(path.relative_to(builds.out)) for path in builds.out.rglob("*") if path.is_file()}
    assert made == {
        "customization.log", "validation.log",
        "everything-vhd/linux-everything.vhd", "everything-vhd/everything-vhd.vhd",
        "everything-vhd/everything-vhd.qcow2", "everything-vhd/runOutput.json",
        "everything-gallery/everything-gallery.qcow2", "everything-gallery/runOutput.json",
    }  # fmt: skip
    copy = builds.out / "everything-vhd" / "linux-everything.vhd"
    run("cmp", copy, builds.vhd)
    assert not copy.samefile(builds.vhd) and copy.stat().st_nlink == 1
    assert copy.stat().st_blocks <= builds.vhd.stat().st_blocks + 2048


def test_also_makes_a_qcow2_of_the_same_disk(builds: Builds) -> None:
    made = builds.out / "everything-vhd" / "everything-vhd.qcow2"
    run("qemu-img", "check", "-q", "-f", "qcow2", made)
    run("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "vpc", made, builds.vhd)
    assert "backing-filename" not in json.loads(run("qemu-img", "info", "--output=json", made))


# The VHD


def test_the_vhd_is_what_azure_takes(builds: Builds) -> None:
    info = json.loads(run("qemu-img", "info", "--output=json", "-f", "vpc", builds.vhd))
    assert (info["format"], info["virtual-size"]) == ("vpc", 8 * GIB)
    facts = builds.vhd.stat()
    assert facts.st_size == 8 * GIB + 512
    assert info["virtual-size"] % MIB == 0
    assert facts.st_blocks * 512 < 2 * GIB, "it is not sparse"


def test_an_independent_reader_takes_the_vhd(builds: Builds) -> None:
    reader = pytest.importorskip("dissect.hypervisor.disk.vhd")
    with builds.vhd.open("rb") as stream, builds.vhd.open("rb") as plain:
        disk = reader.VHD(stream)
        assert disk.size == 8 * GIB
        for offset in (0, 446, MIB, 4 * GIB - 4096, 8 * GIB - 4096):
            disk.seek(offset)
            plain.seek(offset)
            assert disk.read(4096) == plain.read(4096)
        plain.seek(510)
        assert plain.read(2) == b"\x55\xaa"


@pytest.fixture(scope="module")
def files(builds: Builds, folder: Path) -> Iterator[GuestFiles]:
    opened = GuestFiles.open_disk(builds.vhd, "vpc", folder / "view", forever())
    assert opened is not None
    with opened:
        yield opened


def test_the_vhd_holds_what_the_steps_made(files: GuestFiles) -> None:
    assert files.read("/etc/aibemu-test.conf") == (FIXTURES / "files" / "settings.conf").read_text(encoding="utf-8")
    assert owner_and_mode(files, "/etc/aibemu-test.conf") == (0, 4, "0640")
    assert owner_and_mode(files, f"{KEPT}/owned") == (0, 4, "0640")
    assert owner_and_mode(files, f"{KEPT}/folder") == (65534, 65534, "0750")
    root = dict(line.split("=", 1) for line in (files.read(f"{KEPT}/root") or "").splitlines())
    assert re.fullmatch(r"/tmp/script_\d{1,4}\.sh", root.pop("script"))
    assert root == {
        "user": "root", "group": "root", "home": f"/home/{USER}", "pwd": f"/home/{USER}", "sudo_user": USER,
        "builder": "azure-arm", "standard-input": "0",
    }  # fmt: skip
    assert files.read(f"{KEPT}/deprovisioned") == "root\n"


def test_the_vhd_is_generalised(files: GuestFiles) -> None:
    for path in ("/etc/passwd", "/etc/shadow", "/etc/group"):
        assert not re.search(rf"^{USER}:", files.read(path) or "", re.MULTILINE), path
    assert USER not in (files.list("/home") or [])
    assert [name for name in files.list("/etc/ssh") or [] if name.startswith("ssh_host_")] == []
    assert not files.list("/var/lib/waagent")
    assert [name for name in files.list("/tmp") or [] if name.startswith(("script_", "packer"))] == []


# On another machine, and as a source


def test_the_vhd_boots_elsewhere(plain: PlainMachine) -> None:
    assert "status: done" in plain.ok("cloud-init status --wait")
    assert plain.ok("hostname") == "elsewhere"
    assert plain.run(f"getent passwd {USER}")[0] == 2
    assert plain.ok("curl --silent --show-error --fail --retry 30 --retry-delay 1 --retry-connrefused "
                    "http://127.0.0.1:8080/") == (FIXTURES / "files" / "index.html").read_text().strip()  # fmt: skip
    assert plain.ok("systemctl is-active hello") == "active"
    assert plain.ok(f"sudo stat -c '%U:%G %a' /etc/aibemu-test.conf {KEPT}/owned {KEPT}/folder").splitlines() == [
        "root:adm 640", "root:adm 640", "nobody:nogroup 750",
    ]  # fmt: skip
    assert "世界" in plain.ok("sudo cat /etc/aibemu-test.conf")
    assert plain.ok(f"cat {KEPT}/first-step") == "once"
    assert plain.ok("cat /etc/ssh/ssh_host_ed25519_key.pub") != plain.ok(f"cat {KEPT}/build-key.pub")
    assert int(plain.ok("df --output=size -B1 / | tail -1")) > 7 * GIB


def test_an_image_is_the_source_of_the_next(builds: Builds, failed: Build) -> None:
    started = failed.events("run.started")[0]
    # `latest` passes over the other build's version, which is excluded from it.
    assert started["exact_version"] == f"{DEFINITION}/versions/{gallery_version(builds.quick)}"
    page = (FIXTURES / "files" / "index.html").read_text().splitlines()
    # Then the validation of the quick start, as it is shipped: the web server runs in a machine of its image.
    lines = failed.lines("c1")
    assert lines[:-2] == ["Built by aibemu.", *page, next(line for line in page if "Hello" in line)]
    assert lines[-2:] == ["code=7", "Identity not found"], "the network: refused at once, not after a minute"


def test_a_failing_customizer_is_shown(failed: Build) -> None:
    assert failed.process.returncode == 1
    screen = failed.stderr[failed.stderr.rindex("FAILED in phase customize") :]
    assert ": Breaks" in screen.splitlines()[0]
    assert "chained.json:" in screen
    assert "exit:  status 3" in screen
    assert "| going to fail" in screen
    assert "Script exited with non-zero exit status: 3" in screen
    assert [event["step"] for event in failed.events("step.started")] == ["c1", "c2"]
    assert failed.lines("c2") == []
    assert len(typed(failed)) == 3


def typed(build: Build) -> list[str]:
    """The commands that the failure screen says to type next."""
    _, _, end = build.stderr.partition("type next:")
    return [line.strip() for line in end.splitlines() if line.startswith("    ")]


def test_the_kept_machine_can_be_used_and_freed(builds: Builds, failed: Build) -> None:
    (ready,), (port,), run = failed.events("machine.ready"), failed.ports(), failed.run
    assert typed(failed)[0] == f"aibemu shell {run}"
    (kept,) = failed.events("machine.kept")
    command = str(kept["command"])
    assert command.startswith("ssh ") and command in failed.stderr
    done = subprocess.run(
        [*shlex.split(command), "hostname; cat /etc/motd"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{ready['hostname']}\nBuilt by aibemu.\n"
    key = Path(shlex.split(command)[shlex.split(command).index("-i") + 1])
    assert stat.S_IMODE(key.stat().st_mode) == 0o600

    assert command in aibemu(builds.home, "status", run).stdout
    listed = aibemu(builds.home, "status")
    (row,) = [line for line in listed.stdout.splitlines() if line.startswith(run)]
    assert "Failed" in row
    assert "kept machine" in row
    assert machine_processes(builds.home) == {"QEMU", "platform"}

    freed = aibemu(builds.home, "clean", run, "--yes")
    assert freed.returncode == 0, freed.stderr
    assert not (builds.home / "runs" / run).exists()
    assert left_over(builds.home) == []
    assert not is_open(port)
