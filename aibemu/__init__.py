"""Azure VM Image Builder on your own machine."""

__version__ = "0.1.0"
