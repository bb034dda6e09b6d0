"""Augmentations of real and generated samples inside a train step."""
