"""Content policies, written by the operator, and the models that judge by them."""
