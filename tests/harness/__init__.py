"""Real servers of a test's own, real faults in them, and samples to feed them."""
