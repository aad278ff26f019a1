"""Figures: functions of results that compute nothing and return the matplotlib figure."""
