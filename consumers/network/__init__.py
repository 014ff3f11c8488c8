"""Connections to servers: clients of AWS's protocols, and the addresses of this machine."""
