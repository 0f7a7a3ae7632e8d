"""`python -m aibemu` is the same program as `aibemu`."""

from aibemu.cli.main import main

if __name__ == "__main__":
    main()
