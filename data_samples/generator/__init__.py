"""Simulation of NanoAOD-like ntuples: Pythia 8, anti-kt jets and a parametrised detector.

The modules follow the way of an event: `processes` (what collides), `simulation` (Pythia), `detector` (what is seen),
`weights` and `skims` (what it counts for and whether it is stored), `ntuple` and `files` (how it is written).
`production` makes one file of them, `sets` many. Only `simulation` and `detector` need pythia8mc and fastjet.
"""
