"""Settings, and everything that is made of them."""
