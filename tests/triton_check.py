"""Reads a model of a Triton repository as the server does. For tests; prints one JSON object.

    python triton_check.py REPOSITORY/NAME

The configuration is parsed with `tritonclient`'s own protobuf, which refuses a misspelt field, and compared with the
ONNX file of version 1, where there is one: names, types and shapes, with the batch in front.
"""

import json
import pathlib
import sys

import onnx
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

ELEMENTS = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.UINT8: "TYPE_UINT8"}


def configured(tensors):
    """Name, type and shape, as configured."""
    return [[t.name, pb.DataType.Name(t.data_type), list(t.dims)] for t in tensors]


def written(values):
    """Name, type and shape behind a free batch, as the ONNX file has them."""
    found = []
    for value in values:
        kind = value.type.tensor_type
        batch, *rest = kind.shape.dim
        assert batch.dim_param, f"{value.name} has a fixed batch"
        found.append([value.name, ELEMENTS[kind.elem_type], [axis.dim_value for axis in rest]])
    return found


def main():
    folder = pathlib.Path(sys.argv[1])
    config = text_format.Parse((folder / "config.pbtxt").read_text(), pb.ModelConfig())
    assert config.name == folder.name
    assert (folder / "1" / config.default_model_filename).is_file()
    inputs, outputs = configured(config.input), configured(config.output)
    if config.default_model_filename.endswith(".onnx"):
        graph = onnx.load(folder / "1" / config.default_model_filename).graph
        assert written(graph.input) == inputs, written(graph.input)
        assert written(graph.output) == outputs, written(graph.output)
    for warm_up in config.model_warmup:
        warmed = [[name, pb.DataType.Name(t.data_type), list(t.dims)] for name, t in warm_up.inputs.items()]
        assert sorted(warmed) == sorted(inputs), warmed
    labels = (folder / config.output[0].label_filename).read_text()
    print(
        json.dumps(
            {
                "name": config.name,
                "platform": config.platform,
                "inputs": inputs,
                "outputs": outputs,
                "max_batch": config.max_batch_size,
                "preferred": list(config.dynamic_batching.preferred_batch_size),
                "delay": config.dynamic_batching.max_queue_delay_microseconds,
                "instances": [[g.count, pb.ModelInstanceGroup.Kind.Name(g.kind)] for g in config.instance_group],
                "warm_up": [warm_up.batch_size for warm_up in config.model_warmup],
                "labels": labels.splitlines(),
                "names": json.loads(config.parameters["names"].string_value),
            }
        )
    )


if __name__ == "__main__":
    main()
