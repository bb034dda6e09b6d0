"""What the command line is made of: functions behind commands, its output, its options, its texts."""
