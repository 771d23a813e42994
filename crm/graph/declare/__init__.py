"""How types, inputs, filters and orders of the API are declared."""
