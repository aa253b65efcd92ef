"""What datasets share: packs, splits, generated look-alikes, formats of files."""
