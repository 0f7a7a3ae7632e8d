"""Talking to a guest over WinRM: one shell of the guest's for each command, over HTTPS, with a password."""
