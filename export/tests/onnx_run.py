"""Runs a one-stream ONNX file. For tests.

    python onnx_run.py MODEL.onnx IMAGES.f32 OUTPUT.f32

Both are raw little-endian float32; the input is one picture of the model's size.
"""

import sys

import numpy as np
import onnxruntime

model, images, output = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
pixels = np.fromfile(images, "<f4").reshape(session.get_inputs()[0].shape)
session.run(["output0"], {"images": pixels})[0].tofile(output)
