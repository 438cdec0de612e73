"""Writes checkpoints as torch does, with Python's own pickle, at every protocol. torch itself is not needed.

    python pickles.py FOLDER

FOLDER/<protocol>-hostile.pt: a state dictionary that makes FOLDER/ran where it is loaded with Python's pickle.
FOLDER/<protocol>-<type>.pt: a dictionary with a state dictionary under "model" that holds model.0.weight [2, 3],
model.0.bias [3] (a view with an offset into the same storage as model.0.scale [2], a column of a [2, 2]), a counter,
and beside it what real checkpoints carry. Weights are multiples of 1/8, which every type holds exactly.
"""

import collections
import datetime
import os
import pathlib
import pickle
import sys
import types
import zipfile

import numpy as np


def module(name):
    """A module that pickle finds, as if torch were installed."""
    made = types.ModuleType(name)
    sys.modules[name] = made
    return made


torch, utils = module("torch"), module("torch._utils")


def storage_class(name):
    made = type(name, (), {"__module__": "torch"})
    setattr(torch, name, made)
    return made


def rebuild(*_args):
    raise AssertionError("only pickled, never called")


rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
utils._rebuild_tensor_v2 = rebuild


class Storage:
    def __init__(self, kind, key, array):
        self.kind, self.key, self.array = kind, key, array


class Tensor:
    def __init__(self, storage, offset, shape, strides):
        self.parts = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return rebuild, self.parts


class Pickler(pickle.Pickler):
    def persistent_id(self, found):
        if isinstance(found, Storage):
            return ("storage", found.kind, found.key, "cpu", len(found.array))
        return None


def bf16(array):
    """The upper half of single precision."""
    return (array.astype("<f4").view("<u4") >> 16).astype("<u2")


TYPES = {
    "HalfStorage": lambda a: a.astype("<f2"),
    "BFloat16Storage": bf16,
    "FloatStorage": lambda a: a.astype("<f4"),
    "DoubleStorage": lambda a: a.astype("<f8"),
}


def checkpoint(kind, convert):
    weight = Storage(kind, "0", convert(np.arange(6) / 8))
    shared = Storage(kind, "1", convert(np.arange(7) / -8))
    counter = Storage(storage_class("LongStorage"), "2", np.array([5], "<i8"))
    state = collections.OrderedDict()
    state["model.0.weight"] = Tensor(weight, 0, (2, 3), (3, 1))
    state["model.0.bias"] = Tensor(shared, 4, (3,), (1,))
    state["model.0.scale"] = Tensor(shared, 1, (2,), (2,))
    state["model.0.num_batches_tracked"] = Tensor(counter, 0, (), ())
    state._metadata = collections.OrderedDict(version=1)
    everything = {
        "epoch": 6,
        "best_fitness": np.float64(0.5),
        "model": state,
        "train_args": types.SimpleNamespace(imgsz=[320, 256], epochs=7),
        "names": {0: "person", 1: "cycle \u4eba"},
        "date": datetime.datetime(2024, 1, 2),
        "path": pathlib.PurePosixPath("runs/train"),
        "seen": {1, 2},
        "frozen": frozenset({"a"}),
        "array": np.arange(3),
        "bytes": b"\x00\xff",
        "more": bytearray(b"abc"),
        "long": 1 << 80,
        "negative": -3,
        "numbers": [1.5, None, True, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), 70000, 1 << 40],
    }
    return everything, [weight, shared, counter]


class Hostile:
    """Runs a command where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def main():
    folder = pathlib.Path(sys.argv[1])
    for protocol in range(2, 6):
        with zipfile.ZipFile(folder / f"{protocol}-hostile.pt", "w", zipfile.ZIP_STORED) as archive:
            hostile = {"model": {"model.0.weight": [Hostile(f"touch {folder}/ran")]}}
            archive.writestr("net/data.pkl", pickle.dumps(hostile, protocol=protocol))
        for name, convert in TYPES.items():
            everything, storages = checkpoint(storage_class(name), convert)
            with zipfile.ZipFile(folder / f"{protocol}-{name}.pt", "w", zipfile.ZIP_STORED) as archive:
                with archive.open("net/data.pkl", "w") as out:
                    Pickler(out, protocol=protocol).dump(everything)
                archive.writestr("net/byteorder", "little")
                for storage in storages:
                    archive.writestr(f"net/data/{storage.key}", storage.array.tobytes())


if __name__ == "__main__":
    main()
