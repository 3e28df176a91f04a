"""`python -m aff_toolkit` is the `aff` command."""

from aff_toolkit.cli.main import main

if __name__ == "__main__":
    main()
