"""GANs by name: created, loaded, given first weights, made narrower."""
