#!/bin/sh
# Makes the web site.
set -e
cat /srv/tools
sudo cp /srv/tools /srv/site/tools.txt
ls /srv/site
