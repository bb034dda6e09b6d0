"""Optional behaviour of GANs, composed when one is created."""
