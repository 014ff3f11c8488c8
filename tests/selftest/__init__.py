"""Tests of the harness itself: its servers, relays, proxies and deaths."""
