"""What ends with 0 and did nothing: each rule, where exactly, and what is not said."""

from __future__ import annotations

import time
from typing import Any

import pytest

from aibemu.arm.findings import Findings
from aibemu.arm.places import Places
from aibemu.arm.reader import read
from aibemu.template.remote import RemoteFile
from aibemu.template.rule_context import RuleContext
from aibemu.template.scripts.rules import check
from aibemu.template.view import NodeView
from tests.unit.template.scripts.test_script_rules import FILE, template

SERVER = "MicrosoftWindowsServer"


def judged(
    *steps: dict[str, Any], wrapper: str = "old", files: dict[str, RemoteFile] | None = None, publisher: str = SERVER
) -> list[tuple[str, str, str]]:
    """(id, the text at the place, the message) of each finding but W47."""
    text = template(*steps, publisher=publisher)
    root = read(text, FILE).root
    assert root is not None
    findings = Findings(FILE)
    context = RuleContext(
        version="2024-02-01", kinds=frozenset(), findings=findings, files=files or {}, places=Places({FILE: text}),
        wrapper=wrapper,
    )  # fmt: skip
    check(NodeView(root, "ImageTemplate"), context)
    texts = {FILE: text, **{file.place: file.head.decode("utf-8-sig") for file in (files or {}).values()}}
    return [
        (d.id, texts[d.span.file].split("\n")[d.span.line - 1][d.span.column - 1 :], d.message)
        for d in findings.sorted()
        if d.id != "W47"
    ]


def inline(*lines: str, **options: Any) -> list[tuple[str, str]]:
    step = {"type": "PowerShell", "name": "s", "inline": list(lines)}
    return [(id_, rest) for id_, rest, _ in judged(step, {"type": "WindowsRestart"}, **options)]


def script(text: str, mark: bool = False, **options: Any) -> list[tuple[str, str, str]]:
    data = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    file = RemoteFile(place="scripts/a.ps1", size=len(data), head=data)
    step = {"type": "PowerShell", "name": "s", "scriptUri": "u"}
    return judged(step, files={"u": file}, **options)


def only(found: list[tuple[str, str]], id_: str, begin: str) -> None:
    assert [one for one, _ in found] == [id_]
    assert found[0][1].startswith(begin), found


class TestGivenUp:
    @pytest.mark.parametrize(
        ("text", "why"),
        [('"$(' * 200, "it is nested too deeply"), ("#" * (1 << 20) + "#", "it is larger than a megabyte")],
    )  # fmt: skip
    def test_it_is_said(self, text: str, why: str) -> None:
        assert [message for id_, _, message in script(text)] == [f"this script was not judged: {why}"]

    def test_returns_deep_in_blocks_take_no_time(self) -> None:
        began = time.thread_time()
        inline("if(1){return;" * 5_000, wrapper="new")
        assert time.thread_time() - began < 5


class TestSyntax:
    def test_it_has_its_place_and_what_follows_from_it(self) -> None:
        only(inline("Get-Date", "if ($a) {", "Get-Date"), "W63", "{")
        ((_, at, message),) = script("Get-Date\n\nWrite-Host 'it's here'\n")
        assert at == "'"
        assert "ends with 0" in message

    def test_the_newer_wrapper_makes_it_fail_but_not_in_files(self) -> None:
        step = {"type": "PowerShell", "inline": ["Write-Host ("]}
        assert "the step fails" in judged(step, wrapper="new")[0][2]
        assert "ends with 0" in script("Write-Host (", wrapper="new")[0][2]

    def test_what_7_alone_knows(self) -> None:
        only(inline("cd C:\\x && dir"), "W63", "&& dir")
        only(inline("$a = $b ?? 1"), "W63", "?? 1")
        only(inline("curl https://x/?a=1&b=2"), "W63", "&b=2")

    @pytest.mark.parametrize(
        "line",
        [
            "foreach ($i 1..3) { }", "function { }", "$x =", "$a = 1,", "Get-Item x | | Get-Item y", "Get-Item x | ;",
            "if ($a != 1) { }", "if () { }", "foreach ($x in $y)", "$a = ($b = )", "@{ a = }", "filter { $_ }",
        ],
    )  # fmt: skip
    def test_what_its_parser_refuses(self, line: str) -> None:
        """Each was given to the parser of PowerShell 7.6.9; those below, too."""
        assert [id_ for id_, _ in inline(line)] == ["W63"]

    @pytest.mark.parametrize(
        "line",
        [
            "if ($a == 1) { }", "for ($i = 0; $i -lt 3) { }", "$a = 1,\n2", "$x =\n  3", "Get-Item x |\n  Get-Item",
            "do { } while ($a)", "foreach ($x in $y)\n{ }", "function f\n{ }", "[int[,]]$a = $b",
            "Get-Date ;; Get-Date", "function f { param($a) & $a }", "& { param([int]$a) if ($a) { $a } } 1",
            "function f { [CmdletBinding()]param($a = (Get-Date)) & $a }",
            "$a = @(1, # one\n2)", "1..3 | foreach { $_ }", "$f = @{ foreach = 1 }",
        ],
    )  # fmt: skip
    def test_what_its_parser_reads(self, line: str) -> None:
        assert inline(line) == []

    def test_what_the_grammar_alone_refuses(self) -> None:
        assert inline("choco install x --version=$v -y", "Get-Volume | Select-Object A, B | Out-String") == []


class TestRequires:
    @pytest.mark.parametrize(
        "line",
        [
            "#Requires -Version 7.0", "#requires -version 6", "#Requires -PSEdition Core",
            "#Requires -Modules dbatools",
            '#Requires -Modules @{ ModuleName = "dbatools"; ModuleVersion = "2.0" }',
            "#Requires -Nope",
            "#Requires -Version abc", "#Requires -Version 5.1 -Modules Az.Accounts",
            "#Requires -RunAsAdministrator -Version 7", "#Requires -PSSnapin Contoso", "#Requires -ShellId Contoso",
        ],
    )  # fmt: skip
    def test_it_is_not_fulfilled(self, line: str) -> None:
        only(inline("Get-Date", line), "W64", line[:9])

    @pytest.mark.parametrize(
        "line",
        [
            "#Requires -Version 5.1", "#Requires -Version 3", "#Requires -PSEdition Desktop",
            "#Requires -RunAsAdministrator",
            "#Requires -Modules Storage, NetTCPIP", "#Requires -Version 4.0 -RunAsAdministrator",
            "# Requires -Version 7", "#Requires -ShellId Microsoft.PowerShell",
            "'#Requires -Version 7'", "#RequiresX -Version 7",
        ],
    )  # fmt: skip
    def test_it_is_fulfilled(self, line: str) -> None:
        assert inline(line) == []

    def test_a_step_before_may_install_a_module(self) -> None:
        needs = {"type": "PowerShell", "name": "b", "inline": ["#Requires -Modules Az.Accounts"]}
        installs = {"type": "PowerShell", "name": "a", "inline": ["Install-Module Az -Force"]}
        unknown = {"type": "PowerShell", "name": "a", "scriptUri": "https://x/y.ps1"}
        assert judged(installs, needs) == []
        assert judged(unknown, needs) == []
        assert [id_ for id_, *_ in judged(needs, installs)] == ["W64"]

    def test_an_image_of_ones_own_may_have_it(self) -> None:
        needs = {"type": "PowerShell", "name": "b", "inline": ["#Requires -Modules Az.Accounts"]}
        assert judged(needs, publisher="contoso") == []


class TestNewWrapper:
    def test_return_leaves_it(self) -> None:
        lines = ("x.exe", "if ($LASTEXITCODE) {", "  return", "}")
        only(inline(*lines, wrapper="new"), "W65", "return")
        assert inline(*lines) == []
        assert script("\n".join(lines), wrapper="new") == []

    @pytest.mark.parametrize(
        "line",
        [
            "switch (1) { 1 { return } }", "switch (1) { default { if (2) { return } } }",
            ":a foreach ($i in 1) { return }", "$x = if (1) { return 2 }", "$(if (1) { return })", "@( return )",
            "trap { return }", "try { x } catch { return }",
        ],
    )  # fmt: skip
    def test_a_return_that_leaves_it_from_within(self, line: str) -> None:
        found = inline(line, wrapper="new")
        assert [id_ for id_, _ in found] == ["W65"] and found[0][1].startswith("return")

    @pytest.mark.parametrize(
        "line",
        [
            "function f { return 1 }", "1..3 | ForEach-Object { return $_ }", "$s = { return }", "Write-Host return",
            "1..3 | foreach { return }", "& { return }", ". { if (1) { return } }", "filter f { return }",
            "class M { [int] f() { return 1 } }", "(1..3).ForEach({ return })", "$s = { switch (1) { 1 { return } } }",
        ],
    )  # fmt: skip
    def test_a_return_that_leaves_something_else(self, line: str) -> None:
        assert inline(line, wrapper="new") == []

    @pytest.mark.parametrize(
        "line",
        [
            "param($a = 1)", "[CmdletBinding()]param()", "using namespace System.IO", "Param (",
            "[OutputType([string])]param()", "process { 2 }", "begin { 1 }",
        ],
    )  # fmt: skip
    def test_what_must_begin_a_script(self, line: str) -> None:
        rest = ("$b)",) if line.endswith(" (") else ("Get-Date",)
        only(inline("# a comment", line, *rest, wrapper="new"), "W66", line[:5])
        assert inline("# a comment", line, *rest) == []
        assert script("\n".join([line, *rest]), wrapper="new") == []

    @pytest.mark.parametrize("line", ["function f { param($a) $a }", "[int]$a = 1; function f { param($b) }", "end-it"])
    def test_what_may_stand_anywhere(self, line: str) -> None:
        assert inline(line, wrapper="new") == []


class TestTable:
    @pytest.mark.parametrize(
        ("line", "begin"),
        [
            ("Get-Service | Select-Object Name, Status", "Get-Service"),
            ("Get-Volume | select DriveLetter -First 2", "Get-Volume"),
            ("[pscustomobject]@{ A = 1; B = 2 }", "[pscustomobject]"),
            ("Get-Service | Select-Object Name, @{ n = 'S'; e = { $_.Status } }", "Get-Service"),
            ("Get-Service | Select-Object Name, Status | Sort-Object Name", "Get-Service"),
            ("Get-Service | select Name | Where-Object Name | Select-Object -First 2", "Get-Service"),
            ("Get-Service | select -Property @('Name', 'Status')", "Get-Service"),
            ("foreach ($a in 1, 2) { [pscustomobject]@{ A = $a } }", "[pscustomobject]"),
            ("1..2 | ForEach-Object { [pscustomobject]@{ A = $_ } }", "[pscustomobject]"),
            ("if ($a) { 'x' } else { Get-Service | select Name }", "Get-Service"),
            ("if ($a) { Get-Service | select Name } else { 'x' }", "Get-Service"),
            ("try { Get-Service | select Name } catch { throw }", "Get-Service"),
            ("Compare-Object $a $b", "Compare-Object"),
            ("New-Object PSObject -Property @{ A = 1; B = 2 }", "New-Object"),
        ],
    )
    def test_it_is_the_last_output(self, line: str, begin: str) -> None:
        only(inline("Get-Date", line), "W67", begin)
        only(inline(line, "# the end", "exit 0"), "W67", begin)
        only(inline(line, "return"), "W67", begin)

    @pytest.mark.parametrize(
        "line",
        [
            "Get-Service | Select-Object Name, Status | Format-Table", "Get-Service | Select-Object -First 3",
            "Get-Service | Select-Object -ExpandProperty Name", "Get-Service | Select-Object A, B, C, D, E",
            "$x = Get-Service | Select-Object Name", "Get-Service", "[pscustomobject]@{ A = 1 } | Out-String",
            "[pscustomobject]@{ A = 1; B = 2; C = 3; D = 4; E = 5 }", "Get-Item x | Select-Object *",
            "Get-Item x | Select-Object $properties", "function f { Get-Item x | Select-Object Name }", "@{ A = 1 }",
            "Get-Service | select Name | select -ExpandProperty Name", "foreach ($a in 1) { Write-Host $a }",
            "1..2 | ForEach-Object { [pscustomobject]@{ A = $_ } } | Format-Table", "1, 2 | Group-Object",
            "$x = foreach ($a in 1) { [pscustomobject]@{ A = $a } }", "New-Object Net.WebClient",
            "function f { [pscustomobject]@{ A = 1 } }", "try { Get-Item x | select Name } finally { Write-Host y }",
            "Get-Service | Select-Object Name | Set-Content C:\\x", "Get-Service | Select-Object Name\nWrite-Host done",
        ],
    )  # fmt: skip
    def test_what_is_printed(self, line: str) -> None:
        assert inline(line) == []


class TestEncoding:
    def test_letters_are_read_as_ansi(self) -> None:
        ((id_, at, message),) = script("# Größe\nWrite-Host 'Größe'\n")
        assert (id_, at) == ("W68", "öße'")
        assert "'ö' as 'Ã¶'" in message
        only(inline("Write-Host 'Größe'"), "W68", "öße")

    def test_a_dash_can_end_a_string(self) -> None:
        ((_, _, message),) = script('Write-Host "a \u2013 b"\n')
        assert "nothing of it runs" in message

    def test_a_mark_and_comments_are_fine(self) -> None:
        assert script("Write-Host 'Größe'\n", mark=True) == []
        assert script("# Größe \u2013 x\nGet-Date\n") == []

    def test_a_blank_that_ansi_does_not_have(self) -> None:
        only(inline("Get-Date\u00a0-Format o"), "W68", "\u00a0-Format")

    def test_only_inline_text_gets_the_mark(self) -> None:
        step = {"type": "PowerShell", "inline": ["Write-Host 'Größe'"]}
        assert judged(step)[0][2].endswith("; aibemu adds the mark")
        assert script("Write-Host 'Größe'\n")[0][2].endswith("reads 'ö' as 'Ã¶'")


class TestRegistry:
    @pytest.mark.parametrize(
        ("lines", "begin"),
        [
            (("New-Item -Path HKLM\\Software\\X",), "HKLM"),
            (("Set-ItemProperty 'HKCU\\Software\\X' -Name a -Value 1",), "'HKCU"),
            (("$k = 'HKLM\\Software\\X'", "if (!(Test-Path $k)) { New-Item $k }"), "HKLM"),
            (("New-ItemProperty -Path HKEY_LOCAL_MACHINE\\X -Name a",), "HKEY"),
            (("Set-ItemProperty -Path HKEY_LOCAL_MACHINE:\\X -Name a -Value 1",), "HKEY"),
            (("New-Item -Path 'HKU:\\.DEFAULT\\X'",), "'HKU:"),
            (("mkdir HKLM\\Software\\X",), "HKLM"),
            (("pushd HKCU/Software",), "HKCU"),
            (("Set-ItemProperty -Path:HKLM\\X -Name a",), "HKLM"),
            (("'HKLM\\X' | Remove-Item",), "HKLM"),
            (("foreach ($k in 'HKLM:\\A', 'HKLM\\X') { New-Item $k }",), "HKLM\\"),
            (("$all = @(", "  'HKLM\\X'", ")", "$all | ForEach-Object { New-Item -Path $_ }"), "HKLM"),
            (("$p = @{ Path = 'HKLM\\X'; Force = $true }", "New-Item @p"), "HKLM"),
            (("$k = 'HKLM\\X'", 'New-Item "$k\\Run"'), "HKLM"),
            (("New-Item (Join-Path HKLM\\Software X)",), "HKLM"),
        ],
    )
    def test_it_is_a_path_of_files(self, lines: tuple[str, ...], begin: str) -> None:
        only(inline(*lines), "W69", begin)

    def test_a_function_that_hands_it_on(self) -> None:
        """As in DisableAutoUpdates of Azure/RDS-Templates."""
        function = "function Set-Key($registryPath) { New-ItemProperty -Path $registryPath -Name a -Value 1 }"
        only(inline(function, "Set-Key -registryPath 'HKLM\\Software\\X'"), "W69", "'HKLM")
        assert inline(function, "Set-Key -registryPath 'HKLM:\\Software\\X'") == []
        assert inline("function Out-It($text) { Write-Host $text }", "Out-It -text HKLM\\X") == []

    @pytest.mark.parametrize(
        "line",
        [
            "New-Item -Path HKLM:\\Software\\X", "reg add HKLM\\Software\\X /v a /d 1",
            "New-Item Registry::HKLM\\Software",
            "Get-Item 'Microsoft.PowerShell.Core\\Registry::HKEY_USERS\\X'", "Write-Host HKLM\\Software",
            "Set-ItemProperty -Path HKLM:\\X -Name a -Value 'HKLM\\Y'", "$k = 'HKLM\\X'; reg query $k",
            "New-PSDrive HKU Registry HKEY_USERS; Get-Item HKU:\\X", "$k = 'HKLM\\X'; $k = 'HKLM:\\X'; New-Item $k",
            "reg add (Join-Path HKLM\\Software X)", "$p = @{ Name = 'HKLM\\X' }; New-Item C:\\x @p",
            "Start-Process reg -ArgumentList 'add HKLM\\X'",
        ],
    )  # fmt: skip
    def test_what_is_meant_so(self, line: str) -> None:
        assert inline(line) == []


class TestTemporaryFolder:
    @pytest.mark.parametrize(
        "line",
        [
            "Remove-Item C:\\Windows\\Temp\\* -Recurse -Force", 'Remove-Item -Path "$env:windir\\Temp\\*"',
            "Get-ChildItem $env:SystemRoot\\Temp -Recurse | Remove-Item -Force", "del c:/windows/temp/*.*",
            "gci C:\\Windows\\Temp | Where-Object { $_.Name -ne 'x' } | rm", "Remove-Item C:\\Windows\\Temp -Recurse",
            "cmd /c del /q C:\\Windows\\Temp\\*", 'cmd.exe /c "rd /s /q %windir%\\Temp"',
            'Remove-Item "$($env:SystemRoot)\\Temp\\"', "Remove-Item (Join-Path $env:windir 'Temp\\*') -Recurse",
            "gci C:\\Windows\\Temp | % { Remove-Item $_.FullName }", "gci $env:windir\\Temp | foreach { $_.Delete() }",
            "robocopy C:\\empty C:\\Windows\\Temp /MIR",
        ],
    )  # fmt: skip
    def test_it_is_emptied(self, line: str) -> None:
        only(inline(line), "W87", line[:4])
        last = {"type": "PowerShell", "name": "s", "inline": [line]}
        assert judged(last) == []

    def test_the_folder_is_named_before(self) -> None:
        only(inline("$old = 'C:\\x', 'C:\\Windows\\Temp\\*'", "Remove-Item $old -Recurse"), "W87", "Remove-Item")
        only(inline("cd C:\\Windows\\Temp", "del *"), "W87", "del *")
        assert inline("cd C:\\Windows\\Temp", "cd C:\\mine", "del *") == []
        only(inline("[IO.Directory]::Delete('C:\\Windows\\Temp', $true)"), "W87", "[IO.")
        # As in public scripts.
        lines = ("@(", '  "$env:SystemRoot\\logs",', '  "$env:SystemRoot\\Temp"', ") | ForEach-Object {",
                 "  if (Test-Path $_) { Remove-Item $_ -Recurse -Force }", "}")  # fmt: skip
        only(inline(*lines), "W87", "Remove-Item $_")

    def test_it_is_local_system_s_own(self) -> None:
        def found(**options: bool) -> list[str]:
            step = {"type": "PowerShell", "name": "s", "inline": ["Remove-Item $env:TEMP\\* -Recurse"], **options}
            return [id_ for id_, *_ in judged(step, {"type": "WindowsRestart"})]

        assert (found(), found(runElevated=True), found(runAsSystem=True)) == ([], [], [])
        assert found(runElevated=True, runAsSystem=True) == ["W87"]

    @pytest.mark.parametrize(
        "line",
        [
            "Remove-Item C:\\Temp\\* -Recurse", "Remove-Item C:\\Windows\\Temp\\* -WhatIf",
            "gci C:\\Windows\\Temp | % { if ($_.Age) { Remove-Item $_ } }", "cmd /c del C:\\Windows\\Temp\\mine.txt",
            "robocopy C:\\a C:\\Windows\\Temp",
            "Remove-Item C:\\Windows\\Temp\\mine -Recurse", "Remove-Item $env:TEMP\\x.zip",
            "Get-ChildItem C:\\Windows\\Temp", "Get-ChildItem C:\\Windows\\Temp -Filter *.log | Remove-Item",
            "Remove-Item C:\\Temp2\\*", "Get-ChildItem C:\\Windows\\Temp; Remove-Item C:\\x",
        ],
    )  # fmt: skip
    def test_what_stays(self, line: str) -> None:
        assert inline(line) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "#requires -modules " + "@{" * 30_000,
        "#requires -modules " + "@{ModuleName" * 30_000,
        "#requires -modules @{" + "ModuleName=a " * 30_000,
        "ls c:\\temp | " * 20_000,
    ],
    ids=["tables", "names", "one table", "pipes"],
)
def test_a_script_that_means_harm_is_read_in_bounded_time(text: str) -> None:
    script(text)


@pytest.mark.timeout(60)
def test_a_return_in_each_of_many_blocks_is_looked_at_in_bounded_time() -> None:
    inline("$x = 1" + ",{return}" * 10_000, wrapper="new")
