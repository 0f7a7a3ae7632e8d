#!/bin/sh
# Stands for a step that takes long: in a real template, the packages of the team.
set -e
seconds=20
echo "tools: this takes $seconds seconds"
sleep "$seconds"
echo 'tools: done' | sudo tee /srv/tools
