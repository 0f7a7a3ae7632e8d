"""Reported cases about shell scripts, with the right outcome of each, and their twins: what is told and what is not."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from tests.unit.template.scripts.test_script_rules import inline, judged, remote, template

TRUE = {"type": "Shell", "name": "first", "inline": ["true"]}


def ids(*lines: str, **options: Any) -> list[str]:
    return [id_ for id_, _ in inline(*lines, **options)]


def steps(*scripts: str) -> list[str]:
    """What is found in steps that follow each other."""
    found = judged(template(TRUE, *({"type": "Shell", "name": "s", "inline": [text]} for text in scripts)))
    return [one.id for one, _ in found]


def file_ids(text: str) -> list[str]:
    found = judged(template(TRUE, {"type": "Shell", "name": "s", "scriptUri": "u"}), {"u": remote(text)})
    return [one.id for one, _ in found]


class TestNoFalseAlarms:
    @pytest.mark.parametrize(
        "before",
        [
            "echo 'APT::Get::Assume-Yes \"true\";' | sudo tee /etc/apt/apt.conf.d/90yes",
            "printf 'APT::Get::Assume-Yes \"1\";\\n' | sudo tee /etc/apt/apt.conf.d/90assumeyes > /dev/null",
        ],
    )
    def test_apt_that_was_told_to_say_yes(self, before: str) -> None:
        assert ids(before, "sudo apt-get install nginx") == []
        assert steps(before, "sudo apt install nginx") == []
        assert steps(before, "sudo bash -c 'apt-get install nginx'") == []
        # Not what is told later, nor to another.
        assert steps("sudo apt-get install nginx", before) == ["W36"]
        assert steps(before, "sudo dnf install nginx") == ["W36"]

    @pytest.mark.parametrize(
        "line",
        [
            "sudo apt-get -o APT::Get::Assume-Yes=true install nginx",
            'OPTIONS="-y --no-install-recommends"; sudo apt-get install $OPTIONS nginx',
            "sudo apt-get install $OPTIONS nginx",
            "APT='apt-get -y'; sudo $APT install nginx",
            "echo assumeyes=1 | sudo tee -a /etc/dnf/dnf.conf; sudo dnf install x",
            "sudo zypper --non-interactive install x",
        ],
    )
    def test_yes_in_other_words(self, line: str) -> None:
        assert ids(line) == []

    def test_a_firewall_that_was_opened_before(self) -> None:
        assert steps("sudo ufw allow OpenSSH", "sudo ufw --force enable") == []
        assert steps("sudo ufw limit 22/tcp", "sudo ufw --force enable") == []
        assert steps('sudo ufw allow "$PORT"/tcp', "sudo ufw --force enable") == []
        assert steps("sudo iptables -A INPUT -p tcp --dport 22 -j ACCEPT", "sudo iptables -P INPUT DROP") == []
        assert steps("sudo ufw allow 80", "sudo ufw --force enable") == ["W39"]
        assert steps("sudo ufw --force enable", "sudo ufw allow OpenSSH") == ["W39"]

    @pytest.mark.parametrize(
        "line",
        [
            "apt-get -s install nginx",
            "apt-get --simulate upgrade",
            "apt-get --print-uris install nginx",
            "dpkg -l",
            "dpkg -s nginx",
            "rpm -qa",
            "rpm -qi bash",
            "modprobe -n loop",
            "sed -n p /etc/hosts",
            "sed s/a/b/ /etc/hosts",
            "sed -i s/a/b/ ./hosts",
            "tar -czf /tmp/x.tgz -C /opt app",
            "tar -xzf /opt/x.tgz -C /tmp",
            "unzip -l /opt/x.zip",
            "unzip x.zip -d /tmp/x",
            "curl -fsSL https://example.com/x -o /tmp/x",
            "wget -qO- https://example.com/x",
            "hostname -f",
            "hostname",
            "sysctl -n vm.swappiness",
            "mount",
            "swapon --show",
            "make -n install",
            "./configure --prefix=$HOME/x; make install",
            "make install DESTDIR=/tmp/stage",
            "make install PREFIX=$HOME/.local",
            "cmake --install build --prefix $HOME/x",
            "update-alternatives --list java",
            "firewall-cmd --list-all",
            "git clone https://example.com/r.git /tmp/r",
            "git -C /opt/r status",
            "az aks install-cli --install-location ./kubectl",
            "sudo mkdir /data; sudo chown $USER /data; mkdir /data/app; touch /data/app/x",
            'if [ "$(id -u)" -eq 0 ]; then apt-get update; else sudo apt-get update; fi',
            "ufw --version",
            "find /opt -name x",
            "(cd /opt && ls); tar -xzf t.tgz",
            "cp -r /opt/x .",
            "dnf config-manager --dump",
        ],
    )
    def test_root_is_not_needed(self, line: str) -> None:
        assert ids(line) == []

    def test_folders_that_were_given_to_the_user(self) -> None:
        assert steps("sudo install -d -o packer /opt/app", "touch /opt/app/x") == []
        assert steps("sudo chown -R $(whoami) /opt/app", "tar -xzf x.tgz -C /opt/app") == []
        assert steps("sudo chown -R $(whoami) /opt/app", "touch /opt/apple") == ["W33"]

    @pytest.mark.parametrize(
        "line",
        [
            "sudo rm -rf /tmp/*.deb",
            "sudo rm -rf '/tmp/*'",
            "rm -f /tmp/script_*.sh",
            "find /tmp -name '*.deb' -delete",
            "find /tmp -mindepth 1 -type d -exec rm -rf {} +",
            "find /tmp -mtime +1 -delete",
            "find /tmp ! -name '*.sh' -delete",
            "cd /tmp && rm -rf build *.tgz",
            "cd /tmp; cd build; rm -rf *",
            "(cd /tmp && true); rm -rf *",
            "for f in /tmp/*.deb; do rm -f $f; done",
            "mkdir -p /tmp/x && cd /tmp/x && rm -rf *",
            "rm -rf /tmp/*/",
            "rm -rf /var/tmp/*",
        ],
    )
    def test_the_deprovision_script_stays(self, line: str) -> None:
        assert "W40" not in ids(line)

    @pytest.mark.parametrize(
        "line",
        [
            "curl -fsSL https://example.com/key | sudo gpg --dearmor -o /usr/share/keyrings/x.gpg",
            "curl -fsSL https://example.com/x.tgz | sudo tar -xz -C /opt",
            "curl -fsSLo /tmp/x.sh https://example.com/x.sh; sudo sh /tmp/x.sh",
            "VERSION=$(curl -s https://example.com/version)",
            "curl -s https://example.com/x | jq -r .sh",
            "#!/bin/bash -e\nset -o pipefail\ncurl -fsSL https://example.com/x | sudo bash",
        ],
    )
    def test_downloads_that_are_not_run_at_once(self, line: str) -> None:
        assert ids(line) == []

    @pytest.mark.parametrize(
        "line",
        [
            "cloud-init status --wait || true",
            "cloud-init status --wait || [ $? -eq 2 ]",
            "sudo cloud-init status --wait > /dev/null || true",
            "if ! cloud-init status --wait; then echo late; fi",
            "cloud-init status",
            "set +e; cloud-init status --wait",
        ],
    )
    def test_waiting_for_cloud_init_that_may_fail(self, line: str) -> None:
        assert ids(line) == []

    @pytest.mark.parametrize(
        "line",
        [
            "mkdir -p ~/build; cd ~/build; make",
            "cd ~; mkdir x",
            "cat > ~/x.sql <<EOF\nselect 1\nEOF\npsql < ~/x.sql",
            "mkdir -p ~/.config/app",
            "echo x > $HOME/y; rm $HOME/y",
            "cp /etc/hosts ~/hosts; sudo cp ~/hosts /opt/",
            "#!/bin/sh -e\necho '~/app'",
        ],
    )
    def test_homes_that_are_used(self, line: str) -> None:
        assert ids(line) == []

    @pytest.mark.parametrize(
        "line",
        [
            "sudo systemctl stop nginx",
            "sudo userdel -r olduser",
            "sudo rm -f /etc/sudoers.d/app",
            "rm -rf ~/build",
            "sudo rm -rf /home/app",
            "sudo sed -i 's/a/b/' /etc/ssh/sshd_config",
            "echo 'Defaults !requiretty' | sudo tee /etc/sudoers.d/x",
            "sudo ip link set lo up",
            "sudo mount -o remount,size=2G /tmp",
        ],
    )
    def test_what_the_build_needs_stays(self, line: str) -> None:
        assert ids(line) == []

    @pytest.mark.parametrize(
        "line",
        [
            "export AZP_TOKEN=$TOKEN",
            "export TOKEN_FILE=/run/secrets/token",
            "docker login -u ci -p $PASSWORD registry.example.com",
            'echo "$PW" | docker login --password-stdin',
            "git clone https://example.com/r.git",
            "git clone https://$USER:$TOKEN@example.com/r.git",
            "git clone https://<user>:<password>@example.com/r.git",
            'echo "root:$PW" | sudo chpasswd',
            "./setup --password changeme",
            "curl -u ci:$TOKEN https://example.com",
            "export PASSWORD=your-password",
            "rsync ssh://host:22/x",
            "docker run -p 8080:8080 x",
        ],
    )
    def test_no_secrets(self, line: str) -> None:
        assert ids(line) == []

    @pytest.mark.parametrize(
        "line",
        [
            "ssh-keygen -A",
            "ssh-keygen -q -t ed25519 -N '' -f /tmp/k",
            'ssh-keygen -t ed25519 -N "" -f /tmp/k',
            "sudo dpkg-reconfigure -f noninteractive tzdata",
            "export DEBIAN_FRONTEND=noninteractive; sudo -E dpkg-reconfigure tzdata",
            "sudo add-apt-repository -y ppa:a/b",
            "sudo adduser --system app",
            'sudo adduser --disabled-password --gecos "" bob',
            "sudo adduser bob docker",
            "sudo passwd -l bob",
            "vim -es -c 'set number' -c wq x",
            "az login --identity",
            "sudo dnf module list",
            "sudo dnf group list",
            "openssl req -new -subj /CN=x -key k",
        ],
    )
    def test_what_does_not_ask(self, line: str) -> None:
        assert ids(line) == []


class TestMisses:
    @pytest.mark.parametrize(
        "line",
        [
            "dpkg -i a.deb",
            "dpkg --configure -a",
            "sed -i s/a/b/ /etc/hosts",
            "sed -ri.bak 's/a/b/' /usr/lib/x",
            "sed -i -e s/a/b/ -e s/c/d/ /etc/hosts",
            "sed --in-place=.bak s/a/b/ /etc/hosts",
            "tar -xzf t.tgz -C /opt",
            "tar xzf t.tgz --directory=/usr/local",
            "tar -C /usr/local -xzf go.tgz",
            "unzip -q t.zip -d /opt/t",
            "rpm -i a.rpm",
            "rpm -Uvh https://example.com/a.rpm",
            "rpm --import https://example.com/key",
            "modprobe loop",
            "curl -fsSLo /usr/local/bin/t https://example.com/t",
            "curl https://example.com/t --output /usr/local/bin/t",
            "wget -qO /etc/apt/keyrings/k.asc https://example.com/k",
            "wget -P /opt https://example.com/x",
            "az aks install-cli",
            "hostname builder1",
            "dnf config-manager --add-repo https://example.com/r.repo",
            "yum-config-manager --add-repo https://example.com/r.repo",
            "mkdir -p /data/app",
            "sysctl -w vm.swappiness=1",
            "sysctl -p",
            "update-alternatives --set java /opt/java",
            "make install",
            "make -C src install",
            "cmake --install build",
            "cd /opt && tar -xzf /tmp/x.tgz",
            "cd /usr/local/src; git clone https://example.com/r.git",
            "mv /opt/a /tmp/a",
            "git clone https://example.com/r.git /opt/r",
            "python3 -m venv /opt/venv",
            "DIR=/opt/app; mkdir -p $DIR/bin",
            "apt-get -o Dpkg::Options::=--force-confold install -y nginx",
            "service nginx restart",
            "hostnamectl set-hostname builder",
            "locale-gen en_US.UTF-8",
            "echo 1 | tee /proc/sys/net/ipv4/ip_forward",
            "bash -c 'echo x > /etc/x'",
            "find /var/log -type f -delete",
        ],
    )
    def test_root_is_needed(self, line: str) -> None:
        assert ids(line) == ["W33"]
        assert "W33" not in ids(f"sudo sh -c '{line}'") if "'" not in line else True

    def test_the_advice_for_an_appending_redirection_keeps_the_file(self) -> None:
        ((found, _),) = judged(template(TRUE, {"type": "Shell", "inline": ["echo a >> /etc/hosts"]}))
        assert found.hint == "write `... | sudo tee -a /etc/hosts`"

    @pytest.mark.parametrize(
        "line",
        [
            "sudo yum localinstall a.rpm",
            "sudo dnf group install x",
            "sudo dnf module install nodejs",
            "sudo add-apt-repository ppa:a/b",
            "sudo dpkg-reconfigure tzdata",
            "ssh-keygen -t ed25519",
            "sudo zypper install x",
            "sudo apt-get -o A::B=c install x",
            "sudo adduser bob",
            "sudo passwd bob",
            "gpg --full-generate-key",
            "az login",
            "sudo bash -c 'apt-get install nginx'",
            "sudo dnf reinstall x",
        ],
    )
    def test_questions(self, line: str) -> None:
        assert ids(line) == ["W36"]

    @pytest.mark.parametrize(
        "line",
        [
            "cd /tmp && sudo rm -rf *",
            "for f in /tmp/*; do sudo rm -rf $f; done",
            'for f in /tmp/* /var/tmp/*; do sudo rm -rf "$f"; done',
            "sudo rm -f /tmp/*.sh",
            "sudo find /tmp -type f -exec rm -f {} +",
            "sudo find /tmp -type f | xargs sudo rm -f",
            "sudo find /tmp -name '*.sh' -delete",
            "sudo find /tmp/* -delete",
            "sudo rm -rf /tmp/D*",
            'sudo rm -rf "/tmp/"*',
            "T=/tmp; sudo rm -rf $T/*",
            "cd /; sudo rm -rf tmp/*",
            "sudo mv /tmp/* /var/tmp/",
            "sudo mount -t tmpfs tmpfs /tmp",
            "sudo bash -c 'rm -rf /tmp/*'",
            "rm /tmp/DeprovisioningScript.sh",
        ],
    )
    def test_the_deprovision_script_goes(self, line: str) -> None:
        assert ids(line) == ["W40"]

    @pytest.mark.parametrize(
        "line",
        [
            "curl -s https://example.com/install.sh | sudo bash",
            "wget -qO- https://example.com/install.sh | sh",
            "curl -fsSL https://example.com/install.sh | sudo -E bash -s -- --yes",
            "curl -sSL https://example.com/i.py | python3 -",
            'sh -c "$(curl -fsSL https://example.com/install.sh)"',
            'eval "$(curl -fsSL https://example.com/install.sh)"',
            "#!/bin/bash -e\nbash <(curl -s https://example.com/install.sh)",
        ],
    )
    def test_downloads_that_are_run_at_once(self, line: str) -> None:
        assert ids(line) == ["W98"]

    @pytest.mark.parametrize(
        "line",
        [
            "sudo systemctl stop ssh.socket",
            "sudo service sshd stop",
            "sudo userdel -r packer",
            "sudo userdel $USER",
            "sudo rm -f /etc/sudoers.d/90-cloud-init-users",
            "sudo rm -rf /etc/sudoers.d/*",
            "cd /etc/sudoers.d && sudo rm -f 90-cloud-init-users",
            "sudo sed -i 's/NOPASSWD://' /etc/sudoers.d/90-cloud-init-users",
            "sudo sed -i '/NOPASSWD/d' /etc/sudoers.d/*",
            "echo 'Defaults requiretty' | sudo tee /etc/sudoers.d/tty",
            "sudo rm -rf /home/*",
            "rm -rf ~/.ssh",
            "sudo ufw deny ssh",
            "sudo firewall-cmd --permanent --remove-service=ssh",
            "sudo systemctl stop NetworkManager",
            "sudo apt-get purge -y openssh-server",
            "sudo mount -o remount,noexec /tmp",
            "sudo usermod -L packer",
        ],
    )
    def test_what_the_build_needs_goes(self, line: str) -> None:
        assert ids(line) == ["W39"]

    @pytest.mark.parametrize(
        ("line", "secret"),
        [
            ("export AZP_TOKEN=abcdefghijklmnopqrstuvwxyz234567", "abcdefghij"),
            ("docker login -u ci -p hunter2secret registry.example.com", "hunter2"),
            ("az login --service-principal -u id -p hunter2secret --tenant t", "hunter2"),
            ("git clone https://ci:hunter2secret@example.com/r.git", "hunter2"),
            ("echo 'root:hunter2secret' | sudo chpasswd", "hunter2"),
            ("./setup --password hunter2secret", "hunter2"),
            ("sshpass -p hunter2secret ssh host", "hunter2"),
            ("curl -u ci:hunter2secret https://example.com", "hunter2"),
            ("mysql -uroot -phunter2secret -e x", "hunter2"),
            ("export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AKIA"),
        ],
    )
    def test_secrets(self, line: str, secret: str) -> None:
        ((found, rest),) = judged(template(TRUE, {"type": "Shell", "inline": [line]}))
        assert found.id == "W45" and rest.startswith(secret)
        assert secret not in found.message + (found.hint or "")

    def test_a_text_for_a_root_shell_is_judged(self) -> None:
        assert inline("sudo bash <<'EOF'", "apt-get install nginx", "reboot", "EOF") == [
            ("W36", "apt-get"),
            ("W35", "reboot"),
        ]
        assert inline("cat <<EOF | sudo bash", "apt-get install nginx", "EOF") == [("W36", "apt-get")]
        assert inline("sudo -i <<EOF", "reboot", "EOF") == [("W35", "reboot")]
        assert inline("bash <<'EOF'", "mkdir /opt/x", "EOF") == [("W33", "mkdir")]
        assert inline("sudo sh -c 'cd /tmp; [[ -f x ]]'") == [("W32", "[[")]
        assert inline('sudo bash -c "mkdir /opt/x; [[ -f \\"x\\" ]] && reboot; true"') == [("W35", "reboot;")]
        # What is only written to a file is not run.
        assert ids("cat > /tmp/x.sh <<'EOF'", "reboot", "apt-get install x", "EOF") == []
        assert ids("sudo tee /usr/local/bin/x <<'EOF'", "reboot", "EOF") == []

    def test_what_is_put_into_the_home_is_noted_once(self) -> None:
        assert inline("mkdir -p ~/app", "echo x > ~/app/conf") == [("W99", "~/app")]
        assert ids("echo 'export A=b' >> ~/.bashrc") == ["W99"]
        assert ids("cp /etc/motd $HOME/hosts") == ["W99"]
        assert steps("mkdir -p ~/app", "ls ~/app") == []

    def test_waiting_for_cloud_init_that_must_not_fail(self) -> None:
        assert inline("sudo cloud-init status --wait", "sudo apt-get update") == [("W95", "cloud-init")]
        assert ids("cloud-init status -w > /dev/null && true") == ["W95"]


class TestFiles:
    @pytest.mark.parametrize(
        "text",
        [
            "#!/bin/bash\nwget https://example.com/missing.deb\ndpkg -i missing.deb\necho finished\n",
            "#!/bin/sh\ncp a /opt/\nrm -f a || true\ntrue\n",
            "#!/bin/bash\n# set -e is left out\napt-get update -y\nexit 0\n",
            "#!/bin/bash\ninstall() {\n  apt-get install -y x\n  echo done\n}\ninstall\n",
        ],
    )
    def test_a_script_that_goes_on_after_an_error(self, text: str) -> None:
        assert file_ids(text) == ["W97"]

    @pytest.mark.parametrize(
        "text",
        [
            "#!/bin/bash -e\nwget https://example.com/x\ntrue\n",
            "#!/bin/bash -eux\nwget https://example.com/x\ntrue\n",
            "#!/bin/bash\nset -euo pipefail\nwget https://example.com/x\ntrue\n",
            "#!/bin/bash\nset -o errexit\nwget https://example.com/x\ntrue\n",
            "#!/bin/bash\nset -x -e\nwget https://example.com/x\ntrue\n",
            "#!/bin/bash\ntrap 'exit 1' ERR\nwget https://example.com/x\ntrue\n",
            "#!/bin/bash\nwget https://example.com/x || exit 1\ntrue\n",
            "#!/bin/bash\nwget https://example.com/x\nif [ $? -ne 0 ]; then echo bad; fi\n",
            "#!/bin/bash\necho begin\nwget https://example.com/x && cp x /opt/\n",
            "#!/bin/bash\napt-get update -y\n",
            '#!/bin/sh\nexec perl -x "$0" "$@"\nexit 1;\n',
            "#!/bin/bash\nif [ -f x ]; then cp x /opt/; fi\n",
        ],
    )
    def test_a_script_that_does_not(self, text: str) -> None:
        assert file_ids(text) == []

    @pytest.mark.parametrize(
        "first",
        ["!#/bin/bash", " #!/bin/bash", "# !/bin/bash", "#/bin/bash", "\n#!/bin/bash", "# setup\n#!/bin/bash", "#!",
         "#!bash", "#!/usr/bin/env bash -e", "#!/bin/bash -e -x"],
    )  # fmt: skip
    def test_a_first_line_that_is_meant_and_is_none(self, first: str) -> None:
        found = judged(
            template(TRUE, {"type": "Shell", "name": "s", "scriptUri": "u"}), {"u": remote(f"{first}\ntrue\n")}
        )
        assert [(one.id, one.severity.value) for one, _ in found] == [("W96", "warning")]

    @pytest.mark.parametrize(
        "first", ["#!/bin/bash", "#! /bin/bash -e", "#!/usr/bin/env bash", "#!/usr/bin/env -S bash -e", "#!/bin/sh\r"]
    )
    def test_a_first_line_that_is_one(self, first: str) -> None:
        assert file_ids(f"{first}\ntrue\n") == []

    def test_no_first_line_at_all(self) -> None:
        found = judged(template(TRUE, {"type": "Shell", "scriptUri": "u"}), {"u": remote("[[ -f x ]] && echo y\n")})
        assert [(one.id, one.severity.value) for one, _ in found] == [("W96", "note"), ("W32", "warning")]
        assert "has no `#!` line, so that sh runs it" in found[1][0].message
        # E28 says it of a page.
        assert (
            judged(template(TRUE, {"type": "Shell", "scriptUri": "u"}), {"u": remote("<!DOCTYPE html>\n<html>\n")})
            == []
        )


BASH_ONLY = [
    "mkdir -p app/{bin,etc}; ls app",
    "x=a; x+=b; echo $x",
    "echo -e 'a\\tb'",
    "trap 'echo no' ERR; echo y",
    "trap 'echo no' SIGTERM; echo y",
    "test a == b || echo $?",
    "kill -SIGCONT $$; echo y",
    "echo y | { read -t 1 x; echo $x; }",
    "f() { local -r y=1; echo $y; }; f",
    "f() { :; }; export -f f; echo y",
    "printf -v a x; echo $a",
    "type -t ls",
    "echo $(< /etc/hostname)",
    "ls -d / >& out; cat out",
    "for ((i=0;i<2;i++)); do echo $i; done",
    "my-f() { echo y; }; my-f",
    "echo ${EUID:+known} $EUID",
]


@pytest.mark.parametrize("line", BASH_ONLY)
def test_what_dash_does_otherwise_is_said(line: str) -> None:
    assert set(ids(line)) == {"W32"}
    assert ids("#!/bin/bash -e", line) == []
    assert "W32" not in ids(line, publisher="RedHat")


@pytest.mark.skipif(not (shutil.which("dash") and shutil.which("bash")), reason="needs dash and bash")
@pytest.mark.parametrize("line", BASH_ONLY)
def test_and_a_real_dash_does_so(line: str, tmp_path: Any) -> None:
    answers = []
    for shell in ("dash", "bash"):
        folder = tmp_path / shell
        folder.mkdir()
        done = subprocess.run([shell, "-ec", line], cwd=folder, capture_output=True, text=True, check=False, timeout=30)
        answers.append((done.returncode == 0, done.stdout))
    assert answers[0] != answers[1]
