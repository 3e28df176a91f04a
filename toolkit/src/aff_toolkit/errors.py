"""Errors of the toolkit."""

from __future__ import annotations

from aff_shared.errors import AffError


class TrainingError(AffError):
    """A training failed."""

    code, title = "training_failed", "Training failed"


class TrainingDivergedError(TrainingError):
    """The loss is no longer a finite number."""

    code, title = "training_diverged", "Training diverged"


class TooFewPhotographsError(TrainingError):
    """The training set does not fill one step."""

    code, status, title = "too_few_photographs", 422, "Too few photographs"


class TrainingNotWrittenError(TrainingError):
    """The disk is full or not writable."""

    code, status, title = "training_not_written", 507, "Training not written"


class TrackerError(TrainingError):
    """A tracker of the figures cannot be started."""

    code, status, title = "tracker_unusable", 422, "Unusable tracker"


class CheckpointError(TrainingError):
    """A checkpoint is damaged."""

    code, title = "checkpoint_unusable", "Unusable checkpoint"


class CheckpointMismatchError(CheckpointError):
    """A checkpoint was written by a training with other settings."""

    code, status, title = "checkpoint_mismatch", 409, "Checkpoint of another configuration"


class CheckpointNotWrittenError(CheckpointError):
    """A checkpoint could not be written."""

    code, status, title = "checkpoint_not_written", 507, "Checkpoint not written"


class ExtractorUnavailableError(AffError):
    """Weights of a recipe's extractor are not available, or are of another network."""

    code, status, title = "extractor_unavailable", 422, "Extractor not available"


class ForeignCheckpointError(AffError):
    """A checkpoint cannot be converted."""

    code, status, title = "foreign_checkpoint_unusable", 422, "Unusable released checkpoint"


class UnreadableCheckpointError(ForeignCheckpointError):
    """The file is damaged, is not a checkpoint, or contains code."""

    code, title = "foreign_checkpoint_unreadable", "Unreadable released checkpoint"


class UnknownFormatError(ForeignCheckpointError):
    """No format of that name is known."""

    code, title = "foreign_checkpoint_format_unknown", "Unknown checkpoint format"


class CheckpointKeysError(ForeignCheckpointError):
    """Names or shapes of the weights are not those of the format."""

    code, title = "foreign_checkpoint_keys", "Weights of another network"


class ConvertedNotWrittenError(ForeignCheckpointError):
    """The disk is full or not writable."""

    code, status, title = "converted_not_written", 507, "Converted weights not written"


class PhotographSourceError(AffError):
    """A source of photographs cannot be used."""

    code, status, title = "photograph_source_invalid", 422, "Unusable source of photographs"


class PhotographListError(PhotographSourceError):
    """A file that lists photographs cannot be read, or does not have the documented columns."""

    code, title = "photograph_list_invalid", "Unreadable list of photographs"


class DatasetError(PhotographSourceError):
    """A data set in Parquet or Arrow files is missing, cannot be read, or lacks a column."""

    code, title = "dataset_unusable", "Unusable data set"


class LabelsUnclearError(PhotographSourceError):
    """Subfolders may be instances or albums, and the user cannot be prompted."""

    code, title = "labels_unclear", "Unclear labels"


class TooFewImagesError(PhotographSourceError):
    """No instance has two images."""

    code, title = "too_few_images", "Too few images of an instance"


class EvaluationError(AffError):
    """An evaluation failed."""

    code, title = "evaluation_failed", "Evaluation failed"


class BenchmarkError(EvaluationError):
    """The files of a benchmark are missing, or not of the documented form."""

    code, status, title = "benchmark_unusable", 422, "Unusable benchmark"


class GroundTruthError(AffError):
    """A file of ground truth cannot be used."""

    code, status, title = "ground_truth_invalid", 422, "Unusable ground truth"


class NothingToScoreError(BenchmarkError):
    """No query has a positive in the gallery."""

    code, title = "nothing_to_score", "Nothing to score"


class ProtocolNotWrittenError(EvaluationError):
    """A file with a protocol could not be written."""

    code, status, title = "protocol_not_written", 507, "Protocol not written"


class FeaturesError(EvaluationError):
    """A file of features cannot be read, or does not fit the benchmark."""

    code, status, title = "features_unusable", 422, "Unusable features"


class RankingsError(EvaluationError):
    """There are no finished rankings of this release, or a file of rankings does not fit the benchmark."""

    code, status, title = "rankings_unusable", 422, "Unusable rankings"


class RankingsMismatchError(RankingsError):
    """The directory holds rankings of another bundle, benchmark or way of searching."""

    code, status, title = "rankings_mismatch", 409, "Rankings of another evaluation"


class RankingsNotWrittenError(RankingsError):
    """Rankings or a report could not be written."""

    code, status, title = "rankings_not_written", 507, "Rankings not written"


class ExportError(AffError):
    """A query encoder cannot be exported."""

    code, title = "export_failed", "Export failed"


class ExportMismatchError(ExportError):
    """The exported graph does not compute what the trained network computes."""

    code, title = "export_mismatch", "Exported encoder differs from the trained one"


class QuantisationError(ExportError):
    """ONNX Runtime cannot quantise the graph."""

    code, title = "quantisation_failed", "Quantisation failed"
