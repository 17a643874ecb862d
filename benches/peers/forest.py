"""Isolation forests side by side: time to fit and to score on one thread, and with --sets how well they rank the sets of the benchmark `forest`.

    pip install scikit-learn isotree
    python benches/peers/forest.py [--sets ../shared/data/adbench]

Times are processor time, the best of a few runs, so that other work on the machine disturbs little. isotree is left out where it is not installed.
"""

import argparse
import os
import pathlib
import subprocess
import tempfile
import time

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

try:
    import isotree
except ImportError:
    isotree = None

ROWS, FEATURES = 100_000, 10
WORKSPACE = pathlib.Path(__file__).resolve().parents[2]


def scikit_learn(rows, seed):
    return IsolationForest(n_estimators=100, max_samples=256, random_state=seed, n_jobs=1).fit(rows)


def isotree_fitted(rows, seed):
    sample_size = min(256, len(rows))
    return isotree.IsolationForest(ntrees=100, sample_size=sample_size, ndim=1, missing_action="fail", nthreads=1, random_seed=seed).fit(rows)


PEERS = [("scikit-learn", scikit_learn, lambda forest, rows: -forest.score_samples(rows))]
if isotree is not None:
    PEERS.append(("isotree", isotree_fitted, lambda forest, rows: forest.predict(rows)))


def speed():
    rows = np.random.default_rng(0).normal(size=(ROWS, FEATURES))
    print(f"{ROWS} rows × {FEATURES}, 100 trees × 256\tfit ms\tscore k rows/s")
    for name, fit, score in PEERS:
        fits, scores = [], []
        for run in range(5):
            begin = time.process_time()
            forest = fit(rows, run)
            between = time.process_time()
            score(forest, rows)
            fits.append(between - begin)
            scores.append(time.process_time() - between)
        print(f"{name}\t{min(fits) * 1e3:.1f}\t{ROWS / min(scores) / 1e3:.0f}", flush=True)
    with tempfile.NamedTemporaryFile() as file:
        file.write(rows.tobytes())
        file.flush()
        command = ["cargo", "run", "--release", "--quiet", "--package", "scores", "--example", "forest_speed", "--"]
        subprocess.run(command + [str(ROWS), str(FEATURES), file.name], cwd=WORKSPACE, check=True)


def sets(folder):
    means = {}
    for path in sorted(folder.glob("*.npz")):
        table = np.load(path)
        rows, outlier = np.asarray(table["X"], dtype=float), table["y"]
        for name, fit, score in PEERS:
            seeds = range(2 if len(rows) > 150_000 else 5)
            scores = [score(fit(rows, seed), rows) for seed in seeds]
            area = np.mean([roc_auc_score(outlier, one) for one in scores])
            precision = np.mean([average_precision_score(outlier, one) for one in scores])
            means.setdefault(name, []).append((area, precision))
            print(f"{path.name}\t{name}\tauroc {area:.4f}\tap {precision:.4f}", flush=True)
    for name, figures in means.items():
        area, precision = np.mean(figures, axis=0)
        print(f"mean of {len(figures)} sets\t{name}\tauroc {area:.4f}\tap {precision:.4f}")
    command = ["cargo", "run", "--release", "--quiet", "--package", "scores", "--example", "score", "--", "forest", str(folder.resolve().parent)]
    subprocess.run(command, cwd=WORKSPACE, check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=pathlib.Path, help="the folder with the .npz files")
    arguments = parser.parse_args()
    speed()
    if arguments.sets:
        sets(arguments.sets)
