"""Weights as files: presets, those that ship with ganzoo, those of other frameworks; and their names."""
