"""Names of weights in pycls, which DELG, DOLG and CVNet are written in."""

from __future__ import annotations

import re

_IN_ORDER = (
    (r"^stem\.conv\.", "conv1."),
    (r"^stem\.bn\.", "bn1."),
    (r"\bproj\.", "downsample.0."),
    (r"^(s\d\.b\d+)\.bn\.", r"\1.downsample.1."),
    (r"\bf\.a(_bn)?\.", lambda found: "bn1." if found[1] else "conv1."),
    (r"\bf\.b(_bn)?\.", lambda found: "bn2." if found[1] else "conv2."),
    (r"\bf\.c(_bn)?\.", lambda found: "bn3." if found[1] else "conv3."),
    (r"^s(\d)\.b(\d+)\.", lambda found: f"layer{found[1]}.{int(found[2]) - 1}."),
)


def torchvision_name(pycls_name: str) -> str:
    """Return torchvision's name of a ResNet's weight, this project's too: layer1.0.conv1.weight of s1.b1.f.a.weight."""
    name = pycls_name
    for pattern, replacement in _IN_ORDER:
        name = re.sub(pattern, replacement, name)
    return name
