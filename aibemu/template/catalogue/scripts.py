"""The text of scripts (facts: service 5, 7.1 and 7.2; provisioners 1.1 and 1.2)."""

from __future__ import annotations

import json

from aibemu.arm.diagnostics import Severity
from aibemu.template.catalogue.model import Example, Rule


def _shell(*lines: str, name: str = "setup", before: str = "") -> Example:
    """One Shell customizer with these lines; before: another one that comes first, as JSON."""
    step = f'{{ "type": "Shell", "name": "{name}", "inline": {json.dumps(list(lines))} }}'
    return Example(text=f'{{ "properties": {{ "customize": [{before}{step}] }} }}')


def _file(content: str) -> Example:
    step = '{ "type": "Shell", "name": "setup", "scriptUri": "setup.sh" }'
    return Example(text=f'{{ "properties": {{ "customize": [{step}] }} }}', files={"setup.sh": content})


def _powershell(*lines: str) -> Example:
    step = f'{{ "type": "PowerShell", "name": "setup", "inline": {json.dumps(list(lines))} }}'
    return Example(text=f'{{ "properties": {{ "customize": [{step}] }} }}', system="windows")


_STRICT = "$ErrorActionPreference = 'Stop'"

RULES: tuple[Rule, ...] = (
    Rule(
        id="W31",
        level=Severity.WARNING,
        title="a script that the shell cannot read",
        why="The shell itself says so (`dash -n`, `bash -n`: nothing is executed). A shell reads a script "
        "line by line: what is before the mistake still runs, then the step fails. A note with this number names "
        "a script that was not checked, and says why.",
        fix="Mend the line; a quote, a `fi`, a `done` or a bracket is usually missing before it.",
        bad=_shell("if [ -f /etc/motd ]; then", "cat /etc/motd"),
        good=_shell("if [ -f /etc/motd ]; then", "cat /etc/motd", "fi"),
    ),
    Rule(
        id="W32",
        level=Severity.WARNING,
        title="bash in a script for sh",
        why="Inline commands become one script with `#!/bin/sh -e`. On Debian and Ubuntu /bin/sh is dash, "
        "which knows no `[[ ]]`, arrays, `source`, `pipefail`, `+=`, `trap ... ERR` and the like: the step fails "
        "there, with a message that seldom helps. `echo -e` and `{a,b}` do not fail, and mean something else (a real "
        "dash was asked). Said also of a text for `sh -c` or `sh <<EOF`. Where the publisher's images have bash as sh, "
        "this is not said.",
        fix="Write it for sh, wrap the part into `bash -c '...'`, or make it a file with `#!/bin/bash -e` "
        "for scriptUri.",
        bad=_shell("if [[ -f /etc/motd ]]; then cat /etc/motd; fi"),
        good=_shell("if [ -f /etc/motd ]; then cat /etc/motd; fi"),
    ),
    Rule(
        id="W33",
        level=Severity.WARNING,
        title="a command that needs root, without sudo",
        why="Inline commands run as the build user, who is not root and has passwordless sudo (observed in "
        "the service's logs). Scripts of scriptUri run as root (inferred), and are not judged; nor are scripts that "
        "ask who they are (`id -u`), and folders that `sudo chown` gave to the user before.",
        fix="Put `sudo` before the command; for a redirection write `... | sudo tee FILE`.",
        bad=_shell("mkdir /opt/app"),
        good=_shell("sudo mkdir /opt/app"),
    ),
    Rule(
        id="W34",
        level=Severity.WARNING,
        title="a redirection that sudo does not reach",
        why="In `sudo echo x > /etc/y` the shell opens the file before sudo begins, as the build user: "
        "permission denied.",
        fix="Write `echo x | sudo tee /etc/y`, or `sudo sh -c 'echo x > /etc/y'`.",
        bad=_shell("sudo echo hello > /etc/motd"),
        good=_shell("echo hello | sudo tee /etc/motd"),
    ),
    Rule(
        id="W35",
        level=Severity.WARNING,
        title="a restart inside a script",
        why="The connection ends with the machine. Packer takes that for a failure of the step, or the next "
        "step begins before the machine goes down (observed). There is no restart customizer for Linux.",
        fix="On Linux leave it out: the image boots freshly wherever it is used. On Windows use WindowsRestart.",
        bad=_shell("sudo reboot"),
        good=_shell("sudo systemctl daemon-reload"),
    ),
    Rule(
        id="W36",
        level=Severity.WARNING,
        title="a command that asks",
        why="Scripts have no terminal and nobody answers. apt and dnf give up when they would have to ask, "
        "which they do as soon as more than what was named is to be installed; Read-Host waits until the "
        "build's time is over.",
        fix="Say yes beforehand: `-y`, and DEBIAN_FRONTEND=noninteractive for packages that ask themselves. A setting "
        "such as APT::Get::Assume-Yes, in this step or one before, counts.",
        bad=_shell("sudo apt-get install nginx"),
        good=_shell("sudo apt-get install -y nginx"),
    ),
    Rule(
        id="W37",
        level=Severity.WARNING,
        title="double braces in inline text",
        why="Packer renders `{{ }}` in inline commands as templates of its own. Whether the service escapes "
        "them first is not known; if it does not, the build fails before it starts.",
        fix="Put the text into a file, by scriptUri or a File customizer.",
        bad=_shell("docker ps --format '{{ .Names }}'"),
        good=_shell("docker ps --quiet"),
    ),
    Rule(
        id="W38",
        level=Severity.NOTE,
        title="apt in the first customizer",
        why="The first customizer starts as soon as SSH answers. cloud-init or apt's own timers may still "
        "hold apt's lock, or be fetching its lists (observed); the step then fails now and then.",
        fix="Begin with `cloud-init status --wait || [ $? -eq 2 ]`, or add `-o DPkg::Lock::Timeout=300`.",
        bad=_shell("sudo apt-get update"),
        good=_shell("cloud-init status --wait || [ $? -eq 2 ]", "sudo apt-get update"),
    ),
    Rule(
        id="W39",
        level=Severity.WARNING,
        title="a change that takes SSH, the build user or sudo from the build",
        why="Every later step, the deprovisioning and the end of the build need SSH (or WinRM), the build user and its "
        "sudo rule, and run scripts in /tmp. When one of them is gone, the build waits and then fails.",
        fix="Allow SSH before you enable a firewall; leave what closes it, and the build user, to the deprovisioning "
        "and to the machines that use the image.",
        bad=_shell("sudo ufw enable"),
        good=_shell("sudo ufw allow OpenSSH", "sudo ufw enable"),
    ),
    Rule(
        id="W40",
        level=Severity.WARNING,
        title="the deprovision script is deleted",
        why="The service puts /tmp/DeprovisioningScript.sh (c:\\DeprovisioningScript.ps1) into the machine "
        "first and runs it last. Without it the image is not generalised; the service's own log warns of "
        "that.",
        fix="Delete by name what you put there.",
        bad=_shell("sudo rm -rf /tmp/*"),
        good=_shell("rm -rf /tmp/build"),
    ),
    Rule(
        id="W41",
        level=Severity.WARNING,
        title="an own call of waagent -deprovision or sysprep",
        why="The service generalises the image after the last customizer. An earlier call removes the build "
        "user, and what comes after fails; Windows refuses a second sysprep.",
        fix="Leave it out. To change how it is done, write the deprovision script itself, as documented.",
        bad=_shell("sudo waagent -force -deprovision+user"),
        good=_shell("sudo waagent -version"),
    ),
    Rule(
        id="W45",
        level=Severity.WARNING,
        title="a secret in the template",
        why="A template is stored with the resource and shown to whoever may read it; its commands stand in "
        "the build's log.",
        fix="Fetch it in the script from a key vault, with an identity of vmProfile.userAssignedIdentities.",
        bad=_shell("./register --api-key=0123456789abcdef"),
        good=_shell('./register --api-key="$(./fetch-key)"'),
    ),
    Rule(
        id="W46",
        level=Severity.WARNING,
        title="a script with a byte-order mark",
        why="After the mark the kernel does not see the `#!` in the first line, and the script is run by "
        "another shell or not at all. Line ends of Windows do no harm: Packer converts them.",
        fix="Save the file as UTF-8 without a mark.",
        bad=_file("\ufeff#!/bin/bash\necho hello\n"),
        good=_file("#!/bin/bash\necho hello\n"),
    ),
    Rule(
        id="W47",
        level=Severity.NOTE,
        title="PowerShell that goes on after an error",
        why="By default PowerShell prints an error and goes on; the exit code is that of the last program, "
        "or 0. The step succeeds, and the image lacks what failed (observed by many).",
        fix="Begin with `$ErrorActionPreference = 'Stop'`, and check $LASTEXITCODE after programs.",
        bad=_powershell("Copy-Item c:\\from\\app.exe c:\\app"),
        good=_powershell(_STRICT, "Copy-Item c:\\from\\app.exe c:\\app"),
    ),
    Rule(
        id="W95",
        level=Severity.WARNING,
        title="cloud-init status --wait as a command that must not fail",
        why="Since cloud-init 23.4 its status is 2 when the first boot is done and something harmless was reported, "
        "such as an old key in a configuration; Ubuntu 24.04 has that often (observed). Inline commands run with -e, "
        "so that the step fails, and says `status: done`.",
        fix="Write `cloud-init status --wait || [ $? -eq 2 ]`: 1, a real failure, still fails the step.",
        bad=_shell("cloud-init status --wait", "echo ready"),
        good=_shell("cloud-init status --wait || [ $? -eq 2 ]", "echo ready"),
    ),
    Rule(
        id="W96",
        level=Severity.WARNING,
        title="a script whose first line does not say what runs it",
        why="The kernel starts a script by the `#!` at its very begin. Without one sudo gives the script to sh; on "
        "Debian and Ubuntu that is dash. `!#`, a blank or another line before `#!` are the same as none. Of more than "
        "one word after the program only one word is made, so that `#!/usr/bin/env bash -e` finds no program. That "
        "there is no such line at all is a note.",
        fix="Make the first line `#!/bin/bash -e`, with nothing before it.",
        bad=_file("!#/bin/bash\necho hello\n"),
        good=_file("#!/bin/bash -e\necho hello\n"),
    ),
    Rule(
        id="W97",
        level=Severity.NOTE,
        title="a shell script that goes on after an error",
        why="A script file without `-e` goes on after a command that failed, and its status is that of its last "
        "command: the step succeeds, and the image lacks what failed. Inline commands have -e from Packer. Not said of "
        "a script that looks at a status itself (`$?`, `exit 1`, `trap ... ERR`).",
        fix="Make the first line `#!/bin/bash -e`, or put `set -e` below it.",
        bad=_file("#!/bin/bash\ncp app.conf /etc/app.conf\necho finished\n"),
        good=_file("#!/bin/bash -e\ncp app.conf /etc/app.conf\necho finished\n"),
    ),
    Rule(
        id="W98",
        level=Severity.NOTE,
        title="a download that a shell runs at once",
        why="In `curl ... | sh` the status is that of sh. When the download fails, sh is given nothing, or half of the "
        "script, and succeeds: the step goes on, and the image lacks what was to be installed. Not said with "
        "`set -o pipefail`, which bash has.",
        fix="Write `curl -fsSLo install.sh URL` (-f: an error of the server is a failure), then `sh install.sh`.",
        bad=_shell("curl -s https://example.com/install.sh | sudo sh"),
        good=_shell("curl -fsSLo /tmp/install.sh https://example.com/install.sh", "sudo sh /tmp/install.sh"),
    ),
    Rule(
        id="W99",
        level=Severity.NOTE,
        title="a file in the home of the build user",
        why="The deprovisioning at the end removes the build user with its home (`waagent -deprovision+user`), and "
        "with it what inline commands put there. Said of the first file that no step uses later.",
        fix="Put it elsewhere, such as /opt; for the homes of users to come use /etc/skel.",
        bad=_shell("mkdir -p ~/app", "echo x > ~/app/conf"),
        good=_shell("sudo mkdir -p /opt/app", "echo x | sudo tee /opt/app/conf"),
    ),
)
