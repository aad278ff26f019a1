"""Score categories: the intervals of a score whose combined significance is highest."""
