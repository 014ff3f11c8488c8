"""Consumers' metrics for Prometheus, and their health over HTTP."""
