"""What consumers do, in figures for Prometheus, and whether they live."""
