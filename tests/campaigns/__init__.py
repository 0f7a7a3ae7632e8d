"""Campaigns: aibemu is attacked at random, and what it leaves is counted. Run by hand; short ones run with the tests.

    python -m tests.campaigns.kill --rounds 100

Each prints one line for each thing that went wrong, then its counts, and ends with 1 if anything went wrong. `--seed`
repeats the choices of an earlier run; the instants themselves are those of the machine.
"""
