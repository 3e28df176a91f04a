"""First instance of each disjoint split of the endless set of landmarks."""

EXTRACTOR_TRAINING = 0
MIXER_TRAINING = 1_000_000
HELD_OUT = 2_000_000
