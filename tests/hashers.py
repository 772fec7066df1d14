"""Argon2 with the least work it allows: a real hash costs 0.2 s on purpose, and every person of the tests needs one."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class QuickArgon2(Argon2PasswordHasher):
    time_cost = 1
    memory_cost = 8
    parallelism = 1
