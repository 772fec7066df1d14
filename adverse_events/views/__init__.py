"""The pages of adverse events: find, call once, answer."""
