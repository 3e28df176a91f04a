"""`python search_from_a_device.py photo.jpg http://localhost:8001`: needs onnxruntime, numpy and pillow alone."""

import json
import sys
from urllib.request import Request, urlopen

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

photograph, service = sys.argv[1:]
encoder = json.load(urlopen(f"{service}/encoder"))
graph = next(file for file in encoder["files"] if file["precision"] == encoder["serving"])
session = onnxruntime.InferenceSession(urlopen(service + graph["url"]).read())  # may be kept: it never changes

upright = ImageOps.exif_transpose(Image.open(photograph)).convert("RGB")
side = encoder["preprocessing"]["size"]
pixels = np.asarray(upright.resize((side, side), Image.Resampling.BILINEAR))
(embedding,) = session.run(["embedding"], {"image": pixels[np.newaxis]})[0]

asked = {"embedding": embedding.tolist(), "fingerprint": encoder["fingerprint"], "limit": 5}
request = Request(f"{service}/search/embedding", json.dumps(asked).encode(), {"Content-Type": "application/json"})
for hit in json.load(urlopen(request))["hits"]:
    print(f"{hit['score']:.3f}  {hit['id']}")
