"""Recipes of the zoo: data, no code."""
