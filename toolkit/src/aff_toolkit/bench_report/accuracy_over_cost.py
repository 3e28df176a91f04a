"""How accurate query encoders of different cost are, by AFF's way of learning and by others (the paper's Figure 2)."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.accelerator import Accelerator
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from torch import Tensor, nn

from aff_contracts.bundle import FeatureSpec, MixerSpec
from aff_toolkit.bench.bench_encoders import EncoderFigures, measure_encoder
from aff_toolkit.bench_report.figure import Figure, figure
from aff_toolkit.bench_report.section import BenchContext, Section, Table
from aff_toolkit.bench_report.theme import COLOURS, MARKERS, new_plot, save_plot
from aff_toolkit.evaluation.protocols import Protocol, scenes_protocol
from aff_toolkit.evaluation.retrieval_scores import score_embeddings
from aff_toolkit.training.base_bundle import BaseBundle
from aff_toolkit.training.data.photograph_source import ScenesSource
from aff_toolkit.training.feature_store.extract_features import extract_features
from aff_toolkit.training.feature_store.feature_store import FeatureStore
from aff_toolkit.training.feature_store.store_description import StoreSettings
from aff_toolkit.training.gallery_side import GallerySide
from aff_toolkit.training.joint_section import JointSection
from aff_toolkit.training.joint_training import train_pair
from aff_toolkit.training.losses.arcface import ArcFace
from aff_toolkit.training.losses.compatibility_loss import CompatibilityLoss
from aff_toolkit.training.losses.regression import Regression
from aff_toolkit.training.optimisation_section import OptimisationSection
from aff_toolkit.training.pretraining import ContrastivePretraining
from aff_toolkit.training.query_backbones import QUERY_BACKBONES
from aff_toolkit.training.query_encoder import QueryEncoder
from aff_toolkit.training.recipe import BaseSection, MixerSection, QueryEncoderSection, TrainingRecipe
from aff_toolkit.training.sampling import generator_of, paired_batches
from aff_toolkit.training.store_embeddings import embed_rows
from aff_toolkit.training.training_log import TrainingLog
from aff_toolkit.training.training_loop import TrainingLoop, TrainingPlan
from aff_toolkit.training.training_set import TrainingSet
from aff_toolkit.training.training_source import TrainingSource
from gallery_indexer.mixers.build_mixer import build_mixer
