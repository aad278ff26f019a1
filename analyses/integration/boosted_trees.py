"""The honest scan on scores of somebody else's classifiers: xgboost and scikit-learn, from pandas.

    python analyses/integration/boosted_trees.py           # pip install xgboost scikit-learn

`ScoredEvents` takes plain arrays: out-of-fold score, weight in expected events, process and fold of each event. The cut of
each fold is chosen on the other folds; the significance is that of the events that pass in the folds that did not choose.

Boosted trees of the package, with a significance loss, reports and exports, are `training: {classifier: boosted_trees}` in an
analysis file.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from xgboost import XGBClassifier

from zsig_hep import Analysis, Pipeline, ScoredEvents, WorkingPointSettings, hold_out_working_point

PROCESSES = {"vbf": "signal", "ggf": "signal", "dy": "background", "ttbar": "background"}
CLASSIFIERS = {
    "xgboost": XGBClassifier(n_estimators=60, max_depth=3, learning_rate=0.2, n_jobs=1, random_state=1),
    "scikit-learn": HistGradientBoostingClassifier(max_iter=60, max_depth=3, learning_rate=0.2, random_state=1),
}


def hmumu_frame() -> pd.DataFrame:
    """Stands for your DataFrame: features, `process`, and `weight`, which adds up to the expected events."""
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(Analysis.from_file(Path(__file__).parents[1] / "hmumu"), folder)
        pipeline.columns()
        table = pipeline.table
    frame = pd.DataFrame(table.features, columns=list(table.feature_names))
    return frame.assign(process=np.array(table.process_names)[table.process], weight=table.weight)


frame = hmumu_frame()
features = frame.drop(columns=["process", "weight"])
is_signal = frame["process"].map(PROCESSES) == "signal"
# Trees are grown on classes of equal weight; the scan below has the expected events.
balanced = frame["weight"] / frame.groupby(is_signal)["weight"].transform("sum") * len(frame) / 2

splits = list(StratifiedKFold(3, shuffle=True, random_state=1).split(features, frame["process"]))
fold = np.empty(len(frame), dtype=int)
for number, (_, test) in enumerate(splits):
    fold[test] = number

for name, classifier in CLASSIFIERS.items():
    score = np.empty(len(frame))
    for train, test in splits:
        classifier.fit(features.iloc[train], is_signal.iloc[train], sample_weight=balanced.iloc[train])
        score[test] = classifier.predict_proba(features.iloc[test])[:, 1]
    events = ScoredEvents.from_arrays(
        score,
        frame["weight"],
        frame["process"].map(list(PROCESSES).index),
        names=list(PROCESSES),
        roles=list(PROCESSES.values()),
        fold=fold,
        fold_count=len(splits),
    )
    point = hold_out_working_point(events, WorkingPointSettings())
    print(
        f"{name:12} Z = {point.significance:.2f} +- {point.significance_uncertainty:.2f} with "
        f"{point.signal.value:.1f} signal and {point.background.value:.1f} background events, "
        f"{point.optimism:+.2f} if quoted on the events that chose the cut"
    )
