"""Writes a trained pair as a bundle: exports it, checks the export, and measures it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aff_shared.bundles.bundle import (
    BundleManifest,
    ExtractorSpec,
    MixerSpec,
    QueryEncoderSpec,
    build_manifest,
    load_manifest,
    write_manifest,
)
from aff_toolkit.data.training_source import describe_sources, licences_of
from aff_toolkit.errors import QuantisationError
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.export.bundle_files import put_bundle
from aff_toolkit.export.export_gate import EXPORT_FIGURES, CosineFigures, Int8Verdict, judge_int8
from aff_toolkit.models.pretrained_weights import PretrainedWeights
from aff_toolkit.training.engine.work_directory import TrainingLog
from aff_toolkit.training.features.feature_store import CalibrationPhotographs, FeatureStore, sample_readable
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.evaluate_bundle import (
    INT8_PAIRING,
    MEASURING,
    BundleAt,
    StoredFeatures,
    embeddings_of,
    evaluate_bundles,
)
from aff_toolkit.training.stages.export import INT8_QUERY_ENCODER_FILE, QueryGraphs, TrainedPair, export_pair
from aff_toolkit.training.stages.gallery_side import GallerySide
from aff_toolkit.training.stages.judgement import REPORT_NAME, Judgement, can_judge, judge, write_report
from aff_toolkit.weights.released_weights import PACKAGED_WEIGHTS

_OWN_LICENCE = "weights: Apache-2.0, trained by this project's recipe"
_DISABLED = "the recipe disables it (export.int8)"
_NOT_MEASURED = (
    "its loss is not measured, because no protocol evaluates this bundle; set one in the recipe's section "
    "evaluation (scenes, open_sets or held_out_share)"
)

Metrics = dict[str, Any]

_LEVELS = "score_levels"


@dataclass(frozen=True, slots=True)
class BundleWriter:
    """Writes the result of a training; `stored` are features of photographs in the protocols."""

    recipe: TrainingRecipe
    gallery: GallerySide
    store: FeatureStore
    log: TrainingLog
    name: str
    stored: StoredFeatures | None = None

    def write(self, pair: TrainedPair, output: Path, protocols: Sequence[Protocol]) -> Judgement | None:
        """Write the bundle to `output`, with its measured figures in the manifest.

        The float32 graph has to equal the trained network. An int8 graph is added if it loses little accuracy under the
        first protocol; otherwise the log and the manifest state the reason.

        Returns:
            The judgement of the bundle against its base by the first protocol that can judge; None if none can, or if
            there is no base.

        Raises:
            ExportMismatchError: The float32 graph differs from the trained network; no bundle is written.
            AffError: A photograph of a protocol cannot be read; the bundle is written without figures.
        """
        fp32 = export_pair(pair, self.recipe, output)
        both = fp32.model_copy(update={"int8_model": INT8_QUERY_ENCODER_FILE})
        describe = partial(self._describe, output, *self.gallery.write(pair, self.recipe, output))
        unmeasured = describe(fp32, {})
        candidate = unmeasured.model_copy(update={"query_encoder": both})
        graphs = QueryGraphs(output, candidate, self._photographs(fp32))
        graphs.drop_int8()
        same = graphs.require_trained_network(pair.query_encoder, self.recipe.export.min_cosine)
        # The bundle is written even if the measurement fails.
        write_manifest(output, unmeasured)
        metrics, judgements, verdict = self._measure(graphs, unmeasured, protocols, pair)
        if not verdict.accepted:
            graphs.drop_int8()
        self.log.console.print(verdict.describe())
        levels = [figures.pop(_LEVELS) for figures in metrics.values()]
        metrics[EXPORT_FIGURES] = {"fp32": same.model_dump(), "int8": verdict.model_dump()}
        described = describe(both if verdict.accepted else fp32, metrics)
        # Of the last protocol: those of photographs follow the rendered scenes.
        write_manifest(output, described.model_copy(update={"score_levels": levels[-1] if levels else None}))
        return next(iter(judgements), None)

    def _measure(
        self, graphs: QueryGraphs, unmeasured: BundleManifest, protocols: Sequence[Protocol], pair: TrainedPair
    ) -> tuple[Metrics, list[Judgement], Int8Verdict]:
        """Measure the bundle by every protocol, and judge the int8 graph by the first."""
        cosine = self._quantise(graphs) if protocols else _NOT_MEASURED
        if isinstance(cosine, str):
            figures = self._figures(BundleAt(graphs.directory, unmeasured), protocols, pair)
            return *figures, Int8Verdict(accepted=False, reason=cosine)
        metrics, judgements = self._figures(BundleAt(graphs.directory, graphs.manifest), protocols, pair)
        first = protocols[0].name
        scores, before = metrics[first]["scores"], metrics[first].get("before", {})
        verdict = judge_int8(
            first,
            map_fp32=scores["asymmetric"]["map"],
            map_int8=scores[INT8_PAIRING]["map"],
            cosine=cosine,
            max_map_loss_points=self.recipe.export.max_map_loss_points,
            map_of_base=before[INT8_PAIRING]["map"] if INT8_PAIRING in before else None,
        )
        if not verdict.accepted:
            for measured in metrics.values():
                del measured["scores"][INT8_PAIRING]
        return metrics, judgements, verdict

    def _quantise(self, graphs: QueryGraphs) -> CosineFigures | str:
        """Return the cosines between the int8 graph and the float32 graph, or the reason why there is no int8 graph."""
        if not self.recipe.export.int8:
            return _DISABLED
        try:
            return graphs.quantise()
        except QuantisationError as error:
            return str(error)

    def _figures(
        self, trained: BundleAt, protocols: Sequence[Protocol], pair: TrainedPair
    ) -> tuple[Metrics, list[Judgement]]:
        """Return the figures of the bundle and of its base by protocol, and the judgements of the protocols."""
        base = self.gallery.base
        bundles = [trained] if base is None else [trained, BundleAt(base.directory, base.manifest)]
        metrics: Metrics = {}
        judgements: list[Judgement] = []
        with self.log.stage(MEASURING, embeddings_of(protocols, bundles), "embeddings") as bar:
            for protocol in protocols:
                after, *before = evaluate_bundles(bundles, protocol, self.stored, bar.advance)
                figures: Metrics = {"protocol": protocol.description, "scores": after.scores}
                figures[_LEVELS] = after.score_levels
                if before:
                    figures["before"] = before[0].scores
                if before and can_judge(protocol):
                    judgements.append(judge(protocol, before[0].asymmetric, after.asymmetric, pair.steps))
                    figures["judgement"] = judgements[-1].model_dump(mode="json")
                metrics[protocol.name] = figures
        return metrics, judgements

    def _photographs(self, spec: QueryEncoderSpec) -> CalibrationPhotographs:
        rows = sample_readable(self.store, self.recipe.export.calibration_images, self.recipe.seed)
        return CalibrationPhotographs(self.store, rows, spec.preprocessing)

    def _describe(
        self, output: Path, mixer: MixerSpec, prototypes: str | None, query_encoder: QueryEncoderSpec, metrics: Metrics
    ) -> BundleManifest:
        return build_manifest(
            output,
            name=self.name,
            dimension=self.recipe.dimension,
            query_encoder=query_encoder,
            mixer=mixer,
            extractors=self.gallery.specs,
            recipe=self.recipe.model_dump(mode="json"),
            metrics=metrics,
            licences=self._licences(),
            prototypes=prototypes,
        )

    def _licences(self) -> tuple[str, ...]:
        inherited = self.gallery.base.manifest.licences if self.gallery.base else ()
        photographs = tuple(f"training photographs: {licence}" for licence in licences_of(self.recipe.sources))
        start = self.recipe.query_encoder.pretrained
        foreign = () if start is None else PretrainedWeights(start).licences
        packaged = tuple(line for spec in self.gallery.specs for line in _licences_of(spec))
        return tuple(dict.fromkeys((_OWN_LICENCE, *inherited, *foreign, *packaged, *photographs)))


def _licences_of(spec: ExtractorSpec) -> list[str]:
    known = PACKAGED_WEIGHTS.values()
    return [f"extractor {spec.name}: {one.licence}" for one in known if spec.weights_source.startswith(one.source)]


def write_kept(
    writer: BundleWriter, pair: TrainedPair, output: Path, protocols: Sequence[Protocol], trained: Path
) -> Judgement | None:
    """Write the bundle that the recipe keeps; if it keeps the better one, also write a report.

    A kept base is copied exactly to `output`; `trained` keeps the trained bundle. See require_judge for the protocols,
    and BundleWriter.write for the result.

    Raises:
        AffError: See BundleWriter.write.
        OSError: The disk is full or not writable.
    """
    recipe, base = writer.recipe, writer.gallery.base
    if base is None or recipe.evaluation.keep == "trained":
        (output / REPORT_NAME).unlink(missing_ok=True)
        return writer.write(pair, output, protocols)
    judgement = writer.write(pair, trained, protocols)
    assert judgement is not None, "require_judge requires a protocol that judges"
    put_bundle(trained if judgement.kept == "trained" else base.directory, output)
    metrics, lines = load_manifest(trained).metrics, describe_sources(recipe.joint.sources)
    write_report(output / REPORT_NAME, judgement, metrics, base=base.directory, trained=trained, lines=lines)
    return judgement
