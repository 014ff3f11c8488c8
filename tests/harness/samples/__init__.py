"""Archives, sounds and reviews that tests make, and metrics that they read."""
