"""From a photograph to its query embedding."""
