#!/bin/sh -e
curl -f http://127.0.0.1/ | cmp - /tmp/expected.html
