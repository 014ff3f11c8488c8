"""Content policies: what an operator forbids in words, and what a model says to it."""
