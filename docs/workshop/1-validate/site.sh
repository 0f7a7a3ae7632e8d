#!/bin/sh
# Makes the folder of the web site.
set -e
sudo mkdir -p /srv/site
echo '<h1>Hello</h1>' | sudo tee /srv/site/index.html
