#!/usr/bin/env bash
# NumPy 2.4.6 does not open a .npz that stands behind other bytes, and takes it for a pickle.
#
# A zip archive may begin anywhere in a file: it is found from its end, and self-extracting archives and
# files with a licence before them use that. Python's own zipfile reads such a file, numpy.savez wrote the
# archive, and numpy.load looks at the first four bytes only: where they are not "PK\3\4" it takes the file
# for a pickle and refuses that. The message speaks of object arrays, of which there are none. Seen:
#
#   zipfile reads ['x.npy'] [0. 1. 2.]
#   numpy.load: This file contains pickled (object) data. If you trust the file you can load it unsafely …
#
# What this means for Apus: NPZ.read opens such files (NPZTests), and their error in NumPy is no sign of damage.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import io, sys, zipfile
import numpy as np

assert np.__version__ == "2.4.6", np.__version__
plain = f"{sys.argv[1]}/plain.npz"
moved = f"{sys.argv[1]}/moved.npz"
np.savez(plain, x=np.arange(3, dtype=np.float32))
with open(plain, "rb") as source, open(moved, "wb") as target:
    target.write(b"some words before the archive\n" + source.read())

with zipfile.ZipFile(moved) as archive:
    assert archive.testzip() is None
    inside = np.load(io.BytesIO(archive.read("x.npy")))
print("zipfile reads", archive.namelist(), inside)
assert inside.tolist() == [0, 1, 2]
assert np.load(plain)["x"].tolist() == [0, 1, 2]

try:
    np.load(moved)
except ValueError as error:
    print("numpy.load:", error)
    assert "pickled" in str(error), error
else:
    raise SystemExit("numpy.load opens it: this has changed")
PYTHON
echo "as described"
