"""Faults on real servers: whatever breaks, nothing is lost, and nothing is done twice."""
