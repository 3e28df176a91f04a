"""Where labelled and unlabelled photographs come from."""
