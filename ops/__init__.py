"""How people run it: the command line, the embedded stack, and provisioning."""
