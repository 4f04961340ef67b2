"""The tests: sentences about what Tiercel does, on real services."""
