"""Fresh Debian hosts, provisioned by ops/ansible over SSH, that do the work."""
