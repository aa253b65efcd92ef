"""From a suite and a request to runs, every choice resolved and checked before anything runs.

Read ``suite`` (the file), ``runspec`` (one run as a value) and ``plan`` (from one to the other);
the other modules check and resolve for them.
"""
