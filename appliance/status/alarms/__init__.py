"""Alarms: messages to people and programs when a condition breaks, lasts and is met again."""
