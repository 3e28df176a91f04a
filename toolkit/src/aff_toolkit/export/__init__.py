"""From a trained query encoder to the ONNX files of a bundle, and the gates that they pass."""
