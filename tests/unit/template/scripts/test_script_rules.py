"""What is said about the text of scripts, where exactly, and what is not said."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.arm.findings import Findings
from aibemu.arm.places import Places
from aibemu.arm.reader import read
from aibemu.errors import Span
from aibemu.template.remote import RemoteFile
from aibemu.template.rule_context import RuleContext
from aibemu.template.scripts import Dialect, collect
from aibemu.template.scripts.rules import check
from aibemu.template.view import NodeView

FILE = "t.json"


def template(*steps: Any, publisher: str = "Canonical", validators: Any = ()) -> str:
    source = {"type": "PlatformImage", "publisher": publisher}
    properties = {"source": source, "customize": list(steps), "validate": {"inVMValidations": list(validators)}}
    return json.dumps({"properties": properties}, indent=1, ensure_ascii=False)


def judged(text: str, files: dict[str, RemoteFile] | None = None) -> list[tuple[Diagnostic, str]]:
    """Each finding with the text from its place on."""
    root = read(text, FILE).root
    assert root is not None
    findings = Findings(FILE)
    context = RuleContext(
        version="2024-02-01", kinds=frozenset(), findings=findings, files=files or {}, places=Places({FILE: text})
    )
    check(NodeView(root, "ImageTemplate"), context)
    texts = {FILE: text, **{file.place: file.head.decode("utf-8-sig") for file in (files or {}).values()}}
    return [
        (found, texts[found.span.file].split("\n")[found.span.line - 1][found.span.column - 1 :])
        for found in findings.sorted()
    ]


def inline(*lines: str, kind: str = "Shell", **options: Any) -> list[tuple[str, str]]:
    """(id, the first word at the place) of each finding; W38 and W47 are about other things here."""
    found = judged(template({"type": kind, "name": "s", "inline": list(lines)}, **options))
    words = [(d.id, rest.split("\\n")[0].split('"')[0].split()[0] if rest.strip() else "") for d, rest in found]
    return [pair for pair in words if pair[0] not in ("W38", "W47")]


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("if [[ -f /x ]]; then true; fi", "[["),
        ("source ./env.sh", "source"),
        ("pushd /tmp", "pushd"),
        ("set -euo pipefail", "pipefail"),
        ("set -o pipefail", "pipefail"),
        ("cat <<< hello", "<<<"),
        ("diff <(ls) /x", "<(ls)"),
        ("function f { true; }", "function"),
        ("echo $'a'", "$'a'"),
        ("ls &> /tmp/x", "&>"),
        ("ls |& cat", "ls"),
        ("for i in {1..3}; do echo $i; done", "{1..3};"),
        ("echo ${x//a/b}", "${x//a/b}"),
        ("echo ${x:1:2}", "${x:1:2}"),
        ("echo ${x^^}", "${x^^}"),
        ("echo ${!x}", "${!x}"),
        ("x=(a b)", "(a"),
        ("declare -r x=1", "declare"),
        ("let x=1", "let"),
        ("(( x > 1 ))", "(("),
        ("[ $a == b ]", "$a"),
    ],
)
def test_bashisms(line: str, place: str) -> None:
    assert inline(line) == [("W32", place)]


@pytest.mark.parametrize(
    "line",
    [
        "if [ -f /x ]; then true; fi",
        ". ./env.sh",
        "set -eu",
        "bash -c 'set -euo pipefail; [[ -f /x ]]'",
        "sudo bash -c 'source /x'",
        "cat <<EOF | bash\n[[ -f /x ]]\nEOF",
        "echo '[[ x ]]' \"source x\"",
        "echo ${x:-1} ${x:=2} ${x%a} ${x##a} ${#x}",
        '[ "$a" = b ]',
        "f() { local x=1; echo $((x + 1)); }",
        "export A=b; readonly A",
        "ls > /tmp/x 2>&1",
        "echo {a,b}",
        "grep -E 'a{1,3}' /x",
    ],
)
def test_posix_is_left_alone(line: str) -> None:
    assert inline(line) == []


def test_bash_where_it_is_asked_for_or_is_sh() -> None:
    assert inline("#!/bin/bash -e", "[[ -f /x ]]") == []
    assert inline("[[ -f /x ]]", publisher="RedHat") == []
    assert inline("#!/usr/bin/env python3", "import os; x = [[1]]") == []


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("apt-get install -y nginx", "apt-get"),
        ("DEBIAN_FRONTEND=noninteractive apt-get -y install nginx", "apt-get"),
        ("echo hi && yum update -y", "yum"),
        ("systemctl enable nginx", "systemctl"),
        ("useradd bob", "useradd"),
        ("mkdir -p /opt/app", "mkdir"),
        ("mkdir /buildArtifacts", "mkdir"),
        ("cp /tmp/x /etc/x", "cp"),
        ("touch /etc/x", "touch"),
        ("echo a | tee /etc/x", "tee"),
        ("echo a > /etc/x", "/etc/x"),
        ("cat <<EOF >> /etc/x\na\nEOF", "/etc/x"),
        ("chmod 600 /etc/x", "chmod"),
        ("rm -rf /var/lib/apt/lists", "rm"),
    ],
)
def test_root_is_needed(line: str, place: str) -> None:
    assert ("W33", place) in inline(line)
    root = judged(template({"type": "Shell", "scriptUri": "u"}), {"u": remote(f"#!/bin/sh\n{line}\n")})
    assert "W33" not in {found.id for found, _ in root}


@pytest.mark.parametrize(
    "line",
    [
        "sudo apt-get install -y nginx",
        "DEBIAN_FRONTEND=noninteractive sudo -E apt-get install -y nginx",
        "sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y nginx",
        "sudo -u root mkdir /x",
        "apt-get --version",
        "apt list --installed",
        "systemctl status nginx",
        "systemctl --user enable x",
        "if command -v apt-get >/dev/null; then true; fi",
        "apt-get update || sudo apt-get update",
        "cp /etc/hosts /tmp/hosts",
        "mkdir -p /tmp/x /var/tmp/y ~/z $HOME/a",
        "touch $TARGET/x",
        "echo a > /tmp/x; echo b > /dev/null",
        "echo 'apt-get install nginx'",
        "echo x | sudo tee /etc/x > /dev/null",
        "sudo sh -c 'echo a > /etc/x'",
        "echo rm /etc/x",
    ],
)
def test_root_is_not_needed(line: str) -> None:
    assert "W33" not in {id_ for id_, _ in inline(line)}


@pytest.mark.parametrize(
    ("line", "place"),
    [("sudo echo a > /etc/x", "/etc/x"), ("sudo cat <<EOF > /etc/x\na\nEOF", "/etc/x"), ("sudo ls >> /x", "/x")],
)
def test_sudo_and_redirections(line: str, place: str) -> None:
    assert inline(line) == [("W34", place)]


@pytest.mark.parametrize("line", ["sudo ls > /tmp/x", "sudo ls > /dev/null", "sudo sh -c 'ls > /etc/x'"])
def test_redirections_that_work(line: str) -> None:
    assert inline(line) == []


@pytest.mark.parametrize(
    "line", ["sudo reboot", "sudo shutdown -r now", "sudo systemctl reboot", "sudo init 6", "sudo /sbin/reboot"]
)
def test_reboots(line: str) -> None:
    assert [id_ for id_, _ in inline(line)] == ["W35"]


@pytest.mark.parametrize("line", ["echo reboot", "sudo shutdown -c", "sudo systemctl restart x", "# reboot", "init=6"])
def test_no_reboots(line: str) -> None:
    assert inline(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "sudo apt install unattended-upgrades",
        "sudo apt-get upgrade",
        "sudo DEBIAN_FRONTEND=noninteractive apt-get install nginx",
        "sudo yum install httpd",
        "sudo dnf update",
        "sudo apt-get -q install nginx",
    ],
)
def test_questions(line: str) -> None:
    assert [id_ for id_, _ in inline(line)] == ["W36"]


@pytest.mark.parametrize(
    "line",
    [
        "sudo apt-get install -y nginx",
        "sudo apt-get -qy install nginx",
        "sudo apt-get -qq install nginx",
        "sudo apt-get install --yes nginx",
        "sudo apt-get update",
        "yes | sudo apt-get install nginx",
        "sudo apt-get install nginx </dev/null",
        "sudo dnf -y install httpd",
        "sudo bash -c 'apt-get update -y && apt-get install -y x'",
        "sudo apt-get --dry-run install x",
        "sudo apt-cache search install",
    ],
)
def test_no_questions(line: str) -> None:
    assert inline(line) == []


def test_braces() -> None:
    assert inline("docker inspect --format '{{ .State }}' x") == [("W37", "{{")]
    assert inline("echo ${HOME} { a; }") == []


def test_early_apt_is_noted_once() -> None:
    step = {"type": "Shell", "name": "s", "inline": ["sudo apt-get update", "sudo apt-get install -y x"]}
    wait = {"type": "Shell", "inline": ["cloud-init status --wait || [ $? -eq 2 ]", "sudo apt-get update"]}
    assert [d.id for d, _ in judged(template(step, step))] == ["W38"]
    assert judged(template(wait)) == []
    assert judged(template({"type": "Shell", "inline": ["true"]}, step)) == []


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("sudo ufw enable", "Shell"),
        ("sudo systemctl disable --now ssh", "Shell"),
        ("sudo iptables -P INPUT DROP", "Shell"),
        ("Disable-PSRemoting -Force", "PowerShell"),
        ("Stop-Service WinRM", "PowerShell"),
        ("Set-Service -Name winrm -StartupType Disabled", "PowerShell"),
        ("winrm delete winrm/config/Listener?Address=*+Transport=HTTPS", "PowerShell"),
        ("netsh advfirewall set allprofiles firewallpolicy blockinbound,allowoutbound", "PowerShell"),
        ("Set-NetFirewallProfile -All -DefaultInboundAction Block", "PowerShell"),
    ],
)
def test_cut_connections(line: str, kind: str) -> None:
    assert [id_ for id_, _ in inline(line, kind=kind)] == ["W39"]


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (("sudo ufw allow OpenSSH", "sudo ufw enable"), "Shell"),
        (("sudo systemctl restart ssh", "sudo ufw status"), "Shell"),
        (("Get-Service WinRM", "Start-Service WinRM"), "PowerShell"),
    ],
)
def test_connections_that_stay(lines: tuple[str, ...], kind: str) -> None:
    assert inline(*lines, kind=kind) == []


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("sudo rm -rf /tmp/*", "Shell"),
        ("rm -r /tmp", "Shell"),
        ("sudo find /tmp -type f -delete", "Shell"),
        ("Remove-Item c:\\* -Recurse", "PowerShell"),
        ("del C:\\DeprovisioningScript.ps1", "PowerShell"),
    ],
)
def test_deleted_deprovision_scripts(line: str, kind: str) -> None:
    assert [id_ for id_, _ in inline(line, kind=kind)] == ["W40"]


def test_what_may_be_deleted() -> None:
    assert inline("rm -rf /tmp/build /var/tmp/*") == []
    assert judged(template(validators=[{"type": "Shell", "inline": ["rm -rf /tmp/*"]}])) == []


def test_own_deprovisioning() -> None:
    assert inline("sudo /usr/sbin/waagent -force -deprovision+user") == [("W41", "/usr/sbin/waagent")]
    assert inline("sudo waagent -version") == []
    assert inline("echo 'waagent -deprovision+user' | sudo tee /tmp/DeprovisioningScript.sh") == []
    sysprep = "& $env:SystemRoot\\System32\\Sysprep\\Sysprep.exe /oobe /generalize"
    assert [id_ for id_, _ in inline(sysprep, kind="PowerShell")] == ["W41"]
    assert inline(f"Set-Content c:\\DeprovisioningScript.ps1 '{sysprep}'", sysprep, kind="PowerShell") == []


def test_waiting_for_agents_that_are_not_there() -> None:
    """The older text is in many templates, mostly inside of what they write to the deprovision script."""
    for name in ("RdAgent", "'WindowsAzureGuestAgent'", '-Name "WindowsAzureTelemetryService"'):
        wait = f"while ((Get-Service {name}).Status -ne 'Running') {{ Start-Sleep -s 5 }}"
        assert [id_ for id_, _ in inline(wait, kind="PowerShell")] == ["W92"]
        written = f"@'\n{wait}\n'@ | Set-Content c:\\DeprovisioningScript.ps1"
        assert [id_ for id_, _ in inline(written, kind="PowerShell")] == ["W92"]
    for good in (
        "while ((Get-Service RdAgent) -and ((Get-Service RdAgent).Status -ne 'Running')) { Start-Sleep -s 5 }",
        "while ((Get-Service Spooler).Status -ne 'Running') { Start-Sleep -s 5 }",
    ):
        assert inline(good, kind="PowerShell") == []


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("curl 'https://a.blob.core.windows.net/c/x?sv=1&sig=abcdefghijklmnopqrstuvwxyz012345'", "abcdefghij"),
        ("export C='AccountName=a;AccountKey=abcdefghijklmnopqrstuvwxyz0123456789=='", "abcdefghij"),
        ("git clone https://ghp_abcdefghijklmnopqrstuvwxyz0123@github.com/a/b", "ghp_abcdefg"),
        ("curl -H 'Authorization: Bearer abcdefghijklmnopqrstuvwxyz' https://x", "abcdefghij"),
        ("DB_PASSWORD=correcthorse ./setup", "correcthorse"),
        ("./setup --password=correcthorse", "correcthorse"),
    ],
)
def test_secrets(line: str, secret: str) -> None:
    ((found, rest),) = [pair for pair in judged(template({"type": "Shell", "inline": [line]})) if pair[0].id == "W45"]
    assert rest.startswith(secret)
    assert secret not in found.message + (found.hint or "")


@pytest.mark.parametrize(
    "line", ["DB_PASSWORD=$SECRET ./setup", "./setup --password=<file>", "passwd -l root", "echo password: unknown >&2"]
)
def test_no_secrets(line: str) -> None:
    assert "W45" not in {id_ for id_, _ in inline(line)}


@pytest.mark.parametrize(
    ("line", "id_"),
    [
        ("Restart-Computer -Force", "W35"),
        ("shutdown /r /t 0", "W35"),
        ("$x = Read-Host 'name'", "W36"),
    ],
)
def test_powershell(line: str, id_: str) -> None:
    assert [found for found, _ in inline(line, kind="PowerShell")] == [id_]


@pytest.mark.parametrize("line", ["Write-Host 'Restart-Computer'", "# Restart-Computer", "shutdown /a", "mkdir c:\\x"])
def test_powershell_that_is_fine(line: str) -> None:
    assert inline(line, kind="PowerShell") == []


def test_careless_powershell_is_noted_once() -> None:
    one = {"type": "PowerShell", "name": "one", "inline": ["mkdir c:\\x"]}
    two = {"type": "PowerShell", "inline": ["dir"]}
    careful = {"type": "PowerShell", "inline": ["$ErrorActionPreference = 'Stop'", "dir"]}
    ((found, _),) = judged(template(careful, one, two))
    assert found.id == "W47"
    assert "one, customize[2]" in found.message
    assert judged(template(careful)) == []


def remote(text: str, mark: bytes = b"") -> RemoteFile:
    data = mark + text.encode()
    return RemoteFile(place="scripts/a.sh", size=len(data), head=data)


class TestFiles:
    def judged(self, text: str, mark: bytes = b"") -> list[tuple[str, Span]]:
        found = judged(template({"type": "Shell", "name": "s", "scriptUri": "u"}), {"u": remote(text, mark)})
        return [(d.id, d.span) for d, _ in found]

    def test_places_are_in_the_file(self) -> None:
        assert self.judged("#!/bin/sh\necho hi\n\n  reboot\n") == [("W35", Span(file="scripts/a.sh", line=4, column=3))]

    def test_the_first_line_says_what_runs_it(self) -> None:
        assert self.judged("#!/bin/bash\n[[ -f /x ]]\n") == []
        assert [id_ for id_, _ in self.judged("#!/bin/sh\n[[ -f /x ]]\n")] == ["W32"]
        assert self.judged("#!/usr/bin/python3\nimport os\n") == []

    def test_line_ends_of_windows_are_converted_by_packer(self) -> None:
        assert self.judged("#!/bin/bash\r\n[ -f /x ]\r\n") == []

    def test_a_byte_order_mark(self) -> None:
        assert [id_ for id_, _ in self.judged("#!/bin/sh\ntrue\n", b"\xef\xbb\xbf")] == ["W46"]

    def test_what_is_no_text_is_left_alone_and_named(self) -> None:
        binary = RemoteFile(place="x", size=5, head=b"\x7fELF\0")
        ((said, _),) = judged(template({"type": "Shell", "scriptUri": "u"}), {"u": binary})
        assert (said.id, said.severity, said.span.file) == ("W31", Severity.NOTE, FILE)


def test_places_count_escapes_and_lines_within_an_entry() -> None:
    text = template({"type": "Shell", "name": "s", "inline": ['echo "é\U0001f600"', "echo a\n  sudo reboot"]})
    ((found, rest),) = judged(text)
    assert found.id == "W35"
    assert rest.startswith("reboot")


def test_what_is_not_known_is_not_judged() -> None:
    text = template({"type": "Shell", "inline": ["sudo reboot", 1]})
    assert judged(text) == []


lines = st.lists(
    st.text(alphabet="a {}[]()<>|&;$'\"\\\n#=-/é\U0001f600`!*~%.sudo", max_size=20), min_size=1, max_size=4
)


@given(lines, st.sampled_from(["Shell", "PowerShell"]))
def test_any_text_is_judged_inside_itself(texts: list[str], kind: str) -> None:
    text = template({"type": kind, "inline": texts})
    for found, _ in judged(text):
        line = text.split("\n")[found.span.line - 1]
        assert 1 <= found.span.column <= len(line) + 1


@given(st.text(max_size=60), st.integers(0, 60))
def test_places_of_joined_entries(text: str, cut: int) -> None:
    cut = min(cut, len(text))
    document = template({"type": "Shell", "inline": [text[:cut], text[cut:]]})
    root = read(document, FILE).root
    assert root is not None
    context = RuleContext(version="", kinds=frozenset(), findings=Findings(), places=Places({FILE: document}))
    for script in collect(NodeView(root, "ImageTemplate"), context):
        assert script.dialect in Dialect
        spans = [script.at(offset) for offset in range(len(script.text))]
        assert [(span.line, span.column) for span in spans] == sorted((span.line, span.column) for span in spans)


def test_a_chain_of_thousands_is_judged_to_its_end() -> None:
    chain = "true && " * 4000
    assert [rule for rule, _ in inline(chain + "sudo apt-get install x")] == ["W36"]
    assert inline(chain + "reboot || true") == inline("reboot || true")


@pytest.mark.parametrize("piece", ["[Parameter()]", "a()", "[Parameter()]f /etc/motd ]]; then cat /etc/motd; fi"])
def test_a_text_that_takes_the_parser_too_long_is_left_alone(piece: str) -> None:
    """Found by the fuzz campaign: the grammar of bash reads on to the end of the text at each parenthesis."""
    began = time.thread_time()
    said = judged(template({"type": "Shell", "name": "s", "inline": ["x " + piece * (65_000 // len(piece))]}))
    assert time.thread_time() - began < 2
    # Nobody must take it for a script about which there is nothing to say.
    (note,) = [found for found, _ in said if found.id == "W31"]
    assert note.severity is Severity.NOTE and note.message.startswith("this script is not checked: its text takes")
    assert inline("[[ -f /x ]] && true")  # the next script is read as ever


@pytest.mark.parametrize(
    ("head", "size", "why"),
    [
        (
            b"#!/bin/sh\nexit\n" + b"x" * (2**20 - 15),
            3 * 2**20,
            "it has 3.0 MB, and no more than 1 MB of a script are read",
        ),
        (b"#!/bin/sh\nexit\n\0\1\2", 18, "it holds bytes that are no text"),
        ("#!/bin/sh\necho grün\n".encode("latin-1"), 20, "it is not text in UTF-8"),
    ],
)
@pytest.mark.parametrize(("kind", "rule"), [("Shell", "W31"), ("PowerShell", "W63")])
def test_a_file_whose_text_is_not_known_is_named(head: bytes, size: int, why: str, kind: str, rule: str) -> None:
    file = RemoteFile(place="a.sh", size=size, head=head)
    text = template({"type": kind, "name": "s", "scriptUri": "a.sh"})
    root = read(text, FILE).root
    assert root is not None
    findings = Findings(FILE)
    files = {"a.sh": file}
    context = RuleContext(
        version="2024-02-01", kinds=frozenset(), findings=findings, files=files, places=Places({FILE: text})
    )
    check(NodeView(root, "ImageTemplate"), context)
    assert [(one.id, one.severity, one.message) for one in findings.sorted()] == [
        (rule, Severity.NOTE, f"a.sh is not checked: {why}")
    ]


def test_a_powershell_script_that_is_not_read_to_its_end_is_named() -> None:
    said = judged(template({"type": "PowerShell", "name": "s", "inline": ['Write-Output "' + '$("' * 100]}))
    (note,) = [found.message for found, _ in said if found.severity is Severity.NOTE and found.id == "W63"]
    assert note.startswith("this script was not judged: ")
