#!/bin/sh
# Makes the SSH server strict.
set -e
sudo tee -a /etc/ssh/sshd_config <<END
PermitRootLogin no
PasswordAuthentication no
X11Forwarding no
MaxAuthTries 3
END
