"""Contracts that every implementation of a Protocol keeps, fake and real alike."""
