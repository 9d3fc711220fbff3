"""Prints tests/linalg/reference.rs: what scikit-learn and NumPy find for the published matrices.

Usage: python tests/python/linalg_reference.py ../shared/data/dense > tests/linalg/reference.rs
Needs numpy and scikit-learn.
"""

import sys

import numpy as np
import sklearn
from sklearn.decomposition import PCA, IncrementalPCA

CASES = [("iris", 4), ("breast_cancer", 8), ("digits", 20), ("mnist_t10k", 10)]
# Components, and rows of a batch: none of the three loses nothing.
STREAMS = [("iris", 2, 40), ("breast_cancer", 5, 100), ("digits", 12, 200)]


def numbers(values):
    return "&[" + ", ".join(repr(float(v)) for v in values) + "]"


def main(folder):
    print("//! What others find for the published matrices. Written by tests/python/linalg_reference.py, then cargo fmt.")
    print("//!")
    print(f"//! scikit-learn {sklearn.__version__} PCA(svd_solver='full'), NumPy {np.__version__} svd, both in float64.\n")
    print("use super::{Reference, Stream};")
    print()
    print("pub(super) const REFERENCES: &[Reference] = &[")
    for name, k in CASES:
        x = np.load(f"{folder}/{name}.npy").astype(np.float64)
        pca = PCA(n_components=k, svd_solver="full").fit(x)
        scores = np.abs(pca.transform(x))
        print("    Reference {")
        print(f'        file: "{name}.npy",')
        print(f"        explained_variance: {numbers(pca.explained_variance_)},")
        print(f"        explained_variance_ratio: {numbers(pca.explained_variance_ratio_)},")
        print(f"        noise_variance: {float(pca.noise_variance_)!r},")
        print(f"        first_scores: {numbers(scores[0])},")
        print(f"        last_scores: {numbers(scores[-1])},")
        print(f"        singular_values: {numbers(np.linalg.svd(x, compute_uv=False)[:k])},")
        print("    },")
    print("];\n")
    print("pub(super) const STREAMS: &[Stream] = &[")
    for name, k, batch in STREAMS:
        x = np.load(f"{folder}/{name}.npy").astype(np.float64)
        pca = IncrementalPCA(n_components=k)
        for first in range(0, len(x), batch):
            pca.partial_fit(x[first : first + batch])
        print("    Stream {")
        print(f'        file: "{name}.npy",')
        print(f"        batch: {batch},")
        print(f"        explained_variance: {numbers(pca.explained_variance_)},")
        print(f"        explained_variance_ratio: {numbers(pca.explained_variance_ratio_)},")
        print(f"        noise_variance: {float(pca.noise_variance_)!r},")
        print(f"        sum_of_means: {float(pca.mean_.sum())!r},")
        # scikit-learn divides these by n.
        print(f"        sum_of_variances: {float(pca.var_.sum() * len(x) / (len(x) - 1))!r},")
        print(f"        last_scores: {numbers(np.abs(pca.transform(x[-1:])[0]))},")
        print("    },")
    print("];")


if __name__ == "__main__":
    main(sys.argv[1])
