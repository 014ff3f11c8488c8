"""How a delivery is taken, worked on and settled."""
