"""`python -m aibemu` is the same program as `aibemu`."""

from aibemu.cli.start import start

if __name__ == "__main__":
    start()
