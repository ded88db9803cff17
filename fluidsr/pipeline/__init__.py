"""What each command does: one module per command, with one function that reads as its steps."""
