"""``python -m tests.bench``: dropscribe's speed beside that of its alternatives.

`benchmark` defines a benchmark and runs it, `timing` and `worker_process` measure, `report`
writes the results, and the other modules hold the benchmarks. ``RESULTS.md`` keeps the figures
of record.
"""
