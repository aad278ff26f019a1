"""Figures: functions that draw results and return a matplotlib figure."""
