"""A folder of small procedural photographs."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from aff_toolkit.data.scenes import render_view


def write_photographs(root: Path, instances: int, views: int, *, labelled: bool, first: int = 500) -> Path:
    """Write views of landmarks as files of 64 x 64 pixels: a subfolder per landmark, or all side by side."""
    for instance in range(first, first + instances):
        for view in range(views):
            path = root / f"{instance}/{view}.png" if labelled else root / f"{instance}-{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(render_view(instance, view, difficulty=0.2)).resize((64, 64)).save(path)
    return root
