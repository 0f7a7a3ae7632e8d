"""What a guest is told when it is restored from a layer: its clock, fresh entropy, this run's key and host name.

One POSIX shell script, run once as root through the layer's own key. Everything a later script could look at is then as
after a boot of this run, but for the uptime and what docs/cache.md lists.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

# Further behind than this (seconds), calendar timers are told that nothing was missed: apt-daily must not start now.
LONG_SLEEP = 300
# Bytes of fresh randomness for the guest's kernel.
SEED_BYTES = 256
# Where cloud-init, the agent and the system keep the host name, the user's key and the resource group.
FILES = (
    "/etc/hostname", "/etc/hosts", "/etc/mailname", "/etc/ssh/ssh_host_*_key.pub", "/var/lib/cloud/data/*hostname",
    "/run/cloud-init/instance-data*.json", "/var/lib/waagent/ovf-env.xml", "/var/lib/waagent/published_hostname",
    "/run/motd.dynamic",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """hostname, public_line (of authorized_keys) and own_words: (old, new). session: process id of the old
    connection's sshd in the guest, or 0. slept: seconds since it was frozen."""

    user: str
    hostname: tuple[str, str]
    public_line: tuple[str, str]
    own_words: Mapping[str, str]
    session: int = 0
    slept: float = 0.0


def restore_script(renewal: Renewal, *, now: float, seed: bytes) -> bytes:
    """The script. now: seconds since 1970, when it is sent.

    It prints the guest's boot id; its status is 0 when the new key is in place. Written for few processes: each costs a
    guest without hardware acceleration some hundredths of a second, just when somebody waits for its first line.
    """
    old, new = renewal.hostname
    lines = [
        "#!/bin/sh",
        f"now={now:.3f}",
        _CLOCK_AND_TIMERS if renewal.slept > LONG_SLEEP else _CLOCK,
        # Mixed in by a write; only the ioctl makes the kernel use it at once (RNDRESEEDCRNG).
        f"seed={seed.hex()}",
        _ENTROPY,
    ]
    if renewal.session:
        # The connection that is no more: nobody is at its other end.
        lines.append(
            f"read -r old 2>/dev/null < /proc/{renewal.session}/comm && "
            f"case $old in sshd*) kill {renewal.session};; esac"
        )
    pairs = {old: new, renewal.public_line[0]: renewal.public_line[1], **renewal.own_words}
    lines.append(_rewrite(renewal.user, pairs))
    if old != new:
        lines += [f"hostname {shlex.quote(new)}", _AGENT]
    lines.append("read -r boot < /proc/sys/kernel/random/boot_id; echo $boot")
    lines.append(f'grep -qsF {shlex.quote(renewal.public_line[1])} "$keys"')
    return ("\n".join(lines) + "\n").encode()


def clock_command(now: float) -> str:
    """Shell text that sets the clock of a guest that stood still for a moment. now: seconds since 1970."""
    return f"sudo -n sh -c {shlex.quote(f'now={now:.3f}; {_CLOCK}')}"


# Setting the clock makes systemd look at its calendar timers: those whose time has passed would start now.
# Until this runs in a busy guest, seconds may have passed: the machine's own clock chip tells the host's time, by the
# second. It is not believed where it is far from what was sent.
_CLOCK = """\
if read -r chip 2>/dev/null < /sys/class/rtc/rtc0/since_epoch; then
  [ "$chip" -le "${now%.*}" ] || [ "$chip" -gt "$(( ${now%.*} + 120 ))" ] || now=$chip.5
fi
date -u -s "@$now" >/dev/null"""
_CLOCK_AND_TIMERS = f"""\
timers=
if command -v systemctl >/dev/null 2>&1; then
  timers=$(systemctl list-units --type=timer --state=active --plain --no-legend 2>/dev/null | cut -d' ' -f1)
  [ -z "$timers" ] || systemctl stop $timers
fi
{_CLOCK}
if [ -n "$timers" ]; then
  touch -c /var/lib/systemd/timers/stamp-* 2>/dev/null
  systemctl start $timers
fi"""
_ENTROPY = """\
if command -v perl >/dev/null 2>&1; then
  perl -e 'open(F, ">", "/dev/urandom"); syswrite(F, pack("H*", $ARGV[0])); ioctl(F, 0x5207, 0)' "$seed"
elif command -v python3 >/dev/null 2>&1; then
  python3 -c 'import fcntl, sys
with open("/dev/urandom", "wb", 0) as f: f.write(bytes.fromhex(sys.argv[1])); fcntl.ioctl(f, 0x5207)' "$seed"
else
  printf %s "$seed" > /dev/urandom
fi"""
# The agent that watches for a new host name restarts the network to publish it; a fresh one takes it as it is.
_AGENT = """\
for unit in walinuxagent waagent; do
  for folder in /etc /lib /usr/lib; do
    if [ -e $folder/systemd/system/$unit.service ]; then systemctl try-restart --no-block $unit.service; break 2; fi
  done
done"""


def _rewrite(user: str, pairs: Mapping[str, str]) -> str:
    """New words for old ones, in those files only that have them. GNU sed keeps owner, mode and SELinux context."""
    changed = {old: new for old, new in pairs.items() if old != new}
    if not changed:
        return ":"
    wanted = " ".join(f"-e {shlex.quote(old)}" for old in changed)
    expressions = " ".join(
        f"-e {shlex.quote(f's|{_pattern(old)}|{_replacement(new)}|g')}" for old, new in changed.items()
    )
    return f"""\
{_home(user)}
keys=$home/.ssh/authorized_keys
grep -lsIF {wanted} "$keys" {" ".join(FILES)} | xargs -r -d '\\n' sed -i --follow-symlinks {expressions}"""


def _home(user: str) -> str:
    """Sets `home`. The shell itself knows where a user of an ordinary name lives."""
    if re.fullmatch(r"[a-z_][a-z0-9_-]*", user):
        return f"home=~{user}"
    return f"home=$(getent passwd {shlex.quote(user)} | cut -d: -f6)"


def _pattern(text: str) -> str:
    """A basic regular expression that matches `text` itself, with `|` around it."""
    return "".join(f"\\{char}" if char in "\\.*[]^$|" else char for char in text)


def _replacement(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\&|" else char for char in text)
