"""What a plugin is, and how it is found.

Read ``contracts`` (what it implements), ``specs`` (how it describes itself), ``hookspecs`` (when it
is asked) and ``catalog`` (who asks).
"""
