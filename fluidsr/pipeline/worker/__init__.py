"""`fluidsr serve`: a process that keeps libraries and models loaded, and executes requests of other programs."""
