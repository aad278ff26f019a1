"""The toy of arXiv:2412.09500: its figures and numbers reproduced, with the limits they should be read against."""
