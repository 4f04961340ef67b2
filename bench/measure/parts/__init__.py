"""The parts of `make bench`: each measures one thing, several times, and adds what it found to the results."""
