"""`python -m fluidsr`: the command line of this interpreter's fluidsr, whether or not its script is on the search path.

`torchrun -m fluidsr` needs it, and so does a program that starts fluidsr with a certain interpreter. The command line
itself is the package `fluidsr.cli`.
"""

from fluidsr.cli import main

if __name__ == "__main__":
    main()
