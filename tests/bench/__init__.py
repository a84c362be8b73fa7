"""Speed and scale, measured beside the peers: `nox -s bench`."""
