"""A preload for a worker whose aibemu is of another version."""

import aibemu

aibemu.__version__ = "0.0.1"
