"""Likelihood ratios of events: what every optimal selection is made of, whatever figure of merit it maximises."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.representation import ShortRepr

Floats = npt.NDArray[np.float64]

# Probabilities of a softmax in float32 add up to one within 1e-6 of it.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class LikelihoodRatios(ShortRepr):
    """Ratios of the densities of all processes at each of N events, from classifiers that were not trained on them.

    With the densities p_s of the signal and p_b of the whole background, weighted by yields, and lambda_k p_k of its
    processes,

        logit = ln(p_s / p_b),    f_k = lambda_k p_k / sum_j lambda_j p_j,    r_v = p_v / p_b                (1)

    where p_v is the background under a variation, not normalised: a variation that only scales the background by 1.1 has
    r_v = 1.1.

    Attributes:
        logit: output of a cross entropy whose two classes have the same total weight, shape [N].
        composition: f_k, shape [N, B], rows add up to one.
        backgrounds: names of the B background processes.
        variations: r_v up and down, shape [N, V, 2].
        variation_names: V names.
        signal_composition: g_j, the same as f_k of the S signal processes, shape [N, S]; None where they are not told
            apart.
        signals: names of the S signal processes; empty without `signal_composition`.

    Example:
        >>> ratios = LikelihoodRatios.from_arrays(
        ...     [2.0, -1.0], [[0.9, 0.1], [0.3, 0.7]], {"jes": [1.0, 1.2]}, backgrounds=["dy", "top"])
        >>> ratios.variations[1]
        array([[1.2, 0.8]])
        >>> ratios
        LikelihoodRatios(2 events; backgrounds dy, top; variations jes)
    """

    logit: Floats
    composition: Floats
    backgrounds: tuple[str, ...]
    variations: Floats
    variation_names: tuple[str, ...] = ()
    signal_composition: Floats | None = None
    signals: tuple[str, ...] = ()

    @classmethod
    def from_arrays(
        cls,
        logit: npt.ArrayLike,
        composition: npt.ArrayLike | None,
        ratios: Mapping[str, npt.ArrayLike] | None = None,
        *,
        backgrounds: Sequence[str],
        signal_composition: npt.ArrayLike | None = None,
        signals: Sequence[str] = (),
    ) -> Self:
        """Check the outputs of any classifiers.

        Args:
            logit: shape [N].
            composition: shape [N, B]; None for a single background.
            ratios: r_v of each variation by name, up and down, shape [N, 2]; of shape [N] it is that of one direction, and
                the other is 2 - r_v, as in a histogram that is mirrored.
            backgrounds: names of the B background processes.
            signal_composition: shape [N, S].
            signals: names of the S signal processes.

        Raises:
            InputError: shapes differ, a number is not finite, or a composition is negative or does not add up to one.
        """
        logits = _finite("logit", logit)
        if logits.ndim != 1:
            message = f"Logits must be an array of one axis; found shape {logits.shape}."
            raise InputError(message)
        names = tuple(ratios or {})
        pairs = [_up_and_down(name, values, logits.size) for name, values in (ratios or {}).items()]
        shares = None
        if signal_composition is not None:
            shares = _shares("signal composition", signal_composition, logits.size, signals)
        return cls(
            logits,
            _shares("composition", composition, logits.size, backgrounds),
            tuple(backgrounds),
            np.stack(pairs, axis=1) if pairs else np.empty((logits.size, 0, 2)),
            names,
            shares,
            tuple(signals) if shares is not None else (),
        )

    def __len__(self) -> int:
        """Number of events."""
        return self.logit.size

    def __repr__(self) -> str:
        """Number of events and the names."""
        variations = f"; variations {', '.join(self.variation_names)}" if self.variation_names else ""
        return f"{type(self).__name__}({len(self)} events; backgrounds {', '.join(self.backgrounds)}{variations})"

    def select(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.integer] | slice) -> Self:
        """The ratios of some of the events."""
        shares = self.signal_composition
        return replace(
            self,
            logit=self.logit[chosen],
            composition=self.composition[chosen],
            variations=self.variations[chosen],
            signal_composition=None if shares is None else shares[chosen],
        )

    def followed_by(self, other: Self) -> Self:
        """These events and then those of another, with the same columns."""
        shares, more = self.signal_composition, other.signal_composition
        return replace(
            self,
            logit=np.concatenate([self.logit, other.logit]),
            composition=np.concatenate([self.composition, other.composition]),
            variations=np.concatenate([self.variations, other.variations]),
            signal_composition=None if shares is None or more is None else np.concatenate([shares, more]),
        )

    def only(self, names: Sequence[str]) -> Self:
        """The ratios with some of the variations."""
        columns = [self.variation_names.index(name) for name in names]
        return replace(self, variations=self.variations[:, columns], variation_names=tuple(names))

    @cached_property
    def odd_shifts(self) -> Floats:
        """Half the difference of up and down, (r_up - r_down) / 2, shape [N, V]."""
        return np.asarray((self.variations[..., 0] - self.variations[..., 1]) / 2)

    @cached_property
    def even_shifts(self) -> Floats:
        """What up and down have in common, (r_up + r_down) / 2 - 1, shape [N, V]; zero if they mirror each other."""
        return np.asarray((self.variations[..., 0] + self.variations[..., 1]) / 2 - 1)


def _up_and_down(name: str, values: npt.ArrayLike, events: int) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if found.shape not in {(events,), (events, 2)}:
        message = f"The ratio of variation '{name}' must have shape ({events},) or ({events}, 2); found {found.shape}."
        raise InputError(message)
    finite = np.isfinite(found)
    if not finite.all():
        first = int(np.argmin(finite.reshape(events, -1).all(axis=1)))
        message = (
            f"The ratio of variation '{name}' is {found[first]} in event {first} ({(~finite).sum()} such values). It is "
            "infinite where the nominal background is empty and the varied one is not: no weight of nominal events can "
            "describe that. Limit the ratio, or leave the variation out."
        )
        raise InputError(message)
    return np.stack([found, 2 - found], axis=-1) if found.ndim == 1 else found


def _shares(what: str, values: npt.ArrayLike | None, events: int, names: Sequence[str]) -> Floats:
    shares = np.ones((events, 1)) if values is None else _finite(what, values)
    if shares.shape != (events, len(names)):
        message = (
            f"The {what} must have shape ({events}, {len(names)}), one column for each of {', '.join(names)}; "
            f"found {shares.shape}."
        )
        raise InputError(message)
    sums = shares.sum(axis=1)
    wrong = (shares < 0).any(axis=1) | (np.abs(sums - 1) > _SUM_TOLERANCE)
    if wrong.any():
        first = int(np.argmax(wrong))
        message = (
            f"The {what} of event {first} is {shares[first].round(4).tolist()} ({wrong.sum()} such events); its shares must "
            "not be negative and must add up to one, as the outputs of a softmax do."
        )
        raise InputError(message)
    return shares


def _finite(what: str, values: npt.ArrayLike) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(found)
    if not finite.all():
        first = int(np.argmin(finite.reshape(len(found), -1).all(axis=1)))
        message = f"The {what} of event {first} is {found[first]} ({(~finite).sum()} such values); it must be finite."
        raise InputError(message)
    return found
