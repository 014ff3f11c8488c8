"""Human review: items, decisions, the queue's entries, and figures and exports made of them."""
