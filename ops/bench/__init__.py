"""``python -m ops.bench``: how fast the costly parts are on this machine."""
