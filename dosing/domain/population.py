"""Population model as data, the estimate of one patient's parameters from levels, and the doses that reach a target.

A parameter set is data with its source and status; nothing here knows a value of any drug. An estimate is advice to a
prescriber, never precise: with few samples it is mainly the population's value, which its shrinkage tells.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dosing.domain.arguments import Floats, numbers, real, refuse_rows
from dosing.domain.pharmacokinetics import Infusion, Parameters, listed_infusions, simulate
from dosing.domain.target_doses import TargetDoses, doses_to_target

__all__ = ["Estimate", "PopulationModel", "TargetDoses", "doses_to_target", "map_estimate"]

PARAMETER_NAMES = tuple(field.name for field in fields(Parameters))
DESCRIPTIONS = ("id", "model_id", "title", "source", "units", "approved_by")
SHRINKAGE_LIMIT = 0.30

# Distance in eta between neighbouring simulations: its square, the relative error of a slope, is far below 1e-4, and
# simulations that share every step differ by the parameters alone.
_STENCIL = 1e-3
# Tolerance of the simulations and length of a step that ends the search: roughly there first, then exactly, where two
# digits beyond a simulation's own default make neighbouring objectives comparable.
_PHASES = ((1e-5, 1e-2), (1e-10, 1e-7))
_MAX_ROUNDS = 100
# No step is longer than this in any eta, so that no simulation meets absurd parameters on the way.
_LONGEST_STEP = 1.0


@dataclass(frozen=True)
class PowerTerm:
    """A covariate's factor (value / reference) ** exponent on a parameter."""

    covariate: str
    reference: float
    exponent: float


@dataclass(frozen=True)
class ParameterModel:
    """One parameter of the population: typical value, covariate terms, variance of its log-normal random effect."""

    name: str
    typical: float
    terms: tuple[PowerTerm, ...]
    omega2: float


@dataclass(frozen=True)
class PopulationModel:
    """A population model read from a parameter set.

    ``status`` is the set's own words; ``is_verified`` is True only for the status "verified": no dose may be proposed
    from any other. The residual variance of a level predicted as f is ``proportional_variance`` f² +
    ``additive_variance``.
    """

    parameters: tuple[ParameterModel, ...]
    proportional_variance: float
    additive_variance: float
    status: str
    descriptions: Mapping[str, Any]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PopulationModel":
        """Read a parameter set. Raises ValueError naming the place that is missing, unknown or out of range."""
        _keys("the parameter set", data, required=("parameters", "residual", "status"), optional=DESCRIPTIONS)
        _keys("parameters", data["parameters"], required=PARAMETER_NAMES)
        _keys("residual", data["residual"], required=("proportional_variance", "additive_variance"))
        residual = {name: _at_least(0.0, f"residual.{name}", value) for name, value in data["residual"].items()}
        if not any(residual.values()):
            raise ValueError("residual: proportional_variance and additive_variance cannot both be 0")
        status = data["status"]
        if not isinstance(status, str) or not status.strip():
            raise ValueError(f"status must say in words what the set may be used for, got {status!r}")
        return cls(
            parameters=tuple(_parameter_model(name, data["parameters"][name]) for name in PARAMETER_NAMES),
            status=status,
            descriptions=MappingProxyType({key: data[key] for key in DESCRIPTIONS if key in data}),
            **residual,
        )

    @property
    def is_verified(self) -> bool:
        return self.status.strip().lower() == "verified"

    @property
    def source(self) -> str | None:
        """Where the values come from; None when the set does not say."""
        return self.descriptions.get("source")

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates the model needs, with their units, in order of first use."""
        return tuple(dict.fromkeys(term.covariate for model in self.parameters for term in model.terms))

    @property
    def random_effects(self) -> Mapping[str, float]:
        """Variance omega² of each parameter that varies between patients, by name."""
        return {model.name: model.omega2 for model in self.parameters if model.omega2 > 0}

    def individual(
        self, covariates: Mapping[str, float], etas: Mapping[str, float | Floats] | None = None
    ) -> Parameters:
        """Parameters of a patient: typical value x covariate factors x exp(eta).

        Etas left out are 0; (n,) arrays of them make n patients.
        Raises ValueError naming a covariate that is missing or not above 0, or an eta that the model does not have.
        """
        values = self.checked(covariates)
        effects = dict(etas or {})
        if strangers := sorted(set(effects) - set(self.random_effects)):
            raise ValueError(f"etas: the model has no random effect on {', '.join(strangers)}")
        individual: dict[str, float | Floats] = {}
        for model in self.parameters:
            value = model.typical
            for term in model.terms:
                value *= (values[term.covariate] / term.reference) ** term.exponent
            individual[model.name] = value * np.exp(effects.get(model.name, 0.0))
        return Parameters(**individual)

    def individuals(
        self, covariates: Mapping[str, ArrayLike], etas: Mapping[str, float | Floats] | None = None
    ) -> Parameters:
        """Parameters of n patients who differ in their covariates too, (n,) arrays of each.

        Raises ValueError naming a covariate that is missing, or the row where it is not above 0.
        """
        effects = dict(etas or {})
        if strangers := sorted(set(effects) - set(self.random_effects)):
            raise ValueError(f"etas: the model has no random effect on {', '.join(strangers)}")
        values = {}
        for name in self.covariates:
            if name not in covariates:
                raise ValueError(f"covariates: {name} is missing; the model needs {', '.join(self.covariates)}")
            values[name] = numbers(f"covariates: {name}", covariates[name])
            refuse_rows(f"covariates: {name}", values[name], values[name] <= 0, "must be above 0")
        individual: dict[str, float | Floats] = {}
        for model in self.parameters:
            value: float | Floats = model.typical
            for term in model.terms:
                value = value * (values[term.covariate] / term.reference) ** term.exponent
            individual[model.name] = value * np.exp(effects.get(model.name, 0.0))
        return Parameters(**individual)

    def checked(self, covariates: Mapping[str, float]) -> dict[str, float]:
        """The covariates the model needs, no others. Raises ValueError naming one that is missing or not above 0."""
        if not isinstance(covariates, Mapping):
            raise ValueError(f"covariates must be a mapping of name to value, got {covariates!r}")
        values = {}
        for name in self.covariates:
            if covariates.get(name) is None:
                raise ValueError(f"covariates: {name} is missing; the model needs {', '.join(self.covariates)}")
            values[name] = _above(0.0, f"covariates: {name}", covariates[name])
        return values


@dataclass(frozen=True, eq=False)
class Estimate:
    """Maximum a posteriori estimate of one patient's parameters.

    ``etas`` and ``shrinkage`` (posterior variance / omega²) go by parameter name; ``covariance`` is that of the etas
    in their order: the inverse of half the objective's second derivative at the estimate. Where a level contradicts the
    population, that curvature can be weaker than the prior's and the shrinkage above 1. ``predicted`` are the
    concentrations at the sample times, ``covariates`` those used; ``status`` is the parameter set's.
    """

    etas: Mapping[str, float]
    parameters: Parameters
    objective: float
    covariance: Floats
    shrinkage: Mapping[str, float]
    predicted: Floats
    samples: int
    rounds: int
    covariates: Mapping[str, float]
    status: str
    method: str = "maximum a posteriori, Laplace covariance; samples below quantification excluded"

    @property
    def mainly_population(self) -> tuple[str, ...]:
        """Parameters whose shrinkage is above 30 %: the samples said little about them."""
        return tuple(name for name, value in self.shrinkage.items() if value > SHRINKAGE_LIMIT)


def map_estimate(
    model: PopulationModel,
    *,
    covariates: Mapping[str, float],
    infusions: Sequence[Infusion],
    times_day: ArrayLike,
    concentrations: ArrayLike,
) -> Estimate:
    """Random effects of one patient that minimise sum(log v + (y - f)² / v) + eta' Omega^-1 eta.

    f is the predicted concentration, v = proportional_variance f² + additive_variance its residual variance; there is
    no constant.

    Parameters
    ----------
    covariates : those the model names, in the unit of their name
    infusions : of this patient, with numbers as amounts
    times_day, concentrations : (m,) samples in any order, days and amount/L. A sample below the limit of quantification
        is to be left out, never given as 0.

    Raises
    ------
    ValueError
        naming the covariate, argument and row that is wrong, or when the estimate does not settle.
    """
    names, omega2 = tuple(model.random_effects), np.array(list(model.random_effects.values()))
    if not names:
        raise ValueError("model: no parameter has an omega2, so there is nothing to estimate")
    days, levels = _samples(times_day, concentrations)
    course = _own_infusions(infusions)
    used = model.checked(covariates)

    offsets = _stencil(len(names))

    def terrain(etas: Floats, rtol: float) -> _Terrain:
        own = model.individual(used, dict(zip(names, (etas + offsets).T, strict=True)))
        return _Terrain.around(etas, simulate(own, course, days, rtol=rtol), model, levels, omega2)

    etas, rounds = np.zeros(len(names)), 0
    for rtol, settled in _PHASES:
        here, damping = terrain(etas, rtol), 0.0
        refuse_rows(
            "times_day",
            days,
            _variance(model, here.predicted) <= 0,
            "has a predicted concentration of 0, which a purely proportional error cannot explain; "
            "leave out samples before the first infusion",
        )
        while not here.is_settled(settled):
            rounds += 1
            if rounds > _MAX_ROUNDS:
                raise ValueError(
                    f"concentrations: the estimate did not settle in {_MAX_ROUNDS} rounds; "
                    "check levels, times and amounts"
                )
            there = terrain(here.etas + here.step(damping), rtol)
            # Equality within rounding is progress: the last step gains nothing that can be seen.
            if there.objective <= here.objective + 1e-9 * (1.0 + abs(here.objective)):
                here, damping = there, 0.0 if damping < 1e-3 else damping / 10
            else:
                damping = max(1e-2, 10 * damping)
        etas = here.etas
    return _estimate(model, names, omega2, here, used, rounds)


@dataclass(frozen=True, eq=False)
class _Terrain:
    """The objective around one point: its value, gradient, second derivative, and the expected second derivative."""

    etas: Floats
    predicted: Floats
    objective: float
    gradient: Floats
    curvature: Floats
    expected_curvature: Floats

    @classmethod
    def around(
        cls, etas: Floats, stencil_values: Floats, model: PopulationModel, levels: Floats, omega2: Floats
    ) -> "_Terrain":
        f, slope, bend = _derivatives(stencil_values, etas.size)
        # A point tried too far out may overflow; its objective is then not finite, and it is not taken.
        with np.errstate(all="ignore"):
            return cls._at(etas, f, slope, bend, model, levels, omega2)

    @classmethod
    def _at(
        cls,
        etas: Floats,
        f: Floats,
        slope: Floats,
        bend: Floats,
        model: PopulationModel,
        levels: Floats,
        omega2: Floats,
    ) -> "_Terrain":
        v, v1, v2 = _variance(model, f), 2.0 * model.proportional_variance * f, 2.0 * model.proportional_variance
        r = levels - f
        # First, second and expected second derivative of log v + r^2 / v by f.
        first = v1 / v - 2.0 * r / v - r**2 * v1 / v**2
        second = (v2 + 2.0) / v - (v1 / v) ** 2 + 4.0 * r * v1 / v**2 - r**2 * v2 / v**2 + 2.0 * r**2 * v1**2 / v**3
        expected = 2.0 / v + (v1 / v) ** 2
        prior = np.diag(2.0 / omega2)
        return cls(
            etas=etas,
            predicted=f,
            objective=float(np.sum(np.log(v) + r**2 / v) + np.sum(etas**2 / omega2)),
            gradient=slope @ first + 2.0 * etas / omega2,
            curvature=(slope * second) @ slope.T + bend @ first + prior,
            expected_curvature=(slope * expected) @ slope.T + prior,
        )

    def is_settled(self, settled: float) -> bool:
        return self.is_convex and bool(np.abs(self.step(0.0)).max() < settled)

    @property
    def is_convex(self) -> bool:
        return bool(np.linalg.eigvalsh(self.curvature)[0] > 0)

    def step(self, damping: float) -> Floats:
        """Newton's step, or Fisher's where the objective is not convex; damped, and no longer than _LONGEST_STEP."""
        curvature = self.curvature if self.is_convex else self.expected_curvature
        damped = curvature + damping * np.diag(np.diag(self.expected_curvature))
        step = -np.asarray(np.linalg.solve(damped, self.gradient), dtype=np.float64)
        return step * min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), 1e-300))


def _estimate(
    model: PopulationModel,
    names: tuple[str, ...],
    omega2: Floats,
    at: _Terrain,
    covariates: Mapping[str, float],
    rounds: int,
) -> Estimate:
    covariance = np.asarray(2.0 * np.linalg.inv(at.curvature), dtype=np.float64)
    etas = dict(zip(names, at.etas.tolist(), strict=True))
    return Estimate(
        etas=MappingProxyType(etas),
        parameters=model.individual(covariates, etas),
        objective=at.objective,
        covariance=covariance,
        shrinkage=MappingProxyType(dict(zip(names, (np.diag(covariance) / omega2).tolist(), strict=True))),
        predicted=at.predicted,
        samples=at.predicted.size,
        rounds=rounds,
        covariates=MappingProxyType(dict(covariates)),
        status=model.status,
    )


def _variance(model: PopulationModel, concentration: Floats) -> Floats:
    variance: Floats = model.proportional_variance * concentration**2 + model.additive_variance
    return variance


def _stencil(k: int) -> Floats:
    """Points around 0: the middle, a step up and down each axis, then up and down each diagonal of two axes."""
    axes = _STENCIL * np.eye(k)
    diagonals = [axes[i] + axes[j] for i in range(k) for j in range(i)]
    return np.array([np.zeros(k), *axes, *-axes, *diagonals, *(-diagonal for diagonal in diagonals)])


def _derivatives(values: Floats, k: int) -> tuple[Floats, Floats, Floats]:
    """Value (m,), first (k, m) and second (k, k, m) derivatives from values (points, m) on the stencil of k axes."""
    middle, up, down = values[0], values[1 : k + 1], values[k + 1 : 2 * k + 1]
    diagonal_up, diagonal_down = np.split(values[2 * k + 1 :], 2)
    slope = (up - down) / (2.0 * _STENCIL)
    bend = np.empty((k, k, middle.size))
    straight = up + down - 2.0 * middle
    pairs = [(i, j) for i in range(k) for j in range(i)]
    for i in range(k):
        bend[i, i] = straight[i] / _STENCIL**2
    for row, (i, j) in enumerate(pairs):
        along = diagonal_up[row] + diagonal_down[row] - 2.0 * middle
        bend[i, j] = bend[j, i] = (along - straight[i] - straight[j]) / (2.0 * _STENCIL**2)
    return middle, slope, bend


def _samples(times_day: ArrayLike, concentrations: ArrayLike) -> tuple[Floats, Floats]:
    days, levels = numbers("times_day", times_day), numbers("concentrations", concentrations)
    if days.ndim != 1 or days.shape != levels.shape:
        raise ValueError(
            f"times_day and concentrations must be arrays of one length, got {days.shape} and {levels.shape}"
        )
    refuse_rows(
        "concentrations", levels, levels <= 0, "must be above 0; leave out a sample below the limit of quantification"
    )
    return days, levels


def _own_infusions(infusions: Iterable[Infusion]) -> list[Infusion]:
    course = listed_infusions("infusions", infusions)
    for row, infusion in enumerate(course):
        if np.ndim(infusion.amount) != 0:
            raise ValueError(f"infusions row {row}: amount must be one number, the patient's own")
    return course


def _parameter_model(name: str, data: Any) -> ParameterModel:
    place = f"parameters.{name}"
    _keys(place, data, required=("typical",), optional=None)
    terms = []
    for key, value in data.items():
        if key in ("typical", "omega2"):
            continue
        if not isinstance(value, Mapping):
            raise ValueError(
                f"{place}: unknown key {key!r}; known are typical, omega2, "
                "and covariates, each with its reference and exponent"
            )
        _keys(f"{place}.{key}", value, required=("reference", "exponent"))
        reference = _above(0.0, f"{place}.{key}.reference", value["reference"])
        terms.append(PowerTerm(key, reference, real(f"{place}.{key}.exponent", value["exponent"])))
    typical = real(f"{place}.typical", data["typical"])
    may_be_zero = name in ("cl", "q", "vmax")
    if typical < 0 or (typical == 0 and not may_be_zero):
        raise ValueError(f"{place}.typical = {typical} must be {'0 or above' if may_be_zero else 'above 0'}")
    return ParameterModel(name, typical, tuple(terms), _at_least(0.0, f"{place}.omega2", data.get("omega2", 0.0)))


def _keys(place: str, data: Any, *, required: Sequence[str], optional: Sequence[str] | None = ()) -> None:
    """Refuse what is no mapping, a missing key, and an unknown key (``optional=None``: the caller judges these)."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{place} must be a mapping, got {data!r}")
    if missing := [key for key in required if key not in data]:
        raise ValueError(f"{place}: {', '.join(missing)} is missing")
    if not all(isinstance(key, str) for key in data):
        raise ValueError(f"{place}: every key must be a name, got {list(data)!r}")
    if optional is None:
        return
    if unknown := sorted(set(data) - {*required, *optional}):
        raise ValueError(f"{place}: unknown key {', '.join(unknown)}; known are {', '.join([*required, *optional])}")


def _above(bound: float, name: str, value: Any) -> float:
    if not (checked := real(name, value)) > bound:
        raise ValueError(f"{name} = {checked} must be above {bound:g}")
    return checked


def _at_least(bound: float, name: str, value: Any) -> float:
    if (checked := real(name, value)) < bound:
        raise ValueError(f"{name} = {checked} must be {bound:g} or above")
    return checked
