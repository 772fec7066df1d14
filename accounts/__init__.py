"""Who a person is: accounts, roles as readable classes, login, second factor, session limits."""
