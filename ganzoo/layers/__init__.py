"""Layers that Keras lacks, or that train or export badly in its own form."""
