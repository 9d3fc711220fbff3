"""Converts annotated data with the program and compares what Python's anndata reads of both, part by part.

    round_trip.py PROGRAM FILE..         each file to .zarr, and that to .h5ad
    round_trip.py PROGRAM --pipeline F   runs the pipeline on F and goes on with scanpy
"""

import pathlib
import subprocess
import sys
import tempfile
import warnings

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

warnings.filterwarnings("ignore")


def run(program, *arguments):
    command = [program, *map(str, arguments), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")


def read(path):
    path = pathlib.Path(path)
    return anndata.read_zarr(path) if path.suffix == ".zarr" else anndata.read_h5ad(path)


def dense(x):
    return x.toarray() if scipy.sparse.issparse(x) else np.asarray(x)


def same_values(where, a, b):
    """Compares two parts of any kind, and says where they differ."""
    if isinstance(a, pd.DataFrame):
        if list(a.columns) != list(b.columns) or list(a.index) != list(b.index):
            sys.exit(f"{where}: other names of rows or columns")
        for name in a.columns:
            same_column(f"{where}/{name}", a[name], b[name])
    elif isinstance(a, dict) or hasattr(a, "keys") and not isinstance(a, np.ndarray):
        if sorted(a) != sorted(b):
            sys.exit(f"{where}: {sorted(a)} became {sorted(b)}")
        for name in a:
            same_values(f"{where}/{name}", a[name], b[name])
    elif scipy.sparse.issparse(a) or scipy.sparse.issparse(b):
        if scipy.sparse.issparse(a) != scipy.sparse.issparse(b) or a.shape != b.shape or a.dtype != b.dtype:
            sys.exit(f"{where}: {type(a)} {a.shape} {a.dtype} became {type(b)} {b.shape} {b.dtype}")
        if (a.tocsr() != b.tocsr()).nnz:
            sys.exit(f"{where}: other values")
    elif getattr(getattr(a, "dtype", None), "names", None):
        for name in a.dtype.names:
            same_values(f"{where}/{name}", a[name], b[name])
    else:
        a, b = np.asarray(a), np.asarray(b)
        texts = a.dtype.kind in "OUST"
        if a.shape != b.shape or not texts and a.dtype != b.dtype:
            sys.exit(f"{where}: {a.shape} {a.dtype} became {b.shape} {b.dtype}")
        if texts:
            equal = [str(x) for x in a.ravel()] == [str(x) for x in b.ravel()]
        else:
            equal = np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        if not equal:
            sys.exit(f"{where}: other values")


def same_column(where, a, b):
    if isinstance(a.dtype, pd.CategoricalDtype):
        if a.cat.ordered != b.cat.ordered or list(a.cat.categories) != list(b.cat.categories):
            sys.exit(f"{where}: other categories")
        if not np.array_equal(a.cat.codes, b.cat.codes):
            sys.exit(f"{where}: other codes")
    elif str(a.dtype) != str(b.dtype):
        sys.exit(f"{where}: {a.dtype} became {b.dtype}")
    elif not a.reset_index(drop=True).equals(b.reset_index(drop=True)):
        sys.exit(f"{where}: other values")


def same(a, b):
    same_values("X", a.X, b.X)
    for frame in ("obs", "var"):
        same_values(frame, getattr(a, frame), getattr(b, frame))
    for slot in ("layers", "obsm", "varm", "obsp", "varp"):
        same_values(slot, dict(getattr(a, slot)), dict(getattr(b, slot)))
    same_values("uns", dict(a.uns), dict(b.uns))
    if (a.raw is None) != (b.raw is None):
        sys.exit("raw: in one of them only")
    if a.raw is not None:
        same_values("raw/X", a.raw.X, b.raw.X)
        same_values("raw/var", a.raw.var, b.raw.var)


def convert(program, path, folder):
    original = read(path)
    if isinstance(original.X, scipy.sparse.csc_matrix):
        original.X = original.X.tocsr()
    zarr, h5ad = folder / "a.zarr", folder / "a.h5ad"
    run(program, "convert", path, zarr)
    same(original, read(zarr))
    run(program, "convert", zarr, h5ad)
    same(original, read(h5ad))
    print(f"{path}: {original.shape}, equal in every part")


def pipeline(program, path, folder):
    import scanpy as sc

    for out in (folder / "out.h5ad", folder / "out.zarr"):
        run(program, "pipeline", path, "--target-sum", "1e4", "--n-top-genes", "300", "-k", "20", "--out", out)
        found = read(out)
        expected = read(path)
        sc.pp.normalize_total(expected, target_sum=1e4)
        sc.pp.log1p(expected)
        sc.pp.highly_variable_genes(expected, n_top_genes=300)
        sc.pp.pca(expected, n_comps=20, svd_solver="full", dtype="float64", mask_var="highly_variable")
        chosen = found.var["highly_variable"].to_numpy()
        both = (chosen & expected.var["highly_variable"].to_numpy()).sum()
        # Dispersions are equal to the rounding of float32, in which scanpy takes logarithms: a gene at the cut may change.
        if abs(chosen.sum() - 300) > 2 or both < 297:
            sys.exit(f"{out}: {chosen.sum()} genes, {both} of them scanpy's")
        variance = np.abs(found.uns["pca"]["variance"] / expected.uns["pca"]["variance"] - 1).max()
        if found.obsm["X_pca"].shape != (found.n_obs, 20) or found.varm["PCs"].shape != (found.n_vars, 20) or variance > 1e-2:
            sys.exit(f"{out}: variances differ by {variance}")
        sc.tl.leiden(found, flavor="igraph", n_iterations=2, directed=False)
        print(f"{out.name}: {both} of 300 genes, variances to {variance:.1e}, {found.obs['leiden'].nunique()} clusters")


def main():
    program, *rest = sys.argv[1:]
    with tempfile.TemporaryDirectory() as home:
        if rest[0] == "--pipeline":
            pipeline(program, rest[1], pathlib.Path(home))
            return
        for number, path in enumerate(rest):
            folder = pathlib.Path(home) / str(number)
            folder.mkdir()
            convert(program, path, folder)


if __name__ == "__main__":
    main()
