"""The pages of the casebook. Each finds, calls one action, and answers."""
