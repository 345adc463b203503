"""The BG/NBD model of repeat buying (Fader, Hardie & Lee 2005, Marketing Science 24(2), 275-284).

While alive, a customer buys at Poisson rate lambda ~ Gamma(r, rate alpha); after every repeat purchase
the customer is gone for good with probability p ~ Beta(a, b). x is the number of repeat purchases, t_x the
age at the last one (0 if none), T the age now (`age` in the code), all in one unit of time, counted from the
first purchase.

Written here to the paper: `lifetimes` has had no release since 2020, `btyd` stops at Python 3.9 and
`pymc-marketing` begins at 3.12 and brings PyMC.

**Later purchases.** Given the history of a customer alive at T, lambda ~ Gamma(r + x, alpha + T) and, apart from
it, p ~ Beta(a, b + x). Repeat purchases that end a life come at rate lambda * p, so life lasts a further gap g with
chance exp(-lambda p g), and then a purchase falls into the next h with 1 - exp(-lambda h). With s = alpha + T, the
mean over lambda is, for a given p,

    (s / (s + p g))^(r + x) - (s / (s + p g + h))^(r + x)

and the mean over p a Gauss-Jacobi sum. For g = 0 no p is left and
P(no purchase) = 1 - P(alive) * (1 - (s / (s + h))^(r + x)).

**How many purchases.** The expected number in the next h (equation 10 of the paper) is P(alive) times the mean over p
of (1 - (s / (s + p h))^(r + x)) / p, for which the paper has a closed form with a hypergeometric function.

**Who is seen.** A churn dataset holds only customers with a purchase in the last `active` days; fitting the plain
likelihood to them would take all for loyal. So each customer's likelihood is divided by the chance of being
in the dataset at this age T: 1 for T <= active, else a purchase in (T - active, T], which is the formula above from
x = 0, age 0, g = T - active, h = active. Whether a customer is in depends on the history alone, so given that
history the predictions need no correction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

from feature_repo.bg_nbd import Array, BgNbd, alive_probability

_NODES = 24
_NEAR_ONE = 1e-4
# exp(-7) to exp(7), in units of the mean age: wider is flat in likelihood and only breaks the quadrature.
_WIDEST = 7.0
_STARTS = ((0.0, 0.0, 0.0, 0.0), (-1.0, -1.0, -1.0, 1.0), (1.0, 1.0, -1.0, 2.0))


def log_likelihood(model: BgNbd, x: Array, t_x: Array, age: Array) -> Array:
    """Log-likelihood of each history, shape (customers,); equation 6 of the paper."""
    r, alpha, a, b = model.r, model.alpha, model.a, model.b
    common = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
    gone = betaln(a + 1.0, b + np.maximum(x, 1.0) - 1.0) - betaln(a, b) - (r + x) * np.log(alpha + t_x)
    return np.asarray(common + np.where(x > 0, np.logaddexp(alive, gone), alive))


def no_purchase_probability(model: BgNbd, x: Array, t_x: Array, age: Array, horizon: float, gap: float = 0.0) -> Array:
    """Chance of no purchase in (age + gap, age + gap + horizon], shape (customers,)."""
    bought = np.empty(len(x))
    for repeats in np.unique(x):  # p's distribution, and so the nodes, depend on x alone
        rows = x == repeats
        bought[rows] = _purchase_if_alive(model, float(repeats), age[rows], np.full(rows.sum(), gap), horizon)
    return np.asarray(1.0 - alive_probability(model, x, t_x, age) * bought)


def _purchase_if_alive(model: BgNbd, x: float, age: Array, gap: Array, horizon: float) -> Array:
    """Chance of a purchase in (age + gap, age + gap + horizon] of customers alive at age, each with x repeats."""
    s = (model.alpha + age)[:, None]
    power = model.r + x
    if not gap.any():
        return np.asarray(-np.expm1(power * np.log(s / (s + horizon))))[:, 0]
    nodes, weights = beta_nodes(model.a, model.b + x)
    lost = gap[:, None] * nodes
    chances = np.exp(power * np.log(s / (s + lost))) - np.exp(power * np.log(s / (s + lost + horizon)))
    return np.asarray(chances @ weights)


def expected_purchases(model: BgNbd, x: Array, t_x: Array, age: Array, horizon: float, gap: float = 0.0) -> Array:
    """Expected number of purchases in (age + gap, age + gap + horizon], shape (customers,); equation 10."""
    alive = alive_probability(model, x, t_x, age)
    until = _purchases_if_alive(model, x, age, gap + horizon)
    before = _purchases_if_alive(model, x, age, gap) if gap > 0.0 else 0.0
    return np.asarray(alive * (until - before))


def _purchases_if_alive(model: BgNbd, x: Array, age: Array, span: float) -> Array:
    """Expected purchases in (age, age + span] of customers alive at age; a Gauss sum where the closed form fails.

    It fails at a = 1, where it is 0/0, and where the hypergeometric function overflows or its series has not converged.
    No customer can be expected to buy oftener than at their expected rate without ever leaving.
    """
    r, a, b = model.r, model.a, model.b
    s = model.alpha + age
    most = (r + x) / s * span
    with np.errstate(all="ignore"):
        tail = np.exp((r + x) * np.log(s / (s + span))) * hyp2f1(r + x, b + x, a + b + x - 1.0, span / (s + span))
        result = np.asarray((a + b + x - 1.0) / (a - 1.0) * (1.0 - tail))
        failed = ~(np.isfinite(result) & (result >= 0.0) & (result <= most)) | (abs(a - 1.0) < _NEAR_ONE)
    for repeats in np.unique(x[failed]):
        rows = failed & (x == repeats)
        nodes, weights = beta_nodes(a, b + float(repeats))
        powers = (r + repeats) * np.log1p(nodes * span / s[rows][:, None])
        result[rows] = (-np.expm1(-powers) / nodes) @ weights
    return result


def simulate_purchases(
    model: BgNbd, x: Array, t_x: Array, age: Array, horizon: float, gap: float, draws: int, seed: int
) -> NDArray[np.int64]:
    """Numbers of purchases in (age + gap, age + gap + horizon] drawn from the posterior, shape (customers, draws)."""
    generator = np.random.default_rng(seed)
    shape = (len(x), draws)
    counts = np.zeros(shape, dtype=np.int64)
    rates = generator.gamma((model.r + x)[:, None], 1.0 / (model.alpha + age)[:, None], shape).ravel()
    leaving = generator.beta(model.a, (model.b + x)[:, None], shape).ravel()
    alive = generator.random(shape) < alive_probability(model, x, t_x, age)[:, None]
    going, clock, flat = np.flatnonzero(alive), np.zeros(len(x) * draws), counts.ravel()
    while len(going):
        clock[going] += generator.exponential(1.0, len(going)) / np.maximum(rates[going], 1e-300)
        going = going[clock[going] <= gap + horizon]
        flat[going] += clock[going] > gap
        going = going[generator.random(len(going)) >= leaving[going]]
    return counts


def beta_nodes(a: float, b: float) -> tuple[Array, Array]:
    """Nodes in (0, 1) and weights, summing to 1, of a Gauss sum that takes means over Beta(a, b).

    Golub & Welsch 1969 with the recurrence of Jacobi's polynomials on [-1, 1], weight
    (1 - u)^(b - 1) (1 + u)^(a - 1), at u = 2 p - 1. SciPy's `roots_jacobi` overflows for large b.
    """
    left, right = b - 1.0, a - 1.0
    k = np.arange(1, _NODES)
    twice = 2.0 * k + left + right
    diagonal = np.empty(_NODES)
    diagonal[0] = (right - left) / (left + right + 2.0)
    diagonal[1:] = (right - left) * (right + left) / (twice * (twice + 2.0))
    squares = np.empty(_NODES - 1)
    # Apart from the rest, since here a factor 1 + left + right, 0 for a + b = 1, cancels.
    squares[0] = 4.0 * (1.0 + left) * (1.0 + right) / (twice[0] ** 2 * (twice[0] + 1.0))
    k, twice = k[1:], twice[1:]
    squares[1:] = 4.0 * k * (k + left) * (k + right) * (k + left + right) / (twice**2 * (twice**2 - 1.0))
    roots, vectors = eigh_tridiagonal(diagonal, np.sqrt(squares))
    return np.asarray((1.0 + roots) / 2.0), np.asarray(vectors[0] ** 2)


def seen_log_probability(model: BgNbd, age: Array, active: float) -> Array:
    """Log-chance that a customer of age age bought in the last `active`: who is in the dataset at all."""
    old = age > active
    result = np.zeros(len(age))
    if old.any():
        chances = _purchase_if_alive(model, 0.0, np.zeros(old.sum()), age[old] - active, active)
        result[old] = np.log(np.maximum(chances, 1e-300))
    return result


def fit(x: Array, t_x: Array, age: Array, active: float | None = None) -> BgNbd:
    """Maximum likelihood over customers, each given a purchase in the last `active` (None: no such condition).

    Raises:
        ValueError: no customers, or no finite maximum was found.
    """
    if len(x) == 0:
        raise ValueError("BG/NBD needs customers to fit")
    # In units of the mean age all parameters are of order one.
    unit = max(float(np.mean(age)), 1e-9)

    def loss(logarithms: Array) -> float:
        model = BgNbd(*np.exp(logarithms).tolist())
        values = log_likelihood(model, x, t_x / unit, age / unit)
        if active is not None:
            values = values - seen_log_probability(model, age / unit, active / unit)
        mean = float(np.mean(values))
        return -mean if np.isfinite(mean) else 1e6

    runs = [minimize(loss, start, method="L-BFGS-B", bounds=[(-_WIDEST, _WIDEST)] * 4) for start in _STARTS]
    best = min(runs, key=lambda run: float(run.fun))
    if not best.fun < 1e6:
        raise ValueError("BG/NBD found no finite likelihood")
    r, alpha, a, b = np.exp(best.x).tolist()
    return BgNbd(r, alpha * unit, a, b)
