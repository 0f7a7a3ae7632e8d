"""The scripts of a first boot and of the end, run by a real PowerShell on the machine of fixtures/guests: what they set
up, that the platform hears of it, and that nothing of it is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.systems.windows.answers import SPECIALIZE
from aibemu.systems.windows.leaving import SCRIPT, leave
from aibemu.systems.windows.media import script
from aibemu.testing.clock import FakeClock
from fixtures.guests.guest import Guest
from tests.guest_calls import begin, call, until
from tests.windows_first_boot import SERVER, SETUP, FirstBoot, first_boot
from tests.windows_guest import DirectCommunicator

pytestmark = pytest.mark.timeout(900)
COMPLETE = rf"{SETUP}\SetupComplete.cmd"
NOTES = r"HKLM\SOFTWARE\aibemu"
POLICIES = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System"
CONTROL = r"HKLM\SYSTEM\CurrentControlSet\Control"
LEAVE = rf"powershell -ExecutionPolicy Bypass -File {SCRIPT} -Pause 0"
STAGES = ["user", "certificate", "listener", "firewall", "network", "report", "ready"]


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[FirstBoot]:
    with first_boot(tmp_path) as made:
        yield made


def go(boot: FirstBoot) -> None:
    """Run the script of the end, until the machine is off."""
    offs: list[str] = []
    boot.machine.on_power(lambda kind, seconds: offs.append(kind))
    begin(boot.machine, LEAVE)
    until(lambda: offs == ["off"])


def files(guest: Guest) -> set[str]:
    """The files of its drive, and of its registry; not what PowerShell itself keeps."""
    folders = (guest.drive / "Windows", guest.base / "registry", guest.state / "tasks", guest.state / "cert")
    return {str(path.relative_to(guest.base)) for folder in folders for path in folder.rglob("*") if path.is_file()}


def registry(guest: Guest) -> dict[str, str]:
    """All values that there are, by key."""
    return {
        str(path.parent): path.read_text() for path in (guest.base / "registry").rglob("@") if path.read_text()
    }  # fmt: skip


def test_a_server_comes_up_reports_and_is_left_as_it_was(boot: FirstBoot) -> None:
    guest, thumbprint = boot.machine.guest, boot.settings["certificateThumbprint"]
    kept = boot.machine.host(COMPLETE)
    # Long, for cmd reads on where it was when a batch file is another one.
    own = b"@rem of the image\r\n" * 40 + b"@echo read on> C:\\Windows\\Temp\\read-on.txt\r\n"
    kept.write_bytes(own)
    before, values = files(guest), registry(guest)
    guest.write("disabled", ["Administrator", "Guest"])
    boot.machine.registry.set(POLICIES, "LocalAccountTokenFilterPolicy", "0", "DWord")

    assert call(boot.machine, SPECIALIZE).code == 0
    assert boot.said == ["[aibemu] stage: specialize", "[aibemu] stage: files"]
    assert boot.machine.registry.get(rf"{CONTROL}\TimeZoneInformation", "RealTimeIsUniversal") == "1"
    assert boot.machine.registry.get(rf"{CONTROL}\BitLocker", "PreventDeviceEncryption") == "1"
    assert (guest.state / "tasks/aibemu-setup.xml").exists() and b"setup.ps1" in kept.read_bytes()

    done = call(boot.machine, COMPLETE)
    assert (done.code, done.stderr) == (0, "")
    assert boot.said[2:] == [f"[aibemu] stage: {name}" for name in STAGES]
    assert [report.ready for report in boot.heard] == [True]
    # The built-in administrator is the build user, by the answer file's password, as in Azure.
    assert boot.table("users") == {"packer": boot.settings["password"]}
    assert boot.table("sids") == {"packer": "S-1-5-21-1-2-3-500"} and boot.table("disabled") == ["Guest"]
    assert boot.table("groups") == {"S-1-5-32-544": ["packer"]} and boot.table("clock") == {}
    assert boot.table("winrm")["listeners"] == {
        "*+HTTPS": {
            "Address": "*", "Transport": "HTTPS", "Hostname": "aibemu", "CertificateThumbprint": thumbprint
        }
    }  # fmt: skip
    assert boot.table("winrm")["winrm/config"] == {"MaxTimeoutms": "1800000"}
    (rule,) = boot.table("firewall").values()
    assert (rule["LocalPort"], rule["Profile"], rule["Direction"], rule["Action"]) == (
        "5986",
        "Any",
        "Inbound",
        "Allow",
    )
    assert boot.machine.registry.get(POLICIES, "LocalAccountTokenFilterPolicy") == "1"
    assert boot.table("services")["WinRM"] | {"DisplayName": ""} == {
        "DisplayName": "", "Status": "Running", "StartType": "Automatic"
    }  # fmt: skip
    # Secrets, scripts and the task are gone; the image's own SetupComplete.cmd is back.
    cert = f"state/cert/LocalMachine/My/{thumbprint}"
    added = files(guest) - before
    assert {name for name in added if not name.startswith("registry/")} == {
        "c/Windows/Temp/aibemu-setup.log", cert, f"{cert}.key"
    }  # fmt: skip
    assert kept.read_bytes() == own
    log = boot.machine.host(r"C:\Windows\Temp\aibemu-setup.log").read_text()
    assert boot.settings["password"] not in log and boot.settings["certificatePassword"] not in log

    boot.machine.host(r"C:\Windows\Panther\unattend.xml").write_bytes(boot.files["Unattend.xml"])
    boot.machine.host(r"C:\Windows\Panther\theirs.xml").write_bytes(b"<unattend/>")
    boot.machine.host(r"C:\Windows\Panther\folder.xml").mkdir()
    boot.machine.host(SCRIPT).write_bytes(script("leave.ps1"))
    go(boot)
    assert boot.said[-1] == "[aibemu] stage: left" and not [line for line in boot.said if "left behind" in line]
    assert files(guest) - before - {"c/Windows/Panther/theirs.xml"} <= {name for name in added if "registry" in name}
    assert not boot.machine.registry.exists(NOTES)
    assert boot.machine.registry.get(POLICIES, "LocalAccountTokenFilterPolicy") == "0"
    boot.machine.registry.delete(POLICIES, "LocalAccountTokenFilterPolicy")
    assert registry(guest) == values
    assert boot.table("users") == {"Administrator": boot.settings["password"]} and boot.table("firewall") == {}
    assert boot.table("winrm")["listeners"] == {}
    assert boot.table("winrm")["winrm/config"] == {"MaxTimeoutms": "60000"}


def test_a_client_keeps_its_user_until_the_end_and_its_own_listener_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the platform's answers: the machine's clock is off by a time zone.
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda self: "Fri, 01 Jan 2027 08:00:00 GMT")
    facts = replace(SERVER, build=22631, installation="Client")
    with first_boot(tmp_path, facts) as boot:
        guest = boot.machine.guest
        guest.write("users", {"Administrator": "x", "packer": "y"})
        guest.write("groups", {"S-1-5-32-544": ["packer"]})
        services = guest.read("services")
        guest.write("services", services | {"MpsSvc": services["MpsSvc"] | {"Status": "StartPending"}})
        own = {"Address": "*", "Transport": "HTTPS", "Hostname": "theirs", "CertificateThumbprint": "AB" * 20}
        guest.write("winrm", {
            "listeners": {"*+HTTPS": own}, "winrm/config": {"MaxTimeoutms": "2000000"},
            "winrm/config/winrs": {"MaxMemoryPerShellMB": "150"},
        })  # fmt: skip
        (guest.state / "cert/LocalMachine/My").mkdir(parents=True)
        (guest.state / f"cert/LocalMachine/My/{'AB' * 20}").touch()
        call(boot.machine, SPECIALIZE)
        assert call(boot.machine, COMPLETE).code == 0
        assert boot.table("users") == {"Administrator": "x", "packer": boot.settings["password"]}
        assert boot.table("clock") == {"set": "2027-01-01T08:00:00Z"}
        assert list(boot.table("firewall")) == ["aibemu-winrm"], "the firewall was still starting"
        now = boot.table("winrm")
        assert now["listeners"]["*+HTTPS"]["CertificateThumbprint"] == boot.settings["certificateThumbprint"]
        assert (now["winrm/config"], now["winrm/config/winrs"]) == (
            {"MaxTimeoutms": "2000000"}, {"MaxMemoryPerShellMB": "1024"}
        )  # fmt: skip
        boot.machine.host(SCRIPT).write_bytes(script("leave.ps1"))
        go(boot)
        assert boot.table("users") == {"Administrator": "x"}
        assert boot.table("winrm")["listeners"] == {"*+HTTPS": own}
        assert boot.table("winrm")["winrm/config/winrs"] == {"MaxMemoryPerShellMB": "150"}
        # The machine knows nothing of profiles: what cannot be removed is told, and the rest is done.
        (line,) = [line for line in boot.said if "left behind" in line]
        assert line.startswith("[aibemu] left behind: the profile of the build user: ")
        # And noted for the host.
        assert "Win32_UserProfile" in (boot.machine.registry.get(NOTES, "left:the profile of the build user") or "")


def test_the_task_does_the_same_where_setupcomplete_did_not_run_and_only_once(boot: FirstBoot) -> None:
    call(boot.machine, SPECIALIZE)
    task = rf"powershell -ExecutionPolicy Bypass -File {SETUP}\aibemu\setup.ps1 -Stage Task -HeadStart 0"
    copy = boot.machine.host(rf"{SETUP}\aibemu").rename(boot.machine.host(r"C:\again"))
    call(boot.machine, task.replace(rf"{SETUP}\aibemu", r"C:\again"))
    assert [report.ready for report in boot.heard] == [True] and boot.said[-1] == "[aibemu] stage: ready"
    said = boot.said
    call(boot.machine, task.replace(rf"{SETUP}\aibemu", r"C:\again"))
    assert len(boot.heard) == 1 and boot.said == said and copy.is_dir()


def test_what_a_power_cut_left_is_removed_at_the_next_start(boot: FirstBoot) -> None:
    boot.machine.host(COMPLETE).write_bytes(b"@echo of the image\r\n")
    call(boot.machine, SPECIALIZE)
    boot.machine.registry.set(NOTES, "ready", "yes")
    call(boot.machine, rf"powershell -ExecutionPolicy Bypass -File {SETUP}\aibemu\setup.ps1 -Stage Task -HeadStart 0")
    assert boot.heard == [] and not boot.machine.host(rf"{SETUP}\aibemu").exists()
    assert boot.machine.host(COMPLETE).read_bytes() == b"@echo of the image\r\n"
    assert not list((boot.machine.guest.state / "tasks").glob("aibemu*"))


def test_the_end_takes_out_what_a_setup_left_and_switches_off_whatever_happens(boot: FirstBoot) -> None:
    """Nothing was noted, SetupComplete.cmd is still ours, and an answer file cannot be read."""
    call(boot.machine, SPECIALIZE)
    boot.machine.registry.delete(NOTES)
    boot.machine.host(r"C:\Windows\Panther\gone.xml").symlink_to("nowhere")
    boot.machine.host(SCRIPT).write_bytes(script("leave.ps1"))
    go(boot)
    assert [line.partition(": ")[2].partition(": ")[0] for line in boot.said if "left behind" in line] == [
        "the answer file"
    ]
    assert not boot.machine.host(COMPLETE).exists() and not boot.machine.host(rf"{SETUP}\aibemu").exists()
    assert not boot.machine.host(SCRIPT).exists()


def test_a_failure_is_told_on_the_serial_port_and_to_the_platform(boot: FirstBoot) -> None:
    call(boot.machine, SPECIALIZE)
    boot.machine.host(rf"{SETUP}\aibemu\winrm.pfx").write_bytes(b"no certificate")
    assert call(boot.machine, rf"powershell -File {SETUP}\aibemu\setup.ps1 -Stage Complete").code == 1
    assert boot.said[-1].startswith("[aibemu] failed: certificate: ")
    (report,) = boot.heard
    assert report.failed and report.description.startswith("aibemu's setup in the guest failed: certificate: ")


def test_a_platform_that_never_answers_ends_it_with_its_name(boot: FirstBoot) -> None:
    call(boot.machine, SPECIALIZE)
    file = boot.machine.host(rf"{SETUP}\aibemu\settings.json")
    file.write_text(file.read_text().replace("http://127.0.0.1:", "http://127.0.0.1:1/?old="))
    line = rf"powershell -File {SETUP}\aibemu\setup.ps1 -Stage Complete -Patience 1"
    assert call(boot.machine, line).code == 1
    assert [line.partition(": ")[2] for line in boot.said][-4] == "firewall"
    assert boot.said[-2].startswith("[aibemu] failed: network: ") and "not reported" in boot.said[-1]
    assert boot.heard == []


def test_the_image_s_second_script_runs_at_the_end_as_in_azure(boot: FirstBoot) -> None:
    boot.machine.host(r"C:\Windows\OEM").mkdir()
    boot.machine.host(r"C:\Windows\OEM\SetupComplete2.cmd").write_bytes(b"@echo ran> C:\\Windows\\Temp\\second.txt\r\n")
    call(boot.machine, SPECIALIZE)
    call(boot.machine, COMPLETE)
    assert boot.machine.host(r"C:\Windows\Temp\second.txt").read_text().strip() == "ran"
    assert len(boot.heard) == 1


def test_the_host_starts_the_end_and_goes(boot: FirstBoot) -> None:
    """A task of the guest's does the rest: the machine is off by then."""
    offs: list[str] = []
    communicator = DirectCommunicator(boot.machine)
    boot.machine.on_power(lambda kind, seconds: offs.append(kind))
    assert leave(communicator, forever(FakeClock())) is False, "nothing was put into it"
    services = boot.machine.guest.read("services")
    off = {"Status": "Stopped", "StartType": "Disabled"}
    boot.machine.guest.write("services", services | {"MpsSvc": services["MpsSvc"] | off})
    call(boot.machine, SPECIALIZE)
    call(boot.machine, COMPLETE)
    assert leave(communicator, forever(FakeClock())) is True
    until(lambda: offs == ["off"])
    assert not boot.machine.registry.exists(NOTES) and boot.said[-1] == "[aibemu] stage: left"
    assert not [line for line in boot.said if "left behind" in line], "there was no firewall, so no rule"
    assert not boot.machine.host(SCRIPT).exists() and not list((boot.machine.guest.state / "tasks").glob("aibemu*"))
