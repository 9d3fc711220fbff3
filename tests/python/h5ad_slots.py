"""Reads the file that src/io/h5ad/write/tests.rs writes and compares every slot with what was put into it.

Usage: h5ad_slots.py FILE. The expected numbers are those of `everything()` in that test.
"""

import sys

import anndata
import h5py
import numpy as np
import pandas as pd


def counts(rows, cols):
    at = np.arange(rows * cols)
    return np.where(at * 7 % 5 < 3, 0, at * 31 % 97).reshape(rows, cols)


def same(found, expected):
    found = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
    np.testing.assert_array_equal(found, expected)


def check_obs(obs, names):
    assert list(obs.index) == names
    assert list(obs.columns) == "age size byte big score batch note good maybe type plate".split(), obs.columns
    assert obs["age"].dtype == np.int32 and list(obs["age"]) == [31, 58, 7, 44]
    assert obs["size"].dtype == np.float32 and np.isnan(obs["size"].iloc[1]) and obs["size"].iloc[2] == 2.5
    assert obs["byte"].dtype == np.uint8 and list(obs["byte"]) == [0, 255, 3, 4]
    assert obs["big"].dtype == np.uint64 and obs["big"].iloc[0] == 2**64 - 1
    assert str(obs["score"].dtype) == "Int16" and obs["score"].isna().tolist() == [False, True, False, False]
    assert list(obs["batch"].astype(object)) == ["a", "é ü", "", "d"], obs["batch"]
    assert obs["note"].isna().tolist() == [False, True, False, False] and obs["note"].iloc[3] == "d"
    assert obs["good"].dtype == bool and list(obs["good"]) == [True, False, True, True]
    assert str(obs["maybe"].dtype) == "boolean" and obs["maybe"].isna().tolist() == [False, True, False, True]
    kind = obs["type"].cat
    assert kind.ordered and list(kind.categories) == ["B", "T"] and list(kind.codes) == [1, 0, -1, 1]
    plate = obs["plate"].cat
    assert not plate.ordered and list(plate.categories) == [7, 12] and list(plate.codes) == [0, 0, 1, 1]


def check(data):
    cells = [f"cell {i}" for i in range(4)]
    check_obs(data.obs, cells)
    assert list(data.var.index) == ["CD3E", "GNLY", "GNLY"] and data.var["n"].dtype == np.int64
    same(data.X, counts(4, 3))
    assert data.X.dtype == np.float32 and data.X.format == "csr" and data.X.indptr.dtype == np.int32
    same(data.layers["counts"], counts(4, 3))
    assert data.layers["counts"].dtype == np.uint8 and data.layers["counts"].has_canonical_format
    same(data.layers["dense"], counts(4, 3))
    assert data.obsm["X_pca"].shape == (4, 2) and data.varm["PCs"].shape == (3, 2)
    check_obs(data.obsm["more"], cells)
    same(data.obsp["distances"], counts(4, 4))
    assert data.varp["links"].shape == (3, 3)
    same(data.raw.X, counts(4, 5))
    assert list(data.raw.var_names) == [f"raw gene {i}" for i in range(5)]
    check_uns(data.uns, cells)


def check_uns(uns, cells):
    params = uns["pca"]["params"]
    assert params["method"] == "arpack" and params["n"] == 50 and params["half"] == 0.5 and params["yes"] == True  # noqa: E712
    same(uns["pca"]["variance"], [3.5, 1.25])
    assert uns["none"] is None and uns["empty"].shape == (0,) and uns["empty text"] == ""
    assert uns["cube"].shape == (2, 1, 2) and uns["cube"].dtype == np.int8 and uns["cube"][1, 0, 1] == 4
    assert list(uns["colors"]) == ["#ff0000", "#00ff00"]
    assert isinstance(uns["groups"], pd.Categorical) and uns["groups"].ordered
    check_obs(uns["table"], cells)
    same(uns["graph"], counts(4, 4))
    ranks = uns["ranks"]
    assert list(ranks["T"]) == ["CD3E", "x"] and list(ranks["p"]) == [0.5, 1.0] and list(ranks["ok"]) == [True, False]
    assert uns["bytes"] == b"abc", uns["bytes"]


def main():
    path = sys.argv[1]
    check(anndata.read_h5ad(path))
    backed = anndata.read_h5ad(path, backed="r")
    same(backed.X[1:3], counts(4, 3)[1:3])
    backed.file.close()
    # The C library walks and reads all of it, and can write to it.
    with h5py.File(path, "r+") as file:
        file.visititems(lambda name, node: node[()] if isinstance(node, h5py.Dataset) else None)
        file["uns"].attrs["more"] = "text"
        file.create_dataset("uns/extra", data=np.arange(3))
        del file["uns/colors"]
    assert list(anndata.read_h5ad(path).uns["extra"]) == [0, 1, 2]


main()
