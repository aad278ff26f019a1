"""Which hard processes are showered: probabilities in (0, 1], and what each of the guesses prefers."""

import math

import pytest
from generator.processes import PROCESSES
from generator.thinning import (
    THINNINGS,
    HardParticle,
    charged_leptons,
    delta_r,
    hmumu_top_pair,
    leptoquark_bulk,
    leptoquark_tail,
    missing_pt,
    pair_mass,
)
from hypothesis import given
from hypothesis import strategies as st


def muon(pt: float, eta: float, phi: float) -> HardParticle:
    return HardParticle(13, pt, eta, phi)


def tau(pt: float, eta: float, phi: float) -> HardParticle:
    return HardParticle(15, pt, eta, phi)


def quark(pt: float, eta: float, phi: float) -> HardParticle:
    return HardParticle(5, pt, eta, phi)


def neutrino(pt: float, phi: float) -> HardParticle:
    return HardParticle(14, pt, 0.0, phi)


FORWARD = [quark(60.0, 3.0, 1.0), quark(50.0, -3.0, -1.0)]
PAIR = [muon(65.0, 0.0, 0.0), muon(65.0, 0.0, math.pi)]  # 130 GeV


def test_kinematics() -> None:
    assert pair_mass(*PAIR) == pytest.approx(130.0)
    assert delta_r(muon(1, 0, 3.1), muon(1, 0, -3.1)) == pytest.approx(2 * math.pi - 6.2)
    assert missing_pt([*PAIR, neutrino(30.0, 0.0), neutrino(40.0, math.pi / 2)]) == pytest.approx(50.0)
    assert [lepton.pt for lepton in charged_leptons([quark(9, 0, 0), muon(20, 0, 0), tau(30, 0, 0)])] == [30, 20]


class TestTopPairsOfHmumu:
    def test_what_certainly_can_pass_is_certainly_showered(self) -> None:
        assert hmumu_top_pair([*PAIR, *FORWARD]) == 1.0

    @pytest.mark.parametrize(
        ("particles", "expected"),
        [
            ([*PAIR, quark(60, 0, 0), FORWARD[1]], 0.5),
            ([*PAIR, quark(40, 0, 0), quark(60, 1, 1)], 0.35),
            ([*PAIR, quark(20, 0, 0), FORWARD[1]], 1.0),
            ([*PAIR, *FORWARD, neutrino(90, 0)], 0.6),
            ([*PAIR, *FORWARD, neutrino(120, 0)], 0.2),
            ([muon(90, 0, 0), muon(90, 0, math.pi), *FORWARD], 0.3),
            ([muon(20, 0, 0), muon(20, 0, math.pi), *FORWARD], 0.06),
            ([muon(90, 0, 0), tau(90, 0, math.pi), *FORWARD], 0.25),
            ([tau(90, 0, 0), tau(90, 0, math.pi), *FORWARD], 0.0375),
            ([muon(50, 0, 0), tau(50, 0, math.pi), *FORWARD], 0.05),
        ],
    )
    def test_factors(self, particles: list[HardParticle], expected: float) -> None:
        assert hmumu_top_pair(particles) == pytest.approx(expected)


class TestLeptoquark:
    hard = (muon(500, 0, 0), muon(400, 0, math.pi), quark(400, 1, 1.5), quark(300, -1, -1.5))

    def test_one_in_the_tail(self) -> None:
        assert leptoquark_tail(self.hard) == 1.0

    def test_the_third_power_of_the_scalar_sum(self) -> None:
        particles = [particle._replace(pt=particle.pt / 2) for particle in self.hard]
        assert leptoquark_tail(particles) == pytest.approx(0.125)
        assert leptoquark_bulk(particles) == 1.0

    def test_small_masses(self) -> None:
        near = [muon(500, 0, 0), muon(400, 0, 0.5), *self.hard[2:]]
        assert leptoquark_tail(near) == pytest.approx((pair_mass(*near[:2]) / 400) ** 1.5)
        nearer = [muon(500, 0, 0), muon(400, 0, 0.3), *self.hard[2:]]
        assert leptoquark_tail(nearer) == pytest.approx(0.1 * (pair_mass(*nearer[:2]) / 400) ** 1.5)

    def test_any_two_of_three_leptons(self) -> None:
        near = [muon(500, 0, 0), muon(400, 0, 0.3), muon(350, 0, math.pi), *self.hard[2:]]
        assert leptoquark_tail(near) == 1.0

    def test_muons_beside_quarks(self) -> None:
        assert leptoquark_tail([*self.hard[:3], quark(300, 0.2, 0.2)]) == pytest.approx(0.1)

    def test_taus(self) -> None:
        particles = [tau(500, 0, 0), *self.hard[1:]]
        assert leptoquark_tail(particles) == pytest.approx(0.25 * ((0.35 * 500 + 1100) / 1600) ** 3)


particle = st.builds(
    HardParticle,
    st.sampled_from([1, 5, 12, 13, 14, 15, 16, 21]),
    st.floats(0.1, 3000),
    st.floats(-6, 6),
    st.floats(-math.pi, math.pi),
)


@pytest.mark.parametrize("name", THINNINGS)
@given(others=st.lists(particle, max_size=8))
def test_probabilities(name: str, others: list[HardParticle]) -> None:
    """Never zero, which would lose a part of the cross section."""
    assert 0 < THINNINGS[name]([*PAIR, *others]) <= 1


def test_every_thinning_is_used() -> None:
    assert {process.thinning for process in PROCESSES.values()} - {None} == set(THINNINGS)
