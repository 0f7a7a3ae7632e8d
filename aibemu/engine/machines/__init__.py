"""The machines of a run: booted, watched, frozen, kept or destroyed."""
