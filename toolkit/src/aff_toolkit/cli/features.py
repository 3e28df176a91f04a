"""`aff features plan`, `aff features extract` and `aff features verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aff_toolkit.cli.console import (
    DEFAULT_BUNDLE,
    BundlePath,
    Device,
    JsonOption,
    exit_on_error,
    images_bar,
    messages,
    output,
    print_json,
)

if TYPE_CHECKING:
    from aff_toolkit.data.photograph import Photograph
    from aff_toolkit.training.features.extract_features import Extract
    from aff_toolkit.training.features.store_description import ExtractorSet

app = typer.Typer(
    help="Extract features with a bundle's frozen extractors, and store them for trainings.", no_args_is_help=True
)

_SHOWN_FAILURES = 20
_GIGA = 1e9

Source = Annotated[
    Path,
    typer.Argument(
        help="A folder, with one subfolder per instance or without labels; a CSV file with the columns path and "
        "instance; or train_clean.csv of Google Landmarks v2."
    ),
]
Copies = Annotated[int, typer.Option(min=1, help="Versions of each photograph: the original and augmented copies.")]
PixelSize = Annotated[
    int | None, typer.Option(min=16, help="Store the photographs too, resized to this side in pixels.")
]


@app.command()
def plan(
    source: Source,
    bundle: BundlePath = DEFAULT_BUNDLE,
    out: Annotated[Path, typer.Option(help="Directory of the planned store.")] = Path("out/features"),
    copies: Copies = 1,
    pixel_size: PixelSize = None,
    sample: Annotated[int, typer.Option(min=1, help="Maximum number of measured photographs.")] = 128,
    device: Device = "auto",
    as_json: JsonOption = False,
) -> None:
    """Estimate the size and the time of an extraction from a sample."""
    from aff_toolkit.training.features.extract_features import plan_features  # noqa: PLC0415 - torch takes seconds
    from aff_toolkit.training.features.store_description import StoreSettings  # noqa: PLC0415

    with exit_on_error(as_json):
        photographs = _photographs(source)
        extractors, extract = _load(bundle, device)
        settings = StoreSettings(copies=copies, pixel_size=pixel_size)
        with images_bar("measuring", min(sample, len(photographs))) as advance:
            found = plan_features(photographs, extractors, extract, out, settings, sample=sample, on_progress=advance)
    if as_json:
        print_json(found.model_dump() | {"fits": found.fits})
        return
    output.print(
        f"{found.photographs} photographs: {found.size_bytes / _GIGA:.3f} GB in {found.shards} shards "
        f"({found.free_bytes / _GIGA:.1f} GB free{'' if found.fits else ': not enough'}), {found.hours:.2f} hours at "
        f"{found.images_per_s:.0f} images/s; measured on {found.sampled}, of which {found.unreadable} cannot be read. "
        f"Next: aff features extract {source} {out}"
    )


@app.command()
def extract(
    source: Source,
    out: Annotated[Path, typer.Argument(help="Directory of the store; a killed extraction resumes.")],
    bundle: BundlePath = DEFAULT_BUNDLE,
    copies: Copies = 1,
    pixel_size: PixelSize = None,
    device: Device = "auto",
    as_json: JsonOption = False,
) -> None:
    """Extract the features of photographs into a store of memory-mapped shards."""
    from aff_toolkit.training.features.extract_features import extract_features  # noqa: PLC0415 - torch takes seconds
    from aff_toolkit.training.features.store_description import StoreSettings  # noqa: PLC0415

    with exit_on_error(as_json):
        photographs = _photographs(source)
        extractors, run = _load(bundle, device)
        settings = StoreSettings(copies=copies, pixel_size=pixel_size)
        with images_bar("extracting", len(photographs)) as advance:
            store = extract_features(photographs, extractors, run, out, settings, advance)
    size = sum(path.stat().st_size for path in out.iterdir())
    unreadable = list(store.unreadable().values())
    if as_json:
        print_json({"photographs": len(store), "size_bytes": size, "key": store.key, "unreadable": unreadable})
        return
    for reason in unreadable[:_SHOWN_FAILURES]:
        messages.print(f"  not readable: {reason}")
    if len(unreadable) > _SHOWN_FAILURES:
        messages.print(f"  and {len(unreadable) - _SHOWN_FAILURES} more (--json lists all)")
    output.print(
        f"{out}: features of {len(store) - len(unreadable)} of {len(store)} photographs, {size / _GIGA:.3f} GB. "
        f"Next: aff features verify {out}"
    )


@app.command()
def verify(
    directory: Annotated[Path, typer.Argument(help="Directory of the store.")], as_json: JsonOption = False
) -> None:
    """Check every shard of a store against its sha256; exit status 1 if any is missing or altered."""
    from aff_toolkit.training.features.feature_store import FeatureStore  # noqa: PLC0415 - torch takes seconds

    with exit_on_error(as_json):
        store = FeatureStore.open(directory, verify=True)
    if as_json:
        print_json({"photographs": len(store), "key": store.key, "ok": True})
    else:
        output.print(f"{directory}: {len(store)} photographs, every shard is intact, key {store.key[:12]}")


def _photographs(path: Path) -> list[Photograph]:
    """Print how the photographs of a path are interpreted, and return them."""
    from aff_toolkit.data.photograph_source import source_of_path  # noqa: PLC0415
    from aff_toolkit.data.training_source import describe_source  # noqa: PLC0415 - torch takes seconds

    source = source_of_path(path)
    for line in describe_source(source):
        messages.print(line)
    return source.photographs()


def _load(bundle: Path, device: str) -> tuple[ExtractorSet, Extract]:
    """Load the extractors of a bundle."""
    from aff_toolkit.models.base_bundle import BaseBundle  # noqa: PLC0415 - torch takes seconds
    from aff_toolkit.training.stages.gallery_side import GallerySide  # noqa: PLC0415
    from gallery_indexer.features.networks.layers import device_named  # noqa: PLC0415

    base = BaseBundle.open(bundle)
    gallery = GallerySide(base.manifest.extractors, base.directory, base)
    return gallery.extractor_set, gallery.load_extract(device_named(device))
