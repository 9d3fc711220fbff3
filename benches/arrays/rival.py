"""The rivals in Python: reads one request a line, answers with one line, `seconds numbers..`.

`csr NAME ROWS COLS PATH` and `dense NAME ROWS COLS PATH` read raw arrays that the bench wrote; the other requests name a
figure and what it is taken of. Only the figure itself is timed.
"""

import sys
import time

import numpy as np

held = {}


def load_csr(name, rows, cols, path):
    import scipy.sparse as sp

    parts = [np.fromfile(f"{path}.{part}", dtype) for part, dtype in
             (("values", np.float32), ("indices", np.int32), ("indptr", np.int64))]
    # SciPy would widen all indices where one array of them is wide.
    parts[2] = parts[2].astype(np.int32)
    held[name] = sp.csr_matrix(tuple(parts), shape=(int(rows), int(cols)))


def load_dense(name, rows, cols, path):
    held[name] = np.fromfile(path, np.float64).reshape(int(rows), int(cols))


def gram(name):
    x = held[name]
    return x.T @ x


def times(name, right):
    return held[name] @ held[right]


def blocks(name, rows):
    x, rows = held[name], int(rows)
    return [x[first:first + rows] for first in range(0, len(x), rows)]


def tsqr_r(name, rows):
    stack = np.vstack([np.linalg.qr(block, mode="r") for block in blocks(name, rows)])
    return np.linalg.svd(np.linalg.qr(stack, mode="r"))[1]


def tsqr_svd(name, rows):
    parts = [np.linalg.qr(block) for block in blocks(name, rows)]
    q, r = np.linalg.qr(np.vstack([r for _, r in parts]))
    u, s, _ = np.linalg.svd(r)
    small, n = q @ u, u.shape[0]
    held["u"] = [q @ small[i * n:(i + 1) * n] for i, (q, _) in enumerate(parts)]
    return s


def compressed(name, chunk, k, iterations):
    import dask
    import dask.array as da

    if (name, chunk) not in held:
        held[name, chunk] = da.from_array(held[name], chunks=int(chunk), name=name).persist()
    u, s, v = da.linalg.svd_compressed(held[name, chunk], int(k), n_power_iter=int(iterations), seed=1)
    return dask.compute(s, v)[0]


FIGURES = {f.__name__: f for f in (gram, times, tsqr_r, tsqr_svd, compressed)}


def main():
    __import__(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        what, *rest = line.split()
        if what in ("csr", "dense"):
            {"csr": load_csr, "dense": load_dense}[what](*rest)
            print("0", flush=True)
            continue
        start = time.perf_counter()
        found = FIGURES[what](*rest)
        seconds = time.perf_counter() - start
        numbers = found if getattr(found, "ndim", 2) == 1 else []
        print(seconds, *map(float, numbers), flush=True)


main()
