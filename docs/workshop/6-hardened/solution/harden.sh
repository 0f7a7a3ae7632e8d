#!/bin/sh
# Makes the SSH server strict. Of each setting sshd takes the first one that it reads, and it reads this folder first.
set -e
sudo tee /etc/ssh/sshd_config.d/00-hardened.conf <<END
PermitRootLogin no
PasswordAuthentication no
X11Forwarding no
MaxAuthTries 3
END
