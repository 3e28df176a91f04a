"""Where the Parquet and Arrow files of data sets of the Hugging Face hub are on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl

from aff_toolkit.data.folder import natural_key
from aff_toolkit.data.image_files import UnreadableFolderError, is_image_name, photograph_folders
from aff_toolkit.errors import DatasetError

DATA_SUFFIXES = (".parquet", ".arrow")

_TRAIN = "train"
_HUB = "hf:"
_DERIVED = "cache-"  # what map and filter of `datasets` leave next to the data


def data_files(path: Path, split: str | None = None) -> list[Path]:
    """Return the files of a data set in natural order.

    Args:
        path: A file, or a folder with Parquet or Arrow files at any depth: a clone of a data set, a folder that
            `save_to_disk` wrote, or one of the cache of `datasets`.
        split: Only files with this word in their path below the folder, such as `train-00000-of-00002.parquet`.

    Raises:
        DatasetError: There is no such file.
    """
    if path.is_file():
        return [path]
    found = [file.relative_to(path).as_posix() for file in _files_below(path)]
    files = found if split is None else [name for name in found if _is_of_split(name, split)]
    if not files:
        what = f"no {' or '.join(DATA_SUFFIXES)} file" + (f" of the split {split}" if split else "")
        raise DatasetError(f"holds {what}{': it has ' + ', '.join(found[:3]) if found else ''}", item=str(path))
    return [path / name for name in sorted(files, key=natural_key)]


def training_files(path: Path, split: str | None) -> list[Path]:
    """Return the files of a split; without one, of the split `train`, or all files if there is no such split.

    Raises:
        DatasetError: See data_files.
    """
    if split is not None:
        return data_files(path, split)
    files = data_files(path)
    trained = [file for file in files if path.is_dir() and _is_of_split(file.relative_to(path).as_posix(), _TRAIN)]
    return trained or files


def is_data_folder(path: Path) -> bool:
    """Return whether a folder holds Parquet or Arrow files, and no images."""
    found = False
    for folder in photograph_folders(str(path)):
        if isinstance(folder, UnreadableFolderError):
            continue
        if any(is_image_name(name) for name in folder.files):
            return False
        found = found or any(_is_data_name(name) for name in folder.files)
    return found


def _files_below(path: Path) -> Iterator[Path]:
    for folder in photograph_folders(str(path)):
        if not isinstance(folder, UnreadableFolderError):
            yield from (Path(folder.path, name) for name in folder.files if _is_data_name(name))


def _is_data_name(name: str) -> bool:
    return name.lower().endswith(DATA_SUFFIXES) and not name.startswith(_DERIVED)


def _is_of_split(name: str, split: str) -> bool:
    return re.search(rf"(?:^|[-_./]){re.escape(split)}(?:[-_./]|$)", name) is not None


def is_hub_name(location: str) -> bool:
    """Return whether a location is `hf:NAME`; `hf://` is a file system, and an existing path is a path."""
    return location.startswith(_HUB) and not location.startswith(f"{_HUB}//") and not os.path.lexists(location)


def located_files(location: str) -> list[Path]:
    """Return the files of a data set that `hf:NAME` or `hf:OWNER/NAME?split=test&config=full` names.

    Raises:
        DatasetError: See hub_folder and data_files; or the location has another form.
    """
    name, _, settings = location.removeprefix(_HUB).partition("?")
    options = dict(parse_qsl(settings, keep_blank_values=True))
    if options.keys() - {"split", "config"} or "" in options.values():
        raise DatasetError("is not of the form hf:NAME?split=SPLIT&config=CONFIG", item=location)
    return data_files(hub_folder(name, options.get("config")), options.get("split"))


def hub_folder(name: str, config: str | None = None) -> Path:
    """Return the folder with the files of a data set, by its name on the hub.

    It is that of the cache of `datasets`, or else of a download of the hub. If both are missing and the package
    `datasets` is installed, it is downloaded.

    Args:
        name: `NAME` or `OWNER/NAME`.
        config: One of its configurations; needed if the cache has several.

    Raises:
        DatasetError: It is not on this machine and cannot be downloaded, or the cache has several configurations.
    """
    folder = _cached(name, config) or _downloaded(name)
    if folder is None:
        return _prepared(name, config)
    return folder / config if config and (folder / config).is_dir() else folder


def _cached(name: str, config: str | None) -> Path | None:
    """Return the folder of the newest version in the cache of `datasets`: NAME/CONFIG/VERSION/HASH."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets") / (name.replace("/", "___") or "-")
    versions = [info.parent for info in cache.glob("*/*/*/dataset_info.json")]
    configs = sorted({version.relative_to(cache).parts[0] for version in versions})
    if config is None and len(configs) > 1:
        raise DatasetError(f"has several configurations in the cache: {', '.join(configs)}; name one", item=name)
    wanted = [version for version in versions if version.relative_to(cache).parts[0] == (config or configs[0])]
    return max(wanted, key=lambda version: version.stat().st_mtime, default=None)


def _downloaded(name: str) -> Path | None:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - takes 0.3 s
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(name, repo_type="dataset", local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _prepared(name: str, config: str | None) -> Path:
    try:
        import datasets  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        detail = (
            f"is not on this machine: download it with `hf download {name} --repo-type dataset`, or install datasets, "
            "which does so: pip install 'aff-toolkit[datasets]'"
        )
        raise DatasetError(detail, item=name) from error
    try:
        builder = datasets.load_dataset_builder(name, config)
        builder.download_and_prepare()
    except Exception as error:  # of any type: of the network, of unknown names, of damaged files
        raise DatasetError(f"datasets cannot load it: {error}", item=name) from error
    return Path(builder.cache_dir)
