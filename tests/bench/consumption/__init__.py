"""Consumers that do nothing with what they take, each run as it is meant to be."""
