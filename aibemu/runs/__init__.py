"""A run's record and all that anybody may do to it: find, read, cancel, answer, get in, clean up."""
