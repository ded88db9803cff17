"""Random scenes for training pairs: their distribution, and the sampling."""
