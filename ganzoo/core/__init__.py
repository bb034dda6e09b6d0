"""What every GAN is made of, whatever its architecture."""
