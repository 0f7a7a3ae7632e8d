# shellcheck shell=sh
# What quickstart.sh and test.sh share: make this machine ready. Sourced, not run; needs ROOT (the checkout).
#
#   need_packages base|test   programs, by apt-get where there is one; elsewhere it says what is missing (exit 4)
#   need_python               a Python that can make virtual environments, in $PYTHON (exit 4)
#   need_venv blob|test       $ROOT/.venv with aibemu and that extra; does nothing when it is up to date
#
# Each function can be called again and again; only what is missing is done. Answers go to standard error, so that
# standard output belongs to the caller.

NOT_READY=4

say() {
  printf '%s\n' "$*" >&2
}

give_up() {
  say "error: $1"
  shift
  for hint; do say "  $hint"; done
  exit "$NOT_READY"
}

# Ordinary users often have no sbin directories on their PATH: mke2fs, debugfs, sfdisk and sshd live there.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export PATH

# set need|want kind names package: `need` must be there, `want` may stay away. kind: program, or file (any of the names,
# separated by |). Packages are Debian's; Ubuntu's have the same names.
table() {
  cat <<'TABLE'
base need program python3 python3
base need program qemu-system-x86_64 qemu-system-x86
base need program qemu-img qemu-utils
base need program mmdebstrap mmdebstrap
base need program newuidmap uidmap
base need program debugfs e2fsprogs
base need program mke2fs e2fsprogs
base need program sfdisk fdisk
base need program mkfs.vfat dosfstools
base need program mcopy mtools
base need file /usr/share/OVMF/OVMF_CODE.fd|/usr/share/OVMF/OVMF_CODE_4M.fd|/usr/share/edk2/ovmf/OVMF_CODE.fd|/usr/share/edk2/x64/OVMF_CODE.4m.fd ovmf
base need file /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
test need program git git
test need program shellcheck shellcheck
test need program sshd openssh-server
test want program zsh zsh
test want program fish fish
test want program tcsh tcsh
test need program swtpm swtpm
test need program libvirtd libvirt-daemon
test need file /usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so|/usr/lib/libvirt/connection-driver/libvirt_driver_qemu.so|/usr/lib64/libvirt/connection-driver/libvirt_driver_qemu.so libvirt-daemon-driver-qemu
test need program virt-xml-validate libvirt-clients
test need program xmllint libxml2-utils
test need file /usr/include/libvirt/libvirt.h libvirt-dev
test need program pkg-config pkg-config
test need program gcc gcc
test need file /usr/include/stdio.h libc6-dev
test need file /usr/include/python3.11/Python.h|/usr/include/python3.12/Python.h|/usr/include/python3.13/Python.h|/usr/include/python3.14/Python.h python3-dev
test need program node nodejs
test need program npm npm
test need program mkfs.xfs xfsprogs
test need program mkfs.btrfs btrfs-progs
test need program mkntfs ntfs-3g
test need program wimlib-imagex wimtools
test need program hivexregedit libwin-hivex-perl
test want file /usr/lib/python3/dist-packages/hivex/__init__.py python3-hivex
test want program packer packer
test want program vagrant vagrant
test want file /usr/share/vagrant-plugins/plugins.d/vagrant-libvirt.json vagrant-libvirt
test want program isoinfo genisoimage
test want program 7z p7zip-full
test want file /usr/include/unicode/uversion.h libicu-dev
TABLE
}

# Print `need|want package what` for each row of the sets in $1 that this machine lacks.
missing_rows() {
  table | while read -r set importance kind names package; do
    case " $1 " in *" $set "*) ;; *) continue ;; esac
    has "$kind" "$names" || printf '%s %s %s\n' "$importance" "$package" "${names%%|*}"
  done
}

has() {
  if [ "$1" = program ]; then
    command -v "$2" >/dev/null 2>&1
    return
  fi
  _rest="$2|"
  while [ -n "$_rest" ]; do
    [ -e "${_rest%%|*}" ] && return 0
    _rest=${_rest#*|}
  done
  return 1
}

# Column $2 of the rows of importance $1, each word once, on one line.
words() {
  awk -v importance="$1" -v column="$2" '$1 == importance && !seen[$column]++ { printf "%s%s", sep, $column; sep = " " }'
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif ! command -v sudo >/dev/null 2>&1; then
    give_up "this needs root, and there is no sudo" "run as root: $*"
  elif sudo -n true 2>/dev/null; then
    sudo -n "$@"
  elif (: </dev/tty) 2>/dev/null; then
    sudo "$@" # asks on the terminal, whatever standard input is
  else
    give_up "this needs root, and sudo did not allow it without a terminal" "run as root: $*"
  fi
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none \
    apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold --quiet "$@" </dev/null >&2
}

# Install the packages given, once the package lists are fresh.
install_packages() {
  apt_get update || say "warning: apt-get update failed; trying with the package lists that are here"
  _failed=
  no_services
  apt_get install --yes --no-install-recommends "$@" || _failed=yes
  services_again
  [ -z "$_failed" ] || give_up "apt-get could not install: $*" "see what it said above, mend it, and start this again"
  # The tests start an SSH server of their own on the loopback; this machine shall not get one that listens to all.
  case " $* " in
    *" openssh-server "*)
      if command -v systemctl >/dev/null 2>&1; then
        as_root systemctl --quiet disable ssh.service ssh.socket >/dev/null 2>&1 || :
        say "note: openssh-server is installed for the tests, its service is neither started nor enabled"
      fi
      ;;
  esac
}

# Debian's own switch (invoke-rc.d): while it is there, no package starts a service.
POLICY=/usr/sbin/policy-rc.d

no_services() {
  _policy=
  [ ! -e "$POLICY" ] || return 0
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
  as_root chmod 755 "$POLICY"
  _policy=ours
}

services_again() {
  [ "$_policy" != ours ] || as_root rm -f "$POLICY"
}

# Install what is missing of the sets $1 ("base", "base test").
need_packages() {
  _missing=$(missing_rows "$1")
  [ -n "$_missing" ] || { need_subuid; return 0; }
  _need=$(printf '%s\n' "$_missing" | words need 2)
  _want=$(printf '%s\n' "$_missing" | words want 2)
  if ! command -v apt-get >/dev/null 2>&1; then
    [ -z "$_want" ] || say "note: not installed, what needs it is skipped: $(printf '%s\n' "$_missing" | words want 3)"
    [ -z "$_need" ] || give_up "missing, and there is no apt-get here to install it:" \
      "$(printf '%s\n' "$_missing" | awk '$1 == "need" { print "- " $3 "  (Debian package: " $2 ")" }' | indent)" \
      "install these with this system's own tools, then start this again"
    return 0
  fi
  if [ -n "$_need" ]; then
    say "installing system packages: $_need"
    # shellcheck disable=SC2086  # one word per package
    install_packages $_need
    _missing=$(missing_rows "$1")
    _left=$(printf '%s\n' "$_missing" | words need 3)
    [ -z "$_left" ] || give_up "still missing after the installation: $_left" "install it by hand, then start this again"
  fi
  want_packages "$_want"
  need_subuid
}

# Optional packages: not every distribution has them.
want_packages() {
  for _package in $1; do
    if LC_ALL=C apt-cache policy "$_package" 2>/dev/null | grep -q 'Candidate: [^(]'; then
      say "installing the optional package $_package"
      apt_get install --yes --no-install-recommends "$_package" || say "note: $_package could not be installed"
    else
      say "note: this system has no package $_package; what needs it is skipped"
    fi
  done
}

# All lines but the first get the two blanks that give_up puts before its first.
indent() {
  sed '2,$s/^/  /'
}

# An ordinary user builds base images in a user namespace: that takes 65536 ids of his own in /etc/subuid and subgid.
need_subuid() {
  [ "$(id -u)" -ne 0 ] || return 0
  _user=$(id -un)
  has_ids /etc/subuid "$_user" && has_ids /etc/subgid "$_user" && return 0
  _first=$(cat /etc/subuid /etc/subgid 2>/dev/null | awk -F: 'BEGIN { n = 100000 } $2 + $3 > n { n = $2 + $3 } END { print n }')
  _range="$_first-$((_first + 65535))"
  command -v usermod >/dev/null 2>&1 ||
    give_up "$_user has no ids of its own in /etc/subuid and /etc/subgid" "add to both, as root: $_user:$_first:65536"
  say "giving $_user the ids $_range for building images without root (/etc/subuid, /etc/subgid)"
  as_root usermod --add-subuids "$_range" --add-subgids "$_range" "$_user"
}

has_ids() {
  awk -F: -v name="$2" -v id="$(id -u)" '($1 == name || $1 == id) && $3 >= 65536 { found = 1 } END { exit !found }' "$1" 2>/dev/null
}

# Root's libvirt wants to know the user that it would run QEMU as, even where its settings name another. Debian's package
# libvirt-daemon-system adds the same one, with much that the tests have no use for: services, a network, firewall rules.
need_libvirt_user() {
  [ "$(id -u)" -eq 0 ] || return 0
  ! getent passwd libvirt-qemu >/dev/null || return 0
  say "adding the user libvirt-qemu, without a login, for the tests of libvirt"
  getent group libvirt-qemu >/dev/null || groupadd --gid 64055 libvirt-qemu
  useradd --uid 64055 --gid libvirt-qemu --home-dir /var/lib/libvirt --no-create-home --shell /usr/sbin/nologin \
    libvirt-qemu
}

# True if $1 is a Python >= 3.11.
new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

can_make_venvs() {
  "$1" -c 'import venv, ensurepip' >/dev/null 2>&1
}

# Set PYTHON to the first Python that will do, or to nothing. $1: a test that it must pass too.
find_python() {
  for PYTHON in ${AIBEMU_PYTHON:+"$AIBEMU_PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
    # Where .venv is activated, the one that it was made with: need_venv may delete .venv.
    case $(command -v "$PYTHON" || :) in
      "$ROOT"/.venv/*) PYTHON=$("$PYTHON" -c 'import sys; print(sys._base_executable)' 2>/dev/null) || continue ;;
    esac
    if new_enough "$PYTHON" && "$1" "$PYTHON"; then return 0; fi
  done
  PYTHON=
}

need_python() {
  find_python can_make_venvs
  [ -z "$PYTHON" ] || return 0
  find_python true
  if [ -n "$PYTHON" ]; then
    _version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    _packages="python$_version-venv"
  else
    _packages="python3.11 python3.11-venv"
  fi
  if command -v apt-get >/dev/null 2>&1; then
    say "installing system packages: $_packages"
    # shellcheck disable=SC2086  # one word per package
    install_packages $_packages
    find_python can_make_venvs
  fi
  [ -n "$PYTHON" ] || give_up "aibemu needs Python 3.11 or newer with the modules venv and ensurepip" \
    "here is: $(python3 --version 2>&1 || echo 'no python3 at all')" \
    "install it (Debian, Ubuntu: $_packages), or name another one: AIBEMU_PYTHON=/path/to/python3 $0"
}

# What a virtual environment is good for: this checkout, this Python, these dependencies.
venv_stamp() {
  "$PYTHON" - "$ROOT" <<'PY'
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
digest = hashlib.sha256()
for name in ("pyproject.toml", "aibemu/__init__.py"):
    digest.update((root / name).read_bytes())
print(root, sys.version.split()[0], sys.base_prefix, digest.hexdigest(), sep="\n")
PY
}

# Make or mend $ROOT/.venv and install aibemu, editable, with the extra $1. `test` includes `blob`.
need_venv() {
  _venv=$ROOT/.venv
  _stamp=$(venv_stamp)
  if venv_works && [ "$(cat "$_venv/stamp-$1" 2>/dev/null)" = "$_stamp" ]; then return 0; fi
  if ! venv_works || [ "$(head -n 3 "$_venv/stamp-venv" 2>/dev/null)" != "$(printf '%s\n' "$_stamp" | head -n 3)" ]; then
    say "making the virtual environment $_venv"
    rm -rf "$_venv"
    "$PYTHON" -m venv "$_venv" >&2 || give_up "$PYTHON could not make a virtual environment in $_venv"
    printf '%s\n' "$_stamp" >"$_venv/stamp-venv"
  fi
  rm -f "$_venv/stamp-blob" "$_venv/stamp-test"
  say "installing aibemu and the Python packages it uses into $_venv"
  # pip's chatter (warnings about mirrors and the like) matters only when it fails.
  PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 "$_venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-input --editable "${ROOT}[$1]" </dev/null >"$_venv/install.log" 2>&1 || {
    tail -n 30 "$_venv/install.log" >&2
    give_up "pip could not install aibemu" "see what it said above; without a network, point pip at a local mirror"
  }
  printf '%s\n' "$_stamp" >"$_venv/stamp-$1"
  [ "$1" = blob ] || printf '%s\n' "$_stamp" >"$_venv/stamp-blob"
}

venv_works() {
  [ -x "$ROOT/.venv/bin/aibemu" ] && "$ROOT/.venv/bin/python" -c 'import pip' >/dev/null 2>&1
}
