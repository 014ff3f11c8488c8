"""What lies in the bucket as JSON, as values: each document is written and read in one module."""
