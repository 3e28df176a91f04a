"""Starts a query encoder with weights that somebody else trained, as ImageNet's in the paper."""

from __future__ import annotations

from aff_toolkit.training.extractor_errors import ExtractorUnavailableError
from aff_toolkit.training.hub_models import load_vision_model, model_folder
from aff_toolkit.training.light_network import LightNetwork
from aff_toolkit.training.query_encoder import QueryEncoder


def load_pretrained_trunk(encoder: QueryEncoder, source: str, revision: str | None) -> None:
    """Load a model of the hub, or of a folder in its format, into an encoder's trunk; the head stays as it is.

    Raises:
        ExtractorUnavailableError: It is not here, or is another network; lists the weights that do not fit.
    """
    network = encoder.network
    if not isinstance(network, LightNetwork):
        raise ExtractorUnavailableError("this query backbone has no pretrained weights on the hub", item=source)
    found = load_vision_model(model_folder(source, revision)).state_dict()
    wanted = network.trunk.state_dict()
    weights = {name: found.get(name.removeprefix("model.")) for name in wanted}
    misfits = [name for name, tensor in weights.items() if tensor is None or tensor.shape != wanted[name].shape]
    if misfits:
        shown = ", ".join(misfits[:8])
        raise ExtractorUnavailableError(f"is not the network of this backbone; it lacks {shown}", item=source)
    network.trunk.load_state_dict({name: tensor for name, tensor in weights.items() if tensor is not None})
