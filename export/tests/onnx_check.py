"""Checks an ONNX file and runs it on a pair. For tests; prints one JSON object.

    python onnx_check.py MODEL.onnx [BATCH INPUT_U8.npy EXPECTED.npy]

`check_model` with full_check, then (with a pair) ONNX Runtime on a batch whose last picture is the pair and whose
others are the pair upside down, so that the pictures of a batch differ. Reports the largest difference of the
last picture from what is expected: `px` over the box rows, `score` over the class rows.
"""

import ast
import json
import sys

import numpy as np
import onnx


def signature(values):
    """Name, element type and dimensions of the graph's inputs or outputs."""
    return [
        [v.name, v.type.tensor_type.elem_type, [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]]
        for v in values
    ]


def describe(path):
    """What the file says about itself."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    metadata = {p.key: p.value for p in model.metadata_props}
    operators = [node.op_type for node in model.graph.node]
    return {
        "opset": model.opset_import[0].version,
        "nodes": len(operators),
        "operators": {op: operators.count(op) for op in sorted(set(operators))},
        "inputs": signature(model.graph.input),
        "outputs": signature(model.graph.output),
        "metadata": metadata,
        "names": list(ast.literal_eval(metadata["names"]).values()),
    }


def differences(path, batch, pair, expected):
    """Largest difference in pixels and in score."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pixels = np.load(pair).astype(np.float32) / 255
    pictures = np.stack([pixels[:, ::-1]] * (batch - 1) + [pixels])
    rgb, ir = np.ascontiguousarray(pictures[:, :3]), np.ascontiguousarray(pictures[:, 3:])
    (output,) = session.run(["output0"], {"rgb": rgb, "ir": ir})
    assert output.shape[0] == batch and output.dtype == np.float32 and np.isfinite(output).all()
    difference = np.abs(output[-1] - np.load(expected)[0])
    return {"px": float(difference[:4].max()), "score": float(difference[4:].max())}


def main():
    path, *run = sys.argv[1:]
    report = describe(path)
    if run:
        report |= differences(path, int(run[0]), run[1], run[2])
    print(json.dumps(report))


if __name__ == "__main__":
    main()
