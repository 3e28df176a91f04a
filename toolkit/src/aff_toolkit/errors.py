"""Errors of the toolkit."""

from __future__ import annotations

from aff_shared.errors import AffError


class TrainingError(AffError):
    """A training failed."""

    code = "training_failed"
    title = "Training failed"


class TrainingDivergedError(TrainingError):
    """The loss is no longer a finite number."""

    code = "training_diverged"
    title = "Training diverged"


class TooFewPhotographsError(TrainingError):
    """The training set does not fill one step."""

    code = "too_few_photographs"
    status = 422
    title = "Too few photographs"


class TrainingNotWrittenError(TrainingError):
    """The disk is full or not writable."""

    code = "training_not_written"
    status = 507
    title = "Training not written"


class CheckpointError(TrainingError):
    """A checkpoint is damaged."""

    code = "checkpoint_unusable"
    title = "Unusable checkpoint"


class CheckpointMismatchError(CheckpointError):
    """A checkpoint was written by a training with other settings."""

    code = "checkpoint_mismatch"
    status = 409
    title = "Checkpoint of another configuration"


class CheckpointNotWrittenError(CheckpointError):
    """A checkpoint could not be written."""

    code = "checkpoint_not_written"
    status = 507
    title = "Checkpoint not written"


class ExtractorUnavailableError(AffError):
    """Weights of a recipe's extractor are not available, or are of another network."""

    code = "extractor_unavailable"
    status = 422
    title = "Extractor not available"


class ForeignCheckpointError(AffError):
    """A checkpoint cannot be converted."""

    code = "foreign_checkpoint_unusable"
    status = 422
    title = "Unusable released checkpoint"


class UnreadableCheckpointError(ForeignCheckpointError):
    """The file is damaged, is not a checkpoint, or contains code."""

    code = "foreign_checkpoint_unreadable"
    title = "Unreadable released checkpoint"


class UnknownFormatError(ForeignCheckpointError):
    """No format of that name is known."""

    code = "foreign_checkpoint_format_unknown"
    title = "Unknown checkpoint format"


class CheckpointKeysError(ForeignCheckpointError):
    """Names or shapes of the weights are not those of the format."""

    code = "foreign_checkpoint_keys"
    title = "Weights of another network"


class ConvertedNotWrittenError(ForeignCheckpointError):
    """The disk is full or not writable."""

    code = "converted_not_written"
    status = 507
    title = "Converted weights not written"


class PhotographSourceError(AffError):
    """A source of photographs cannot be used."""

    code = "photograph_source_invalid"
    status = 422
    title = "Unusable source of photographs"


class PhotographListError(PhotographSourceError):
    """A file that lists photographs cannot be read, or does not have the documented columns."""

    code = "photograph_list_invalid"
    title = "Unreadable list of photographs"


class LabelsUnclearError(PhotographSourceError):
    """Subfolders may be instances or albums, and the user cannot be prompted."""

    code = "labels_unclear"
    title = "Unclear labels"


class TooFewImagesError(PhotographSourceError):
    """No instance has two images."""

    code = "too_few_images"
    title = "Too few images of an instance"


class EvaluationError(AffError):
    """An evaluation failed."""

    code = "evaluation_failed"
    title = "Evaluation failed"


class BenchmarkError(EvaluationError):
    """The files of a benchmark are missing, or not of the documented form."""

    code = "benchmark_unusable"
    status = 422
    title = "Unusable benchmark"


class GroundTruthError(AffError):
    """A file of ground truth cannot be used."""

    code = "ground_truth_invalid"
    status = 422
    title = "Unusable ground truth"


class NothingToScoreError(BenchmarkError):
    """No query has a positive in the gallery."""

    code = "nothing_to_score"
    title = "Nothing to score"


class ProtocolNotWrittenError(EvaluationError):
    """A file with a protocol could not be written."""

    code = "protocol_not_written"
    status = 507
    title = "Protocol not written"


class RankingsError(EvaluationError):
    """The directory holds no finished rankings of this release."""

    code = "rankings_unusable"
    status = 422
    title = "Unusable rankings"


class RankingsMismatchError(RankingsError):
    """The directory holds rankings of another bundle, benchmark or way of searching."""

    code = "rankings_mismatch"
    status = 409
    title = "Rankings of another evaluation"


class RankingsNotWrittenError(RankingsError):
    """Rankings or a report could not be written."""

    code = "rankings_not_written"
    status = 507
    title = "Rankings not written"


class ExportError(AffError):
    """A query encoder cannot be exported."""

    code = "export_failed"
    title = "Export failed"


class ExportMismatchError(ExportError):
    """The exported graph does not compute what the trained network computes."""

    code = "export_mismatch"
    title = "Exported encoder differs from the trained one"


class QuantisationError(ExportError):
    """ONNX Runtime cannot quantise the graph."""

    code = "quantisation_failed"
    title = "Quantisation failed"
