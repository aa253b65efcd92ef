"""Ways to make runs other than on this machine."""
