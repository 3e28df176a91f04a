"""Command-line interface: the subcommands that this package adds to `aff`."""
