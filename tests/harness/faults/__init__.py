"""Faults, injected for real: cut connections, refusing stores, sudden deaths."""
