"""The checks of `dropscribe health`: a module for each area, a function for each check.

A check changes nothing. It gives one `CheckResult`, which says what is wrong and which
command helps.
"""
