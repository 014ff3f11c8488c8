"""Real servers of a test's own, and real faults in them."""
