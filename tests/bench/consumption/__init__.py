"""Consumers with an empty handler, each run as its makers recommend."""
