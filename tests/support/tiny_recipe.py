"""The smallest recipe that trains every part of a bundle: seconds on one core, and useless for retrieval."""

from __future__ import annotations

TINY_RECIPE_TOML = """
name = "toy"
seed = 1
dimension = 16
stored_size = 48

[pretraining]
temperature = 0.1

[[pretraining.sources]]
photographs = { kind = "scenes", instances = 8, views = 4, max_difficulty = 0.5 }

[compact_cnn]
train_size = 32
input_size = 48
width = 8
global_dimension = 16
local_dimension = 8
local_tokens = 4
optimisation = { epochs = 2, batch_size = 16, learning_rate = 2e-3, weight_decay = 0.02, precision = "bf16" }

[rootsift]
input_size = 96
tokens = 4

[mixer]
layers = 1
heads = 2
mlp_ratio = 2.0
dropout = 0.1

[query_encoder]
backbone = "residual-8"
train_size = 32
input_size = 48
optimisation = { epochs = 1, batch_size = 16, learning_rate = 2e-3, weight_decay = 0.02 }

[joint]
update = { kind = "momentum", alpha = 0.99 }
discriminative = { scale = 24.0, margin = 0.2 }
losses = [{ kind = "arcface", scale = 24.0, margin = 0.2 }, { kind = "reg", weight = 20.0 }]
# Enough steps for the batch statistics of the query encoder to settle; before that every image has the same embedding.
optimisation = { epochs = 30, batch_size = 8, learning_rate = 2e-3, weight_decay = 0.02 }

[[joint.sources]]
photographs = { kind = "scenes", first = 1000000, instances = 8, views = 4, max_difficulty = 0.5 }

[evaluation.scenes]
instances = 4
queries_each = 1
gallery_each = 2
distractors = 3
difficulty = 0.3

# One rank of four queries is more than half a point.
[export]
max_map_loss_points = 100
"""
