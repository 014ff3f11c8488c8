"""How servers are reached: clients of AWS' protocols, and addresses of this machine."""
