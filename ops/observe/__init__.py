"""Health checks, metrics, and reports to systemd.

Health checks import `ops.bootstrap`, as they compare what is set up with its plan.
"""
