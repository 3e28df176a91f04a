"""`python search_from_a_device.py photo.jpg http://localhost:8001`: needs onnxruntime, numpy and pillow alone."""

import json
import os
import sys
from urllib.request import Request, urlopen

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

photograph, service = sys.argv[1:]
headers = {"Content-Type": "application/json"}
if "AFF_API_KEY" in os.environ:  # required by a service with keys
    headers["Authorization"] = f"Bearer {os.environ['AFF_API_KEY']}"
encoder = json.load(urlopen(Request(f"{service}/encoder", headers=headers)))
graph = next(file for file in encoder["files"] if file["precision"] == encoder["serving"])
model = urlopen(Request(service + graph["url"], headers=headers)).read()  # can be stored: it never changes
session = onnxruntime.InferenceSession(model)

upright = ImageOps.exif_transpose(Image.open(photograph)).convert("RGB")
side = encoder["preprocessing"]["size"]
pixels = np.asarray(upright.resize((side, side), Image.Resampling.BILINEAR))
(embedding,) = session.run(["embedding"], {"image": pixels[np.newaxis]})[0]

query = {"embedding": embedding.tolist(), "fingerprint": encoder["fingerprint"], "limit": 5}
response = urlopen(Request(f"{service}/search/embedding", json.dumps(query).encode(), headers))
for hit in json.load(response)["hits"]:
    print(f"{hit['score']:.3f}  {hit['id']}")
