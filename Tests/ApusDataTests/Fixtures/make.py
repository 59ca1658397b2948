"""Makes the reference files of the data tests with the libraries whose formats they are.

Run once, by hand, with numpy 2 and safetensors 0.8; the files are committed. What they hold is
repeated in the tests, in Swift.
"""

import gzip
import json
import struct
from pathlib import Path

import numpy as np
from safetensors import TensorSpec, serialize

here = Path(__file__).parent
grid = np.arange(6).reshape(2, 3)

for code in ["<f4", "<f2", "<f8", "<i4", "<i8", "|u1", ">f4", ">i8", "|i1", "<i2", "<u2", "<u4"]:
    values = (grid * 40 - 100) if code[1] in "fi" else grid * 40
    np.save(here / f"{code.strip('<|').replace('>', 'big-')}.npy", values.astype(code))
np.save(here / "bool.npy", grid % 2 == 1)
np.save(here / "column-major.npy", np.asfortranarray(grid.astype("<f4")))
np.save(here / "scalar.npy", np.array(0.5, dtype="<f4"))
np.save(here / "vector.npy", np.arange(10, dtype="<f4"))
np.save(here / "empty.npy", np.zeros((0, 3), dtype="<f4"))
np.save(here / "complex.npy", np.zeros(3, dtype="<c8"))
with open(here / "version2.npy", "wb") as file:
    np.lib.format.write_array(file, grid.astype("<f4"), version=(2, 0))
np.savez(here / "stored.npz", x=grid.astype("<f4"), y=grid.astype("<i8"))
np.savez_compressed(here / "deflated.npz", x=grid.astype("<f4"), y=grid.astype("<i8"))


# Specs hold bare addresses.
alive = []


def tensor(dtype, values, raw):
    data = np.array(np.asarray(values).astype(raw), order="C")
    alive.append(data)
    return TensorSpec(
        dtype=dtype, shape=data.shape, data_ptr=data.ctypes.data, data_len=data.nbytes
    )


def bf16(values):
    return (np.asarray(values, dtype="<f4").view("<u4") >> 16).astype("<u2")


tensors = {
    "blocks.0.weight": tensor("float32", grid * 0.5, "<f4"),
    "blocks.0.bias": tensor("float32", [1, 2, 3], "<f4"),
    "half": tensor("float16", [1, -2, 0.5], "<f2"),
    "brain": tensor("bfloat16", bf16([1, -2, 0.5]), "<u2"),
    "double": tensor("float64", [[1.25]], "<f8"),
    "wide": tensor("int64", [1, -2], "<i8"),
    "int": tensor("int32", [7, -8, 9], "<i4"),
    "byte": tensor("uint8", [0, 127, 255], "|u1"),
    "flag": tensor("bool", [True, False], "|b1"),
    "scalar": tensor("float32", 3.5, "<f4"),
    "empty": tensor("float32", np.zeros((0, 4)), "<f4"),
    "näme \"quoted\"": tensor("uint8", [1], "|u1"),
}


def padded(data):
    """The same file, its header padded so that the data begin at a multiple of 64."""
    (count,) = struct.unpack("<Q", data[:8])
    header = data[8 : 8 + count].rstrip(b" ")
    header += b" " * (-(8 + len(header)) % 64)
    return struct.pack("<Q", len(header)) + header + data[8 + count :]


(here / "padded.safetensors").write_bytes(padded(serialize(tensors, {"format": "pt"})))
(here / "reference.safetensors").write_bytes(serialize(tensors, {"format": "pt"}))
(here / "none.safetensors").write_bytes(padded(serialize({}, None)))
(here / "foreign.safetensors").write_bytes(
    serialize({"a": tensor("int8", [1, -1], "|i1"), "b": tensor("float32", [2.5], "<f4")}, None)
)


def idx(code, element, values):
    values = np.asarray(values)
    head = bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(element).tobytes()


for code, element in [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]:
    values = grid * 40 - 100 if element != ">u1" else grid * 40
    (here / f"{element[1:]}.idx").write_bytes(idx(code, element, values))
(here / "u1.idx.gz").write_bytes(gzip.compress(idx(8, ">u1", grid * 40), mtime=0))

# What NPZ.write gives must load with NumPy: this checks the file that a test compares with.
written = here / "written.npz"
if written.exists():
    loaded = np.load(written)
    assert sorted(loaded) == ["x", "y"]
    assert (loaded["x"] == grid).all() and loaded["x"].dtype == np.float32
    assert (loaded["y"] == grid).all() and loaded["y"].dtype == np.int64
print(json.dumps(sorted(p.name for p in here.iterdir())))
