"""Which commands need root, by name, subcommand and option."""

from __future__ import annotations

import re

from aibemu.template.scripts.commands import Command

# Options with which a command shows something, or works for the user alone.
LOOKS_ONLY = frozenset({"--user", "--version", "--help", "-help", "--usage"})

_PROGRAMS = (
    "useradd userdel usermod groupadd groupdel groupmod adduser deluser addgroup delgroup chpasswd visudo "
    "add-apt-repository apt-add-repository update-grub update-initramfs grub2-mkconfig grub-mkconfig grubby dracut "
    "depmod insmod rmmod umount locale-gen update-locale update-ca-certificates update-ca-trust dpkg-reconfigure "
    "debconf-set-selections setenforce pam-auth-update a2enmod a2ensite a2enconf a2dismod a2dissite update-rc.d "
    "growpart resize2fs pvcreate vgcreate lvcreate lvextend fstrim iptables ip6tables subscription-manager"
)
ALWAYS = frozenset(_PROGRAMS.split())
# Options that only show what would be done; nothing of root's is touched then.
_APT = frozenset(
    {"-s", "--simulate", "--just-print", "--dry-run", "--recon", "--no-act", "--print-uris", "download", "changelog"}
)
SIMULATES = {
    "apt": _APT, "apt-get": _APT, "aptitude": _APT, "zypper": frozenset({"--dry-run", "-D"}),
    "dpkg": frozenset({"--dry-run", "--no-act", "--simulate"}), "rpm": frozenset({"--test"}),
    "modprobe": frozenset({"-n", "--dry-run", "--show", "-c", "--showconfig", "--show-depends", "-D", "-V"}),
    "dnf": frozenset({"--dump", "--dump-variables", "--assumeno"}), "yum": frozenset({"--assumeno"}),
    "subscription-manager": frozenset({"version", "status", "identity"}),
}  # fmt: skip
_DNF = {
    "install", "update", "upgrade", "upgrade-minimal", "remove", "erase", "autoremove", "reinstall", "downgrade",
    "distro-sync", "localinstall", "localupdate", "groupinstall", "groupremove", "swap", "config-manager",
    "group install", "group remove", "groups install", "module install", "module enable", "module disable",
    "module reset", "module remove", "module switch-to", "copr enable",
}  # fmt: skip
SUBCOMMANDS: dict[str, set[str]] = {
    "apt": {"install", "update", "upgrade", "full-upgrade", "remove", "purge", "autoremove", "autopurge", "build-dep",
            "reinstall"},
    "apt-get": {"install", "update", "upgrade", "dist-upgrade", "remove", "purge", "autoremove", "autopurge",
                "build-dep", "reinstall"},
    "aptitude": {"install", "update", "upgrade", "safe-upgrade", "full-upgrade", "remove", "purge"},
    "apt-key": {"add", "adv", "del"}, "apt-mark": {"hold", "unhold", "auto", "manual"},
    "yum": _DNF, "dnf": _DNF, "dnf5": _DNF, "tdnf": _DNF, "microdnf": _DNF,
    "zypper": {"install", "in", "update", "up", "remove", "rm", "addrepo", "ar", "removerepo", "rr", "refresh", "ref",
               "dist-upgrade", "dup", "patch"},
    "snap": {"install", "remove", "refresh", "set", "connect", "disable", "enable"},
    "systemctl": {"enable", "disable", "start", "stop", "restart", "mask", "unmask", "daemon-reload", "reload",
                  "try-restart", "reload-or-restart", "reenable", "set-default", "isolate", "daemon-reexec",
                  "set-property"},
    "hostnamectl": {"set-hostname", "hostname", "set-chassis"}, "timedatectl": {"set-timezone", "set-time", "set-ntp"},
    "localectl": {"set-locale", "set-keymap", "set-x11-keymap"}, "loginctl": {"enable-linger"},
    "ufw": {"enable", "disable", "allow", "deny", "limit", "reject", "delete", "default", "reload", "reset", "logging"},
    "netplan": {"apply", "generate"}, "semanage": {"fcontext", "port", "boolean", "login", "permissive"},
    "cloud-init": {"clean"}, "alternatives": {"--set", "--install", "--remove", "--auto", "--config"},
}  # fmt: skip
# Name -> the options, and words, that need root.
_OPTIONS = {
    "dpkg": re.compile(
        r"-[EGOB]*[irP][EGOB]*|--(?:install|remove|purge|configure|unpack|add-architecture|set-selections)"
    ),
    "rpm": re.compile(r"-[vh]*[iUFe][vh]*|--(?:import|install|upgrade|erase|freshen|rebuilddb)"),
    "modprobe": re.compile(r"[\w-]+"),
    "sysctl": re.compile(r"-w|--write|-p.*|--load.*|--system|[\w.]+=.*"),
    "update-alternatives": re.compile(r"--(?:set|install|remove|auto|config|remove-all)"),
    "hostname": re.compile(r"\w[\w.-]*|-F|--file|-b"),
    "firewall-cmd": re.compile(r"--(?:add|remove|set|reload|permanent|runtime-to-permanent).*"),
    "yum-config-manager": re.compile(r"--(?:add-repo|enable|disable|save|setopt).*"),
    "ldconfig": re.compile(r"/.*|-v"),
    "waagent": re.compile(r"-(?:force|deprovision|install|start).*"),
    "crontab": re.compile(r"-u"), "setcap": re.compile(r".+"), "chattr": re.compile(r"[+-]i"),
    "swapon": re.compile(r"/.*|-a"), "swapoff": re.compile(r"/.*|-a"), "mount": re.compile(r"-a|-o|-t|/.*"),
}  # fmt: skip
_SERVICE = frozenset({"start", "stop", "restart", "reload", "force-reload"})


def words_after(command: Command) -> list[str]:
    """The operands without the values of options that stand before them: `apt-get -o A::B=c install x`."""
    found, skip = list[str](), False
    for word in command.words[1:]:
        if word.text.startswith("-"):
            skip = word.text in ("-o", "-t", "-c", "--target-release", "--option")
        elif skip:
            skip = False
        else:
            found.append(word.text)
    return found


def has_subcommand(command: Command) -> str | None:
    """The subcommand of a command that needs root, or None: `install` of `apt-get -y install x`."""
    known, operands = SUBCOMMANDS[command.name], words_after(command)
    if command.name == "alternatives":
        return next((argument for argument in command.arguments if argument in known), None)
    two = " ".join(operands[:2])
    return two if two in known else operands[0] if operands and operands[0] in known else None


def option_of(command: Command) -> str | None:
    """The argument of a command that needs root, or None."""
    if command.name == "service":
        return next((word for word in command.arguments[1:2] if word in _SERVICE), None)
    if command.name == "ldconfig" and not command.arguments:
        return ""
    if command.name == "cmake" and command.arguments[:1] == ("--install",):
        return None if any(one.startswith("--prefix") for one in command.arguments) else "--install"
    pattern = _OPTIONS.get(command.name)
    if pattern is None:
        return None
    if command.name == "rpm" and any(
        re.match(r"-[a-zA-Z]*[qVK]|--(?:query|verify|root|eval)", a) for a in command.arguments
    ):
        return None
    return next((argument for argument in command.arguments if pattern.fullmatch(argument)), None)
