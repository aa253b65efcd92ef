"""NAS strategies, one file each."""
