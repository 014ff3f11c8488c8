"""The checks of `dropscribe health`: a module for each area, a function for each check.

A check changes nothing. It returns one `CheckResult`, which states the fault and the
command that helps.
"""
