"""Runs: what happens around the training of a model."""
