"""Every remedy is found by what real programs say, and by nothing that is not its business."""

from __future__ import annotations

import time

import pytest

from aibemu.images.windows import GENERALIZED
from aibemu.reports.remedies import REMEDIES, find_remedy
from aibemu.systems.windows.sysprep import Logs, cause

SAID = [
    ("apt-lock", "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (apt-get)", 100),
    ("apt-lock", "E: Unable to acquire the dpkg frontend lock (/var/lib), is another process using it?", 100),
    ("sudo", "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?", 100),
    ("sudo", "touch: cannot touch '/buildArtifacts/imageBuilder.md': Permission denied", 1),
    ("sudo", "/tmp/script_1.sh: 2: cannot create /etc/motd: Permission denied", 2),
    ("sudo", "mount: /mnt: must be superuser to use mount: are you root?", 1),
    ("not-found", "/tmp/script_9178.sh: 3: frobnicate: not found", 127),
    ("not-found", "bash: line 1: frobnicate: command not found", 1),
    ("noexec", "sh: 1: /tmp/script_9178.sh: cannot execute", 126),
    ("noexec", "sh: 1: /tmp/script_9178.sh: Exec format error", 126),
    ("bashism", "/tmp/script_9178.sh: 4: [[: not found", 127),
    ("bashism", "/tmp/script_9178.sh: 4: Bad substitution", 2),
    ("bashism", '/tmp/script_9178.sh: 2: Syntax error: "(" unexpected', 2),
    ("bashism", "/tmp/script_9178.sh: 2: source: not found", 127),
    ("bashism", "/tmp/script_9178.sh: 2: set: Illegal option -o pipefail", 2),
    ("dns", "curl: (6) Could not resolve host: exmaple.com", 6),
    ("dns", "Temporary failure resolving 'mirror.example'", 100),
    ("apt-lists", "E: Unable to locate package nginx", 100),
    ("apt-lists", "E: Could not open file /var/lib/apt/lists/x - open (2: No such file or directory)", 100),
    ("apt-404", "E: Failed to fetch http://mirror/x.deb  404  Not Found [IP: 192.0.2.1 80]", 100),
    ("disk-full", "tar: x: Cannot write: No space left on device", 2),
    ("killed", "", 137),
    ("oom", "fork: Cannot allocate memory", 254),
    ("crlf", "/tmp/script_1.sh: 2: apt-get\\r: not found", 127),
    ("crlf", "/tmp/script_1.sh: line 2: $'\\r': command not found", 127),
    ("crlf", "sh: ./x.sh: /bin/bash^M: bad interpreter: No such file or directory", 126),
    ("crlf", "/tmp/script_1.sh: 2: apt-get\r: not found", 127),
    ("debconf", "debconf: unable to initialize frontend: Dialog", 1),
    ("question", "Do you want to continue? [Y/n] Abort.", 1),
    ("noexec", "sh: 1: /tmp/script_9178.sh: Permission denied", 126),
    ("waagent", "/tmp/DeprovisioningScript.sh: 1: /usr/sbin/waagent: not found", 127),
    ("certificate", "curl: (60) SSL certificate problem: unable to get local issuer certificate", 60),
    ("disconnected", "", 2300218),
    ("cloud-init", "....................status: done", 2),
    ("cloud-init", "status: done", 2),
    ("sudo-tty", "sudo: sorry, you must have a tty to run sudo", 1),
    ("sudo-password", "sudo: a password is required", 1),
    ("sudo-password", "sudo: no tty present and no askpass program specified", 1),
    ("sudo-password", "packer is not in the sudoers file.  This incident will be reported.", 1),
    ("no-terminal", "gpg: cannot open '/dev/tty': No such device or address", 2),
    ("no-terminal", "gpg: signing failed: Inappropriate ioctl for device", 2),
    ("no-terminal", "the input device is not a TTY", 1),
    ("deprovision-script", r"Deprovisioning script [c:\DeprovisioningScript.ps1] could not be found.", 1),
    ("sysprep-appx", "SYSPRP Failed to remove apps for the current user: 0x80073cf2.", 1),
    ("sysprep-appx", "the Store app X_1_x64__8 was installed for a user, and not for all (0x80073cf2)", 1),
    ("sysprep-bitlocker", "SYSPRP BitLocker-Sysprep: BitLocker is on for the OS volume. (0x80310039)", 1),
    ("sysprep-reserved-storage", "Audit mode cannot be turned on; hr = 0x800F0975", 1),
    ("sysprep-rearm", "SYSPRP SLReArmWindows failed, hr = 0xC004D307", 1),
    ("sysprep-restart", "updates or installations wait for a restart", 1),
    ("sysprep-again", "RunExternalDlls:Not running DLLs; either the machine is in an invalid state", 1),
    ("sysprep-part", "Sysprep stopped in MRTGeneralize of mrt_sysprep.dll (0x5)", 1),
    ("sysprep-script", "Windows is generalised (IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE), and it does not end", 1),
    ("sysprep-state", "Sysprep never began: ImageState is still IMAGE_STATE_COMPLETE", 1),
    ("sysprep-state", "Sysprep began and did not finish: ImageState is IMAGE_STATE_UNDEPLOYABLE", None),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "line", "code"), SAID)
def test_known_failures(wanted: str, line: str, code: int) -> None:
    found = find_remedy(["Reading package lists...", line], code)
    assert found is not None
    assert found.id == wanted


def test_each_cause_that_sysprep_has_gets_advice_of_its_own() -> None:
    """What the last step says of it is the last line that people see."""
    lines = {"Package A_1 was installed for a user, but not provisioned", "0x80310039", "0x800F0975", "0xC004D307",
             "pending updates", "Not running DLLs; either the machine is in an invalid state",
             "Failure occurred while executing 'A' from C:\\b.dll; dwRet = 0x1"}  # fmt: skip
    whys = [cause(Logs(lines={"setuperr": (line,)})).why for line in lines]
    whys += [cause(Logs(state=state, lines={})).why for state in (GENERALIZED, "IMAGE_STATE_COMPLETE")]
    found = [find_remedy(["Operation not permitted", why], 1) for why in whys]
    assert all(one and one.id.startswith("sysprep-") for one in found)
    assert len({one.id for one in found if one}) == len(whys)


def test_nothing_is_said_about_the_unknown() -> None:
    assert find_remedy(["assertion 3 failed"], 1) is None
    assert find_remedy([], None) is None


def test_every_remedy_has_a_case() -> None:
    assert {remedy.id for remedy in REMEDIES} == {wanted for wanted, _, _ in SAID}


def test_the_last_cause_counts_and_noise_comes_last() -> None:
    noise = "debconf: unable to initialize frontend: Dialog"
    both = find_remedy(
        ["E: Unable to locate package x", noise, "mkdir: cannot create directory '/x': Permission denied"], 1
    )
    assert both is not None and both.id == "sudo"
    killed = find_remedy([noise, "Setting up x ..."], 137)
    assert killed is not None and killed.id == "killed"


@pytest.mark.parametrize("piece", ["set: ", "debconf: ", "Failed to fetch ", "Deprovisioning script "])
def test_a_megabyte_made_to_be_slow(piece: str) -> None:
    began = time.monotonic()
    assert find_remedy([(piece * 2**20)[: 2**20]], 1) is None
    found = find_remedy(["x" * 2**20 + "No space left on device"], 1)
    assert found is not None and found.id == "disk-full"
    assert time.monotonic() - began < 10
