"""The family of scores that holds the optimum of every figure of merit, and its search."""
