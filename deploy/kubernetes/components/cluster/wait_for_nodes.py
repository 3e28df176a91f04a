"""Waits until so many nodes belong to Qdrant's cluster: `python wait_for_nodes.py 3`.

A node that is away belongs to it nonetheless, so this waits for the first start and for none after it.
"""

import json
import os
import sys
import time
import urllib.request
from pathlib import Path


def main(wanted: int) -> None:
    """Ask Qdrant again and again, and say what is missing."""
    key = Path(os.environ["QDRANT_API_KEY_FILE"]).read_text().strip()
    request = urllib.request.Request(f"{os.environ['QDRANT_URL']}/cluster", headers={"api-key": key})
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                known = len(json.load(answer)["result"]["peers"])
            if known >= wanted:
                return
            missing = f"{known} of {wanted} nodes are there"
        except OSError as error:
            missing = f"Qdrant does not answer: {error}"
        sys.stderr.write(f"{missing}\n")
        time.sleep(2)


if __name__ == "__main__":
    main(int(sys.argv[1]))
