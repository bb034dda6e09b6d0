"""Samples in memory and their order; one folder for each kind of file that they are read from."""
