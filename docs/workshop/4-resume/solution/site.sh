#!/bin/sh
# Makes the web site.
set -e
cat /srv/tools
sudo mkdir -p /srv/site
sudo cp /srv/tools /srv/site/tools.txt
ls /srv/site
