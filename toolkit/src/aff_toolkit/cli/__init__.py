"""The `aff` command, one file per subcommand."""
