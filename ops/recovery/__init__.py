"""Finding what stopped, and setting it going again."""
