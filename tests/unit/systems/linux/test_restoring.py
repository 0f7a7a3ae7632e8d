"""The script that a guest runs when it is restored: run by a real `sh`, in a folder that stands for the guest.

The tools that would change this host are programs that only write down how they were called.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aibemu.systems.linux.restoring import FILES, LONG_SLEEP, Renewal, restore_script

OLD, NEW = "pkrvmold0000001", "pkrvmnew0000002"
OLD_KEY, NEW_KEY = "ssh-ed25519 AAAAC3/old+1 aibemu", "ssh-ed25519 AAAAC3/new+2 aibemu"
OLD_GROUP, NEW_GROUP = "IT_aibemu_web_1111", "IT_aibemu_web_2222"
NOW = 1795428000.25
TOOLS = ("sh", "cat", "cut", "grep", "sed", "touch", "xargs")
RENEWAL = Renewal(
    user="packer", hostname=(OLD, NEW), public_line=(OLD_KEY, NEW_KEY), own_words={OLD_GROUP: NEW_GROUP}
)  # fmt: skip
# Whatever may stand in a name and is special to sh, grep, sed or xargs; and some that are not.
ODD = st.text("/&|.*[]^$\\'\"`!#%()+?{}~;<>=,-_: aZ0\u00e9", min_size=1, max_size=12)


class Guest:
    """A folder as the root of a guest. `say`: what tools answer; `without`: tools that are not there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin, self.calls_file = root / "shims", root / "calls"
        self.said = ""
        self.without: tuple[str, ...] = ()
        self.put("/proc/sys/kernel/random/boot_id", "b00t-id\n")
        self.put("/home/packer/.ssh/authorized_keys", f"# mine\nssh-rsa BBBB other\n{OLD_KEY}\n", 0o600)

    @property
    def keys(self) -> Path:
        return self.root / "home/packer/.ssh/authorized_keys"

    def put(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def text(self, name: str) -> str:
        return (self.root / name.lstrip("/")).read_text(encoding="utf-8")

    def restore(self, renewal: Renewal = RENEWAL) -> int:
        """Run the script with the guest's root in place of `/`; its exit status. What it prints is a failure."""
        self._lay_out()
        text = restore_script(renewal, now=NOW, seed=b"\x00\xff").decode()
        text = text.replace("home=~packer\n", f"home={self.root}/home/packer\n")
        for name in (*FILES, "/var/lib/systemd/timers/stamp-*", "/dev/urandom", "/proc/sys/kernel/random/boot_id"):
            text = text.replace(name, f"{self.root}{name}")
        text = text.replace("for folder in /etc /lib /usr/lib;", f"for folder in {self.root}/etc {self.root}/usr/lib;")
        done = subprocess.run(
            [self.bin / "sh"], input=text, capture_output=True, text=True, timeout=120, cwd=self.root,
            env={"PATH": str(self.bin), "LC_ALL": "C.UTF-8"}, check=False,
        )  # fmt: skip
        assert done.stderr == ""
        self.said = done.stdout
        return done.returncode

    def calls(self, tool: str) -> list[str]:
        lines = self.calls_file.read_text(encoding="utf-8").splitlines() if self.calls_file.exists() else []
        return [line.removeprefix(tool).strip() for line in lines if line.split(" ")[0] == tool]

    def _lay_out(self) -> None:
        shutil.rmtree(self.bin, ignore_errors=True)
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        home = f"Odd.Name:x:1000:1000::{self.root}/home/packer:/bin/bash"
        units = 'case "$*" in list-units*) printf "apt-daily.timer loaded\\nlogrotate.timer loaded\\n";; esac'
        for tool, then in {
            "date": "", "getent": f'[ "$*" = "passwd Odd.Name" ] && echo {home}', "hostname": "", "perl": "",
            "python3": "", "systemctl": units,
        }.items():  # fmt: skip
            if tool not in self.without:
                shim = f'#!/bin/sh\necho "{tool} $*" >> {self.calls_file}\n{then}\n'
                self.put(f"shims/{tool}", shim, 0o755)


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


# Its key


def test_the_new_key_takes_the_place_of_the_old_and_nothing_else_changes(guest: Guest) -> None:
    assert guest.restore() == 0
    assert guest.keys.read_text() == f"# mine\nssh-rsa BBBB other\n{NEW_KEY}\n"
    assert guest.keys.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in guest.keys.parent.iterdir()] == ["authorized_keys"]


@pytest.mark.parametrize("text", ["", "ssh-rsa BBBB other\n", OLD_KEY[:-3] + "\n"])
def test_a_guest_that_has_not_the_key_in_the_end_says_so(guest: Guest, text: str) -> None:
    guest.keys.write_text(text)
    assert guest.restore() != 0
    assert guest.keys.read_text() == text


def test_a_guest_without_the_file_of_keys_says_so(guest: Guest) -> None:
    guest.keys.unlink()
    assert guest.restore() != 0


def test_a_user_of_an_odd_name_is_looked_up(guest: Guest) -> None:
    assert guest.restore(replace(RENEWAL, user="Odd.Name")) == 0
    assert guest.keys.read_text() == f"# mine\nssh-rsa BBBB other\n{NEW_KEY}\n"
    assert guest.restore(replace(RENEWAL, user="Nobody; echo x")) != 0


def test_a_user_of_an_ordinary_name_is_where_the_shell_says(guest: Guest) -> None:
    assert "home=~packer\n" in restore_script(RENEWAL, now=NOW, seed=b"").decode()


def test_it_tells_its_boot_and_nothing_else(guest: Guest) -> None:
    assert guest.restore() == 0
    assert guest.said == "b00t-id\n"


def test_woken_again_it_is_well_too(guest: Guest) -> None:
    assert guest.restore() == 0
    assert guest.restore() == 0
    assert guest.keys.read_text().count(NEW_KEY) == 1


# Its names


def test_names_change_in_the_files_that_have_them_and_only_there(guest: Guest) -> None:
    changed = [
        guest.put("/etc/hostname", f"{OLD}\n"), guest.put("/etc/hosts", f"127.0.1.1 {OLD}.local {OLD}\n"),
        guest.put("/etc/ssh/ssh_host_rsa_key.pub", f"ssh-rsa CCCC root@{OLD}\n"),
        guest.put("/var/lib/cloud/data/previous-hostname", f"{OLD}\n"),
        guest.put("/run/cloud-init/instance-data-sensitive.json", f'{{"g": "{OLD_GROUP}", "h": "{OLD}"}}', 0o600),
        guest.put("/var/lib/waagent/ovf-env.xml", f"<HostName>{OLD}</HostName>{OLD_KEY}", 0o600),
    ]  # fmt: skip
    before = {path: (path.read_text(), path.stat().st_mode) for path in changed}
    alone = [
        guest.put("/etc/mailname", "elsewhere\n"), guest.put("/run/cloud-init/instance-data.json", "{}"),
        guest.put("/etc/passwd", f"{OLD}\n"), guest.put("/home/packer/notes", f"{OLD} {OLD_KEY}\n"),
    ]  # fmt: skip
    untouched = {path: (path.read_text(), path.stat().st_ino, path.stat().st_mtime_ns) for path in alone}
    assert guest.restore() == 0
    for path, (text, mode) in before.items():
        wanted = text.replace(OLD, NEW).replace(OLD_KEY, NEW_KEY).replace(OLD_GROUP, NEW_GROUP)
        assert (path.read_text(), path.stat().st_mode) == (wanted, mode)
    assert {path: (path.read_text(), path.stat().st_ino, path.stat().st_mtime_ns) for path in alone} == untouched
    assert guest.calls("hostname") == [NEW]


def test_a_name_that_is_a_pattern_matches_itself_only(guest: Guest) -> None:
    guest.put("/etc/hosts", "a.b axb\n")
    assert guest.restore(replace(RENEWAL, hostname=("a.b", "c&d"))) == 0
    assert guest.text("/etc/hosts") == "c&d axb\n"


def test_a_symbolic_link_stays_one(guest: Guest) -> None:
    real = guest.put("/run/real", f"{OLD}\n")
    (guest.root / "etc").mkdir()
    (guest.root / "etc/hostname").symlink_to(real)
    assert guest.restore() == 0
    assert (guest.root / "etc/hostname").is_symlink()
    assert real.read_text() == f"{NEW}\n"


def test_a_binary_file_is_left_alone(guest: Guest) -> None:
    path = guest.put("/etc/ssh/ssh_host_x_key.pub", "")
    path.write_bytes(b"\0\1" + OLD.encode())
    assert guest.restore() == 0
    assert path.read_bytes() == b"\0\1" + OLD.encode()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(old=ODD, new=ODD)
def test_no_character_is_special_in_a_name(tmp_path_factory: pytest.TempPathFactory, old: str, new: str) -> None:
    guest = Guest(tmp_path_factory.mktemp("guest"))
    first, last = f"<{old}", f"{old}>"  # what is special at an end of a pattern only, too
    guest.put("/etc/hosts", f"x {first}@ y {first}@\n<z>\n")
    guest.put("/etc/mailname", f"x @{last} y @{last}\n<z>\n")
    wanted = guest.text("/etc/hosts").replace(first, f"<{new}")
    assert guest.restore(replace(RENEWAL, own_words={first: f"<{new}"})) == 0
    assert guest.text("/etc/hosts") == wanted
    wanted = guest.text("/etc/mailname").replace(last, f"{new}>")
    again = replace(RENEWAL, public_line=(NEW_KEY, NEW_KEY), own_words={last: f"{new}>"})
    assert guest.restore(again) == 0
    assert guest.text("/etc/mailname") == wanted
    assert guest.keys.read_text() == f"# mine\nssh-rsa BBBB other\n{NEW_KEY}\n"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(old=ODD, new=ODD)
def test_nor_in_a_line_of_authorized_keys(tmp_path_factory: pytest.TempPathFactory, old: str, new: str) -> None:
    guest = Guest(tmp_path_factory.mktemp("guest"))
    lines = (f"{OLD_KEY} {old}|", f"{NEW_KEY} {new}|")
    guest.keys.write_text(f"first\n{lines[0]}\nlast\n")
    assert guest.restore(replace(RENEWAL, public_line=lines)) == 0
    assert guest.keys.read_text() == f"first\n{lines[1]}\nlast\n"


# The agent


@pytest.mark.parametrize(
    ("units", "restarted"),
    [([], []), (["/etc/systemd/system/waagent.service"], ["waagent"]),
     (["/usr/lib/systemd/system/walinuxagent.service"], ["walinuxagent"]),
     (["/etc/systemd/system/waagent.service", "/usr/lib/systemd/system/walinuxagent.service"], ["walinuxagent"])],
)  # fmt: skip
def test_the_agent_that_runs_is_restarted_once_without_waiting(
    guest: Guest, units: list[str], restarted: list[str]
) -> None:
    for unit in units:
        guest.put(unit, "[Unit]")
    assert guest.restore() == 0
    # try-restart: one that does not run stays as it is.
    assert guest.calls("systemctl") == [f"try-restart --no-block {unit}.service" for unit in restarted]


def test_with_the_same_name_nothing_is_restarted(guest: Guest) -> None:
    guest.put("/etc/systemd/system/waagent.service", "[Unit]")
    guest.put("/etc/hostname", f"{OLD}\n")
    assert guest.restore(replace(RENEWAL, hostname=(OLD, OLD))) == 0
    assert guest.calls("hostname") == []
    assert guest.calls("systemctl") == []
    assert guest.text("/etc/hostname") == f"{OLD}\n"


# Its clock


@pytest.mark.parametrize("slept", [0.0, LONG_SLEEP, -86400.0])
def test_a_short_sleep_sets_the_clock_and_leaves_the_timers(guest: Guest, slept: float) -> None:
    assert guest.restore(replace(RENEWAL, slept=slept)) == 0
    assert guest.calls("date") == [f"-u -s @{NOW:.3f}"]
    assert guest.calls("systemctl") == []


LONG = replace(RENEWAL, slept=LONG_SLEEP + 1.0)


def test_after_a_long_sleep_timers_are_stopped_before_the_clock_is_set_and_started_after(guest: Guest) -> None:
    stamp = guest.put("/var/lib/systemd/timers/stamp-apt-daily.timer", "")
    os.utime(stamp, (0, 0))
    assert guest.restore(LONG) == 0
    lines = [line for line in guest.calls_file.read_text().splitlines() if " st" in line or " -s " in line]
    timers = "apt-daily.timer logrotate.timer"
    assert lines == [f"systemctl stop {timers}", f"date -u -s @{NOW:.3f}", f"systemctl start {timers}"]
    assert stamp.stat().st_mtime > 0


def test_without_stamps_none_are_made(guest: Guest) -> None:
    (guest.root / "var/lib/systemd/timers").mkdir(parents=True)
    assert guest.restore(LONG) == 0
    assert list((guest.root / "var/lib/systemd/timers").iterdir()) == []


def test_a_guest_without_systemd_is_woken_too(guest: Guest) -> None:
    guest.without = ("systemctl",)
    assert guest.restore(LONG) == 0
    assert guest.calls("date") == [f"-u -s @{NOW:.3f}"]


# Its entropy


@pytest.mark.parametrize(
    ("without", "tool"), [((), "perl"), (("perl",), "python3"), (("perl", "python3"), None)], ids=str
)
def test_fresh_entropy_by_whatever_tool_there_is(guest: Guest, without: tuple[str, ...], tool: str | None) -> None:
    guest.without = without
    guest.put("/dev/urandom", "")
    assert guest.restore() == 0
    used = [name for name in ("perl", "python3") if "00ff" in guest.calls_file.read_text() and guest.calls(name)]
    assert used == ([tool] if tool else [])
    assert guest.text("/dev/urandom") == ("" if tool else "00ff")


# The connection that is no more


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Two processes that sleep; one is called as a server of SSH is."""
    started = {}
    (tmp_path / "programs").mkdir()
    for name in ("sshd-session", "somebody"):
        program = shutil.copy(str(shutil.which("sleep")), tmp_path / "programs" / name)
        started[name] = subprocess.Popen([str(program), "60"])
    yield started
    for process in started.values():
        process.kill()
        process.wait()


def test_the_old_connection_ends(guest: Guest, processes: dict[str, subprocess.Popen[bytes]]) -> None:
    assert guest.restore(replace(RENEWAL, session=processes["sshd-session"].pid)) == 0
    assert processes["sshd-session"].wait(10) == -15


def test_another_process_that_has_its_number_now_goes_on(
    guest: Guest, processes: dict[str, subprocess.Popen[bytes]]
) -> None:
    assert guest.restore(replace(RENEWAL, session=processes["somebody"].pid)) == 0
    with pytest.raises(subprocess.TimeoutExpired):
        processes["somebody"].wait(0.3)


def test_a_process_that_is_gone_is_no_matter(guest: Guest) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert guest.restore(replace(RENEWAL, session=gone.pid)) == 0
