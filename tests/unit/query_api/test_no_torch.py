from __future__ import annotations

import subprocess
import sys

FORBIDDEN = ("torch", "torchvision", "timm", "transformers", "cv2")
# The store adapters are imported only when they are opened; they belong to the service all the same.
ENTRANCES = (
    "query_api.__main__",
    "aff_shared.store.embedded.store",
    "aff_shared.store.server.store",
)


def test_the_query_service_loads_no_training_framework() -> None:
    code = f"import sys, {', '.join(ENTRANCES)}; print(*(name for name in {FORBIDDEN} if name in sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert process.stdout.split() == []
