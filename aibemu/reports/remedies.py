"""What probably went wrong and what to do about it: patterns over the last lines and the exit status of a failed step.

The later a line, the likelier it is the cause, so lines are searched from the last one back; for one line the order of
the table counts. Exit statuses come after all lines, and hints that often are harmless noise come last. Most are the
service's own top complaints (facts: service 7.1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Characters of a line, from its beginning and from its end, that are searched.
LONGEST = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """pattern: searched in a line of output. exit_code: must be this one, if given. Both given: both must fit.
    weak: only when nothing else fits."""

    id: str
    text: str
    pattern: re.Pattern[str] | None = None
    exit_code: int | None = None
    weak: bool = False

    def fits(self, line: str | None, exit_code: int | None) -> bool:
        """line None: judge by the exit status alone."""
        if self.exit_code is not None and exit_code != self.exit_code:
            return False
        if self.pattern is None or line is None:
            return self.pattern is None and line is None
        # Some patterns take a time that grows with the square of the line's length.
        return any(self.pattern.search(part) for part in dict.fromkeys((line[:LONGEST], line[-LONGEST:])))


def _remedy(id_: str, pattern: str | None, text: str, *, exit_code: int | None = None, weak: bool = False) -> Remedy:
    compiled = re.compile(pattern, re.IGNORECASE) if pattern else None
    return Remedy(id=id_, pattern=compiled, text=text, exit_code=exit_code, weak=weak)


_NOEXEC = (
    "the script could not be executed: /tmp is mounted noexec (hardened images do that), its `#!` names something that "
    "is not there, or a file lacks its execute bit"
)


# What Sysprep's logs say, and what the last step on Windows says of them (aibemu/systems/windows/sysprep.py).
_SYSPREP = (
    _remedy(
        "deprovision-script", r"Deprovisioning script \[c:|DeprovisioningScript\.ps1 is gone",
        "a customizer deleted C:\\DeprovisioningScript.ps1 (Remove-Item C:\\* does): leave it where it is",
    ),
    _remedy(
        "sysprep-appx", r"0x80073cf2|was installed for a user, (but|and) not",
        "a Store app was installed for one user only: remove it in the last PowerShell step, "
        "`Get-AppxPackage -AllUsers -Name NAME | Remove-AppxPackage -AllUsers`, with the name that Sysprep's log gives",
    ),
    _remedy(
        "sysprep-bitlocker", r"0x80310039",
        "the disk is encrypted by BitLocker: decrypt it in a step and wait for the end of that (`manage-bde -off C:`, "
        "`manage-bde -status C:`)",
    ),
    _remedy(
        "sysprep-reserved-storage", r"0x800F0975",
        "Windows' reserved storage is in use by an update: let the updates end, or switch it off with "
        "`dism /online /set-reservedstoragestate /state:disabled`",
    ),
    _remedy(
        "sysprep-rearm", r"0xC004D307",
        "Windows was generalised as often as it allows: start from the original image, not from one made of it",
    ),
    _remedy(
        "sysprep-restart", r"updates or installations wait for a restart",
        "put a WindowsRestart step last, after WindowsUpdate and after whatever installs",
    ),
    _remedy(
        "sysprep-again", r"an earlier Sysprep failed on this machine|Not running DLLs; either the machine is in an inv",
        "an earlier Sysprep failed and Windows refuses another one: take Sysprep out of the customizers, and start "
        "from an image on which it has never failed",
    ),
    _remedy(
        "sysprep-part", r"Sysprep stopped in \w+ of",
        "a part of Windows refused to be generalised: the lines above say why; remove what it belongs to, or set that "
        "up after the image is used",
    ),
    _remedy(
        "sysprep-script", r"Windows is generalised \(.*does not end",
        "let the deprovision script end when ImageState says IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE",
    ),
    _remedy(
        "sysprep-state", r"ImageState is (still )?(IMAGE_STATE_|not set)",
        "Sysprep did not generalise Windows: its logs are saved with the run (console/build-setuperr.log and "
        "build-setupact.log); a role, an update or an installer may want a WindowsRestart step before the end",
    ),
)  # fmt: skip


REMEDIES: tuple[Remedy, ...] = (
    *_SYSPREP,
    _remedy(
        "crlf", r"\\r: (command )?not found|\r|\^M: bad interpreter|\$'\\r'|/bin/(ba|da)?sh\^M",
        "the script has Windows line ends (CRLF): save it with LF; `sed -i 's/\\r$//' FILE` mends one that it reads",
    ),
    _remedy(
        "apt-lock", r"Could not get lock|Unable to (acquire|lock) the (dpkg|administration|download)(?!.*are you root)|"
        r"is another process using it",
        "another process holds apt's lock (unattended upgrades, cloud-init): use "
        "`apt-get -o DPkg::Lock::Timeout=300 ...`",
    ),
    _remedy(
        "disk-full", r"No space left on device|not enough (free )?(disk )?space",
        "the machine's disk is full: raise vmProfile.osDiskSizeGB, or clean up (`apt-get clean`) between the steps",
    ),
    _remedy(
        "dns", r"Could not resolve (host|hostname|proxy)?|Temporary failure (in name resolution|resolving)|"
        r"Name or service not known",
        "a host name could not be resolved in the VM: check the name, this host's own network and DNS, and proxies",
    ),
    _remedy(
        "apt-lists", r"Unable to locate package|has no installation candidate|Could not open file /var/lib/apt/lists",
        "apt has no package lists yet: run `sudo apt-get update` in the same step, before `apt-get install`",
    ),
    _remedy(
        "apt-404", r"(404\s+Not Found|Hash Sum mismatch).*|Failed to fetch .*404",
        "the package lists are older than the mirror: run `sudo apt-get update` right before `apt-get install`",
    ),
    _remedy(
        "question", r"\(Y/I/N/O/D/Z\)|Do you want to continue\? \[Y/n\]|end of file on stdin at conffile prompt",
        "a package asked a question and nobody can answer: use `apt-get -y`, with `DEBIAN_FRONTEND=noninteractive` and "
        "`-o Dpkg::Options::=--force-confold` for configuration files",
    ),
    _remedy(
        "bashism", r"\[\[: not found|Syntax error: (\"\(\"|Bad substitution|redirection)|Bad substitution|"
        r"(source|pushd|popd|declare|shopt): not found|Illegal option -o pipefail|set: .*pipefail",
        "inline commands run under /bin/sh (dash on Debian and Ubuntu), not bash: make `#!/bin/bash -e` the first "
        "inline line, or use a script with its own `#!`",
    ),
    _remedy("noexec", r"Permission denied", _NOEXEC, exit_code=126),
    _remedy(
        "cloud-init", r"^\.*status: (done|degraded)|^extended_status: degraded",
        "`cloud-init status --wait` ends with 2 where cloud-init is done with warnings, which is harmless, and `sh -e` "
        "stops there: write `cloud-init status --wait || [ $? -eq 2 ]`",
        exit_code=2,
    ),
    _remedy(
        "sudo-tty", r"must have a tty to run sudo",
        "sudo wants a terminal (requiretty), and a build has none: the image's sudoers has to leave out requiretty; "
        "take an image without it, or put `Defaults !requiretty` into its sudoers before you make the image",
    ),
    _remedy(
        "sudo-password", r"sudo: .*(a password is required|a terminal is required|no tty present|no askpass)|"
        r"is not (in the sudoers file|allowed to (run sudo|execute))",
        "sudo asks the build user for a password: a step has changed or removed his rule in /etc/sudoers.d, or sudo's "
        "files; leave them as they are until the last step, which is the service's own",
    ),
    _remedy(
        "no-terminal", r"(?<!stdin: is )not a tty\b|/dev/tty\b|gpg: .*Inappropriate ioctl|"
        r"no terminal (attached|available)",
        "a program wants a terminal, and a build has none: tell it so (`gpg --batch --yes --no-tty`, `apt-get -y`, "
        "`docker run` without -t)",
    ),
    _remedy(
        "sudo", r"Permission denied|must be root|are you root\?|Operation not permitted|superuser privileges|"
        r"EACCES|only root can",
        "inline commands run as the unprivileged build user: put `sudo` before what needs root; for a redirection use "
        "`... | sudo tee FILE`; File steps can write only to /tmp and the user's home",
    ),
    _remedy(
        "waagent", r"waagent: (command )?not found|Deprovisioning script .* could not be found",
        "the deprovision script or the Azure agent is gone: do not delete /tmp/DeprovisioningScript.sh (cleaning /tmp "
        "does) and keep walinuxagent installed",
    ),
    _remedy(
        "certificate", r"certificate (verify failed|is not (yet valid|trusted)|has expired)|SSL certificate problem",
        "a TLS certificate was not accepted in the machine: install `ca-certificates`, or your proxy's certificate, "
        "in an earlier step, and check the clock",
    ),
    _remedy(
        "oom", r"Out of memory|oom-kill|Cannot allocate memory|^Killed$",
        "the machine ran out of memory: choose a larger vmProfile.vmSize, or add swap in an earlier step",
    ),
    _remedy(
        "killed", None,
        "the process was killed (SIGKILL), most often for lack of memory: choose a larger vmProfile.vmSize",
        exit_code=137,
    ),
    _remedy("noexec", None, _NOEXEC, exit_code=126),
    _remedy(
        "not-found", None,
        "a command was not found: install its package in an earlier step, check its spelling and that PATH has its "
        "folder (/sbin is not in the build user's PATH on Debian)",
        exit_code=127,
    ),
    _remedy(
        "disconnected", None,
        "the connection ended with the script: a reboot or a stopped sshd or network; make a restart the last thing of "
        "a step (`sudo shutdown -r +0 &`)",
        exit_code=2300218,
    ),
    _remedy(
        "not-found", r"(command )?not found$",
        "a command was not found: install its package in an earlier step and check its spelling",
    ),
    _remedy(
        "debconf", r"debconf: .*(unable to initialize frontend|falling back)",
        "a package may have asked a question: set `DEBIAN_FRONTEND=noninteractive` for apt-get "
        "(`sudo DEBIAN_FRONTEND=noninteractive apt-get ...`)",
        weak=True,
    ),
)  # fmt: skip


def find_remedy(lines: Sequence[str], exit_code: int | None) -> Remedy | None:
    """The likeliest remedy for a step that said `lines` and ended with `exit_code`; None if nothing is known."""
    for weak in (False, True):
        table = [remedy for remedy in REMEDIES if remedy.weak is weak]
        for line in (*reversed(lines), None):
            for remedy in table:
                if remedy.fits(line, exit_code):
                    return remedy
    return None
