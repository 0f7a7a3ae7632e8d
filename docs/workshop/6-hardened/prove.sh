#!/bin/sh
# Asks the SSH server of the finished image what its settings are. Looking for words in a file would prove less: a file
# may have the right words in it, and the server may not use them.
set -e
settings=$(sudo sshd -T)
wrong=0
for wanted in 'permitrootlogin no' 'passwordauthentication no' 'x11forwarding no' 'maxauthtries 3'; do
  if echo "$settings" | grep -qx "$wanted"; then
    echo "proved: $wanted"
  else
    echo "WRONG: not '$wanted', but: $(echo "$settings" | grep "^${wanted% *} ")"
    wrong=1
  fi
done
exit "$wrong"
