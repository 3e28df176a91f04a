"""Worker processes of a service: how they are started, called and replaced."""
