"""What a deployment can set, and nothing that decides behaviour by itself."""
