"""What happened: events, keys and routes. Pure, and the standard library only."""
