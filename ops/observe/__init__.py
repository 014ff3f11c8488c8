"""Health checks, metrics, and reports to systemd."""
