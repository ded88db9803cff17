"""`python -m fluidsr.cli`, which torchrun needs."""

from fluidsr.cli import main

if __name__ == "__main__":
    main()
