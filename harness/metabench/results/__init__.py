"""The folder of results: its format, its one writer, its readers.

Read ``schema`` (what is written), ``store`` (writes it), ``reading`` (reads it back) and
``configurations`` (seeds side by side); the rest is asked of these.
"""
