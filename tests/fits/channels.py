"""A small fit with two channels, three processes and a variation of every kind."""

from dataclasses import replace

import numpy as np

from zsig_hep.fits import ChannelTemplates, FitTemplates, Template

PROCESSES = ("higgs", "dy", "top")
ROLES = ("signal", "background", "background")
KINDS = {"luminosity": "luminosity", "dy_rate": "normalisation", "jes": "shape", "isr": "weight"}


def template(*values, relative=0.05):
    contents = np.array(values, dtype=float)
    return Template(contents, (relative * contents) ** 2)


def scaled(nominal, up, down):
    return tuple(Template(nominal.values * factor, nominal.variances * factor**2) for factor in (up, down))


def make_fit(*, data=False, luminosity=(1.017, 0.983)):
    low = {"higgs": template(2.0, 3.0, 5.0), "dy": template(400.0, 200.0, 50.0), "top": template(30.0, 20.0, 10.0)}
    high = {"higgs": template(6.0), "dy": template(12.0)}
    channels = []
    for name, edges, nominal, counts in (
        ("low", [0.0, 0.2, 0.5, 0.8], low, [420, 230, 66]),
        ("high", [0.8, 1.0], high, [21]),
    ):
        dy = nominal["dy"].values
        varied = {
            "luminosity": {process: scaled(each, *luminosity) for process, each in nominal.items()},
            "dy_rate": {"dy": scaled(nominal["dy"], 1.1, 0.92)},
            "jes": {
                "dy": (
                    template(*(dy * np.linspace(1.2, 0.95, dy.size))),
                    template(*(dy * np.linspace(0.85, 1.04, dy.size))),
                )
            },
        }
        if name == "low":
            varied["jes"]["higgs"] = (template(2.5, 3.1, 4.5), template(1.6, 2.9, 5.2))
            varied["isr"] = {"top": (template(33.0, 20.0, 9.0), template(27.0, 20.0, 11.0))}
        observed = np.array(counts, dtype=float) if data else None
        channels.append(ChannelTemplates(name, "score", np.array(edges), nominal, varied, observed))
    return FitTemplates(tuple(channels), PROCESSES, ROLES, ("H", "Z", "t"), KINDS, 140.0, ("a note",))


def with_uncertainties(fit, *, top=0.3, common=0.1):
    """The fit with an uncertainty of one background and one of all."""
    uncertainties = {
        "background_uncertainty_top": {"top": top},
        "background_uncertainty": dict.fromkeys(fit.backgrounds, common),
    }
    return replace(fit, uncertainties=uncertainties)


def single_bin(signal, background, relative):
    """One bin with a relative background uncertainty: as normalisation and as that of the simulation."""
    nominal = {"higgs": template(signal, relative=0.0), "dy": template(background, relative=relative)}
    varied = {"dy_rate": {"dy": scaled(nominal["dy"], 1 + relative, 1 - relative)}} if relative else {}
    channel = ChannelTemplates("sr", "events", np.array([0.0, 1.0]), nominal, varied, None)
    return FitTemplates((channel,), PROCESSES[:2], ROLES[:2], ("H", "Z"), dict.fromkeys(varied, "normalisation"), 140.0)
