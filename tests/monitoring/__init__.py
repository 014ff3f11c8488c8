"""Prometheus' and Alertmanager's own tools on the files of the role `monitoring`."""
