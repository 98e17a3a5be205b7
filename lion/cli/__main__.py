"""`python -m lion.cli`: the command `lion`."""

from lion.cli import main

if __name__ == "__main__":
    main()
