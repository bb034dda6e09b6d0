"""Branches that a recipe can add to a discriminator."""
