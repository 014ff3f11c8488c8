"""What people review: the items, their decisions, and what those add up to."""
