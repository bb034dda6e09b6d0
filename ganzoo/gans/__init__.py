"""One file an architecture: paper, options, generator, discriminator, class."""
