"""Ways to run cells other than on this machine."""
