"""Prometheus' and Alertmanager's own tools on what the role `monitoring` brings to hosts."""
