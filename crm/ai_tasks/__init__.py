"""AI tasks: work in the background that a user can see, prioritise, cancel, retry, price and follow."""
