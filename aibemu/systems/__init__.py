"""What aibemu knows of guest operating systems: the protocol, and one package for each."""
