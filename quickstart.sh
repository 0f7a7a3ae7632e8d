#!/bin/sh
# From a fresh Debian 12 or Ubuntu machine to a built image, in one command, and again as often as you like:
#
#   ./quickstart.sh [options of `aibemu run`]
#
# Installs the system packages that are missing (by sudo when not root), makes .venv, builds the offline base image,
# builds the template fixtures/templates/ok/linux-quickstart.json in a real virtual machine, and says where things are.
# Ends with the exit status of the run; 4 when this machine is not ready for it.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=.ci/setup.sh
. "$ROOT/.ci/setup.sh"

need_packages base
need_python
need_venv blob

AIBEMU=$ROOT/.venv/bin/aibemu
TEMPLATE=$ROOT/fixtures/templates/ok/linux-quickstart.json

# Where the outputs are linked: quickstart-out, or what the caller says.
OUT=$ROOT/quickstart-out
previous=
for argument; do
  case $argument in --out=*) OUT=${argument#--out=} ;; esac
  if [ "$previous" = --out ]; then OUT=$argument; fi
  previous=$argument
done

say "base image:"
"$AIBEMU" images build debian-12

say "building $TEMPLATE in a virtual machine:"
status=0
"$AIBEMU" run "$TEMPLATE" --out "$OUT" "$@" || status=$?
[ "$status" -eq 0 ] || exit "$status"

# One file a line, with its path as it can be typed from here.
list() {
  find "$OUT" -mindepth "$1" -maxdepth "$1" ! -type d -name "$2" | sort | while IFS= read -r path; do
    printf '  %s\n' "${path#"$PWD"/}"
  done
}

program=${AIBEMU#"$PWD"/}
cat <<END

The image, once per distribute target:
$(list 2 '*.vhd')
$(list 2 '*.qcow2')
What the service would record of each (its run output):
$(list 2 'runOutput.json')
The logs:
$(list 1 '*.log')

What to type next:
  $program status                 how the run went, and its id
  $program outputs                where everything is kept
  $program logs                   the customization log, as the service writes it
  $program run YOUR-TEMPLATE.json
END
