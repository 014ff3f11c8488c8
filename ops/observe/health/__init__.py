"""What `dropscribe health` looks at: a module for each area, a small function for each check.

A check looks and changes nothing. It gives one `Finding`, in which stands what is
wrong, and the command that helps.
"""
