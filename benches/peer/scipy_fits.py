#!/usr/bin/env python3
"""The same fits as `tests/published_fits.rs` times, done with SciPy on one thread.

    python3 -m venv .venv && .venv/bin/pip install numpy scipy
    .venv/bin/python benches/peer/scipy_fits.py ../shared/fits [--bootstrap 4000] [--lbfgs-starts 4500]

Every line says what was done, how long it took, the objective reached (Huber on log residuals,
summed) and the share of starts that reached the lowest objective seen. Our own times come from

    cargo test --release -p scaling_law --test published_fits -- --ignored --nocapture
"""

import argparse
import csv
import itertools
import os
import time

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import numpy as np  # noqa: E402  (after the thread limits)
from scipy.optimize import least_squares, minimize  # noqa: E402

DELTA = 1e-3


def columns(path, *names, keep=lambda row: True):
    with open(path, newline="") as file:
        rows = [row for row in csv.DictReader(file) if keep(row)]
    return [np.array([float(row[name]) for row in rows]) for name in names]


def huber(r, w=1.0):
    size = np.abs(r)
    return float(np.sum(w * np.where(size <= DELTA, 0.5 * r * r, DELTA * (size - 0.5 * DELTA))))


class Chinchilla:
    """ln L = ln(E + A x^-alpha + B y^-beta), sizes divided by their geometric means."""

    def __init__(self, n, d, loss, w=None):
        self.x = np.log(n) - np.log(n).mean()
        self.y = np.log(d) - np.log(d).mean()
        self.ln_loss = np.log(loss)
        self.w = np.ones_like(loss) if w is None else w

    def terms(self, u):
        return np.exp(u[1] - u[3] * self.x), np.exp(u[2] - u[4] * self.y)

    def residuals(self, u):
        a, b = self.terms(u)
        return np.log(np.exp(u[0]) + a + b) - self.ln_loss

    def jacobian(self, u):
        a, b = self.terms(u)
        e = np.exp(u[0])
        total = e + a + b
        rows = np.stack([np.full_like(a, e), a, b, -a * self.x, -b * self.y], axis=1)
        return rows / total[:, None]

    def objective(self, u):
        r = self.residuals(u)
        return huber(r, self.w), self.jacobian(u).T @ (self.w * np.clip(r, -DELTA, DELTA))

    def starts(self):
        level = self.ln_loss.mean()
        for e, share, alpha, beta in itertools.product(
            (0.3, 0.6, 0.8), (0.3, 0.7), (0.15, 0.35, 0.7), (0.15, 0.35, 0.7)
        ):
            rest = np.exp(level) * (1 - e)
            yield np.array(
                [level + np.log(e), np.log(rest * share), np.log(rest * (1 - share)), alpha, beta]
            )


class Dlcm:
    """Eq. 22; offsets as fractions of the sizes' geometric means, kept at or above 0."""

    lower = np.array([-np.inf, -np.inf, 0, 0, -np.inf, -8, 0, 0, -np.inf, 0, 0.0])
    upper = np.array([np.inf, np.inf, 1e4, 8, np.inf, 8, 1e4, 8, np.inf, 1e4, 8.0])

    def __init__(self, n, d, r, p, loss):
        token, concept = n * (1 - p), n * p
        self.token = token / np.exp(np.log(token).mean())
        self.concept = concept / np.exp(np.log(concept).mean())
        self.data = d / np.exp(np.log(d).mean())
        self.ratio = np.log(r) - np.log(r).mean()
        self.ln_loss = np.log(loss)

    def terms(self, u):
        token = np.exp(u[1] - u[3] * np.log((self.token + u[2]) / (1 + u[2])))
        concept = np.exp(
            u[4] + u[5] * self.ratio - u[7] * np.log((self.concept + u[6]) / (1 + u[6]))
        )
        data = np.exp(u[8] - u[10] * np.log((self.data + u[9]) / (1 + u[9])))
        return token, concept, data

    def residuals(self, u):
        return np.log(np.exp(u[0]) + sum(self.terms(u))) - self.ln_loss

    def jacobian(self, u):
        token, concept, data = self.terms(u)
        e = np.full_like(token, np.exp(u[0]))

        def power(value, x, t, exponent):
            by_t = -exponent * (1 / (x + t) - 1 / (1 + t))
            return value, value * by_t, -value * np.log((x + t) / (1 + t))

        rows = [e, *power(token, self.token, u[2], u[3])]
        a, t, exponent = power(concept, self.concept, u[6], u[7])
        rows += [a, concept * self.ratio, t, exponent, *power(data, self.data, u[9], u[10])]
        return np.stack(rows, axis=1) / (e + token + concept + data)[:, None]

    def starts(self, count, seed=0):
        random = np.random.default_rng(seed)
        level = np.exp(self.ln_loss.mean())
        for _ in range(count):
            shares = random.dirichlet([4, 1, 1, 1]) * level
            exponents = random.uniform(0.08, 1.2, 3)
            offsets = random.uniform(0.0, 1.5, 3)
            gamma = random.uniform(-0.2, 0.6)
            e, token, concept, data = np.log(shares)
            yield np.array(
                [e, token, offsets[0], exponents[0], concept, gamma, offsets[1], exponents[1]]
                + [data, offsets[2], exponents[2]]
            )


def gauss_newton(model, start, bounds=(-np.inf, np.inf)):
    return least_squares(
        model.residuals, start, model.jacobian, bounds=bounds, loss="huber", f_scale=DELTA,
        x_scale="jac", ftol=1e-15, xtol=1e-15, gtol=1e-15, max_nfev=2000,
    )


def report(name, began, objectives):
    best = min(objectives)
    reached = sum(value <= best * (1 + 1e-7) + 1e-24 for value in objectives)
    print(
        f"{name:<58} {time.perf_counter() - began:8.2f} s   objective {best:.13e}   "
        f"{reached}/{len(objectives)} starts",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("fits", help="folder with chinchilla_epoch.csv and dlcm_A_sigma*.csv")
    parser.add_argument("--bootstrap", type=int, default=4000)
    parser.add_argument("--lbfgs-starts", type=int, default=4500)
    options = parser.parse_args()

    path = os.path.join(options.fits, "chinchilla_epoch.csv")
    n, d, loss = columns(
        path, "n_params", "d_tokens", "loss", keep=lambda row: float(row["used"]) == 1
    )
    model = Chinchilla(n, d, loss)

    began = time.perf_counter()
    ends = [gauss_newton(model, start) for start in model.starts()]
    report("Chinchilla, trust-region Gauss-Newton", began, [huber(end.fun) for end in ends])
    point = min(ends, key=lambda end: end.cost).x

    if options.lbfgs_starts:
        random = np.random.default_rng(0)
        began, objectives = time.perf_counter(), []
        for _ in range(options.lbfgs_starts):
            start = random.uniform([-1, -4, -4, 0, 0], [1.5, 2, 2, 2, 2])
            end = minimize(model.objective, start, jac=True, method="L-BFGS-B")
            objectives.append(end.fun)
        report("Chinchilla, L-BFGS-B with exact gradients", began, objectives)

    if options.bootstrap:
        random = np.random.default_rng(0)
        began, draws = time.perf_counter(), []
        for _ in range(options.bootstrap):
            rows = random.integers(0, len(n), len(n))
            sample = Chinchilla(n[rows], d[rows], loss[rows])
            # The point fit, moved to the resample's own geometric means.
            shift_n = np.log(n[rows]).mean() - np.log(n).mean()
            shift_d = np.log(d[rows]).mean() - np.log(d).mean()
            start = point - np.array([0, point[3] * shift_n, point[4] * shift_d, 0, 0])
            draws.append(gauss_newton(sample, start).x)
        spread = np.std(np.array(draws), axis=0, ddof=1)
        print(
            f"{f'Chinchilla, {options.bootstrap} bootstrap refits':<58} "
            f"{time.perf_counter() - began:8.2f} s   standard errors alpha {spread[3]:.4f}, "
            f"beta {spread[4]:.4f}",
            flush=True,
        )

    for sigma in ("0", "0.002", "0.01"):
        path = os.path.join(options.fits, f"dlcm_A_sigma{sigma}.csv")
        data = columns(
            path, "n_params", "d_tokens", "r", "p", "loss",
            keep=lambda row: row["split"] != "test_1T",
        )
        model = Dlcm(*data)
        began = time.perf_counter()
        bounds = (Dlcm.lower, Dlcm.upper)
        ends = [gauss_newton(model, start, bounds) for start in model.starts(24)]
        report(f"Eq. 22, 540 rows, sigma {sigma}", began, [huber(end.fun) for end in ends])


if __name__ == "__main__":
    main()
