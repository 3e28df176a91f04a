"""Names of a torchvision ResNet that was cut into a sequence of its children, as cnnimageretrieval and HOW do."""

from __future__ import annotations

from aff_toolkit.errors import CheckpointKeysError

_CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def name_of_child(name: str, prefix: str) -> str:
    """Return torchvision's name of a weight: `layer1.0.conv1.weight` of `<prefix>4.0.conv1.weight`.

    Raises:
        CheckpointKeysError: There is no such child.
    """
    number, _, rest = name.removeprefix(prefix).partition(".")
    if not number.isdigit() or int(number) >= len(_CHILDREN):
        raise CheckpointKeysError("is no child of a ResNet", item=name)
    return f"{_CHILDREN[int(number)]}.{rest}"
