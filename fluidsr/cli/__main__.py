"""`python -m fluidsr.cli`: what scripts written for 0.1 start; `python -m fluidsr` is the same."""

from fluidsr.cli import main

if __name__ == "__main__":
    main()
