"""Losses and penalties, each with its formula and its paper."""
