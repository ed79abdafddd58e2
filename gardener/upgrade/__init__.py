"""Versions side by side: one is made ready, tried on a copy of the data, and put in the place of the one before."""
