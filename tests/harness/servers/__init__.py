"""Real servers for tests, soak runs and benchmarks, from Debian's packages.

Each lives in a folder and on ports of its own, and ends with the process that started it,
however that ends. To open one raises `ConfigurationError` where its program is not installed;
to open or start one raises `ServerError` where it does not answer in time.
"""
