"""Postgres: a projection of the bucket's keys, and what decides completion."""
