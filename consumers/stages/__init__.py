"""What each route does with the objects it is told of."""
