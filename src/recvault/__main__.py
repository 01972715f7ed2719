"""`python -m recvault`: the command line, where the console script is not on the path."""

from recvault.cli import main

main(prog_name="recvault")
