"""The subcommands that this package adds to `aff`."""
