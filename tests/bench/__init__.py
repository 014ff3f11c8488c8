"""``python -m tests.bench``: how fast dropscribe is, beside what people would use instead.

`benchmark` says what a benchmark is, `rounds` runs one, `report` tells what was
found, and each other module has a few of them. ``RESULTS.md`` keeps the figures of
record.
"""
