"""Runs the same jobs with allotment and with what is used today, each in a process of its own, and prints ratios.

Of each process the wall time from its start to its end and the peak of its anonymous memory (its children's
included) are measured from outside. Whether the answers agree is for the tests to say: tests/run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def anonymous_bytes(process):
    """The anonymous memory of a process and its children now."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            lines = Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))
        except (OSError, psutil.Error):
            continue
    return total


def measured(command, timeout):
    """Runs a command; returns seconds, peak bytes, and what it printed last (None where it failed)."""
    started, peak, done = time.perf_counter(), [0], threading.Event()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)

        def watch():
            root = psutil.Process(process.pid)
            while not done.wait(0.02):
                try:
                    peak[0] = max(peak[0], anonymous_bytes(root))
                except psutil.Error:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.communicate()
            out = ""
        done.set()
        watcher.join()
        seconds = time.perf_counter() - started
        if process.returncode != 0 or not out.strip():
            errors.seek(0)
            print(f"  failed: {' '.join(map(str, command))}\n  {errors.read()[-400:]}", file=sys.stderr)
            return seconds, peak[0], None
    return seconds, peak[0], json.loads(out.strip().splitlines()[-1])


def own(job, arguments, data, folder):
    """The command line of allotment for a job. Only it writes what it found, of the pipeline with the selected genes' values."""
    program = str(Path(arguments.programs) / "allotment")
    shared = ["--allowance", arguments.allowance, "--workers", str(arguments.workers), "--json", "--quiet"]
    command = {
        "pipeline": ["pipeline", data["zarr"], "--n-top-genes", "2000", "-k", "50", "--no-neighbors", "--subset", "--out", folder / "own.h5ad"],
        "stats": ["stats", data["h5ad"], "--by", "cluster", "--out", folder / "own.zarr"],
        "convert": ["convert", data["h5ad"], folder / "own.zarr"],
        "sample": ["sample", data["h5ad"], "-s", "0.1", "--seed", "1", "--out", folder / "own-sample.h5ad"],
    }[job]
    return [program, *map(str, command), *shared]


def rival_scanpy(data, folder):
    import anndata
    import scanpy as sc

    cells = anndata.read_zarr(data["zarr"])
    return scanpy_pipeline(sc, cells)


def scanpy_pipeline(sc, cells):
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    sc.pp.highly_variable_genes(cells, n_top_genes=2000)
    sc.pp.pca(cells, n_comps=50, mask_var="highly_variable")
    scores = cells.obsm["X_pca"]
    if hasattr(scores, "compute"):
        scores.compute()
    return {"variance": [float(x) for x in cells.uns["pca"]["variance"][:3]]}


def lazily(data):
    import anndata
    import zarr
    from anndata.experimental import read_elem_lazy

    group = zarr.open(data["zarr"], mode="r")
    rows = max(1, int(group["X"].attrs["shape"][0]) // 20)
    x = read_elem_lazy(group["X"], chunks=(rows, int(group["X"].attrs["shape"][1])))
    return anndata.AnnData(X=x, obs=anndata.io.read_elem(group["obs"]), var=anndata.io.read_elem(group["var"]))


def rival_dask_threads(data, folder):
    import dask
    import scanpy as sc

    with dask.config.set(scheduler="threads", num_workers=2):
        return scanpy_pipeline(sc, lazily(data))


def rival_dask_cluster(data, folder):
    import scanpy as sc
    from dask.distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit="4GiB") as cluster, Client(cluster):
        return scanpy_pipeline(sc, lazily(data))


def rival_aggregate(data, folder):
    import anndata
    import scanpy as sc

    cells = anndata.read_h5ad(data["h5ad"])
    result = sc.get.aggregate(cells, by="cluster", func=["sum", "mean", "var", "count_nonzero"])
    return {"total": float(result.layers["sum"].sum())}


def rival_dask_delayed(data, folder):
    import anndata
    import dask
    import numpy as np
    import scipy.sparse

    cells = anndata.read_h5ad(data["h5ad"])
    codes, names = cells.obs["cluster"].cat.codes.to_numpy(), cells.obs["cluster"].cat.categories

    @dask.delayed
    def part(block, labels):
        n = block.shape[0]
        groups = scipy.sparse.csr_matrix((np.ones(n), (labels, np.arange(n))), (len(names), n))
        squares, present = block.multiply(block).tocsr(), block.copy()
        present.data = (present.data != 0).astype(np.float64)
        return np.stack([(groups @ matrix).toarray() for matrix in (block, squares, present)])

    rows = max(1, cells.n_obs // 20)
    parts = [part(cells.X[i : i + rows], codes[i : i + rows]) for i in range(0, cells.n_obs, rows)]
    total = dask.delayed(sum)(parts).compute(scheduler="threads", num_workers=2)
    return {"total": float(total[0].sum(dtype=np.float64))}


def rival_anndata(data, folder):
    import anndata

    anndata.read_h5ad(data["h5ad"]).write_zarr(folder / "anndata.zarr")
    return {}


def rival_sample(data, folder):
    import anndata
    import numpy as np

    cells = anndata.read_h5ad(data["h5ad"])
    share, random = 0.1**0.5, np.random.default_rng(1)
    rows = np.sort(random.choice(cells.n_obs, int(cells.n_obs * share), replace=False))
    cols = np.sort(random.choice(cells.n_vars, int(cells.n_vars * share), replace=False))
    cells[rows, cols].copy().write_h5ad(folder / "anndata-sample.h5ad", compression="gzip")
    return {}


RIVALS = {
    "pipeline": {"scanpy in memory": rival_scanpy, "scanpy on Dask threads": rival_dask_threads, "scanpy on a Dask LocalCluster": rival_dask_cluster},
    "stats": {"scanpy.get.aggregate": rival_aggregate, "Dask delayed": rival_dask_delayed},
    "convert": {"anndata": rival_anndata},
    "sample": {"anndata": rival_sample},
}


def prepare(arguments, folder):
    """Makes the data once, in both containers."""
    data = {"h5ad": folder / f"cells-{arguments.cells}.h5ad", "zarr": folder / f"cells-{arguments.cells}.zarr"}
    generate = Path(arguments.programs) / "examples" / "generate"
    for path in data.values():
        if not path.exists():
            subprocess.run([generate, path, "--cells", str(arguments.cells), "--genes", str(arguments.genes)], check=True)
    return data


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", required=True)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--allowance", default="512MiB")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--jobs", nargs="+", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the fastest counts")
    parser.add_argument("--timeout", type=float, default=1200)
    parser.add_argument("--rival", nargs=4, metavar=("JOB", "NAME", "DATA", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rival:
        job, name, data, folder = arguments.rival
        print(json.dumps(RIVALS[job][name](json.loads(data), Path(folder))))
        return
    folder = Path("target/compare")
    folder.mkdir(parents=True, exist_ok=True)
    data = prepare(arguments, folder)
    texts = json.dumps({name: str(path) for name, path in data.items()})
    print(f"{arguments.cells} x {arguments.genes}; {arguments.workers} workers of {arguments.allowance}")
    print(f"{'job':10} {'who':32} {'seconds':>8} {'ratio':>6} {'peak MB':>8}")
    for job in arguments.jobs:
        commands = {"allotment": lambda place: own(job, arguments, data, place)}
        for name in RIVALS[job]:
            commands[name] = lambda place, name=name: [sys.executable, __file__, "--programs", ".", "--rival", job, name, texts, str(place)]
        best = {}
        for _ in range(arguments.repeat):
            for name, command in commands.items():
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    seconds, peak, answer = measured(command(Path(place)), arguments.timeout)
                if answer is not None:
                    best[name] = min(best.get(name, (float("inf"), 0)), (seconds, peak))
        base = best.get("allotment", (float("nan"), 0))[0]
        for name in commands:
            seconds, peak = best.get(name, (float("nan"), 0))
            print(f"{job:10} {name:32} {seconds:8.2f} {seconds / base:6.2f} {peak / 1e6:8.0f}", flush=True)


if __name__ == "__main__":
    main()
