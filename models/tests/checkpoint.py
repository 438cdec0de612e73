"""Turns a checkpoint of the reference's form into a weights file of yf. For tests.

    python checkpoint.py FILE.pt CONFIG.yaml SCALE OUT.safetensors [IMGSZ]

The checkpoint is a zip with a pickle and raw storages. The pickle names classes of torch and others; none is
imported: an unpickler that knows four harmless constructors makes inert records of all the rest. Needs numpy.
"""

import json
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

STORAGES = {
    "HalfStorage": np.float16,
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "LongStorage": np.int64,
}


class Record:
    """Stands for an object of a class that is not imported: its attributes, nothing it could do."""

    def __new__(cls, *_args, **_kwargs):
        return object.__new__(cls)

    def __setstate__(self, state):
        if isinstance(state, dict):
            self.__dict__.update(state)


def rebuild_tensor(storage, offset, size, stride, *_rest):
    """A view into a storage, as numpy."""
    itemsize = storage.itemsize
    steps = tuple(step * itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), steps).copy()


class Reader(pickle.Unpickler):
    """Reads the pickle of a checkpoint without running anything of it."""

    def __init__(self, archive, prefix):
        super().__init__(archive.open(f"{prefix}data.pkl"))
        self.archive, self.prefix = archive, prefix

    def find_class(self, module, name):
        harmless = {
            ("collections", "OrderedDict"): OrderedDict,
            ("__builtin__", "set"): set,
            ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_rest: tensor,
        }
        return harmless.get((module, name)) or type(name, (Record,), {})

    def persistent_load(self, saved_id):
        kind, storage, key = saved_id[0], saved_id[1], saved_id[2]
        if kind != "storage" or storage.__name__ not in STORAGES:
            raise pickle.UnpicklingError(f"unknown storage {saved_id}")
        return np.frombuffer(self.archive.read(f"{self.prefix}data/{key}"), STORAGES[storage.__name__])


def tensors_of(module, path=""):
    """Parameters and buffers of a module tree by their dotted names."""
    for table in (module._parameters, module._buffers):
        for name, tensor in table.items():
            if tensor is not None:
                yield f"{path}{name}", tensor
    for name, child in module._modules.items():
        yield from tensors_of(child, f"{path}{name}.")


def read(path):
    """Tensors in single precision, and the class names."""
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        checkpoint = Reader(archive, pickled.removesuffix("data.pkl")).load()
    model = checkpoint.get("ema") or checkpoint["model"]
    tensors = {
        name: np.ascontiguousarray(tensor, dtype="<f4")
        for name, tensor in tensors_of(model)
        if not name.endswith("num_batches_tracked")
    }
    names = model.names
    return tensors, [names[i] for i in sorted(names)] if isinstance(names, dict) else list(names)


def write(path, tensors, header):
    """A safetensors file whose metadata holds the header of yf; whole or not at all."""
    index, end = {"__metadata__": {"yf": json.dumps(header)}}, 0
    for name, tensor in tensors.items():
        index[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    head = json.dumps(index).encode()
    part = f"{path}.{os.getpid()}.part"
    with open(part, "wb") as out:
        out.write(struct.pack("<Q", len(head)) + head)
        for tensor in tensors.values():
            out.write(tensor.tobytes())
    os.replace(part, path)


def main():
    checkpoint, config, scale, out = sys.argv[1:5]
    imgsz = int(sys.argv[5]) if len(sys.argv) > 5 else 640
    tensors, names = read(checkpoint)
    header = {
        "model": f"{Path(config).stem}-{scale}",
        "config": Path(config).read_text(),
        "scale": scale,
        "names": names,
        "imgsz": imgsz,
        "version": "0",
    }
    write(out, tensors, header)


if __name__ == "__main__":
    main()
