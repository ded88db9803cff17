"""What each command does, told as a story: one module per command, one function per story."""
