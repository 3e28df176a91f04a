"""Command-line interface: the subcommands that this package adds to `aff`, imported when they run."""

COMMANDS = {
    "ablate": ("aff_benchmarks.cli.commands:ablate", "Train the variants behind the paper's findings."),
    "encoders": ("aff_benchmarks.cli.commands:encoders", "Show the cost of the query backbones."),
    "plan": ("aff_benchmarks.cli.commands:plan", "Calculate nodes, memory, cores and prices of a gallery."),
    "bench": ("aff_benchmarks.cli.bench:app", "Measure speed, memory and recall."),
}
"""Name of a subcommand: what runs it, and its line in the help; the entry point of the package."""
