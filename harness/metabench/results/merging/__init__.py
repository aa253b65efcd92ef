"""Several results folders become one: read every copy of a run, decide, write.

``copies`` reads what lies in a folder, ``decisions`` says what is taken of what, ``unlike`` what
stands side by side and is unlike, and ``writing`` puts it into the folder of all.
"""
