"""The ARM template language, usable alone: from JSON text to values that keep their places."""
