"""All that is decided before a machine exists: options, host, sources, plan, what it starts from."""
