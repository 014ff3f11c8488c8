"""Archives into the bucket."""
