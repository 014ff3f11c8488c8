"""Real servers of one's own for tests, soak runs and benchmarks, from Debian's packages.

Each lives in a folder and on ports of its own, and ends with the process that
started it, however that ends.
"""
