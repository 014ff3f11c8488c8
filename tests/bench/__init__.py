"""``python -m tests.bench``: dropscribe's speed beside that of its alternatives.

`benchmark` says what a benchmark is, `rounds` runs one, `report` tells what was
found, and each other module has a few of them. ``RESULTS.md`` keeps the figures of
record.
"""
