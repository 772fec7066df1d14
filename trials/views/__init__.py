"""The pages of the trials floor: find, call once, answer."""
