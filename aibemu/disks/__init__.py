"""Disk files without a meaning: reading, converting, partitions, the tools that look into them."""
