"""A review of scripts in the shape of public ones (rewritten, names invented): exactly these findings, each signed.

What the table does not list must not be found. A new rule that says more of these scripts is wrong, or its author signs
what it says here.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.unit.template.scripts.test_script_rules import judged, remote, template


class Reviewed(NamedTuple):
    """A script. findings: (line, rule) with the reason why an expert says so too."""

    text: str
    findings: dict[tuple[int, str], str]
    kind: str = "Shell"
    inline: bool = False


NODE = """#!/bin/bash -e
source "$HELPERS/install.sh"
default_versions=$(jq -r '.node.versions[]' "$TOOLSET")
curl -fsSL https://deb.example.com/setup.sh -o /tmp/setup.sh
bash /tmp/setup.sh
apt-get update
for version in $default_versions; do
    apt-get install -y --no-install-recommends "nodejs=$version"
done
node_modules=$(jq -r '.node_modules[].name' "$TOOLSET")
npm install -g $node_modules
echo 'export PATH=$PATH:/opt/node/bin' | tee /etc/profile.d/node.sh
rm -rf ~/.npm /tmp/setup.sh
"""
DOCKER = """#!/usr/bin/env bash
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
install -m 0755 -d /etc/apt/keyrings
curl -fsSL https://download.example.com/gpg | gpg --dearmor -o /etc/apt/keyrings/docker.gpg
echo "deb [arch=$(dpkg --print-architecture)] https://download.example.com $(lsb_release -cs) stable" \\
  > /etc/apt/sources.list.d/docker.list
apt-get update && apt-get install -y docker-ce
if ! getent group docker > /dev/null; then groupadd docker; fi
systemctl enable --now docker || { echo "no docker" >&2; exit 1; }
docker info --format '{{.ServerVersion}}'
"""
CAREFREE = """#!/bin/bash
echo "installing the agent"
cd /opt
wget https://example.com/agent.tar.gz
tar -xzf agent.tar.gz
./agent/install.sh
echo "done"
"""
CLEANUP = """#!/bin/bash
set -e
apt-get autoremove -y
apt-get clean
rm -rf /var/lib/apt/lists/* /var/tmp/*
find /var/log -type f -name '*.gz' -delete
find /tmp -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} +
truncate -s 0 /etc/machine-id
journalctl --rotate --vacuum-time=1s
sync
"""
HARDENING = """#!/bin/bash -e
sed -i 's/^#\\?PermitRootLogin.*/PermitRootLogin no/' /etc/ssh/sshd_config
sed -i 's/^#\\?PasswordAuthentication.*/PasswordAuthentication no/' /etc/ssh/sshd_config
systemctl reload ssh
ufw default deny incoming
ufw allow OpenSSH
ufw --force enable
chmod 600 /etc/cron.d/*
echo "Defaults use_pty" > /etc/sudoers.d/hardening
passwd -l root
rm -rf /tmp/*
"""
ASKING = """#!/bin/bash -e
yum install epel-release
yum -y install jq
dnf module enable -y nodejs:20
rpm --import https://example.com/key.asc
yum localinstall -y https://example.com/agent.rpm
"""
INLINE = """sudo apt-get update
sudo DEBIAN_FRONTEND=noninteractive apt-get install -y nginx jq
sudo mkdir -p /srv/www
sudo chown "$USER" /srv/www
cp /tmp/index.html /srv/www/index.html
echo 'net.core.somaxconn=1024' | sudo tee /etc/sysctl.d/90-web.conf > /dev/null
sudo sysctl --system
cd /tmp
curl -fsSLO https://example.com/tool.tgz
tar -xzf tool.tgz
sudo install -m 0755 tool /usr/local/bin/tool
rm -rf tool.tgz tool
VERSION=$(curl -s https://example.com/version)
echo "version $VERSION"
sudo systemctl restart nginx
"""
INLINE_BAD = """apt-get install -y nginx
echo "x" > /etc/motd
source /etc/os-release
sed -i 's/a/b/' /etc/nginx/nginx.conf
curl -sL https://example.com/setup | sudo -E bash -
"""
CHOCO = """$ErrorActionPreference = 'Stop'
Set-ExecutionPolicy Bypass -Scope Process -Force
[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor 3072
Invoke-Expression ((New-Object Net.WebClient).DownloadString('https://example.com/install.ps1'))
choco feature enable -n=allowGlobalConfirmation
foreach ($package in 'git', 'vscode') {
    choco install $package --no-progress
    if ($LASTEXITCODE -ne 0) { throw "$package failed" }
}
$password = New-Password -Length 20
Stop-Service -Name wuauserv
Set-ItemProperty -Path HKLM:\\SOFTWARE\\Contoso -Name Size -Value 1
Remove-Item C:\\temp\\* -Recurse -Force -ErrorAction SilentlyContinue
"""
CARELESS_WINDOWS = """New-Item C:\\temp -ItemType Directory -ErrorAction SilentlyContinue
Invoke-WebRequest https://example.com/app.msi -OutFile C:\\temp\\app.msi
Start-Process msiexec -ArgumentList '/i C:\\temp\\app.msi /qn' -Wait
Install-WindowsFeature Web-Server
Restart-Computer -Force
"""

REVIEWED = {
    "node": Reviewed(NODE, {}),
    "docker": Reviewed(DOCKER, {}),
    "carefree": Reviewed(CAREFREE, {(4, "W97"): "a failed download goes on to `echo done`, and the step succeeds"}),
    "cleanup": Reviewed(CLEANUP, {}),
    "hardening": Reviewed(HARDENING, {(11, "W40"): "the deprovision script goes with it"}),
    "asking": Reviewed(ASKING, {(2, "W36"): "yum without -y asks"}),
    "inline": Reviewed(INLINE, {}, inline=True),
    "inline-bad": Reviewed(
        INLINE_BAD,
        {
            (1, "W33"): "the build user is not root",
            (2, "W33"): "nor may it write to /etc",
            (3, "W32"): "dash has no `source`",
            (4, "W33"): "nor may it edit there",
            (5, "W98"): "a failed download is a script of nothing",
        },
        inline=True,
    ),
    "choco": Reviewed(CHOCO, {}, kind="PowerShell"),
    "careless-windows": Reviewed(
        CARELESS_WINDOWS,
        {(1, "W47"): "SilentlyContinue handles nothing", (5, "W35"): "WindowsRestart is for that"},
        kind="PowerShell",
    ),
}


@pytest.mark.parametrize("name", REVIEWED)
def test_exactly_what_the_review_signs_is_found(name: str) -> None:
    script = REVIEWED[name]
    begin = {"type": script.kind, "inline": ["$ErrorActionPreference = 'Stop'" if script.kind != "Shell" else "true"]}
    step = {"type": script.kind, "name": name}
    if script.inline:
        found = judged(template(begin, {**step, "inline": script.text.rstrip("\n").split("\n")}))
        first = 1 + next(
            number for number, line in enumerate(template(begin, step | {"inline": ["@"]}).split("\n")) if '"@"' in line
        )
        lines = {(one.span.line - first + 1, one.id) for one, _ in found}
    else:
        lines = {
            (one.span.line, one.id)
            for one, _ in judged(template(begin, {**step, "scriptUri": "u"}), {"u": remote(script.text)})
        }
    assert lines == set(script.findings)
