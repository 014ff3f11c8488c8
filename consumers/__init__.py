"""What we do about it: a handler per route, the loop that feeds them, and the adapters."""
