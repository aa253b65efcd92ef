"""The built-in networks, fixed and searched."""
