"""The smallest ablation: seconds on one core, and its figures mean nothing."""

from __future__ import annotations

TINY_ABLATION_TOML = """
name = "toy"
seeds = [1, 2]
features = ["cnn_a_gem", "cnn_a_attention", "rootsift"]
noise_dimension = 8
alphas = [0.0, 0.99]
rootsift = { input_size = 96, tokens = 4 }

[networks.a]
seed = 5

[networks.a.compact_cnn]
train_size = 32
input_size = 48
width = 8
global_dimension = 16
local_dimension = 8
local_tokens = 4
optimisation = { epochs = 1, batch_size = 16, learning_rate = 2e-3 }

[recipe]
name = "toy"
seed = 1
dimension = 16
stored_size = 48
rootsift = { input_size = 96, tokens = 4 }
mixer = { layers = 1, heads = 2, mlp_ratio = 2.0, dropout = 0.1 }

[recipe.pretraining]
temperature = 0.1
sources = [{ photographs = { kind = "scenes", instances = 8, views = 4 } }]

[recipe.query_encoder]
backbone = "residual-8"
train_size = 32
input_size = 48
optimisation = { epochs = 1, batch_size = 16, learning_rate = 2e-3 }

[recipe.joint]
sources = [{ photographs = { kind = "scenes", first = 1000000, instances = 8, views = 4 } }]
optimisation = { epochs = 2, batch_size = 8, learning_rate = 2e-3 }

[recipe.evaluation]
scenes = { instances = 4, queries_each = 1, gallery_each = 2, distractors = 3, difficulty = 0.3 }
"""
