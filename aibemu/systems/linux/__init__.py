"""Generalizing: the hidden last step that removes what makes a machine that machine, and the offline proof of it."""
