"""Services and loops of other kinds, each in a process of its own, that ours is measured beside."""
