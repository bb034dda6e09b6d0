"""Networks that turn images into features for scores."""
