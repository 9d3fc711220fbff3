"""Compares the program's answers with scikit-learn's, NumPy's and Bioconductor's.

    compare.py PROGRAM CASE [FILES..]

Prints the largest differences; ends with a non-zero code when one is beyond what its case allows.
"""

import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import PCA


def run(program, *arguments):
    """Runs the program and returns the object it prints."""
    command = [program, *map(str, arguments), "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def check(what, difference, allowed):
    print(f"{what}: {difference:.2e} (allowed {allowed:.0e})")
    if not difference <= allowed:
        sys.exit(f"{what} differs by {difference:.3e}, allowed is {allowed:.0e}")


def relative(found, expected):
    return float(np.max(np.abs(np.asarray(found) - expected) / np.abs(expected)))


def compare_pca(program, file, x, k, *options):
    """Compares with the full SVD of scikit-learn: an algorithm other than the program's."""
    with tempfile.TemporaryDirectory() as home:
        out = pathlib.Path(home) / "out"
        printed = run(program, "pca", file, "--components", k, "--out", out, *options)
        scores, components = np.load(out / "scores.npy"), np.load(out / "components.npy")
        variance = np.load(out / "explained_variance.npy")
    pca = PCA(n_components=k, svd_solver="full")
    expected = pca.fit_transform(x)
    assert scores.shape == expected.shape and components.shape == pca.components_.shape
    assert printed["shape"] == list(x.shape)
    np.testing.assert_array_equal(printed["explained_variance"], variance)
    check("explained variance, relative", relative(variance, pca.explained_variance_), 1e-6)
    check("share of the variance, relative", relative(printed["explained_variance_ratio"], pca.explained_variance_ratio_), 1e-6)
    check("|scores|, absolute", np.max(np.abs(np.abs(scores) - np.abs(expected))), 1e-5)
    check("|components|, absolute", np.max(np.abs(np.abs(components) - np.abs(pca.components_))), 1e-5)
    # A residual is told in units of its own variance; the data's rounding is in those of the largest.
    residuals = np.array(printed["residuals"]) * variance / variance[0]
    # Lanczos stops when they are small enough.
    check("residuals, of the largest variance", residuals.max(), 1e-9 if "lanczos" in options else 1e-12)
    # The sign rule: the entry of largest magnitude is positive.
    largest = components[np.arange(k), np.abs(components).argmax(axis=1)]
    assert (largest > 0).all(), "a component's largest entry is negative"


def compare_share(program, file, x):
    """Compares how many components hold a share of the variance."""
    for share in (0.5, 0.9, 0.99, 0.9999):
        expected = PCA(n_components=share, svd_solver="full").fit(x).n_components_
        found = run(program, "pca", file, "--components", share)["components"]
        assert found == expected, f"{share}: {found} components, scikit-learn has {expected}"


def bundled(load):
    def case(program):
        x = load().data.astype(np.float64)
        with tempfile.TemporaryDirectory() as home:
            file = pathlib.Path(home) / "x.npy"
            np.save(file, x)
            # digits has three columns that are always zero: as many components as there are directions.
            k = int(np.linalg.matrix_rank(x - x.mean(axis=0)))
            compare_pca(program, file, x, k)
            for solver in ("tsqr", "lanczos"):
                compare_pca(program, file, x, k, "--solver", solver)
            compare_share(program, file, x)

    return case


def csr_of(group):
    """Returns the dense float64 matrix of a CSR group of an .h5ad file."""
    shape = tuple(group.attrs["shape"])
    x = np.zeros(shape)
    rows = np.repeat(np.arange(shape[0]), np.diff(group["indptr"][:]))
    np.add.at(x, (rows, group["indices"][:]), group["data"][:])
    return x


def neurons10k(program, file):
    with h5py.File(file) as h5ad:
        x = csr_of(h5ad["X"])
    sums = x.sum(axis=1, keepdims=True)
    x *= np.divide(1e4, sums, out=np.ones_like(sums), where=sums > 0)
    np.log1p(x, out=x)
    compare_pca(program, file, x, 50, "--normalize", "1e4", "--log1p")


def svd(program):
    x = np.random.default_rng(5).normal(size=(3000, 40)) * np.logspace(0, -6, 40)
    with tempfile.TemporaryDirectory() as home:
        file, out = pathlib.Path(home) / "x.npy", pathlib.Path(home) / "out"
        np.save(file, x)
        printed = run(program, "svd", file, "--chunk-rows", 700, "--vectors", "--out", out)
        u, s, vt = (np.load(out / f"{name}.npy") for name in ("u", "s", "vt"))
    _, expected, expected_vt = np.linalg.svd(x, full_matrices=False)
    np.testing.assert_array_equal(printed["singular_values"], s)
    check("singular values, of the largest", np.max(np.abs(s - expected)) / expected[0], 1e-14)
    check("u s vt - x, of the largest", np.max(np.abs((u * s) @ vt - x)) / expected[0], 1e-13)
    check("uT u - 1", np.max(np.abs(u.T @ u - np.eye(40))), 1e-8)
    check("|vt|, absolute", np.max(np.abs(np.abs(vt) - np.abs(expected_vt))), 1e-8)


def pbmc3k(program, file, reference):
    """The published scores of 2526 cells on the raw counts of 178 genes, made by another program in another language."""
    reference = pathlib.Path(reference)
    with open(reference / "pca.csv", newline="") as table:
        lines = list(csv.reader(table))[1:]
    cells, expected = [line[0] for line in lines], np.array([[float.fromhex(v) for v in line[1:]] for line in lines])
    with h5py.File(file) as h5ad:
        x = csr_of(h5ad["X"])
        names = {axis: [n.decode() for n in h5ad[axis][h5ad[axis].attrs["_index"]][:]] for axis in ("obs", "var")}
    place = {name: i for i, name in enumerate(names["obs"])}
    x = x[[place[cell] for cell in cells]]
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        write_h5ad(home / "cells.h5ad", x, cells, names["var"])
        out = home / "out"
        run(program, "pca", home / "cells.h5ad", "--genes", reference / "hvg.txt", "--components", 50, "--out", out)
        scores = np.load(out / "scores.npy")
    # irlba stopped before the last components had settled: the data's README says which are exact.
    check("|scores| of components 1 to 40", np.max(np.abs(np.abs(scores) - np.abs(expected))[:, :40]), 1e-5)
    ours, theirs = scores.var(axis=0, ddof=1), expected.var(axis=0, ddof=1)
    check("variance of components 1 to 40, relative", relative(ours[:40], theirs[:40]), 1e-6)


def write_h5ad(path, x, obs, var):
    """Writes the least that is an .h5ad file: a CSR matrix and the names of its rows and columns."""
    rows, cols = np.nonzero(x)
    with h5py.File(path, "w") as h5ad:
        h5ad.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        group = h5ad.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array(x.shape)})
        group["data"] = x[rows, cols].astype(np.float32)
        group["indices"] = cols.astype(np.int32)
        group["indptr"] = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(x)))]).astype(np.int64)
        for axis, names in (("obs", obs), ("var", var)):
            frame = h5ad.create_group(axis)
            frame.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
            frame.attrs.create("column-order", [], dtype=h5py.string_dtype())
            frame.create_dataset("_index", data=names, dtype=h5py.string_dtype())
            frame["_index"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


CASES = {
    "iris": bundled(load_iris),
    "breast_cancer": bundled(load_breast_cancer),
    "digits": bundled(load_digits),
    "neurons10k": neurons10k,
    "svd": svd,
    "pbmc3k": pbmc3k,
}

if __name__ == "__main__":
    CASES[sys.argv[2]](sys.argv[1], *sys.argv[3:])
