"""Talking to a guest over SSH."""
