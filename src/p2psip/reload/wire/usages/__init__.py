"""The values of the Kinds that usages define."""
