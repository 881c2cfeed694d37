"""The three servers of the local stack, one file each, behind one contract."""
