"""Random scenes for training pairs: what they are drawn from, and how."""
