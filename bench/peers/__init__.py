"""What people would use instead: the same work, done in the usual ways, for `make bench` to measure beside ours."""
