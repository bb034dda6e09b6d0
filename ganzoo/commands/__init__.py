"""What the command line is made of: its output, its options, its texts."""
