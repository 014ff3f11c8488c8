"""What dropscribe does about events: stages, their runtime and tools, and the servers' adapters."""
