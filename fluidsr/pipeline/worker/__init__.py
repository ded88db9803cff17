"""`fluidsr serve`: a process that keeps libraries and models loaded, and does what other programs ask for."""
