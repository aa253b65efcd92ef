"""Tables of our own runs, as values.

Read ``tables`` (what a table is), ``build`` (makes it), ``captions`` and ``row_notes`` (say what it
shows), ``best`` (marks cells) and ``comparison`` (two configurations side by side).
"""
