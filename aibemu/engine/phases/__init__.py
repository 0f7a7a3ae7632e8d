"""The five phases, one file each; every one takes the run's context and leaves in it what the next one needs."""
