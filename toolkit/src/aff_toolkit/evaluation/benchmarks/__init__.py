"""What an encoder pair is measured on: photographs, and what counts as found."""
