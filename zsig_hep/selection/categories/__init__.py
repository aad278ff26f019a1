"""Score categories: intervals of the score, chosen for the highest combined significance."""
