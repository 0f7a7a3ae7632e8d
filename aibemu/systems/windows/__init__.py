"""Windows guests: how they are reached, what aibemu puts into them, and their last step.

What boots a Windows image is not here yet: only drivers whose guests are up already can run these
(`aibemu.systems.GuestSystem.boots_images`).
"""
