"""Recipes and entries: names and YAML files, without TensorFlow."""
