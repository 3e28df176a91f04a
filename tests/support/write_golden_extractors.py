"""Writes the golden file of the extractors; run it only after they were seen to equal the authors' code."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from aff_toolkit.weights.checkpoint_formats import CHECKPOINT_FORMATS
from tests.support.golden_extractors import GOLDEN_FILE, GOLDEN_FORMATS, golden_of

if __name__ == "__main__":
    golden = {}
    for name in GOLDEN_FORMATS:
        with tempfile.TemporaryDirectory() as directory:
            golden[name] = golden_of(CHECKPOINT_FORMATS[name], Path(directory))
    GOLDEN_FILE.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
