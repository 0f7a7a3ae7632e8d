"""One template with each customizer of Windows, through all five phases; its log has the service's shape."""

from __future__ import annotations

import hashlib
import json
import re

from tests.scenarios.windows.workshop import Workshop, template

PAGE = "<h1>Hello</h1>\n"
SCRIPT = "Set-Content C:\\made\\script.txt 'from the web'\nexit 3010\n"
GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/aibemu"
OWN_LINE = "the template's own last line"
UPDATES = [
    {"title": "2026-01 Servicing Stack", "kb": "5001", "restart": True},
    {"title": "2026-01 Preview", "kb": "5002"},
]
# Lines of the log in their order (facts: service 4.2, 4.5, 5), after the id; `ID` stands for a UUID.
SHOWN = r"""
ui: ==> azure-arm: Waiting for WinRM to become available...
[INFO] Waiting for WinRM, up to timeout: 10m0s
ui:     azure-arm: WinRM connected.
[INFO] (telemetry) Starting provisioner file
ui: ==> azure-arm: Uploading * => C:\page.html
[INFO] (telemetry) ending file
[INFO] (telemetry) Starting provisioner powershell
ui: ==> azure-arm: Provisioning with Powershell...
ui: ==> azure-arm: Provisioning with powershell script: /tmp/powershell-provisioner*
Found command: New-Item -ItemType Directory C:\made | Out-Null
[INFO] starting remote command: powershell -executionpolicy bypass "& { if (Test-Path variable:global:Progr*
ui:     azure-arm: it is made
ui error: ==> azure-arm: it may be made
ui: ==> azure-arm: Provisioning with powershell script: *
exited with code: 3010
[INFO] starting remote command: powershell -executionpolicy bypass -file "C:/Windows/Temp/packer-elevated-shell-ID.ps1"
ui:     azure-arm: elevated is packer
[INFO] starting remote command: powershell -executionpolicy bypass -file "C:/Windows/Temp/packer-elevated-shell-ID.ps1"
ui:     azure-arm: elevated is SYSTEM
[INFO] (telemetry) Starting provisioner windows-restart
ui: ==> azure-arm: Restarting Machine
[INFO] starting remote command: shutdown /r /f /t 0 /c "packer restart"
ui: ==> azure-arm: Waiting for machine to restart...
ui: ==> azure-arm: Machine successfully restarted, moving on
[INFO] (telemetry) ending windows-restart
[INFO] (telemetry) Starting provisioner windows-update
ui: ==> azure-arm: Uploading the Windows update elevated script...
ui: ==> azure-arm: Uploading the Windows update check for reboot required elevated script...
ui: ==> azure-arm: Uploading the Windows update script...
ui: ==> azure-arm: Running Windows update...
starting remote command: PowerShell * -File C:/Windows/Temp/packer-windows-update-elevated.ps1
ui:     azure-arm: Searching for Windows updates...
ui:     azure-arm: Found Windows update (2026-01-13; 0.95 MB): 2026-01 Servicing Stack
ui:     azure-arm: Skipped (filter) Windows update (2026-01-13; 0.95 MB): 2026-01 Preview
ui:     azure-arm: Downloading Windows updates (1 updates; 0.95 MB)...
ui:     azure-arm: Installing Windows updates...
ui:     azure-arm: Waiting for the Windows Modules Installer to exit...
-OutputFormat Text -File C:/Windows/Temp/packer-windows-update-elevated.ps1' exited with code: 101
ui: ==> azure-arm: Restarting the machine...
starting remote command: shutdown.exe -f -r -t 0 -c "packer restart"
ui: ==> azure-arm: Waiting for machine to become available...
ui: ==> azure-arm: Checking for pending restart...
starting remote command: PowerShell * -File C:/Windows/Temp/packer-windows-update-pending-reboot-elevated.ps1
 restarted.
-File C:/Windows/Temp/packer-windows-update-pending-reboot-elevated.ps1' exited with code: 0
ui: ==> azure-arm: Restart complete
ui: ==> azure-arm: Running Windows update...
ui:     azure-arm: No Windows updates found
-OutputFormat Text -File C:/Windows/Temp/packer-windows-update-elevated.ps1' exited with code: 0
[INFO] (telemetry) ending windows-update
Found command: if( TEST-PATH c:\DeprovisioningScript.ps1 ){cat c:\DeprovisioningScript.ps1} else {echo "Deprovisioning
Found command: c:\DeprovisioningScript.ps1
ui:     azure-arm: >>> Sysprepping VM ...
ui:     azure-arm: IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE
ui:     azure-arm: >>> Sysprep complete ...
ui:     azure-arm: the template's own last line
ui: ==> azure-arm: Powering off machine ...
ui: ==> azure-arm: Skipping image creation...
ui: Build 'azure-arm' finished after
Done exporting Packer logs to Azure Storage.
"""
_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_AT = r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d"
# What a line of the service's log looks like (facts: service 4.1 B).
_LINE = re.compile(
    rf"\[{_ID}\] PACKER (?:{_AT} (?:ui: |ui error: |\[INFO\] |packer-plugin-azure plugin: {_AT} |waiting for all "
    r"plugin processes|/aib/packerInput/packer-plugin-azure: plugin process exited)|==> |Done exporting|$|\S+ \d+ B / )"
)  # fmt: skip


def test_a_template_with_each_customizer_of_windows(windows: Workshop, web: str) -> None:
    windows.guest = {"updates": UPDATES}
    windows.write("page.html", PAGE)
    windows.write("script.ps1", SCRIPT)
    windows.write("windows.json", _template(web))
    said = windows.aibemu("run", "windows.json", "--out", "out")
    summary = windows.summary
    assert summary.state == "Succeeded", said
    assert {phase.name: phase.status for phase in summary.phases} == dict.fromkeys(
        ("provision", "customize", "generalize", "validate", "distribute"), "ok"
    )
    assert list(windows.statuses().values()) == ["ok"] * 9, "seven customizers, the deprovision script, a validator"
    codes = {step.label: step.exit_code for step in summary.steps}
    assert codes["Web"] == 3010
    assert [output.status for output in summary.outputs] == ["ok", "ok"]
    assert (windows.work / "out/disk/disk.vhd").stat().st_size > 0
    resources = [json.loads(file.read_text())["id"] for file in windows.home.cloud.rglob("resource.json")]
    assert f"{GROUP}/providers/Microsoft.Compute/images/made" in resources
    _in_order(windows.log(), SHOWN)
    wrong = [line for line in windows.log().splitlines() if not _LINE.match(line)]
    assert wrong == [], "no line of the service's log looks like this"
    # The validator ran on another machine, which came up from what the build had left.
    assert "all is there" in windows.log("validation.log")
    assert "sysprep" not in windows.log("validation.log").lower()
    assert windows.left() == []


def _template(web: str) -> dict[str, object]:
    page, script = (hashlib.sha256(text.encode()).hexdigest() for text in (PAGE, SCRIPT))
    who = '"elevated is $env:USERNAME" | Tee-Object -Append C:\\made\\elevated.txt'
    system = {"runElevated": True, "runAsSystem": True}
    return template(
        [
            {"type": "File", "name": "Page", "sourceUri": f"{web}/page.html", "destination": "C:\\page.html",
             "sha256Checksum": page},
            {"type": "PowerShell", "name": "Make", "inline": [
                "New-Item -ItemType Directory C:\\made | Out-Null", "Copy-Item C:\\page.html C:\\made",
                f"Add-Content C:\\DeprovisioningScript.ps1 \"Write-Output '{OWN_LINE.replace(chr(39), chr(39) * 2)}'\"",
                "Write-Host 'it is made'", "[Console]::Error.WriteLine('it may be made')",
            ]},
            {"type": "PowerShell", "name": "Web", "scriptUri": f"{web}/script.ps1", "sha256Checksum": script,
             "validExitCodes": [0, 3010]},
            {"type": "PowerShell", "name": "Elevated", "runElevated": True, "inline": [who]},
            {"type": "PowerShell", "name": "System", **system, "inline": [who]},
            {"type": "WindowsRestart", "name": "Restart", "restartTimeout": "10m",
             "restartCheckCommand": "echo it is back> C:\\made\\back.txt"},
            {"type": "WindowsUpdate", "name": "Updates", "searchCriteria": "IsInstalled=0", "updateLimit": 20,
             "filters": ["exclude:$_.Title -like '*Preview*'", "include:$true"]},
        ],
        validators=[{"type": "PowerShell", "name": "Look", "inline": [
            "$ErrorActionPreference = 'Stop'",
            "$names = (Get-ChildItem C:\\made).Name -join ' '",
            "if ($names -ne 'back.txt elevated.txt page.html script.txt') { throw \"there is: $names\" }",
            "if ((Get-Content C:\\made\\elevated.txt) -notcontains 'elevated is SYSTEM') { throw 'not as SYSTEM' }",
            "Write-Output 'all is there'",
        ]}],
        distribute=[
            {"type": "VHD", "runOutputName": "disk"},
            {"type": "ManagedImage", "runOutputName": "image", "location": "westeurope", "imageId":
             f"{GROUP}/providers/Microsoft.Compute/images/made"},
        ],
    )  # fmt: skip


def _in_order(log: str, wanted: str) -> None:
    """Each of these lines comes after the one before it; `*` and `ID` stand for what differs."""
    lines, at = log.splitlines(), 0
    for text in wanted.strip().splitlines():
        regex = re.compile(re.escape(text).replace(r"\*", ".*").replace("ID", _ID))
        found = next((n for n, line in enumerate(lines[at:], start=at) if regex.search(line)), None)
        assert found is not None, f"no line {text!r} after {lines[at - 1]!r}:\n{log}"
        at = found + 1
