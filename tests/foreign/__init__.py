"""What we accept and sign, held against code that this project did not write."""
