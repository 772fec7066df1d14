"""The embedded servers: a private PostgreSQL and a private Valkey, for the demo and for the tests.

Only the programs come from the wheels; starting, stopping and cleaning up after a killed run is done here, because a
server that holds clinical data may not be believed to run when it does not, nor be opened to every user of a machine.
"""
