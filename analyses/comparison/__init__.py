"""Every loss, model and optimiser compared on toys and on simulated searches, at equal budget.

    python -m analyses.comparison --output output/comparison
    python -m analyses.comparison --output output/comparison --tables

A result is one line of `results.jsonl` in the output folder; results that are there are not computed again.

*Samples.* The Gaussian toys of `analyses.toys` and the searches `analyses/hmumu` and `analyses/leptoquark`, without
systematic uncertainties and with them. A seed is an independent data set of 20 000 events per process for a toy, and
another assignment of the events to folds for a search.

*Equal budget.* For each sample, model and seed one network is trained with weighted cross entropy and Adam. Every loss and
optimiser goes on from there for the same number of epochs with the same batch size; losses that are trained in rounds divide
these epochs among the rounds. The epoch with the best validation loss of the method itself is kept; the start is a candidate.

*Choices.* The step size is one of three per optimiser. It is chosen for the first seed by the method's own validation loss, or
by the figure of merit of the validation events for a loss with rounds. No number of the tables is used.

*Judged.* Toys by quadrature (`samples`), without test events and so without their noise; searches by out-of-fold scores
with cuts chosen on other folds.
"""
