#!/bin/bash -e
mkdir /myfiles
