"""Weights as files: those that ship with ganzoo."""
